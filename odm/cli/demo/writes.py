"""The script's writes: changes, refusals and transactions, each followed by what is there then.

Ids are the script's own, so that every transport stores the same documents.
"""

from __future__ import annotations

import asyncio
from typing import Any

from models import (
    Address,
    Category,
    Form,
    Page,
    PageRevision,
    PageStatus,
    Profile,
    Submission,
    TextBlock,
    User,
)
from odm import PydanticObjectId
from odm.cli.demo.comparable import failure
from odm.cli.demo.script import Script, World, new_id

writes = Script()


class ChangedMind(Exception):
    """Raised inside a transaction to abort it."""


def _user(world: World, number: int, name: str) -> User:
    with world.db.bind():
        return User(
            id=new_id(number),
            email=f"{name}@example.com",
            profile=Profile(
                display_name=name.title(),
                address=Address(street="1 Quay", city="Cork", postal_code="1000", country="IE"),
            ),
        )


def _page(world: World, number: int, title: str, **fields: Any) -> Page:
    with world.db.bind():
        return Page(id=new_id(number), title=title, **fields)


def _harbour(world: World, number: int, harbour: int) -> Page:
    # Beanie runs no actions when many are added: the slug does not come from the title.
    title = f"Harbour {harbour}"
    return _page(world, number, title, slug=f"harbour-{harbour}", tags=["harbour"])


async def _draft(world: World) -> Page:
    return await world.pages.get(new_id(100))


async def _editor(world: World) -> User:
    editor = await world.users.first({"roles": "editor", "active": True}, sort="email")
    assert editor is not None, "the seed has editors"
    return editor


@writes.write("add")
async def _add(world: World) -> Any:
    page = _page(world, 100, "Lighthouses at Dawn", tags=["city"], blocks=[TextBlock(text="Ø")])
    await world.pages.add(page)
    return await world.pages.get(new_id(100))


@writes.write("add many")
async def _add_many(world: World) -> Any:
    pages = [_harbour(world, 200 + n, n) for n in range(50)]
    added = await world.pages.add_many(pages)
    return {
        "ids": [page.id for page in added],
        "count": await world.pages.count({"tags": "harbour"}),
    }


@writes.write("duplicate key")
async def _duplicate(world: World) -> Any:
    return await failure(world.pages.add(_page(world, 101, "Lighthouses at Dawn")))


@writes.write("duplicate among many, unordered")
async def _duplicate_many(world: World) -> Any:
    pages = [_harbour(world, 300 + n, n + 48) for n in range(4)]
    return {
        "failure": await failure(world.pages.add_many(pages, ordered=False)),
        "count": await world.pages.count({"tags": "harbour"}),
    }


@writes.write("update")
async def _update(world: World) -> Any:
    changes = {
        "$set": {"seo.title": "Lighthouses", "summary": "Where the light is"},
        "$push": {"tags": {"$each": ["travel", "food"], "$sort": 1}},
        "$inc": {"version": 2},
    }
    return await world.pages.update(new_id(100), changes)


@writes.write("update that the server refuses")
async def _refused_update(world: World) -> Any:
    return await failure(world.pages.update(new_id(100), {"$inc": {"title": 1}}))


@writes.write("update of many")
async def _update_many(world: World) -> Any:
    changed = await world.pages.update_many(
        {"tags": "harbour"}, changes={"$set": {"status": "archived"}, "$addToSet": {"tags": "old"}}
    )
    again = await world.pages.update_many({"tags": "old"}, changes={"$set": {"status": "archived"}})
    return {"changed": changed, "again": again, "old": await world.pages.count({"tags": "old"})}


@writes.write("save")
async def _save(world: World) -> Any:
    page = await _draft(world)
    page.title = "Lighthouses at Dusk"
    await world.pages.save(page)
    return await world.pages.get(new_id(100))


@writes.write("save of a stale copy")
async def _stale(world: World) -> Any:
    mine, theirs = await _draft(world), await _draft(world)
    theirs.summary = "Theirs came first"
    await world.pages.save(theirs)
    mine.summary = "Mine came second"
    conflict = await failure(world.pages.save(mine))
    return {"conflict": conflict, "stored": (await _draft(world)).summary}


@writes.write("upsert")
async def _upsert(world: World) -> Any:
    with world.db.bind():
        category = Category(id=new_id(400), name="Coast", slug="coast")
        renamed = Category(id=new_id(400), name="The coast", slug="coast", position=7)
    await world.categories.upsert(category, {"slug": "coast"})
    await world.categories.upsert(renamed, {"slug": "coast"})
    return await world.categories.find({"slug": "coast"}).to_list()


@writes.write("delete, and what is not there")
async def _delete(world: World) -> Any:
    user = await world.users.add(_user(world, 500, "mayfly"))
    await world.users.delete(user)
    return {
        "get": await failure(world.users.get(new_id(500))),
        "delete": await failure(world.users.delete(new_id(500))),
        "update": await failure(world.users.update(new_id(500), {"$set": {"logins": 1}})),
    }


@writes.write("bulk")
async def _bulk(world: World) -> Any:
    async with world.users.bulk() as batch:
        for number in range(5):
            batch.add(_user(world, 510 + number, f"crowd-{number}"))
        batch.update(new_id(511), {"$set": {"logins": 11}})
        batch.delete(new_id(514))
    crowd = await world.users.find({"email": {"$regex": "^crowd"}}, sort="email").to_list()
    return [(user.email, user.logins) for user in crowd]


@writes.write("delete of many")
async def _delete_many(world: World) -> Any:
    deleted = await world.users.delete_many({"email": {"$regex": "^crowd"}})
    return {"deleted": deleted, "left": await world.users.count({"email": {"$regex": "^crowd"}})}


@writes.write("increments at the same time")
async def _increments(world: World) -> Any:
    user = await _editor(world)
    before = user.logins
    await asyncio.gather(*(world.users.record_login(user) for _ in range(10)))
    return (await world.users.get(user.id)).logins - before


@writes.write("transaction, committed")
async def _publish(world: World) -> Any:
    published = await world.pages.publish(await _draft(world), by=await _editor(world))
    return {
        "page": await world.pages.get(published.id),
        "history": [revision.number for revision in await world.pages.history(published)],
    }


@writes.write("transaction, aborted")
async def _abort(world: World) -> Any:
    async def change_and_regret() -> None:
        async with world.db.transaction():
            await world.pages.update(new_id(100), {"$set": {"title": "Never seen"}})
            await world.db.repository(PageRevision).delete_many({"page.$id": new_id(100)})
            seen = await world.pages.get(new_id(100))
            raise ChangedMind(seen.title)

    page = await _draft(world)
    return {
        "error": await failure(change_and_regret()),
        "title": (await _draft(world)).title,
        "revisions": len(await world.pages.history(page)),
    }


@writes.write("two transactions in conflict")
async def _conflict(world: World) -> Any:
    wrote, lost = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        try:
            async with world.db.transaction():
                await world.pages.update(new_id(100), {"$set": {"summary": "The first wins"}})
                wrote.set()
                await lost.wait()
        finally:
            wrote.set()

    async def second() -> None:
        try:
            await wrote.wait()
            async with world.db.transaction():
                await world.pages.update(new_id(100), {"$set": {"summary": "The second loses"}})
        finally:
            lost.set()

    _, told = await asyncio.gather(first(), failure(second()))
    return {"loser": told, "stored": (await _draft(world)).summary}


@writes.write("a domain's refusal rolls back")
async def _closed_form(world: World) -> Any:
    form = await world.forms.find_one({"slug": "contact"})
    assert form is not None
    answers = {"name": "Ada", "email": "ada@example.com", "message": "Hello"}
    await world.forms.submit(form, answers)
    await world.forms.update(form, {"$set": {"is_open": False}})
    told = await failure(world.forms.submit(form, answers))
    return {
        "refusal": told,
        "counted": (await world.forms.get(_id(form))).submissions - form.submissions,
    }


@writes.write("soft delete")
async def _soft_delete(world: World) -> Any:
    form = await world.forms.find_one({"slug": "survey"})
    assert form is not None
    shown = await world.forms.submissions(form)
    submissions = world.db.repository(Submission)
    await submissions.delete(shown[0])
    return {
        "before": len(shown),
        "after": len(await world.forms.submissions(form)),
        "stored": await world.db.database["submissions"].count_documents({"form.$id": form.id}),
    }


@writes.write("move in a tree, guarded")
async def _move(world: World) -> Any:
    found = {each.slug: each for each in await world.categories.find({}).to_list()}
    moved = await world.categories.move(found["kitchen"], found["people"])
    return {
        "moved": moved,
        "above": await world.categories.ancestors(found["kitchen"]),
        "refusal": await failure(world.categories.move(found["stories"], found["kitchen"])),
    }


@writes.write("measurement (time series)")
async def _record(world: World) -> Any:
    page = await _draft(world)
    await world.views.record(page, seconds=12.5)
    return [(each.views, each.seconds) for each in await world.views.daily(_id(page))]


@writes.write("restore of a revision")
async def _restore(world: World) -> Any:
    page = await _draft(world)
    restored = await world.pages.restore(page, page.version)
    return {
        "status": restored.status is PageStatus.DRAFT,
        "missing": await failure(world.pages.restore(restored, 99)),
    }


def _id(document: Page | Form) -> PydanticObjectId:
    assert document.id is not None
    return document.id
