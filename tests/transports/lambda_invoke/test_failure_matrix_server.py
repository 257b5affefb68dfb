"""Failures of MongoDB behind the function, caused for real, as the application sees them.

Rows of the table in docs/lambda.md, "When something fails".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pymongo
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient
from pymongo.errors import (
    AutoReconnect,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from transports import open_transport
from transports.base import Transport
from transports.errors import ServerUnreachable
from transports.local_lambda import FunctionConfiguration, LocalLambda
from transports.mongod import MongodOptions, ReplicaSet, missing_mongod_reason

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOUND_S = 30
"""Nothing may take longer: a test that hangs fails."""

NOT_RUN = "It did not run."
PASSWORD = "open-sesame"

Direct = AsyncMongoClient[dict[str, Any]]


@pytest.fixture(scope="module")
def replica_set() -> Iterator[ReplicaSet]:
    """One member, which a test may kill and start again."""
    if reason := missing_mongod_reason():
        pytest.skip(reason)
    with ReplicaSet(MongodOptions(test_commands=True, cache_gb=0.25)) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def configuration(
    local_lambda: LocalLambda, proxy_configuration: FunctionConfiguration, replica_set: ReplicaSet
) -> AsyncIterator[FunctionConfiguration]:
    made = replace(
        proxy_configuration,
        name=f"p{uuid4().hex[:8]}",
        environment={
            **proxy_configuration.environment,
            "ODM_PROXY_MONGODB_URI": replica_set.uri,
            "ODM_PROXY_SERVER_SELECTION_TIMEOUT_MS": "500",
        },
    )
    local_lambda.add_function(made)
    yield made
    await local_lambda.remove_function(made.name)


@pytest_asyncio.fixture(loop_scope="module")
async def app(
    local_lambda: LocalLambda, configuration: FunctionConfiguration
) -> AsyncIterator[Transport]:
    url = f"lambda://{configuration.name}/t{uuid4().hex}?endpoint={local_lambda.endpoint_url}"
    async with open_transport(url) as transport:
        await transport.database.things.insert_many([{"_id": i, "n": 0} for i in range(5)])
        yield transport
        # Whatever it was: the next command works.
        async with asyncio.timeout(BOUND_S):
            await transport.database.things.update_many({}, {"$inc": {"n": 1}})


async def failure(operation: Awaitable[Any]) -> PyMongoError:
    """Return the error of an operation, which must not take long to fail."""
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(PyMongoError) as caught:
            await operation
    return caught.value


async def numbers(replica_set: ReplicaSet, app: Transport) -> list[int]:
    """``n`` of every thing, not by way of Lambda."""
    async with Direct(replica_set.uri) as direct:
        things = direct[app.url.database].things
        return [thing["n"] async for thing in things.find({}).sort("_id")]


async def fail(replica_set: ReplicaSet, command: str, **data: Any) -> None:
    """Have the server fail the function's next *command*."""
    async with Direct(replica_set.uri) as direct:
        await direct.admin.command(
            {
                "configureFailPoint": "failCommand",
                "mode": {"times": 1},
                "data": {"failCommands": [command], "appName": "odm-db-proxy", **data},
            }
        )


# -- MongoDB is down -----------------------------------------------------------------------------


async def test_a_mongodb_that_is_down_is_not_reached_and_found_again(
    app: Transport, replica_set: ReplicaSet, configuration: FunctionConfiguration
) -> None:
    things = app.database.things
    [member] = replica_set.members
    member.kill()
    try:
        with pymongo.timeout(2):
            error = await failure(things.update_many({}, {"$inc": {"n": 1}}))
        # As over a direct connection: the connection broke, or none was made.
        assert isinstance(error, AutoReconnect)
        for operation in (
            things.update_one({"_id": 0}, {"$inc": {"n": 1}}),
            things.find_one({"_id": 0}),
            app.client.admin.command("ping"),
        ):
            with pymongo.timeout(2):
                error = await failure(operation)
            assert isinstance(error, AutoReconnect), repr(error)
        assert isinstance(error, ServerSelectionTimeoutError)
        assert configuration.name in str(error)
        assert member.address in str(error)
    finally:
        await asyncio.to_thread(replica_set.restart, member)
        await asyncio.to_thread(replica_set.wait_for_primary)
    assert await numbers(replica_set, app) == [0] * 5
    async with asyncio.timeout(BOUND_S):
        await things.update_one({"_id": 0}, {"$inc": {"n": 1}})
    assert await numbers(replica_set, app) == [1, 0, 0, 0, 0]


async def test_a_server_that_cannot_be_selected_is_named_and_nothing_ran(
    app: Transport,
    replica_set: ReplicaSet,
    local_lambda: LocalLambda,
    configuration: FunctionConfiguration,
) -> None:
    environment = {**configuration.environment, "ODM_PROXY_MONGODB_URI": "mongodb://127.0.0.1:1/"}
    await local_lambda.update_function(replace(configuration, environment=environment))
    try:
        error = await failure(app.database.things.update_many({}, {"$inc": {"n": 1}}))
        assert isinstance(error, NotPrimaryError)
        assert error.details is not None
        assert isinstance(error.details, dict)
        assert error.details["code"] == 91
        for words in (f"'{configuration.name}'", "'update'", "could not reach", NOT_RUN):
            assert words in str(error)
        with pymongo.timeout(2):
            error = await failure(app.database.things.find_one({}))
        assert isinstance(error, ServerSelectionTimeoutError)
    finally:
        await local_lambda.update_function(configuration)
    assert await numbers(replica_set, app) == [0] * 5


# -- a connection that breaks under a command ----------------------------------------------------


async def test_a_connection_that_breaks_under_a_command_breaks_for_the_driver(
    app: Transport, replica_set: ReplicaSet
) -> None:
    things = app.database.things
    await fail(replica_set, "update", closeConnection=True)
    error = await failure(things.update_many({}, {"$inc": {"n": 1}}))
    assert type(error) is AutoReconnect
    assert await numbers(replica_set, app) == [0] * 5

    await fail(replica_set, "update", closeConnection=True)
    await things.update_one({"_id": 0}, {"$inc": {"n": 1}})
    assert await numbers(replica_set, app) == [1, 0, 0, 0, 0]

    await fail(replica_set, "find", closeConnection=True)
    assert await things.find_one({"_id": 0}) == {"_id": 0, "n": 1}

    cursor = things.find({}, batch_size=2)
    await fail(replica_set, "getMore", closeConnection=True)
    assert type(await failure(cursor.to_list())) is AutoReconnect

    async with app.client.start_session() as session:
        await session.start_transaction()
        await things.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
        await fail(replica_set, "update", closeConnection=True)
        error = await failure(things.update_one({"_id": 2}, {"$inc": {"n": 1}}, session=session))
        assert type(error) is AutoReconnect
        assert error.has_error_label("TransientTransactionError")
        await session.abort_transaction()
        await session.start_transaction()
        await things.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
        await fail(replica_set, "commitTransaction", closeConnection=True)
        await session.commit_transaction()
    assert await numbers(replica_set, app) == [1, 1, 0, 0, 0]


async def test_a_command_that_outlasts_the_function_is_given_up_in_words(
    app: Transport,
    replica_set: ReplicaSet,
    local_lambda: LocalLambda,
    configuration: FunctionConfiguration,
) -> None:
    await local_lambda.update_function(replace(configuration, timeout_s=1.5))
    await app.client.admin.command("ping")  # the initialisation has a time of its own
    await fail(replica_set, "update", blockConnection=True, blockTimeMS=1500)
    error = await failure(app.database.things.update_many({}, {"$inc": {"n": 1}}))
    assert type(error) is OperationFailure
    assert error.code == 89
    for words in (f"'{configuration.name}'", "'update'", "maxTimeMS", "Whether it ran is unknown."):
        assert words in str(error)
    await local_lambda.update_function(configuration)


# -- a primary that steps down -------------------------------------------------------------------


async def test_writes_outlive_a_primary_that_steps_down(
    app: Transport, replica_set: ReplicaSet
) -> None:
    things = app.database.things
    stepped_down = asyncio.Event()

    async def increment() -> int:
        done = 0
        while done < 10 or not stepped_down.is_set():
            await things.update_one({"_id": 0}, {"$inc": {"n": 1}})
            done += 1
        for _ in range(5):
            await things.update_one({"_id": 0}, {"$inc": {"n": 1}})
        return done + 5

    async with asyncio.timeout(2 * BOUND_S):
        incrementing = asyncio.create_task(increment())
        async with Direct(replica_set.uri) as direct:
            await direct.admin.command({"replSetStepDown": 1, "force": True})
        stepped_down.set()
        acknowledged = await incrementing
    assert await numbers(replica_set, app) == [acknowledged, 0, 0, 0, 0]


async def test_a_server_that_is_no_primary_refuses_in_its_own_words(
    app: Transport, replica_set: ReplicaSet
) -> None:
    things = app.database.things
    await fail(replica_set, "update", errorCode=10107)
    error = await failure(things.update_many({}, {"$inc": {"n": 1}}))
    assert isinstance(error, NotPrimaryError)
    await fail(replica_set, "update", errorCode=10107, errorLabels=["RetryableWriteError"])
    async with asyncio.timeout(BOUND_S):
        await things.update_one({"_id": 0}, {"$inc": {"n": 1}})
    assert await numbers(replica_set, app) == [1, 0, 0, 0, 0]


# -- authentication ------------------------------------------------------------------------------


async def test_credentials_that_are_refused_are_not_shown(
    app: Transport,
    replica_set: ReplicaSet,
    local_lambda: LocalLambda,
    configuration: FunctionConfiguration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    uri = replica_set.uri.replace("mongodb://", f"mongodb://alibaba:{PASSWORD}@")
    environment = {**configuration.environment, "ODM_PROXY_MONGODB_URI": uri}
    refused = replace(configuration, environment=environment)
    await local_lambda.update_function(refused)
    try:
        for operation in (
            app.database.things.update_many({}, {"$inc": {"n": 1}}),
            app.database.things.update_one({}, {"$inc": {"n": 1}}),
            app.database.things.find_one({}),
        ):
            error = await failure(operation)
            assert type(error) is OperationFailure
            assert error.code == 18
            assert error.details is not None
            assert set(error.details.get("errorLabels", [])) <= {"NoWritesPerformed"}
            assert f"'{configuration.name}'" in str(error)
            assert "Authentication failed" in str(error)
            assert NOT_RUN in str(error)
            assert PASSWORD not in f"{error!s}{error!r}{error.details}"
        url = f"lambda://{configuration.name}/cms?endpoint={local_lambda.endpoint_url}"
        async with asyncio.timeout(BOUND_S):
            with pytest.raises((ServerUnreachable, OperationFailure)) as caught:
                async with open_transport(url) as transport:
                    await transport.client.admin.command("ping")
        assert "Authentication failed" in str(caught.value)
        assert PASSWORD not in f"{caught.value!s}{caught.value!r}"
    finally:
        await local_lambda.update_function(configuration)
    assert PASSWORD not in caplog.text
    assert PASSWORD not in local_lambda.logs(configuration.name)
    assert await numbers(replica_set, app) == [0] * 5


# -- a statement that is cancelled ---------------------------------------------------------------


@pytest.mark.parametrize("age_s", [0.05, 0.7])
async def test_a_cancelled_statement_leaves_no_lock_behind(
    app: Transport, replica_set: ReplicaSet, age_s: float
) -> None:
    things = app.database.things
    running = {"$match": {"ns": f"{app.url.database}.things", "op": "query"}}

    async def transaction() -> None:
        async with app.client.start_session() as session, await session.start_transaction():
            await things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
            slow = {"$where": "sleep(60000) || true"}
            await things.find(slow, session=session).to_list()

    async with asyncio.timeout(BOUND_S), Direct(replica_set.uri) as direct:
        task = asyncio.create_task(transaction())
        older = {"$match": {"microsecs_running": {"$gte": int(age_s * 1_000_000)}}}
        pipeline: list[dict[str, Any]] = [{"$currentOp": {}}, running, older]
        while not await (await direct.admin.aggregate(pipeline)).to_list():
            assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await things.update_one({"_id": 0}, {"$inc": {"n": 1}})
    assert await numbers(replica_set, app) == [1, 0, 0, 0, 0]
