"""Failures of an execution environment, caused for real, as the application sees them.

Rows of the table in docs/lambda.md, "When something fails".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from transports import open_transport
from transports.base import Transport
from transports.local_lambda import FunctionConfiguration, LocalLambda

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOUND_S = 30
"""Nothing may take longer: a test that hangs fails."""

UNKNOWN = "Whether it ran is unknown."
NOT_RUN = "It did not run."
RAN = "It ran; only its reply is lost."
APP_NAME = "odm-failure-matrix"
"""The function's: what fails fails for it alone."""

# A handler of the function's bundle that does what the file beside it says, then what it should.
_DIRECTED = """
import os, time
from pathlib import Path
DIRECTION = Path(os.environ["DIRECTION"])
if DIRECTION.read_text() == "exit in init":
    os._exit(7)
if DIRECTION.read_text() == "raise in init":
    raise RuntimeError("no luck today")
from transports.lambda_invoke.function import app

def handler(event, context):
    direction = DIRECTION.read_text()
    if event["items"][0]["kind"] != "command":
        direction = ""
    if direction == "exit":
        os._exit(7)
    if direction == "raise":
        raise RuntimeError("no luck today")
    result = app.handler(event, context)
    if direction == "hoard":
        hoard = bytearray(b"x") * 600_000_000
        time.sleep(60)
    if direction == "babble":
        result["more"] = "x" * 6_300_000
    return result
"""

Direct = AsyncMongoClient[dict[str, Any]]


class Stage:
    """One function with one environment, and the database behind it seen directly."""

    def __init__(
        self,
        service: LocalLambda,
        configuration: FunctionConfiguration,
        app: Transport,
        direct: Direct,
        direction: Path,
    ) -> None:
        self.service = service
        self.configuration = configuration
        self.app = app
        self.things = app.database.things
        self.direct = direct[app.url.database].things
        self._admin = direct.admin
        self._direction = direction

    def direct_function(self, direction: str) -> None:
        """Say what the function does with the next commands."""
        self._direction.write_text(direction)

    async def one_environment(self) -> str:
        """Leave one environment, idle; return its id."""
        name = self.configuration.name
        for environment in self.service.environments(name):
            await self.service.kill_environment(environment.id)
        # The endpoint describes the deployment anew after a failure: now, not in the middle.
        await self.app.client.admin.command("hello")
        await self.app.client.admin.command("ping")
        [environment] = self.service.environments(name)
        await until(lambda: self._is(environment.id, "idle"))
        return environment.id

    async def numbers(self) -> list[int]:
        """``n`` of every thing."""
        return [thing["n"] async for thing in self.direct.find({}).sort("_id")]

    @asynccontextmanager
    async def killed_before(self, command: str) -> AsyncIterator[None]:
        """Kill the environment when it has *command*, and the server has not."""
        environment = await self.one_environment()
        self.service.freeze(environment)

        async def kill() -> None:
            await until(lambda: self._is(environment, "busy"))
            await self.service.kill_environment(environment)

        async with self._while_it_runs(kill):
            yield

    @asynccontextmanager
    async def killed_during(self, command: str) -> AsyncIterator[None]:
        """Kill the environment while the server has *command* and has not done it yet."""
        environment = await self.one_environment()
        entered = await self._block(command, 400)

        async def kill() -> None:
            await self._entered(entered)
            await self.service.kill_environment(environment)

        async with self._while_it_runs(kill):
            yield

    @asynccontextmanager
    async def killed_after(
        self, command: str, applied: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[None]:
        """Kill the environment when the server has done *command*, and nobody knows yet."""
        environment = await self.one_environment()
        entered = await self._block(command, 200)

        async def kill() -> None:
            await self._entered(entered)
            self.service.freeze(environment)
            await until(applied)
            await self.service.kill_environment(environment)

        async with self._while_it_runs(kill):
            yield

    @asynccontextmanager
    async def _while_it_runs(self, kill: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
            killer = group.create_task(_coroutine(kill))
            yield
            await killer

    async def _is(self, environment: str, state: str) -> bool:
        described = self.service.environments(self.configuration.name)
        return any(e.id == environment and e.state == state for e in described)

    async def _block(self, command: str, milliseconds: int) -> int:
        data = {
            "failCommands": [command],
            "blockConnection": True,
            "blockTimeMS": milliseconds,
            "appName": APP_NAME,
        }
        reply = await self._admin.command(
            {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data}
        )
        return int(reply["count"])

    async def _entered(self, before: int) -> None:
        await self._admin.command(
            {
                "waitForFailPoint": "failCommand",
                "timesEntered": before + 1,
                "maxTimeMS": BOUND_S * 1000,
            }
        )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(BOUND_S):
        while not await condition():  # noqa: ASYNC110 - of another process, which sets no event
            await asyncio.sleep(0.005)


async def _coroutine(function: Callable[[], Awaitable[None]]) -> None:
    await function()


@pytest_asyncio.fixture(loop_scope="module")
async def stage(
    local_lambda: LocalLambda,
    proxy_configuration: FunctionConfiguration,
    mongod_uri: str,
    tmp_path: Path,
) -> AsyncIterator[Stage]:
    (tmp_path / "directed.py").write_text(_DIRECTED)
    direction = tmp_path / "direction"
    direction.write_text("")
    separator = "&" if "?" in mongod_uri else "/?"
    configuration = replace(
        proxy_configuration,
        name=f"p{uuid4().hex[:8]}",
        handler="directed.handler",
        code=(tmp_path, *proxy_configuration.code),
        reserved_concurrency=1,
        environment={
            **proxy_configuration.environment,
            "ODM_PROXY_MONGODB_URI": f"{mongod_uri}{separator}appName={APP_NAME}",
            "DIRECTION": str(direction),
        },
    )
    local_lambda.add_function(configuration)
    url = f"lambda://{configuration.name}/t{uuid4().hex}?endpoint={local_lambda.endpoint_url}"
    async with Direct(mongod_uri) as direct, open_transport(url) as app:
        stage = Stage(local_lambda, configuration, app, direct, direction)
        await stage.things.insert_many([{"_id": i, "n": 0} for i in range(5)])
        yield stage
        direction.write_text("")
        await app.client.admin.command("ping")  # whatever it was: the next command works
        await direct.drop_database(app.url.database)
    await local_lambda.remove_function(configuration.name)


async def failure(operation: Awaitable[Any]) -> PyMongoError:
    """Return the error of an operation, which must not take long to fail."""
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(PyMongoError) as caught:
            await operation
    return caught.value


def check(stage: Stage, error: PyMongoError, code: int, labels: set[str], *words: str) -> None:
    assert type(error) is OperationFailure
    assert error.code == code
    assert error.details is not None
    assert set(error.details.get("errorLabels", [])) == labels
    for word in (f"'{stage.configuration.name}'", *words):
        assert word in str(error)


async def increment(stage: Stage) -> Any:
    return await stage.things.update_one({"_id": 0}, {"$inc": {"n": 1}})


async def increment_all(stage: Stage) -> Any:
    return await stage.things.update_many({}, {"$inc": {"n": 1}})


KILLED = "signal: killed"


# -- killed --------------------------------------------------------------------------------------


async def test_a_retryable_write_survives_a_kill_before_the_server_has_it(stage: Stage) -> None:
    async with stage.killed_before("update"):
        assert (await increment(stage)).modified_count == 1
    assert await stage.numbers() == [1, 0, 0, 0, 0]


async def test_a_retryable_write_survives_a_kill_while_the_server_works(stage: Stage) -> None:
    async with stage.killed_during("update"):
        assert (await increment(stage)).modified_count == 1
    assert await stage.numbers() == [1, 0, 0, 0, 0]


async def test_a_retryable_write_survives_a_kill_after_it_was_applied(stage: Stage) -> None:
    async def applied() -> bool:
        return (await stage.numbers())[0] == 1

    async with stage.killed_after("update", applied):
        assert (await increment(stage)).modified_count == 1
    assert await stage.numbers() == [1, 0, 0, 0, 0]


async def test_a_write_of_many_that_was_killed_says_that_its_outcome_is_unknown(
    stage: Stage,
) -> None:
    async with stage.killed_before("update"):
        error = await failure(increment_all(stage))
    check(stage, error, 6, set(), "'update'", KILLED, UNKNOWN)
    assert await stage.numbers() == [0] * 5

    async def applied() -> bool:
        return await stage.numbers() == [1] * 5

    async with stage.killed_after("update", applied):
        error = await failure(increment_all(stage))
    check(stage, error, 6, set(), "'update'", KILLED, UNKNOWN)
    assert await stage.numbers() == [1] * 5, "once, though nobody said so"


@pytest.mark.parametrize("command", ["delete", "aggregate"])
async def test_a_delete_of_many_and_an_out_that_were_killed_say_so_too(
    stage: Stage, command: str
) -> None:
    copy = stage.direct.database.copy

    async def applied() -> bool:
        if command == "delete":
            return not await stage.numbers()
        return await copy.count_documents({}) == 5

    async with stage.killed_after(command, applied):
        operation: Awaitable[Any] = (
            stage.things.delete_many({})
            if command == "delete"
            else stage.things.aggregate([{"$out": "copy"}])
        )
        error = await failure(operation)
    check(stage, error, 6, set(), f"'{command}'", KILLED, UNKNOWN)


@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_read_is_repeated_when_its_environment_is_killed(stage: Stage, moment: str) -> None:
    killed = stage.killed_before if moment == "before" else stage.killed_during
    async with killed("find"):
        assert await stage.things.find_one({"_id": 0}) == {"_id": 0, "n": 0}


@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_get_more_is_not_repeated_when_its_environment_is_killed(
    stage: Stage, moment: str
) -> None:
    cursor = stage.things.find({}, batch_size=2)
    assert await cursor.next() == {"_id": 0, "n": 0}
    assert await cursor.next() == {"_id": 1, "n": 0}
    killed = stage.killed_before if moment == "before" else stage.killed_during
    async with killed("getMore"):
        error = await failure(cursor.next())
    check(stage, error, 6, set(), "'getMore'", KILLED, UNKNOWN)
    await cursor.close()


@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_statement_that_was_killed_lets_the_transaction_be_repeated(
    stage: Stage, moment: str
) -> None:
    killed = stage.killed_before if moment == "before" else stage.killed_during
    async with stage.app.client.start_session() as session:
        await session.start_transaction()
        await stage.things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
        async with killed("insert"):
            error = await failure(stage.things.insert_one({"_id": 9, "n": 9}, session=session))
        check(stage, error, 6, {"TransientTransactionError"}, "'insert'", KILLED, UNKNOWN)
        await session.abort_transaction()
    assert await stage.numbers() == [0] * 5
    await increment(stage)  # no lock is left in the way


async def test_a_transaction_is_repeated_as_a_whole_when_an_environment_is_killed(
    stage: Stage,
) -> None:
    async def transfer(session: Any) -> None:
        await stage.things.update_one({"_id": 0}, {"$inc": {"n": -1}}, session=session)
        await stage.things.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)

    async with stage.killed_during("update"), stage.app.client.start_session() as session:
        await session.with_transaction(transfer)
    assert await stage.numbers() == [-1, 1, 0, 0, 0]


@pytest.mark.parametrize("moment", ["before", "during", "after"])
async def test_a_commit_is_repeated_when_its_environment_is_killed(
    stage: Stage, moment: str
) -> None:
    async def applied() -> bool:
        return (await stage.numbers())[0] == 1

    command = "commitTransaction"
    async with stage.app.client.start_session() as session:
        await session.start_transaction()
        # Whichever environment: a transaction lives on the server.
        moments: dict[str, Callable[[], AbstractAsyncContextManager[None]]] = {
            "before": lambda: stage.killed_before(command),
            "during": lambda: stage.killed_during(command),
            "after": lambda: stage.killed_after(command, applied),
        }
        await stage.things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
        async with moments[moment]():
            await session.commit_transaction()
    assert await stage.numbers() == [1, 0, 0, 0, 0]


# -- other ends of an environment ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "words", "ran", "applied"),
    [
        ("exit", "exit status 7", UNKNOWN, False),
        ("raise", "RuntimeError: no luck today", UNKNOWN, False),
        ("hoard", KILLED, UNKNOWN, True),
    ],
)
async def test_a_crash_of_the_function_leaves_the_outcome_unknown(
    stage: Stage, direction: str, words: str, ran: str, *, applied: bool
) -> None:
    stage.direct_function(direction)
    error = await failure(increment_all(stage))
    check(stage, error, 6, set(), "'update'", "the function failed", words, ran)
    assert await stage.numbers() == [int(applied)] * 5
    error = await failure(increment(stage))
    check(stage, error, 6, {"RetryableWriteError"}, "'update'", words, ran)
    assert await stage.numbers() == [2 * applied, *[int(applied)] * 4], "repeated, applied once"


async def test_a_response_that_is_too_large_says_that_the_command_ran(stage: Stage) -> None:
    stage.direct_function("babble")
    for expected, operation in ((1, increment_all), (2, increment)):
        error = await failure(operation(stage))
        check(stage, error, 10334, set(), "'update'", "Response payload size exceeded", RAN)
        assert (await stage.numbers())[0] == expected
    stage.direct_function("")
    async with stage.app.client.start_session() as session:
        await session.start_transaction()
        await stage.things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
        stage.direct_function("babble")
        error = await failure(session.commit_transaction())
        assert error.has_error_label("UnknownTransactionCommitResult")
        assert RAN in str(error)
    assert (await stage.numbers())[0] == 3


@pytest.mark.parametrize(
    ("direction", "words", "ran"),
    [
        ("raise in init", "the function's initialisation failed: RuntimeError", NOT_RUN),
        ("exit in init", "exit status 7", UNKNOWN),
    ],
)
async def test_a_crash_at_init_says_so(stage: Stage, direction: str, words: str, ran: str) -> None:
    environment = await stage.one_environment()
    stage.direct_function(direction)
    await stage.service.kill_environment(environment)
    error = await failure(increment_all(stage))
    check(stage, error, 6, set(), "'update'", words, ran)
    error = await failure(increment(stage))
    labels = {"RetryableWriteError"} | ({"NoWritesPerformed"} if ran == NOT_RUN else set())
    check(stage, error, 6, labels, "'update'", words, ran)
    assert await stage.numbers() == [0] * 5


async def test_a_function_that_is_stopped_at_its_time_out_leaves_the_outcome_unknown(
    stage: Stage,
) -> None:
    """It says so itself a little earlier, but when it is stuck."""
    await stage.service.update_function(replace(stage.configuration, timeout_s=0.5))
    stage.service.freeze(await stage.one_environment())
    error = await failure(increment_all(stage))
    check(stage, error, 89, set(), "'update'", "Task timed out after 0.50 seconds", UNKNOWN)
    stage.service.freeze(await stage.one_environment())
    async with asyncio.timeout(BOUND_S):
        await increment(stage)  # by a new environment, which has more time
    assert await stage.numbers() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("qualifier", ["", ":live"])
async def test_a_function_or_alias_that_goes_away_is_missed(stage: Stage, qualifier: str) -> None:
    name = f"{stage.configuration.name}-gone"
    gone = replace(stage.configuration, name=name, aliases={"live": "1"})
    stage.service.add_function(gone)
    url = f"lambda://{name}{qualifier}/{stage.app.url.database}"
    async with open_transport(f"{url}?endpoint={stage.service.endpoint_url}") as app:
        if qualifier:
            await stage.service.update_function(replace(gone, aliases={}))
        else:
            await stage.service.remove_function(name)
        error = await failure(app.database.things.update_one({"_id": 0}, {"$inc": {"n": 1}}))
    assert isinstance(error, OperationFailure)
    assert error.code == 13
    assert error.details is not None
    assert error.details["errorLabels"] == ["NoWritesPerformed"]
    for words in (f"'{name}{qualifier}'", "'update'", "ResourceNotFoundException", NOT_RUN):
        assert words in str(error)
    if qualifier:
        await stage.service.remove_function(name)
