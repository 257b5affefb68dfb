"""Links: stored as references, fetched one by one, in lists, nested, backwards and by `$lookup`."""

from __future__ import annotations

from uuid import UUID

import pytest
from bson import DBRef
from pydantic import Field

from models import Asset, Category, File, Image, Page, PageRevision, Photo, Profile, User, Video
from odm import BackLink, Connection, DeleteRules, Document, Link, PydanticObjectId, WriteRules


class Wheel(Document):
    size: int = 10

    class Settings:
        name = "wheels"


class Engine(Document):
    power: int
    car: BackLink[Car] = Field(json_schema_extra={"original_field": "engine"})

    class Settings:
        name = "engines"


class Car(Document):
    name: str
    engine: Link[Engine]
    wheels: list[Link[Wheel]] = Field(default_factory=list)
    spare: Link[Wheel] | None = None

    class Settings:
        name = "cars"


Engine.model_rebuild()

pytestmark = pytest.mark.models([Wheel, Engine, Car])


async def a_car(name: str = "beetle", *, wheels: int = 4) -> Car:
    return await Car(
        name=name,
        engine=await Engine(power=40).insert(),  # type: ignore[call-arg]  # back links fill themselves
        wheels=[await Wheel(size=size).insert() for size in range(wheels)],
    ).insert()


async def test_link_is_stored_as_a_reference(db: Connection) -> None:
    car = await a_car(wheels=1)
    raw = await db.database["cars"].find_one()
    assert raw is not None
    assert isinstance(car.engine, Engine)
    assert raw["engine"] == DBRef("engines", car.engine.id)
    assert [ref.collection for ref in raw["wheels"]] == ["wheels"]
    assert raw["spare"] is None


async def test_loaded_links_are_unfetched(db: Connection) -> None:
    car = await a_car()
    found = await Car.get(car.id)
    assert found is not None
    assert isinstance(found.engine, Link)
    assert found.engine.to_dict() == {"id": str(car.engine.to_ref().id), "collection": "engines"}
    assert all(isinstance(wheel, Link) for wheel in found.wheels)


async def test_fetch_one_link(db: Connection) -> None:
    found = await Car.get((await a_car()).id)
    assert found is not None
    assert isinstance(found.engine, Link)
    engine = await found.engine.fetch()
    assert isinstance(engine, Engine)
    assert engine.power == 40
    await found.fetch_link("engine")
    assert isinstance(found.engine, Engine)


async def test_fetch_all_links(db: Connection) -> None:
    found = await Car.get((await a_car()).id)
    assert found is not None
    await found.fetch_all_links()
    assert isinstance(found.engine, Engine)
    assert [wheel.size for wheel in found.wheels if isinstance(wheel, Wheel)] == [0, 1, 2, 3]
    assert found.spare is None


async def test_fetch_links_with_the_query(db: Connection) -> None:
    await a_car("a")
    await a_car("b", wheels=2)
    found = await Car.find(fetch_links=True).sort("-name").to_list()
    assert [car.name for car in found] == ["b", "a"]
    assert all(isinstance(car.engine, Engine) for car in found)
    assert [len([w for w in car.wheels if isinstance(w, Wheel)]) for car in found] == [2, 4]
    one = await Car.find_one(Car.name == "a", fetch_links=True)
    assert one is not None
    assert isinstance(one.engine, Engine)


async def test_filter_on_a_fetched_document(db: Connection) -> None:
    car = await a_car("a")
    await a_car("b")
    assert isinstance(car.engine, Engine)
    await car.engine.set({Engine.power: 90})
    found = await Car.find(Car.engine.power > 50, fetch_links=True).to_list()  # type: ignore[attr-defined]
    assert [car.name for car in found] == ["a"]


async def test_filter_on_the_id_of_a_link(db: Connection) -> None:
    car = await a_car("a")
    await a_car("b")
    assert [c.name for c in await Car.find(Car.engine.id == car.engine.id).to_list()] == ["a"]  # type: ignore[attr-defined]
    assert await Car.find({"engine.$id": car.engine.to_ref().id}).count() == 1


async def test_fetch_links_counts_and_limits(db: Connection) -> None:
    for name in "abc":
        await a_car(name, wheels=1)
    query = Car.find({"name": {"$ne": "b"}}, fetch_links=True)
    assert await query.count() == 2
    assert [c.name for c in await query.sort("-name").limit(1).to_list()] == ["c"]


async def test_back_link_is_found_through_the_other_side(db: Connection) -> None:
    car = await a_car("a")
    engine = await Engine.find_one(Engine.power == 40, fetch_links=True)
    assert engine is not None
    assert isinstance(engine.car, Car)
    assert engine.car.id == car.id
    fresh = await Engine.get(engine.id)
    assert fresh is not None
    assert isinstance(fresh.car, BackLink)
    await fresh.fetch_link("car")
    assert isinstance(fresh.car, Car)
    raw = await db.database["engines"].find_one()
    assert raw is not None
    assert set(raw) == {"_id", "power"}


async def test_write_rule_saves_what_is_linked(db: Connection) -> None:
    car = Car(
        name="new",
        engine=Engine(power=1),  # type: ignore[call-arg]
        wheels=[Wheel(size=1), Wheel(size=2)],
        spare=Wheel(size=3),
    )
    await car.insert(link_rule=WriteRules.WRITE)
    assert await Wheel.count() == 3
    assert await Engine.count() == 1
    assert isinstance(car.spare, Wheel)
    car.spare.size = 30
    await car.save(link_rule=WriteRules.WRITE)
    assert await Wheel.find(Wheel.size == 30).count() == 1
    car.spare.size = 31
    await car.replace(link_rule=WriteRules.WRITE)
    assert await Wheel.find(Wheel.size == 31).count() == 1


async def test_delete_rule_deletes_what_is_linked(db: Connection) -> None:
    car = await a_car()
    found = await Car.get(car.id, fetch_links=True)
    assert found is not None
    await found.delete(link_rule=DeleteRules.DELETE_LINKS)
    assert (await Car.count(), await Engine.count(), await Wheel.count()) == (0, 0, 0)


async def test_delete_without_the_rule_leaves_what_is_linked(db: Connection) -> None:
    car = await a_car()
    await car.delete()
    assert (await Car.count(), await Engine.count(), await Wheel.count()) == (0, 1, 4)


async def test_dangling_link_stays_a_link(db: Connection) -> None:
    car = await a_car()
    await Engine.delete_all()
    found = await Car.get(car.id)
    assert found is not None
    assert isinstance(found.engine, Link)
    assert await found.engine.fetch() is found.engine
    assert (await Car.find(fetch_links=True).to_list())[0].name == "beetle"


async def test_links_can_be_set_by_id_and_reference(db: Connection) -> None:
    engine = await Engine(power=7).insert()  # type: ignore[call-arg]
    by_id = await Car.model_validate({"name": "a", "engine": engine.id}).insert()
    by_reference = await Car.model_validate({"name": "b", "engine": engine.to_ref()}).insert()
    linked = await Car(name="c", engine=Engine.link_from_id(engine.id)).insert()
    for car in (by_id, by_reference, linked):
        raw = await db.database["cars"].find_one({"_id": car.id})
        assert raw is not None
        assert raw["engine"] == DBRef("engines", engine.id)


async def test_fetch_list_keeps_the_order(db: Connection) -> None:
    wheels = [await Wheel(size=size).insert() for size in range(4)]
    links = [Wheel.link_from_id(wheel.id) for wheel in reversed(wheels)]
    fetched = await Link.fetch_list(links)
    assert [wheel.size for wheel in fetched] == [3, 2, 1, 0]


async def test_links_inside_a_transaction(db: Connection) -> None:
    async with db.transaction():
        car = await a_car(wheels=2)
        found = await db.repository(Car).get(car.id, fetch_links=True)
        assert isinstance(found.engine, Engine)
        assert await db.database["cars"].count_documents({}) == 0
    assert await db.database["wheels"].count_documents({}) == 2


CMS = pytest.mark.models([User, Category, Page, PageRevision], indexes=False)


@CMS
async def test_tree_of_categories(db: Connection) -> None:
    root = await Category(name="Root", slug="root").insert()
    leaf = await Category(name="Leaf", slug="leaf", parent=root).insert()
    await Category(name="Leaf 2", slug="leaf-2", parent=root, position=1).insert()
    found = await Category.find_one(Category.slug == "root", fetch_links=True)
    assert found is not None
    assert sorted(child.name for child in found.children if isinstance(child, Category)) == [
        "Leaf",
        "Leaf 2",
    ]
    again = await Category.get(leaf.id, fetch_links=True)
    assert again is not None
    assert isinstance(again.parent, Category)
    assert again.parent.name == "Root"


@CMS
async def test_nested_links_of_a_page(db: Connection) -> None:
    author = await User(email="a@b.c", profile=Profile(display_name="A")).insert()
    root = await Category(name="Root", slug="root").insert()
    leaf = await Category(name="Leaf", slug="leaf", parent=root).insert()
    page = await Page(title="P", slug="p", author=author, category=leaf).insert()
    await PageRevision(page=page, number=1, title="P").insert()
    await PageRevision(page=page, number=2, title="P").insert()

    [found] = await Page.find(Page.slug == "p", fetch_links=True).to_list()
    assert isinstance(found.author, User)
    assert found.author.email == "a@b.c"
    assert isinstance(found.category, Category)
    assert isinstance(found.category.parent, Category)
    assert found.category.parent.name == "Root"
    revisions = [revision for revision in found.revisions if isinstance(revision, PageRevision)]
    assert sorted(revision.number for revision in revisions) == [1, 2]


@CMS
async def test_nesting_can_be_limited(db: Connection) -> None:
    root = await Category(name="Root", slug="root").insert()
    leaf = await Category(name="Leaf", slug="leaf", parent=root).insert()
    await Page(title="P", slug="p", category=leaf).insert()
    [found] = await Page.find(fetch_links=True, nesting_depth=1).to_list()
    assert isinstance(found.category, Category)
    assert isinstance(found.category.parent, Link)


ASSETS = pytest.mark.models([User, Asset, Image, Photo, Video, File], indexes=False)


@ASSETS
async def test_inheritance_finds_each_class_as_what_it_is(db: Connection) -> None:
    from datetime import timedelta

    await Asset(key=UUID(int=1), name="a", size_bytes=1).insert()
    image = await Image(key=UUID(int=2), name="b", size_bytes=1, width=1, height=1).insert()
    await Photo(key=UUID(int=3), name="c", size_bytes=1, width=9, height=1, camera="x").insert()
    await Video(
        key=UUID(int=4), name="d", size_bytes=1, duration=timedelta(seconds=90), poster=image
    ).insert()
    await File(key=UUID(int=5), name="e", size_bytes=1).insert()

    everything = await Asset.find_all(with_children=True, sort="name").to_list()
    assert [type(asset) for asset in everything] == [Asset, Image, Photo, Video, File]
    assert await Asset.find_all().count() == 1
    assert [type(i) for i in await Image.find_all(with_children=True, sort="name").to_list()] == [
        Image,
        Photo,
    ]
    assert await Photo.find(Photo.width > 5).count() == 1
    classes = await db.database["assets"].distinct("_class_id")
    assert classes == ["Asset", "Asset.File", "Asset.Image", "Asset.Image.Photo", "Asset.Video"]

    [video] = await Video.find(fetch_links=True).to_list()
    assert video.duration == timedelta(seconds=90)
    assert isinstance(video.poster, Image)


@ASSETS
async def test_link_to_a_child_class(db: Connection) -> None:
    from datetime import timedelta

    photo = await Photo(
        key=UUID(int=3), name="c", size_bytes=1, width=9, height=1, camera="x"
    ).insert()
    video = await Video(
        key=UUID(int=4), name="d", size_bytes=1, duration=timedelta(seconds=1), poster=photo
    ).insert()
    found = await Video.get(video.id)
    assert found is not None
    assert isinstance(found.poster, Link)
    poster = await found.poster.fetch()
    assert isinstance(poster, Photo)


@ASSETS
async def test_deleting_a_class_leaves_its_siblings(db: Connection) -> None:
    await Asset(key=UUID(int=1), name="a", size_bytes=1).insert()
    await File(key=UUID(int=5), name="e", size_bytes=1).insert()
    await File.delete_all()
    assert await db.database["assets"].distinct("name") == ["a"]
    assert await Asset.get(PydanticObjectId(), with_children=True) is None
