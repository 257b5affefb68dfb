"""The script's reads: the same questions an application asks, through the repositories."""

from __future__ import annotations

import asyncio
from typing import Any

from models import Category, Image, Page, PageSummary, Photo, Role, User
from odm.cli.demo.script import Script, World

reads = Script()

GATHERED = 24
"""Point reads at the same time: more than the local Lambda may run at once."""


async def _some_page(world: World) -> Page:
    page = await world.pages.first({"status": "published", "category": {"$ne": None}}, sort="slug")
    assert page is not None, "the seed has published pages"
    return page


@reads.read("get by id")
async def _get(world: World) -> Any:
    user = await world.users.first(sort="email")
    assert user is not None
    return await world.users.get(user.id)


@reads.read("find one by a unique key")
async def _find_one(world: World) -> Any:
    return await world.users.find_one({"email": {"$regex": r"\.3@example\.org$"}})


@reads.read("find nothing")
async def _find_nothing(world: World) -> Any:
    return await world.users.by_email("nobody@example.org")


@reads.read("find many, sorted")
async def _published(world: World) -> Any:
    return await world.pages.published()


@reads.read("find with operators")
async def _operators(world: World) -> Any:
    return await world.users.with_role(Role.EDITOR)


@reads.read("expressions, skip and limit")
async def _expressions(world: World) -> Any:
    return await world.pages.find(
        Page.version >= 2, Page.locale == "en", sort=["-version", "slug"], skip=3, limit=5
    ).to_list()


@reads.read("projection into a model")
async def _teasers(world: World) -> Any:
    return await world.pages.teasers("news", limit=5)


# Text search is left out: the words' stems and scores are a server's own, and the fake says so.
@reads.read("regular expression")
async def _matching(world: World) -> Any:
    found = world.pages.find({"title": {"$regex": "^(why|the).*s$", "$options": "i"}}, sort="slug")
    return [page.slug for page in await found.to_list()]


@reads.read("count, exists, distinct")
async def _count(world: World) -> Any:
    return {
        "count": await world.pages.count({"tags": "city"}),
        "exists": await world.pages.exists({"tags": "nowhere"}),
        "distinct": sorted(await world.pages.distinct("locale")),
    }


@reads.read("aggregation")
async def _tag_counts(world: World) -> Any:
    return await world.pages.tag_counts()


@reads.read("aggregation over subclasses")
async def _usage(world: World) -> Any:
    return await world.assets.usage()


@reads.read("aggregation by day (time series)")
async def _daily(world: World) -> Any:
    view = await world.views.first(sort=["at", "_id"])
    assert view is not None
    return await world.views.daily(view.viewed.page)


@reads.read("recursive lookup")
async def _ancestors(world: World) -> Any:
    leaf = await world.categories.find_one({"slug": "kitchen"})
    assert leaf is not None
    return await world.categories.ancestors(leaf)


@reads.read("view with a lookup")
async def _view(world: World) -> Any:
    with world.db.bind():
        return await PageSummary.find(PageSummary.locale == "en").sort("slug").to_list()


@reads.read("links fetched")
async def _links(world: World) -> Any:
    page = await _some_page(world)
    fetched = await world.pages.get(page.id, fetch_links=True)
    assert isinstance(fetched.author, User)
    assert isinstance(fetched.category, Category)
    return {
        "title": fetched.title,
        "author": fetched.author,
        "category": fetched.category.name,
        "revisions": sorted(revision.title for revision in fetched.revisions),  # type: ignore[attr-defined] # a BackLink until it is fetched
    }


@reads.read("children of a tree")
async def _tree(world: World) -> Any:
    return {
        root.name: [child.name for child in await world.categories.children(root)]
        for root in await world.categories.roots()
    }


@reads.read("history of a document")
async def _history(world: World) -> Any:
    return await world.pages.history(await _some_page(world))


@reads.read("inheritance")
async def _inheritance(world: World) -> Any:
    photos = await world.db.repository(Photo).find({}, sort="name", limit=3).to_list()
    images = await world.assets.images(wider_than=2000)
    return {
        "photos": photos,
        "images": [(type(image).__name__, image.name) for image in images],
        "all images": await world.db.repository(Image).find({}, with_children=True).count(),
    }


@reads.read("page by number")
async def _offset(world: World) -> Any:
    found = await world.pages.page({"locale": "en"}, sort="slug", size=7, number=2)
    return {
        "total": found.total,
        "pages": found.pages,
        "has next": found.has_next,
        "items": [page.slug for page in found.items],
    }


@reads.read("pages by key, to the end")
async def _keyset(world: World) -> Any:
    pages, token = [], None
    while True:
        found = await world.pages.page_after(token, sort=["-published_at", "slug"], size=20)
        pages.append([page.slug for page in found.items])
        token = found.next
        if token is None:
            return pages


@reads.read("stream in small batches")
async def _stream(world: World) -> Any:
    return [asset.name async for asset in world.assets.stream(sort="key", batch_size=5)]


@reads.read("a snapshot in a transaction")
async def _snapshot(world: World) -> Any:
    async with world.db.transaction():
        return {
            "users": await world.users.count(),
            "first": await world.users.first(sort="email"),
        }


@reads.read(f"{GATHERED} point reads at once")
async def _gathered(world: World) -> Any:
    users = await world.users.find({}, sort="email").to_list()
    chosen = [users[number % len(users)].id for number in range(GATHERED)]
    found = await asyncio.gather(*(world.users.get(user) for user in chosen))
    return [user.email for user in found]
