"""An update that is sent in one command does to the document what Beanie's does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import beanie
import pytest
from beanie.exceptions import DocumentNotFound
from beanie.odm.operators.update.general import Inc, Set
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from odm import Document, before_event
from odm.updating import updates_plainly

Open = Callable[..., Any]
_beanies_update = beanie.Document.update
_beanies_save = beanie.Document.save


class Inner(BaseModel):
    n: int = 0


class Rigid(BaseModel):
    n: int = 0
    model_config = ConfigDict(frozen=True)


class Plain(Document):
    title: str = "T"
    views: int = 0
    inner: Inner = Field(default_factory=Inner)
    rigid: Rigid = Field(default_factory=Rigid)
    inners: list[Inner] = Field(default_factory=list)
    note: str | None = None

    class Settings:
        use_state_management = True
        state_management_save_previous = True


class Extended(Plain):
    model_config = ConfigDict(extra="allow")


class Assigned(Plain):
    model_config = ConfigDict(validate_assignment=True)


class HalfFrozen(Plain):
    fixed: int = Field(0, frozen=True)


class Updating(Plain):
    async def update(self, *args: Any, **options: Any) -> Any:
        self.note = "asked"
        return await super().update(*args, **options)


class Acting(Plain):
    @before_event(beanie.Update)
    def note_it(self) -> None:
        self.note = "noted"


class Revised(Document):
    n: int = 0

    class Settings:
        use_revision = True


MODELS = (Plain, Extended, Assigned, HalfFrozen, Updating, Acting)
_set: Any = Set  # which Beanie leaves without types
_inc: Any = Inc
CHANGES: tuple[Any, ...] = (
    {"$set": {"inner.n": 1, "rigid.n": 2}, "$inc": {"views": 1}},
    {"$push": {"inners": {"n": 1}}, "$unset": {"title": ""}},
    {"$set": {"note": "N", "surplus": [1]}},
    _set({Plain.inner: Inner(n=5)}),
    _inc({Plain.views: 2}),
)


def told(document: Any) -> Any:
    state = {name: getattr(document, name) for name in ("_saved_state", "_previous_saved_state")}
    return document.model_dump(), document.model_fields_set, document.model_extra, state


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("changes", CHANGES)
async def test_an_update_is_taken_over_as_beanie_does(
    opened: Open, model: Any, changes: Any
) -> None:
    db = await opened(model)
    ours = await db.repository(model).add(model(inners=[Inner(n=7)]))
    theirs = ours.model_copy(deep=True)
    inner = ours.inner
    await ours.update(changes)
    after = await db.repository(model).collection.find_one()
    await db.repository(model).collection.replace_one({}, theirs.get_saved_state())
    with db.bind():
        await _beanies_update(theirs, changes)
    assert await db.repository(model).collection.find_one() == after
    assert told(ours) == told(theirs)
    assert ours.inner is inner


@pytest.mark.parametrize("model", MODELS)
async def test_a_save_is_beanies(opened: Open, model: Any) -> None:
    db = await opened(model)
    ours = await db.repository(model).add(model())
    theirs = ours.model_copy(deep=True)
    for document, save in ((ours, model.save), (theirs, _beanies_save)):
        document.title, document.inner.n = "U", 3
        with db.bind():
            await save(document)
    assert told(ours) == told(theirs)
    assert not ours.has_changed  # Beanie saves the state twice


async def test_a_document_without_an_id_is_inserted_by_save(opened: Open) -> None:
    db = await opened(Plain)
    page = Plain(title="new")
    with db.bind():
        await page.save()
    assert (await db.repository(Plain).get(page.id)).title == "new"


async def test_a_document_that_is_gone_is_not_found(opened: Open) -> None:
    db = await opened(Plain)
    page = await db.repository(Plain).add(Plain())
    await db.repository(Plain).delete(page.id)
    with pytest.raises(DocumentNotFound):
        await page.update({"$inc": {"views": 1}})
    assert page.views == 0


async def test_what_the_update_makes_invalid_leaves_the_document_alone(opened: Open) -> None:
    db = await opened(Plain)
    page = await db.repository(Plain).add(Plain())
    with pytest.raises(ValidationError):
        await page.update({"$set": {"views": "many"}})
    assert page.views == 0


def test_whatever_is_special_is_left_to_beanie() -> None:
    assert updates_plainly(Plain)
    assert not updates_plainly(Revised)
    assert not updates_plainly(Acting)
