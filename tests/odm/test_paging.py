from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import datetime
from itertools import product
from typing import Any
from uuid import uuid4

import bson
import pytest
from bson.codec_options import DEFAULT_CODEC_OPTIONS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odm import Document, InvalidPageToken, Page, Repository
from odm.paging import after, decode_token, encode_token, with_id

Open = Callable[..., Any]


class Row(Document):
    x: Any = None
    y: Any = None

    class Settings:
        name = "rows"


class Other(Document):
    x: Any = None


VALUES: list[Any] = [
    None,
    0,
    -1.5,
    2,
    2.0,
    bson.Int64(7),
    bson.Decimal128("2.5"),
    bson.Decimal128("NaN"),
    math.nan,
    math.inf,
    "",
    "a",
    "B",
    {},
    {"a": 1},
    {"a": {"b": None}},
    b"\x00",
    bson.Binary(b"abc", 5),
    bson.ObjectId("5f1f1f1f1f1f1f1f1f1f1f1f"),
    False,
    True,
    datetime(2026, 1, 1),
    datetime(1960, 1, 1),
    bson.Timestamp(1, 2),
    bson.MinKey(),
    bson.MaxKey(),
]
MISSING = object()


@pytest.fixture
async def rows(opened: Open) -> Repository[Row]:
    db = await opened(Row, Other)
    repository: Repository[Row] = db.repository(Row)
    return repository


async def fill(rows: Repository[Row], documents: list[dict[str, Any]]) -> None:
    await rows.collection.delete_many({})
    clean = [{k: v for k, v in d.items() if v is not MISSING} for d in documents]
    await rows.collection.insert_many([{"_id": n, **d} for n, d in enumerate(clean)])


async def walk(rows: Repository[Row], sort: Any, size: int) -> list[Any]:
    """The ids of all pages, one after the other, from raw documents: a Row's id is an ObjectId."""
    order = with_id(sort)
    seen: list[Any] = []
    token: str | None = None
    while True:
        filters: dict[str, Any] = {}
        if token is not None:
            filters = after(order, decode_token(token, order, "rows", DEFAULT_CODEC_OPTIONS))
        found = await rows.collection.find(filters, sort=order, limit=size).to_list()
        seen += [row["_id"] for row in found]
        if len(found) < size:
            return seen
        token = encode_token(found[-1], order, "rows", DEFAULT_CODEC_OPTIONS)


@pytest.mark.parametrize("direction", [1, -1])
async def test_pages_follow_the_server_s_order_of_all_types(
    rows: Repository[Row], direction: int
) -> None:
    await fill(rows, [{"x": value} for value in (*VALUES, MISSING, *VALUES[:12], MISSING)])
    order = [("x", direction)]
    expected = [row["_id"] async for row in rows.collection.find({}, sort=with_id(order))]
    assert await walk(rows, order, 1) == expected
    assert await walk(rows, order, 4) == expected


async def test_pages_of_mixed_directions(rows: Repository[Row]) -> None:
    some = [None, MISSING, 1, 2, "a", False]
    await fill(rows, [{"x": x, "y": y} for x, y in product(some, some)])
    for directions in product((1, -1), (1, -1)):
        order = [("x", directions[0]), ("y", directions[1])]
        expected = [row["_id"] async for row in rows.collection.find({}, sort=with_id(order))]
        assert await walk(rows, order, 5) == expected


values = st.one_of(
    st.sampled_from([*VALUES, MISSING]),
    st.integers(-3, 3),
    st.floats(allow_nan=True, width=16),
    st.text("ab", max_size=2),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    documents=st.lists(st.fixed_dictionaries({"x": values, "y": values}), min_size=1, max_size=12),
    directions=st.tuples(st.sampled_from([1, -1]), st.sampled_from([1, -1])),
    size=st.integers(1, 4),
)
async def test_pages_of_anything_follow_the_server(
    rows: Repository[Row], documents: list[dict[str, Any]], directions: tuple[int, int], size: int
) -> None:
    await fill(rows, documents)
    order = [("x", directions[0]), ("y", directions[1])]
    expected = [row["_id"] async for row in rows.collection.find({}, sort=with_id(order))]
    assert await walk(rows, order, size) == expected


async def test_page_after_walks_through_everything(rows: Repository[Row]) -> None:
    await rows.add_many([Row(x=n % 3, y=uuid4()) for n in range(10)])
    expected = await rows.find(sort=["-x", "y", "id"]).to_list()
    seen: list[Row] = []
    page = await rows.page_after(sort=["-x", "y"], size=4)
    sizes = [len(page.items)]
    while page.next is not None:
        seen += page.items
        page = await rows.page_after(page.next, sort=["-x", "y"], size=4)
        sizes.append(len(page.items))
    assert seen + page.items == expected
    assert sizes == [4, 4, 2]


async def test_page_after_filters_and_ends_exactly(rows: Repository[Row]) -> None:
    await rows.add_many([Row(x=n) for n in range(6)])
    page = await rows.page_after(None, Row.x >= 2, size=4)
    assert [row.x for row in page.items] == [2, 3, 4, 5]
    assert page.next is None
    first = await rows.page_after(sort="-x", size=3)
    await rows.add(Row(x=100))  # nothing shifts
    assert [r.x for r in (await rows.page_after(first.next, sort="-x")).items] == [2, 1, 0]
    assert (await rows.page_after(None, {"x": "none"})).items == []


async def test_page_after_sends_what_an_index_can_serve(listening: Open) -> None:
    db, commands = await listening(Row)
    rows = db.repository(Row)
    await rows.collection.create_index([("x", 1), ("_id", 1)])
    await rows.add_many([Row(x=n) for n in range(200)])
    page = await rows.page_after(sort="x", size=100)
    commands.events.clear()
    await rows.page_after(page.next, sort="x", size=10)
    (find,) = (event.command for event in commands.events)
    plan = await db.database.command(
        "explain",
        {"find": "rows", "filter": find["filter"], "sort": find["sort"], "limit": find["limit"]},
        verbosity="executionStats",
    )
    assert plan["executionStats"]["totalDocsExamined"] <= 15


async def test_tokens_are_refused_where_they_do_not_belong(rows: Repository[Row]) -> None:
    await rows.add_many([Row(x=n) for n in range(3)])
    token = (await rows.page_after(sort="x", size=1)).next
    assert token is not None
    with pytest.raises(InvalidPageToken, match="another collection or sort order"):
        await rows.page_after(token, sort="-x")
    with pytest.raises(InvalidPageToken, match="another collection or sort order"):
        await rows.page_after(token, sort="y")
    with pytest.raises(InvalidPageToken, match="another collection or sort order"):
        await rows.connection.repository(Other).page_after(token, sort="x")


def encoded(content: Any) -> str:
    return base64.urlsafe_b64encode(bson.encode(content)).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "not base64 !",
        "é",
        "A" * 20_000,
        base64.urlsafe_b64encode(b"not bson").decode(),
        encoded({}),
        encoded({"v": 1, "c": "rows", "s": [["x", 1], ["_id", 1]], "k": [1]}),
        encoded({"v": 1, "c": "rows", "s": [["x", 1], ["_id", 1]], "k": [[1], 1]}),
        encoded({"v": 1, "c": "rows", "s": [["x", 1], ["_id", 1]], "k": [bson.Regex("a"), 1]}),
        encoded({"v": 2, "c": "rows", "s": [["x", 1], ["_id", 1]], "k": [1, 1]}),
        encoded({"v": 1, "c": "rows", "s": [["x", 1], ["_id", 1]], "k": {"0": 1, "1": 1}}),
        encoded({"v": 1, "c": "rows", "s": None, "k": None}),
    ],
)
async def test_damaged_tokens_are_refused(rows: Repository[Row], token: str) -> None:
    with pytest.raises(InvalidPageToken):
        await rows.page_after(token, sort="x")


async def test_what_a_token_holds_is_compared_and_not_run(rows: Repository[Row]) -> None:
    await rows.add_many([Row(x=n) for n in range(3)])
    token = encoded(
        {
            "v": 1,
            "c": "rows",
            "s": [["x", 1], ["_id", 1]],
            "k": [{"$where": "sleep(10000) || true"}, {"$gt": ""}],
        }
    )
    assert (await rows.page_after(token, sort="x")).items == []


async def test_arrays_cannot_be_paged_by(rows: Repository[Row]) -> None:
    await rows.add_many([Row(x=[1, 2]), Row(x=[{"z": 1}])])
    with pytest.raises(ValueError, match="cannot page by 'x'"):
        await rows.page_after(sort="x", size=5)
    with pytest.raises(ValueError, match="there is an array in it"):
        await rows.page_after(sort="-x.z", size=1)
    with pytest.raises(ValueError, match="cannot page by 'score'"):
        await rows.page_after(sort=("score", {"$meta": "textScore"}))


async def test_pages_by_number(rows: Repository[Row]) -> None:
    await rows.add_many([Row(x=n // 2) for n in range(7)])
    expected = await rows.find(sort=["-x", ("_id", -1)]).to_list()
    first = await rows.page(sort="-x", size=3)
    assert (first.items, first.total, first.pages, first.has_next) == (expected[:3], 7, 3, True)
    last = await rows.page(sort="-x", size=3, number=3)
    assert (last.items, last.total, last.has_next) == (expected[6:], 7, False)
    beyond = await rows.page(size=3, number=9)
    assert (beyond.items, beyond.total, beyond.pages, beyond.has_next) == ([], 7, 3, False)
    empty = await rows.page({"x": "none"})
    assert (empty.items, empty.total, empty.pages, empty.has_next) == ([], 0, 0, False)
    exact = await rows.page(Row.x < 3, size=6)
    assert (exact.total, exact.pages, exact.has_next) == (6, 1, False)


async def test_a_page_that_is_not_full_needs_no_count(listening: Open) -> None:
    db, commands = await listening(Row)
    rows = db.repository(Row)
    await rows.add_many([Row(x=n) for n in range(5)])
    commands.events.clear()
    assert (await rows.page(size=10)).total == 5
    assert commands.names == ["find"]
    assert (await rows.page(size=2)).total == 5
    assert commands.names == ["find", "find", "aggregate"]


@pytest.mark.parametrize(("number", "size"), [(0, 1), (1, 0), (-1, 5)])
async def test_pages_count_from_one(rows: Repository[Row], number: int, size: int) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        await rows.page(number=number, size=size)


def test_a_page_is_a_value() -> None:
    assert Page(items=[1], total=1, number=1, size=5) == Page(items=[1], total=1, number=1, size=5)
