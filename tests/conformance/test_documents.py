"""Beanie's document API: writes, state, revisions, actions, operators, soft delete, unions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

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
    Text,
)
from pydantic import BaseModel, Field, field_validator
from pymongo import TEXT
from pymongo.errors import BulkWriteError, DuplicateKeyError

from odm import (
    After,
    BulkWriter,
    Connection,
    Delete,
    Document,
    DocumentWithSoftDelete,
    Indexed,
    Insert,
    MergeStrategy,
    PydanticObjectId,
    Replace,
    ReplaceError,
    RevisionIdWasChanged,
    Save,
    StateManagementIsTurnedOff,
    UnionDoc,
    Update,
    UpdateResponse,
    ValidateOnSave,
    WriteRules,
    after_event,
    before_event,
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


class Stateful(Document):
    name: str
    number: int = 0
    point: Point = Field(default_factory=Point)

    class Settings:
        name = "stateful"
        use_state_management = True
        state_management_save_previous = True


class Locked(Document):
    name: str
    number: int = 0

    class Settings:
        name = "locked"
        use_revision = True
        use_state_management = True


class Eventful(Document):
    name: str
    log: list[str] = Field(default_factory=list)
    deletions: ClassVar[list[str]] = []

    class Settings:
        name = "eventful"

    @before_event(Insert)
    def before_insert(self) -> None:
        self.log.append("before insert")

    @after_event(Insert)
    async def after_insert(self) -> None:
        self.log.append("after insert")

    @before_event(Replace)
    def before_replace(self) -> None:
        self.log.append("before replace")

    @before_event(Save)
    def before_save(self) -> None:
        self.log.append("before save")

    @before_event(Update)
    def before_update(self) -> None:
        self.name = self.name.upper()

    @before_event(Delete)
    def before_delete(self) -> None:
        type(self).deletions.append(self.name)


class Checked(Document):
    name: str
    number: int = 0

    class Settings:
        name = "checked"
        validate_on_save = True

    @field_validator("name")
    @classmethod
    def strip(cls, value: str) -> str:
        return value.strip()

    @before_event(ValidateOnSave)
    def count(self) -> None:  # type: ignore[override]  # noqa: RUF100
        self.number += 1


class Sparse(Document):
    name: str
    note: str | None = None

    class Settings:
        name = "sparse"
        keep_nulls = False


class Soft(DocumentWithSoftDelete):
    name: str

    class Settings:
        name = "soft"


class Lazy(Document):
    name: str
    number: int = 0

    class Settings:
        name = "lazy"
        lazy_parsing = True


class Cached(Document):
    name: str

    class Settings:
        name = "cached"
        use_cache = True
        cache_expiration_time = timedelta(minutes=5)


class Either(UnionDoc):
    class Settings:
        name = "either"


class Left(Document):
    left: int

    class Settings:
        union_doc = Either


class Right(Document):
    right: str

    class Settings:
        union_doc = Either


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


# State


@pytest.mark.models([Stateful])
async def test_save_changes_sends_only_what_changed(db: Connection) -> None:
    document = await Stateful(name="a", point=Point(x=1)).insert()
    await db.database["stateful"].update_one({}, {"$set": {"name": "theirs"}})
    assert document.get_changes() == {}
    document.point.y = 4
    assert document.is_changed
    assert document.get_changes() == {"point.y": 4}
    await document.save_changes()
    [raw] = await stored(db, "stateful")
    assert (raw["name"], raw["point"]) == ("theirs", {"x": 1, "y": 4})
    assert document.name == "theirs"


@pytest.mark.models([Stateful])
async def test_rollback_and_previous_state(db: Connection) -> None:
    document = await Stateful(name="a").insert()
    document.number = 5
    document.rollback()
    assert document.number == 0
    document.number = 6
    await document.save_changes()
    assert document.has_changed
    assert (document.get_previous_saved_state() or {})["number"] == 0


@pytest.mark.models([Stateful])
async def test_sync_can_keep_local_changes(db: Connection) -> None:
    document = await Stateful(name="a").insert()
    document.number = 5
    await db.database["stateful"].update_one({}, {"$set": {"name": "theirs"}})
    await document.sync(merge_strategy=MergeStrategy.local)
    assert (document.name, document.number) == ("theirs", 5)


async def test_state_must_be_turned_on(db: Connection) -> None:
    sample = await Sample(name="a").insert()
    with pytest.raises(StateManagementIsTurnedOff):
        await sample.save_changes()


# Revisions


@pytest.mark.models([Locked])
@pytest.mark.parametrize("write", ["save", "replace", "save_changes", "set"])
async def test_stale_copy_is_refused(db: Connection, write: str) -> None:
    document = await Locked(name="a").insert()
    stale = await Locked.get(document.id)
    assert stale is not None
    document.number = 1
    await document.save()
    stale.number = 2
    with pytest.raises(RevisionIdWasChanged):
        await (stale.set({Locked.number: 2}) if write == "set" else getattr(stale, write)())
    [raw] = await stored(db, "locked")
    assert raw["number"] == 1


@pytest.mark.models([Locked])
async def test_stale_copy_can_be_forced(db: Connection) -> None:
    document = await Locked(name="a").insert()
    stale = await Locked.get(document.id)
    assert stale is not None
    document.number = 1
    await document.save()
    stale.number = 2
    await stale.replace(ignore_revision=True)
    assert (await stored(db, "locked"))[0]["number"] == 2


@pytest.mark.models([Locked])
async def test_every_write_makes_a_new_revision(db: Connection) -> None:
    document = await Locked(name="a").insert()
    seen = {document.revision_id}
    for number in range(3):
        document.number = number + 1
        await document.save_changes()
        seen.add(document.revision_id)
        assert (await stored(db, "locked"))[0]["revision_id"].as_uuid() == document.revision_id
    assert len(seen) == 4


# Actions, validation, nulls


@pytest.mark.models([Eventful])
async def test_actions_run_around_writes(db: Connection) -> None:
    document = await Eventful(name="a").insert()
    assert document.log == ["before insert", "after insert"]
    assert (await stored(db, "eventful"))[0]["log"] == ["before insert"]
    await document.replace()
    assert document.log[-1] == "before replace"
    await document.update({"$push": {"log": "pushed"}})
    assert document.name == "A"
    Eventful.deletions.clear()
    await document.delete()
    assert Eventful.deletions == ["A"]


@pytest.mark.models([Eventful])
async def test_actions_can_be_skipped(db: Connection) -> None:
    document = await Eventful(name="a").insert(skip_actions=["before_insert", After])
    assert document.log == []


@pytest.mark.models([Checked])
async def test_validate_on_save(db: Connection) -> None:
    document = await Checked(name="a").insert()
    document.name = "  b  "
    await document.save()
    [raw] = await stored(db, "checked")
    assert (raw["name"], raw["number"]) == ("b", 2)


@pytest.mark.models([Sparse])
async def test_nulls_can_be_left_out(db: Connection) -> None:
    document = await Sparse(name="a", note="n").insert()
    document.note = None
    await document.save()
    assert await stored(db, "sparse") == [{"_id": document.id, "name": "a"}]


# Soft delete, unions, lazy parsing, cache


@pytest.mark.models([Soft])
async def test_soft_delete_hides(db: Connection) -> None:
    kept, gone = await Soft(name="kept").insert(), await Soft(name="gone").insert()
    await gone.delete()
    assert gone.is_deleted()
    assert gone.deleted_at is not None
    assert datetime.now(UTC) - gone.deleted_at.replace(tzinfo=UTC) < timedelta(minutes=1)
    assert [soft.name for soft in await Soft.find_all().to_list()] == ["kept"]
    assert await Soft.find_one(Soft.name == "gone") is None
    assert await Soft.find_many_in_all().count() == 2
    await kept.hard_delete()
    assert [raw["name"] for raw in await stored(db, "soft")] == ["gone"]


@pytest.mark.models([Either, Left, Right])
async def test_union_finds_both_classes(db: Connection) -> None:
    await Left(left=1).insert()
    await Right(right="r").insert()
    found = await Either.find_all().to_list()
    assert [type(document) for document in found] == [Left, Right]
    assert await Either.find({"left": 1}).count() == 1
    assert [raw["_class_id"] for raw in await stored(db, "either")] == ["Left", "Right"]
    assert [left.left for left in await Left.find_all().to_list()] == [1]


@pytest.mark.models([Lazy])
async def test_lazy_parsing(db: Connection) -> None:
    await Lazy(name="a", number=3).insert()
    [document] = await Lazy.find().to_list()
    assert document.number == 3
    assert document.name == "a"


@pytest.mark.models([Cached])
async def test_cache_answers_until_it_is_ignored(db: Connection) -> None:
    document = await Cached(name="a").insert()
    assert len(await Cached.find(Cached.name == "a").to_list()) == 1
    await db.database["cached"].delete_one({"_id": document.id})
    assert len(await Cached.find(Cached.name == "a").to_list()) == 1
    assert await Cached.find(Cached.name == "a", ignore_cache=True).to_list() == []


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


class Searchable(Document):
    title: Annotated[str, Indexed(index_type=TEXT)]

    class Settings:
        name = "searchable"


@pytest.mark.differs("fake", reason="the fake refuses $text so far")
@pytest.mark.models([Searchable])
async def test_text_search(db: Connection) -> None:
    await Searchable.insert_many(
        [Searchable(title="bread and butter"), Searchable(title="Bees"), Searchable(title="tea")]
    )
    found = await Searchable.find(Text("bread bees")).to_list()
    assert {s.title for s in found} == {"bread and butter", "Bees"}
    assert await Searchable.find(Text('"and butter"')).count() == 1
    assert await Searchable.find(Text("tea -tea")).count() == 0
