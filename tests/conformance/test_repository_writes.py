"""What repositories write: one, many, in bulk, and what they refuse."""

from __future__ import annotations

from typing import Annotated, cast
from uuid import UUID

import pytest
from pydantic import Field
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from models import (
    Asset,
    Form,
    Image,
    Page,
    Photo,
    Profile,
    Role,
    Submission,
    TextField,
    User,
)
from odm import (
    Connection,
    Document,
    DocumentNotFound,
    Indexed,
    PydanticObjectId,
    RevisionIdWasChanged,
)


class Tool(Document):
    name: Annotated[str, Indexed(unique=True)]
    stock: int = 0
    tags: list[str] = Field(default_factory=list)

    class Settings:
        name = "tools"


class Numbered(Document):
    id: int = Field(default=0, alias="_id")  # type: ignore[assignment]  # Beanie allows any type
    text: str = ""

    class Settings:
        name = "numbered"


pytestmark = pytest.mark.models([Tool])


async def test_add_gives_the_document_its_id(db: Connection) -> None:
    tools = db.repository(Tool)
    tool = Tool(name="saw")
    assert await tools.add(tool) is tool
    assert isinstance(tool.id, PydanticObjectId)
    assert await db.database["tools"].find().to_list() == [
        {"_id": tool.id, "name": "saw", "stock": 0, "tags": []}
    ]


async def test_add_twice_is_a_duplicate_key(db: Connection) -> None:
    tools = db.repository(Tool)
    await tools.add(Tool(name="saw"))
    with pytest.raises(DuplicateKeyError) as caught:
        await tools.add(Tool(name="saw"))
    assert caught.value.code == 11000
    assert (caught.value.details or {})["keyPattern"] == {"name": 1}
    assert (caught.value.details or {})["keyValue"] == {"name": "saw"}
    assert await tools.count() == 1


async def test_add_many_keeps_the_order(db: Connection) -> None:
    tools = db.repository(Tool)
    added = await tools.add_many([Tool(name=name) for name in "cab"])
    assert [tool.name for tool in added] == ["c", "a", "b"]
    assert all(tool.id is not None for tool in added)
    assert {tool.id for tool in added} == set(await tools.distinct("_id"))
    assert await tools.add_many([]) == []


async def test_add_many_ordered_stops_and_unordered_goes_on(db: Connection) -> None:
    tools = db.repository(Tool)
    with pytest.raises(BulkWriteError) as caught:
        await tools.add_many([Tool(name=name) for name in "aab"])
    [error] = caught.value.details["writeErrors"]
    assert (error["index"], error["code"]) == (1, 11000)
    assert await tools.distinct("name") == ["a"]
    with pytest.raises(BulkWriteError):
        await tools.add_many([Tool(name=name) for name in "aab"], ordered=False)
    assert await tools.distinct("name") == ["a", "b"]


async def test_save_inserts_and_then_overwrites(db: Connection) -> None:
    tools = db.repository(Tool)
    tool = await tools.save(Tool(name="saw"))
    tool.stock = 3
    assert await tools.save(tool) is tool
    assert (await tools.get(tool.id)).stock == 3
    assert await tools.count() == 1


async def test_upsert_by_filter(db: Connection) -> None:
    tools = db.repository(Tool)
    first = await tools.upsert(Tool(name="saw", stock=1), Tool.name == "saw")
    second = await tools.upsert(Tool(name="saw", stock=2), {"name": "saw"})
    assert second.id == first.id
    assert [(tool.name, tool.stock) for tool in await tools.find().to_list()] == [("saw", 2)]


async def test_upsert_by_id(db: Connection) -> None:
    tools = db.repository(Tool)
    tool = await tools.upsert(Tool(name="saw"))
    tool.stock = 7
    assert (await tools.upsert(tool)).id == tool.id
    assert (await tools.get(tool.id)).stock == 7
    assert await tools.count() == 1


async def test_update_of_a_document_brings_it_up_to_date(db: Connection) -> None:
    tools = db.repository(Tool)
    tool = await tools.add(Tool(name="saw"))
    await db.database["tools"].update_one({}, {"$set": {"stock": 10}})
    updated = await tools.update(tool, {"$inc": {"stock": 1}, "$push": {"tags": "sharp"}})
    assert updated is tool
    assert (tool.stock, tool.tags) == (11, ["sharp"])


async def test_update_of_an_id_returns_the_document(db: Connection) -> None:
    tools = db.repository(Tool)
    tool = await tools.add(Tool(name="saw"))
    updated = await tools.update(tool.id, {"$set": {"stock": 5}})
    assert (updated.id, updated.stock) == (tool.id, 5)
    assert tool.stock == 0
    assert (await tools.update(str(tool.id), {"$set": {"stock": 6}})).stock == 6


async def test_update_of_what_is_not_there(db: Connection) -> None:
    tools = db.repository(Tool)
    with pytest.raises(DocumentNotFound):
        await tools.update(PydanticObjectId(), {"$set": {"stock": 5}})
    tool = await tools.add(Tool(name="saw"))
    await tools.delete(tool)
    with pytest.raises(DocumentNotFound):
        await tools.update(tool, {"$set": {"stock": 5}})
    assert await tools.count() == 0


async def test_update_that_the_server_refuses(db: Connection) -> None:
    tools = db.repository(Tool)
    tool = await tools.add(Tool(name="saw"))
    with pytest.raises(OperationFailure) as caught:
        await tools.update(tool, {"$inc": {"name": 1}})
    assert caught.value.code == 14
    with pytest.raises(OperationFailure) as caught:
        await tools.update(tool.id, {"$nonsense": {"a": 1}})
    assert caught.value.code == 9


async def test_update_without_operators_is_refused(db: Connection) -> None:
    tools = db.repository(Tool)
    tool = await tools.add(Tool(name="saw"))
    with pytest.raises(ValueError, match=r"\$set"):
        await tools.update(tool, {"stock": 5})
    with pytest.raises(ValueError, match=r"\$set"):
        await tools.update_many({}, changes={"stock": 5})


async def test_update_many_counts_what_changed(db: Connection) -> None:
    tools = db.repository(Tool)
    await tools.add_many([Tool(name=name, stock=n) for n, name in enumerate("abcd")])
    assert await tools.update_many(Tool.stock >= 2, changes={"$set": {"stock": 3}}) == 1
    assert await tools.update_many({}, changes={"$inc": {"stock": 1}}) == 4
    assert await tools.update_many({"name": "z"}, changes={"$inc": {"stock": 1}}) == 0
    assert [tool.stock async for tool in tools.find(sort="name")] == [1, 2, 4, 4]


async def test_delete_by_document_and_by_id(db: Connection) -> None:
    tools = db.repository(Tool)
    one, two = await tools.add_many([Tool(name="a"), Tool(name="b")])
    await tools.delete(one)
    await tools.delete(two.id)
    assert await tools.count() == 0
    with pytest.raises(DocumentNotFound):
        await tools.delete(one)
    with pytest.raises(DocumentNotFound):
        await tools.delete(two.id)


async def test_delete_many_counts(db: Connection) -> None:
    tools = db.repository(Tool)
    await tools.add_many([Tool(name=name, stock=n) for n, name in enumerate("abcd")])
    assert await tools.delete_many(Tool.stock > 1) == 2
    assert await tools.delete_many({"name": "z"}) == 0
    assert await tools.delete_many({}) == 2


async def test_unsaved_documents_cannot_be_updated_or_deleted(db: Connection) -> None:
    tools = db.repository(Tool)
    with pytest.raises(ValueError, match="no id"):
        await tools.update(Tool(name="saw"), {"$set": {"stock": 1}})
    with pytest.raises(ValueError, match="no id"):
        await tools.delete(Tool(name="saw"))


@pytest.mark.models([Tool, User])
async def test_documents_of_another_class_are_refused(db: Connection) -> None:
    user = User(email="a@b.c", profile=Profile(display_name="A"))
    with pytest.raises(TypeError, match="Tool"):
        await db.repository(Tool).add(cast("Tool", user))
    assert await db.repository(User).count() == 0


async def test_bulk_sends_one_write(db: Connection) -> None:
    tools = db.repository(Tool)
    kept, gone = await tools.add_many([Tool(name="kept"), Tool(name="gone")])
    new = Tool(name="new")
    async with tools.bulk() as batch:
        batch.add(new)
        batch.update(kept, {"$inc": {"stock": 4}})
        batch.update(kept.id, {"$push": {"tags": "x"}})
        batch.delete(gone)
        assert len(batch) == 4
        assert await tools.count() == 2
    assert batch.result is not None
    assert (batch.result.inserted_count, batch.result.modified_count) == (1, 2)
    assert batch.result.deleted_count == 1
    assert new.id is not None
    found = await tools.find(sort="name").to_list()
    assert [(tool.name, tool.stock, tool.tags) for tool in found] == [
        ("kept", 4, ["x"]),
        ("new", 0, []),
    ]


async def test_empty_bulk_sends_nothing(db: Connection) -> None:
    async with db.repository(Tool).bulk() as batch:
        pass
    assert batch.result is None


async def test_bulk_that_is_left_by_an_exception_sends_nothing(db: Connection) -> None:
    tools = db.repository(Tool)

    async def left() -> None:
        async with tools.bulk() as batch:
            batch.add(Tool(name="a"))
            raise KeyError("a")

    with pytest.raises(KeyError):
        await left()
    assert await tools.count() == 0


@pytest.mark.parametrize("ordered", [True, False])
async def test_bulk_tells_which_write_failed(db: Connection, ordered: bool) -> None:
    tools = db.repository(Tool)

    async def duplicate() -> None:
        async with tools.bulk(ordered=ordered) as batch:
            for name in "aab":
                batch.add(Tool(name=name))

    with pytest.raises(BulkWriteError) as caught:
        await duplicate()
    [error] = caught.value.details["writeErrors"]
    assert (error["index"], error["code"], error["keyValue"]) == (1, 11000, {"name": "a"})
    assert await tools.distinct("name") == (["a"] if ordered else ["a", "b"])


@pytest.mark.models([Numbered])
async def test_ids_of_other_types(db: Connection) -> None:
    numbered = db.repository(Numbered)
    await numbered.add(Numbered(id=5, text="five"))
    await numbered.add_many([Numbered(id=6), Numbered(id=7)])
    assert (await numbered.get(5)).text == "five"
    assert (await numbered.update(6, {"$set": {"text": "six"}})).text == "six"
    await numbered.delete(7)
    assert await numbered.distinct("_id") == [5, 6]
    with pytest.raises(DuplicateKeyError):
        await numbered.add(Numbered(id=5))


@pytest.mark.models([Page], indexes=False)
async def test_stale_copy_is_not_saved(db: Connection) -> None:
    pages = db.repository(Page)
    page = await pages.add(Page(title="One", slug="one"))
    mine, theirs = await pages.get(page.id), await pages.get(page.id)
    theirs.title = "Theirs"
    await pages.save(theirs)
    mine.title = "Mine"
    with pytest.raises(RevisionIdWasChanged):
        await pages.save(mine)
    with pytest.raises(RevisionIdWasChanged):
        await pages.update(mine, {"$set": {"title": "Mine"}})
    assert (await pages.get(page.id)).title == "Theirs"
    updated = await pages.update(page.id, {"$set": {"title": "By id"}})
    assert updated.revision_id not in {theirs.revision_id, mine.revision_id}


@pytest.mark.models([Form, Submission, User], indexes=False)
async def test_soft_deleted_documents_are_passed_over(db: Connection) -> None:
    submissions = db.repository(Submission)
    form = await db.repository(Form).add(
        Form(slug="f", title="F", fields=[TextField(name="a", label="A")])
    )
    kept, gone = await submissions.add_many(
        [Submission(form=form, answers={"a": "1"}), Submission(form=form, answers={"a": "2"})]
    )
    await submissions.delete(gone)
    assert gone.is_deleted()
    assert [s.id for s in await submissions.find().to_list()] == [kept.id]
    assert await submissions.count() == 1
    assert not await submissions.exists({"_id": gone.id})
    with pytest.raises(DocumentNotFound):
        await submissions.get(gone.id)
    assert await db.database["submissions"].count_documents({}) == 2
    with db.bind():
        assert await Submission.find_many_in_all().count() == 2
    await kept.hard_delete()
    assert await db.database["submissions"].distinct("_id") == [gone.id]


@pytest.mark.models([Asset, Image, Photo, User], indexes=False)
async def test_repository_of_a_root_class_holds_its_children(db: Connection) -> None:
    assets = db.repository(Asset)
    await assets.add(Asset(key=UUID(int=1), name="a", size_bytes=1))
    await assets.add(Photo(key=UUID(int=2), name="b", size_bytes=2, width=1, height=1, camera="c"))
    await db.repository(Image).add(
        Image(key=UUID(int=3), name="c", size_bytes=3, width=1, height=1)
    )
    found = await assets.find(sort="name", with_children=True).to_list()
    assert [type(asset) for asset in found] == [Asset, Photo, Image]
    photo = await assets.get(found[1].id)
    assert isinstance(photo, Photo)
    images = db.repository(Image)
    assert [type(i) for i in await images.find(sort="name", with_children=True).to_list()] == [
        Photo,
        Image,
    ]
    assert [type(image) for image in await images.find(sort="name").to_list()] == [Image]


@pytest.mark.models([User])
async def test_validation_happens_before_anything_is_sent(db: Connection) -> None:
    with pytest.raises(ValueError, match="email"):
        User(email="nobody", profile=Profile(display_name="N"))
    user = User(email="a@b.c", profile=Profile(display_name="N"), roles=[Role.ADMIN])
    await db.repository(User).add(user)
    stored = await db.database["users"].find_one()
    assert stored is not None
    assert stored["roles"] == ["admin"]
