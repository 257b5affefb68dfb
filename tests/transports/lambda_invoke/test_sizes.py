"""MongoDB's own limits through invokes of 6 MB, with memory bounded on both sides."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import bson
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient, InsertOne, MongoClient, UpdateOne, WriteConcern
from pymongo.errors import DuplicateKeyError, PyMongoError

from transports import open_transport
from transports.base import Transport
from transports.lambda_invoke.bodies import PART_BYTES, Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    FailureResult,
    Item,
    ReplyResult,
    Result,
    StageItem,
    decode_response,
    encode_request,
)
from transports.lambda_invoke.function.staging import EXPIRE_AFTER_S
from transports.local_lambda import FunctionConfiguration, LocalLambda
from transports.mongod import MongodOptions, ReplicaSet, missing_mongod_reason

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_BSON_BYTES = 16 * 1024 * 1024
MAX_MESSAGE_BYTES = 48_000_000
FUNCTION = "db-proxy"
MILLISECOND = timedelta(milliseconds=1)

Document = dict[str, Any]


@pytest_asyncio.fixture(loop_scope="module")
async def transport(local_lambda: LocalLambda) -> AsyncIterator[Transport]:
    url = f"lambda://{FUNCTION}/t{uuid4().hex}?endpoint={local_lambda.endpoint_url}"
    async with open_transport(url) as opened:
        yield opened
        await opened.client.drop_database(opened.url.database)


@pytest_asyncio.fixture(loop_scope="module")
async def direct(mongod_uri: str) -> AsyncIterator[AsyncMongoClient[Document]]:
    async with AsyncMongoClient[Document](mongod_uri) as client:
        yield client


def document_of(size: int) -> Document:
    """A document of *size* bytes of BSON that no compression makes fewer."""
    document = {"_id": 1, "n": 0, "noise": b""}
    document["noise"] = os.urandom(size - len(bson.encode(document)))
    assert len(bson.encode(document)) == size
    return document


def memory_mb(pid: int | str, what: str) -> int:
    """``VmRSS``, resident now, or ``VmHWM``, the most there was."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("this system does not tell a process's memory in /proc")
    line = next(line for line in status.read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) // 1024


def function_peak_mb(service: LocalLambda) -> int:
    return max(memory_mb(e.pid, "VmHWM") for e in service.environments(FUNCTION))


# --- documents and messages ---


async def test_a_document_of_exactly_the_servers_limit(transport: Transport) -> None:
    document = document_of(MAX_BSON_BYTES)
    things = transport.database.things
    await things.insert_one(document)
    assert await things.find_one({}) == document
    await things.update_one({"_id": 1}, {"$inc": {"n": 1}})
    await things.replace_one({"_id": 1, "n": 1}, document | {"n": 2})
    assert await things.find_one({}) == document | {"n": 2}


async def test_one_byte_more_is_refused_by_the_server_itself(
    transport: Transport, direct: AsyncMongoClient[Document]
) -> None:
    document = document_of(MAX_BSON_BYTES + 1)
    failures = []
    for things in (transport.database.things, direct[transport.url.database].things):
        with pytest.raises(PyMongoError) as caught:
            await things.insert_one(document)
        failures.append((type(caught.value), getattr(caught.value, "code", None)))
    assert failures[0] == failures[1]


async def test_a_message_of_exactly_the_servers_limit(
    transport: Transport, local_lambda: LocalLambda
) -> None:
    """The longest that PyMongo makes of one: 48 documents, up to the last few hundred bytes."""
    await transport.database.command("ping")
    noise = os.urandom(999_000)
    documents = [{"_id": n, "noise": noise} for n in range(48)]
    command = {
        "insert": "things",
        "ordered": True,
        "lsid": {"id": bson.Binary(bytes(16), 4)},
        "txnNumber": bson.Int64(1),
        "$db": transport.url.database,
    }
    # Header, flags, kind and section 0; kind, length and name of the document sequence.
    frame = 16 + 4 + 1 + len(bson.encode(command)) + 1 + 4 + len(b"documents\x00")
    clock = 58 + 160  # $clusterTime with its signature, and something for what else a driver adds
    missing = MAX_MESSAGE_BYTES - frame - clock - sum(len(bson.encode(d)) for d in documents)
    documents[-1]["noise"] = noise + os.urandom(missing)
    before = transport.statistics()
    await transport.database.things.insert_many(documents)
    after = transport.statistics()
    assert after.commands == before.commands + 1
    assert after.details["staged_bodies"] == before.details["staged_bodies"] + 1
    assert await transport.database.things.count_documents({}) == 48
    assert function_peak_mb(local_lambda) < 160, "one copy of the message, and some parts"
    assert local_lambda.statistics(FUNCTION).errors == 0


@pytest.mark.parametrize("kind", ["insert_many", "bulk_write"])
async def test_a_hundred_thousand_documents(transport: Transport, kind: str) -> None:
    things, count = transport.database.things, 100_000
    if kind == "insert_many":
        await things.insert_many({"_id": n, "name": f"thing {n}"} for n in range(count))
    else:
        inserts = [InsertOne({"_id": n}) for n in range(count // 2)]
        updates = [UpdateOne({"_id": n}, {"$set": {"n": n}}) for n in range(count // 2)]
        result = await things.bulk_write([*inserts, *updates], ordered=False)
        assert (result.inserted_count, result.modified_count) == (count // 2, count // 2)
    assert await things.count_documents({}) == (count if kind == "insert_many" else count // 2)


# --- results ---


async def test_a_long_result_streams_with_bounded_memory(
    transport: Transport, direct: AsyncMongoClient[Document], local_lambda: LocalLambda
) -> None:
    """150 MB that no compression makes fewer; the same code reads any number."""
    megabytes = 150
    database = transport.url.database
    await direct[database].one.insert_one({"noise": os.urandom(1_000_000)})
    await (
        await direct[database].one.aggregate(
            [
                {"$set": {"_id": {"$range": [0, megabytes]}}},
                {"$unwind": "$_id"},
                {"$out": "many"},
            ]
        )
    ).to_list()
    before = memory_mb("self", "VmRSS")
    most = found = 0
    async for document in transport.database.many.find({}):
        found += len(document["noise"])
        most = max(most, memory_mb("self", "VmRSS"))
    assert found == megabytes * 1_000_000
    assert most - before < 100, "a few batches are here at a time"
    assert function_peak_mb(local_lambda) < 160, "and one batch there"


# --- what is left behind ---


async def invoke(service: LocalLambda, function: str, *items: Item) -> Sequence[Result]:
    """One invoke as a caller would send it who then goes away."""
    url = f"{service.endpoint_url}/2015-03-31/functions/{function}/invocations"
    payload = io.BytesIO(encode_request(items))
    async with aiohttp.ClientSession() as http, http.post(url, data=payload) as reply:
        return decode_response(await reply.read(), expected=len(items)).results


def insert(database: str, size: int) -> bytes:
    command = {"insert": "things", "documents": [{"noise": os.urandom(size)}], "$db": database}
    return bytes(5) + bson.encode(command)


def halves(message: bytes) -> tuple[str, list[Item]]:
    identifier, middle = uuid4().hex, len(message) // 2
    parts = (message[:middle], message[middle:])
    return identifier, [StageItem(identifier, n, part) for n, part in enumerate(parts)]


async def test_parts_of_a_caller_that_went_away_expire(
    local_lambda: LocalLambda, proxy_configuration: FunctionConfiguration
) -> None:
    if reason := missing_mongod_reason():
        pytest.skip(reason)
    impatient = ReplicaSet(MongodOptions(parameters={"ttlMonitorSleepSecs": "1"}))
    await asyncio.to_thread(impatient.start)
    try:
        environment = {**proxy_configuration.environment, "ODM_PROXY_MONGODB_URI": impatient.uri}
        function = replace(proxy_configuration, name="expiring", environment=environment)
        local_lambda.add_function(function)
        _, stages = halves(insert("t", 10_000))
        assert await invoke(local_lambda, "expiring", stages[0]) == (ReplyResult(Body()),)
        await asyncio.to_thread(assert_parts_expire, impatient.uri)
    finally:
        await local_lambda.remove_function("expiring")
        await asyncio.to_thread(impatient.stop)


def assert_parts_expire(uri: str) -> None:
    with MongoClient[Document](uri) as client:
        parts = client["odm_proxy"]["staging"]
        assert parts.count_documents({}) == 1
        assert parts.index_information()["at_1"]["expireAfterSeconds"] == EXPIRE_AFTER_S
        with parts.watch(max_await_time_ms=20_000) as changes:
            hour = timedelta(seconds=EXPIRE_AFTER_S)
            parts.update_one({}, [{"$set": {"at": {"$subtract": ["$at", hour // MILLISECOND]}}}])
            assert changes.next()["operationType"] == "update"
            change = changes.try_next()
            assert change is not None, "nothing has expired"
            assert change["operationType"] == "delete"


async def test_nothing_stays_of_what_failed_or_was_not_acknowledged(
    transport: Transport, direct: AsyncMongoClient[Document], local_lambda: LocalLambda
) -> None:
    staged = direct["odm_proxy"]["staging"]
    await staged.delete_many({})
    things = transport.database.things
    document = {"_id": 1, "noise": os.urandom(PART_BYTES + 1)}
    await things.insert_one(document)
    with pytest.raises(DuplicateKeyError):
        await things.insert_one(document)
    unacknowledged = things.with_options(write_concern=WriteConcern(0))
    await unacknowledged.insert_one({**document, "_id": 2})
    assert await things.count_documents({"_id": 2}) == 1
    message = insert(transport.url.database, 10_000)
    identifier, stages = halves(message)
    await invoke(local_lambda, FUNCTION, *stages)
    nowhere = CommandItem("127.0.0.1:1", Body(staged=identifier, parts=2))
    [result] = await invoke(local_lambda, FUNCTION, nowhere)
    assert isinstance(result, FailureResult)
    assert result.ran == "no"
    assert await staged.count_documents({}) == 0


@pytest.mark.parametrize("options", ["", "&readPreference=secondary&w=1"])
async def test_a_failover_loses_no_staged_part(
    options: str,
    local_lambda: LocalLambda,
    proxy_configuration: FunctionConfiguration,
    three_members: ReplicaSet,
) -> None:
    name = f"staging{uuid4().hex[:8]}"
    uri = {"ODM_PROXY_MONGODB_URI": three_members.uri + options}
    environment = {**proxy_configuration.environment, **uri}
    local_lambda.add_function(replace(proxy_configuration, name=name, environment=environment))
    message = insert(name, 6_000_000)
    identifier, stages = halves(message)
    for stage in stages:
        assert await invoke(local_lambda, name, stage) == (ReplyResult(Body()),)
    await asyncio.to_thread(fail_over, three_members)
    primary = await asyncio.to_thread(three_members.wait_for_primary)
    command = CommandItem(primary.address, Body(staged=identifier, parts=len(stages)))
    [result] = await invoke(local_lambda, name, command)
    assert isinstance(result, ReplyResult), result
    reply = bson.decode(result.reply.data)
    assert reply.get("n") == 1, reply
    await asyncio.to_thread(three_members.wait_until_complete)


def fail_over(replica_set: ReplicaSet) -> None:
    old = replica_set.wait_for_primary()
    with MongoClient[Document](old.address, directConnection=True) as client:
        client.admin.command({"replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5})
