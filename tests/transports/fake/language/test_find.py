"""Projections and sorts of find give what the server gives, fields in its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex
from bson.datetime_ms import DatetimeMS

DOCS: list[dict[str, Any]] = [
    {"_id": 1, "a": 1, "b": 2, "c": {"x": 1, "y": {"z": 2, "w": 3}}, "arr": [1, 2, 3, 4, 5], "docs": [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}, {"k": 3, "v": "a", "sub": [7, 8, 9]}]},
    {"b": 5, "_id": 2, "c": [{"x": 1, "y": 2}, 5, {"y": {"z": 1}}, [{"x": 3}]], "arr": [], "docs": []},
    {"_id": 3, "a": None, "c": 7, "arr": 9},
    {"_id": 4, "c": {"y": [{"z": 1, "q": 2}, 3]}, "a": {"b": {"c": 1}}, "docs": [5, {"k": 2}]},
]  # fmt: skip

PROJECTIONS: list[dict[str, Any]] = [
    {}, {"a": 1}, {"a": 0}, {"a": True, "b": 1.5}, {"a": False, "b": 0.0}, {"_id": 0}, {"_id": 1}, {"_id": 0, "a": 1}, {"a": 1, "_id": 0}, {"a": 0, "_id": 1}, {"_id": 1, "a": 0}, {"a": 1, "b": 0}, {"a": 0, "b": 1},
    {"c.x": 1}, {"c.x": 0}, {"c.y.z": 1}, {"c.y.z": 0}, {"c.x": 1, "c.y.z": 1}, {"c": {"x": 1}}, {"c": {"x": 0}}, {"c": {"x": 1, "y": {"z": 1}}}, {"c": {"x": 1, "y": 0}}, {"c": 1, "c.x": 1}, {"c.x": 1, "c": 1}, {"c": {}}, {"c.x": 1, "c.x.y": 1},
    {"b": 1, "a": 1}, {"none": 1}, {"none.x": 1}, {"none": 0}, {"arr.0": 1}, {"docs.0.k": 1}, {"docs.k": 1}, {"docs.k": 0}, {"docs.sub": 1},
    {"new": "x"}, {"new": "$a"}, {"a": "$b", "b": 1}, {"new": {"$add": ["$a", 1]}}, {"c.new": "$_id"}, {"docs.new": "$_id"}, {"new": {"x": "$a", "y": "$b"}}, {"new": ["$a", "$b"]}, {"new": {"$literal": 1}}, {"b": 0, "new": "$a"}, {"new": None}, {"a": "$none"}, {"_id": "$a"}, {"_id": "x", "a": 1},
    {"new": "$$ROOT.a"}, {"new": {"$foo": 1}}, {"new": "$$NOPE"}, {"a": {"$slice": 1}}, {"c.y": "$b"}, {"new.x.y": "$b"}, {"a": "$a", "b": "$b"}, {"b": "$b", "a": "$a", "_id": 0},
    {"arr": {"$slice": 2}}, {"arr": {"$slice": -2}}, {"arr": {"$slice": [1, 2]}}, {"arr": {"$slice": [-3, 2]}}, {"arr": {"$slice": [-9, 2]}}, {"arr": {"$slice": [9, 2]}}, {"arr": {"$slice": 0}}, {"arr": {"$slice": [1, 0]}}, {"arr": {"$slice": [1, -1]}}, {"arr": {"$slice": "x"}}, {"arr": {"$slice": [1]}}, {"arr": {"$slice": [1, 2, 3]}}, {"arr": {"$slice": ["$arr", 1]}},
    {"arr": {"$slice": 1}, "a": 1}, {"arr": {"$slice": 1}, "a": 0}, {"a": 1, "arr": {"$slice": 1}}, {"arr": {"$slice": 1}, "_id": 0}, {"docs.sub": {"$slice": 1}}, {"docs": {"$slice": 1}, "docs.k": 1}, {"arr": {"$slice": 1.9}}, {"arr": {"$slice": 1}, "docs": {"$slice": -1}}, {"docs.sub": {"$slice": 1}, "a": 1},
    {"docs": {"$elemMatch": {"k": 2}}}, {"docs": {"$elemMatch": {"k": {"$gt": 1}}}}, {"arr": {"$elemMatch": {"$gt": 2}}}, {"arr": {"$elemMatch": {"$gt": 99}}}, {"docs": {"$elemMatch": {"k": 2}}, "a": 1}, {"a": 1, "docs": {"$elemMatch": {"k": 2}}}, {"docs": {"$elemMatch": {"k": 2}}, "a": 0}, {"docs": {"$elemMatch": 5}}, {"docs.sub": {"$elemMatch": {"$gt": 1}}}, {"docs": {"$elemMatch": {"k": 2}}, "_id": 0}, {"docs": {"$elemMatch": {"k": 2}}, "arr": {"$slice": 1}}, {"docs": {"$elemMatch": {}}},
    {"docs.$": 1}, {"arr.$": 1}, {"": 1}, {"a.": 1}, {".a": 1}, {"a..b": 1}, {"$a": 1}, {"a.$b": 1}, {"a": {"$meta": "nope"}}, {"a": Regex("x")}, {"a": ObjectId("0123456789abcdef01234567")}, {"a": DatetimeMS(0)}, {"a": "x", "b": 0}, {"a": Decimal128("0")}, {"a": Int64(0)}, {"a": Int64(1)}, {"c.x": 1, "c.y": "$b"}, {"c": {"x": 1, "n": "$b"}}, {"c": {"x": 0, "n": "$b"}},
    {"_id.x": 1}, {"_id.x": 0}, {"_id": 0, "_id.x": 1}, {"a": {"b": {"c": 1}}}, {"a.b.c": 1}, {"a.b": {"c": 1}}, {"a.b": {"c": "$b"}}, {"_id": False, "c.x": False}, {"_id": True, "c.x": False},
]  # fmt: skip


@pytest.mark.parametrize("projection", PROJECTIONS, ids=repr)
def test_a_projection_gives_what_the_server_gives(
    projection: dict[str, Any], agree: Callable[..., None]
) -> None:
    agree(
        {"ask": "find", "about": "DOCS", "docs": DOCS, "projection": projection, "sort": {"_id": 1}}
    )


POSITIONAL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"docs.k": 2}, {"docs.$": 1}), ({"arr": 3}, {"arr.$": 1}), ({"arr": {"$gt": 2}}, {"arr.$": 1, "a": 1}), ({"docs": {"$elemMatch": {"k": 3, "v": "a"}}}, {"docs.$": 1}), ({"arr": 3}, {"docs.$": 1}), ({"a": 1}, {"arr.$": 1}), ({"docs.k": 2, "arr": 3}, {"arr.$": 1}), ({"arr": 3}, {"arr.$": 0}),
    ({"arr": 3}, {"arr.$": 1, "docs.$": 1}), ({"docs.sub": 8}, {"docs.$": 1}), ({"docs.sub": 8}, {"docs.sub.$": 1}), ({"docs.k": 2}, {"docs.$.k": 1}), ({"docs.k": 2}, {"docs.$": 1, "docs": 1}), ({"arr": 3}, {"a.$": 1}), ({"arr": {"$exists": True}, "_id": 1}, {"arr.$": 1}), ({"docs.k": 2}, {"_id": 0, "docs.$": True}),
    ({"docs.k": 2}, {"docs.$": 1, "arr": {"$slice": 1}}), ({"c.y.z": 1}, {"c.$": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("query", "projection"), POSITIONAL, ids=repr)
def test_the_positional_projection_shows_the_element_that_matched(
    query: dict[str, Any], projection: dict[str, Any], agree: Callable[..., None]
) -> None:
    agree(
        {
            "ask": "find",
            "about": "DOCS",
            "docs": DOCS,
            "filter": query,
            "projection": projection,
            "sort": {"_id": 1},
        }
    )


MIXED: list[dict[str, Any]] = [
    {}, {"a": None}, {"a": 1}, {"a": 1.5}, {"a": Decimal128("1.2")}, {"a": Int64(9)}, {"a": float("nan")}, {"a": "b"}, {"a": "B"}, {"a": ""}, {"a": True}, {"a": False}, {"a": []}, {"a": [5, 0]}, {"a": [[1]]}, {"a": {"b": 1}}, {"a": {"b": 0, "c": 1}}, {"a": {"a": 5}}, {"a": {}},
    {"a": ObjectId("0123456789abcdef01234567")}, {"a": DatetimeMS(5)}, {"a": Regex("a")}, {"a": MinKey()}, {"a": MaxKey()}, {"a": [None]}, {"a": [{"b": 3}, {"b": -1}]}, {"a": [{"b": 7}, 5]}, {"a": b"xx"}, {"a": b"y"}, {"a": {"b": "x"}}, {"a": {"b": [2, 8]}}, {"a": [{"b": [1, 9]}]},
]  # fmt: skip


@pytest.mark.parametrize(
    "sort",
    [
        {"a": 1, "_id": 1}, {"a": -1, "_id": 1}, {"a.b": 1, "_id": 1}, {"a.b": -1, "_id": 1}, {"a.0": 1, "_id": 1}, {"a.0": -1, "_id": -1}, {"a.0.b": 1, "_id": 1}, {"a.b.0": -1, "_id": 1}, {"_id": -1}, {"none": 1, "_id": -1}, {"a": 1.0, "_id": 1}, {"a": Int64(-1), "_id": 1},
        {"a": 2}, {"a": 0}, {"a": "x"}, {"a": True}, {"a": {"x": 1}}, {"$a": 1}, {"a.": 1}, {"": 1}, {"a..b": 1}, {"a": None}, {"a": 1.5}, {"a.$b": 1},
    ],
    ids=repr,
)  # fmt: skip
def test_a_sort_orders_as_the_server_does(sort: dict[str, Any], agree: Callable[..., None]) -> None:
    agree({"ask": "find", "about": "MIXED", "docs": MIXED, "sort": sort, "ids": True})
