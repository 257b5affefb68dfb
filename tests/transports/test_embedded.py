from __future__ import annotations

import asyncio
import threading

import pytest
from pymongo import AsyncMongoClient

from transports import open_transport
from transports.embedded import EmbeddedTransport, _shared
from transports.errors import InvalidURL, TransportClosed
from transports.mongod import ReplicaSet, missing_mongod_reason
from transports.url import parse_url

needs_mongod = pytest.mark.skipif(
    missing_mongod_reason() is not None, reason=missing_mongod_reason() or ""
)


def embedded(url: str) -> EmbeddedTransport:
    return EmbeddedTransport(parse_url(url))


@needs_mongod
async def test_is_a_real_replica_set_that_other_drivers_reach_too() -> None:
    async with embedded("embedded:///cms") as transport:
        directory = transport.replica_set.directory
        await transport.database["pages"].insert_one({"_id": 1})
        async with open_transport(transport.uri) as other:
            assert other.url.database == "cms"
            assert await other.database["pages"].count_documents({}) == 1
        async with (
            transport.client.start_session() as session,
            await session.start_transaction(),
        ):
            await transport.database["pages"].insert_one({"_id": 2}, session=session)

    assert directory is not None
    assert not directory.exists()


@needs_mongod
async def test_named_one_is_shared_until_the_last_closes() -> None:
    first, second = embedded("embedded://shared/a"), embedded("embedded://shared/b")
    await asyncio.gather(first.open(), second.open())
    assert first.replica_set is second.replica_set
    await first.aclose()

    assert (await second.database.command("ping"))["ok"] == 1.0
    with pytest.raises(InvalidURL, match="other options"):
        await embedded("embedded://shared/c?testCommands=true").open()

    await second.aclose()
    assert not _shared


@needs_mongod
async def test_unnamed_ones_are_apart() -> None:
    async with embedded("embedded:///a") as first, embedded("embedded:///a") as second:
        await first.database["c"].insert_one({})
        assert await second.database["c"].count_documents({}) == 0


@needs_mongod
async def test_cancelled_start_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    starting = threading.Event()
    started: list[ReplicaSet] = []
    start = ReplicaSet.start

    def announced(replica_set: ReplicaSet) -> ReplicaSet:
        started.append(replica_set)
        starting.set()
        return start(replica_set)

    monkeypatch.setattr(ReplicaSet, "start", announced)
    transport = embedded("embedded:///cms")
    opening = asyncio.create_task(transport.open())
    await asyncio.to_thread(starting.wait, 20)
    opening.cancel()

    with pytest.raises(asyncio.CancelledError):
        await opening

    assert started[0].directory is None
    assert started[0].members == ()


async def test_closed_one_has_no_uri() -> None:
    with pytest.raises(TransportClosed):
        _ = embedded("embedded:///cms").uri


@pytest.mark.parametrize("option", ["members=0", "members=many", "testCommands=yes", "member=1"])
def test_bad_option_is_refused(option: str) -> None:
    with pytest.raises(InvalidURL):
        embedded(f"embedded:///cms?{option}")


@needs_mongod
async def test_failed_check_closes_client_and_server(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[AsyncMongoClient[dict[str, object]]] = []

    async def refuse(client: AsyncMongoClient[dict[str, object]], url: object) -> None:
        closed.append(client)
        raise RuntimeError("refused")

    monkeypatch.setattr("transports.embedded.check_deployment", refuse)
    transport = embedded("embedded:///cms")

    with pytest.raises(RuntimeError, match="refused"):
        await transport.open()

    assert closed
    with pytest.raises(TransportClosed):
        _ = transport.replica_set
