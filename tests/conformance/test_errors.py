"""What the server refuses, it refuses alike over every transport: type, code, name and labels.

Each row says what a server answers; the last test compares it with a direct connection's reply.
Codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from bson import Int64
from bson.errors import InvalidDocument
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    WriteError,
)

from odm import Connection

FailureOf = Callable[[Awaitable[Any]], Awaitable[Any]]

COMMANDS: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown-command": ({"nonsense": 1}, 59, "CommandNotFound"),
    "unknown-argument": ({"find": "c", "nonsense": 1}, 40415, "Location40415"),
    "wrong-type": ({"find": "c", "limit": "three"}, 14, "TypeMismatch"),
    "negative-limit": ({"find": "c", "limit": -1}, 51024, "Location51024"),
    "negative-skip": ({"find": "c", "skip": -1}, 51024, "Location51024"),
    "unknown-query-operator": ({"find": "c", "filter": {"a": {"$near-ish": 1}}}, 2, "BadValue"),
    "unknown-top-operator": ({"find": "c", "filter": {"$nonsense": []}}, 2, "BadValue"),
    "or-without-array": ({"find": "c", "filter": {"$or": {}}}, 2, "BadValue"),
    "or-empty": ({"find": "c", "filter": {"$or": []}}, 2, "BadValue"),
    "in-without-array": ({"find": "c", "filter": {"a": {"$in": 1}}}, 2, "BadValue"),
    "bad-regex": ({"find": "c", "filter": {"a": {"$regex": "("}}}, 51091, "Location51091"),
    "bad-mod": ({"find": "c", "filter": {"a": {"$mod": [0, 1]}}}, 2, "BadValue"),
    "bad-type-name": ({"find": "c", "filter": {"a": {"$type": "number!"}}}, 2, "BadValue"),
    "unknown-expression": (
        {"find": "c", "filter": {"$expr": {"$nonsense": 1}}}, 168, "InvalidPipelineOperator",
    ),
    "mixed-projection": ({"find": "c", "projection": {"a": 1, "b": 0}}, 31254, "Location31254"),
    "bad-sort": ({"find": "c", "sort": {"a": 2}}, 15975, "Location15975"),
    "bad-hint": ({"find": "c", "hint": "nope"}, 2, "BadValue"),
    "unknown-stage": (
        {"aggregate": "c", "pipeline": [{"$nonsense": {}}], "cursor": {}}, 40324, "Location40324",
    ),
    "stage-with-two-names": (
        {"aggregate": "c", "pipeline": [{"$match": {}, "$limit": 1}], "cursor": {}},
        40323, "Location40323",
    ),
    "aggregate-without-cursor": ({"aggregate": "c", "pipeline": []}, 9, "FailedToParse"),
    "limit-zero": (
        {"aggregate": "c", "pipeline": [{"$limit": 0}], "cursor": {}}, 15958, "Location15958",
    ),
    "group-without-id": (
        {"aggregate": "c", "pipeline": [{"$group": {}}], "cursor": {}}, 15955, "Location15955",
    ),
    "unknown-accumulator": (
        {"aggregate": "c", "pipeline": [{"$group": {"_id": 1, "n": {"$nope": 1}}}], "cursor": {}},
        15952, "Location15952",
    ),
    "unwind-without-dollar": (
        {"aggregate": "c", "pipeline": [{"$unwind": "a"}], "cursor": {}}, 28818, "Location28818",
    ),
    "divide-by-zero": (
        {"aggregate": "c", "pipeline": [{"$project": {"x": {"$divide": ["$n", 0]}}}], "cursor": {}},
        2, "BadValue",
    ),
    "add-a-string": (
        {"aggregate": "c", "pipeline": [{"$project": {"x": {"$add": ["$n", "$s"]}}}], "cursor": {}},
        16554, "Location16554",
    ),
    "out-not-last": (
        {"aggregate": "c", "pipeline": [{"$out": "d"}, {"$match": {}}], "cursor": {}},
        40601, "Location40601",
    ),
    "get-more-unknown": ({"getMore": Int64(77), "collection": "c"}, 43, "CursorNotFound"),
    "distinct-wrong-type": ({"distinct": "c", "key": 1}, 14, "TypeMismatch"),
    "drop-missing": ({"drop": "missing"}, 26, "NamespaceNotFound"),
    "create-twice": ({"create": "c", "capped": True, "size": 4096}, 48, "NamespaceExists"),
    "create-bad-name": ({"create": "$bad"}, 73, "InvalidNamespace"),
    "capped-without-size": ({"create": "x", "capped": True}, 72, "InvalidOptions"),
    "coll-mod-missing": ({"collMod": "missing"}, 26, "NamespaceNotFound"),
    "list-indexes-missing": ({"listIndexes": "missing"}, 26, "NamespaceNotFound"),
    "drop-index-missing": ({"dropIndexes": "c", "index": "nope"}, 27, "IndexNotFound"),
    "drop-index-id": ({"dropIndexes": "c", "index": "_id_"}, 72, "InvalidOptions"),
    "index-without-key": ({"createIndexes": "c", "indexes": [{"name": "x"}]}, 9, "FailedToParse"),
    "index-bad-direction": (
        {"createIndexes": "c", "indexes": [{"key": {"a": 0}, "name": "x"}]},
        67, "CannotCreateIndex",
    ),
    "index-other-options": (
        {"createIndexes": "c", "indexes": [{"key": {"n": 1}, "name": "n_1", "unique": True}]},
        86, "IndexKeySpecsConflict",
    ),
    "index-other-name": (
        {"createIndexes": "c", "indexes": [{"key": {"n": 1}, "name": "other"}]},
        85, "IndexOptionsConflict",
    ),
    "find-and-modify-both": (
        {"findAndModify": "c", "remove": True, "update": {"$set": {"a": 1}}}, 9, "FailedToParse",
    ),
    "find-and-modify-neither": ({"findAndModify": "c"}, 9, "FailedToParse"),
    "insert-nothing": ({"insert": "c", "documents": []}, 16, "InvalidLength"),
    "insert-into-system": (
        {"insert": "system.views", "documents": [{"_id": "x"}]}, 73, "InvalidNamespace",
    ),
    "bad-read-concern": (
        {"find": "c", "readConcern": {"level": "perfect"}}, 9, "FailedToParse",
    ),
    "rename-missing": (
        {"renameCollection": "x.missing", "to": "x.other"}, 13, "Unauthorized",
    ),
}  # fmt: skip


async def _prepare(db: Connection) -> None:
    await db.database["c"].insert_one({"_id": 1, "n": 1, "s": "text", "a": [1, 2]})
    await db.database["c"].create_index("n")


@pytest.mark.unrestricted(reason="the policy refuses before the server can")
async def test_refused_commands(db: Connection, failure_of: FailureOf) -> None:
    await _prepare(db)
    told = {}
    for name, (command, _, _) in COMMANDS.items():
        failure = await failure_of(db.database.command(dict(command)))
        told[name] = (failure.code, failure.code_name, failure.labels)
    assert told == {
        name: (code, code_name, frozenset()) for name, (_, code, code_name) in COMMANDS.items()
    }


async def test_text_search_needs_an_index(db: Connection, failure_of: FailureOf) -> None:
    await _prepare(db)
    command = {"find": "c", "filter": {"$text": {"$search": "x"}}}
    failure = await failure_of(db.database.command(command))
    assert (failure.code, failure.code_name) == (27, "IndexNotFound")


async def test_unknown_locale_is_refused(db: Connection, failure_of: FailureOf) -> None:
    await _prepare(db)
    command = {"find": "c", "collation": {"locale": "xx-nope"}}
    failure = await failure_of(db.database.command(command))
    assert (failure.code, failure.code_name) == (2, "BadValue")


UPDATES: dict[str, tuple[Any, int]] = {
    "unknown-operator": ({"$nonsense": {"a": 1}}, 9),
    "inc-text": ({"$inc": {"s": 1}}, 14),
    "inc-by-text": ({"$inc": {"n": "1"}}, 14),
    "mul-text": ({"$mul": {"s": 2}}, 14),
    "push-to-scalar": ({"$push": {"n": 1}}, 2),
    "add-to-set-scalar": ({"$addToSet": {"n": 1}}, 2),
    "pop-scalar": ({"$pop": {"n": 1}}, 14),
    "pull-scalar": ({"$pull": {"n": 1}}, 2),
    "path-through-scalar": ({"$set": {"n.x": 1}}, 28),
    "conflicting-paths": ({"$set": {"b": 1}, "$unset": {"b": ""}}, 40),
    "conflicting-parents": ({"$set": {"b": 1, "b.c": 2}}, 40),
    "change-id": ({"$set": {"_id": 2}}, 66),
    "empty-name": ({"$set": {"": 1}}, 56),
    "empty-part": ({"$set": {"a..b": 1}}, 56),
    "dollar-name": ({"$set": {"$x": 1}}, 52),
    "positional-without-match": ({"$set": {"a.$": 1}}, 2),
    "unused-filter": ({"$set": {"n": 1}}, 9),
    "rename-to-itself": ({"$rename": {"n": "n"}}, 2),
    "current-date-type": ({"$currentDate": {"d": {"$type": "year"}}}, 2),
    "bit-text": ({"$bit": {"s": {"and": 1}}}, 2),
    "pipeline-stage": ([{"$group": {"_id": 1}}], 72),
}


async def test_refused_updates_change_nothing(db: Connection, failure_of: FailureOf) -> None:
    await _prepare(db)
    collection = db.database["c"]
    told = {}
    for name, (update, _) in UPDATES.items():
        filters = [{"e.x": 1}] if name == "unused-filter" else None
        call = collection.update_one({"_id": 1}, update, array_filters=filters)
        failure = await failure_of(call)
        told[name] = (failure.type, failure.code, failure.labels)
    assert told == {name: ("WriteError", code, frozenset()) for name, (_, code) in UPDATES.items()}
    assert await collection.find_one({"_id": 1}) == {"_id": 1, "n": 1, "s": "text", "a": [1, 2]}


async def test_duplicate_key_names_index_pattern_and_value(db: Connection) -> None:
    users = db.database["users"]
    await users.create_index([("team", 1), ("mail", 1)], unique=True)
    await users.insert_one({"team": "a", "mail": "x@y"})
    with pytest.raises(DuplicateKeyError) as caught:
        await users.insert_one({"team": "a", "mail": "x@y"})
    error = caught.value
    assert error.code == 11000
    details = error.details
    assert details is not None
    assert details["keyPattern"] == {"team": 1, "mail": 1}
    assert details["keyValue"] == {"team": "a", "mail": "x@y"}
    assert details["index"] == 0
    assert f"{db.database.name}.users index: team_1_mail_1 dup key" in details["errmsg"]


async def test_duplicate_id(db: Connection) -> None:
    await db.database["c"].insert_one({"_id": "x"})
    with pytest.raises(DuplicateKeyError) as caught:
        await db.database["c"].insert_one({"_id": "x"})
    assert (caught.value.details or {})["keyPattern"] == {"_id": 1}
    assert (caught.value.details or {})["keyValue"] == {"_id": "x"}


async def test_duplicate_key_on_update_and_find_and_modify(db: Connection) -> None:
    await db.database["c"].create_index("n", unique=True)
    await db.database["c"].insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 2}])
    with pytest.raises(DuplicateKeyError) as caught:
        await db.database["c"].update_one({"_id": 2}, {"$set": {"n": 1}})
    assert (caught.value.details or {})["keyValue"] == {"n": 1}
    with pytest.raises(DuplicateKeyError) as caught:
        await db.database["c"].find_one_and_update({"_id": 2}, {"$set": {"n": 1}})
    assert caught.value.code == 11000
    assert (caught.value.details or {})["codeName"] == "DuplicateKey"


async def test_ordered_bulk_stops_at_the_first_error(db: Connection) -> None:
    with pytest.raises(BulkWriteError) as caught:
        await db.database["c"].bulk_write(
            [InsertOne({"_id": 1}), InsertOne({"_id": 2}), InsertOne({"_id": 1}),
             InsertOne({"_id": 3})]
        )  # fmt: skip
    details = caught.value.details
    assert details["nInserted"] == 2
    assert len(details["writeErrors"]) == 1
    error = details["writeErrors"][0]
    assert (error["index"], error["code"]) == (2, 11000)
    assert error["keyPattern"] == {"_id": 1}
    assert error["keyValue"] == {"_id": 1}
    assert error["op"] == {"_id": 1}
    assert await db.database["c"].distinct("_id") == [1, 2]


async def test_unordered_bulk_does_all_it_can(db: Connection) -> None:
    with pytest.raises(BulkWriteError) as caught:
        await db.database["c"].bulk_write(
            [
                InsertOne({"_id": 1}),
                InsertOne({"_id": 1}),
                UpdateOne({"_id": 1}, {"$set": {"n": 1}}),
                UpdateOne({"_id": 1}, {"$inc": {"n": "x"}}),
                ReplaceOne({"_id": 9}, {"n": 9}, upsert=True),
                DeleteOne({"_id": 404}),
            ],
            ordered=False,
        )
    details = caught.value.details
    assert sorted((e["index"], e["code"]) for e in details["writeErrors"]) == [(1, 11000), (3, 14)]
    assert (details["nInserted"], details["nModified"], details["nUpserted"]) == (1, 1, 1)
    assert details["upserted"] == [{"index": 4, "_id": 9}]
    assert await db.database["c"].find(sort=[("_id", 1)]).to_list() == [
        {"_id": 1, "n": 1},
        {"_id": 9, "n": 9},
    ]


async def test_insert_many_tells_which_failed(db: Connection) -> None:
    with pytest.raises(BulkWriteError) as caught:
        await db.database["c"].insert_many(
            [{"_id": 1}, {"_id": 2}, {"_id": 2}, {"_id": 3}], ordered=False
        )
    assert [error["index"] for error in caught.value.details["writeErrors"]] == [2]
    assert caught.value.details["nInserted"] == 3


async def test_validator_refuses_and_explains(db: Connection) -> None:
    await db.database.create_collection(
        "checked",
        validator={"$jsonSchema": {"required": ["name"], "properties": {
            "name": {"bsonType": "string"}, "age": {"bsonType": "int", "minimum": 0}}}},
    )  # fmt: skip
    checked = db.database["checked"]
    await checked.insert_one({"name": "Ada", "age": 36})
    with pytest.raises(WriteError) as caught:
        await checked.insert_one({"_id": 2, "name": "Bob", "age": -1})
    assert caught.value.code == 121
    details = caught.value.details
    assert details is not None
    assert details["errInfo"]["failingDocumentId"] == 2
    with pytest.raises(WriteError) as caught:
        await checked.update_one({"name": "Ada"}, {"$unset": {"name": ""}})
    assert caught.value.code == 121
    await checked.with_options().insert_one({"_id": 3, "age": -1}, bypass_document_validation=True)
    assert await checked.count_documents({}) == 2


async def test_creating_a_collection_twice_is_the_drivers_error(db: Connection) -> None:
    await db.database.create_collection("twice")
    with pytest.raises(CollectionInvalid):
        await db.database.create_collection("twice")


async def test_time_runs_out(db: Connection, failure_of: FailureOf) -> None:
    await db.database["c"].insert_many([{"_id": number} for number in range(300)])
    slow: list[dict[str, Any]] = [
        {"$match": {"$expr": {"$lt": [{"$reduce": {
            "input": {"$range": [0, 20_000]}, "initialValue": 0,
            "in": {"$add": ["$$value", "$$this"]}}}, 0]}}}
    ]  # fmt: skip

    async def run() -> None:
        await (await db.database["c"].aggregate(slow, maxTimeMS=5)).to_list()

    failure = await failure_of(run())
    assert failure.type == "ExecutionTimeout"
    assert (failure.code, failure.code_name) == (50, "MaxTimeMSExpired")


async def test_document_over_16_mb_is_refused_by_the_driver(db: Connection) -> None:
    with pytest.raises(DocumentTooLarge):
        await db.database["c"].insert_one({"body": "x" * 16_800_000})


async def test_what_bson_cannot_hold_is_refused_by_the_driver(db: Connection) -> None:
    with pytest.raises(InvalidDocument):
        await db.database["c"].insert_one({"value": object()})
    with pytest.raises(OverflowError):
        await db.database["c"].insert_one({"value": 2**63})
    assert await db.database["c"].count_documents({}) == 0


Operation = Callable[[Any], Awaitable[Any]]

REFUSED_CALLS: dict[str, tuple[Operation, type[OperationFailure], int]] = {
    "find": (lambda c: c.find_one({"$bad": 1}), OperationFailure, 2),
    "count": (lambda c: c.count_documents({"a": {"$bad": 1}}), OperationFailure, 2),
    "distinct": (lambda c: c.distinct("a", {"a": {"$bad": 1}}), OperationFailure, 2),
    "delete": (lambda c: c.delete_many({"a": {"$bad": 1}}), WriteError, 2),
    "update": (lambda c: c.update_many({"a": {"$bad": 1}}, {"$set": {"b": 1}}), WriteError, 2),
    "replace": (lambda c: c.replace_one({"_id": 1}, {"_id": 2}), WriteError, 66),
    "find-and-delete": (
        lambda c: c.find_one_and_delete({"a": {"$bad": 1}}), OperationFailure, 2,
    ),
    "aggregate": (lambda c: c.aggregate([{"$bad": 1}]), OperationFailure, 40324),
    "create-index": (lambda c: c.create_index([("a", "bad")]), OperationFailure, 67),
    "drop-index": (lambda c: c.drop_index("nope"), OperationFailure, 27),
    "rename": (lambda c: c.rename("c"), OperationFailure, 20),
}  # fmt: skip


@pytest.mark.unrestricted(reason="the policy refuses before the server can")
async def test_refused_calls_raise_the_drivers_exceptions(
    db: Connection, failure_of: FailureOf
) -> None:
    await _prepare(db)
    told = {}
    for name, (operation, _, _) in REFUSED_CALLS.items():
        failure = await failure_of(operation(db.database["c"]))
        told[name] = (failure.type, failure.code)
    assert told == {
        name: (error.__name__, code) for name, (_, error, code) in REFUSED_CALLS.items()
    }


@pytest.mark.unrestricted(reason="the policy refuses before the server can")
async def test_reply_is_that_of_the_reference(
    db: Connection, reference: Connection, failure_of: FailureOf, transport: str
) -> None:
    """Each refusal of the table, code, name, labels and (but for the fake) every word of it."""
    failures = []
    for connection in (db, reference):
        await _prepare(connection)
        failures.append(
            {
                name: await failure_of(connection.database.command(dict(command)))
                for name, (command, _, _) in COMMANDS.items()
            }
        )
    for name, failure in failures[0].items():
        expected = failures[1][name]
        assert failure.same_as(expected), name
        if transport != "fake":
            ours, theirs = db.database.name, reference.database.name
            assert failure.message == expected.message.replace(theirs, ours), name
