"""What is known of a class follows the class, and whole documents are asked for while it pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import AliasChoices, ConfigDict, Field, field_validator, model_validator

from odm import Document, Insert, Link, before_event
from odm.plain import plain

Open = Callable[..., Any]


class Card(Document):
    title: str = "T"
    views: int = 0

    @field_validator("title", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> str:
        return str(value)


class Derived(Card):
    pass


class Extended(Card):
    model_config = ConfigDict(extra="allow")


class Strict(Card):
    model_config = ConfigDict(extra="forbid")


class Looking(Card):
    @model_validator(mode="before")
    @classmethod
    def _look(cls, raw: Any) -> Any:
        return {**raw, "views": len(raw)}


class Named(Card):
    name: str = Field("", validation_alias=AliasChoices("name", "label"))


class Projected(Card):
    class Settings:
        projection = {"title": 1}  # noqa: RUF012 - read by Beanie


class Acting(Card):
    @before_event(Insert)
    def _act(self) -> None:
        self.views = 7


class Linked(Card):
    link: Link[Card] | None = None


class Cached(Card):
    class Settings:
        use_cache = True


def test_a_class_without_anything_special_is_plain() -> None:
    known = plain(Card)
    assert known.finds
    assert known.lists
    assert known.inserts
    assert known.updates
    assert known.saves
    assert known.asked is None
    assert plain(Card) is known


def test_whatever_is_special_is_left_to_beanie() -> None:
    assert not plain(Acting).inserts
    assert plain(Acting).finds
    for model in (Linked, Cached):
        assert not plain(model).finds
        assert not plain(model).lists
        assert not plain(model).saves


@pytest.mark.parametrize("model", [Extended, Strict, Looking, Named, Projected])
def test_a_class_that_sees_other_fields_gets_its_own_alone(model: Any) -> None:
    assert plain(model).asked == plain(model).projection


def test_a_class_is_looked_at_anew_when_it_has_changed(monkeypatch: Any) -> None:
    class Page(Document):
        title: str = "T"

    assert plain(Page).finds
    with monkeypatch.context() as patch:
        patch.setattr(Page, "get", lambda: None)
        assert not plain(Page).finds
        patch.setattr(Page.get_settings(), "use_cache", True)
        assert not plain(Page).lists
    assert plain(Page).finds
    assert plain(Page).lists


async def test_whole_documents_are_asked_for_until_one_has_more(listening: Open) -> None:
    class Page(Document):
        title: str = "T"

    db, commands = await listening(Page)
    pages = db.repository(Page)
    page = await pages.add(Page())
    commands.events.clear()
    assert await pages.get(page.id) == page
    assert await pages.find({}, limit=10).to_list() == [page]
    assert all("projection" not in event.command for event in commands.events)

    await pages.collection.update_one({"_id": page.id}, {"$set": {"body": "a" * 1000}})
    assert await pages.get(page.id) == page
    commands.events.clear()
    assert await pages.get(page.id) == page
    assert await pages.find_one({"title": "T"}) == page
    assert await pages.find({}, limit=10).to_list() == [page]
    fields = {"_id", "revision_id", "title"}
    assert [set(event.command["projection"]) for event in commands.events] == [fields] * 3


@pytest.mark.parametrize("place", [0, 1])
async def test_one_document_of_a_page_that_has_more_is_noticed(listening: Open, place: int) -> None:
    class Page(Document):
        title: str = "T"

    db, commands = await listening(Page)
    pages = db.repository(Page)
    contents = [{"_id": n, "title": "T", "revision_id": None} for n in range(2)]
    contents[place]["body"] = "a" * 1000
    contents = [{**content, "_id": f"{content['_id']:024x}"} for content in contents]
    await pages.collection.insert_many(contents)
    commands.events.clear()
    for _ in range(2):
        assert [page.title for page in await pages.find(sort="_id", limit=100).to_list()] == [
            "T"
        ] * 2
    assert ["projection" in event.command for event in commands.events] == [False, True]


async def test_a_setting_that_is_switched_begins_it_again(opened: Open) -> None:
    class Page(Document):
        title: str = "T"

    pages = (await opened(Page)).repository(Page)
    page = await pages.add(Page())
    assert (await pages.update(page, {"$set": {"title": "A"}})).revision_id is None
    Page.get_settings().use_revision = True
    assert (await pages.update(page.id, {"$set": {"title": "B"}})).revision_id is not None


async def test_lists_and_costly_bytes_are_projected_from_the_start(listening: Open) -> None:
    class Page(Document):
        title: str = "T"

    db, commands = await listening(Page)
    pages = db.repository(Page)
    page = await pages.add(Page())
    commands.events.clear()
    await pages.find({}).to_list()
    await pages.find({}, limit=101).to_list()
    db.spares_bytes = True
    await pages.get(page.id)
    await pages.find({}, limit=10).to_list()
    assert [len(event.command["projection"]) for event in commands.events] == [3] * 4


@pytest.mark.parametrize("model", [Derived, Acting])
async def test_a_document_of_a_derived_class_goes_where_that_class_is(
    opened: Open, model: Any
) -> None:
    db = await opened(Card, model)
    cards = db.repository(Card)
    added = await cards.add(model())
    await cards.update(added, {"$inc": {"views": 1}})
    added.title = "U"
    await cards.save(added)
    assert await cards.collection.count_documents({}) == 0, "it is in a collection of its own"
    assert await db.repository(model).get(added.id) == added
    assert added.views == (8 if model is Acting else 1)
