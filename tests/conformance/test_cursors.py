"""Cursors over several batches: read on, closed early, killed, tailable, of every command."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64, decode_all
from pymongo import DESCENDING, CursorType
from pymongo.errors import CursorNotFound, InvalidOperation, OperationFailure

from odm import Connection


@pytest.fixture
async def numbers(db: Connection) -> Any:
    """A collection of ``{"_id": 0}`` to ``{"_id": 24}``."""
    collection = db.database["numbers"]
    await collection.insert_many([{"_id": number} for number in range(25)])
    return collection


def ids(documents: list[dict[str, Any]]) -> list[Any]:
    return [document["_id"] for document in documents]


@pytest.mark.parametrize("batch_size", [0, 1, 2, 7, 25, 100])
async def test_every_batch_size_gives_all_documents_once(numbers: Any, batch_size: int) -> None:
    cursor = numbers.find({}, sort=[("_id", 1)], batch_size=batch_size)
    assert [document["_id"] async for document in cursor] == list(range(25))


async def test_limit_counts_over_batches(numbers: Any) -> None:
    assert ids(await numbers.find(sort=[("_id", 1)], limit=7, batch_size=3).to_list()) == [
        0, 1, 2, 3, 4, 5, 6,
    ]  # fmt: skip


async def test_skip_and_limit(numbers: Any) -> None:
    cursor = numbers.find().sort("_id", DESCENDING).skip(20).limit(3)
    assert ids(await cursor.to_list()) == [4, 3, 2]


async def test_skip_beyond_the_end_is_empty(numbers: Any) -> None:
    assert await numbers.find(skip=100).to_list() == []


async def test_negative_limit_is_a_single_batch(numbers: Any) -> None:
    assert ids(await numbers.find(sort=[("_id", 1)], limit=-3).to_list()) == [0, 1, 2]


async def test_to_list_with_a_length_leaves_the_rest(numbers: Any) -> None:
    cursor = numbers.find(sort=[("_id", 1)], batch_size=4)
    assert ids(await cursor.to_list(3)) == [0, 1, 2]
    assert ids(await cursor.to_list(3)) == [3, 4, 5]
    assert len(await cursor.to_list()) == 19


async def test_cursor_is_alive_until_read_to_the_end(numbers: Any) -> None:
    cursor = numbers.find(batch_size=10)
    await cursor.next()
    assert cursor.alive
    assert cursor.cursor_id
    await cursor.to_list()
    assert not cursor.alive
    with pytest.raises(StopAsyncIteration):
        await cursor.next()


async def test_closed_cursor_is_dead_on_the_server(db: Connection, numbers: Any) -> None:
    cursor = numbers.find(batch_size=1)
    await cursor.next()
    cursor_id = cursor.cursor_id
    await cursor.close()
    assert not cursor.alive
    with pytest.raises(CursorNotFound) as caught:
        await db.database.command("getMore", cursor_id, collection="numbers")
    assert caught.value.code == 43


async def test_leaving_the_context_closes_the_cursor(numbers: Any) -> None:
    async with numbers.find(batch_size=1) as cursor:
        await cursor.next()
    assert not cursor.alive


async def test_rewound_cursor_starts_again(numbers: Any) -> None:
    cursor = numbers.find(sort=[("_id", 1)], batch_size=3)
    assert (await cursor.next())["_id"] == 0
    assert (await cursor.next())["_id"] == 1
    await cursor.rewind()
    assert (await cursor.next())["_id"] == 0
    await cursor.close()


async def test_cloned_cursor_is_independent(numbers: Any) -> None:
    cursor = numbers.find({"_id": {"$gt": 20}}, sort=[("_id", 1)])
    await cursor.next()
    assert ids(await cursor.clone().to_list()) == [21, 22, 23, 24]


async def test_started_cursor_takes_no_more_options(numbers: Any) -> None:
    cursor = numbers.find()
    await cursor.next()
    with pytest.raises(InvalidOperation):
        cursor.limit(2)
    await cursor.close()


async def test_raw_find_get_more_and_kill(db: Connection, numbers: Any) -> None:
    first = await db.database.command("find", "numbers", sort={"_id": 1}, batchSize=10)
    namespace = f"{db.database.name}.numbers"
    assert first["cursor"]["ns"] == namespace
    assert ids(first["cursor"]["firstBatch"]) == list(range(10))
    cursor_id = first["cursor"]["id"]
    assert cursor_id != 0

    second = await db.database.command("getMore", cursor_id, collection="numbers", batchSize=5)
    assert second["cursor"]["id"] == cursor_id
    assert second["cursor"]["ns"] == namespace
    assert ids(second["cursor"]["nextBatch"]) == [10, 11, 12, 13, 14]

    killed = await db.database.command("killCursors", "numbers", cursors=[cursor_id, Int64(12345)])
    assert killed["cursorsKilled"] == [cursor_id]
    assert killed["cursorsNotFound"] == [12345]
    assert killed["cursorsAlive"] == []
    assert killed["cursorsUnknown"] == []


async def test_single_batch_leaves_no_cursor(db: Connection, numbers: Any) -> None:
    reply = await db.database.command("find", "numbers", batchSize=2, singleBatch=True)
    assert reply["cursor"]["id"] == 0
    assert len(reply["cursor"]["firstBatch"]) == 2


async def test_batch_size_zero_opens_a_cursor_with_nothing_read(
    db: Connection, numbers: Any
) -> None:
    reply = await db.database.command("find", "numbers", batchSize=0)
    assert reply["cursor"]["firstBatch"] == []
    assert reply["cursor"]["id"] != 0
    more = await db.database.command("getMore", reply["cursor"]["id"], collection="numbers")
    assert more["cursor"]["id"] == 0
    assert len(more["cursor"]["nextBatch"]) == 25


async def test_first_batch_is_101_documents(db: Connection) -> None:
    await db.database["many"].insert_many([{"_id": number} for number in range(150)])
    reply = await db.database.command("find", "many")
    assert len(reply["cursor"]["firstBatch"]) == 101
    assert reply["cursor"]["id"] != 0


async def test_get_more_of_another_collection_is_refused(db: Connection, numbers: Any) -> None:
    reply = await db.database.command("find", "numbers", batchSize=1)
    with pytest.raises(OperationFailure) as caught:
        await db.database.command("getMore", reply["cursor"]["id"], collection="other")
    assert caught.value.code == 13
    assert (caught.value.details or {})["codeName"] == "Unauthorized"


async def test_cursor_of_missing_collection_is_empty(db: Connection) -> None:
    assert await db.database["nothing"].find(batch_size=1).to_list() == []
    reply = await db.database.command("find", "nothing")
    assert reply["cursor"] == {"firstBatch": [], "id": 0, "ns": f"{db.database.name}.nothing"}


async def test_aggregation_runs_over_batches(numbers: Any) -> None:
    cursor = await numbers.aggregate(
        [{"$sort": {"_id": -1}}, {"$project": {"double": {"$multiply": ["$_id", 2]}}}],
        batchSize=4,
    )
    found = [document async for document in cursor]
    assert found == [{"_id": number, "double": number * 2} for number in range(24, -1, -1)]
    assert not cursor.alive


async def test_aggregation_cursor_can_be_closed_early(db: Connection, numbers: Any) -> None:
    cursor = await numbers.aggregate([{"$match": {}}], batchSize=2)
    await cursor.next()
    cursor_id = cursor.cursor_id
    await cursor.close()
    with pytest.raises(CursorNotFound):
        await db.database.command("getMore", cursor_id, collection="numbers")


async def test_raw_batches_are_bson(numbers: Any) -> None:
    cursor = numbers.find_raw_batches(sort=[("_id", 1)], batch_size=10)
    batches = [decode_all(batch) async for batch in cursor]
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert ids([document for batch in batches for document in batch]) == list(range(25))


async def test_cursors_of_two_queries_interleave(numbers: Any) -> None:
    up = numbers.find(sort=[("_id", 1)], batch_size=2)
    down = numbers.find(sort=[("_id", -1)], batch_size=3)
    pairs = [((await up.next())["_id"], (await down.next())["_id"]) for _ in range(25)]
    assert pairs == [(number, 24 - number) for number in range(25)]


async def test_cursor_in_a_session(db: Connection, numbers: Any) -> None:
    async with db.client.start_session() as session:
        cursor = numbers.find(batch_size=4, session=session)
        assert len([document async for document in cursor]) == 25
        assert cursor.session is not None
        assert cursor.session.session_id == session.session_id


async def test_tailable_cursor_sees_what_is_added(db: Connection) -> None:
    log = await db.database.create_collection("log", capped=True, size=100_000)
    await log.insert_one({"_id": 1})
    async with log.find(cursor_type=CursorType.TAILABLE) as cursor:
        assert (await cursor.next())["_id"] == 1
        await log.insert_one({"_id": 2})
        assert (await cursor.next())["_id"] == 2
        assert cursor.alive


async def test_tailable_cursor_on_an_ordinary_collection_is_refused(numbers: Any) -> None:
    with pytest.raises(OperationFailure) as caught:
        await numbers.find(cursor_type=CursorType.TAILABLE).next()
    assert caught.value.code == 2


async def test_collections_are_listed_over_batches(db: Connection) -> None:
    for number in range(5):
        await db.database.create_collection(f"c{number}")
    cursor = await db.database.list_collections()
    names = sorted([info["name"] async for info in cursor])
    assert names == ["c0", "c1", "c2", "c3", "c4"]
    reply = await db.database.command("listCollections", cursor={"batchSize": 2})
    assert len(reply["cursor"]["firstBatch"]) == 2
    assert reply["cursor"]["id"] != 0
    assert reply["cursor"]["ns"] == f"{db.database.name}.$cmd.listCollections"


async def test_explain_tells_the_plan(numbers: Any) -> None:
    plan = await numbers.find({"_id": 3}).explain()
    assert plan["queryPlanner"]["namespace"].endswith(".numbers")
    assert plan["ok"] == 1.0
