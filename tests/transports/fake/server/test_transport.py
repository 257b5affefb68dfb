from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import DBRef
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, OperationFailure

from transports.errors import InvalidURL, TransportClosed
from transports.fake.transport import FakeTransport
from transports.registry import open_transport
from transports.url import parse_url


def fake(url: str) -> FakeTransport:
    return FakeTransport(parse_url(url))


@pytest.fixture
async def transport() -> AsyncIterator[FakeTransport]:
    async with fake("fake:///cms") as opened:
        yield opened


async def test_registry_knows_the_fake() -> None:
    transport = open_transport("fake:///cms")
    assert isinstance(transport, FakeTransport)
    assert not transport.is_open


async def test_driver_writes_and_reads(transport: FakeTransport) -> None:
    things = transport.database["things"]
    inserted = await things.insert_one({"name": "a"})
    assert await things.find_one() == {"_id": inserted.inserted_id, "name": "a"}
    with pytest.raises(DuplicateKeyError) as caught:
        await things.insert_one({"_id": inserted.inserted_id})
    assert caught.value.details is not None
    assert caught.value.details["keyPattern"] == {"_id": 1}


async def test_unordered_bulk_reports_each_failure(transport: FakeTransport) -> None:
    with pytest.raises(BulkWriteError) as caught:
        await transport.database["things"].insert_many(
            [{"_id": 1}, {"_id": 1}, {"_id": 2}, {"_id": 2}], ordered=False
        )
    assert [error["index"] for error in caught.value.details["writeErrors"]] == [1, 3]
    assert await transport.database["things"].count_documents({}) == 2


async def test_dbref_is_stored_as_a_document(transport: FakeTransport) -> None:
    reference = DBRef("others", 7, "elsewhere", extra=1)
    await transport.database["things"].insert_one({"_id": 1, "to": [reference]})
    assert await transport.database["things"].find_one({"to.$id": 7}) == {
        "_id": 1,
        "to": [reference],
    }


async def test_unnamed_fakes_are_apart() -> None:
    async with fake("fake:///cms") as one, fake("fake:///cms") as other:
        await one.database["things"].insert_one({"_id": 1})
        assert await other.database["things"].count_documents({}) == 0


async def test_named_fake_is_shared_while_anybody_has_it_open() -> None:
    async with fake("fake://shared/cms") as one:
        async with fake("fake://shared/other") as other:
            await one.database["things"].insert_one({"_id": 1})
            assert await other.client["cms"]["things"].find_one() == {"_id": 1}
        assert await one.database["things"].count_documents({}) == 1
    async with fake("fake://shared/cms") as later:
        assert await later.database["things"].count_documents({}) == 0


async def test_named_fake_serves_transports_of_two_threads() -> None:
    inserted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def elsewhere() -> None:
        async def insert() -> None:
            async with fake("fake://threads/cms") as other:
                await other.database["things"].insert_one({"_id": 1})
                loop.call_soon_threadsafe(inserted.set)

        asyncio.run(insert())

    async with (
        fake("fake://threads/cms") as here,
        await here.database["things"].watch() as stream,
    ):
        await asyncio.gather(asyncio.to_thread(elsewhere), inserted.wait())
        event = await stream.next()
    assert event["fullDocument"] == {"_id": 1}


@pytest.mark.parametrize(("version", "wire"), [("6.0.5", 17), ("7.0.14", 21)])
async def test_server_version_is_presented(version: str, wire: int) -> None:
    async with fake(f"fake:///cms?serverVersion={version}") as transport:
        assert (await transport.database.command("buildInfo"))["version"] == version
        assert (await transport.client.admin.command("hello"))["maxWireVersion"] == wire


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("fake:///cms?serverVersion=5.0.0", "6.0.x or 7.0.x"),
        ("fake:///cms?serverVersion=latest", "6.0.x or 7.0.x"),
        ("fake:///cms?version=7.0.0", "serverVersion"),
        ("fake://a b/cms", "letters, digits"),
    ],
)
def test_bad_url_is_refused_with_what_to_write(url: str, hint: str) -> None:
    with pytest.raises(InvalidURL, match=hint):
        fake(url)


async def test_shared_name_keeps_one_version() -> None:
    async with fake("fake://one/cms"):
        with pytest.raises(InvalidURL, match="open as version"):
            await fake("fake://one/cms?serverVersion=7.0.0").open()
    assert not fake("fake://one/cms").is_open


async def test_commands_are_logged_without_handshakes(transport: FakeTransport) -> None:
    await transport.database["things"].insert_one({"_id": 1})
    await transport.database["things"].find_one({"_id": 1})
    (found,) = transport.commands.filter("find")
    assert found.namespace == "cms.things"
    assert found.document["filter"] == {"_id": 1}
    assert transport.commands.filter("find", "cms.others") == []
    assert "hello" not in repr(transport.commands)
    assert transport.statistics().commands == 2


async def test_closed_transport_refuses_and_keeps_its_count() -> None:
    transport = fake("fake:///cms")
    async with transport:
        await transport.database.command("ping")
    with pytest.raises(TransportClosed):
        _ = transport.uri
    with pytest.raises(TransportClosed):
        _ = transport.commands
    assert transport.statistics().commands == 2  # the driver has ended its session


async def test_any_driver_of_this_machine_reaches_it(transport: FakeTransport) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(transport.uri)
    async with client:
        await client["cms"]["things"].insert_one({"_id": 1})
    assert await transport.database["things"].count_documents({}) == 1


async def test_failpoint_closes_the_connection(transport: FakeTransport) -> None:
    await transport.client.admin.command(
        {
            "configureFailPoint": "failCommand",
            "mode": {"times": 1},
            "data": {"failCommands": ["ping"], "closeConnection": True},
        }
    )
    with pytest.raises(AutoReconnect):
        await transport.database.command("ping")


async def test_closed_connection_is_retried_once_and_writes_once(
    transport: FakeTransport,
) -> None:
    await transport.client.admin.command(
        {"configureFailPoint": "onPrimaryTransactionalWrite", "mode": {"times": 1}}
    )
    await transport.database["things"].update_one({"_id": 1}, {"$inc": {"n": 1}}, upsert=True)
    assert await transport.database["things"].find_one() == {"_id": 1, "n": 1}


async def test_transaction_rolls_back(transport: FakeTransport) -> None:
    things = transport.database["things"]
    async with transport.client.start_session() as session:
        await session.start_transaction()
        await things.insert_one({"_id": 1}, session=session)
        await session.abort_transaction()
    assert await things.count_documents({}) == 0


async def test_unknown_command_fails_as_on_a_server(transport: FakeTransport) -> None:
    with pytest.raises(OperationFailure) as caught:
        await transport.database.command("nonsense")
    assert caught.value.code == 59


async def test_command_of_a_server_is_refused_by_name(transport: FakeTransport) -> None:
    with pytest.raises(OperationFailure, match="mapReduce is not implemented") as caught:
        await transport.database.command("mapReduce", "things")
    assert caught.value.code == 238
