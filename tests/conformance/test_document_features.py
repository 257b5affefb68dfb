"""What documents can be told to do: state, revisions, actions, soft delete, unions, cache."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

import pytest
from beanie.operators import (
    Text,
)
from pydantic import BaseModel, Field, field_validator
from pymongo import TEXT

from odm import (
    After,
    Connection,
    Delete,
    Document,
    DocumentWithSoftDelete,
    Indexed,
    Insert,
    MergeStrategy,
    Replace,
    RevisionIdWasChanged,
    Save,
    StateManagementIsTurnedOff,
    UnionDoc,
    Update,
    ValidateOnSave,
    after_event,
    before_event,
)


class Point(BaseModel):
    x: int = 0
    y: int = 0


class Plain(Document):
    name: str

    class Settings:
        name = "plain"


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


async def stored(db: Connection, name: str) -> list[dict[str, Any]]:
    return await db.database[name].find(sort=[("_id", 1)]).to_list()


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


@pytest.mark.models([Plain])
async def test_state_must_be_turned_on(db: Connection) -> None:
    sample = await Plain(name="a").insert()
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


class Searchable(Document):
    title: Annotated[str, Indexed(index_type=TEXT)]

    class Settings:
        name = "searchable"


@pytest.mark.models([Searchable])
async def test_text_search(db: Connection) -> None:
    await Searchable.insert_many(
        [Searchable(title="bread and butter"), Searchable(title="Bees"), Searchable(title="tea")]
    )
    found = await Searchable.find(Text("bread bees")).to_list()
    assert {s.title for s in found} == {"bread and butter", "Bees"}
    assert await Searchable.find(Text('"and butter"')).count() == 1
    assert await Searchable.find(Text("tea -tea")).count() == 0
