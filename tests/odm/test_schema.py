from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field
from pymongo import ASCENDING, TEXT, IndexModel

from odm import Document, Indexed, View, connect
from odm.schema import declared_indexes

Open = Callable[..., Any]
NewURL = Callable[[], str]


class Base(Document):
    name: Annotated[str, Indexed(unique=True)]
    number: Annotated[int, Indexed()] = 0

    class Settings:
        name = "bases"
        indexes: ClassVar[list[Any]] = [
            IndexModel([("number", ASCENDING)], name="numbers", sparse=True),
            IndexModel(
                [("a", 1), ("b", 1)], name="active", partialFilterExpression={"active": True}
            ),
            IndexModel([("b", 1), ("a", 1)], name="reversed"),
        ]


class Derived(Base):
    class Settings:
        name = "derived"
        merge_indexes = True
        indexes: ClassVar[list[Any]] = [
            IndexModel([("b", 1), ("a", 1)], name="mine"),
            [("text", TEXT)],
        ]


class Root(Document):
    name: Annotated[str, Indexed()] = ""

    class Settings:
        name = "roots"
        is_root = True


class Branch(Root):
    more: Annotated[str, Indexed()] = ""


def names(model: Any) -> list[str]:
    return sorted(index.name for index in declared_indexes(model))


def test_settings_win_over_fields_on_the_same_keys() -> None:
    assert names(Base) == ["active", "name_1", "numbers", "reversed"]


def test_merged_indexes_come_from_the_bases_too() -> None:
    assert names(Derived) == ["active", "mine", "name_1", "numbers", "text_text"]


async def indexes(db: Any, collection: str) -> list[str]:
    return sorted(await db.database[collection].index_information())


async def test_indexes_are_created(opened: Open) -> None:
    db = await opened(Base)
    assert await indexes(db, "bases") == ["_id_", "active", "name_1", "numbers", "reversed"]


async def test_indexes_are_left_alone_when_told(opened: Open) -> None:
    db = await opened(Base, create_indexes=False)
    assert await db.database.list_collection_names() == []


async def test_indexes_that_no_model_declares_are_dropped_only_when_told(new_url: NewURL) -> None:
    url = new_url()
    async with connect(url, models=[Root, Branch]) as db:
        await db.database["roots"].create_index("foreign")
    async with connect(url, models=[Root, Branch]) as db:
        assert await indexes(db, "roots") == ["_id_", "foreign_1", "more_1", "name_1"]
    # The branch's index belongs to its collection too: the root alone must not drop it.
    async with connect(url, models=[Root, Branch], allow_index_dropping=True) as db:
        assert await indexes(db, "roots") == ["_id_", "more_1", "name_1"]


class Counted(View):
    id: Any = Field(alias="_id")

    class Settings:
        name = "counted"
        source = Base
        pipeline: ClassVar[list[dict[str, Any]]] = [{"$match": {"number": {"$gt": 0}}}]


async def test_views_are_created_and_recreated_when_told(new_url: NewURL) -> None:
    url = new_url()

    async def pipeline(**options: Any) -> Any:
        async with connect(url, models=[Base, Counted], **options) as db:
            (view,) = await (await db.database.list_collections(filter={"type": "view"})).to_list()
            return view["options"]["pipeline"]

    first = await pipeline()
    assert first == [{"$match": {"number": {"$gt": 0}}}]
    settings = Counted.get_settings()
    settings.pipeline = [{"$match": {"number": {"$gt": 1}}}]
    try:
        assert await pipeline() == first
        assert await pipeline(recreate_views=True) == settings.pipeline
    finally:
        settings.pipeline = first


async def test_a_view_of_a_view(opened: Open) -> None:
    class Twice(View):
        id: Any = Field(alias="_id")

        class Settings:
            name = "twice"
            source = Counted
            pipeline: ClassVar[list[dict[str, Any]]] = []

    db = await opened(Base, Counted, Twice)
    await db.repository(Base).add_many([Base(name=str(n), number=n) for n in range(3)])
    assert len(await Twice.find().to_list()) == 2


async def test_lookups_are_written_for_the_server_of_their_connection(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = [await opened(Base) for _ in range(2)]
    one.bindings[Base].server_major_version = 4
    with one.bind():
        assert Base._database_major_version == 4
    with two.bind():
        assert Base._database_major_version >= 5
