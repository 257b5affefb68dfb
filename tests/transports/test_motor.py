from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from beanie import Document, init_beanie
from pymongo import DESCENDING, AsyncMongoClient, IndexModel, InsertOne
from pymongo.errors import DuplicateKeyError, OperationFailure

from transports import open_transport
from transports.errors import InvalidURL, ServerUnreachable, TransportClosed
from transports.motor import ChangeStreamAdapter, MotorTransport, SessionAdapter
from transports.url import parse_url

Client = AsyncMongoClient[dict[str, Any]]


@pytest.fixture
async def transport(mongod_uri: str) -> AsyncIterator[MotorTransport]:
    url = parse_url("motor+" + mongod_uri.replace("/?", "/motor_test?"))
    async with MotorTransport(url) as transport:
        await transport.client.drop_database(transport.database)
        yield transport


@pytest.fixture
def client(transport: MotorTransport) -> Client:
    return transport.client


@pytest.fixture
def pages(transport: MotorTransport) -> Any:
    return transport.database["pages"]


async def test_beanie_runs_on_it(transport: MotorTransport) -> None:
    class MotorPage(Document):
        title: str

    await init_beanie(database=transport.database, document_models=[MotorPage])
    page = await MotorPage(title="Hello").insert()

    assert await MotorPage.get(page.id) == page
    assert await MotorPage.find(MotorPage.title == "Hello").to_list() == [page]
    assert await MotorPage.aggregate([{"$count": "n"}]).to_list() == [{"n": 1}]
    async with transport.client.start_session() as session, await session.start_transaction():
        await page.set({MotorPage.title: "Hi"}, session=session)
    assert await MotorPage.find_all().count() == 1


async def test_cursors_iterate_every_way(pages: Any) -> None:
    await pages.insert_many([{"_id": number} for number in range(250)])

    assert len(await pages.find().to_list()) == 250
    assert [page["_id"] async for page in pages.find().sort("_id", DESCENDING).limit(2)] == [
        249,
        248,
    ]
    cursor = pages.find().sort("_id").skip(1).batch_size(10)
    assert await anext(cursor) == {"_id": 1}
    assert await cursor.next() == {"_id": 2}
    assert cursor.alive
    assert await (await cursor.rewind()).to_list(1) == [{"_id": 1}]
    async with cursor.clone() as clone:
        assert len(await clone.to_list()) == 249
    await cursor.close()
    assert cursor.collection == pages


async def test_aggregate_is_awaited_and_fails_when_awaited(pages: Any) -> None:
    await pages.insert_one({"_id": 1})

    assert await (await pages.aggregate([{"$match": {}}])).to_list() == [{"_id": 1}]
    with pytest.raises(OperationFailure) as caught:
        await pages.aggregate([{"$nonsense": {}}])
    assert caught.value.code == 40324
    documents = await pages.database.aggregate([{"$documents": [{"x": 1}]}])
    assert [document async for document in documents] == [{"x": 1}]


async def test_indexes(pages: Any) -> None:
    assert await pages.create_indexes([IndexModel("slug", unique=True)]) == ["slug_1"]

    assert [index["name"] for index in await (await pages.list_indexes()).to_list()] == [
        "_id_",
        "slug_1",
    ]
    assert set(await pages.index_information()) == {"_id_", "slug_1"}
    await pages.insert_one({"slug": "a"})
    with pytest.raises(DuplicateKeyError):
        await pages.insert_one({"slug": "a"})


async def test_writes_and_reads(pages: Any) -> None:
    await pages.bulk_write([InsertOne({"_id": 1, "n": 1}), InsertOne({"_id": 2, "n": 2})])

    assert await pages.distinct("n") == [1, 2]
    assert await pages.count_documents({"n": {"$gt": 1}}) == 1
    assert (await pages.find_one_and_update({"_id": 1}, {"$inc": {"n": 1}}))["n"] == 1
    assert (await pages.find_one_and_replace({"_id": 1}, {"n": 9}))["n"] == 2
    assert (await pages.find_one_and_delete({"_id": 1}))["n"] == 9


async def test_databases_and_collections_stay_adapted(client: Client, pages: Any) -> None:
    await pages.insert_one({})

    assert pages.database.client == client
    assert await pages.database.list_collection_names() == ["pages"]
    assert pages.database.get_collection("pages") == pages
    assert await pages.with_options().count_documents({}) == 1
    assert await pages["sub"].count_documents({}) == 0
    assert await client.motor_test.pages.find_one() is not None
    created = await pages.database.create_collection("made")
    assert await (await created.aggregate([])).to_list() == []
    names = [c["name"] async for c in await pages.database.list_collections()]
    assert set(names) == {"pages", "made"}
    await pages.database.drop_collection(created)
    assert await pages.database.list_collection_names() == ["pages"]


async def test_client_answers_as_pymongo_does(client: Client) -> None:
    await client.aconnect()

    assert "admin" in await client.list_database_names()
    assert (await client.server_info())["ok"] == 1.0
    assert await client.primary == await client.address
    assert await client.is_primary
    assert not await client.is_mongos
    assert await client.secondaries == await client.arbiters == set()


async def test_transaction_commits_and_aborts(client: Client, pages: Any) -> None:
    await pages.insert_one({"_id": 0})
    async with client.start_session() as session:
        assert session.client == client
        async with await session.start_transaction():
            await pages.insert_one({"_id": 1}, session=session)
            assert await pages.count_documents({}) == 1
        await session.start_transaction()
        await pages.insert_one({"_id": 2}, session=session)
        await session.abort_transaction()

        async def callback(inside: Any) -> str:
            assert isinstance(inside, SessionAdapter)
            await pages.insert_one({"_id": 3}, session=inside)
            return "done"

        assert await session.with_transaction(callback) == "done"

    assert session.has_ended
    assert sorted(await pages.distinct("_id")) == [0, 1, 3]


async def test_leaving_a_session_aborts_its_transaction(client: Client, pages: Any) -> None:
    await pages.insert_one({"_id": 0})
    async with client.start_session() as session:
        await session.start_transaction()
        await pages.insert_one({"_id": 1}, session=session)

    assert await pages.distinct("_id") == [0]


async def test_cursor_knows_its_session(client: Client, pages: Any) -> None:
    assert pages.find().session is None
    async with client.start_session() as session:
        assert pages.find(session=session).session == session


@pytest.mark.skipif(not hasattr(SessionAdapter._peer, "bind"), reason="PyMongo before 4.17")
async def test_bound_session_is_implicit(client: Client, pages: Any) -> None:
    await pages.insert_one({"_id": 0})
    async with client.start_session() as session:
        async with session.bind(end_session=False):
            await session.start_transaction()
            await pages.insert_one({"_id": 1})
            await session.abort_transaction()
        assert not session.has_ended
        async with session.bind():
            assert await pages.distinct("_id") == [0]
        assert session.has_ended


@pytest.mark.parametrize("of", ["client", "database", "collection"])
async def test_change_stream_is_open_once_awaited(client: Client, pages: Any, of: str) -> None:
    await pages.insert_one({"_id": 0})
    target = {"client": client, "database": pages.database, "collection": pages}[of]
    async with await target.watch([{"$match": {"operationType": "insert"}}]) as changes:
        assert isinstance(changes, ChangeStreamAdapter)
        assert await changes.try_next() is None
        await pages.insert_one({"_id": 1})
        assert (await anext(changes))["documentKey"] == {"_id": 1}
        assert changes.resume_token is not None


async def test_what_motor_lacks_is_no_collection(client: Client) -> None:
    with pytest.raises(AttributeError, match=r"Motor has no AsyncMongoClient\.eq_props"):
        _ = client.eq_props


async def test_motors_own_client_is_at_hand(transport: MotorTransport) -> None:
    assert (await transport.motor_client.admin.command("ping"))["ok"] == 1.0
    await transport.aclose()
    with pytest.raises(TransportClosed):
        _ = transport.motor_client


async def test_failures_at_open_are_the_direct_transports(unused_tcp_port: int) -> None:
    address = f"motor+mongodb://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(ServerUnreachable, match="Is the server running"):
        await open_transport(f"{address}/?serverSelectionTimeoutMS=50").open()
    with pytest.raises(InvalidURL, match="Unknown option"):
        await open_transport(f"{address}/?nonsense=1").open()
