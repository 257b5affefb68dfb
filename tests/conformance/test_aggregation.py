"""Aggregation: Beanie's helpers, stages over collections, views and time series."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field
from pymongo.errors import OperationFailure

from models import Category, Page, PageStatus, PageSummary, PageView, User, Viewed
from models.analytics import DailyViews
from odm import Connection, Document, PydanticObjectId, View


class Sale(Document):
    shop: str
    item: str
    price: float
    pieces: int = 1

    class Settings:
        name = "sales"


class ShopTotal(BaseModel):
    shop: str = Field(alias="_id")
    total: float


class ShopView(View):
    shop: str = Field(alias="_id")
    pieces: int

    class Settings:
        name = "shop_pieces"
        source = Sale
        pipeline: ClassVar[list[dict[str, Any]]] = [
            {"$group": {"_id": "$shop", "pieces": {"$sum": "$pieces"}}}
        ]


pytestmark = pytest.mark.models([Sale])

SALES = [
    ("north", "tea", 4.0, 2),
    ("north", "bread", 3.0, 1),
    ("south", "tea", 5.0, 3),
    ("south", "honey", 8.0, 1),
    ("west", "bread", 2.0, 10),
]


@pytest.fixture
async def sales(db: Connection) -> None:
    await db.repository(Sale).add_many(
        [
            Sale(shop=shop, item=item, price=price, pieces=pieces)
            for shop, item, price, pieces in SALES
        ]
    )


async def run(db: Connection, pipeline: list[dict[str, Any]], **options: Any) -> list[Any]:
    return await (await db.database["sales"].aggregate(pipeline, **options)).to_list()


@pytest.mark.usefixtures("sales")
async def test_sum_avg_min_max_count(db: Connection) -> None:
    assert await Sale.sum(Sale.price) == 22.0
    assert await Sale.avg(Sale.price) == 4.4
    assert await Sale.find(Sale.shop == "north").max(Sale.price) == 4.0
    assert await Sale.find(Sale.shop == "north").min(Sale.price) == 3.0
    assert await Sale.find(Sale.shop == "nowhere").sum(Sale.price) is None
    assert await Sale.find(Sale.item == "tea").count() == 2


@pytest.mark.usefixtures("sales")
async def test_aggregate_of_a_query_into_a_model(db: Connection) -> None:
    totals = await (
        Sale.find(Sale.item != "honey")
        .aggregate(
            [
                {"$group": {
                    "_id": "$shop", "total": {"$sum": {"$multiply": ["$price", "$pieces"]}}}},
                {"$sort": {"_id": 1}},
            ],
            projection_model=ShopTotal,
        )
        .to_list()
    )  # fmt: skip
    assert totals == [
        ShopTotal(_id="north", total=11.0),
        ShopTotal(_id="south", total=15.0),
        ShopTotal(_id="west", total=20.0),
    ]


PIPELINES: dict[str, tuple[list[dict[str, Any]], list[Any]]] = {
    "group-accumulators": (
        [
            {"$sort": {"price": 1}},
            {"$group": {
                "_id": "$item", "n": {"$sum": 1}, "avg": {"$avg": "$price"},
                "first": {"$first": "$shop"}, "last": {"$last": "$shop"},
                "shops": {"$addToSet": "$shop"}, "max": {"$max": "$pieces"}}},
            {"$set": {"shops": {"$sortArray": {"input": "$shops", "sortBy": 1}}}},
            {"$sort": {"_id": 1}},
        ],
        [
            {"_id": "bread", "n": 2, "avg": 2.5, "first": "west", "last": "north",
             "shops": ["north", "west"], "max": 10},
            {"_id": "honey", "n": 1, "avg": 8.0, "first": "south", "last": "south",
             "shops": ["south"], "max": 1},
            {"_id": "tea", "n": 2, "avg": 4.5, "first": "north", "last": "south",
             "shops": ["north", "south"], "max": 3},
        ],
    ),
    "group-all": (
        [{"$group": {"_id": None, "pieces": {"$push": "$pieces"}}}],
        [{"_id": None, "pieces": [2, 1, 3, 1, 10]}],
    ),
    "compound-id": (
        [{"$group": {"_id": {"shop": "$shop", "dear": {"$gt": ["$price", 3.5]}},
                     "n": {"$sum": 1}}},
         {"$sort": {"_id.shop": 1, "_id.dear": 1}}, {"$limit": 2}],
        [{"_id": {"shop": "north", "dear": False}, "n": 1},
         {"_id": {"shop": "north", "dear": True}, "n": 1}],
    ),
    "count": ([{"$match": {"item": "tea"}}, {"$count": "teas"}], [{"teas": 2}]),
    "sort-by-count": (
        [{"$sortByCount": "$shop"}, {"$match": {"count": 1}}], [{"_id": "west", "count": 1}],
    ),
    "project-expressions": (
        [{"$match": {"shop": "west"}},
         {"$project": {
             "_id": 0, "label": {"$concat": [{"$toUpper": "$shop"}, "/", "$item"]},
             "worth": {"$round": [{"$divide": ["$price", 3]}, 2]},
             "size": {"$cond": [{"$gte": ["$pieces", 10]}, "big", "small"]},
             "missing": {"$ifNull": ["$nope", "none"]},
             "kind": {"$type": "$price"},
             "letters": {"$strLenCP": "$item"},
             "parts": {"$split": ["a-b-c", "-"]},
             "in": {"$in": ["$item", ["bread", "tea"]]}}}],
        [{"label": "WEST/bread", "worth": 0.67, "size": "big", "missing": "none",
          "kind": "double", "letters": 5, "parts": ["a", "b", "c"], "in": True}],
    ),
    "switch": (
        [{"$match": {"shop": "south"}}, {"$sort": {"price": 1}},
         {"$project": {"_id": 0, "class": {"$switch": {
             "branches": [{"case": {"$lt": ["$price", 6]}, "then": "cheap"}],
             "default": "dear"}}}}],
        [{"class": "cheap"}, {"class": "dear"}],
    ),
    "arrays": (
        [{"$limit": 1}, {"$project": {
            "_id": 0,
            "map": {"$map": {"input": [1, 2, 3], "as": "n", "in": {"$multiply": ["$$n", 2]}}},
            "filter": {"$filter": {"input": [1, 2, 3], "cond": {"$gt": ["$$this", 1]}}},
            "reduce": {"$reduce": {"input": [1, 2, 3], "initialValue": 0,
                                   "in": {"$add": ["$$value", "$$this"]}}},
            "slice": {"$slice": [[1, 2, 3], -2]},
            "at": {"$arrayElemAt": [["a", "b"], -1]},
            "size": {"$size": [[1, 2]]},
            "union": {"$setUnion": [[1, 2], [2, 3]]},
            "zip": {"$zip": {"inputs": [[1, 2], ["a", "b"]]}},
            "object": {"$arrayToObject": [[["k", 1]]]},
            "merged": {"$mergeObjects": [{"a": 1}, {"b": 2}]}}}],
        [{"map": [2, 4, 6], "filter": [2, 3], "reduce": 6, "slice": [2, 3], "at": "b",
          "size": 2, "union": [1, 2, 3], "zip": [[1, "a"], [2, "b"]], "object": {"k": 1},
          "merged": {"a": 1, "b": 2}}],
    ),
    "facet": (
        [{"$facet": {"teas": [{"$match": {"item": "tea"}}, {"$count": "n"}],
                     "dearest": [{"$sort": {"price": -1}}, {"$limit": 1},
                                 {"$project": {"_id": 0, "item": 1}}]}}],
        [{"teas": [{"n": 2}], "dearest": [{"item": "honey"}]}],
    ),
    "bucket": (
        [{"$bucket": {"groupBy": "$price", "boundaries": [0, 4, 6], "default": "more",
                      "output": {"n": {"$sum": 1}}}}],
        [{"_id": 0, "n": 2}, {"_id": 4, "n": 2}, {"_id": "more", "n": 1}],
    ),
    "unwind": (
        [{"$match": {"shop": "west"}}, {"$set": {"list": ["x", "y"]}},
         {"$unwind": {"path": "$list", "includeArrayIndex": "at"}},
         {"$project": {"_id": 0, "list": 1, "at": 1}}],
        [{"list": "x", "at": 0}, {"list": "y", "at": 1}],
    ),
    "replace-root": (
        [{"$match": {"shop": "west"}}, {"$replaceRoot": {"newRoot": {"only": "$item"}}}],
        [{"only": "bread"}],
    ),
    "unset": (
        [{"$match": {"shop": "west"}}, {"$unset": ["_id", "price", "pieces"]}],
        [{"shop": "west", "item": "bread"}],
    ),
    "lookup": (
        [{"$match": {"shop": "west"}},
         {"$lookup": {"from": "sales", "localField": "item", "foreignField": "item",
                      "as": "same"}},
         {"$project": {"_id": 0, "n": {"$size": "$same"}}}],
        [{"n": 2}],
    ),
    "lookup-pipeline": (
        [{"$match": {"shop": "west"}},
         {"$lookup": {"from": "sales", "let": {"item": "$item"},
                      "pipeline": [{"$match": {"$expr": {"$ne": ["$item", "$$item"]}}},
                                   {"$sort": {"price": -1}}, {"$limit": 1},
                                   {"$project": {"_id": 0, "item": 1}}],
                      "as": "other"}},
         {"$project": {"_id": 0, "other": 1}}],
        [{"other": [{"item": "honey"}]}],
    ),
    "union-with": (
        [{"$match": {"shop": "west"}}, {"$unionWith": "sales"}, {"$count": "n"}], [{"n": 6}],
    ),
    "dates": (
        [{"$limit": 1}, {"$set": {"at": datetime(2026, 5, 14, 13, 45, tzinfo=UTC)}},
         {"$project": {
             "_id": 0, "year": {"$year": "$at"}, "month": {"$month": "$at"},
             "text": {"$dateToString": {"date": "$at", "format": "%Y-%m-%dT%H:%M"}},
             "day": {"$dateToString": {"date": {"$dateTrunc": {"date": "$at", "unit": "day"}},
                                       "format": "%d %H"}},
             "later": {"$dateToString": {
                 "date": {"$dateAdd": {"startDate": "$at", "unit": "day", "amount": 20}},
                 "format": "%m-%d"}}}}],
        [{"year": 2026, "month": 5, "text": "2026-05-14T13:45", "day": "14 00",
          "later": "06-03"}],
    ),
    "sample": ([{"$sample": {"size": 3}}, {"$count": "n"}], [{"n": 3}]),
    "skip-limit": (
        [{"$sort": {"price": -1}}, {"$skip": 1}, {"$limit": 2}, {"$project": {"_id": 0,
                                                                             "price": 1}}],
        [{"price": 5.0}, {"price": 4.0}],
    ),
}  # fmt: skip


@pytest.mark.usefixtures("sales")
async def test_stages(db: Connection) -> None:
    for name, (pipeline, expected) in PIPELINES.items():
        assert await run(db, pipeline) == expected, name


@pytest.mark.usefixtures("sales")
async def test_window_functions(db: Connection) -> None:
    window = {
        "partitionBy": "$shop",
        "sortBy": {"price": 1},
        "output": {
            "rank": {"$rank": {}},
            "sum": {"$sum": "$pieces", "window": {"documents": ["unbounded", "current"]}},
        },
    }
    found = await run(
        db,
        [
            {"$setWindowFields": window},
            {"$match": {"rank": 2}},
            {"$sort": {"shop": 1}},
            {"$project": {"_id": 0, "shop": 1, "item": 1, "sum": 1}},
        ],
    )
    assert found == [
        {"shop": "north", "item": "tea", "sum": 3},
        {"shop": "south", "item": "honey", "sum": 4},
    ]


@pytest.mark.usefixtures("sales")
async def test_out_and_merge_write(db: Connection) -> None:
    group: dict[str, Any] = {"$group": {"_id": "$shop", "n": {"$sum": 1}}}
    assert await run(db, [group, {"$out": "per_shop"}]) == []
    assert await db.database["per_shop"].find(sort=[("_id", 1)]).to_list() == [
        {"_id": "north", "n": 2},
        {"_id": "south", "n": 2},
        {"_id": "west", "n": 1},
    ]
    await db.database["per_shop"].insert_one({"_id": "east", "n": 0})
    merge = {"$merge": {"into": "per_shop", "whenMatched": "merge"}}
    await run(db, [group, {"$set": {"merged": True}}, {"$match": {"_id": "west"}}, merge])
    assert await db.database["per_shop"].find_one({"_id": "west"}) == {
        "_id": "west",
        "n": 1,
        "merged": True,
    }
    assert await db.database["per_shop"].count_documents({}) == 4


@pytest.mark.usefixtures("sales")
async def test_let_and_collation(db: Connection) -> None:
    found = await run(
        db,
        [{"$match": {"$expr": {"$eq": ["$shop", "$$shop"]}}}, {"$count": "n"}],
        let={"shop": "north"},
    )
    assert found == [{"n": 2}]
    found = await run(
        db,
        [{"$match": {"shop": "NORTH"}}, {"$count": "n"}],
        collation={"locale": "en", "strength": 2},
    )
    assert found == [{"n": 2}]


async def test_database_aggregation_over_documents(db: Connection) -> None:
    cursor = await db.database.aggregate(
        [{"$documents": [{"n": 1}, {"n": 2}]}, {"$group": {"_id": None, "sum": {"$sum": "$n"}}}]
    )
    assert await cursor.to_list() == [{"_id": None, "sum": 3}]


@pytest.mark.usefixtures("sales")
async def test_explain_of_an_aggregation(db: Connection) -> None:
    reply = await db.database.command(
        "explain", {"aggregate": "sales", "pipeline": [{"$match": {"shop": "west"}}], "cursor": {}}
    )
    assert reply["ok"] == 1.0


# Views


@pytest.mark.models([Sale, ShopView])
@pytest.mark.usefixtures("sales")
async def test_view_follows_its_source(db: Connection) -> None:
    assert [(v.shop, v.pieces) for v in await ShopView.find_all().sort("_id").to_list()] == [
        ("north", 3),
        ("south", 4),
        ("west", 10),
    ]
    await Sale(shop="west", item="tea", price=1.0, pieces=5).insert()
    west = await ShopView.find_one({"_id": "west"})
    assert west is not None
    assert west.pieces == 15
    assert await ShopView.find(ShopView.pieces > 3).count() == 2
    assert await ShopView.find_all().sum(ShopView.pieces) == 22
    infos = await (await db.database.list_collections(filter={"type": "view"})).to_list()
    assert [(info["name"], info["options"]["viewOn"]) for info in infos] == [
        ("shop_pieces", "sales")
    ]


@pytest.mark.models([User, Category, Page, PageSummary], indexes=False)
async def test_view_with_a_lookup(db: Connection) -> None:
    news = await Category(name="News", slug="news").insert()
    at = datetime(2026, 3, 1, tzinfo=UTC)
    await Page(title="A", slug="a", status=PageStatus.PUBLISHED, published_at=at,
               category=news).insert()  # fmt: skip
    await Page(title="B", slug="b", status=PageStatus.PUBLISHED, published_at=at).insert()
    await Page(title="C", slug="c", category=news).insert()
    found = await PageSummary.find_all().sort("slug").to_list()
    assert [(s.slug, s.category, s.blocks, s.published_at) for s in found] == [
        ("a", "News", 0, at),
        ("b", None, 0, at),
    ]


@pytest.mark.models([Sale, ShopView])
async def test_view_cannot_be_written(db: Connection) -> None:
    with pytest.raises(OperationFailure) as caught:
        await db.database["shop_pieces"].insert_one({"_id": "x"})
    assert caught.value.code == 166
    assert (caught.value.details or {}).get("code") == 166


# Time series


@pytest.mark.models([PageView])
async def test_time_series_collection(db: Connection) -> None:
    page, other = PydanticObjectId(), PydanticObjectId()
    start = datetime(2026, 1, 1, 23, 0, tzinfo=UTC)
    await PageView.insert_many(
        [
            PageView(viewed=Viewed(page=page), at=start + timedelta(minutes=30 * number),
                     seconds=float(number))
            for number in range(5)
        ]
        + [PageView(viewed=Viewed(page=other), at=start)]
    )  # fmt: skip
    [info] = await (await db.database.list_collections(filter={"name": "page_views"})).to_list()
    assert info["type"] == "timeseries"
    assert info["options"]["timeseries"]["timeField"] == "at"
    assert info["options"]["timeseries"]["metaField"] == "viewed"
    assert info["options"]["timeseries"]["granularity"] == "minutes"

    found = await PageView.find({"viewed.page": page}).sort("at").to_list()
    assert [view.seconds for view in found] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert found[0].at == start
    later = PageView.find(PageView.at >= start + timedelta(hours=1))
    assert await later.count() == 3
    daily = await db.repository(PageView).aggregate(
        [
            {"$match": {"viewed.page": page}},
            {"$group": {"_id": {"$dateTrunc": {"date": "$at", "unit": "day"}},
                        "views": {"$sum": 1}, "seconds": {"$sum": "$seconds"}}},
            {"$sort": {"_id": 1}},
        ],
        into=DailyViews,
    )  # fmt: skip
    assert [(row.day.day, row.views, row.seconds) for row in daily] == [(1, 2, 1.0), (2, 3, 9.0)]


@pytest.mark.models([PageView])
async def test_time_series_needs_its_time(db: Connection) -> None:
    with pytest.raises(OperationFailure) as caught:
        await db.database["page_views"].insert_one({"viewed": {"page": 1}})
    assert caught.value.code == 2
