from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, OperationFailure

from odm import Document, Indexed, NotConnected, PydanticObjectId, Repository, writing

Open = Callable[..., Any]


class Item(Document):
    name: Annotated[str, Indexed(unique=True)]
    number: int = 0

    class Settings:
        name = "items"
        use_state_management = True


@pytest.fixture
async def items(opened: Open) -> Repository[Item]:
    db = await opened(Item)
    repository: Repository[Item] = db.repository(Item)
    return repository


async def test_one_command_per_kind_when_the_block_ends(listening: Open) -> None:
    db, commands = await listening(Item)
    items = db.repository(Item)
    one, two, three = await items.add_many([Item(name=str(n)) for n in range(3)])
    commands.events.clear()
    async with items.bulk() as batch:
        batch.add(Item(name="a"))
        batch.add(Item(name="b"))
        batch.update(one, {"$inc": {"number": 5}})
        batch.update(str(two.id), {"$set": {Item.number: 7}})
        batch.delete(three)
        assert len(batch) == 5
        assert commands.names == []
        assert [batch.result] == [None]
    assert commands.names == ["insert", "update", "delete"]
    assert batch.result is not None
    assert (batch.result.inserted_count, batch.result.modified_count) == (2, 2)
    assert batch.result.deleted_count == 1
    found = await items.find(sort="name").to_list()
    assert [(i.name, i.number) for i in found] == [("0", 5), ("1", 7), ("a", 0), ("b", 0)]


async def test_documents_know_afterwards_that_they_were_added(opened: Open) -> None:
    one, _ = [await opened(Item) for _ in range(2)]
    item = Item(name="x")
    async with one.repository(Item).bulk() as batch:
        batch.add(item)
        assert [item.id] == [None]
    assert isinstance(item.id, PydanticObjectId)
    assert not item.is_changed
    await item.set({"number": 3})
    assert (await one.repository(Item).get(item.id)).number == 3


async def test_nothing_is_sent_when_the_block_fails_or_is_empty(items: Repository[Item]) -> None:
    async def fail() -> None:
        async with items.bulk() as batch:
            batch.add(Item(name="x"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with items.bulk() as batch:
        pass
    assert batch.result is None
    assert await items.count() == 0


@pytest.mark.parametrize("ordered", [True, False])
async def test_of_a_failed_one_only_what_was_added_has_an_id(
    items: Repository[Item], ordered: bool
) -> None:
    given = [Item(name=name) for name in ("a", "b", "a", "c")]

    async def fail() -> None:
        async with items.bulk(ordered=ordered) as batch:
            for item in given:
                batch.add(item)

    with pytest.raises(BulkWriteError):
        await fail()
    assert [item.id is not None for item in given] == [True, True, False, not ordered]
    assert await items.count() == 3 - ordered


async def test_of_one_that_was_refused_altogether_nothing_has_an_id(
    items: Repository[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise OperationFailure("not authorized", 13)

    item = Item(name="x")
    monkeypatch.setattr(AsyncCollection, "bulk_write", refuse)

    async def fail() -> None:
        async with items.bulk() as batch:
            batch.add(item)

    with pytest.raises(OperationFailure):
        await fail()
    assert item.id is None
    assert not item._odm_home.is_set


async def test_a_connection_that_is_closed_in_the_block_is_named(items: Repository[Item]) -> None:
    item = Item(name="x")

    async def fail() -> None:
        async with items.bulk() as batch:
            batch.add(item)
            await items.connection.aclose()

    with pytest.raises(NotConnected, match="is closed"):
        await fail()
    assert item.id is None


async def test_misuse_is_refused_when_it_happens(items: Repository[Item]) -> None:
    batch = items.bulk()
    wrong: Any = object()
    with pytest.raises(TypeError, match="expected a Item"):
        batch.add(wrong)
    with pytest.raises(ValueError, match="update operators"):
        batch.update(PydanticObjectId(), {"name": "x"})
    with pytest.raises(ValueError, match="has no id"):
        batch.delete(Item(name="never added"))
    assert len(batch) == 0


@pytest.mark.parametrize("ordered", [True, False])
async def test_insertions_in_parts_fail_as_they_do_at_once(
    opened: Open, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    db = await opened(Item)
    outcomes = []
    for size in (100, 3):
        monkeypatch.setattr(writing, "INSERT_PART", size)
        await db.repository(Item).delete_many({})
        twice = PydanticObjectId()
        documents = [Item(name=str(n)) for n in range(11)]
        documents[1].id = documents[4].id = documents[9].id = twice
        with pytest.raises(BulkWriteError) as caught:
            await db.repository(Item).add_many(documents, ordered=ordered)
        details = caught.value.details
        places = [error["index"] for error in details["writeErrors"]]
        known = [document.id is not None for document in documents]
        found = await db.repository(Item).count()
        outcomes.append((places, details["nInserted"], details["writeConcernErrors"], known, found))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == ([4] if ordered else [4, 9])


async def test_many_insertions_are_sent_in_parts(
    listening: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "INSERT_PART", 4)
    db, commands = await listening(Item)
    added = await db.repository(Item).add_many([Item(name=str(n)) for n in range(10)])
    assert commands.names.count("insert") == 3
    assert len({item.id for item in added} - {None}) == 10
