"""What is sent of a document is what Beanie's encoder makes of it, value for value."""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import pathlib
import re
import uuid
from functools import cached_property
from typing import Any

import beanie
import pytest
from beanie.odm.utils import encoder as beanies
from beanie.odm.utils.dump import get_dict
from beanie.odm.utils.encoder import Encoder
from bson import Binary, Decimal128, Int64, ObjectId
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr

from odm import Document, Link
from odm.dumping import content, encoded, encoded_filter, encoded_id


class Colour(enum.Enum):
    RED = "red"


class Word(str, enum.Enum):  # noqa: UP042 - Beanie sends such a member as it is
    ONE = "one"


class Inner(BaseModel):
    n: int = Field(default=1, alias="number")
    secret: str = Field(default="s", exclude=True)
    note: str | None = None
    model_config = ConfigDict(populate_by_name=True, extra="allow")

    @cached_property
    def doubled(self) -> int:
        return 2 * self.n


class Names(RootModel[list[str]]):
    pass


class Unusual(BaseModel):
    n: int = 1

    def __iter__(self) -> Any:
        yield "other", 2


class Anything(Document):
    value: Any = None
    named: str = Field(default="x", alias="stored")
    hidden: int = Field(default=1, exclude=True)
    model_config = ConfigDict(populate_by_name=True)

    @cached_property
    def length(self) -> int:
        return len(self.named)


class Extended(Anything):
    model_config = ConfigDict(extra="allow")


class Revised(Anything):
    class Settings:
        use_revision = True
        keep_nulls = False


class Linked(Anything):
    link: Link[Anything] | None = None


class Encoded(Anything):
    class Settings:
        bson_encoders = {str: str.upper}  # noqa: RUF012 - read by Beanie


class Root(Anything):
    class Settings:
        is_root = True


class Leaf(Root):
    pass


class Lazy(Anything):
    size: int = 0


VALUES: list[Any] = [
    None,
    True,
    1,
    2**40,
    1.5,
    "text",
    b"bytes",
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    datetime.date(2026, 1, 1),
    datetime.timedelta(seconds=90),
    decimal.Decimal("1.10"),
    uuid.UUID(int=1),
    re.compile("a", re.IGNORECASE),
    ipaddress.ip_address("::1"),
    pathlib.PurePosixPath("/a"),
    SecretStr("hush"),
    Colour.RED,
    Word.ONE,
    ObjectId(b"123456789012"),
    Int64(3),
    Binary(b"a", 4),
    Decimal128("1"),
    Inner(),
    Inner(n=2, other=None, more=Colour.RED),  # type: ignore[call-arg]  # extra ones
    Names(["a"]),
    Unusual(),
    [],
    [1, [Colour.RED, {"a": Inner()}]],
    (1, Colour.RED),
    {"a": None, Colour.RED: 1, 3: Colour.RED},
    frozenset({Colour.RED}),
    Anything(value=Inner()),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("model", [Anything, Extended, Revised, Linked, Encoded, Leaf])
@pytest.mark.parametrize("keep_nulls", [True, False])
def test_a_document_is_sent_as_beanie_sends_it(model: Any, value: Any, keep_nulls: bool) -> None:
    for id in (None, ObjectId(b"abcdefghijkl")):
        document = model(value=[value, {"in": value}], id=id)
        document.value.append(document.length)  # a cached property is among the attributes
        if model is Extended:
            document.more = value
        expected = get_dict(document, to_db=True, keep_nulls=keep_nulls)
        found = content(document, keep_nulls=keep_nulls)
        assert _typed(found) == _typed(expected)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_filters_and_updates_are_sent_as_beanie_sends_them(value: Any) -> None:
    mapping = {"$set": {Anything.named: value, "a.b": [value]}}
    assert _typed(encoded(mapping)) == _typed(Encoder().encode(mapping))


def test_an_operator_is_a_mapping() -> None:
    operator: Any = Anything.value == Colour.RED
    assert encoded(operator) == {"value": "red"}
    assert encoded_filter([]) == {}
    assert encoded_filter([Anything.named == "a"]) == {"stored": "a"}
    assert encoded_filter([Anything.named == "a", {"n": Word.ONE}]) == {
        "$and": [{"stored": "a"}, {"n": "one"}]
    }


def test_paths_through_links_of_nested_models_are_translated() -> None:
    class Chapter(BaseModel):
        author: Link[Anything]

    class Book(Document):
        chapter: Chapter

    id = beanie.PydanticObjectId()
    author: Any = Book.chapter.author
    assert encoded_filter([author.id == id]) == {"chapter.author.$id": id}


IDS: list[Any] = [1, "a", ObjectId(), uuid.UUID(int=2), Colour.RED, {"a": Colour.RED}]


@pytest.mark.parametrize("id", IDS)
def test_an_id_is_sent_as_beanie_sends_it(id: Any) -> None:
    assert _typed(encoded_id(id)) == _typed(Encoder().encode({"_id": id})["_id"])


def test_a_lazily_parsed_document_is_parsed() -> None:
    raw = {"_id": ObjectId(), "stored": "a", "value": 1, "size": 3}
    document = Lazy.lazy_parse(raw, {"_id"})
    expected = get_dict(Lazy.lazy_parse(raw, {"_id"}), to_db=True)
    assert content(document, keep_nulls=True) == expected


def test_a_document_without_a_required_field_is_refused_as_beanie_refuses_it() -> None:
    class Required(Document):
        title: str

    document = Required.model_construct()
    with pytest.raises(AttributeError):
        get_dict(document, to_db=True)
    with pytest.raises(AttributeError):
        content(document, keep_nulls=True)


def test_encoders_that_somebody_has_added_are_asked(monkeypatch: Any) -> None:
    monkeypatch.setitem(beanies.DEFAULT_CUSTOM_ENCODERS, Colour, lambda colour: colour.name)
    assert encoded({"a": Colour.RED}) == {"a": "RED"}
    assert content(Anything(value=Colour.RED), keep_nulls=True)["value"] == "RED"


def test_encoders_that_somebody_has_replaced_are_asked(monkeypatch: Any) -> None:
    assert encoded({"a": Colour.RED}) == {"a": Colour.RED.value}
    monkeypatch.setitem(beanies.DEFAULT_CUSTOM_ENCODERS, enum.Enum, lambda colour: colour.name)
    assert encoded({"a": Colour.RED}) == {"a": "RED"}
    assert encoded_filter([{"a": {"$in": [Colour.RED]}}]) == {"a": {"$in": ["RED"]}}
    assert content(Anything(value=Colour.RED), keep_nulls=True)["value"] == "RED"


def test_what_is_sent_is_a_copy() -> None:
    given: dict[str, Any] = {"n": {"$in": [1, 2]}, "text": "T"}
    for sent in (encoded(given), encoded_filter([given])):
        assert sent == given
        sent["n"]["$in"].append(3)
        sent["n"]["$gt"] = 0
        assert given == {"n": {"$in": [1, 2]}, "text": "T"}


def _typed(value: Any) -> Any:
    """Return the value with the types in it, and the order of what is in dicts."""
    if isinstance(value, dict):
        return dict, [(type(key), key, _typed(item)) for key, item in value.items()]
    if isinstance(value, list):
        return list, [_typed(item) for item in value]
    return type(value), value
