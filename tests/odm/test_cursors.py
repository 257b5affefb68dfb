from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from pymongo import CursorType

import odm.cursors
from odm import Document, Repository

Open = Callable[..., Any]


class Number(Document):
    n: int


@pytest.fixture
async def numbers(opened: Open, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(odm.cursors, "BATCH", 10)
    db = await opened(Number)
    repository: Repository[Number] = db.repository(Number)
    await repository.collection.insert_many([{"_id": f"{n:024x}", "n": n} for n in range(35)])
    return repository


def streams() -> list[Any]:
    return [
        lambda numbers, **options: numbers.find(sort="n", **options),
        lambda numbers, **options: numbers.stream(sort="n", **options),
    ]


@pytest.mark.parametrize("stream", streams())
async def test_every_document_comes_once_in_order(numbers: Any, stream: Any) -> None:
    assert [found.n async for found in stream(numbers)] == list(range(35))


async def test_it_ends_at_the_limit_and_stays_at_its_end(numbers: Any) -> None:
    for limit in (1, 10, 11, 20):
        query = numbers.find(sort="n", limit=limit)
        assert [found.n async for found in query] == list(range(limit))
        with pytest.raises(StopAsyncIteration):
            await anext(query)


async def test_no_more_is_held_than_a_batch(listening: Open, monkeypatch: Any) -> None:
    monkeypatch.setattr(odm.cursors, "BATCH", 10)
    db, commands = await listening(Number)
    numbers = db.repository(Number)
    await numbers.collection.insert_many([{"n": n} for n in range(25)])
    commands.events.clear()
    assert len([found async for found in numbers.find()]) == 25
    assert commands.names == ["find", "getMore", "getMore"]
    assert [event.command["batchSize"] for event in commands.events] == [10, 10, 10]
    commands.events.clear()
    assert len([found async for found in numbers.stream(batch_size=20)]) == 25
    assert [event.command["batchSize"] for event in commands.events] == [20, 20]


async def test_the_first_document_does_not_wait_for_more_than_its_batch(listening: Open) -> None:
    db, commands = await listening(Number)
    numbers = db.repository(Number)
    await numbers.collection.insert_many([{"n": n} for n in range(25)])
    commands.events.clear()
    await anext(numbers.stream(batch_size=5))
    assert commands.names == ["find"]


@pytest.mark.parametrize("stream", streams())
async def test_a_document_that_is_invalid_fails_in_its_place(numbers: Any, stream: Any) -> None:
    await numbers.collection.update_one({"n": 3}, {"$set": {"n": 3.5}})
    found = []

    async def collect() -> None:
        async for number in stream(numbers):
            found.append(number.n)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ValidationError):
        await collect()
    assert found == [0, 1, 2]


async def test_a_query_goes_on_behind_a_document_that_is_invalid(numbers: Any) -> None:
    await numbers.collection.update_one({"n": 3}, {"$set": {"n": 3.5}})
    query = numbers.find(sort="n", limit=5)
    for expected in range(3):
        assert (await anext(query)).n == expected
    with pytest.raises(ValidationError):
        await anext(query)
    assert (await anext(query)).n == 4


async def test_a_copy_of_a_query_begins_anew(numbers: Any) -> None:
    query = numbers.find(sort="n")
    assert [(await anext(query)).n, (await anext(query)).n] == [0, 1]
    copied = query.clone()
    assert (await anext(copied)).n == 0
    assert (await anext(query)).n == 2


async def test_aggregations_are_streamed_too(numbers: Any) -> None:
    query = Number.find().aggregate([{"$sort": {"n": 1}}], projection_model=Number)
    assert [found.n async for found in query] == list(range(35))
    plain = Number.find().aggregate([{"$sort": {"n": 1}}])
    assert (await anext(plain))["n"] == 0


async def test_a_tailable_cursor_waits_for_no_full_batch(opened: Open) -> None:
    db = await opened(Number)
    await db.database.create_collection("Number", capped=True, size=4096)
    numbers = db.repository(Number)
    await numbers.collection.insert_one({"n": 1})
    query = Number.find(cursor_type=CursorType.TAILABLE_AWAIT)
    assert (await anext(query)).n == 1
    await numbers.collection.insert_one({"n": 2})
    assert (await anext(query)).n == 2


async def test_lists_of_some_length(numbers: Any) -> None:
    assert [found.n for found in await numbers.find(sort="n").to_list(3)] == [0, 1, 2]
    assert len(await numbers.find().to_list()) == 35


async def test_a_list_that_is_not_very_long_is_one_command(listening: Open) -> None:
    db, commands = await listening(Number)
    numbers = db.repository(Number)
    await numbers.collection.insert_many([{"n": n} for n in range(1200)])
    commands.events.clear()
    for query, length in (
        (numbers.find(), 1200),
        (numbers.find({"n": {"$lt": 300}}, sort="n"), 300),
        (numbers.find(limit=500), 500),
        (numbers.find(limit=1000, skip=900), 300),
        (Number.find_all(), 1200),
    ):
        assert len(await query.to_list()) == length
    assert commands.names == ["find"] * 5


async def test_a_list_over_a_place_that_spares_bytes_comes_in_the_servers_batches(
    listening: Open,
) -> None:
    db, commands = await listening(Number)
    db.spares_bytes = True
    numbers = db.repository(Number)
    await numbers.collection.insert_many([{"n": n} for n in range(1200)])
    commands.events.clear()
    assert len(await numbers.find().to_list()) == 1200
    assert commands.names == ["find", "getMore"]
    assert "batchSize" not in commands.events[0].command
    commands.events.clear()
    assert len(await numbers.find(limit=1000).to_list()) == 1000
    assert commands.names == ["find"]


async def test_a_batch_size_that_is_given_is_kept(listening: Open) -> None:
    db, commands = await listening(Number)
    await db.repository(Number).collection.insert_many([{"n": n} for n in range(30)])
    commands.events.clear()
    assert len(await Number.find(batch_size=20).to_list()) == 30
    assert [event.command["batchSize"] for event in commands.events] == [20, 20]


async def test_a_list_that_is_cut_is_not_fetched_whole(listening: Open) -> None:
    db, commands = await listening(Number)
    await db.repository(Number).collection.insert_many([{"n": n} for n in range(300)])
    commands.events.clear()
    assert len(await db.repository(Number).find().to_list(7)) == 7
    assert "batchSize" not in commands.events[0].command


async def test_a_query_that_is_older_than_the_connection_is_of_the_one_it_runs_on(
    opened: Open,
) -> None:
    query = Number.find_all()
    db = await opened(Number)
    await db.repository(Number).add(Number(n=1))
    with db.bind():
        (found,) = await query.to_list()
    assert found._odm_home.binder(Number) is db
