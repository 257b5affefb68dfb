"""Lambda Managed Instances: several invocations in one execution environment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from transports.local_lambda import FunctionConfiguration, LocalLambda

Service = Callable[..., Awaitable[LocalLambda]]
Invoke = Callable[..., Awaitable[Any]]
Exists = Callable[[Path], Awaitable[None]]


@pytest.fixture
def start(serve: Service) -> Service:
    async def managed(**options: Any) -> LocalLambda:
        return await serve(**{"per_execution_environment_max_concurrency": 2, **options})

    return managed


class Waiting:
    """An invocation that runs until it is released."""

    def __init__(self, service: LocalLambda, post: Invoke, where: Path, name: str) -> None:
        self.started, self.gate = where / f"{name}.started", where / name
        event = {"do": "wait", "started": str(self.started), "release": str(self.gate)}
        self.task = asyncio.ensure_future(post(service, event))

    async def release(self) -> Any:
        self.gate.touch()
        return await self.task


async def test_two_processes_serve_in_one_environment(
    start: Service, post: Invoke, exists: Exists, tmp_path: Path
) -> None:
    service = await start()
    one, two = (Waiting(service, post, tmp_path, name) for name in ("one", "two"))
    await exists(one.started)
    await exists(two.started)
    assert len(service.environments("f")) == 1
    pids = {(await w.release()).document["pid"] for w in (one, two)}
    assert len(pids) == 2
    assert service.environments("f")[0].pid not in pids


async def test_the_processes_share_tmp_and_know_their_number(start: Service, post: Invoke) -> None:
    service = await start()
    environ = (await post(service, {"do": "describe"})).document["environ"]
    assert environ["AWS_LAMBDA_MAX_CONCURRENCY"] == "2"
    assert environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "lambda-managed-instances"
    others = [
        (await post(service, {"do": "describe"})).document["environ"]["TMPDIR"] for _ in range(3)
    ]
    assert set(others) == {environ["TMPDIR"]}


async def test_a_full_environment_is_joined_by_a_second(
    start: Service, post: Invoke, exists: Exists, tmp_path: Path
) -> None:
    service = await start()
    waiting = [Waiting(service, post, tmp_path, name) for name in ("one", "two", "three")]
    for one in waiting:
        await exists(one.started)
    assert len(service.environments("f")) == 2
    for one in waiting:
        assert (await one.release()).status == 200


async def test_a_timeout_is_told_and_stops_nothing(
    start: Service, post: Invoke, exists: Exists, tmp_path: Path
) -> None:
    service = await start(timeout_s=0.3)
    overdue = Waiting(service, post, tmp_path, "overdue")
    await exists(overdue.started)
    assert (await overdue.task).document["errorType"] == "Sandbox.Timedout"
    assert (await post(service)).function_error is None
    overdue.gate.touch()
    await exists(tmp_path / "overdue.seen")
    assert service.statistics("f").environments_started == 1


async def test_a_process_that_ends_takes_its_own_invocation_only(
    start: Service, post: Invoke, exists: Exists, tmp_path: Path
) -> None:
    service = await start()
    other = Waiting(service, post, tmp_path, "other")
    await exists(other.started)
    crashed = await post(service, {"do": "exit", "status": 1})
    assert crashed.document["errorType"] == "Runtime.ExitError"
    assert (await other.release()).function_error is None
    # One process is left in it: it goes on with that one.
    assert (await post(service)).function_error is None
    assert service.statistics("f").environments_started == 1


async def test_the_end_of_all_processes_is_the_end_of_the_environment(
    start: Service, post: Invoke, until: Callable[[Callable[[], object]], Awaitable[None]]
) -> None:
    service = await start()
    for _ in range(2):
        await post(service, {"do": "exit", "status": 1})
    await until(lambda: service.environments("f") == ())
    assert (await post(service)).function_error is None


async def test_memory_is_that_of_all_processes(start: Service, post: Invoke) -> None:
    service = await start(memory_size_mb=160, timeout_s=20)
    grown = [post(service, {"do": "grow", "mb": 100}) for _ in range(2)]
    answers = await asyncio.gather(*grown)
    assert {answer.document["errorType"] for answer in answers} == {"Runtime.ExitError"}
    assert (await post(service)).function_error is None


async def test_a_failed_init_reaches_the_caller(
    start: Service, post: Invoke, function: Callable[..., FunctionConfiguration]
) -> None:
    service = await start(handler="app.missing")
    answer = await post(service)
    assert answer.document["errorType"] == "Runtime.HandlerNotFound"


async def test_a_killed_environment_fails_all_that_ran_in_it(
    start: Service, post: Invoke, exists: Exists, tmp_path: Path
) -> None:
    service = await start()
    waiting = [Waiting(service, post, tmp_path, name) for name in ("one", "two")]
    for one in waiting:
        await exists(one.started)
    await service.kill_environment(service.environments("f")[0].id)
    answers = [await one.task for one in waiting]
    assert {answer.document["errorType"] for answer in answers} == {"Runtime.ExitError"}


async def test_nothing_is_left_of_it(
    start: Service, post: Invoke, gone: Callable[[list[int]], Awaitable[None]]
) -> None:
    service = await start()
    pid = (await post(service)).document["pid"]
    main = service.environments("f")[0].pid
    await service.aclose()
    await gone([pid, main])


def test_snapstart_and_managed_instances_exclude_each_other(
    function: Callable[..., FunctionConfiguration],
) -> None:
    with pytest.raises(ValueError, match="no SnapStart"):
        function(snap_start=True, per_execution_environment_max_concurrency=2)


@pytest.mark.parametrize("number", [0, 1601])
def test_the_number_of_processes_has_bounds(
    function: Callable[..., FunctionConfiguration], number: int
) -> None:
    with pytest.raises(ValueError, match="1 to 1600"):
        function(per_execution_environment_max_concurrency=number)


async def test_without_an_extension_there_is_no_sigterm(
    serve: Service, post: Invoke, tmp_path: Path, gone: Callable[[list[int]], Awaitable[None]]
) -> None:
    said_bye = tmp_path / "bye"
    service = await serve(has_extension=False)
    await post(service, {"do": "hook", "path": str(said_bye)})
    pid = service.environments("f")[0].pid
    await service.aclose()
    await gone([pid])
    assert not said_bye.exists()
