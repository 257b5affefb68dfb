"""What repositories read: one, many, projected, in pages, as a stream, counted, aggregated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field
from pymongo.errors import OperationFailure

from models import Page, PageStatus, PageTeaser, Profile, TagCount, User
from odm import (
    Connection,
    DocumentNotFound,
    InvalidPageToken,
    NotConnected,
    PydanticObjectId,
    Repository,
)

pytestmark = pytest.mark.models([User, Page], indexes=False)

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def pages(db: Connection) -> Repository[Page]:
    """Ten pages, ``page-0`` to ``page-9``: even ones published, tagged ``even``."""
    repository = db.repository(Page)
    await repository.add_many(
        [
            Page(
                title=f"Page {number}",
                slug=f"page-{number}",
                status=PageStatus.DRAFT if number % 2 else PageStatus.PUBLISHED,
                tags=["odd"] if number % 2 else ["even", f"t{number}"],
                version=number // 3,
                published_at=None if number % 2 else START + timedelta(days=number),
            )
            for number in range(10)
        ]
    )
    return repository


def slugs(pages: list[Page]) -> list[str]:
    return [page.slug.removeprefix("page-") for page in pages]


async def test_get_returns_the_document(pages: Repository[Page]) -> None:
    page = await pages.first({"slug": "page-3"})
    assert page is not None
    again = await pages.get(page.id)
    # Not ==: a page has a back link, and Beanie compares links by identity.
    assert again.model_dump(exclude={"revisions"}) == page.model_dump(exclude={"revisions"})
    assert again is not page
    assert (await pages.get(str(page.id))).revision_id == page.revision_id


async def test_get_raises_where_there_is_nothing(pages: Repository[Page]) -> None:
    missing = PydanticObjectId()
    with pytest.raises(DocumentNotFound) as caught:
        await pages.get(missing)
    assert caught.value.id == missing
    assert caught.value.model == "Page"
    assert str(missing) in str(caught.value)


async def test_get_refuses_what_is_no_id(pages: Repository[Page]) -> None:
    with pytest.raises(ValueError, match="is no id of a Page"):
        await pages.get("not an id")


async def test_find_one_returns_the_first_or_none(pages: Repository[Page]) -> None:
    found = await pages.find_one({"tags": "odd"}, sort="-slug")
    assert found is not None
    assert found.slug == "page-9"
    assert await pages.find_one(Page.slug == "page-404") is None


async def test_filters_are_expressions_or_mappings_and_all_must_hold(
    pages: Repository[Page],
) -> None:
    found = pages.find(Page.status == PageStatus.PUBLISHED, {"version": {"$gte": 1}}, sort="slug")
    assert slugs(await found.to_list()) == ["4", "6", "8"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("-slug", "9876543210"),
        ("+slug", "0123456789"),
        ("slug", "0123456789"),
        (["-version", "slug"], "9678345012"),
        ([("version", 1), ("slug", -1)], "2105438769"),
    ],
    ids=["descending", "ascending", "plain", "list", "pairs"],
)
async def test_sort_orders(
    pages: Repository[Page], sort: str | list[str] | list[tuple[str, int]], expected: str
) -> None:
    assert "".join(slugs(await pages.find(sort=sort).to_list())) == expected


async def test_skip_and_limit(pages: Repository[Page]) -> None:
    assert slugs(await pages.find(sort="slug", skip=3, limit=2).to_list()) == ["3", "4"]


async def test_query_is_lazy_and_can_be_refined(pages: Repository[Page]) -> None:
    query = pages.find({"tags": "even"})
    await pages.delete_many({"slug": "page-0"})
    assert await query.count() == 4
    assert slugs(await query.sort("-slug").limit(2).to_list()) == ["8", "6"]
    assert slugs([page async for page in pages.find({"tags": "odd"}, sort="slug")]) == list("13579")


async def test_find_into_a_projection(pages: Repository[Page]) -> None:
    found = await pages.find({"slug": "page-4"}, into=PageTeaser).to_list()
    assert found == [PageTeaser(title="Page 4", slug="page-4", tags=["even", "t4"])]
    projected = await pages.find({"slug": "page-4"}).project(PageTeaser).first_or_none()
    assert projected == found[0]


class Shape(BaseModel):
    length: int = Field(alias="size")

    class Settings:
        projection = {"_id": 0, "size": {"$size": "$tags"}}  # noqa: RUF012  # as Beanie has it


async def test_find_into_a_computed_projection(pages: Repository[Page]) -> None:
    found = await pages.find(
        {"slug": {"$in": ["page-4", "page-5"]}}, sort="slug", into=Shape
    ).to_list()
    assert [shape.length for shape in found] == [2, 1]


async def test_first_exists_count_and_distinct(pages: Repository[Page]) -> None:
    first = await pages.first({"tags": "even"}, sort="-version")
    assert first is not None
    assert first.version == 2
    assert await pages.first({"tags": "none"}) is None
    assert await pages.exists(Page.slug == "page-1")
    assert not await pages.exists({"slug": "page-404"})
    assert await pages.count() == 10
    assert await pages.count(Page.status == PageStatus.DRAFT) == 5
    assert await pages.distinct("version") == [0, 1, 2, 3]
    assert await pages.distinct("tags", {"version": 0}) == ["even", "odd", "t0", "t2"]


async def test_aggregate_returns_documents_or_models(pages: Repository[Page]) -> None:
    pipeline: list[dict[str, Any]] = [
        {"$unwind": "$tags"},
        {"$group": {"_id": "$tags", "count": {"$sum": 1}}},
        {"$match": {"count": {"$gt": 1}}},
        {"$sort": {"_id": 1}},
    ]
    assert await pages.aggregate(pipeline) == [
        {"_id": "even", "count": 5},
        {"_id": "odd", "count": 5},
    ]
    assert await pages.aggregate(pipeline, into=TagCount) == [
        TagCount(_id="even", count=5),
        TagCount(_id="odd", count=5),
    ]
    assert await pages.aggregate([{"$match": {"slug": "none"}}]) == []


@pytest.mark.parametrize("batch_size", [None, 1, 3])
async def test_stream_yields_everything_in_order(
    pages: Repository[Page], batch_size: int | None
) -> None:
    found = [page async for page in pages.stream(sort="slug", batch_size=batch_size)]
    assert slugs(found) == list("0123456789")
    assert all(isinstance(page, Page) for page in found)


async def test_stream_can_be_left_early(pages: Repository[Page]) -> None:
    stream = pages.stream({"tags": "even"}, sort="slug", batch_size=1)
    first = await anext(stream)
    await stream.aclose()
    assert first.slug == "page-0"
    assert await pages.count() == 10


async def test_pages_by_number(pages: Repository[Page]) -> None:
    page = await pages.page(sort="slug", size=4, number=3)
    assert slugs(page.items) == ["8", "9"]
    assert (page.total, page.number, page.size, page.pages, page.has_next) == (10, 3, 4, 3, False)
    page = await pages.page({"tags": "even"}, sort="-slug", size=2)
    assert slugs(page.items) == ["8", "6"]
    assert (page.total, page.pages, page.has_next) == (5, 3, True)
    beyond = await pages.page(size=4, number=9)
    assert (beyond.items, beyond.total, beyond.has_next) == ([], 10, False)


async def test_page_of_nothing(pages: Repository[Page]) -> None:
    page = await pages.page({"slug": "none"})
    assert (page.items, page.total, page.pages, page.has_next) == ([], 0, 0, False)


@pytest.mark.parametrize(("number", "size"), [(0, 5), (1, 0), (-1, 5)])
async def test_pages_count_from_one(pages: Repository[Page], number: int, size: int) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        await pages.page(number=number, size=size)


@pytest.mark.parametrize(
    "sort", ["slug", ["-version", "slug"], ["status", "-version"], "published_at", "-published_at"],
    ids=str,
)  # fmt: skip
async def test_pages_by_key_show_every_document_once(
    pages: Repository[Page], sort: str | list[str]
) -> None:
    expected = (await pages.page(sort=sort, size=10)).items
    seen: list[Page] = []
    token = None
    for _ in range(4):
        page = await pages.page_after(token, sort=sort, size=3)
        seen += page.items
        token = page.next
    assert token is None
    assert slugs(seen) == slugs(expected)


async def test_pages_by_key_do_not_shift_when_documents_are_added(pages: Repository[Page]) -> None:
    first = await pages.page_after(None, {"tags": "even"}, sort="slug", size=2)
    await pages.add(Page(title="New", slug="a-new-one", tags=["even"]))
    second = await pages.page_after(first.next, {"tags": "even"}, sort="slug", size=2)
    assert slugs(first.items + second.items) == ["0", "2", "4", "6"]


async def test_page_token_of_another_order_is_refused(pages: Repository[Page]) -> None:
    first = await pages.page_after(sort="slug", size=2)
    with pytest.raises(InvalidPageToken):
        await pages.page_after(first.next, sort="-slug", size=2)
    with pytest.raises(InvalidPageToken):
        await pages.page_after("nonsense", sort="slug", size=2)


@pytest.mark.unrestricted(reason="the policy refuses before the server can")
async def test_server_errors_stay_the_servers(pages: Repository[Page]) -> None:
    with pytest.raises(OperationFailure) as caught:
        await pages.find({"title": {"$nonsense": 1}}).to_list()
    assert caught.value.code == 2
    with pytest.raises(OperationFailure) as caught:
        await pages.aggregate([{"$nonsense": 1}])
    assert caught.value.code == 40324


async def test_filters_that_are_none_are_refused(pages: Repository[Page]) -> None:
    with pytest.raises(TypeError, match="no filter"):
        await pages.find("title").to_list()  # type: ignore[call-overload]  # the mistake
    with pytest.raises(TypeError, match="no filter"):
        await pages.count(Page.title is None)


async def test_unbound_class_has_no_repository(db: Connection) -> None:
    from models import Form

    with pytest.raises(NotConnected):
        db.repository(Form)


async def test_documents_remember_the_nested_and_optional(db: Connection) -> None:
    users = db.repository(User)
    user = await users.add(User(email="Ada@Example.org", profile=Profile(display_name="Ada")))
    found = await users.get(user.id)
    assert found == user
    assert found.email == "ada@example.org"
    assert found.profile.address is None
    assert found.created_at.tzinfo is UTC
