"""The driver's options and query language: collation, hints, concerns, projections, operators."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo import (
    ReadPreference,
    WriteConcern,
)
from pymongo.collation import Collation
from pymongo.errors import InvalidOperation, OperationFailure, WriteConcernError
from pymongo.read_concern import ReadConcern

from odm import Connection


async def test_collation_orders_and_matches(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_many([{"_id": word} for word in ("a", "B", "c", "Á")])
    german = Collation(locale="de", strength=1)
    found = await c.find({"_id": {"$gte": "A"}}).sort("_id").collation(german).to_list()
    assert {found[0]["_id"], found[1]["_id"]} == {"a", "Á"}
    assert [d["_id"] for d in found[2:]] == ["B", "c"]
    assert await c.count_documents({"_id": "b"}, collation=german) == 1
    assert await c.count_documents({"_id": "b"}) == 0


async def test_numeric_collation(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_many([{"_id": word} for word in ("v10", "v9", "v1")])
    numeric = Collation(locale="en", numericOrdering=True)
    found = await c.find().sort("_id").collation(numeric).to_list()
    assert [d["_id"] for d in found] == ["v1", "v9", "v10"]


async def test_hint_by_name_and_by_keys(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_many([{"_id": n, "n": -n} for n in range(3)])
    await c.create_index([("n", 1)])
    assert [d["_id"] for d in await c.find(hint="n_1").to_list()] == [2, 1, 0]
    assert [d["_id"] for d in await c.find(hint=[("n", 1)]).to_list()] == [2, 1, 0]
    assert [d["_id"] for d in await c.find(hint=[("$natural", -1)]).to_list()] == [2, 1, 0]
    assert [d["_id"] for d in await c.find(hint=[("$natural", 1)]).to_list()] == [0, 1, 2]
    assert await c.count_documents({"n": {"$lt": 0}}, hint="n_1") == 2
    with pytest.raises(OperationFailure) as caught:
        await c.find(hint="nope").to_list()
    assert caught.value.code == 2


async def test_comment_is_accepted_everywhere(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_one({"_id": 1}, comment="a")
    await c.update_one({"_id": 1}, {"$set": {"n": 1}}, comment={"who": "me"})
    assert await c.find({}, comment="b").to_list() == [{"_id": 1, "n": 1}]
    assert await c.count_documents({}, comment="c") == 1
    assert (await c.delete_one({"_id": 1}, comment=1)).deleted_count == 1


@pytest.mark.parametrize("level", ["local", "majority", "available", "linearizable", "snapshot"])
async def test_read_concerns(db: Connection, level: str) -> None:
    await db.database["c"].insert_one({"_id": 1})
    c = db.database.get_collection("c", read_concern=ReadConcern(level))
    assert await c.find_one({}) == {"_id": 1}


@pytest.mark.parametrize(
    "preference",
    [
        ReadPreference.PRIMARY,
        ReadPreference.PRIMARY_PREFERRED,
        ReadPreference.SECONDARY_PREFERRED,
        ReadPreference.NEAREST,
    ],
    ids=lambda preference: preference.mongos_mode,
)
async def test_read_preferences(db: Connection, preference: Any) -> None:
    await db.database["c"].insert_one({"_id": 1})
    c = db.database.get_collection("c", read_preference=preference)
    assert await c.find_one({}) == {"_id": 1}
    assert await (await c.aggregate([{"$count": "n"}])).to_list() == [{"n": 1}]


@pytest.mark.parametrize(
    "concern",
    [WriteConcern(1), WriteConcern("majority"), WriteConcern(1, j=True),
     WriteConcern("majority", wtimeout=5000)],
    ids=["one", "majority", "journaled", "timeout"],
)  # fmt: skip
async def test_write_concerns(db: Connection, concern: WriteConcern) -> None:
    c = db.database.get_collection("c", write_concern=concern)
    assert (await c.insert_one({"_id": 1})).acknowledged
    assert (await c.update_one({"_id": 1}, {"$set": {"n": 1}})).modified_count == 1


async def test_write_concern_that_cannot_be_met(db: Connection) -> None:
    c = db.database.get_collection("c", write_concern=WriteConcern("nobody"))
    with pytest.raises(WriteConcernError) as caught:
        await c.insert_one({"_id": 1})
    assert caught.value.code == 79
    assert await c.count_documents({}) == 1  # it was written nevertheless


async def test_unacknowledged_writes_happen_in_order(db: Connection) -> None:
    c = db.database.get_collection("c", write_concern=WriteConcern(0))
    result = await c.insert_one({"_id": 1})
    assert not result.acknowledged
    await c.update_one({"_id": 1}, {"$set": {"n": 1}})
    await c.insert_many([{"_id": 2}, {"_id": 3}])
    await c.delete_one({"_id": 3})
    with pytest.raises(InvalidOperation):
        _ = (await c.update_one({"_id": 2}, {"$set": {"n": 2}})).modified_count
    async with asyncio.timeout(10):
        while await c.find(sort=[("_id", 1)]).to_list() != [  # noqa: ASYNC110 - on other sockets
            {"_id": 1, "n": 1},
            {"_id": 2, "n": 2},
        ]:
            await asyncio.sleep(0.005)


async def test_unacknowledged_failure_is_silent(db: Connection) -> None:
    await db.database["c"].insert_one({"_id": 1})
    c = db.database.get_collection("c", write_concern=WriteConcern(0))
    await c.insert_one({"_id": 1})
    await c.update_one({"_id": 1}, {"$inc": {"_id": 1}})
    assert await db.database["c"].find().to_list() == [{"_id": 1}]


async def test_let_variables(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 2}])
    found = await c.find({"$expr": {"$eq": ["$n", "$$wanted"]}}, let={"wanted": 2}).to_list()
    assert found == [{"_id": 2, "n": 2}]


async def test_projections(db: Connection) -> None:
    await db.database["c"].insert_one(
        {"_id": 1, "a": {"b": 1, "c": 2}, "list": [1, 2, 3], "items": [{"k": 1}, {"k": 2}]}
    )
    c = db.database["c"]
    assert await c.find_one({}, {"a.b": 1}) == {"_id": 1, "a": {"b": 1}}
    assert await c.find_one({}, {"a": 0, "items": 0}) == {"_id": 1, "list": [1, 2, 3]}
    assert await c.find_one({}, {"_id": 0, "list": {"$slice": [1, 1]}, "a": 1}) == {
        "a": {"b": 1, "c": 2}, "list": [2],
    }  # fmt: skip
    assert await c.find_one({}, {"items": {"$elemMatch": {"k": 2}}}) == {
        "_id": 1, "items": [{"k": 2}],
    }  # fmt: skip
    assert await c.find_one({"list": 2}, {"list.$": 1}) == {"_id": 1, "list": [2]}
    assert await c.find_one({}, {"sum": {"$sum": "$list"}}) == {"_id": 1, "sum": 6}


QUERIES: list[tuple[dict[str, Any], list[int]]] = [
        ({"n": 1}, [1]),
        ({"n": None}, [4, 5]),
        ({"n": {"$exists": False}}, [5]),
        ({"n": {"$ne": 1}}, [2, 3, 4, 5]),
        ({"n": {"$gt": 1, "$lte": 3}}, [2, 3]),
        ({"n": {"$in": [1, None]}}, [1, 4, 5]),
        ({"n": {"$nin": [1, 2]}}, [3, 4, 5]),
        ({"n": {"$not": {"$gte": 2}}}, [1, 4, 5]),
        ({"$or": [{"n": 1}, {"tags": "z"}]}, [1, 3]),
        ({"$nor": [{"n": {"$gte": 2}}, {"n": None}]}, [1]),
        ({"$and": [{"tags": "x"}, {"tags": "y"}]}, [1]),
        ({"tags": ["x", "y"]}, [1]),
        ({"tags": {"$all": ["y", "x"]}}, [1]),
        ({"tags": {"$size": 1}}, [2, 3]),
        ({"tags.0": "x"}, [1]),
        ({"sub.a": 1}, [1, 2]),
        ({"sub": {"a": 1}}, [2]),
        ({"items": {"$elemMatch": {"k": 1, "q": {"$gt": 5}}}}, [2]),
        ({"items.k": 1, "items.q": 9}, [1, 2]),
        ({"name": {"$regex": "^al", "$options": "i"}}, [1, 2]),
        ({"n": {"$mod": [2, 1]}}, [1, 3]),
        ({"n": {"$type": "number"}}, [1, 2, 3]),
        ({"n": {"$bitsAllSet": 1}}, [1, 3]),
        ({"$expr": {"$gt": ["$n", 2]}}, [3]),
        ({"missing": {"$gt": 0}}, []),
    ]  # fmt: skip


async def test_query_operators(db: Connection) -> None:
    await db.database["c"].insert_many(
        [
            {"_id": 1, "n": 1, "tags": ["x", "y"], "sub": {"a": 1, "b": 2}, "name": "Alpha",
             "items": [{"k": 1, "q": 1}, {"k": 2, "q": 9}]},
            {"_id": 2, "n": 2, "tags": ["y"], "sub": {"a": 1}, "name": "alps",
             "items": [{"k": 1, "q": 9}]},
            {"_id": 3, "n": 3, "tags": ["z"], "name": "beta"},
            {"_id": 4, "n": None, "tags": []},
            {"_id": 5},
        ]
    )  # fmt: skip
    for query, expected in QUERIES:
        found = await db.database["c"].find(query, sort=[("_id", 1)]).to_list()
        assert [document["_id"] for document in found] == expected, query


async def test_json_schema_is_a_query_too(db: Connection) -> None:
    await db.database["c"].insert_many(
        [{"_id": 1, "n": 1, "tags": ["a"]}, {"_id": 2, "n": "x"}, {"_id": 3, "tags": [1]}]
    )
    schema = {
        "required": ["n"],
        "properties": {
            "n": {"bsonType": ["int", "string"], "minimum": 0},
            "tags": {"items": {"bsonType": "string"}},
        },
    }
    found = await db.database["c"].find({"$jsonSchema": schema}).to_list()
    assert [document["_id"] for document in found] == [1, 2]
    negated = await db.database["c"].find({"$nor": [{"$jsonSchema": schema}]}).to_list()
    assert [document["_id"] for document in negated] == [3]
