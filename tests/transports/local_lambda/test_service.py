"""Functions, concurrency, deployment, and the ends of the service itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transports.local_lambda import FunctionConfiguration, LocalLambda


@pytest.fixture
async def occupy(post: Any, tmp_path: Path, exists: Any) -> Callable[..., Any]:
    """Start invocations that run until the returned function is awaited."""

    async def start(service: LocalLambda, count: int, name: str = "f") -> Callable[[], Any]:
        release = tmp_path / f"release-{name}"
        started = [tmp_path / f"started-{name}-{number}" for number in range(count)]
        running = [
            asyncio.create_task(
                post(
                    service,
                    {"do": "wait", "started": str(path), "release": str(release)},
                    name=name,
                )
            )
            for path in started
        ]
        for path in started:
            await exists(path)

        async def finish() -> list[Any]:
            release.touch()
            return await asyncio.gather(*running)

        return finish

    return start


async def test_reserved_concurrency_throttles_with_its_reason(
    serve: Any, connect: Any, occupy: Any
) -> None:
    service = await serve(reserved_concurrency=2, timeout_s=30)
    finish = await occupy(service, 2)
    client = await connect(service)
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        await client.invoke(FunctionName="f")
    error = caught.value.response
    assert error["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert error["Error"]["Message"] == "Rate Exceeded."
    assert error["retryAfterSeconds"] == "1"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 429
    answers = await finish()
    assert len({answer.document["pid"] for answer in answers}) == 2
    statistics = service.statistics("f")
    assert (statistics.throttles, statistics.invocations) == (1, 2)
    assert (statistics.max_concurrent_executions, statistics.concurrent_executions) == (2, 0)
    assert (statistics.environments, statistics.max_environments) == (2, 2)


async def test_account_concurrency_leaves_out_what_is_reserved(
    serve: Any, post: Any, occupy: Any, function: Any
) -> None:
    service = await serve(account_concurrency=3, timeout_s=30)
    service.add_function(function(name="reserved", reserved_concurrency=2))
    finish = await occupy(service, 1)
    answer = await post(service)
    assert answer.status == 429
    assert answer.document["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert (await post(service, name="reserved")).status == 200
    await finish()
    assert (await post(service)).status == 200


async def test_reserved_concurrency_of_zero_throttles_always(serve: Any, post: Any) -> None:
    assert (await post(await serve(reserved_concurrency=0))).status == 429


async def test_one_caller_after_another_is_never_throttled(serve: Any, post: Any) -> None:
    service = await serve(reserved_concurrency=1)
    answers = [await post(service) for _ in range(50)]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.document["pid"] for answer in answers}) == 1


async def test_event_is_accepted_and_run(
    serve: Any, connect: Any, tmp_path: Path, exists: Any
) -> None:
    service = await serve()
    client = await connect(service)
    started, release = tmp_path / "started", tmp_path / "release"
    release.touch()
    payload = f'{{"do": "wait", "started": "{started}", "release": "{release}"}}'
    answer = await client.invoke(FunctionName="f", InvocationType="Event", Payload=payload)
    assert answer["StatusCode"] == 202
    assert await answer["Payload"].read() == b""
    await exists(started)


async def test_event_waits_for_concurrency(
    serve: Any, post: Any, occupy: Any, tmp_path: Path, exists: Any
) -> None:
    service = await serve(reserved_concurrency=1, timeout_s=30)
    finish = await occupy(service, 1)
    event = {"do": "wait", "started": str(tmp_path / "s"), "release": str(tmp_path / "r")}
    answer = await post(service, event, headers={"X-Amz-Invocation-Type": "Event"})
    assert answer.status == 202
    assert service.statistics("f").concurrent_executions == 1
    await finish()
    await exists(tmp_path / "s")
    (tmp_path / "r").touch()


async def test_event_runs_when_reserved_concurrency_is_raised(
    serve: Any, post: Any, until: Any
) -> None:
    service = await serve(reserved_concurrency=0)
    answer = await post(service, {}, headers={"X-Amz-Invocation-Type": "Event"})
    assert answer.status == 202
    await until(lambda: service.statistics("f").throttles == 1)
    service.put_function_concurrency("f", 1)
    await until(lambda: service.statistics("f").invocations == 1)


async def test_event_is_repeated_twice_after_function_errors(
    serve: Any, post: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transports.local_lambda.asynchronous.RETRY_DELAYS_S", (0, 0))
    service = await serve()
    answer = await post(service, {"do": "fail"}, headers={"X-Amz-Invocation-Type": "Event"})
    await until(lambda: service.statistics("f").errors == 3)
    request_id = answer.headers["x-amzn-requestid"]
    assert service.logs("f").count(f"START RequestId: {request_id} ") == 3


async def test_event_over_its_own_limit_is_refused(serve: Any, post: Any) -> None:
    service = await serve()
    headers = {"X-Amz-Invocation-Type": "Event"}
    answer = await post(service, body=b'"' + b"x" * 1_048_575 + b'"', headers=headers)
    assert answer.status == 413


async def test_update_replaces_idle_environments(
    serve: Any, post: Any, function: Any, code: Path, gone: Any
) -> None:
    service = await serve()
    old = (await post(service)).document["pid"]
    (code / "app.py").write_text("def handler(event, context): return 'new'")
    await service.update_function(function())
    await gone([old])
    assert (await post(service)).document == "new"


async def test_update_keeps_old_environments_frozen_while_they_linger(
    serve: Any, post: Any, function: Any, gone: Any
) -> None:
    service = await serve()
    old = (await post(service)).document["pid"]
    await service.update_function(function(), linger_s=60)
    new = (await post(service)).document["pid"]
    states = {each.pid: each.frozen for each in service.environments("f")}
    assert states == {old: True, new: False}
    await service.aclose()
    await gone([old, new])


async def test_update_ends_what_has_lingered(
    serve: Any, post: Any, function: Any, gone: Any
) -> None:
    service = await serve()
    old = (await post(service)).document["pid"]
    await service.update_function(function(), linger_s=0.01)
    await gone([old])


async def test_update_lets_running_invocations_finish(
    serve: Any, post: Any, function: Any, occupy: Any, code: Path, gone: Any
) -> None:
    service = await serve(timeout_s=30)
    finish = await occupy(service, 1)
    (code / "app.py").write_text("def handler(event, context): return 'new'")
    await service.update_function(function())
    assert (await post(service)).document == "new"
    assert len(service.environments("f")) == 2
    (answer,) = await finish()
    await gone([answer.document["pid"]])
    assert (await post(service)).document == "new"


async def test_update_changes_the_reserved_concurrency(
    serve: Any, post: Any, function: Any
) -> None:
    service = await serve(account_concurrency=5, reserved_concurrency=5)
    with pytest.raises(ValueError, match="the account has 5, of which 0 are reserved"):
        await service.update_function(function(reserved_concurrency=6))
    await service.update_function(function(reserved_concurrency=0))
    assert (await post(service)).status == 429


async def test_concurrency_is_changed_without_a_deployment(serve: Any, post: Any) -> None:
    service = await serve(account_concurrency=5, reserved_concurrency=2)
    before = (await post(service)).document["pid"]
    service.put_function_concurrency("f", 0)
    assert (await post(service)).status == 429
    with pytest.raises(ValueError, match="the account has 5, of which 0 are reserved"):
        service.put_function_concurrency("f", 6)
    service.put_function_concurrency("f", 5)
    assert (await post(service)).document["pid"] == before


async def test_removed_function_is_not_found_and_finishes(
    serve: Any, post: Any, occupy: Any, gone: Any
) -> None:
    service = await serve(timeout_s=30)
    finish = await occupy(service, 1)
    await service.remove_function("f")
    assert (await post(service)).status == 404
    (answer,) = await finish()
    assert answer.status == 200
    await gone([answer.document["pid"]])
    with pytest.raises(KeyError, match="no function 'f'"):
        service.statistics("f")


async def test_many_functions_run_side_by_side(serve: Any, post: Any, function: Any) -> None:
    service = await serve()
    service.add_function(function(name="g"))
    pids = {(await post(service, name=name)).document["pid"] for name in ("f", "g", "f")}
    assert len(pids) == 2
    with pytest.raises(ValueError, match="exists"):
        service.add_function(function(name="g"))


async def test_versions_have_environments_of_their_own(serve: Any, post: Any) -> None:
    service = await serve(aliases={"live": "1"})
    pids = {(await post(service, name=name)).document["pid"] for name in ("f", "f:live", "f:1")}
    assert len(pids) == 2
    assert {environment.version for environment in service.environments("f")} == {"$LATEST", "1"}


async def test_code_can_be_a_zip(serve: Any, post: Any, code: Path, tmp_path: Path) -> None:
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.write(code / "app.py", "app.py")
    layer = tmp_path / "layer"
    layer.mkdir()
    (code / "app.py").write_text("raise ImportError")
    service = await serve(code=(archive, layer))
    seen = (await post(service, {"do": "describe"})).document
    assert seen["cwd"] == seen["environ"]["LAMBDA_TASK_ROOT"] != str(code)
    assert str(layer) in seen["environ"]["PYTHONPATH"].split(os.pathsep)


async def test_unusable_interpreter_is_told(serve: Any, post: Any, tmp_path: Path) -> None:
    service = await serve(python=tmp_path / "python")
    answer = await post(service)
    assert answer.status == 502
    assert answer.headers["x-amzn-errortype"] == "InvalidRuntimeException"
    assert service.environments("f") == ()


async def test_another_interpreter_runs_the_function(serve: Any, post: Any, tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    service = await serve(python=other)
    assert (await post(service)).status == 200


async def test_interpreter_without_the_runtime_client_is_told(
    serve: Any, post: Any, tmp_path: Path
) -> None:
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    other.chmod(0o755)
    answer = await post(await serve(python=other))
    assert answer.status == 502
    assert "awslambdaric" in answer.document["message"]


async def test_close_is_idempotent_and_leaves_nothing(serve: Any, post: Any, gone: Any) -> None:
    service = await serve()
    seen = await post(service, {"do": "describe"})
    temporary = Path(seen.document["environ"]["TMPDIR"])
    pids = (await post(service, {"do": "spawn"})).document["pids"]
    directory = temporary.parent
    assert temporary in directory.iterdir()
    await asyncio.gather(service.aclose(), service.aclose())
    assert directory not in directory.parent.iterdir()
    await gone(pids)


async def test_close_during_cold_start_leaves_nothing(
    serve: Any, post: Any, code: Path, until: Any
) -> None:
    (code / "app.py").write_text("import time\ntime.sleep(60)")
    service = await serve()
    running = asyncio.create_task(post(service))
    await until(lambda: any(environment.pid for environment in service.environments("f")))
    await service.aclose()
    assert (await running).status == 503
    assert service.environments("f") == ()


async def test_open_failure_closes_what_was_opened(serve: Any) -> None:
    service = await serve()
    port = int(service.endpoint_url.rpartition(":")[2])
    second = LocalLambda(port=port)
    with pytest.raises(OSError, match="in use"):
        await second.__aenter__()


async def test_forgotten_service_warns() -> None:
    service = LocalLambda()
    await service.__aenter__()
    with pytest.warns(ResourceWarning, match="unclosed <LocalLambda http://127.0.0.1:"):
        service.__del__()
    await service.aclose()


def test_only_loopback_is_served() -> None:
    for host in ("0.0.0.0", "192.168.0.1", "example.com", ""):
        with pytest.raises(ValueError, match=r"write 127\.0\.0\.1"):
            LocalLambda(host=host)


def test_name_can_be_given_once(function: Callable[..., FunctionConfiguration]) -> None:
    with pytest.raises(ValueError, match="exists"):
        LocalLambda([function(), function()])


def test_missing_aiohttp_is_one_clear_error() -> None:
    program = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "from transports.errors import MissingExtra\n"
        "try:\n    import transports.local_lambda\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "odm-transports[local]" in result.stdout


SERVER = """
import asyncio, sys
from pathlib import Path
from transports.local_lambda import FunctionConfiguration, LocalLambda, serve

functions = [FunctionConfiguration(name="f", handler="app.handler", code=(Path(sys.argv[2]),))]

async def plain():
    async with LocalLambda(functions) as service:
        print(service.endpoint_url, flush=True)
        await asyncio.Event().wait()

async def served():
    number = await serve(functions, on_ready=lambda s: print(s.endpoint_url, flush=True))
    print("stopped by", number.name)

try:
    asyncio.run(plain() if sys.argv[1] == "plain" else served())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture
async def run_server(code: Path, tmp_path: Path) -> Any:
    """Run a local Lambda in a process of its own; gives it and its endpoint."""
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    processes = []

    async def run(how: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            sys.executable, program, how, code, stdout=asyncio.subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout is not None
        process.endpoint_url = (await process.stdout.readline()).decode().strip()  # type: ignore[attr-defined]  # what post() reads
        return process

    yield run
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    ("how", "number", "said"),
    [
        ("served", signal.SIGTERM, b"stopped by SIGTERM"),
        ("served", signal.SIGINT, b"stopped by SIGINT"),
        ("plain", signal.SIGINT, b"interrupted"),
        ("plain", signal.SIGTERM, b""),
        ("plain", signal.SIGKILL, b""),
    ],
)
async def test_no_orphans_however_the_server_ends(
    run_server: Any, post: Any, gone: Any, until: Any, how: str, number: signal.Signals, said: bytes
) -> None:
    server = await run_server(how)
    seen = (await post(server, {"do": "describe"})).document
    pids = (await post(server, {"do": "spawn"})).document["pids"]
    server.send_signal(number)
    async with asyncio.timeout(60):
        output, _ = await server.communicate()
    assert output.strip() == said
    await gone(pids)
    directory = Path(seen["environ"]["TMPDIR"]).parent
    await until(lambda: not directory.exists())


async def test_no_orphans_after_kill_in_the_middle_of_a_cold_start(
    run_server: Any, post: Any, gone: Any, code: Path, tmp_path: Path, exists: Any
) -> None:
    pid_file = tmp_path / "pid"
    (code / "app.py").write_text(
        "import os, pathlib, time\n"
        f"path = pathlib.Path({str(pid_file)!r})\n"
        "path.with_suffix('.new').write_text(str(os.getpid()))\n"
        "path.with_suffix('.new').rename(path)\n"
        "time.sleep(600)"
    )
    server = await run_server("plain")
    running = asyncio.create_task(post(server))
    await exists(pid_file)
    server.kill()
    await asyncio.wait([running])
    assert running.exception() is not None
    await gone([int(pid_file.read_text())])
