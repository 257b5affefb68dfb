"""The policy of a real function in front of a real server: what a driver sees, what is written."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import bson
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient, InsertOne, WriteConcern
from pymongo.errors import OperationFailure
from pymongo.read_preferences import ReadPreference

from tests.transports.lambda_invoke.op_msg import message
from transports.base import Transport
from transports.errors import ServerUnreachable
from transports.lambda_invoke.function.executor import Executor
from transports.lambda_invoke.function.settings import FunctionSettings
from transports.local_lambda import FunctionConfiguration, LocalLambda
from transports.registry import open_transport

pytestmark = pytest.mark.asyncio(loop_scope="module")

DATABASE = f"policy_{uuid4().hex[:12]}"
POLICIES = {
    "default": "",
    "reader": {"databases": [DATABASE], "readOnly": True},
    "strict": {
        "databases": [DATABASE, f"{DATABASE}_other"],
        "collections": {"deny": ["secret*"]},
        "maxTimeMS": 60_000,
        "maxBatchSize": 3,
        "maxReplyBytes": 100_000,
    },
}

Open = Callable[[str], Awaitable[Transport]]


@dataclass(slots=True)
class Direct:
    """The server itself."""

    client: AsyncMongoClient[dict[str, Any]]

    async def names(self) -> set[str]:
        return set(await self.client[DATABASE].list_collection_names())


@pytest_asyncio.fixture(loop_scope="module")
async def direct(mongod_uri: str) -> AsyncIterator[Direct]:
    async with AsyncMongoClient[dict[str, Any]](mongod_uri) as client:
        yield Direct(client)
        for name in (DATABASE, f"{DATABASE}_other"):
            await client.drop_database(name)


def _uri(mongod_uri: str) -> str:
    base, _, options = mongod_uri.partition("?")
    return f"{base.rstrip('/')}/{DATABASE}" + (f"?{options}" if options else "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def transports(
    local_lambda: LocalLambda, proxy_configuration: FunctionConfiguration, mongod_uri: str
) -> AsyncIterator[Open]:
    """Open transports through functions, one for each of `POLICIES`."""
    opened: dict[str, Transport] = {}

    async def open_(name: str) -> Transport:
        if name not in opened:
            policy = POLICIES[name]
            environment = {"ODM_PROXY_MONGODB_URI": _uri(mongod_uri)}
            if policy:
                environment["ODM_PROXY_POLICY"] = json.dumps(policy)
            local_lambda.add_function(
                replace(proxy_configuration, name=name, environment=environment)
            )
            opened[name] = open_transport(
                f"lambda://{name}/{DATABASE}?endpoint={local_lambda.endpoint_url}"
            )
            await opened[name].open()
        return opened[name]

    yield open_
    for transport in opened.values():
        await transport.aclose()


def assert_unauthorized(error: OperationFailure, *words: str) -> None:
    assert type(error) is OperationFailure
    assert error.code == 13
    assert error.details is not None
    assert error.details["codeName"] == "Unauthorized"
    assert "errorLabels" not in error.details
    for word in (*words, "ODM_PROXY_POLICY"):
        assert word in str(error.details["errmsg"])


async def test_a_refusal_is_the_drivers_own_exception(transports: Open, direct: Direct) -> None:
    app = await transports("default")
    await app.database.things.insert_one({"_id": 1})
    with pytest.raises(OperationFailure) as caught:
        await app.client.drop_database(DATABASE)
    assert_unauthorized(caught.value, f"on {DATABASE} to execute command dropDatabase")
    with pytest.raises(OperationFailure) as caught:
        await app.client["elsewhere"].things.insert_one({"_id": 1})
    assert_unauthorized(caught.value, "'elsewhere'")
    with pytest.raises(OperationFailure) as caught:
        await app.database.things.find_one({"$where": "true"})
    assert_unauthorized(caught.value, "javaScript")
    assert await app.database.things.count_documents({}) == 1
    assert "elsewhere" not in await direct.client.list_database_names()


async def test_databases_are_listed_as_a_server_lists_a_users_own(
    transports: Open, direct: Direct
) -> None:
    app = await transports("default")
    await direct.client[DATABASE].things.insert_one({})
    await direct.client[f"{DATABASE}_other"].things.insert_one({})
    assert await app.client.list_database_names() == [DATABASE]
    for name, found in ((DATABASE, 1), (f"{DATABASE}_other", 0), ({"$regex": "policy"}, 1)):
        listing = await app.client.list_databases(filter={"name": name})
        assert len(await listing.to_list()) == found
    [listed] = await (await app.client.list_databases()).to_list()
    assert (listed["name"], listed["empty"]) == (DATABASE, False)


async def test_a_bulk_is_refused_as_a_whole(transports: Open, direct: Direct) -> None:
    app = await transports("reader")
    with pytest.raises(OperationFailure) as caught:
        await app.database.bulk.bulk_write([InsertOne({"_id": 1})])
    assert_unauthorized(caught.value, "readOnly")
    assert "bulk" not in await direct.names()


async def test_a_write_that_nobody_waits_for_is_refused_too(
    transports: Open, direct: Direct
) -> None:
    app = await transports("reader")
    quiet = app.database.get_collection("quiet", write_concern=WriteConcern(w=0))
    await quiet.insert_one({"_id": 1})
    # The same connection, in order: when this is answered, that has been.
    assert await app.database.quiet.count_documents({}) == 0
    assert "quiet" not in await direct.names()


async def test_a_transaction_with_a_refused_statement_can_go_on(
    transports: Open, direct: Direct
) -> None:
    app = await transports("default")
    await direct.client[DATABASE].create_collection("accounts")
    async with app.client.start_session() as session, await session.start_transaction():
        await app.database.accounts.insert_one({"_id": 1}, session=session)
        with pytest.raises(OperationFailure) as caught:
            await app.client["elsewhere"].accounts.insert_one({"_id": 1}, session=session)
        assert_unauthorized(caught.value)
        assert not caught.value.has_error_label("TransientTransactionError")
        assert not caught.value.has_error_label("RetryableWriteError")
        await app.database.accounts.insert_one({"_id": 2}, session=session)
    assert await direct.client[DATABASE].accounts.count_documents({}) == 2


async def test_a_staged_message_is_held_against_the_policy(
    transports: Open, direct: Direct
) -> None:
    app = await transports("reader")
    before = app.statistics()
    with pytest.raises(OperationFailure) as caught:
        await app.database.large.insert_one({"_id": 1, "data": os.urandom(6_000_000)})
    assert_unauthorized(caught.value, "readOnly")
    assert app.statistics().invokes > before.invokes + 1, "it was not staged"
    assert "large" not in await direct.names()


async def test_the_cursor_of_a_denied_collection_cannot_be_read_under_another_name(
    transports: Open, direct: Direct, mongod_uri: str
) -> None:
    app = await transports("strict")
    database = direct.client[DATABASE]
    await database.secrets.insert_many([{"_id": i} for i in range(10)])
    await database.open.insert_many([{"_id": i} for i in range(10)])
    with pytest.raises(OperationFailure) as caught:
        await app.database.command("getMore", 1, collection="secrets")
    assert_unauthorized(caught.value, "'secrets'")

    # What passes the policy then, the server compares with the cursor. No driver's commands: with
    # a session of its own it would be told of that one first.
    executor = Executor(FunctionSettings(mongodb_uri=mongod_uri), "0.0.0")
    [(server, _), *_] = executor.describe(timeout_s=5)

    def run(**command: Any) -> dict[str, Any]:
        sent = message(command, DATABASE)
        return bson.decode(executor.run(server, sent, timeout_s=5))

    try:
        cursor = run(find="secrets", batchSize=2)["cursor"]["id"]
        reply = run(getMore=cursor, collection="open")
    finally:
        executor.close()
    assert (reply["ok"], reply["code"], reply["codeName"]) == (0.0, 13, "Unauthorized")
    assert "belongs to a different namespace" in reply["errmsg"]


async def test_a_view_leads_to_nothing_that_is_denied(transports: Open, direct: Direct) -> None:
    app = await transports("strict")
    database = direct.client[DATABASE]
    await database.secret.insert_one({"_id": 1})
    await database.harmless.insert_one({"_id": 1})
    await database.create_collection("leak", viewOn="secret")
    await database.create_collection(
        "joined",
        viewOn="harmless",
        pipeline=[{"$lookup": {"from": "secret", "as": "s", "pipeline": []}}],
    )
    await database.create_collection("through", viewOn="leak")
    await database.create_collection("fine", viewOn="harmless", pipeline=[{"$match": {}}])
    for view in ("leak", "joined", "through"):
        with pytest.raises(OperationFailure) as caught:
            await app.database[view].find_one({})
        assert_unauthorized(caught.value, "'secret'", "view")
        with pytest.raises(OperationFailure) as caught:
            await app.database.harmless.aggregate([{"$unionWith": view}])
        assert_unauthorized(caught.value, "'secret'")
    with pytest.raises(OperationFailure) as caught:
        await app.database.create_collection("again", viewOn="through")
    assert_unauthorized(caught.value, "'secret'")
    assert await app.database.fine.find_one({}) == {"_id": 1}
    secondary = app.database.with_options(read_preference=ReadPreference.NEAREST)
    assert await secondary.fine.count_documents({}) == 1
    await app.database.create_collection("mine", viewOn="fine")
    assert await app.database.mine.count_documents({}) == 1


async def test_ceilings_reach_the_server_and_change_no_result(
    transports: Open, direct: Direct
) -> None:
    app = await transports("strict")
    await direct.client[DATABASE].many.insert_many([{"_id": i} for i in range(20)])
    first = await app.database.command("find", "many", batchSize=15)
    assert len(first["cursor"]["firstBatch"]) == 3
    assert [d["_id"] async for d in app.database.many.find().sort("_id")] == list(range(20))
    cursor = await app.database.many.aggregate([{"$sort": {"_id": 1}}], batchSize=10)
    assert [d["_id"] async for d in cursor] == list(range(20))
    await direct.client.admin.command(
        {"configureFailPoint": "maxTimeAlwaysTimeOut", "mode": "alwaysOn"}
    )
    try:
        with pytest.raises(OperationFailure) as caught:
            await app.database.many.find_one({})
    finally:
        await direct.client.admin.command(
            {"configureFailPoint": "maxTimeAlwaysTimeOut", "mode": "off"}
        )
    assert caught.value.code == 50


async def test_a_reply_over_its_ceiling_is_not_passed_on(transports: Open, direct: Direct) -> None:
    app = await transports("strict")
    await direct.client[DATABASE].wide.insert_one({"_id": 1, "data": bytes(200_000)})
    with pytest.raises(OperationFailure) as caught:
        await app.database.wide.find_one({})
    assert_unauthorized(caught.value, "maxReplyBytes")
    assert await app.database.wide.find_one({}, {"data": 0}) == {"_id": 1}


async def test_a_function_with_a_wrong_policy_says_what_to_write(
    local_lambda: LocalLambda, proxy_configuration: FunctionConfiguration, mongod_uri: str
) -> None:
    environment = {"ODM_PROXY_MONGODB_URI": mongod_uri, "ODM_PROXY_POLICY": '{"readonly": true}'}
    local_lambda.add_function(
        replace(proxy_configuration, name="mistaken", environment=environment)
    )
    with pytest.raises(ServerUnreachable, match="unknown field 'readonly': write databases"):
        await open_transport(
            f"lambda://mistaken/{DATABASE}?endpoint={local_lambda.endpoint_url}"
        ).open()
