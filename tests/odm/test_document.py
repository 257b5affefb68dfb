from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import beanie
import pytest
from beanie.exceptions import DocumentNotFound
from pydantic import BaseModel, Field, PrivateAttr, ValidationError
from pymongo.errors import DuplicateKeyError

from odm import (
    BackLink,
    BulkWriter,
    Connection,
    Delete,
    Document,
    DocumentWasNotSaved,
    DocumentWithSoftDelete,
    Indexed,
    Insert,
    Link,
    PydanticObjectId,
    Replace,
    RevisionIdWasChanged,
    Save,
    TimeSeriesConfig,
    UnionDoc,
    Update,
    UpdateResponse,
    View,
    WriteRules,
    after_event,
    before_event,
)

Open = Callable[..., Any]


class Door(Document):
    height: int = 2

    class Settings:
        name = "doors"


class Window(Document):
    x: int
    house: BackLink[House] | None = Field(
        default=None, json_schema_extra={"original_field": "windows"}
    )

    class Settings:
        name = "windows"


class House(Document):
    name: Annotated[str, Indexed(unique=True)]
    door: Link[Door] | None = None
    windows: list[Link[Window]] = Field(default_factory=list)

    class Settings:
        name = "houses"


class Versioned(Document):
    text: str = ""
    number: int = 0
    nested: dict[str, Any] = Field(default_factory=dict)

    class Settings:
        name = "versioned"
        use_revision = True
        use_state_management = True
        state_management_save_previous = True
        validate_on_save = True


class Recorded(Document):
    text: str = ""
    _events: list[str] = PrivateAttr(default_factory=list)

    class Settings:
        name = "recorded"

    @before_event(Insert, Replace, Save, Update, Delete)
    def before(self) -> None:
        self._events.append("before")

    @after_event(Insert, Replace, Save, Update, Delete)
    async def after(self) -> None:
        self._events.append("after")


class Vehicle(Document):
    name: str

    class Settings:
        name = "vehicles"
        is_root = True


class Car(Vehicle):
    doors: int = 4


class Bus(Vehicle):
    seats: int


class SchoolBus(Bus):
    school: str = ""


class Secret(DocumentWithSoftDelete):
    text: str

    class Settings:
        name = "secrets"


class Either(UnionDoc):
    class Settings:
        name = "either"
        class_id = "kind"


class Left(Document):
    left: int

    class Settings:
        union_doc = Either
        class_id = "kind"


class Right(Document):
    right: int

    class Settings:
        union_doc = Either
        class_id = "kind"


class Measured(Document):
    at: datetime
    value: float

    class Settings:
        name = "measured"
        timeseries = TimeSeriesConfig(time_field="at")


class VehicleCount(View):
    id: str = Field(alias="_id")
    number: int

    class Settings:
        name = "vehicle_counts"
        source = Vehicle
        pipeline: ClassVar[list[dict[str, Any]]] = [
            {"$group": {"_id": "$_class_id", "number": {"$sum": 1}}}
        ]


def test_a_model_is_made_and_compared_without_a_connection() -> None:
    house = House(name="x", door=Door(height=3))
    assert house == House(name="x", door=Door(height=3))
    assert house.model_dump()["door"]["height"] == 3
    assert json.loads(house.model_dump_json())["name"] == "x"
    assert House.model_validate_json('{"name": "y"}').name == "y"
    assert House.model_json_schema()["properties"]["name"] == {"title": "Name", "type": "string"}
    with pytest.raises(ValidationError):
        House.model_validate({})


def test_filters_are_written_without_a_connection() -> None:
    assert dict(House.name == "x") == {"name": "x"}  # type: ignore[call-overload]  # it is no bool
    assert House.door.height == "door.height"  # type: ignore[union-attr]  # a path
    assert House.find(House.name == "x").get_filter_query() == {"name": "x"}


def test_a_name_that_is_no_field_is_no_attribute() -> None:
    with pytest.raises(AttributeError):
        House.nothing  # noqa: B018
    with pytest.raises(AttributeError):
        Document.id  # noqa: B018 - the base class has no collection


def test_a_subclass_defined_after_its_base_was_used_inherits_fields_and_not_expressions() -> None:
    class Base(Document):
        name: str
        size: int = 1

    assert dict(Base.name == "x") == {"name": "x"}  # type: ignore[call-overload]

    class Derived(Base):
        size: int = 2
        more: str = ""

    with pytest.raises(ValidationError):
        Derived()  # type: ignore[call-arg]  # the name is still required
    assert Derived(name="n").size == 2
    assert Derived.name == "name"


def test_private_and_class_attributes_are_as_in_pydantic() -> None:
    class WithInit(Document):
        name: str
        _hidden: int = 3

        def __init__(self, **data: Any) -> None:
            super().__init__(**data)
            self._hidden += 1

    assert WithInit(name="x")._hidden == 4
    assert WithInit.model_validate({"name": "x"})._hidden == 4


async def test_links_are_written_read_and_fetched(opened: Open) -> None:
    db: Connection = await opened(House, Door, Window)
    house = House(name="h", door=Door(height=3), windows=[Window(x=1), Window(x=2)])
    with db.bind():
        await house.insert(link_rule=WriteRules.WRITE)
    houses = db.repository(House)

    plain = await houses.get(house.id)
    assert isinstance(plain.door, Link)
    assert all(isinstance(window, Link) for window in plain.windows)
    await plain.fetch_all_links()
    assert plain.door == house.door
    assert [window.x for window in plain.windows] == [1, 2]  # type: ignore[attr-defined]

    joined = await houses.get(house.id, fetch_links=True)
    door: Any = joined.door
    assert door == house.door
    by_height = await houses.find(House.door.height == 3, fetch_links=True).to_list()  # type: ignore[union-attr]
    assert [found.id for found in by_height] == [house.id]
    assert await houses.count({"door.$id": door.id}) == 1

    links = (await houses.get(house.id)).windows
    assert [window.x for window in await Link.fetch_list(links)] == [1, 2]
    window = await db.repository(Window).first(sort="x", fetch_links=True)
    assert window is not None
    assert window.house is not None
    assert window.house.name == "h"  # type: ignore[attr-defined]
    assert Door.link_from_id(door.id).to_dict()["collection"] == "doors"


async def test_links_to_what_is_gone_stay_links(opened: Open) -> None:
    db = await opened(House, Door, Window)
    link = Door.link_from_id(PydanticObjectId())
    house = await db.repository(House).add(House(name="h", door=link))
    found = await db.repository(House).get(house.id)
    assert isinstance(await found.door.fetch(), Link)


def test_a_reference_to_what_was_never_saved_is_refused() -> None:
    with pytest.raises(DocumentWasNotSaved):
        Door().to_ref()


async def test_a_stale_copy_is_refused(opened: Open) -> None:
    await opened(Versioned)
    first = await Versioned(text="a").insert()
    stale = await Versioned.get(first.id)
    assert stale is not None
    first.text = "b"
    await first.save()
    stale.text = "c"
    with pytest.raises(RevisionIdWasChanged):
        await stale.save()
    with pytest.raises(RevisionIdWasChanged):
        await stale.replace()
    with pytest.raises(RevisionIdWasChanged):
        await stale.inc({Versioned.number: 1})
    await stale.save(ignore_revision=True)


async def test_state_tells_what_has_changed(opened: Open) -> None:
    await opened(Versioned)
    document = await Versioned(text="a", nested={"x": 1}).insert()
    assert not document.is_changed
    document.nested["x"] = 2
    assert document.get_changes() == {"nested.x": 2}
    await document.save_changes()
    assert document.has_changed
    document.text = "b"
    document.rollback()
    assert document.text == "a"


async def test_updating_what_is_gone_raises_document_not_found(opened: Open) -> None:
    await opened(Door)
    door = await Door().insert()
    await door.delete()
    with pytest.raises(DocumentNotFound):
        await door.set({"height": 4})
    with pytest.raises(DocumentNotFound):
        await door.sync()


async def test_a_mistake_in_an_action_is_not_taken_for_a_missing_document(opened: Open) -> None:
    class Broken(Document):
        text: str = ""

        @before_event(Update)
        def breaks(self) -> None:
            raise AttributeError("of the action")

    await opened(Broken)
    broken = await Broken().insert()
    with pytest.raises(AttributeError, match="of the action"):
        await broken.set({"text": "x"})


async def test_actions_run_around_events(opened: Open) -> None:
    await opened(Recorded)
    document = Recorded()
    await document.insert()
    await document.set({"text": "x"})
    await document.replace()
    await document.delete()
    assert document._events == ["before", "after"] * 4


async def test_inheritance_keeps_a_tree_in_one_collection(opened: Open) -> None:
    db = await opened(Vehicle, Car, Bus, SchoolBus)
    await db.repository(Vehicle).add_many(
        [Vehicle(name="v"), Car(name="c"), Bus(name="b", seats=9), SchoolBus(name="s", seats=8)]
    )
    everything = await Vehicle.find(with_children=True, sort="name").to_list()
    assert [type(v) for v in everything] == [Bus, Car, SchoolBus, Vehicle]
    assert [type(v) for v in await Bus.find(with_children=True, sort="name").to_list()] == [
        Bus,
        SchoolBus,
    ]
    assert [v.name for v in await Vehicle.find().to_list()] == ["v"]
    raw = await db.database["vehicles"].distinct("_class_id")
    assert raw == ["Vehicle", "Vehicle.Bus", "Vehicle.Bus.SchoolBus", "Vehicle.Car"]
    bus = everything[0]
    await bus.set({"name": "bus"})
    assert await Bus.count() == 1


async def test_a_class_of_a_tree_needs_no_mention_where_its_root_is_bound(opened: Open) -> None:
    db = await opened(Vehicle)
    await db.repository(Vehicle).add_many([Car(name="c")])
    (car,) = await Vehicle.find(with_children=True).to_list()
    assert type(car) is Car
    await car.set({"name": "car"})
    assert (await db.repository(Car).get(car.id)).name == "car"
    await opened(Bus)
    with (await opened(Bus)).bind():
        await Bus(name="alone", seats=3).insert()
        assert [type(v) for v in await Vehicle.find(with_children=True).to_list()] == [Bus]


async def test_soft_deletion_hides(opened: Open) -> None:
    db = await opened(Secret)
    secret = await Secret(text="x").insert()
    await secret.delete()
    assert secret.is_deleted()
    assert await Secret.find_one(Secret.id == secret.id) is None
    assert await db.repository(Secret).count() == 0
    assert len(await Secret.find_many_in_all().to_list()) == 1
    await secret.hard_delete()
    assert await db.database["secrets"].count_documents({}) == 0


async def test_a_union_finds_documents_of_several_classes(opened: Open) -> None:
    one, two = [await opened(Either, Left, Right) for _ in range(2)]
    with one.bind():
        await Left(left=1).insert()
        await Right(right=2).insert()
        found = await Either.find_all(sort="kind").to_list()
        assert [type(document).__name__ for document in found] == ["Left", "Right"]
        assert await Left.count() == 1
        assert await Either.count() == 2
    with two.bind():
        assert await Either.find_all().to_list() == []


async def test_a_view_follows_its_connection(opened: Open) -> None:
    one, two = [await opened(Vehicle, Car, VehicleCount) for _ in range(2)]
    await one.repository(Vehicle).add_many([Vehicle(name="v"), Car(name="c"), Car(name="d")])
    with one.bind():
        counts = await VehicleCount.find(sort="_id").to_list()
        assert [(c.id, c.number) for c in counts] == [("Vehicle", 1), ("Vehicle.Car", 2)]
        assert await VehicleCount.find_one(VehicleCount.number > 1) == counts[1]
    with two.bind():
        assert await VehicleCount.find().to_list() == []


async def test_a_time_series_is_created(opened: Open) -> None:
    db = await opened(Measured)
    await Measured(at=datetime(2026, 1, 1, tzinfo=UTC), value=1.5).insert()
    (info,) = [c async for c in await db.database.list_collections(filter={"name": "measured"})]
    assert info["type"] == "timeseries"
    assert (await Measured.find().to_list())[0].value == 1.5


async def test_lazy_parsing_reads_fields_when_asked(opened: Open) -> None:
    one, _ = [await opened(Door) for _ in range(2)]
    await one.repository(Door).add(Door(height=5))
    with one.bind():
        (door,) = await Door.find(lazy_parse=True).to_list()
    assert door.height == 5
    await door.set({"height": 6})
    assert (await one.repository(Door).get(door.id)).height == 6


async def test_upserts_go_where_the_query_goes(opened: Open) -> None:
    one, two = [await opened(Door) for _ in range(2)]
    elsewhere = await two.repository(Door).add(Door(height=1))
    with one.bind():
        query = Door.find_one(Door.height == 9)
    await query.upsert({"$set": {"height": 9}}, on_insert=elsewhere)
    assert await one.repository(Door).count() == 1
    inserted = Door(height=7)
    with one.bind():
        many = Door.find(Door.height == 7)
    await many.upsert({"$set": {"height": 7}}, on_insert=inserted)
    assert await one.repository(Door).get(inserted.id) == inserted
    with one.bind():
        updated = await Door.find_one(Door.height == 7).update(
            {"$inc": {"height": 1}}, response_type=UpdateResponse.NEW_DOCUMENT
        )
    assert isinstance(updated, Door)
    await updated.inc({"height": 1})
    assert (await one.repository(Door).get(inserted.id)).height == 9


async def test_class_methods_of_beanie(opened: Open) -> None:
    one, _ = [await opened(Door) for _ in range(2)]
    with one.bind():
        await Door.insert_one(Door(height=1))
        result = await Door.insert_many([Door(height=2), Door(height=3)])
        assert len(result.inserted_ids) == 2
        doors = await Door.find(sort="height").to_list()
        for door in doors:
            door.height += 1
        await Door.replace_many(doors)
        assert await Door.distinct("height") == [2, 3, 4]
        assert await Door.max(Door.height) == 4
        assert (await Door.inspect_collection()).status.value == "OK"
        await Door.update_all({"$inc": {"height": 1}})
        assert await Door.sum("height") == 12
        await Door.delete_all()
        assert await Door.count() == 0


async def test_the_bulk_writer_of_beanie_keeps_to_one_connection(opened: Open) -> None:
    one, two = [await opened(Door) for _ in range(2)]
    first = await one.repository(Door).add(Door(height=1))
    second = await two.repository(Door).add(Door(height=1))
    with one.bind():
        writer = Door.bulk_writer()
    async with writer:
        await first.set({"height": 5}, bulk_writer=writer)
        with one.bind():
            await Door.insert_one(Door(height=8), bulk_writer=writer)
    assert {door.height for door in await one.repository(Door).find().to_list()} == {5, 8}
    async with BulkWriter() as writer:
        first.height = 6
        await first.replace(bulk_writer=writer)
        with pytest.raises(ValueError, match="one connection"):
            await second.replace(bulk_writer=writer)
    assert (await one.repository(Door).get(first.id)).height == 6


async def test_classes_of_beanie_itself_are_bound_globally(opened: Open) -> None:
    class Plain(beanie.Document):
        name: str

    class Mixed(Document):
        plain: Link[Plain]

    db = await opened(Plain, Mixed)
    plain = await Plain(name="p").insert()
    await Mixed(plain=plain).insert()
    found = await Mixed.find_one(fetch_links=True)
    assert found is not None
    assert found.plain == plain
    assert await db.database["Plain"].count_documents({}) == 1


async def test_beanies_own_initialisation_binds_a_class_of_ours_too(opened: Open) -> None:
    class Migrated(Document):
        name: str

        class Settings:
            use_cache = True

    db = await opened()
    await beanie.init_beanie(database=db.database, document_models=[Migrated])
    await Migrated(name="m").insert()
    found = await Migrated.find_one(Migrated.name == "m")
    assert found is not None
    await found.set({"name": "n"})
    assert await Migrated.find(Migrated.name == "n").count() == 1

    class Later(Migrated):
        more: str = ""

    with pytest.raises(ValidationError):
        Later()  # type: ignore[call-arg]

    async with BulkWriter() as writer:
        await found.set({"name": "o"}, bulk_writer=writer)
    assert await Migrated.distinct("name") == ["o"]
    other = await opened(Migrated)
    with other.bind():
        assert await Migrated.count() == 0


async def test_unique_indexes_and_the_driver_s_errors_are_what_they_are(opened: Open) -> None:
    await opened(House, Door, Window)
    await House(name="x").insert()
    with pytest.raises(DuplicateKeyError):
        await House(name="x").insert()


async def test_a_projection_is_a_model_of_any_kind(opened: Open) -> None:
    class Short(BaseModel):
        height: int

    db = await opened(Door)
    await Door(height=3).insert()
    assert await Door.find().project(Short).to_list() == [Short(height=3)]
    assert await db.repository(Door).find(into=Short).to_list() == [Short(height=3)]
    assert await Door.find_one().project(Short) == Short(height=3)
