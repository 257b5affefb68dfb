"""The real driver, through an endpoint, to a real server: what works directly works here."""

from __future__ import annotations

import asyncio
from typing import Any

import bson
import pytest
from bson import Int64
from bson.raw_bson import RawBSONDocument
from gridfs import AsyncGridFSBucket
from pymongo import (
    AsyncMongoClient,
    CursorType,
    DeleteOne,
    InsertOne,
    MongoClient,
    UpdateOne,
    WriteConcern,
)
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    OperationFailure,
    WriteError,
)

from transports.endpoint import Credential, Endpoint

Client = AsyncMongoClient[dict[str, Any]]


@pytest.fixture
async def client(relayed: Any) -> Any:
    async with Client(relayed.uri) as client:
        yield client


@pytest.fixture
async def collection(client: Any) -> Any:
    collection = client.endpoint_tests.documents
    await collection.drop()
    return collection


async def test_documents_are_written_and_read(collection: Any) -> None:
    await collection.insert_many([{"_id": n, "n": n} for n in range(500)])
    assert await collection.count_documents({}) == 500
    found = await collection.find({"n": {"$gte": 250}}, batch_size=50).sort("n").to_list()
    assert [d["n"] for d in found] == list(range(250, 500))
    assert (await collection.update_many({}, {"$inc": {"n": 1}})).modified_count == 500
    assert (await collection.find_one_and_delete({"_id": 3}))["n"] == 4
    assert await (await collection.aggregate([{"$count": "n"}])).to_list() == [{"n": 499}]
    assert len(await collection.distinct("n")) == 499
    assert (await collection.delete_many({})).deleted_count == 499


async def test_the_synchronous_driver_works_from_another_thread(relayed: Any) -> None:
    def use(uri: str) -> list[int]:
        with MongoClient[dict[str, Any]](uri) as client:
            collection = client.endpoint_tests.synchronous
            collection.drop()
            collection.insert_many([{"n": n} for n in range(300)])
            return sorted(d["n"] for d in collection.find(batch_size=20))

    assert await asyncio.to_thread(use, relayed.uri) == list(range(300))


async def test_server_errors_are_the_server_s(collection: Any) -> None:
    await collection.insert_one({"_id": 1})
    with pytest.raises(DuplicateKeyError) as duplicate:
        await collection.insert_one({"_id": 1})
    assert duplicate.value.details is not None
    assert duplicate.value.details["keyValue"] == {"_id": 1}
    with pytest.raises(OperationFailure) as unknown:
        await collection.database.command("nosuchcommand")
    assert unknown.value.code == 59
    assert (unknown.value.details or {})["codeName"] == "CommandNotFound"
    with pytest.raises(BulkWriteError) as bulk:
        await collection.bulk_write([InsertOne({"_id": 1}), InsertOne({"_id": 2})], ordered=False)
    assert bulk.value.details["nInserted"] == 1


async def test_bulk_writes_of_many_messages(collection: Any) -> None:
    operations: list[Any] = [InsertOne({"_id": n}) for n in range(5000)]
    operations += [UpdateOne({"_id": n}, {"$set": {"x": n}}) for n in range(100)]
    operations += [DeleteOne({"_id": n}) for n in range(50)]
    result = await collection.bulk_write(operations)
    assert (result.inserted_count, result.modified_count, result.deleted_count) == (5000, 100, 50)


async def test_transactions_commit_and_abort(client: Any, collection: Any) -> None:
    await collection.insert_one({"_id": 0})
    async with client.start_session() as session:
        async with await session.start_transaction():
            await collection.insert_one({"_id": 1}, session=session)
            assert await collection.count_documents({}, session=session) == 2
            assert await collection.find_one({"_id": 1}) is None
        await session.start_transaction()
        await collection.insert_one({"_id": 2}, session=session)
        await session.abort_transaction()
    assert [d["_id"] async for d in collection.find().sort("_id")] == [0, 1]


async def test_change_streams_wait_without_holding_others(client: Any, collection: Any) -> None:
    await collection.insert_one({"_id": 0})
    async with await collection.watch(max_await_time_ms=10_000) as stream:
        change = asyncio.create_task(stream.next())
        for n in range(1, 4):
            await collection.insert_one({"_id": n})
            assert (await change)["documentKey"] == {"_id": n}
            change = asyncio.create_task(stream.next())
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
    assert await client.admin.command("ping")


async def test_a_client_that_goes_away_ends_its_operation_on_the_server(
    relayed: Any, client: Any, collection: Any
) -> None:
    await collection.insert_one({"_id": 0})
    async with Client(relayed.uri, appname="leaving") as leaving:
        sleeping = asyncio.create_task(
            leaving.endpoint_tests.documents.find_one({"$where": "sleep(60000) || true"})
        )
        await wait_for_operations(client, 1)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
    await wait_for_operations(client, 0)


async def wait_for_operations(client: Any, count: int) -> None:
    """Wait until the server runs *count* operations of the application ``leaving``."""
    pipeline = [{"$currentOp": {}}, {"$match": {"appName": "leaving", "op": "query"}}]
    async with asyncio.timeout(20):
        while len(await (await client.admin.aggregate(pipeline)).to_list()) != count:
            await client.admin.command("ping")


async def test_files_are_stored(client: Any) -> None:
    bucket = AsyncGridFSBucket(client.endpoint_tests)
    data = bytes(range(256)) * 8000
    file_id = await bucket.upload_from_stream("file", data)
    stream = await bucket.open_download_stream(file_id)
    assert await stream.read() == data
    await bucket.delete(file_id)


async def test_exhaust_cursors_stream(relay: Any, collection: Any) -> None:
    await collection.insert_many([{"_id": n} for n in range(1000)])
    relay.keep_requests = True
    cursor = collection.find(cursor_type=CursorType.EXHAUST, batch_size=100)
    assert [d["_id"] async for d in cursor] == list(range(1000))
    names = [r.name for r in relay.requests if r.name in ("find", "getMore")]
    assert names == ["find"] + ["getMore"] * 10


async def test_an_exhaust_cursor_that_is_left_does_not_stay_open(
    client: Any, collection: Any
) -> None:
    await collection.insert_many([{"_id": n, "x": "x" * 10_000} for n in range(2000)])
    cursor = collection.find(cursor_type=CursorType.EXHAUST, batch_size=10)
    await cursor.next()
    await cursor.close()
    async with asyncio.timeout(20):
        while (await client.admin.command("serverStatus"))["metrics"]["cursor"]["open"]["total"]:
            await client.admin.command("ping")


async def test_unacknowledged_writes_are_seen_by_what_follows(relayed: Any) -> None:
    async with Client(relayed.uri, maxPoolSize=1) as client:
        silent = client.endpoint_tests.get_collection("silent", write_concern=WriteConcern(w=0))
        await client.endpoint_tests.silent.drop()
        for n in range(20):
            await silent.insert_one({"_id": n})
            assert await client.endpoint_tests.silent.count_documents({}) == n + 1


async def test_unacknowledged_writes_survive_the_end_of_everything(relay: Any, mongod: str) -> None:
    async with Client(mongod, directConnection=True) as direct:
        await direct.endpoint_tests.last_words.drop()
        async with Endpoint(relay) as endpoint, Client(endpoint.uri) as client:
            concern = WriteConcern(w=0)
            words = client.endpoint_tests.get_collection("last_words", write_concern=concern)
            for n in range(50):
                await words.insert_one({"_id": n, "filler": "x" * 10_000})
        assert await direct.endpoint_tests.last_words.count_documents({}) == 50


async def test_messages_are_compressed_both_ways(relayed: Any) -> None:
    async with Client(relayed.uri, compressors="zlib") as client:
        collection = client.endpoint_tests.compressed
        await collection.drop()
        before = relayed.statistics()
        await collection.insert_one({"_id": 1, "text": "a" * 1_000_000})
        assert len((await collection.find_one({"_id": 1}) or {})["text"]) == 1_000_000
        after = relayed.statistics()
    assert after.bytes_in - before.bytes_in < 100_000
    assert after.bytes_out - before.bytes_out < 100_000


async def test_the_largest_documents_pass(collection: Any) -> None:
    limit = 16 * 1024 * 1024
    overhead = len(bson.encode({"_id": 1, "data": b""}))
    largest = {"_id": 1, "data": bytes(limit - overhead)}
    await collection.insert_one(largest)
    assert await collection.find_one({"_id": 1}) == largest
    with pytest.raises(WriteError, match="too large"):
        await collection.insert_one({"_id": 2, "data": bytes(limit)})


async def test_several_large_documents_travel_in_one_message(collection: Any) -> None:
    size = 11_000_000
    await collection.insert_many([{"_id": n, "data": bytes(size)} for n in range(4)])
    assert [len(d["data"]) async for d in collection.find()] == [size] * 4


async def test_what_python_cannot_hold_passes_as_it_is(client: Any, collection: Any) -> None:
    """Dates beyond the year 9999 and duplicate keys would not survive decoding."""
    raw = client.get_database(
        "endpoint_tests",
        codec_options=bson.CodecOptions(document_class=RawBSONDocument),
    ).documents
    date = b"\x09d\x00" + (2**62).to_bytes(8, "little")
    twice = b"\x10a\x00\x01\x00\x00\x00\x10a\x00\x02\x00\x00\x00"
    content = b"\x10_id\x00\x05\x00\x00\x00" + date + twice
    document = (len(content) + 5).to_bytes(4, "little") + content + b"\0"
    await raw.insert_one(RawBSONDocument(document))
    assert (await raw.find_one({"_id": 5})).raw == document


async def test_many_clients_at_once(relayed: Any) -> None:
    async def use(number: int) -> int:
        async with Client(relayed.uri) as client:
            collection = client.endpoint_tests[f"many_{number}"]
            await collection.drop()
            await asyncio.gather(*(collection.insert_one({"n": n}) for n in range(20)))
            return int(await collection.count_documents({}))

    assert await asyncio.gather(*(use(n) for n in range(10))) == [20] * 10


async def test_a_connection_that_the_server_breaks_off_is_a_network_error(
    client: Any, collection: Any
) -> None:
    async def break_off(name: str) -> None:
        data = {"failCommands": [name], "closeConnection": True}
        command = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data}
        await client.admin.command(command)

    await collection.insert_one({"_id": 1})
    await break_off("insert")
    await collection.insert_one({"_id": 2})  # retried by the driver
    assert await collection.count_documents({}) == 2
    await break_off("update")
    with pytest.raises(AutoReconnect):
        await collection.update_many({}, {"$set": {"x": 1}})


async def test_the_driver_authenticates(relay: Any) -> None:
    credential = Credential(username="user", password="secret")
    async with Endpoint(relay, listen="127.0.0.1:0", credential=credential) as endpoint:
        async with Client(endpoint.uri) as client:
            assert (await client.admin.command("hello"))["setName"] == "rs0"
        wrong = endpoint.uri.replace("secret", "Secret")
        async with Client(wrong) as client:
            with pytest.raises(OperationFailure) as caught:
                await client.admin.command("ping")
            assert caught.value.code == 18


async def test_closing_under_load_leaves_nothing_running(relay: Any) -> None:
    async with Endpoint(relay) as endpoint:
        client = Client(endpoint.uri, serverSelectionTimeoutMS=1000, retryReads=False)
        await client.aconnect()

        async def read() -> None:
            while True:
                await client.endpoint_tests.documents.find_one({})

        readers = [asyncio.create_task(read()) for _ in range(20)]
        while endpoint.statistics().commands < 200:
            done, _ = await asyncio.wait(readers, timeout=0.01)
            assert not done
        await endpoint.aclose()
        for reader in readers:
            with pytest.raises(AutoReconnect):
                await reader
        await client.close()
    assert endpoint.statistics().clients == 0


async def test_cursors_keep_to_their_server(relay: Any, client: Any, collection: Any) -> None:
    await collection.insert_many([{"_id": n} for n in range(10)])
    relay.keep_requests = True
    cursor = collection.find(batch_size=2)
    await cursor.next()
    await cursor.close()
    names = [r.name for r in relay.requests]
    assert names == ["find", "killCursors"]
    assert {r.server for r in relay.requests} == {relay.seed}
    kill = bson.decode(relay.requests[-1].message[5:])
    assert isinstance(kill["cursors"][0], Int64)
