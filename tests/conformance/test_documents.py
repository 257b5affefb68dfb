"""Beanie's document API: insert, save, replace, update, delete, find, in bulk."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from beanie.operators import (
    All,
    And,
    ElemMatch,
    Eq,
    Exists,
    In,
    Not,
    NotIn,
    Or,
    RegEx,
    Size,
)
from pydantic import BaseModel, Field
from pymongo.errors import BulkWriteError, DuplicateKeyError

from odm import (
    BulkWriter,
    Connection,
    Document,
    Indexed,
    PydanticObjectId,
    ReplaceError,
    UpdateResponse,
    WriteRules,
)


class Point(BaseModel):
    x: int = 0
    y: int = 0


class Sample(Document):
    name: Annotated[str, Indexed(unique=True)]
    number: int = 0
    tags: list[str] = Field(default_factory=list)
    point: Point = Field(default_factory=Point)
    points: list[Point] = Field(default_factory=list)
    note: str | None = None

    class Settings:
        name = "samples"


pytestmark = pytest.mark.models([Sample])


async def stored(db: Connection, name: str = "samples") -> list[dict[str, Any]]:
    return await db.database[name].find(sort=[("_id", 1)]).to_list()


# Insert, save, replace, delete


async def test_insert_and_create(db: Connection) -> None:
    sample = await Sample(name="a").insert()
    assert sample.id is not None
    assert (await Sample(name="b").create()).id != sample.id
    assert await Sample.insert_one(Sample(name="c")) is not None
    assert [document["name"] for document in await stored(db)] == ["a", "b", "c"]


async def test_insert_many_returns_ids(db: Connection) -> None:
    result = await Sample.insert_many([Sample(name="a"), Sample(name="b")])
    assert result.inserted_ids == [document["_id"] for document in await stored(db)]


async def test_get_by_id_and_by_text(db: Connection) -> None:
    sample = await Sample(name="a").insert()
    assert await Sample.get(sample.id) == sample
    assert await Sample.get(str(sample.id)) == sample
    assert await Sample.get(PydanticObjectId()) is None


async def test_save_inserts_then_updates(db: Connection) -> None:
    sample = Sample(name="a")
    await sample.save()
    sample.number = 5
    await sample.save()
    assert [(d["name"], d["number"]) for d in await stored(db)] == [("a", 5)]


async def test_replace_needs_an_id_and_a_document(db: Connection) -> None:
    with pytest.raises(ValueError, match="must have an id"):
        await Sample(name="a").replace()
    sample = await Sample(name="a", note="old").insert()
    sample.note = None
    await sample.replace()
    assert (await stored(db))[0]["note"] is None


async def test_replace_many(db: Connection) -> None:
    samples = [await Sample(name=name).insert() for name in "ab"]
    for sample in samples:
        sample.number = 3
    await Sample.replace_many(samples)
    assert [d["number"] for d in await stored(db)] == [3, 3]
    with pytest.raises(ReplaceError):
        await Sample.replace_many([Sample(id=PydanticObjectId(), name="c")])


async def test_sync_takes_what_is_stored(db: Connection) -> None:
    sample = await Sample(name="a").insert()
    await db.database["samples"].update_one({}, {"$set": {"number": 9}})
    await sample.sync()
    assert sample.number == 9


async def test_delete_and_delete_all(db: Connection) -> None:
    sample = await Sample(name="a").insert()
    result = await sample.delete()
    assert result is not None
    assert result.deleted_count == 1
    await Sample.insert_many([Sample(name="b"), Sample(name="c")])
    result = await Sample.delete_all()
    assert result is not None
    assert result.deleted_count == 2


async def test_unique_index_holds(db: Connection) -> None:
    await Sample(name="a").insert()
    with pytest.raises(DuplicateKeyError) as caught:
        await Sample(name="a").insert()
    assert (caught.value.details or {})["keyValue"] == {"name": "a"}


async def test_write_rules_need_no_links(db: Connection) -> None:
    await Sample(name="a").insert(link_rule=WriteRules.WRITE)
    assert len(await stored(db)) == 1


async def test_inspect_collection_finds_what_does_not_fit(db: Connection) -> None:
    await Sample(name="a").insert()
    await db.database["samples"].insert_one({"name": ["not", "text"]})
    result = await Sample.inspect_collection()
    assert result.status == "FAIL"
    assert len(result.errors) == 1


# Updates


async def test_set_inc_and_current_date(db: Connection) -> None:
    sample = await Sample(name="a").insert()
    await sample.set({Sample.number: 5, "point.x": 3})
    assert (sample.number, sample.point.x) == (5, 3)
    await sample.inc({Sample.number: 2, Sample.point.y: 1})
    assert (sample.number, sample.point) == (7, Point(x=3, y=1))
    await sample.update({"$push": {"tags": "x"}}, {"$set": {Sample.note: "n"}})
    assert (sample.tags, sample.note) == (["x"], "n")


async def test_update_of_a_query(db: Connection) -> None:
    await Sample.insert_many([Sample(name=n, number=i) for i, n in enumerate("abc")])
    result: Any = await Sample.find(Sample.number > 0).inc({Sample.number: 10})
    assert result.modified_count == 2
    result = await Sample.find_one(Sample.name == "a").update({"$set": {Sample.note: "first"}})
    assert result.modified_count == 1
    result = await Sample.update_all({"$set": {Sample.tags: ["all"]}})
    assert result.modified_count == 3
    assert [(d["number"], d["tags"]) for d in await stored(db)] == [
        (0, ["all"]),
        (11, ["all"]),
        (12, ["all"]),
    ]


async def test_update_returns_the_document_old_or_new(db: Connection) -> None:
    await Sample(name="a").insert()
    query = Sample.find_one(Sample.name == "a")
    old: Any = await query.update(
        {"$set": {"number": 1}}, response_type=UpdateResponse.OLD_DOCUMENT
    )
    new: Any = await Sample.find_one(Sample.name == "a").update(
        {"$set": {"number": 2}}, response_type=UpdateResponse.NEW_DOCUMENT
    )
    assert (old.number, new.number) == (0, 2)


async def test_upsert_of_a_query(db: Connection) -> None:
    new = Sample(name="a", number=1)
    await Sample.find_one(Sample.name == "a").upsert({"$set": {Sample.number: 5}}, on_insert=new)
    await Sample.find_one(Sample.name == "a").upsert({"$set": {Sample.number: 5}}, on_insert=new)
    assert [(d["name"], d["number"]) for d in await stored(db)] == [("a", 5)]


async def test_delete_of_a_query(db: Connection) -> None:
    await Sample.insert_many([Sample(name=n, number=i) for i, n in enumerate("abcd")])
    assert (await Sample.find_one(Sample.name == "a").delete()).deleted_count == 1  # type: ignore[union-attr]
    assert (await Sample.find(Sample.number >= 2).delete()).deleted_count == 2  # type: ignore[union-attr]
    assert [d["name"] for d in await stored(db)] == ["b"]


# Queries

OPERATORS: dict[str, tuple[Any, str]] = {
    "eq": (lambda: Sample.number == 1, "b"),
    "eq-operator": (lambda: Eq(Sample.number, 1), "b"),
    "ne": (lambda: Sample.number != 1, "acd"),
    "gt": (lambda: Sample.number > 1, "cd"),
    "gte": (lambda: Sample.number >= 1, "bcd"),
    "lt": (lambda: Sample.number < 1, "a"),
    "lte": (lambda: Sample.number <= 1, "ab"),
    "in": (lambda: In(Sample.name, ["a", "d", "z"]), "ad"),
    "not-in": (lambda: NotIn(Sample.name, ["a", "d"]), "bc"),
    "and": (lambda: And(Sample.number > 0, Sample.number < 3), "bc"),
    "or": (lambda: Or(Sample.number == 0, Sample.name == "d"), "ad"),
    "not": (lambda: Not(Sample.number > 1), "ab"),
    "exists": (lambda: Exists(Sample.note, True), "abcd"),
    "null": (lambda: Sample.note == None, "abc"),  # noqa: E711  # the field, not the value
    "regex": (lambda: RegEx(Sample.name, "^[ab]$"), "ab"),
    "nested": (lambda: Sample.point.x == 2, "c"),
    "element": (lambda: Eq(Sample.tags, "even"), "ac"),
    "all": (lambda: All(Sample.tags, ["even", "t2"]), "c"),
    "size": (lambda: Size(Sample.tags, 1), "bd"),
    "elem-match": (lambda: ElemMatch(Sample.points, {"x": 1, "y": 1}), "b"),
    "mapping": (lambda: {"point.x": {"$gte": 2}}, "cd"),
}  # fmt: skip


async def test_find_operators(db: Connection) -> None:
    await Sample.insert_many(
        [
            Sample(
                name=name,
                number=number,
                tags=[f"t{number}"] if number % 2 else ["even", f"t{number}"],
                point=Point(x=number),
                points=[Point(x=number, y=number), Point(x=1, y=9)],
                note="last" if name == "d" else None,
            )
            for number, name in enumerate("abcd")
        ]
    )
    for name, (expression, expected) in OPERATORS.items():
        found = await Sample.find(expression()).sort("name").to_list()
        assert "".join(sample.name for sample in found) == expected, name


async def test_find_chains(db: Connection) -> None:
    await Sample.insert_many([Sample(name=n, number=i) for i, n in enumerate("abcdef")])
    query = Sample.find(Sample.number > 0).find(Sample.number < 5).sort("-number")
    assert await query.count() == 4
    assert [s.name for s in await query.skip(1).limit(2).to_list()] == ["d", "c"]
    assert [s.name async for s in Sample.find_all(sort="name", limit=2)] == ["a", "b"]
    assert await Sample.find(Sample.number > 3).exists()
    assert await Sample.count() == 6
    assert await Sample.distinct("number", {"number": {"$gte": 4}}) == [4, 5]
    first = await Sample.find(sort="-name").first_or_none()
    assert first is not None
    assert first.name == "f"


async def test_find_with_projection(db: Connection) -> None:
    class NameOnly(BaseModel):
        name: str

    await Sample.insert_many([Sample(name=n) for n in "ab"])
    assert await Sample.find().sort("name").project(NameOnly).to_list() == [
        NameOnly(name="a"),
        NameOnly(name="b"),
    ]
    one = await Sample.find_one(Sample.name == "a", projection_model=NameOnly)
    assert one == NameOnly(name="a")


async def test_driver_options_pass_through(db: Connection) -> None:
    await Sample.insert_many([Sample(name=n) for n in "aB"])
    found = await Sample.find(
        {"name": "b"}, collation={"locale": "en", "strength": 2}, comment="c", batch_size=1
    ).to_list()
    assert [sample.name for sample in found] == ["B"]


# Bulk writer


async def test_bulk_writer_collects(db: Connection) -> None:
    kept = await Sample(name="kept").insert()
    gone = await Sample(name="gone").insert()
    async with Sample.bulk_writer() as bulk:
        await Sample.insert_one(Sample(name="new"), bulk_writer=bulk)
        await Sample.find_one(Sample.name == "kept").update(
            {"$set": {"number": 1}}, bulk_writer=bulk
        )
        await Sample.find(Sample.number == 0).update_many({"$inc": {"number": 5}}, bulk_writer=bulk)
        await gone.delete(bulk_writer=bulk)
        assert len(await stored(db)) == 2
    assert {d["name"]: d["number"] for d in await stored(db)} == {"kept": 1, "new": 5}
    await kept.sync()
    assert kept.number == 1


async def test_bulk_writer_tells_errors(db: Connection) -> None:
    await Sample(name="a").insert()
    bulk = BulkWriter(object_class=Sample, ordered=False)
    for name in ("a", "b"):
        await Sample.insert_one(Sample(name=name), bulk_writer=bulk)
    with pytest.raises(BulkWriteError) as caught:
        await bulk.commit()
    assert [e["code"] for e in caught.value.details["writeErrors"]] == [11000]
    assert len(await stored(db)) == 2
