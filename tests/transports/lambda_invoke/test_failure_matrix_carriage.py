"""Failures between the caller and the function, caused for real, as the application sees them.

The rows of the table in docs/lambda.md, "When something fails", that AWS Lambda or the network
cause. What the environments and MongoDB cause is in the neighbouring modules.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from typing import Any
from uuid import uuid4

import pymongo
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient
from pymongo.errors import (
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

from tests.transports.lambda_invoke import faulty_relay as faults
from tests.transports.lambda_invoke.faulty_relay import Fault, FaultyRelay
from transports import open_transport
from transports.base import Transport
from transports.local_lambda import LocalLambda

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOUND_S = 20
"""Nothing may take longer: a test that hangs fails."""

UNKNOWN = "Whether it ran is unknown."
NOT_RUN = "It did not run."
RAN = "It ran; only its reply is lost."


@pytest_asyncio.fixture(loop_scope="module")
async def app(relay: FaultyRelay) -> AsyncIterator[Transport]:
    url = f"lambda://db-proxy/t{uuid4().hex}?endpoint={relay.url}&throttleTimeoutMS=300"
    async with asyncio.timeout(3 * BOUND_S), open_transport(url) as transport:
        await transport.database.things.insert_many([{"_id": i, "n": 0} for i in range(5)])
        relay.invokes.clear()
        yield transport
        relay.heal()
        await transport.client.admin.command("ping")  # whatever it was: the next command works
        await transport.client.drop_database(transport.url.database)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def direct(mongod_uri: str) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](mongod_uri) as client:
        yield client


Things = Callable[[], Awaitable[list[int]]]


@pytest.fixture
def numbers(app: Transport, direct: AsyncMongoClient[dict[str, Any]]) -> Things:
    """What is in the database, not by way of Lambda: ``n`` of the five things."""

    async def read() -> list[int]:
        things = direct[app.url.database].things
        return [thing["n"] async for thing in things.find({}).sort("_id")]

    return read


async def increment(app: Transport) -> Any:
    return await app.database.things.update_one({"_id": 0}, {"$inc": {"n": 1}})


async def increment_in_transaction(app: Transport) -> None:
    async with app.client.start_session() as session, await session.start_transaction():
        await app.database.things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)


async def increment_all(app: Transport) -> Any:
    return await app.database.things.update_many({}, {"$inc": {"n": 1}})


async def delete_all(app: Transport) -> Any:
    return await app.database.things.delete_many({})


async def write_out(app: Transport) -> Any:
    return await app.database.things.aggregate([{"$out": "copy"}])


async def read_one(app: Transport) -> Any:
    return await app.database.things.find_one({"_id": 0})


async def failure(operation: Awaitable[Any]) -> PyMongoError:
    """Return the error of an operation, which must not take long to fail."""
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(PyMongoError) as caught:
            await operation
    return caught.value


def check(
    error: PyMongoError, kind: type[PyMongoError], code: int, labels: set[str], *words: str
) -> None:
    assert type(error) is kind
    assert isinstance(error, OperationFailure)
    assert error.code == code
    assert error.details is not None
    assert set(error.details.get("errorLabels", [])) == labels
    for word in ("'db-proxy'", *words):
        assert word in str(error)


BROKEN = [
    faults.reset_before,
    faults.reset_after,
    faults.reset_amid,
    faults.cut_short,
    faults.closed_after,
    faults.refused(500, "ServiceException", "internal error"),
    faults.answered(b"<html>Bad Gateway</html>", status=502, Content_Type="text/html"),
]
BROKEN_IDS = ["reset-before", "reset-after", "reset-amid", "cut", "closed", "500", "502-html"]
APPLIED = {"reset-after", "reset-amid", "cut", "closed"}
broken = pytest.mark.parametrize("fault", BROKEN, ids=BROKEN_IDS)


# -- an invoke without an answer: it may have run ------------------------------------------------


@broken
async def test_a_retryable_write_is_applied_once(
    app: Transport, relay: FaultyRelay, numbers: Things, fault: Fault
) -> None:
    relay.on("update", fault)
    async with asyncio.timeout(BOUND_S):
        assert (await increment(app)).modified_count == 1
    assert await numbers() == [1, 0, 0, 0, 0]
    assert relay.invokes["update"] == 2, "the driver repeated it once, and nobody else"


@broken
async def test_a_write_of_many_is_not_repeated_and_says_that_its_outcome_is_unknown(
    app: Transport,
    relay: FaultyRelay,
    numbers: Things,
    fault: Fault,
    request: pytest.FixtureRequest,
) -> None:
    relay.on("update", fault)
    error = await failure(increment_all(app))
    check(error, OperationFailure, 6, set(), "'update'", "AWS Lambda", UNKNOWN)
    assert relay.invokes["update"] == 1
    applied = request.node.callspec.id in APPLIED
    assert await numbers() == [int(applied)] * 5


@pytest.mark.parametrize(
    ("operation", "command"), [(delete_all, "delete"), (write_out, "aggregate")]
)
async def test_other_writes_that_a_driver_may_not_repeat_say_so_too(
    app: Transport,
    relay: FaultyRelay,
    direct: AsyncMongoClient[dict[str, Any]],
    operation: Callable[[Transport], Awaitable[Any]],
    command: str,
) -> None:
    relay.on(command, faults.reset_after)
    check(await failure(operation(app)), OperationFailure, 6, set(), f"'{command}'", UNKNOWN)
    assert relay.invokes[command] == 1
    database = direct[app.url.database]
    if command == "delete":
        assert await database.things.count_documents({}) == 0
    else:
        assert await database.copy.count_documents({}) == 5


@broken
async def test_a_read_is_repeated_once(app: Transport, relay: FaultyRelay, fault: Fault) -> None:
    relay.on("find", fault)
    async with asyncio.timeout(BOUND_S):
        assert await read_one(app) == {"_id": 0, "n": 0}
    assert relay.invokes["find"] == 2


async def test_a_read_that_fails_twice_says_why(app: Transport, relay: FaultyRelay) -> None:
    relay.on("find", faults.reset_before, times=2)
    check(await failure(read_one(app)), OperationFailure, 6, set(), "'find'", "reset", UNKNOWN)
    assert relay.invokes["find"] == 2


@broken
async def test_a_get_more_is_not_repeated(app: Transport, relay: FaultyRelay, fault: Fault) -> None:
    relay.on("getMore", fault)
    cursor = app.database.things.find({}, batch_size=2)
    check(await failure(cursor.to_list()), OperationFailure, 6, set(), "'getMore'", UNKNOWN)
    assert relay.invokes["getMore"] == 1


@broken
async def test_a_statement_of_a_transaction_lets_the_whole_be_repeated(
    app: Transport, relay: FaultyRelay, numbers: Things, fault: Fault
) -> None:
    things = app.database.things
    async with app.client.start_session() as session:
        await session.start_transaction()
        await things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
        relay.on("update", fault)
        error = await failure(things.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session))
        check(error, OperationFailure, 6, {"TransientTransactionError"}, "'update'", UNKNOWN)
        await session.abort_transaction()
        assert await numbers() == [0] * 5

        async def both(session: Any) -> None:
            for number in (0, 1):
                await things.update_one({"_id": number}, {"$inc": {"n": 1}}, session=session)

        relay.on("update", fault)
        async with asyncio.timeout(BOUND_S):
            await session.with_transaction(both)
    assert await numbers() == [1, 1, 0, 0, 0]


@broken
async def test_a_commit_is_repeated_and_commits_once(
    app: Transport, relay: FaultyRelay, numbers: Things, fault: Fault
) -> None:
    relay.on("commitTransaction", fault)
    async with asyncio.timeout(BOUND_S):
        await increment_in_transaction(app)
    assert await numbers() == [1, 0, 0, 0, 0]
    assert relay.invokes["commitTransaction"] == 2


@pytest.mark.parametrize(
    ("fault", "code"),
    [(faults.reset_after, 6), (faults.answered(b"<html>"), 17)],
    ids=["reset", "foreign"],
)
async def test_a_commit_without_an_answer_has_an_unknown_result(
    app: Transport, relay: FaultyRelay, fault: Fault, code: int
) -> None:
    relay.on("commitTransaction", fault, times=2)
    async with app.client.start_session() as session:
        await session.start_transaction()
        await app.database.things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
        error = await failure(session.commit_transaction())
        assert error.has_error_label("UnknownTransactionCommitResult")
        assert isinstance(error, OperationFailure)
        assert error.code == code
        assert UNKNOWN in str(error)
        relay.heal()
        await session.commit_transaction()  # as the driver's manual says: once more


async def test_an_abort_that_fails_leaves_nothing_behind(
    app: Transport, relay: FaultyRelay, numbers: Things
) -> None:
    relay.on("abortTransaction", faults.reset_before)
    async with asyncio.timeout(BOUND_S), app.client.start_session() as session:
        await session.start_transaction()
        await app.database.things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
        await session.abort_transaction()
        await increment(app)  # no lock is in the way
    assert await numbers() == [1, 0, 0, 0, 0]
    assert relay.invokes["abortTransaction"] == 2


# -- black holes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [faults.silent, faults.silent_after], ids=["before", "after"])
async def test_an_invoke_that_is_never_answered_ends_at_its_time_out(
    relay: FaultyRelay, app: Transport, numbers: Things, fault: Fault
) -> None:
    url = f"lambda://db-proxy/{app.url.database}?endpoint={relay.url}&invokeTimeoutMS=400"
    async with open_transport(url) as impatient:
        relay.on("update", fault)
        error = await failure(increment_all(impatient))
        check(error, OperationFailure, 89, set(), "'update'", "no response within 0.4 s", UNKNOWN)
        applied = fault is faults.silent_after
        assert await numbers() == [int(applied)] * 5
        relay.on("update", fault)
        async with asyncio.timeout(BOUND_S):
            await increment(impatient)
        assert (await numbers())[0] == applied + 1
        await impatient.client.admin.command("ping")


@pytest.mark.parametrize(
    ("deaf", "words"),
    [(True, "no connection within 0.2 s"), (False, "Could not connect")],
    ids=["black-hole", "refused"],
)
async def test_a_service_that_cannot_be_connected_to_did_not_run_anything(
    local_lambda: LocalLambda, app: Transport, numbers: Things, *, deaf: bool, words: str
) -> None:
    async with FaultyRelay(local_lambda.endpoint_url) as service:
        url = f"lambda://db-proxy/{app.url.database}?endpoint={service.url}&connectTimeoutMS=200"
        async with open_transport(url) as transport:
            await transport.client.admin.command("ping")
            await service.leave()
            with service.deaf() if deaf else nullcontext():
                for _ in range(2):
                    error = await failure(increment_all(transport))
                    check(error, OperationFailure, 6, set(), "'update'", words, NOT_RUN)
    assert await numbers() == [0] * 5


# -- throttles -----------------------------------------------------------------------------------


async def test_a_throttled_command_is_tried_again_and_runs_once(
    app: Transport, relay: FaultyRelay, numbers: Things
) -> None:
    relay.on("update", faults.throttled, times=3)
    async with asyncio.timeout(BOUND_S):
        await increment_all(app)
    assert await numbers() == [1] * 5
    assert relay.invokes["update"] == 4
    assert app.statistics().details["throttles"] == 3


@pytest.mark.parametrize(
    ("operation", "command", "labels"),
    [
        (increment, "update", {"RetryableWriteError", "NoWritesPerformed"}),
        (increment_all, "update", set()),
        (read_one, "find", set()),
    ],
)
async def test_a_lasting_throttle_is_an_overload_and_the_drivers_loop_follows_ours(
    app: Transport,
    relay: FaultyRelay,
    numbers: Things,
    monkeypatch: pytest.MonkeyPatch,
    operation: Callable[[Transport], Awaitable[Any]],
    command: str,
    labels: set[str],
) -> None:
    relay.on(command, faults.throttled, times=1000)
    replies: list[int] = []
    original = app._backend.run  # type: ignore[attr-defined]

    async def counted(request: Any) -> bytes:
        before = relay.invokes[command]
        try:
            reply: bytes = await original(request)
        finally:
            if request.name == command:
                replies.append(relay.invokes[command] - before)
        return reply

    monkeypatch.setattr(app._backend, "run", counted)  # type: ignore[attr-defined]
    error = await failure(operation(app))
    check(
        error,
        OperationFailure,
        462,
        {"SystemOverloadedError", "RetryableError", *labels},
        f"'{command}'",
        "ConcurrentInvocationLimitExceeded",
        NOT_RUN,
    )
    assert replies[0] > 1, "ours first"
    assert set(replies[1:]) <= {1}, "then the driver's, each time one invoke"
    assert len(replies) <= 3
    relay.heal()
    await operation(app)
    assert max(await numbers()) <= 1


async def test_a_throttle_outlasts_no_time_limit_of_the_command(
    app: Transport, relay: FaultyRelay
) -> None:
    relay.on("find", faults.throttled, times=1000)
    error = await failure(app.database.things.find({}).max_time_ms(60).to_list())
    check(
        error,
        ExecutionTimeout,
        50,
        {"SystemOverloadedError"},
        "maxTimeMS of 60",
        "throttled",
        NOT_RUN,
    )
    assert error.timeout
    with pymongo.timeout(0.15):
        error = await failure(app.database.things.find({}).to_list())
    assert error.timeout


async def test_a_throttled_statement_and_commit_of_a_transaction_are_tried_again(
    app: Transport, relay: FaultyRelay, numbers: Things
) -> None:
    relay.on("update", faults.throttled, times=2)
    relay.on("commitTransaction", faults.throttled, times=2)
    async with asyncio.timeout(BOUND_S):
        await increment_in_transaction(app)
    assert await numbers() == [1, 0, 0, 0, 0]


async def test_a_throttle_while_a_large_reply_is_fetched_does_not_say_that_it_did_not_run(
    app: Transport, relay: FaultyRelay
) -> None:
    noise = random.Random(1).randbytes(6_000_000)
    await app.database.things.insert_one({"_id": 9, "n": 0, "noise": noise})
    relay.on("fetch", faults.throttled, times=1000)
    error = await failure(
        app.database.command("findAndModify", "things", query={"_id": 9}, update={"$inc": {"n": 1}})
    )
    check(error, OperationFailure, 6, set(), "'findAndModify'", "throttled", RAN)
    relay.heal()
    assert (await app.database.things.find_one({"_id": 9}, {"n": 1})) == {"_id": 9, "n": 1}


@pytest.mark.parametrize(
    "second",
    [faults.throttled, faults.refused(403, "AccessDeniedException"), faults.reset_before],
    ids=["throttled", "refused", "reset"],
)
async def test_a_repetition_that_fails_does_not_deny_the_first_attempt(
    app: Transport, relay: FaultyRelay, numbers: Things, second: Fault
) -> None:
    """The first was applied and its answer lost; of the second it may be said that it did not."""
    relay.on("update", faults.reset_after)
    relay.on("update", second, times=1000)
    error = await failure(increment(app))
    assert isinstance(error, OperationFailure)
    assert error.code == 6
    assert UNKNOWN in str(error)
    assert await numbers() == [1, 0, 0, 0, 0]


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (faults.refused(403, "AccessDeniedException"), 13, "lambda:InvokeFunction"),
        (faults.refused(403, "ExpiredTokenException", "token is expired"), 13, "token is expired"),
        (faults.refused(404, "ResourceNotFoundException"), 13, "name, qualifier and region"),
        (faults.refused(413, "RequestEntityTooLargeException"), 10334, "refused the request"),
    ],
    ids=["denied", "expired-token", "missing", "too-large"],
)
@pytest.mark.parametrize(
    ("operation", "command", "labels"),
    [
        (increment, "update", {"NoWritesPerformed"}),
        (increment_all, "update", set()),
        (read_one, "find", set()),
    ],
)
async def test_what_aws_refuses_did_not_run_and_nobody_repeats_it(
    app: Transport,
    relay: FaultyRelay,
    numbers: Things,
    fault: Fault,
    code: int,
    words: str,
    operation: Callable[[Transport], Awaitable[Any]],
    command: str,
    labels: set[str],
) -> None:
    relay.on(command, fault)
    check(
        await failure(operation(app)),
        OperationFailure,
        code,
        labels,
        f"'{command}'",
        words,
        NOT_RUN,
    )
    assert relay.invokes[command] == 1
    assert await numbers() == [0] * 5


@pytest.mark.parametrize(
    ("status", "error_type"),
    [(502, "EC2ThrottledException"), (409, "ResourceConflictException")],
)
async def test_an_environment_that_could_not_be_set_up_did_not_run_anything(
    app: Transport, relay: FaultyRelay, numbers: Things, status: int, error_type: str
) -> None:
    relay.on("update", faults.refused(status, error_type))
    check(await failure(increment_all(app)), OperationFailure, 6, set(), error_type, NOT_RUN)
    relay.on("update", faults.refused(status, error_type))
    await increment(app)
    assert await numbers() == [1, 0, 0, 0, 0]


# -- foreign replies -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.answered(b"<html>Please sign in</html>", Content_Type="text/html"), "not JSON"),
        (faults.answered(b'{"odm": 1, "func'), "not JSON"),
        (faults.answered(b'{"statusCode": 200}'), "is this the DB proxy function"),
        (faults.answered(b'{"odm": 2, "replies": []}'), "version 2"),
        (faults.answered(b""), "not JSON"),
    ],
    ids=["html", "truncated", "foreign", "version", "empty"],
)
async def test_a_foreign_reply_is_a_protocol_error_and_leaves_the_outcome_unknown(
    app: Transport, relay: FaultyRelay, fault: Fault, words: str
) -> None:
    for operation, command in (
        (increment, "update"),
        (increment_all, "update"),
        (read_one, "find"),
    ):
        relay.invokes.clear()
        relay.on(command, fault)
        error = await failure(operation(app))
        check(error, OperationFailure, 17, set(), f"'{command}'", words, UNKNOWN)
        assert relay.invokes[command] == 1


async def test_what_the_function_does_not_understand_did_not_run(
    app: Transport, relay: FaultyRelay
) -> None:
    relay.on("update", faults.answered(b'{"odm": 1, "refusal": "what is odm?"}'))
    check(await failure(increment_all(app)), OperationFailure, 17, set(), "what is odm?", NOT_RUN)


async def test_a_refusal_inside_a_transaction_ends_it_cleanly(
    app: Transport, relay: FaultyRelay, numbers: Things
) -> None:
    relay.on("update", faults.refused(403, "AccessDeniedException"))
    async with app.client.start_session() as session:
        await session.start_transaction()
        error = await failure(
            app.database.things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
        )
        check(error, OperationFailure, 13, set(), "'update'", NOT_RUN)
        await session.abort_transaction()
    await increment(app)
    assert await numbers() == [1, 0, 0, 0, 0]
