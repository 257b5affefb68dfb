from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from bson import ObjectId
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    model_validator,
)

from odm import Document, PydanticObjectId
from odm.projections import projection_of

Open = Callable[..., Any]


class Page(Document):
    title: str
    body: str = ""
    views: int = 0


class Title(BaseModel):
    title: str


class Closed(BaseModel):
    title: str
    model_config = ConfigDict(extra="forbid")


class Extended(BaseModel):
    title: str
    model_config = ConfigDict(extra="allow")


class WithId(BaseModel):
    id: PydanticObjectId = Field(alias="_id")


class Renamed(BaseModel):
    heading: str = Field(validation_alias="title")
    text: str = Field(validation_alias=AliasChoices("body", AliasPath("parts", 0)))


class ByName(BaseModel):
    heading: str = Field("", alias="title")
    model_config = ConfigDict(populate_by_name=True)


class Looking(BaseModel):
    id: Any = None
    title: str

    @model_validator(mode="before")
    @classmethod
    def take_id(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "id": values["_id"]}


class Chosen(BaseModel):
    title: str

    class Settings:
        projection: ClassVar[dict[str, Any]] = {"title": {"$toUpper": "$title"}}


class Empty(BaseModel):
    pass


class Whole(RootModel[dict[str, Any]]):
    pass


@pytest.mark.parametrize(
    ("model", "projection"),
    [
        (Title, {"_id": 0, "title": 1}),
        (Closed, {"_id": 0, "title": 1}),
        (Extended, None),
        (WithId, {"_id": 1}),
        (Renamed, {"_id": 0, "title": 1, "body": 1, "parts": 1}),
        (ByName, {"_id": 0, "title": 1, "heading": 1}),
        (Looking, {"id": 1, "title": 1}),
        (Chosen, {"title": {"$toUpper": "$title"}}),
        (Empty, {"_id": 1}),
        (Whole, None),
        (Page, {"_id": 1, "revision_id": 1, "title": 1, "body": 1, "views": 1}),
    ],
)
def test_what_a_model_has_is_fetched_and_no_more(model: Any, projection: Any) -> None:
    assert projection_of(model) == projection
    assert projection_of(model) == projection  # and again


async def test_plain_models_are_read_from_what_they_need(listening: Open) -> None:
    db, commands = await listening(Page)
    pages = db.repository(Page)
    page = await pages.add(Page(title="Hello", body="long"))

    async def read(model: Any) -> Any:
        return (await pages.find(into=model).to_list())[0]

    assert await read(Closed) == Closed(title="Hello")
    assert commands.events[-1].command["projection"] == {"_id": 0, "title": 1}
    assert await read(Renamed) == Renamed.model_validate({"title": "Hello", "body": "long"})
    assert (await read(WithId)).id == page.id
    assert (await read(Looking)).id == page.id
    assert (await read(Chosen)).title == "HELLO"
    assert (await read(Whole)).root["body"] == "long"
    assert [found async for found in pages.find(into=Title)] == [Title(title="Hello")]
    assert await Page.find_one({}).project(Title) == Title(title="Hello")


async def test_models_that_beanie_takes_for_one_do_not_share_its_cache(opened: Open) -> None:
    class Cached(Document):
        title: str

        class Settings:
            use_cache = True

    db = await opened(Cached)
    await db.repository(Cached).collection.insert_one({"_id": ObjectId(), "title": "T"})

    class Same(BaseModel):
        id: Any = None
        title: str

    find = db.repository(Cached).find
    assert await find(into=Same).to_list() == [Same(title="T")]
    assert (await find(into=Looking).to_list())[0].id is not None
