"""The driver itself, through `db.client` and `db.database`: writes, collections, commands."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from bson import ObjectId
from bson.son import SON
from pymongo import (
    DeleteMany,
    DeleteOne,
    InsertOne,
    ReplaceOne,
    ReturnDocument,
    UpdateMany,
    UpdateOne,
)
from pymongo.errors import OperationFailure

from odm import Connection

# What was written, and how many


async def test_insert_one_acknowledges_the_id(db: Connection) -> None:
    result = await db.database["c"].insert_one({"n": 1})
    assert result.acknowledged
    assert isinstance(result.inserted_id, ObjectId)
    assert await db.database["c"].find_one() == {"_id": result.inserted_id, "n": 1}


async def test_insert_many_keeps_the_order_of_ids(db: Connection) -> None:
    result = await db.database["c"].insert_many([{"_id": 3}, {"_id": 1}, {"_id": 2}])
    assert result.inserted_ids == [3, 1, 2]
    assert [d["_id"] async for d in db.database["c"].find()] == [3, 1, 2]


async def test_update_counts_matched_and_modified(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 2}, {"_id": 3, "n": 2}])
    one = await c.update_one({"n": 2}, {"$set": {"n": 2}})
    assert (one.matched_count, one.modified_count, one.upserted_id) == (1, 0, None)
    many = await c.update_many({"n": {"$gte": 1}}, {"$set": {"n": 2}})
    assert (many.matched_count, many.modified_count) == (3, 1)
    none = await c.update_one({"n": 404}, {"$set": {"n": 1}})
    assert (none.matched_count, none.modified_count) == (0, 0)


async def test_upsert_seeds_from_the_filter(db: Connection) -> None:
    result = await db.database["c"].update_one(
        {"_id": 7, "kind": "x", "n": {"$gt": 3}},
        {"$set": {"n": 1}, "$setOnInsert": {"new": True}},
        upsert=True,
    )
    assert (result.matched_count, result.modified_count, result.upserted_id) == (0, 0, 7)
    assert await db.database["c"].find_one() == {"_id": 7, "kind": "x", "n": 1, "new": True}


async def test_replace_keeps_the_id(db: Connection) -> None:
    await db.database["c"].insert_one({"_id": 1, "a": 1})
    result = await db.database["c"].replace_one({"a": 1}, {"b": 2})
    assert (result.matched_count, result.modified_count) == (1, 1)
    assert await db.database["c"].find_one() == {"_id": 1, "b": 2}


async def test_delete_counts(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_many([{"n": 1}, {"n": 1}, {"n": 2}])
    assert (await c.delete_one({"n": 1})).deleted_count == 1
    assert (await c.delete_many({"n": {"$in": [1, 2]}})).deleted_count == 2
    assert (await c.delete_one({})).deleted_count == 0


UPDATES: list[tuple[Any, dict[str, Any]]] = [
        ({"$set": {"a.b": 5, "new.deep": 1}}, {"a": {"b": 5}, "new": {"deep": 1}}),
        ({"$unset": {"a": "", "missing": ""}}, {"a": None}),
        ({"$inc": {"n": -3, "m": 2}}, {"n": 7, "m": 2}),
        ({"$mul": {"n": 2.5, "m": 3}}, {"n": 25.0, "m": 0}),
        ({"$min": {"n": 3, "m": 4}}, {"n": 3, "m": 4}),
        ({"$max": {"n": 3}}, {"n": 10}),
        ({"$rename": {"n": "renamed"}}, {"renamed": 10, "n": None}),
        ({"$push": {"list": 4}}, {"list": [1, 2, 3, 4]}),
        (
            {"$push": {"list": {"$each": [9, 0], "$position": 0, "$sort": 1, "$slice": 4}}},
            {"list": [0, 1, 2, 3]},
        ),
        ({"$addToSet": {"list": {"$each": [3, 4, 4]}}}, {"list": [1, 2, 3, 4]}),
        ({"$pop": {"list": -1}}, {"list": [2, 3]}),
        ({"$pull": {"list": {"$gte": 2}}}, {"list": [1]}),
        ({"$pullAll": {"list": [1, 3]}}, {"list": [2]}),
        ({"$set": {"list.1": "x"}}, {"list": [1, "x", 3]}),
        ({"$set": {"list.4": 5}}, {"list": [1, 2, 3, None, 5]}),
        ({"$bit": {"n": {"and": 6}}}, {"n": 2}),
        ({"$set": {"items.$[].q": 0}}, {"items": [{"k": "x", "q": 0}, {"k": "y", "q": 0}]}),
        ([{"$set": {"n": {"$add": ["$n", 1]}, "sum": {"$sum": "$list"}}}], {"n": 11, "sum": 6}),
        ([{"$unset": "a"}, {"$set": {"n": "$$REMOVE"}}], {"a": None, "n": None}),
    ]  # fmt: skip


async def test_update_operators(db: Connection) -> None:
    c = db.database["c"]
    original = {
        "n": 10,
        "a": {"b": 1},
        "list": [1, 2, 3],
        "items": [{"k": "x", "q": 1}, {"k": "y", "q": 2}],
    }
    for number, (update, expected) in enumerate(UPDATES):
        await c.insert_one({"_id": number, **original})
        result = await c.update_one({"_id": number}, update)
        assert result.matched_count == 1
        found = await c.find_one({"_id": number})
        assert found is not None
        assert {key: found.get(key) for key in expected} == expected, update


async def test_positional_and_filtered_updates_of_array_elements(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_one({"_id": 1, "items": [{"k": "x", "q": 1}, {"k": "y", "q": 5}]})
    await c.update_one({"items.k": "y"}, {"$set": {"items.$.q": 6}})
    await c.update_one({"_id": 1}, {"$inc": {"items.$[low].q": 10}},
                       array_filters=[{"low.q": {"$lt": 3}}])  # fmt: skip
    assert await c.find_one() == {"_id": 1, "items": [{"k": "x", "q": 11}, {"k": "y", "q": 6}]}


async def test_current_date_is_the_servers(db: Connection) -> None:
    before = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(minutes=1)
    await db.database["c"].insert_one({"_id": 1})
    await db.database["c"].update_one(
        {"_id": 1}, {"$currentDate": {"at": True, "stamp": {"$type": "timestamp"}}}
    )
    found = await db.database["c"].find_one()
    assert found is not None
    assert before < found["at"] < before + dt.timedelta(minutes=2)
    assert found["stamp"].time > 0


async def test_find_one_and_something(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 2}])
    assert await c.find_one_and_update({}, {"$inc": {"n": 10}}, sort=[("n", -1)]) == {
        "_id": 2, "n": 2,
    }  # fmt: skip
    assert await c.find_one_and_update(
        {"_id": 1}, {"$set": {"x": 1}}, return_document=ReturnDocument.AFTER, projection=["x"]
    ) == {"_id": 1, "x": 1}
    assert await c.find_one_and_replace({"_id": 1}, {"z": 0}) == {"_id": 1, "n": 1, "x": 1}
    assert await c.find_one_and_delete({"_id": 1}) == {"_id": 1, "z": 0}
    assert await c.find_one_and_delete({"_id": 1}) is None
    assert await c.find_one_and_update(
        {"_id": 5}, {"$set": {"n": 5}}, upsert=True, return_document=ReturnDocument.AFTER
    ) == {"_id": 5, "n": 5}


async def test_bulk_write_counts_everything(db: Connection) -> None:
    result = await db.database["c"].bulk_write(
        [
            InsertOne({"_id": 1, "n": 1}),
            InsertOne({"_id": 2, "n": 1}),
            InsertOne({"_id": 3, "n": 1}),
            UpdateOne({"_id": 1}, {"$set": {"n": 2}}),
            UpdateMany({"n": 1}, {"$inc": {"n": 5}}),
            ReplaceOne({"_id": 9}, {"n": 9}, upsert=True),
            DeleteOne({"_id": 2}),
            DeleteMany({"n": {"$gt": 5}}),
        ]
    )
    assert result.acknowledged
    assert (result.inserted_count, result.matched_count, result.modified_count) == (3, 3, 3)
    assert (result.deleted_count, result.upserted_count) == (3, 1)
    assert result.upserted_ids == {5: 9}
    assert await db.database["c"].find().to_list() == [{"_id": 1, "n": 2}]


# Databases, collections, commands


async def test_collections_come_and_go(db: Connection) -> None:
    await db.database.create_collection("plain")
    await db.database["other"].insert_one({})
    assert sorted(await db.database.list_collection_names()) == ["other", "plain"]
    await db.database["plain"].drop()
    await db.database["missing"].drop()
    assert await db.database.list_collection_names() == ["other"]
    assert await db.database["other"].rename("renamed")
    assert await db.database.list_collection_names() == ["renamed"]
    assert db.database.name in await db.client.list_database_names()


async def test_options_of_a_collection_are_listed(db: Connection) -> None:
    await db.database.create_collection(
        "log", capped=True, size=8192, max=3, collation={"locale": "en"}
    )
    [info] = await (await db.database.list_collections(filter={"name": "log"})).to_list()
    assert info["type"] == "collection"
    assert info["options"]["capped"] is True
    assert info["options"]["max"] == 3
    assert info["options"]["collation"]["locale"] == "en"
    assert info["idIndex"]["key"] == {"_id": 1}
    assert (await db.database["log"].options())["max"] == 3


async def test_capped_collection_forgets_the_oldest(db: Connection) -> None:
    log = await db.database.create_collection("log", capped=True, size=8192, max=3)
    await log.insert_many([{"_id": number} for number in range(5)])
    assert [d["_id"] async for d in log.find()] == [2, 3, 4]
    assert [d["_id"] async for d in log.find(sort=[("$natural", -1)])] == [4, 3, 2]


async def test_view_computes_what_it_shows(db: Connection) -> None:
    await db.database["c"].insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 2}])
    await db.database.create_collection(
        "big", viewOn="c", pipeline=[{"$match": {"n": {"$gt": 1}}}, {"$set": {"big": True}}]
    )
    assert await db.database["big"].find().to_list() == [{"_id": 2, "n": 2, "big": True}]
    assert await db.database["big"].count_documents({}) == 1
    with pytest.raises(OperationFailure) as caught:
        await db.database["big"].insert_one({"n": 1})
    assert caught.value.code == 166


async def test_coll_mod_changes_the_validator(db: Connection) -> None:
    await db.database.create_collection("c")
    await db.database.command("collMod", "c", validator={"n": {"$gt": 0}})
    with pytest.raises(OperationFailure) as caught:
        await db.database["c"].insert_one({"n": 0})
    assert caught.value.code == 121


async def test_drop_database(db: Connection) -> None:
    await db.database["c"].insert_one({})
    await db.client.drop_database(db.database.name)
    assert await db.database.list_collection_names() == []


async def test_other_databases_of_the_same_deployment(db: Connection) -> None:
    other = db.client[f"{db.database.name}_other"]
    await other["c"].insert_one({"_id": 1})
    assert await db.database["c"].find_one() is None
    assert await other["c"].find_one() == {"_id": 1}
    await db.client.drop_database(other.name)


async def test_counts(db: Connection) -> None:
    c = db.database["c"]
    assert await c.estimated_document_count() == 0
    await c.insert_many([{"n": n % 3} for n in range(10)])
    assert await c.estimated_document_count() == 10
    assert await c.count_documents({"n": 0}) == 4
    assert await c.count_documents({}, skip=4, limit=3) == 3
    assert sorted(await c.distinct("n")) == [0, 1, 2]
    assert await c.distinct("n", {"n": {"$gt": 0}}) == [1, 2]


async def test_distinct_looks_into_arrays_and_documents(db: Connection) -> None:
    await db.database["c"].insert_many(
        [{"t": ["a", "b"], "s": [{"k": 1}, {"k": 2}]}, {"t": "b", "s": {"k": 2}}, {"t": []}]
    )
    assert await db.database["c"].distinct("t") == ["a", "b"]
    assert await db.database["c"].distinct("s.k") == [1, 2]


async def test_build_info_and_hello_describe_a_replica_set(db: Connection) -> None:
    info = await db.client.server_info()
    assert info["ok"] == 1.0
    assert len(info["versionArray"]) == 4
    hello = await db.client.admin.command("hello")
    assert hello["isWritablePrimary"] is True
    assert hello["maxBsonObjectSize"] == 16_777_216
    assert hello["maxMessageSizeBytes"] == 48_000_000
    assert hello["maxWriteBatchSize"] == 100_000
    assert hello["logicalSessionTimeoutMinutes"] == 30
    assert hello["maxWireVersion"] >= 17


async def test_ping_answers(db: Connection) -> None:
    await db.ping()
    assert (await db.client.admin.command("ping"))["ok"] == 1.0


async def test_statistics_name_the_transport(db: Connection, transport: str) -> None:
    before = db.statistics()
    await db.database["c"].insert_one({})
    after = db.statistics()
    assert after.transport == transport
    if transport == "lambda":
        assert after.invokes > before.invokes
    else:
        assert after.invokes == 0


async def test_command_accepts_an_ordered_document(db: Connection) -> None:
    await db.database["c"].insert_one({"_id": 1})
    reply = await db.database.command(SON([("count", "c"), ("query", {"_id": 1})]))
    assert (reply["n"], reply["ok"]) == (1, 1.0)


async def test_replies_carry_the_cluster_time(db: Connection) -> None:
    await db.database["c"].insert_one({})
    reply = await db.database.command("find", "c")
    assert reply["operationTime"].time > 0
    assert reply["$clusterTime"]["clusterTime"] >= reply["operationTime"]


async def test_many_operations_at_once(db: Connection) -> None:
    c = db.database["c"]
    await asyncio.gather(*(c.insert_one({"_id": number}) for number in range(60)))
    await asyncio.gather(*(c.update_one({"_id": 0}, {"$inc": {"n": 1}}) for _ in range(30)))
    assert await c.count_documents({}) == 60
    assert await c.find_one({"_id": 0}) == {"_id": 0, "n": 30}


async def test_cancelled_operation_leaves_the_client_usable(db: Connection) -> None:
    c = db.database["c"]
    await c.insert_many([{"_id": number} for number in range(200)])
    tasks = [asyncio.create_task(c.find().to_list()) for _ in range(5)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert await c.count_documents({}) == 200
