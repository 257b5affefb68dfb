"""SnapStart: environments that are copies of one process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from transports.local_lambda import FunctionConfiguration, LocalLambda

HANDLER = """
import os, random, sys, tempfile, time, uuid
from pathlib import Path
from snapshot_restore_py import register_after_restore, register_before_snapshot

drawn = random.random()
unique = uuid.uuid4().hex
hooks = []
Path(tempfile.gettempdir(), "made-by-init").write_text("here")
pipe = os.pipe()
if os.environ.get("FAIL") == "init":
    raise LookupError("no such table")

@register_before_snapshot
def before():
    hooks.append("before")
    if os.environ.get("FAIL") == "before":
        raise LookupError("not before")

@register_after_restore
def after():
    hooks.append("after")
    if os.environ.get("FAIL") == "after":
        raise LookupError("not after")
    if os.environ.get("FAIL") == "slow":
        time.sleep(60)

def handler(event, context):
    if event.get("exit") is not None:
        os._exit(event["exit"])
    if event.get("path"):
        Path(event["path"] + ".started").touch()
        while not Path(event["path"]).exists():
            time.sleep(0.005)
    print("served by", os.getpid())
    descriptors = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                   if os.path.exists(f"/proc/self/fd/{fd}")]
    return {
        "pid": os.getpid(), "parent": os.getppid(), "leader": os.getsid(0) == os.getpid(),
        "hooks": hooks, "drawn": drawn, "next": random.random(), "unique": unique,
        "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
        "stream": os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME"),
        "tmp": tempfile.gettempdir(),
        "made": Path(tempfile.gettempdir(), "made-by-init").read_text(),
        "path0": sys.path[0],
        "sockets": [d for d in descriptors if d.startswith("socket")],
    }
"""

Service = Callable[..., Awaitable[LocalLambda]]
Invoke = Callable[..., Awaitable[Any]]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    directory = tmp_path / "code"
    directory.mkdir()
    (directory / "app.py").write_text(HANDLER)
    return directory


@pytest.fixture
def start(serve: Service) -> Service:
    async def snap_started(**options: Any) -> LocalLambda:
        return await serve(snap_start=True, aliases={"live": "1"}, **options)

    return snap_started


async def two_at_once(
    service: LocalLambda, post: Invoke, exists: Callable[[Path], Awaitable[None]], where: Path
) -> tuple[Any, Any]:
    """Answers of two environments."""
    gates = [where / "gate-0", where / "gate-1"]
    tasks = [
        asyncio.ensure_future(post(service, {"path": str(gate)}, name="f:live")) for gate in gates
    ]
    for gate in gates:
        await exists(Path(f"{gate}.started"))
    for gate in gates:
        gate.touch()
    first, second = [(await task).document for task in tasks]
    return first, second


async def test_environments_of_a_version_are_copies_of_one_process(
    start: Service, post: Invoke, exists: Callable[[Path], Awaitable[None]], tmp_path: Path
) -> None:
    service = await start()
    one, two = await two_at_once(service, post, exists, tmp_path)
    assert one["pid"] != two["pid"]
    assert one["parent"] == two["parent"]
    # What the init code drew is the same in both; and so is what `random` draws next.
    assert (one["drawn"], one["unique"]) == (two["drawn"], two["unique"])
    assert one["next"] == two["next"]
    assert one["hooks"] == two["hooks"] == ["before", "after"]
    assert one["kind"] == "snap-start"
    assert one["stream"] is None
    assert one["leader"]
    assert one["path0"] == str(tmp_path / "code")


async def test_each_has_its_own_sockets_and_temporary_directory(
    start: Service, post: Invoke, exists: Callable[[Path], Awaitable[None]], tmp_path: Path
) -> None:
    service = await start()
    one, two = await two_at_once(service, post, exists, tmp_path)
    assert one["tmp"] != two["tmp"]
    assert one["made"] == two["made"] == "here"
    assert one["sockets"]
    assert not set(one["sockets"]) & set(two["sockets"])


async def test_a_warm_environment_is_used_again(start: Service, post: Invoke) -> None:
    service = await start()
    first = (await post(service, name="f:live")).document
    second = (await post(service, name="f:1")).document
    assert first["pid"] == second["pid"]
    assert service.statistics("f").environments_started == 1


async def test_the_log_tells_of_init_and_restore(start: Service, post: Invoke) -> None:
    service = await start()
    pid = (await post(service, name="f:live")).document["pid"]
    log = service.logs("f")
    assert "INIT_START" in log
    assert "Phase: init" in log
    assert "RESTORE_START" in log
    assert "Restore Duration" in log
    assert f"served by {pid}" in log


async def test_latest_has_no_snapshot(start: Service, post: Invoke) -> None:
    service = await start()
    answer = (await post(service)).document
    assert (answer["kind"], answer["hooks"]) == ("on-demand", [])
    assert answer["stream"]


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ("init", "LookupError: no such table"),
        ("before", "not before"),
        ("after", "not after"),
    ],
)
async def test_a_failed_init_or_hook_is_a_snapstart_exception(
    start: Service, post: Invoke, fails: str, words: str
) -> None:
    service = await start(environment={"FAIL": fails})
    answer = await post(service, name="f:live")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "SnapStartException")
    assert words in answer.document["message"]
    assert service.environments("f") == ()


async def test_hooks_that_take_too_long_are_a_timeout(start: Service, post: Invoke) -> None:
    service = await start(environment={"FAIL": "slow"}, init_timeout_s=0.5)
    answer = await post(service, name="f:live")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (408, "SnapStartTimeoutException")
    assert service.environments("f") == ()


async def test_an_exit_is_told_with_its_status(start: Service, post: Invoke) -> None:
    service = await start()
    answer = await post(service, {"exit": 3}, name="f:live")
    assert answer.document["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in answer.document["errorMessage"]
    assert (await post(service, name="f:live")).document["made"] == "here"


async def test_a_timeout_kills_one_environment_and_not_the_snapshot(
    start: Service, post: Invoke, tmp_path: Path
) -> None:
    service = await start(timeout_s=0.5)
    parent = (await post(service, name="f:live")).document["parent"]
    answer = await post(service, {"path": str(tmp_path / "never")}, name="f:live")
    assert answer.document["errorType"] == "Sandbox.Timedout"
    assert (await post(service, name="f:live")).document["parent"] == parent


async def test_a_deployment_takes_a_new_snapshot_and_ends_the_old_one(
    start: Service,
    post: Invoke,
    gone: Callable[[list[int]], Awaitable[None]],
    function: Callable[..., FunctionConfiguration],
) -> None:
    service = await start()
    old = (await post(service, name="f:live")).document
    await service.update_function(function(snap_start=True, aliases={"live": "1"}))
    await gone([old["pid"], old["parent"]])
    new = (await post(service, name="f:live")).document
    assert new["parent"] != old["parent"]


async def test_environments_end_with_their_snapshot_and_another_is_taken(
    start: Service, post: Invoke, gone: Callable[[list[int]], Awaitable[None]]
) -> None:
    service = await start()
    old = (await post(service, name="f:live")).document
    os.kill(old["parent"], 9)
    await gone([old["pid"], old["parent"]])
    assert (await post(service, name="f:live")).document["parent"] != old["parent"]


async def test_nothing_is_left_of_it(
    start: Service, post: Invoke, gone: Callable[[list[int]], Awaitable[None]]
) -> None:
    service = await start()
    answer = (await post(service, name="f:live")).document
    await service.aclose()
    await gone([answer["pid"], answer["parent"]])
    assert not Path(answer["tmp"]).exists()
