"""What is read is what Beanie's ``parse_obj`` makes of the same, in every respect."""

from __future__ import annotations

import copy
import gc
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import bson
import pytest
from beanie.odm.utils.parsing import parse_obj
from bson import CodecOptions, DBRef, Decimal128, ObjectId
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    ValidationError,
    computed_field,
    field_validator,
    model_validator,
)
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import InvalidOperation

import odm.cursors
from odm import BackLink, Document, DocumentWithSoftDelete, Link, PydanticObjectId, UnionDoc
from odm.reading import filler, list_reader, read_all, read_encoded, reader

Open = Callable[..., Any]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Author(BaseModel):
    name: str
    id: PydanticObjectId | None = None
    born: datetime | None = None
    _seen: list[str] = PrivateAttr(default_factory=list)


class Tags(RootModel[list[str]]):
    pass


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = []


class Typed(Document):
    title: str
    views: int = 0
    score: float | None = None
    at: datetime | None = None
    colour: Colour = Colour.RED
    tags: Tags = Tags([])
    author: Author | None = None
    owner: PydanticObjectId | None = None
    owners: list[PydanticObjectId] = Field(default_factory=list)
    price: Decimal | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    either: int | PydanticObjectId | str = 0
    by_name: dict[str, Author] = Field(default_factory=dict)
    anything: Any = None


class Aliased(Document):
    title: str = Field(alias="t")
    other: str = Field("x", validation_alias=AliasChoices("o", "oo"))
    made: list[int] = Field(default_factory=lambda: [1])


class Extra(Document):
    title: str
    model_config = ConfigDict(extra="allow")


class Closed(Document):
    title: str
    model_config = ConfigDict(extra="forbid")


class Frozen(Document):
    title: str
    model_config = ConfigDict(frozen=True)


class Strict(Document):
    title: str
    views: int = 0
    model_config = ConfigDict(strict=True, title="Named otherwise")


class Own(BaseModel):
    """Not a document: what `repository.find(into=…)` reads."""

    id: PydanticObjectId | None = Field(None, alias="_id")
    title: str
    _seen: int = 1


class Validated(Document):
    title: str
    views: int = 0
    _log: list[str] = PrivateAttr(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def pop_old_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and "old" in values:
            values["title"] = values.pop("old")
        return values

    @field_validator("title")
    @classmethod
    def strip(cls, value: str) -> str:
        if value == "raise":
            raise ValueError("no such title")
        return value.strip()

    @model_validator(mode="after")
    def note(self) -> Validated:
        self._log.append(self.title)
        return self

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation has it
    @property
    def shout(self) -> str:
        return self.title.upper()


class Hooked(Document):
    title: str
    _number: int = 1
    _unset: int = PrivateAttr()
    _seen: Any = None

    def model_post_init(self, context: Any, /) -> None:
        self._seen = (self._number, self.title)


class HookedChild(Hooked):
    _more: str = "m"


class Initialised(Document):
    title: str
    _by: str = "?"

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._by = "init"


class OwnWay(Document):
    title: str

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Any:
        return super().model_validate({**obj, "title": obj["title"] + "!"}, **options)


class Stateful(Document):
    title: str
    author: Author | None = None

    class Settings:
        use_state_management = True
        state_management_save_previous = True
        keep_nulls = False
        bson_encoders: ClassVar[dict[Any, Any]] = {str: lambda value: f"«{value}»"}


class Revised(Document):
    title: str

    class Settings:
        use_revision = True


class Noting(Document):
    title: str
    _noted: bool = False

    def _save_state(self) -> None:
        self._noted = True


class Linked(Document):
    title: str
    to: Link[Typed] | None = None
    many: list[Link[Typed]] = Field(default_factory=list)


class Target(Document):
    title: str
    back: BackLink[Source] | None = Field(None, json_schema_extra={"original_field": "target"})


class Source(Document):
    title: str
    target: Link[Target] | None = None


class Tree(Document):
    title: str
    below: list[Tree] = Field(default_factory=list)


class Root(Document):
    title: str

    class Settings:
        is_root = True


class Child(Root):
    extra: int = 0


class GrandChild(Child):
    more: str = ""


class Either(UnionDoc):
    class Settings:
        name = "either"


class This(Document):
    title: str

    class Settings:
        union_doc = Either


class That(Document):
    number: int

    class Settings:
        union_doc = Either
        use_state_management = True


class Marked(DocumentWithSoftDelete):
    title: str


for late in (Target, Source, Tree):
    late.model_rebuild()
for model in (Child, GrandChild, This, That, Target, Source):
    model.get_settings()

OID = ObjectId("64b000000000000000000001")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
REVISION = UUID(int=5)
_ADDRESS = re.compile("0x[0-9a-f]+")
TITLED: tuple[Any, ...] = (
    Extra,
    Closed,
    Frozen,
    Strict,
    Own,
    Validated,
    Hooked,
    HookedChild,
    Initialised,
    OwnWay,
    Stateful,
    Revised,
    Noting,
    Marked,
    Tree,
    Root,
    Child,
    Linked,
    Target,
    Source,
    Typed,
)
CASES: list[tuple[Any, dict[str, Any]]] = [
    *((model, {"_id": OID, "title": " T "}) for model in TITLED),
    *((model, {"_id": OID}) for model in TITLED),
    *((model, {"_id": OID, "title": 5, "views": "x"}) for model in TITLED),
    *((model, {"title": "T", "revision_id": REVISION}) for model in TITLED),
    *((model, {"_id": "no id", "title": "T", "surplus": 1}) for model in TITLED),
    (
        Typed,
        {
            "_id": OID,
            "title": "T",
            "views": 3,
            "score": 2,
            "at": datetime(2026, 1, 1, tzinfo=UTC),
            "colour": "blue",
            "tags": ["a"],
            "author": {"name": "A", "id": OID, "born": datetime(1970, 1, 1)},
            "owner": OID,
            "owners": [OID, str(OID)],
            "price": Decimal128("1.5"),
            "pet": {"kind": "dog", "tricks": ["sit"]},
            "either": OID,
            "by_name": {"x": {"name": "B"}},
            "anything": {"a": [1, {"b": None}]},
        },
    ),
    (Typed, {"title": "T", "pet": {"kind": "cow"}, "either": [], "owners": [1], "author": 1}),
    (Typed, {"title": "T", "either": 1.5, "price": "x", "colour": "green"}),
    (Aliased, {"_id": OID, "t": "T", "oo": "y"}),
    (Aliased, {"_id": OID, "title": "T", "other": "y"}),
    (Validated, {"_id": OID, "old": "T"}),
    (Validated, {"_id": OID, "title": "raise"}),
    (Stateful, {"_id": OID, "title": "T", "author": {"name": "A"}}),
    (Linked, {"_id": OID, "title": "T", "to": DBRef("Typed", OID), "many": [DBRef("Typed", OID)]}),
    (Linked, {"_id": OID, "title": "T", "to": {"_id": OID, "title": "fetched"}}),
    (Linked, {"_id": OID, "title": "T", "to": 5}),
    (Target, {"_id": OID, "title": "T", "back": {"_id": OID, "title": "fetched"}}),
    (Tree, {"_id": OID, "title": "T", "below": [{"title": "U", "below": [{"title": "V"}]}]}),
    (Tree, {"_id": OID, "title": "T", "below": [{"below": []}]}),
    (Root, {"_id": OID, "title": "T", "_class_id": "Root"}),
    (Root, {"_id": OID, "title": "T", "_class_id": "Root.Child", "extra": 4}),
    (Root, {"_id": OID, "title": "T", "_class_id": "Root.Child.GrandChild", "more": "m"}),
    (Root, {"_id": OID, "title": "T", "_class_id": "unknown"}),
    (Child, {"_id": OID, "title": "T", "_class_id": "Root.Child.GrandChild"}),
    (Child, {"_id": OID, "title": "T", "_class_id": "Root"}),
    (Either, {"_id": OID, "title": "T", "_class_id": "This"}),
    (Either, {"_id": OID, "number": 1, "_class_id": "That"}),
    (Either, {"_id": OID, "number": "x", "_class_id": "That"}),
    (Either, {"_id": OID, "title": "T", "_class_id": "Others"}),
    (Either, {"_id": OID, "title": "T"}),
]


def outcome(read: Callable[[Any], Any], raw: dict[str, Any]) -> Any:
    """What *read* makes of a document, so told that differences show."""
    raw = copy.deepcopy(raw)
    try:
        made = read(raw)
    except ValidationError as error:
        kinds = [(entry["type"], entry["loc"], entry["msg"]) for entry in error.errors()]
        return type(error), error.title, _ADDRESS.sub("", str(error)), kinds, described(raw)
    except Exception as error:  # Beanie's, of unions; compared, not handled
        return type(error), str(error), described(raw)
    return described(made), described(raw)


def described(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return (
            type(value),
            {name: described(part) for name, part in vars(value).items()},
            sorted(value.model_fields_set),
            value.__pydantic_extra__,
            described(value.__pydantic_private__),
        )
    if isinstance(value, dict):
        return {name: described(part) for name, part in value.items()}
    if isinstance(value, list):
        return [described(part) for part in value]
    if isinstance(value, Link):
        return type(value), value.ref, value.document_class
    if isinstance(value, BackLink):
        return type(value), value.document_class
    return type(value), value


@pytest.mark.parametrize(("model", "raw"), CASES)
def test_a_document_is_what_beanie_makes_of_it(model: Any, raw: dict[str, Any]) -> None:
    def theirs(document: Any) -> Any:
        return parse_obj(model, document)

    assert outcome(reader(model), raw) == outcome(theirs, raw)
    assert outcome(listed(model), raw) == outcome(theirs, raw)


def listed(model: Any) -> Any:
    """Return what makes a document of *model* as one of a list."""
    read_list = list_reader(model)
    return lambda raw: read_list([raw])[0]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text("ab1", max_size=3)
    | st.sampled_from([OID, str(OID), datetime(2026, 1, 1), Decimal128("2"), "cat", "red"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)
fields = st.sampled_from([*Typed.model_fields, "_id", "_class_id", "t", "o", "extra", "old"])


@given(
    model=st.sampled_from([*TITLED, Aliased]),
    raw=st.dictionaries(fields, values, max_size=6),
    titled=st.booleans(),
)
def test_any_document_is_what_beanie_makes_of_it(
    model: Any, raw: dict[str, Any], titled: bool
) -> None:
    raw = {**raw, "title": "T"} if titled else raw
    expected = outcome(lambda found: parse_obj(model, found), raw)
    assert outcome(reader(model), raw) == expected
    assert outcome(listed(model), raw) == expected


@pytest.mark.parametrize("model", [Typed, Hooked, Stateful, Own])
def test_what_two_documents_hold_is_not_shared(model: Any) -> None:
    read = reader(model)
    for one, two in (
        (read({"title": "T"}), read({"title": "T"})),
        list_reader(model)([{"title": "T"}, {"title": "T"}]),
    ):
        assert one.__pydantic_private__ is not two.__pydantic_private__
        if model is not Own:
            one._store["x"] = 1
            assert two._store == {}


def test_an_ordinary_class_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    read, raw = reader(Typed), {"_id": OID, "title": "T"}

    def fail(*_: Any) -> None:
        raise AssertionError("asked for every document")

    monkeypatch.setattr(Typed, "_fill_back_refs", fail)
    monkeypatch.setattr(Typed, "model_post_init", fail)
    with pytest.raises(ValidationError, match="asked for every document"):
        parse_obj(Typed, raw)
    assert read(raw).title == "T"


def test_a_class_that_pydantic_has_built_anew_is_read_anew() -> None:
    class Changing(Document):
        title: Any

    assert reader(Changing)({"title": 1}).title == 1
    Changing.model_fields["title"].annotation = str
    Changing.__annotations__["title"] = str
    Changing.model_rebuild(force=True)
    raw = {"title": 1}
    assert outcome(reader(Changing), raw) == outcome(lambda r: parse_obj(Changing, r), raw)


def test_state_is_kept_as_the_settings_say_at_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {"_id": OID, "title": "T"}
    assert reader(Stateful)(raw)._saved_state is not None
    monkeypatch.setattr(Stateful.get_settings(), "use_state_management", False)
    assert reader(Stateful)(raw)._saved_state is None


def test_a_lazy_document_is_beanies() -> None:
    raw = {"_id": OID, "title": "T"}
    lazy = reader(Typed, lazy=True)(raw)
    assert lazy._store == raw
    assert lazy.title == "T"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_list_leaves_the_garbage_collector_as_it_was(enabled: bool) -> None:
    was_enabled = gc.isenabled()
    during = []

    def read(raw: Any) -> Any:
        during.append(gc.isenabled())
        if raw is None:
            raise ValueError
        return raw

    try:
        (gc.enable if enabled else gc.disable)()
        assert read_all(read, list(range(1234))) == list(range(1234))
        assert gc.isenabled() is enabled
        with pytest.raises(ValueError):
            read_all(read, [*range(700), None])
        assert gc.isenabled() is enabled
        assert not any(during)
    finally:
        (gc.enable if was_enabled else gc.disable)()


@pytest.mark.parametrize("sizes", [[], [0], [1], [3000], [101, 0, 5000, 1]])
def test_what_came_encoded_is_read_in_its_order(sizes: list[int]) -> None:
    during = []

    def read(raw: Any) -> Any:
        during.append(gc.isenabled())
        return raw

    numbers = iter(range(sum(sizes)))
    batches = [
        b"".join(
            bson.encode({"n": next(numbers), "at": NOW, "text": "x" * 50}) for _ in range(size)
        )
        for size in sizes
    ]
    aware: CodecOptions[Any] = CodecOptions(tz_aware=True)
    found = read_encoded(partial(read_all, read), batches, aware)
    expected = [{"n": n, "at": NOW, "text": "x" * 50} for n in range(sum(sizes))]
    assert found == expected
    assert not batches
    assert not any(during)


def test_a_document_that_fails_leaves_the_collector_on() -> None:
    assert gc.isenabled()
    with pytest.raises(ValidationError):
        read_encoded(list_reader(Typed), [bson.encode({"views": "many"})], CodecOptions())
    assert gc.isenabled()


class Titled(BaseModel):
    title: str


@pytest.fixture
def lists_of_1000_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odm.cursors, "LIST_BATCH", 1000)


@pytest.mark.usefixtures("lists_of_1000_are_long")
@pytest.mark.parametrize("encrypts", [False, True])
async def test_long_lists_are_the_same_where_the_driver_encrypts(
    opened: Open, monkeypatch: pytest.MonkeyPatch, encrypts: bool
) -> None:
    db = await opened(Typed)
    typed = db.repository(Typed)
    await typed.collection.insert_many([{"title": str(n), "views": n} for n in range(1500)])
    if encrypts:

        def refuse(*_: Any, **__: Any) -> Any:
            raise InvalidOperation("does not support auto encryption")

        monkeypatch.setattr(AsyncCollection, "find_raw_batches", refuse)
        monkeypatch.setattr(AsyncCollection, "aggregate_raw_batches", refuse)
    titles = [str(n) for n in range(1500)]
    stages = [{"$sort": {"views": 1}}, {"$project": {"_id": 0, "title": 1}}]
    for _ in range(2):  # of the second it is known that they are long
        found = await typed.find(sort="views").to_list()
        assert [document.title for document in found] == titles
        assert all(document._odm_home.binder(Typed) is db for document in found)
        assert await typed.aggregate(stages) == [{"title": title} for title in titles]
        assert await typed.aggregate(stages, into=Titled) == [Titled(title=t) for t in titles]
    some = await typed.find(
        {"views": {"$gte": 100}}, sort="views", limit=1200, into=Titled
    ).to_list()
    assert [document.title for document in some] == titles[100:1300]
    assert len(await typed.find(sort="views").to_list(700)) == 700
    async with db.transaction():
        await typed.delete_many({"views": 0})
        assert len(await typed.find().to_list()) == 1499
        assert len(await typed.aggregate(stages)) == 1499


@pytest.mark.usefixtures("lists_of_1000_are_long")
async def test_lists_that_will_be_long_are_fetched_as_bson(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Many(Document):
        n: int

    db = await opened(Many)
    many = db.repository(Many)
    await many.collection.insert_many([{"n": n} for n in range(1500)])
    fetched: list[str] = []

    def note(name: str) -> None:
        method = getattr(AsyncCollection, name)

        def noted(*args: Any, **options: Any) -> Any:
            fetched.append(name)
            return method(*args, **options)

        monkeypatch.setattr(AsyncCollection, name, noted)

    note("find_raw_batches")
    note("aggregate_raw_batches")
    assert len(await many.find().to_list()) == 1500
    assert len(await many.find(limit=1000).to_list()) == 1000
    assert len(await many.find({"n": {"$lt": 0}}).limit(1).to_list()) == 0
    assert not fetched
    assert len(await many.find({"n": {"$lt": 5}}).to_list()) == 5
    assert fetched == ["find_raw_batches"]  # as the last one was long
    assert len(await many.find({"n": {"$lt": 5}}).to_list()) == 5
    assert len(await many.aggregate([{"$match": {}}])) == 1500
    assert fetched == ["find_raw_batches"]
    assert len(await many.aggregate([{"$match": {"n": 0}}])) == 1
    assert len(await many.aggregate([{"$match": {}}])) == 1500
    assert fetched == ["find_raw_batches", "aggregate_raw_batches"]
    assert len(await many.find(limit=1001).to_list()) == 1001
    assert fetched[2:] == ["find_raw_batches"]


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Typed, {"title": "T", "views": "3", "author": {"name": "A"}, "tags": ["a"]}),
        (Typed, {"title": "T", "id": str(OID)}),
        (Typed, {"title": "T", "pet": {"kind": "cow"}, "either": [], "author": 1}),
        (Typed, {}),
        (Aliased, {"t": "T", "oo": "y"}),
        (Extra, {"title": "T", "more": [1]}),
        (Closed, {"title": "T", "more": [1]}),
        (Frozen, {"title": "T"}),
        (Strict, {"title": 5}),
        (Validated, {"old": "T"}),
        (Validated, {"title": "raise"}),
        (Hooked, {"title": "T"}),
        (HookedChild, {"title": "T"}),
        (Initialised, {"title": "T"}),
        (OwnWay, {"title": "T"}),
        (Stateful, {"title": "T"}),
        (Revised, {"title": "T"}),
        (Linked, {"title": "T", "to": DBRef("Typed", OID)}),
        (Source, {"title": "T"}),
        (Root, {"title": "T"}),
        (GrandChild, {"title": "T"}),
        (Marked, {"title": "T"}),
    ],
)
def test_a_new_document_is_what_pydantic_makes_of_it(
    model: Any, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model.get_settings()  # it initialises the class

    def made() -> Any:
        try:
            document = model(**copy.deepcopy(values))
        except ValidationError as error:
            return error.errors(include_url=False), str(error)
        except Exception as error:
            return type(error), str(error)
        return (
            type(document),
            {k: v for k, v in document.__dict__.items() if k != "revision_id"},
            document.__pydantic_fields_set__,
            document.__pydantic_extra__,
            document.__pydantic_private__,
        )

    ours = made()
    monkeypatch.setattr("odm.document.filler", lambda _: None)
    assert repr(ours) == repr(made())


def test_only_plain_classes_are_filled_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in (Typed, Hooked, Marked):
        model.get_settings()
    assert filler(Typed) is not None
    assert filler(Hooked) is None
    seen = []
    monkeypatch.setattr(
        Marked, "model_post_init", lambda self, context: seen.append(self), raising=False
    )
    assert filler(Marked) is None
    Marked(title="T")
    assert len(seen) == 1


async def test_what_was_read_is_saved_as_before(opened: Open) -> None:
    db = await opened(Stateful, Revised)
    stateful, revised = db.repository(Stateful), db.repository(Revised)
    await stateful.collection.insert_one({"_id": OID, "title": "T", "author": {"name": "A"}})
    found = (await stateful.find().to_list())[0]
    assert not found.is_changed
    found.title = "U"
    assert found.get_changes() == {"title": "«U»"}
    await found.save_changes()
    assert (await stateful.collection.find_one())["title"] == "««U»»"
    await revised.add(Revised(title="T"))
    found = await revised.get((await revised.find().to_list())[0].id)
    revision = found.revision_id
    await found.save()
    assert found.revision_id != revision
