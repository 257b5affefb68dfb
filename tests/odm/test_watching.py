from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from odm import Change, Document, Repository

Open = Callable[..., Any]


class Post(Document):
    title: str = ""
    number: int = 0

    class Settings:
        name = "posts"


class Tree(Document):
    class Settings:
        name = "trees"
        is_root = True


class Oak(Tree):
    acorns: int = 0


class Elm(Tree):
    pass


@pytest.fixture
async def posts(opened: Open) -> Repository[Post]:
    db = await opened(Post, Tree, Oak, Elm)
    repository: Repository[Post] = db.repository(Post)
    return repository


async def test_changes_are_typed(posts: Repository[Post]) -> None:
    async with posts.watch() as changes:
        post = await posts.add(Post(title="a"))
        await posts.update(post.id, {"$set": {"number": 1}, "$unset": {"title": 1}})
        await posts.save(post)
        await posts.delete(post)
        inserted = await anext(changes)
        updated = await anext(changes)
        saved = await anext(changes)
        deleted = await anext(changes)
    assert (inserted.operation, inserted.id) == ("insert", post.id)
    assert isinstance(inserted.document, Post)
    assert inserted.document.title == "a"
    assert updated.operation == "update"
    assert updated.updated_fields == {"number": 1}
    assert updated.removed_fields == ("title",)
    assert saved.updated_fields == {"number": 0, "title": "a"}
    assert (deleted.operation, deleted.id, deleted.document) == ("delete", post.id, None)


async def test_documents_of_changes_live_where_they_were_watched(opened: Open) -> None:
    one, _ = [await opened(Post) for _ in range(2)]
    posts = one.repository(Post)
    async with posts.watch() as changes:
        await posts.add(Post(title="a"))
        change: Change[Post] = await anext(changes)
    assert change.document is not None
    await change.document.set({"title": "b"})
    assert (await posts.get(change.id)).title == "b"


async def test_it_resumes_behind_an_event(posts: Repository[Post]) -> None:
    async with posts.watch() as changes:
        start = changes.resume_token
        for number in range(3):
            await posts.add(Post(number=number))
        first = await anext(changes)
    async with posts.watch(resume_after=first.resume_token) as changes:
        seen = [await anext(changes), await anext(changes)]
        assert changes.resume_token == seen[-1].resume_token
    assert [change.document.number for change in seen if change.document] == [1, 2]
    assert start is not None


async def test_a_pipeline_chooses_events(posts: Repository[Post]) -> None:
    pipeline = [{"$match": {"operationType": "insert", "fullDocument.number": {"$gt": 1}}}]
    async with posts.watch(pipeline) as changes:
        await posts.add_many([Post(number=number) for number in range(4)])
        seen = [(await anext(changes)).document for _ in range(2)]
    assert [post.number for post in seen if post] == [2, 3]


async def test_the_document_may_be_left_out(posts: Repository[Post]) -> None:
    post = await posts.add(Post())
    async with posts.watch(full_document=None) as changes:
        await posts.update(post.id, {"$inc": {"number": 1}})
        change = await anext(changes)
    assert change.document is None
    assert change.updated_fields == {"number": 1}


async def test_of_a_tree_only_the_branch_is_seen(posts: Repository[Post]) -> None:
    trees = posts.connection.repository(Tree)
    oaks = posts.connection.repository(Oak)
    async with oaks.watch() as few, trees.watch() as all_of_them:
        await trees.add(Elm())
        await oaks.add(Oak(acorns=3))
        (change,) = [await anext(few)]
        kinds = [type((await anext(all_of_them)).document) for _ in range(2)]
    assert isinstance(change.document, Oak)
    assert kinds == [Elm, Oak]


async def test_closing_ends_an_iteration_that_waits(posts: Repository[Post]) -> None:
    seen: list[Change[Post]] = []
    waiting = asyncio.Event()

    async with posts.watch() as changes:

        async def consume() -> None:
            async for change in changes:
                seen.append(change)
                waiting.set()

        task = asyncio.create_task(consume())
        await posts.add(Post())
        await waiting.wait()
        await changes.aclose()
        await asyncio.wait_for(task, 20)
    assert len(seen) == 1


async def test_it_must_be_opened(posts: Repository[Post]) -> None:
    with pytest.raises(RuntimeError, match=r"async with repository\.watch\(\)"):
        await anext(posts.watch())
