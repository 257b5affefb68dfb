"""Updates change documents as the server changes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId, Regex
from bson.datetime_ms import DatetimeMS

D = {
    "_id": 1,
    "i": 5,
    "l": Int64(7),
    "f": 1.5,
    "d": Decimal128("2.5"),
    "s": "text",
    "n": None,
    "t": True,
    "a": [1, 2, 3],
    "e": [],
    "o": {"x": 1, "y": {"z": [10, 20]}},
    "docs": [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}, {"k": 3, "v": "a", "sub": [1, 2]}],
    "nested": [[1, 2], [3, 4]],
    "when": DatetimeMS(1_000_000_000_000),
}

UPDATES: list[dict[str, Any]] = [
    {"$set": {"i": 6}}, {"$set": {"i": 5}}, {"$set": {"i": 5.0}}, {"$set": {"i": Int64(5)}}, {"$set": {"new": 1, "b": 2, "aa": 3}},
    {"$set": {"o.x": 2, "o.w": 3}}, {"$set": {"o.y.z.1": 99}}, {"$set": {"o.y.z.5": 99}}, {"$set": {"a.1": "b"}}, {"$set": {"a.x": 1}},
    {"$set": {"i.x": 1}}, {"$set": {"n.x": 1}}, {"$set": {"s.0": 1}}, {"$set": {"docs.0.k": 9}}, {"$set": {"docs.5.k": 9}}, {"$set": {"docs.k": 9}},
    {"$set": {"p.q.r": 1, "p.q.s": 2}}, {"$set": {"p.0": 1}}, {"$set": {"a": {"b": 1}}}, {"$set": {}}, {"$set": {"": 1}}, {"$set": {"a..b": 1}}, {"$set": {"a.": 1}},
    {"$set": {"_id": 1}}, {"$set": {"_id": 2}}, {"$set": {"_id": 1.0}}, {"$set": {"_id.x": 2}}, {"$set": {"i": 1, "i.x": 2}}, {"$set": {"o.x": 1}, "$inc": {"o.x": 2}},
    {"$set": {"o": 1}, "$inc": {"o.x": 2}}, {"$set": {"o.x": 1}, "$unset": {"o": 1}}, {"$set": 5}, {"$set": {"$x": 1}}, {"$set": {"q.$x": 1}}, {"$set": {"q": {"$x": 1}}},
    {"$set": {"10": 1, "9": 2, "b": 3}}, {"$set": {"p.10": 1, "p.9": 2, "p.a": 3}}, {"$set": {"z": 1}, "$inc": {"c": 2}, "$push": {"m": 1}},
    {"$set": {"a.0": 1}}, {"$set": {"a.-1": 1}}, {"$set": {"a.01": 1}}, {"$set": {"nested.0.1": 9}}, {"$set": {"nested.0.x": 9}},
    {"$foo": {"a": 1}}, {"$set": {"i": 1}, "x": 1}, {"$set": {"i": 1}, "$bar": {"x": 1}},
    {"$unset": {"i": 1}}, {"$unset": {"i": ""}}, {"$unset": {"none": 1}}, {"$unset": {"a.1": 1}}, {"$unset": {"a.9": 1}}, {"$unset": {"o.y.z": 1}}, {"$unset": {"i.x": 1}},
    {"$unset": {"a.x": 1}}, {"$unset": {"docs.0.k": 1}}, {"$unset": {"_id": 1}}, {"$unset": {"docs.k": 1}}, {"$unset": {"o.q.r": 1}},
    {"$inc": {"i": 1}}, {"$inc": {"i": 2**31 - 1}}, {"$inc": {"i": Int64(1)}}, {"$inc": {"i": 1.5}}, {"$inc": {"i": Decimal128("0.1")}}, {"$inc": {"l": 1}},
    {"$inc": {"l": Int64(2**63 - 1)}}, {"$inc": {"f": 1}}, {"$inc": {"f": 0.1}}, {"$inc": {"f": Decimal128("1")}}, {"$inc": {"d": 1}}, {"$inc": {"d": 0.1}}, {"$inc": {"s": 1}},
    {"$inc": {"n": 1}}, {"$inc": {"t": 1}}, {"$inc": {"none": 5}}, {"$inc": {"none.x": 5}}, {"$inc": {"i": "x"}}, {"$inc": {"i": None}}, {"$inc": {"i": 0}}, {"$inc": {"a.0": 5}},
    {"$inc": {"a.5": 5}}, {"$inc": {"a": 5}}, {"$inc": {"o.x": -1}}, {"$inc": {"f": float("nan")}}, {"$inc": {"i": True}},
    {"$mul": {"i": 2}}, {"$mul": {"i": 2**31 - 1}}, {"$mul": {"l": Int64(2**62)}}, {"$mul": {"i": 1.5}}, {"$mul": {"d": 2}}, {"$mul": {"none": 5}}, {"$mul": {"none": 5.5}},
    {"$mul": {"none": Int64(5)}}, {"$mul": {"none": Decimal128("2")}}, {"$mul": {"s": 2}}, {"$mul": {"i": "x"}}, {"$mul": {"i": 1}}, {"$mul": {"f": 2}},
    {"$min": {"i": 3}}, {"$min": {"i": 9}}, {"$min": {"i": 5.0}}, {"$min": {"none": 3}}, {"$min": {"s": 1}}, {"$min": {"n": 1}}, {"$min": {"i": None}}, {"$min": {"a": [0]}},
    {"$max": {"i": 9}}, {"$max": {"i": 3}}, {"$max": {"s": "zzz"}}, {"$max": {"s": 1}}, {"$max": {"none.x": 1}}, {"$max": {"i": "a"}}, {"$max": {"when": DatetimeMS(0)}},
    {"$rename": {"i": "j"}}, {"$rename": {"i": "s"}}, {"$rename": {"none": "j"}}, {"$rename": {"o.x": "w"}}, {"$rename": {"i": "o.new"}}, {"$rename": {"i": "i"}}, {"$rename": {"o": "o.x"}},
    {"$rename": {"o.x": "o"}}, {"$rename": {"a.0": "b"}}, {"$rename": {"i": "a.0"}}, {"$rename": {"docs.k": "b"}}, {"$rename": {"i": 5}}, {"$rename": {"i": "x", "l": "x"}}, {"$rename": {"i": "x", "x": "y"}},
    {"$rename": {"i": "k"}, "$set": {"i": 1}}, {"$rename": {"i": "k"}, "$set": {"k": 1}}, {"$rename": {"_id": "k"}}, {"$rename": {"i": "_id"}}, {"$rename": {"docs.$[].k": "k"}}, {"$rename": {"i": "aa", "s": "bb"}}, {"$rename": {"i": ""}},
    {"$setOnInsert": {"x": 1}}, {"$setOnInsert": {"x": 1}, "$set": {"y": 2}}, {"$setOnInsert": {"i": 1}, "$set": {"i": 2}}, {"$setOnInsert": {"i.x": 1}},
    {"$push": {"a": 4}}, {"$push": {"a": [4, 5]}}, {"$push": {"e": {"x": 1}}}, {"$push": {"none": 1}}, {"$push": {"i": 1}}, {"$push": {"n": 1}}, {"$push": {"o.y.z": 5}}, {"$push": {"none.x": 1}},
    {"$push": {"a": {"$each": [4, 5]}}}, {"$push": {"a": {"$each": []}}}, {"$push": {"none": {"$each": []}}}, {"$push": {"a": {"$each": 5}}}, {"$push": {"a": {"$each": [0], "$position": 0}}},
    {"$push": {"a": {"$each": [0], "$position": 1}}}, {"$push": {"a": {"$each": [0], "$position": -1}}}, {"$push": {"a": {"$each": [0], "$position": -9}}}, {"$push": {"a": {"$each": [0], "$position": 99}}},
    {"$push": {"a": {"$each": [0], "$position": "x"}}}, {"$push": {"a": {"$each": [0], "$position": 1.5}}}, {"$push": {"a": {"$each": [9, 0], "$sort": 1}}}, {"$push": {"a": {"$each": [9, 0], "$sort": -1, "$slice": 2}}},
    {"$push": {"a": {"$each": [9], "$slice": -2}}}, {"$push": {"a": {"$each": [9], "$slice": 0}}}, {"$push": {"a": {"$each": [9], "$slice": 2}}}, {"$push": {"a": {"$each": [9], "$slice": "x"}}}, {"$push": {"a": {"$each": [9], "$sort": 0}}},
    {"$push": {"a": {"$each": [9], "$sort": {"x": 2}}}}, {"$push": {"a": {"$each": [9], "$sort": {}}}}, {"$push": {"a": {"$each": [9], "$sort": "x"}}}, {"$push": {"a": {"$each": [9], "$sort": {"x": 1}}}},
    {"$push": {"docs": {"$each": [{"k": 0}], "$sort": {"k": 1}}}}, {"$push": {"docs": {"$each": [{"k": 0, "v": "a"}], "$sort": {"v": 1, "k": -1}}}}, {"$push": {"docs": {"$each": [5], "$sort": {"k": 1}}}},
    {"$push": {"a": {"$each": [9], "$foo": 1}}}, {"$push": {"a": {"$slice": 1}}}, {"$push": {"a": {"$slice": 1, "$each": [8]}}}, {"$push": {"a": {"x": 1, "$each": [8]}}}, {"$push": {"a": {"$x": 1}}},
    {"$push": {"a.0": 1}}, {"$push": {"nested.0": 5}}, {"$push": {"docs.2.sub": 5}}, {"$push": {"docs.0.sub": 5}}, {"$push": {"docs.sub": 5}},
    {"$addToSet": {"a": 2}}, {"$addToSet": {"a": 2.0}}, {"$addToSet": {"a": 4}}, {"$addToSet": {"a": {"$each": [1, 4, 4, 4.0]}}}, {"$addToSet": {"a": [1, 2]}}, {"$addToSet": {"nested": [1, 2]}},
    {"$addToSet": {"docs": {"k": 1, "v": "a"}}}, {"$addToSet": {"docs": {"v": "a", "k": 1}}}, {"$addToSet": {"docs": {"k": 1.0, "v": "a"}}}, {"$addToSet": {"none": 1}}, {"$addToSet": {"none": {"$each": [1, 1]}}}, {"$addToSet": {"i": 1}},
    {"$addToSet": {"a": {"$each": 1}}}, {"$addToSet": {"a": {"$each": [1], "x": 1}}}, {"$addToSet": {"none": {"$each": []}}}, {"$addToSet": {"a": {"x": 1, "$each": [1]}}},
    {"$pull": {"a": 2}}, {"$pull": {"a": {"$gt": 1}}}, {"$pull": {"a": {"$in": [1, 3]}}}, {"$pull": {"a": 9}}, {"$pull": {"docs": {"k": 1}}}, {"$pull": {"docs": {"k": {"$gte": 2}, "v": "a"}}}, {"$pull": {"docs": {"v": "a"}}},
    {"$pull": {"docs": {"$elemMatch": {"k": 1}}}}, {"$pull": {"nested": [1, 2]}}, {"$pull": {"nested": 1}}, {"$pull": {"nested": {"$gt": 3}}}, {"$pull": {"nested": {"$elemMatch": {"$gt": 3}}}}, {"$pull": {"i": 1}}, {"$pull": {"none": 1}}, {"$pull": {"a": None}},
    {"$pull": {"docs": {"$or": [{"k": 1}, {"k": 3}]}}}, {"$pull": {"a": Regex("x")}}, {"$pull": {"docs": {}}}, {"$pull": {"a": {}}}, {"$pull": {"a": {"$not": {"$gt": 1}}}}, {"$pull": {"docs.sub": 1}}, {"$pull": {"docs.2.sub": 1}}, {"$pull": {"i.x": 1}},
    {"$pull": {"docs": {"k": 1, "v": "b"}}}, {"$pull": {"docs": {"sub": 2}}}, {"$pull": {"a": {"$foo": 1}}}, {"$pull": {"docs": {"sub.0": 1}}}, {"$pull": {"s": "x"}}, {"$pull": {"a.x": 1}},
    {"$pullAll": {"a": [1, 3]}}, {"$pullAll": {"a": []}}, {"$pullAll": {"a": 5}}, {"$pullAll": {"docs": [{"k": 1, "v": "a"}]}}, {"$pullAll": {"docs": [{"v": "a", "k": 1}]}}, {"$pullAll": {"none": [1]}}, {"$pullAll": {"i": [1]}}, {"$pullAll": {"a": [1.0]}},
    {"$pop": {"a": 1}}, {"$pop": {"a": -1}}, {"$pop": {"e": 1}}, {"$pop": {"none": 1}}, {"$pop": {"i": 1}}, {"$pop": {"a": 2}}, {"$pop": {"a": "x"}}, {"$pop": {"a": 1.0}}, {"$pop": {"i.x": 1}}, {"$pop": {"a": 0}}, {"$pop": {"n": 1}}, {"$pop": {"a": 1.5}},
    {"$bit": {"i": {"and": 4}}}, {"$bit": {"i": {"or": 8}}}, {"$bit": {"i": {"xor": 1}}}, {"$bit": {"l": {"or": 8}}}, {"$bit": {"i": {"or": Int64(8)}}}, {"$bit": {"none": {"or": 8}}}, {"$bit": {"none": {"and": Int64(8)}}}, {"$bit": {"f": {"or": 1}}},
    {"$bit": {"i": {"or": 1.5}}}, {"$bit": {"i": {"nand": 1}}}, {"$bit": {"i": 5}}, {"$bit": {"i": {}}}, {"$bit": {"i": {"and": 4, "or": 2}}}, {"$bit": {"i": {"and": 5}}},
    {"$currentDate": {"when": 5}}, {"$currentDate": {"when": {"$type": "x"}}}, {"$currentDate": {"when": {"x": "date"}}}, {"$currentDate": {"when": "date"}},
    {"$set": {"docs.$[].k": 0}}, {"$inc": {"a.$[]": 10}}, {"$set": {"e.$[]": 10}}, {"$set": {"none.$[]": 10}}, {"$set": {"i.$[]": 10}}, {"$set": {"o.$[].x": 10}}, {"$unset": {"a.$[]": 1}}, {"$set": {"docs.$[].sub.$[]": 7}}, {"$push": {"nested.$[]": 0}}, {"$set": {"$[]": 1}},
    {"$set": {"docs.$[].k": 1, "docs.0.v": 2}}, {"$set": {"docs.$[x].k": 1}}, {"$set": {"docs.$[].k": 1, "docs.$[].v": 2}}, {"$set": {"a.$": 1}}, {"$set": {"a.$.$": 1}}, {"$pull": {"docs.$[].sub": 1}}, {"$unset": {"docs.$[].sub": 1}}, {"$inc": {"nested.$[].$[]": 1}},
    {"$rename": {"i.x": "b"}}, {"$rename": {"a.9": "b"}}, {"$rename": {"i": "s.x"}}, {"$rename": {"i": "docs.k"}}, {"$rename": {"i": "none.x.y"}}, {"$rename": {"none": "s.x"}},
    {"_id": 1.0, "x": 1}, {"x": 1}, {"_id": 1, "x": 1}, {"_id": 2, "x": 1}, {}, {"x": {"$y": 1}}, {"x": 1, "$y": 2}, {"x": 1, "_id": 1}, {"x.y": 1}, {"x": {"a.b": 1}},
]  # fmt: skip


@pytest.mark.parametrize("update", UPDATES, ids=repr)
def test_an_update_changes_what_the_server_changes(
    update: dict[str, Any], agree: Callable[..., None]
) -> None:
    agree({"ask": "update", "about": "D", "docs": [D], "update": update})


WITH_FILTERS: list[tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]] | None]] = [
    ({"a": 2}, {"$set": {"a.$": 9}}, None),
    ({"a": {"$gte": 2}}, {"$inc": {"a.$": 9}}, None),
    ({"docs.k": 2}, {"$set": {"docs.$.v": 9}}, None),
    ({"docs.k": 2, "a": 3}, {"$set": {"docs.$.v": 9}}, None),
    ({"a": 3, "docs.k": 2}, {"$set": {"docs.$.v": 9}}, None),
    ({"docs": {"$elemMatch": {"k": 3, "v": "a"}}}, {"$set": {"docs.$.v": 9, "docs.$.w": 1}}, None),
    ({"docs": {"$elemMatch": {"k": 3, "v": "a"}}}, {"$unset": {"docs.$": 1}}, None),
    ({"docs.sub": 2}, {"$set": {"docs.$.sub.0": 9}}, None),
    ({"i": 5}, {"$set": {"a.$": 9}}, None),
    ({"docs.0.k": 1}, {"$set": {"docs.$.v": 9}}, None),
    ({"$or": [{"a": 9}, {"a": 2}]}, {"$set": {"a.$": 9}}, None),
    ({"$and": [{"a": 1}, {"a": 3}]}, {"$set": {"a.$": 9}}, None),
    ({"a": {"$in": [3, 2]}}, {"$set": {"a.$": 9}}, None),
    ({"a": {"$all": [3, 1]}}, {"$set": {"a.$": 9}}, None),
    ({"nested": 1}, {"$set": {"a.$": 9}}, None),
    ({"nested": {"$elemMatch": {"$elemMatch": {"$eq": 4}}}}, {"$set": {"nested.$": 9}}, None),
    ({"a": {"$not": {"$gt": 5}}}, {"$set": {"a.$": 9}}, None),
    ({"a": {"$ne": 7}}, {"$set": {"a.$": 9}}, None),
    ({"a": [1, 2, 3]}, {"$set": {"a.$": 9}}, None),
    ({"a": 2}, {"$pull": {"docs.$.sub": 9}}, None),
    ({"docs.2.sub": 2}, {"$set": {"a.$": 9}}, None),
    ({"a.1": 2}, {"$set": {"a.$": 9}}, None),
    ({"nested.1": 4}, {"$set": {"a.$": 9}}, None),
    ({"nested.1.1": 4}, {"$set": {"a.$": 9}}, None),
    ({"a": {"$gt": 1, "$lt": 3}}, {"$set": {"a.$": 9}}, None),
    ({"a": {"$lt": 3, "$gt": 1}}, {"$set": {"a.$": 9}}, None),
    ({"docs": {"$elemMatch": {"k": 2}}, "a": 3}, {"$set": {"docs.$": 9}}, None),
    ({"docs.k": {"$gt": 1}, "a": 1}, {"$set": {"docs.$": 9}}, None),
    ({"a": {"$exists": True}, "docs.k": 2}, {"$set": {"docs.$": 9}}, None),
    ({"a": {"$size": 3}, "docs.k": 2}, {"$set": {"docs.$": 9}}, None),
    ({"a": {"$type": "int"}, "docs.k": 2}, {"$set": {"docs.$": 9}}, None),
    ({"a": {"$in": [2]}, "docs.k": 3}, {"$set": {"docs.$": 9}}, None),
    ({"$or": [{"a": 2}], "docs.k": 3}, {"$set": {"docs.$": 9}}, None),
    ({"docs.k": 3}, {"$push": {"docs.$.sub": 9}}, None),
    ({"docs.k": 1}, {"$set": {"docs.$.v": 9, "docs.0.w": 2}}, None),
    ({"docs.k": 1}, {"$set": {"docs.$.v": 9, "docs.0.v": 2}}, None),
    ({}, {"$set": {"a.$[x]": 0}}, [{"x": {"$gte": 2}}]),
    ({}, {"$set": {"a.$[x]": 0}}, [{"x": 2}]),
    ({}, {"$set": {"docs.$[d].v": "z"}}, [{"d.k": {"$gt": 1}}]),
    ({}, {"$set": {"docs.$[d].v": "z"}}, [{"d.k": {"$gt": 1}, "d.v": "b"}]),
    ({}, {"$set": {"docs.$[d].v": "z"}}, [{"$or": [{"d.k": 1}, {"d.k": 3}]}]),
    ({}, {"$set": {"docs.$[d].sub.$[s]": 0}}, [{"d.k": 3}, {"s": 1}]),
    ({}, {"$set": {"docs.$[d].sub.$[s]": 0}}, [{"d.k": 1}, {"s": 1}]),
    ({}, {"$inc": {"a.$[x]": 10}, "$set": {"docs.$[x].k": 5}}, [{"x": 2}]),
    ({}, {"$set": {"a.$[x]": 0}}, [{"x": 2}, {"y": 1}]),
    ({}, {"$set": {"a.$[x]": 0}}, [{"x": 2}, {"x": 1}]),
    ({}, {"$set": {"a.$[x]": 0}}, [{"x": 2, "y": 1}]),
    ({}, {"$set": {"a.$[x]": 0}}, [{}]),
    ({}, {"$set": {"a.$[X]": 0}}, [{"X": 2}]),
    ({}, {"$set": {"a.$[x]": 0, "a.$[y]": 1}}, [{"x": 2}, {"y": 1}]),
    ({}, {"$set": {"a.$[x]": 0, "a.$[y]": 1}}, [{"x": 2}, {"y": {"$lt": 3}}]),
    ({}, {"$set": {"docs.$[x].v": 0, "docs.$[y].w": 1}}, [{"x.k": 2}, {"y.k": {"$lt": 3}}]),
    ({}, {"$set": {"docs.$[x].v": 0, "docs.$[].w": 1}}, [{"x.k": 2}]),
    ({}, {"$set": {"docs.$[x].v": 0, "docs.$[].v": 1}}, [{"x.k": 2}]),
    ({}, {"$unset": {"a.$[x]": 0}}, [{"x": 2}]),
    ({}, {"$set": {"i.$[x]": 0}}, [{"x": 2}]),
    ({}, {"$set": {"i": 0}}, [{"x": 2}]),
    ({}, {"i": 0}, [{"x": 2}]),
    ({}, {"$set": {"nested.$[x]": 0}}, [{"x": 3}]),
    ({}, {"$set": {"nested.$[].$[x]": 0}}, [{"x": 3}]),
    ({}, {"$set": {"docs.$[d]": 0}}, [{"d": {"k": 1, "v": "a"}}]),
    ({}, {"$set": {"docs.$[d]": 0}}, [{"d.v": {"$in": ["a"]}}]),
    ({}, {"$set": {"docs.$[d]": 0}}, [{"d": {"$elemMatch": {"$gt": 1}}}]),
]  # fmt: skip


@pytest.mark.parametrize(("query", "update", "array_filters"), WITH_FILTERS, ids=repr)
def test_positional_operators_find_the_elements_the_server_finds(
    query: dict[str, Any],
    update: dict[str, Any],
    array_filters: list[dict[str, Any]] | None,
    agree: Callable[..., None],
) -> None:
    case = {"ask": "update", "about": "D", "docs": [D], "filter": query, "update": update}
    if array_filters is not None:
        case["array_filters"] = array_filters
    agree(case)


PIPELINES: list[list[dict[str, Any]]] = [
    [{"$set": {"i": {"$add": ["$i", 1]}}}], [{"$set": {"o.x": "$i", "new.a": 1}}], [{"$addFields": {"a": {"$concatArrays": ["$a", [4]]}}}], [{"$unset": "i"}], [{"$unset": ["i", "o.x", "docs.k"]}],
    [{"$project": {"i": 1}}], [{"$project": {"_id": 0, "i": 1}}], [{"$replaceWith": {"x": 1}}], [{"$replaceRoot": {"newRoot": "$o"}}], [{"$replaceWith": {"_id": 2}}], [{"$set": {"_id": 2}}], [{"$unset": "_id"}],
    [{"$set": {"_id": 1.0}}], [{"$replaceWith": {"_id": 1.0, "x": 1}}],
    [{"$match": {"i": 1}}], [{"$foo": 1}], [], [{"$set": {"i": 5}}], [{"$set": {"t": "$$NOPE"}}], [{"$set": {"x": "$$ROOT.i"}}, {"$unset": "i"}], [{"$set": {"x": "$none"}}], [{"$set": {"i": "$$REMOVE"}}],
    [{"$set": {"docs.k": 7}}], [{"$set": {"a": {"$map": {"input": "$a", "in": {"$multiply": ["$$this", 2]}}}}}], [{"$set": {"a": 1}, "$unset": "b"}], [{"$group": {"_id": 1}}],
]  # fmt: skip


@pytest.mark.parametrize("update", PIPELINES, ids=repr)
def test_a_pipeline_updates_as_the_servers_does(
    update: list[dict[str, Any]], agree: Callable[..., None]
) -> None:
    agree({"ask": "update", "about": "D", "docs": [D], "update": update})


KEY = ObjectId("0123456789abcdef01234567")
UPSERTS: list[tuple[dict[str, Any], Any]] = [
    ({"_id": 5}, {"$set": {"a": 1}}), ({"_id": 5, "b": 2, "c.d": 3}, {"$set": {"a": 1}}), ({"_id": 5, "b": {"$eq": 2}}, {"$inc": {"b": 1}}), ({"_id": 5, "b": {"$gt": 2}}, {"$set": {"a": 1}}), ({"_id": 5, "b": {"$in": [7]}}, {"$set": {"a": 1}}),
    ({"_id": 5, "b": {"$in": [7, 8]}}, {"$set": {"a": 1}}), ({"_id": 5, "b": {"$all": [7]}}, {"$set": {"a": 1}}), ({"_id": 5, "b": {"$all": [7, 8]}}, {"$set": {"a": 1}}), ({"$and": [{"_id": 5}, {"b": 1}]}, {"$set": {"a": 1}}), ({"$or": [{"_id": 5}]}, {"$set": {"a": 1}}),
    ({"_id": 5, "$or": [{"b": 1}, {"c": 1}]}, {"$set": {"a": 1}}), ({"_id": 5, "b": 1, "$and": [{"b": 1}]}, {"$set": {"a": 1}}), ({"_id": 5, "b": 1, "b.c": 2}, {"$set": {"a": 1}}), ({"_id": 5, "b.c": 1, "b": 2}, {"$set": {"a": 1}}), ({"_id": 5, "b.c": 1, "b.d": 2}, {"$set": {"b.e": 1}}),
    ({"_id": 5}, {"_id": 5, "x": 1}), ({"_id": 5}, {"x": 1}), ({"_id": 5}, {"_id": 6, "x": 1}), ({"_id": 5, "b": 2}, {"x": 1}), ({"_id": 5}, {"$set": {"_id": 6}}), ({"_id": 5}, {"$setOnInsert": {"a": 1}, "$set": {"b": 2}}), ({"_id": {"$gt": 5}, "b": 1}, {"$set": {"_id": 9}}),
    ({"_id": 5, "b": 2}, {"$unset": {"b": 1}}), ({"_id": 5, "b": [1, 2]}, {"$push": {"b": 3}}), ({"_id": 5, "b": Regex("x")}, {"$set": {"a": 1}}), ({"_id": 5, "b": None}, {"$set": {"a": 1}}), ({"_id": 5, "b.0": 1}, {"$set": {"a": 1}}), ({"_id": 5, "b": {"$not": {"$eq": 1}}}, {"$set": {"a": 1}}),
    ({"_id": {"x": 1}}, {"$set": {"a": 1}}), ({"_id.x": 1}, {"$set": {"a": 1}}), ({"_id": {"$in": [5]}}, {"$set": {"a": 1}}), ({"_id": 5, "b": {"$elemMatch": {"c": 1}}}, {"$set": {"a": 1}}), ({"_id": 5, "b": {"$eq": 1, "$gt": 0}}, {"$set": {"a": 1}}), ({"_id": 5, "b": {"$exists": True}}, {"$set": {"a": 1}}),
    ({"_id": 5, "b": 1}, [{"$set": {"c": {"$add": ["$b", 1]}}}]), ({"_id": 5, "b": 1}, [{"$replaceWith": {"x": "$b"}}]), ({"b": 1, "_id": 5}, {"$set": {"a": 1}}), ({"_id": 5, "b": {"$ne": 1}}, {"$mul": {"c": 2}}), ({"_id": 5, "a.b": 1}, {"$set": {"a": 2}}), ({"_id": 5, "a": 1}, {"$set": {"a.b": 2}}),
    ({"_id": 5}, {"$pull": {"a": 1}}), ({"_id": 5}, {"$push": {"a": {"$each": [3, 1], "$sort": 1}}}), ({"_id": 5}, {"$addToSet": {"a": 1}}), ({"_id": 5}, {"$pop": {"a": 1}}), ({"_id": 5}, {"$rename": {"a": "b"}}), ({"_id": 5, "a": 1}, {"$rename": {"a": "b"}}), ({"_id": 5}, {"$min": {"a": 1}, "$bit": {"b": {"or": 1}}}),
    ({"_id": [1]}, {"$set": {"a": 1}}), ({"_id": KEY}, {"$set": {"a.b.c": 1, "a.b.d": 2}}), ({"_id": 5, "a.$": 1}, {"$set": {"b": 1}}), ({"_id": 5, "a": 1}, {"$set": {"a.$": 1}}), ({"_id": 5, "$expr": {"$eq": [1, 2]}}, {"$set": {"a": 1}}), ({"_id": 5, "$nor": [{"b": 1}]}, {"$set": {"a": 1}}),
    ({"_id": 5, "z": 1, "y": 2}, {"$set": {"x": 1, "w": 2}}),
]  # fmt: skip


@pytest.mark.parametrize(("query", "update"), UPSERTS, ids=repr)
def test_an_upsert_inserts_what_the_server_inserts(
    query: dict[str, Any], update: Any, agree: Callable[..., None]
) -> None:
    agree({"ask": "update", "docs": [], "filter": query, "update": update, "upsert": True})
