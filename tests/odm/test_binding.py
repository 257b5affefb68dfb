"""One class on several databases at once: what Beanie #249, #1127 and #1228 ask for."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from odm import (
    AmbiguousConnection,
    Connection,
    Document,
    Insert,
    Link,
    NotConnected,
    before_event,
    connect,
)
from odm.binding import current_scope, only_binder

Open = Callable[..., Any]


class Author(Document):
    name: str

    class Settings:
        name = "authors"


class Page(Document):
    title: str
    author: Link[Author] | None = None
    views: int = 0

    class Settings:
        name = "pages"


class Note(Document):
    text: str

    class Settings:
        name = "notes"


class Logged(Document):
    text: str

    class Settings:
        name = "logged"

    @before_event(Insert)
    async def note(self) -> None:
        await Note(text=self.text).insert()


class Cached(Document):
    text: str

    class Settings:
        name = "cached"
        use_cache = True


async def filled(opened: Open, count: int, *models: Any) -> list[Connection]:
    """Connections whose only page is named after them: db0, db1, …"""
    connections = [await opened(*(models or (Page, Author))) for _ in range(count)]
    for number, db in enumerate(connections):
        await db.repository(Page).add(Page(title=f"db{number}"))
    return connections


async def test_the_only_open_connection_is_meant(opened: Open) -> None:
    await opened(Page)
    await Page(title="here").insert()
    found = await Page.find_one(Page.title == "here")
    assert found is not None
    assert await Page.count() == 1


async def test_without_a_connection_the_error_says_how_to_open_one() -> None:
    with pytest.raises(NotConnected, match=r"connect\(url, models=\[Page\]\)"):
        await Page.find_one()


async def test_without_the_model_on_it_a_connection_does_not_count(opened: Open) -> None:
    await opened(Author)
    with pytest.raises(NotConnected, match=r"models=\[Page\]"):
        await Page.count()


async def test_with_several_connections_the_error_says_how_to_choose(opened: Open) -> None:
    await filled(opened, 2)
    with pytest.raises(AmbiguousConnection, match=r"db\.repository\(Page\).*with db\.bind\(\)"):
        Page.find(Page.title == "x")
    with pytest.raises(AmbiguousConnection):
        await Page(title="x").insert()
    with pytest.raises(AmbiguousConnection):
        await Page.get("5f1f1f1f1f1f1f1f1f1f1f1f")


async def test_bind_chooses_and_nests(opened: Open) -> None:
    one, two = await filled(opened, 2)
    with one.bind():
        assert [page.title for page in await Page.find().to_list()] == ["db0"]
        with two.bind():
            assert [page.title for page in await Page.find().to_list()] == ["db1"]
        assert [page.title for page in await Page.find().to_list()] == ["db0"]


async def test_inside_bind_a_class_of_another_connection_is_not_looked_for_there(
    opened: Open,
) -> None:
    one = await opened(Page)
    await opened(Page, Note)
    with one.bind(), pytest.raises(NotConnected, match="has not bound Note"):
        await Note.count()


async def test_a_query_remembers_the_connection_it_was_built_on(opened: Open) -> None:
    one, two = await filled(opened, 2)
    with one.bind():
        many, single = Page.find(), Page.find_one()
        counted = Page.find(Page.title == "db0")
        total = Page.aggregate([{"$group": {"_id": "$title"}}])
        changed = Page.find_all().set({"views": 5})
        coroutine = Page.count()
    with two.bind():
        assert [page.title for page in await many.to_list()] == ["db0"]
        found = await single
        assert found is not None
        assert found.title == "db0"
        assert await counted.count() == 1
        assert await total.to_list() == [{"_id": "db0"}]
        await changed
        assert await coroutine == 1
        assert [page.views async for page in Page.find()] == [0]
    with one.bind():
        assert [page.views async for page in Page.find()] == [5]


async def test_what_a_query_builds_stays_on_its_connection(opened: Open) -> None:
    one, two = await filled(opened, 2)
    with one.bind():
        query = Page.find()
    with two.bind():
        await query.inc({Page.views: 1})
        await deepcopy(query).inc({Page.views: 1})
        assert await query.sum(Page.views) == 2
        assert await query.distinct("title") == ["db0"]
        assert await query.exists()
        await query.find(Page.title == "db0").delete()
        assert await Page.count() == 1
    assert await one.repository(Page).count() == 0


async def test_a_query_does_not_leak_its_connection_between_steps(opened: Open) -> None:
    one, two = await filled(opened, 2)
    await one.repository(Page).add_many([Page(title=str(n)) for n in range(3)])
    with two.bind():
        async for _ in one.repository(Page).find():
            assert await Page.count() == 1
        async for _ in one.repository(Page).stream():
            assert await Page.count() == 1
    assert current_scope() is None


async def test_a_query_built_before_connecting_takes_the_connection_of_its_first_step(
    opened: Open,
) -> None:
    query = Page.find(Page.title == "db0")
    one, _ = await filled(opened, 2)
    with one.bind():
        assert await query.count() == 1
    assert await query.count() == 1  # and keeps it


async def test_a_loaded_document_stays_where_it_came_from(opened: Open) -> None:
    one, two = await filled(opened, 2)
    page = await two.repository(Page).first()
    assert page is not None
    page.views = 7
    await page.save()
    await page.inc({Page.views: 1})
    await page.set({"title": "changed"})
    await page.sync()
    assert (page.title, page.views) == ("changed", 8)
    assert await one.repository(Page).count(Page.views == 0) == 1
    await page.delete()
    assert await two.repository(Page).count() == 0
    assert await one.repository(Page).count() == 1


async def test_bind_outranks_where_a_document_came_from(opened: Open) -> None:
    one, two = await filled(opened, 2)
    page = await one.repository(Page).first()
    assert page is not None
    with two.bind():
        await page.save()
    assert await two.repository(Page).get(page.id) == page
    page.title = "lives on two now"
    await page.save()
    assert (await one.repository(Page).get(page.id)).title == "db0"
    assert (await two.repository(Page).get(page.id)).title == "lives on two now"


async def test_a_repository_outranks_where_a_document_came_from(opened: Open) -> None:
    one, two = await filled(opened, 2)
    page = await one.repository(Page).first()
    assert page is not None
    await two.repository(Page).save(page)
    assert await two.repository(Page).count() == 2
    with one.bind():  # the repository is the inner of the two
        await two.repository(Page).update(page, {"$set": {"views": 3}})
    assert (await two.repository(Page).get(page.id)).views == 3
    assert (await one.repository(Page).get(page.id)).views == 0


async def test_a_failed_save_elsewhere_does_not_move_a_document(opened: Open) -> None:
    one, two = await filled(opened, 2)
    page = await one.repository(Page).first()
    assert page is not None
    with pytest.raises(Exception, match="E11000"):
        await two.repository(Page).add(await two.repository(Page).add(page))
    await two.repository(Page).delete(page.id)
    again = await one.repository(Page).first()
    assert again is not None
    await two.repository(Page).add(page)
    with pytest.raises(Exception, match="E11000"):
        await two.repository(Page).add(again)
    again.title = "still on one"
    await again.save()
    assert (await one.repository(Page).get(page.id)).title == "still on one"


async def test_where_a_document_lives_is_no_part_of_what_it_is(opened: Open) -> None:
    one, two = await filled(opened, 2)
    page = await one.repository(Page).first()
    assert page is not None
    twin = page.model_copy()
    await two.repository(Page).save(twin)
    assert twin == page
    assert "home" not in repr(page)
    assert set(page.model_dump()) == {"id", "title", "author", "views"}
    assert "home" not in page.model_dump_json()
    assert pickle.loads(pickle.dumps(page)) == page


async def test_copies_stay_on_the_connection_and_pickles_do_not(opened: Open) -> None:
    one, two = await filled(opened, 2)
    page = await one.repository(Page).first()
    assert page is not None
    for copy in (page.model_copy(), page.model_copy(deep=True), deepcopy(page)):
        await copy.inc({Page.views: 1})
    assert (await one.repository(Page).get(page.id)).views == 3
    with pytest.raises(AmbiguousConnection):
        await pickle.loads(pickle.dumps(page)).save()
    assert await two.repository(Page).count(Page.views > 0) == 0


async def test_links_are_fetched_where_their_document_came_from(opened: Open) -> None:
    one, two = await filled(opened, 2)
    for name, db in (("first", one), ("second", two)):
        author = await db.repository(Author).add(Author(name=name))
        await db.repository(Page).add(Page(title="linked", author=author))
    for name, db in (("first", one), ("second", two)):
        page = await db.repository(Page).find_one(Page.title == "linked")
        assert page is not None
        assert isinstance(page.author, Link)
        fetched = await page.author.fetch()
        assert isinstance(fetched, Author)
        assert fetched.name == name
        await page.fetch_link("author")
        assert isinstance(page.author, Author)
        await page.author.set({"name": f"{name} again"})
        assert await db.repository(Author).count({"name": f"{name} again"}) == 1
        joined = await db.repository(Page).find(Page.title == "linked", fetch_links=True).to_list()
        assert joined[0].author == page.author


async def test_actions_run_where_their_document_is_written(opened: Open) -> None:
    one, two = [await opened(Logged, Note) for _ in range(2)]
    await one.repository(Logged).add(Logged(text="noted"))
    assert await one.repository(Note).count() == 1
    assert await two.repository(Note).count() == 0


async def test_caches_are_not_shared(opened: Open) -> None:
    one, two = [await opened(Cached) for _ in range(2)]
    await one.repository(Cached).add(Cached(text="one"))
    await two.repository(Cached).add(Cached(text="two"))
    for _ in range(2):
        for text, db in (("one", one), ("two", two)):
            assert [c.text for c in await db.repository(Cached).find().to_list()] == [text]
            with db.bind():
                found = await Cached.find_one({})
                assert found is not None
                assert found.text == text
    await one.repository(Cached).delete_many({})
    assert len(await one.repository(Cached).find().to_list()) == 1  # that is what a cache is


async def test_many_connections_under_gather(opened: Open) -> None:
    connections = await filled(opened, 6)

    async def work(number: int, db: Connection) -> None:
        pages = db.repository(Page)
        name = f"db{number}"
        for turn in range(8):
            found = await pages.find_one(Page.title == name)
            assert found is not None, (number, turn)
            await found.inc({Page.views: 1})
            with db.bind():
                page = await Page(title=f"{name}-{turn}").insert()
                assert await Page.find({"title": {"$not": {"$regex": f"^{name}"}}}).count() == 0
            await page.set({"views": turn})
            titles = {page.title async for page in pages.find()}
            assert all(title.startswith(name) for title in titles)
        stored = await pages.find_one(Page.title == name)
        assert stored is not None
        assert stored.views == 8

    await asyncio.gather(*(work(number, db) for number, db in enumerate(connections)))
    queries = [db.repository(Page).find(Page.views > 7) for db in connections]
    results = await asyncio.gather(*(query.to_list() for query in reversed(queries)))
    assert [pages[0].title for pages in results] == [f"db{n}" for n in reversed(range(6))]


async def test_tasks_started_inside_bind_stay_in_it(opened: Open) -> None:
    one, two = await filled(opened, 2)
    with one.bind():
        first = asyncio.create_task(Page.find().to_list())
    with two.bind():
        second = asyncio.create_task(Page.find().to_list())
    assert (await first)[0].title == "db0"
    assert (await second)[0].title == "db1"


def test_threads_with_loops_of_their_own_each_mean_their_own(
    new_url: Callable[[], str],
) -> None:
    barrier = threading.Barrier(3)
    failures: list[BaseException] = []

    def work(name: str) -> None:
        async def main() -> None:
            async with connect(new_url(), models=[Page]):
                await asyncio.to_thread(barrier.wait, 30)
                for _ in range(5):
                    await Page(title=name).insert()
                    assert {page.title for page in await Page.find().to_list()} == {name}
                await asyncio.to_thread(barrier.wait, 30)

        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(f"thread{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


async def test_a_connection_of_another_loop_is_not_meant(opened: Open) -> None:
    await opened(Page)

    def elsewhere() -> None:
        async def main() -> None:
            with pytest.raises(NotConnected, match="another event loop"):
                await Page.count()

        asyncio.run(main())

    await asyncio.to_thread(elsewhere)


async def test_opening_another_connection_leaves_running_queries_alone(opened: Open) -> None:
    one = await opened(Page, Author)
    await one.repository(Page).add_many([Page(title=str(n)) for n in range(5)])
    seen = []
    async for page in one.repository(Page).find(sort="title"):
        seen.append(page.title)
        await opened(Page, Author)
    assert seen == ["0", "1", "2", "3", "4"]


async def test_a_closed_connection_is_not_used_and_not_replaced(opened: Open) -> None:
    one, two = await filled(opened, 2)
    page = await one.repository(Page).first()
    assert page is not None
    repository, query = one.repository(Page), one.repository(Page).find()
    await one.aclose()
    with pytest.raises(NotConnected, match="closed"):
        await page.save()
    with pytest.raises(NotConnected, match="closed"):
        await query.to_list()
    with pytest.raises(NotConnected, match="closed"):
        repository.find()
    with pytest.raises(NotConnected, match="closed"):
        await repository.get(page.id)
    with pytest.raises(NotConnected, match="closed"):
        one.bind()
    assert await Page.count() == 1  # two is the only one now
    with two.bind():
        await page.save()
    assert await Page.count() == 2


async def test_a_forgotten_connection_is_collected(new_url: Callable[[], str]) -> None:
    db = await connect(new_url(), models=[Page])
    page = await Page(title="remembered").insert()
    await db.client.close()
    del db
    with pytest.warns(ResourceWarning, match="was never closed"):
        gc.collect()
    with pytest.raises(NotConnected):
        only_binder(Page)
    with pytest.raises(NotConnected, match="has been closed"):
        await page.save()
