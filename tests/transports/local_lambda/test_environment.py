"""How invocations end, and what becomes of the execution environment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

LIMIT = 6_291_456


async def test_environment_is_reused(serve: Any, post: Any) -> None:
    service = await serve()
    first, second = await post(service), await post(service)
    assert second.document == {"pid": first.document["pid"], "served": 2}
    statistics = service.statistics("f")
    assert (statistics.invocations, statistics.cold_starts, statistics.environments) == (2, 1, 1)
    (environment,) = service.environments("f")
    assert environment.pid == first.document["pid"]
    assert environment.invocations == 2


async def test_documented_variables_and_nothing_of_the_parent(
    serve: Any, post: Any, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "x")
    service = await serve(environment={"MINE": "1"}, memory_size_mb=256, timeout_s=2)
    answer = await post(service, {"do": "describe"})
    seen = answer.document
    (environment,) = service.environments("f")
    minor = ".".join(map(str, sys.version_info[:2]))
    expected = {
        "_HANDLER": "app.handler",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{minor}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": str(code),
        "MINE": "1",
        "TZ": ":UTC",
    }
    assert {name: seen["environ"].get(name) for name in expected} == expected
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} <= set(
        seen["environ"]
    )
    assert "SECRET_OF_THE_PARENT" not in seen["environ"]
    assert seen["environ"]["_X_AMZN_TRACE_ID"] == answer.headers["x-amzn-trace-id"]
    assert seen["environ"]["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:")
    assert seen["cwd"] == str(code)
    assert seen["memory"] == "256"
    assert seen["log_stream"].endswith(f"/[$LATEST]{environment.id}")
    assert seen["request_id"] == answer.headers["x-amzn-requestid"]
    assert 0 < seen["remaining_ms"] <= 2000


async def test_exception_is_a_function_error(serve: Any, connect: Any) -> None:
    service = await serve()
    client = await connect(service)
    answer = await client.invoke(FunctionName="f", Payload=b'{"do": "fail"}')
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    error = json.loads(await answer["Payload"].read())
    assert error["errorType"] == "LookupError"
    assert error["errorMessage"] == "nothing there"
    assert error["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert any("in fail" in frame for frame in error["stackTrace"])
    assert service.statistics("f").errors == 1
    assert "[ERROR] LookupError: nothing there\nTraceback" in service.logs("f")


async def test_environment_survives_an_exception(serve: Any, post: Any) -> None:
    service = await serve()
    await post(service, {"do": "fail"})
    assert (await post(service)).document["served"] == 2


async def test_timeout_kills_the_environment(serve: Any, post: Any) -> None:
    service = await serve(timeout_s=0.1)
    first = (await post(service)).document["pid"]
    answer = await post(service, {"do": "sleep", "s": 60})
    request_id = answer.headers["x-amzn-requestid"]
    assert (answer.status, answer.function_error) == (200, "Unhandled")
    assert answer.document == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 0.10 seconds",
    }
    assert (await post(service)).document["pid"] != first
    statistics = service.statistics("f")
    assert (statistics.timeouts, statistics.errors, statistics.environments) == (1, 1, 1)
    assert f"{request_id} Task timed out after 0.10 seconds" in service.logs("f")


async def test_timeout_kills_every_process(serve: Any, post: Any, gone: Any) -> None:
    service = await serve(timeout_s=1)
    pids = (await post(service, {"do": "spawn"})).document["pids"]
    await post(service, {"do": "sleep", "s": 60})
    await gone(pids)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"do": "exit", "status": 1}, "Runtime exited with error: exit status 1"),
        ({"do": "exit", "status": 0}, "Runtime exited without providing a reason"),
        ({"do": "signal", "number": 9}, "Runtime exited with error: signal: killed"),
        ({"do": "signal", "number": 11}, "Runtime exited with error: signal: segmentation fault"),
    ],
)
async def test_exit_is_told_to_the_caller(
    serve: Any, post: Any, event: dict[str, Any], reason: str
) -> None:
    service = await serve()
    answer = await post(service, event)
    request_id = answer.headers["x-amzn-requestid"]
    assert (answer.status, answer.function_error) == (200, "Unhandled")
    assert answer.document == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: {reason}",
    }
    assert (await post(service)).document["served"] == 1
    assert f"RequestId: {request_id} Error: {reason}\nRuntime.ExitError\n" in service.logs("f")


async def test_environment_killed_as_it_takes_an_event_is_an_exit(
    serve: Any, post: Any, until: Any
) -> None:
    service = await serve(timeout_s=30)
    await post(service)
    (environment,) = service.environments("f")
    service.freeze(environment.id)
    running = asyncio.create_task(post(service))
    # Now the event is in its socket, unread.
    await until(lambda: service.environments("f")[0].state == "busy")
    os.kill(environment.pid, signal.SIGKILL)
    answer = await running
    assert answer.document["errorType"] == "Runtime.ExitError"
    assert answer.document["errorMessage"].endswith("signal: killed")


async def test_killing_while_invoking_never_hangs(serve: Any, post: Any) -> None:
    service = await serve(timeout_s=30)
    for _ in range(10):
        pid = (await post(service)).document["pid"]
        os.kill(pid, signal.SIGKILL)
        answer = await post(service)
        assert answer.status == 200
        if answer.function_error:
            assert answer.document["errorType"] == "Runtime.ExitError"


async def test_response_of_exactly_the_limit_passes(serve: Any, post: Any) -> None:
    answer = await post(await serve(), {"do": "reply", "bytes": LIMIT})
    assert (answer.function_error, len(answer.body)) == (None, LIMIT)


async def test_response_over_the_limit_is_a_function_error(serve: Any, post: Any) -> None:
    service = await serve()
    answer = await post(service, {"do": "reply", "bytes": LIMIT + 1})
    assert (answer.status, answer.function_error) == (200, "Unhandled")
    assert answer.document == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size "
        "(6291556 bytes).",
    }
    assert (await post(service)).status == 200


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "message"),
    [
        ("import nowhere", "app.handler", "Runtime.ImportModuleError", "No module named 'nowhere'"),
        ("x = 1", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing"),
        ("def (", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("raise ValueError('no')", "app.handler", "ValueError", "no"),
        ("", "app", "Runtime.MalformedHandlerName", "Bad handler 'app'"),
    ],
)
async def test_init_error_is_a_function_error(
    serve: Any, post: Any, code: Path, source: str, handler: str, error_type: str, message: str
) -> None:
    (code / "app.py").write_text(source)
    service = await serve(handler=handler)
    answer = await post(service)
    assert (answer.status, answer.function_error) == (200, "Unhandled")
    error = answer.document
    assert error["errorType"] == error_type
    assert message in error["errorMessage"]
    assert {"requestId", "stackTrace"} <= set(error)
    assert service.environments("f") == ()
    assert f"Phase: init\tStatus: error\tError Type: {error_type}" in service.logs("f")


async def test_exit_during_init_is_an_exit_error(serve: Any, post: Any, code: Path) -> None:
    (code / "app.py").write_text("import os\nos._exit(4)")
    answer = await post(await serve())
    assert answer.document["errorType"] == "Runtime.ExitError"
    assert answer.document["errorMessage"].endswith("Runtime exited with error: exit status 4")


async def test_failed_init_is_repeated_with_the_invocation(
    serve: Any, post: Any, code: Path
) -> None:
    mark = code / "mark"
    (code / "app.py").write_text(
        "from pathlib import Path\n"
        f"mark = Path({str(mark)!r})\n"
        "if not mark.exists():\n    mark.touch()\n    raise ValueError('not yet')\n"
        "def handler(event, context): return 'ready'"
    )
    service = await serve()
    answer = await post(service)
    assert (answer.function_error, answer.document) == (None, "ready")
    statistics = service.statistics("f")
    assert (statistics.cold_starts, statistics.environments_started) == (1, 2)


async def test_init_timeout_goes_on_within_the_invocation(
    serve: Any, post: Any, code: Path
) -> None:
    (code / "app.py").write_text("import time\ntime.sleep(60)")
    service = await serve(init_timeout_s=0.2, timeout_s=0.3)
    answer = await post(service)
    request_id = answer.headers["x-amzn-requestid"]
    assert answer.document == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 0.30 seconds",
    }
    assert "Phase: init\tStatus: timeout" in service.logs("f")
    assert service.statistics("f").timeouts == 1


async def test_memory_beyond_the_limit_is_killed(serve: Any, post: Any) -> None:
    service = await serve(timeout_s=30)
    answer = await post(service, {"do": "grow", "mb": 200})
    assert answer.document["errorType"] == "Runtime.ExitError"
    assert answer.document["errorMessage"].endswith("signal: killed")


async def test_caller_that_leaves_does_not_stop_the_function(
    serve: Any, post: Any, tmp_path: Path, exists: Any, until: Any
) -> None:
    service = await serve(timeout_s=30)
    started, release = tmp_path / "started", tmp_path / "release"
    event = {"do": "wait", "started": str(started), "release": str(release)}
    caller = asyncio.create_task(post(service, event))
    await exists(started)
    caller.cancel()
    await asyncio.wait([caller])
    release.touch()
    await exists(tmp_path / "release.seen")
    await until(lambda: service.environments("f")[0].invocations == 1)
    assert (await post(service)).document["served"] == 2


async def test_idle_environment_is_shut_down_with_its_hook(
    serve: Any, post: Any, tmp_path: Path, gone: Any, until: Any
) -> None:
    service = await serve(idle_timeout_s=0.2)
    said = tmp_path / "said"
    await post(service, {"do": "hook", "path": str(said)})
    (environment,) = service.environments("f")
    await gone([environment.pid])
    assert said.read_text() == "bye"
    await until(lambda: service.environments("f") == ())
    assert (await post(service)).document["served"] == 1


async def test_close_runs_the_hook_of_an_idle_environment(
    serve: Any, post: Any, tmp_path: Path
) -> None:
    service = await serve()
    said = tmp_path / "said"
    await post(service, {"do": "hook", "path": str(said)})
    function_log = service.logs("f")
    await service.aclose()
    assert said.read_text() == "bye"
    assert service.logs("f") == function_log + "the hook ran\n"


async def test_close_kills_what_ignores_sigterm(serve: Any, post: Any, gone: Any) -> None:
    service = await serve()
    pid = (await post(service, {"do": "ignore_sigterm"})).document["pid"]
    await service.aclose()
    await gone([pid])


async def test_close_ends_a_running_invocation(
    serve: Any, post: Any, tmp_path: Path, exists: Any
) -> None:
    service = await serve(timeout_s=30)
    started = tmp_path / "started"
    event = {"do": "wait", "started": str(started), "release": str(tmp_path / "never")}
    running = asyncio.create_task(post(service, event))
    await exists(started)
    await service.aclose()
    answer = await running
    assert answer.document["errorMessage"].endswith("signal: terminated")


async def test_frozen_environment_times_out_and_is_replaced(serve: Any, post: Any) -> None:
    service = await serve(timeout_s=0.3)
    await post(service)
    (environment,) = service.environments("f")
    service.freeze(environment.id)
    assert service.environments("f")[0].frozen
    assert (await post(service)).document["errorType"] == "Sandbox.Timedout"
    assert (await post(service)).document["served"] == 1


async def test_thawed_environment_goes_on(serve: Any, post: Any, until: Any) -> None:
    service = await serve(timeout_s=30)
    await post(service)
    (environment,) = service.environments("f")
    service.freeze(environment.id)
    running = asyncio.create_task(post(service))
    await until(lambda: service.environments("f")[0].state == "busy")
    service.thaw(environment.id)
    assert (await running).document["served"] == 2


async def test_killed_environment_is_gone_when_kill_returns(
    serve: Any, post: Any, gone: Any
) -> None:
    service = await serve()
    pids = (await post(service, {"do": "spawn"})).document["pids"]
    (environment,) = service.environments("f")
    await service.kill_environment(environment.id)
    assert service.environments("f") == ()
    await gone(pids)
    with pytest.raises(KeyError, match="no execution environment"):
        await service.kill_environment(environment.id)


async def test_logs_are_kept_by_environment(serve: Any, post: Any) -> None:
    service = await serve()
    await post(service, {"do": "write", "lines": 1})
    (first,) = service.environments("f")
    await service.kill_environment(first.id)
    await post(service)
    (second,) = service.environments("f")
    assert "line 0\n" in service.logs("f", first.id)
    assert service.logs("f", first.id).startswith("INIT_START Runtime Version: python:")
    assert "line 0\n" not in service.logs("f", second.id)
    assert service.logs("f") == service.logs("f", first.id) + service.logs("f", second.id)
