"""Batches end to end: driver, endpoint, real function processes, mongod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError, ExecutionTimeout

from transports import open_transport
from transports.base import Transport
from transports.local_lambda import LocalLambda

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def transport(local_lambda: LocalLambda) -> AsyncIterator[Transport]:
    # Bounds that a machine with other work keeps; what they do is tested with scripted functions.
    bounds = "batchWaitMS=1000&batchLimitMS=2000"
    url = f"lambda://db-proxy/t{uuid4().hex}?endpoint={local_lambda.endpoint_url}&{bounds}"
    async with open_transport(url) as opened:
        yield opened
        await opened.client.drop_database(opened.url.database)


def slow(milliseconds: int) -> dict[str, str]:
    return {"$where": f"sleep({milliseconds}) || true"}


async def connect(transport: Transport) -> None:
    """Have the driver open connections: over those, what is gathered arrives at once."""
    things = transport.database.things
    await asyncio.gather(*[things.find_one({"_id": i}) for i in range(10)])


async def test_a_hundred_gathered_reads_take_three_invokes_at_most(transport: Transport) -> None:
    pages = transport.database.pages
    await pages.insert_many([{"_id": i} for i in range(100)])
    before = transport.statistics()
    found = await asyncio.gather(*[pages.find_one({"_id": i}) for i in range(100)])
    after = transport.statistics()
    assert found == [{"_id": i} for i in range(100)]
    assert after.commands - before.commands == 100
    assert after.invokes - before.invokes <= 3


async def test_gathered_writes_are_done_once(transport: Transport) -> None:
    pages = transport.database.counters
    before = transport.statistics()
    await asyncio.gather(*[pages.insert_one({"_id": i, "n": 0}) for i in range(30)])
    for _ in range(3):
        await asyncio.gather(
            *[pages.update_one({"_id": i % 10}, {"$inc": {"n": 1}}) for i in range(30)]
        )
    assert sorted([page["n"] async for page in pages.find()]) == [0] * 20 + [9] * 10
    after = transport.statistics()
    assert after.details["batches"] > before.details["batches"]
    assert after.invokes - before.invokes < (after.commands - before.commands) / 4


async def test_each_command_of_a_batch_has_its_own_error(transport: Transport) -> None:
    pages = transport.database.unique
    await pages.insert_one({"_id": 1})
    outcomes = await asyncio.gather(
        *[pages.insert_one({"_id": i}) for i in range(3)], return_exceptions=True
    )
    assert [isinstance(outcome, DuplicateKeyError) for outcome in outcomes] == [False, True, False]


async def test_a_slow_read_is_cut_short_and_done_by_itself(local_lambda: LocalLambda) -> None:
    url = f"lambda://db-proxy/t{uuid4().hex}?endpoint={local_lambda.endpoint_url}&batchLimitMS=300"
    async with open_transport(f"{url}&batchWaitMS=1000") as transport:
        pages = transport.database.pages
        await pages.insert_many([{"_id": i} for i in range(3)])
        await connect(transport)
        deferred = transport.statistics().details["deferred"]
        slow_one, *others = await asyncio.gather(
            pages.find(slow(400), limit=3).to_list(),
            *[pages.find_one({"_id": i}) for i in range(3)],
        )
        assert slow_one == others == [{"_id": i} for i in range(3)]
        assert transport.statistics().details["deferred"] == deferred + 1
        with pytest.raises(ExecutionTimeout):  # the application's own limit is the application's
            await asyncio.gather(
                pages.find(slow(400), limit=3, max_time_ms=50).to_list(), pages.find_one()
            )
        await transport.client.drop_database(transport.url.database)


async def test_a_find_that_leaves_a_cursor_is_read_to_its_end(transport: Transport) -> None:
    pages = transport.database.many
    await pages.insert_many([{"_id": i} for i in range(500)])
    several = await asyncio.gather(*[pages.find({}, batch_size=50).to_list() for _ in range(3)])
    assert [len(each) for each in several] == [500] * 3
    several = await asyncio.gather(*[pages.find({}, batch_size=50).to_list() for _ in range(3)])
    assert [len(each) for each in several] == [500] * 3


async def test_no_cursor_is_left_behind(transport: Transport, mongod_uri: str) -> None:
    pages = transport.database.many
    await pages.insert_many([{"_id": i} for i in range(300)])
    await asyncio.gather(*[pages.find({}, batch_size=50).to_list() for _ in range(4)])
    with MongoClient[dict[str, Any]](mongod_uri) as client:
        pipeline: list[dict[str, Any]] = [
            {"$currentOp": {"idleCursors": True, "allUsers": True}},
            {"$match": {"type": "idleCursor", "ns": pages.full_name}},
        ]
        assert list(client.admin.aggregate(pipeline)) == []


async def test_a_slow_write_is_repeated_and_done_once(local_lambda: LocalLambda) -> None:
    url = f"lambda://db-proxy/t{uuid4().hex}?endpoint={local_lambda.endpoint_url}&batchLimitMS=100"
    async with open_transport(f"{url}&batchWaitMS=1000") as transport:
        pages = transport.database.pages
        await pages.insert_many([{"_id": i, "n": 0} for i in range(3)])
        await connect(transport)
        await asyncio.gather(
            *[pages.update_one({"_id": i, **slow(200)}, {"$inc": {"n": 1}}) for i in range(3)]
        )
        assert await pages.find().to_list() == [{"_id": i, "n": 1} for i in range(3)]
        assert transport.statistics().details["deferred"] == 3
        await transport.client.drop_database(transport.url.database)


async def test_transactions_and_sessions_among_batches(transport: Transport) -> None:
    pages = transport.database.money
    await pages.insert_many([{"_id": i, "n": 100} for i in range(10)])

    async def transfer(i: int) -> None:
        async with transport.client.start_session() as session, await session.start_transaction():
            await pages.update_one({"_id": i}, {"$inc": {"n": -1}}, session=session)
            await pages.update_one({"_id": i + 5}, {"$inc": {"n": 1}}, session=session)

    async def in_order(i: int) -> None:
        async with transport.client.start_session(causal_consistency=True) as session:
            for n in range(5):
                await pages.update_one(
                    {"_id": f"s{i}"}, {"$set": {"n": n}}, upsert=True, session=session
                )
                page = await pages.find_one({"_id": f"s{i}"}, session=session)
                assert page == {"_id": f"s{i}", "n": n}

    await asyncio.gather(*map(transfer, range(5)), *map(in_order, range(5)))
    found = {page["_id"]: page["n"] async for page in pages.find({"_id": {"$type": "number"}})}
    assert found == {i: 99 if i < 5 else 101 for i in range(10)}
