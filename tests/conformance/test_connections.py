"""One process, several connections: the same classes on two transports at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import pytest
from pymongo.errors import DuplicateKeyError

from models import (
    ALL_MODELS,
    Page,
    PageRepository,
    PageStatus,
    PageSummary,
    Profile,
    Role,
    User,
    seed,
)
from odm import AmbiguousConnection, Connection, Document, Indexed, NotConnected, connect

UrlOf = Callable[[str, str], str]


class Thing(Document):
    name: Annotated[str, Indexed(unique=True)]
    number: int = 0

    class Settings:
        name = "things"


pytestmark = pytest.mark.models([Thing])


@pytest.fixture(params=["direct", "fake"])
async def other(
    request: pytest.FixtureRequest, url_of: UrlOf, database_name: str
) -> AsyncIterator[Connection]:
    """A second connection, over another transport, that has bound the same class."""
    name = f"{database_name}_other"
    if request.param == "direct":
        request.getfixturevalue("used_databases").append(name)
    async with connect(url_of(request.param, name), models=[Thing]) as connection:
        yield connection
        if request.param == "fake":
            await connection.client.drop_database(name)


async def test_each_connection_keeps_its_own(db: Connection, other: Connection) -> None:
    here, there = db.repository(Thing), other.repository(Thing)
    await here.add(Thing(name="here"))
    await there.add(Thing(name="there"))
    assert await here.distinct("name") == ["here"]
    assert await there.distinct("name") == ["there"]


async def test_two_at_once_under_concurrency(db: Connection, other: Connection) -> None:
    async def work(connection: Connection, offset: int) -> list[int]:
        things = connection.repository(Thing)
        for number in range(10):
            thing = await things.add(Thing(name=f"t{number}"))
            await thing.set({Thing.number: offset + number})
            await asyncio.sleep(0)
        return [thing.number async for thing in things.find(sort="number")]

    here, there = await asyncio.gather(work(db, 0), work(other, 100))
    assert here == list(range(10))
    assert there == list(range(100, 110))


async def test_query_remembers_where_it_was_built(db: Connection, other: Connection) -> None:
    await db.repository(Thing).add(Thing(name="here"))
    await other.repository(Thing).add(Thing(name="there"))
    with db.bind():
        query = Thing.find(Thing.number == 0)
    with other.bind():
        assert [thing.name for thing in await query.to_list()] == ["here"]
        assert [thing.name for thing in await Thing.find().to_list()] == ["there"]


async def test_document_remembers_where_it_came_from(db: Connection, other: Connection) -> None:
    here = await db.repository(Thing).add(Thing(name="same"))
    there = await other.repository(Thing).add(Thing(name="same"))
    await asyncio.gather(here.set({Thing.number: 1}), there.set({Thing.number: 2}))
    assert (await db.repository(Thing).get(here.id)).number == 1
    assert (await other.repository(Thing).get(there.id)).number == 2


async def test_document_can_be_copied_to_another_connection(
    db: Connection, other: Connection
) -> None:
    thing = await db.repository(Thing).add(Thing(name="a", number=7))
    await other.repository(Thing).add(thing.model_copy())
    assert (await other.repository(Thing).get(thing.id)).number == 7
    assert (await db.repository(Thing).get(thing.id)).number == 7


async def test_two_connections_without_a_choice_are_ambiguous(
    db: Connection, other: Connection
) -> None:
    with pytest.raises(AmbiguousConnection, match="bind"):
        await Thing.find_one()
    with db.bind():
        assert await Thing.find_one() is None


async def test_only_connection_is_meant_without_saying(db: Connection) -> None:
    await Thing(name="a").insert()
    assert await Thing.count() == 1


async def test_transaction_of_one_leaves_the_other_alone(db: Connection, other: Connection) -> None:
    here, there = db.repository(Thing), other.repository(Thing)

    async def abandoned() -> None:
        async with db.transaction():
            await here.add(Thing(name="undone"))
            await there.add(Thing(name="kept"))
            raise KeyError("abandoned")

    with pytest.raises(KeyError):
        await abandoned()
    assert await here.count() == 0
    assert await there.count() == 1


async def test_two_databases_over_one_transport(
    db: Connection, transport: str, url_of: UrlOf, database_name: str,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    name = f"{database_name}_tenant"
    if transport != "fake":
        request.getfixturevalue("used_databases").append(name)
    async with connect(url_of(transport, name), models=[Thing]) as tenant:
        await asyncio.gather(
            db.repository(Thing).add(Thing(name="same")),
            tenant.repository(Thing).add(Thing(name="same")),
        )
        assert await tenant.repository(Thing).count() == 1
        await tenant.client.drop_database(name)
    assert await db.repository(Thing).count() == 1


async def test_closed_connection_is_told(transport: str, url_of: UrlOf, database_name: str) -> None:
    connection = await connect(url_of(transport, database_name), models=[Thing])
    things = connection.repository(Thing)
    query = things.find()
    await connection.aclose()
    await connection.aclose()
    with pytest.raises(NotConnected):
        await things.count()
    with pytest.raises(NotConnected):
        await query.to_list()
    with pytest.raises(NotConnected):
        await Thing.find_one()


async def test_reconnecting_finds_what_was_stored(
    db: Connection, transport: str, url_of: UrlOf, database_name: str
) -> None:
    await db.repository(Thing).add(Thing(name="a"))
    async with connect(url_of(transport, database_name), models=[Thing]) as again:
        things = again.repository(Thing)
        assert [thing.name for thing in await things.find().to_list()] == ["a"]
        with pytest.raises(DuplicateKeyError):
            await things.add(Thing(name="a"))


@pytest.mark.models(ALL_MODELS)
async def test_seeded_world_answers_as_on_the_reference(
    db: Connection, url_of: UrlOf, database_name: str, used_databases: list[str]
) -> None:
    """The same script, the same answers: over this transport and directly."""

    async def script(connection: Connection) -> list[object]:
        counts = await seed(connection, pages=24, seed=3)
        pages = PageRepository(connection)
        published = await pages.published()
        editor = User(email="e@x.org", profile=Profile(display_name="E"), roles=[Role.EDITOR])
        await connection.repository(User).add(editor)
        draft = await pages.first({"status": PageStatus.DRAFT}, sort="slug")
        assert draft is not None
        live = await pages.publish(draft, by=editor)
        summaries = connection.repository(Page)
        with connection.bind():
            views = await PageSummary.find_all().sort("slug").to_list()
        return [
            counts,
            [page.id for page in published],
            await pages.tag_counts(),
            [teaser.title for teaser in await pages.teasers("craft")],
            (live.slug, live.version, live.status),
            [(view.slug, view.category, view.blocks) for view in views],
            (await summaries.page(sort=["locale", "-slug"], size=5, number=2)).items[0].slug,
            await summaries.distinct("tags"),
            await summaries.count({"author.$id": draft.author.ref.id if draft.author else None}),
        ]

    name = f"{database_name}_direct"
    used_databases.append(name)
    answers = await script(db)
    async with connect(url_of("direct", name), models=ALL_MODELS) as direct:
        expected = await script(direct)
    assert answers == expected
    assert answers[1]
