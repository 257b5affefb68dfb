"""The limits of 16 MiB, and of 16 KiB more for documents on their way, as mongod 6.0.5 has them."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import Any

import bson
import pytest

from transports.endpoint.backend import Request
from transports.fake.backend import FakeBackend
from transports.fake.server import FakeServer
from transports.fake.wire import CODEC

Document = dict[str, Any]
Send = Callable[..., Awaitable[Document]]
Outcome = tuple[int, str]

MAX = 16_777_216
NINE = 9 << 20
LONG = "y" * NINE
INSERTED = "object to insert too large. size in bytes: {}, max size: 16777216"
UPDATED = "Resulting document after update is larger than 16777216"
UPSERTED = "Document to upsert is larger than 16777216"
BUILT = (
    "BSONObj size: {} (0x{:X}) is invalid. Size must be between 0 and 16793600(16MB) "
    "First element: {}"
)
AGGREGATION = "PlanExecutor error during aggregation :: caused by :: "


def sized(size: int, **fields: Any) -> Document:
    """Return a document of so many bytes, with a long string ``s``."""
    return {**fields, "s": "x" * (size - len(bson.encode({**fields, "s": ""})))}


def built(size: int, first: str = "_id: 1") -> Outcome:
    """Return the failure of a document that nothing can hold."""
    return 10334, BUILT.format(size, size, first)


def first_error(reply: Document) -> Outcome:
    """Return code and message of the only write error, or of the command's failure."""
    if not reply["ok"]:
        return reply["code"], reply["errmsg"]
    (error,) = reply["writeErrors"]
    return error["code"], error["errmsg"]


@pytest.fixture
def send(server: FakeServer) -> Send:
    """Send a command with document sequences to a fake, as a driver does."""

    async def run(command: Document, **sequences: list[Document]) -> Document:
        message = b"\0\0\0\0\0" + bson.encode({**command, "$db": "t"}, codec_options=CODEC)
        for name, documents in sequences.items():
            content = name.encode() + b"\0" + b"".join(bson.encode(d) for d in documents)
            message += b"\1" + struct.pack("<i", len(content) + 4) + content
        name = next(iter(command))
        request = Request(server="", message=message, name=name, database="t")
        return bson.decode(await FakeBackend(server).run(request), CODEC)

    return run


async def ids(send: Send) -> list[Any]:
    found = await send({"find": "c", "projection": {"_id": 1}})
    return [document["_id"] for document in found["cursor"]["firstBatch"]]


@pytest.mark.parametrize("ordered", [True, False])
async def test_insert_refuses_each_document_over_the_limit(send: Send, ordered: bool) -> None:
    documents = [sized(MAX, _id=1), sized(MAX + 1, _id=[2]), {"_id": 3}]
    reply = await send({"insert": "c", "ordered": ordered}, documents=documents)
    assert first_error(reply) == (2, INSERTED.format(MAX + 1))
    assert reply["writeErrors"][0]["index"] == 1
    assert await ids(send) == ([1] if ordered else [1, 3])


async def test_generated_id_does_not_count(send: Send) -> None:
    assert (await send({"insert": "c"}, documents=[sized(MAX)]))["n"] == 1


async def test_insert_refuses_documents_in_the_body_too(send: Send) -> None:
    reply = await send({"insert": "c", "documents": [{"_id": 1}, sized(MAX + 1, _id=2)]})
    assert first_error(reply) == (2, INSERTED.format(MAX + 1))
    assert reply["n"] == 1


async def test_insert_of_a_document_that_nothing_can_hold_fails_whole(send: Send) -> None:
    documents = [{"_id": 1}, sized(18 << 20, a="q" * 160)]
    reply = await send({"insert": "c", "ordered": False}, documents=documents)
    assert first_error(reply) == built(18 << 20, f'a: "{"q" * 150}..."')
    assert await ids(send) == []


async def test_body_that_nothing_can_hold_is_refused(send: Send) -> None:
    reply = await send({"insert": "c", "documents": [sized(NINE), sized(NINE)]})
    assert (reply["code"], reply["errmsg"][-27:]) == (10334, 'First element: insert: "c"'.rjust(27))


@pytest.mark.parametrize(
    ("update", "failure"),
    [
        ({"$set": {"t": "y" * (MAX - NINE - 8)}}, None),
        ({"$set": {"t": "y" * (MAX - NINE - 7)}}, (17419, UPDATED)),
        ([{"$set": {"t": "y" * (MAX - NINE - 7)}}], (17419, UPDATED)),
        ({"$set": {"t": "y" * (MAX + 16_384 - NINE - 8)}}, (17419, UPDATED)),
        ({"$set": {"t": "y" * (MAX + 16_384 - NINE - 7)}}, built(16_793_601)),
        ({"$set": {"t": LONG}}, built(18_874_376)),
        ({"$push": {"t": LONG}}, built(18_874_384)),
        ([{"$set": {"t": "$s"}}], built(18_874_354)),
        (sized(MAX - 9), None),
        (sized(MAX - 8), (17419, UPDATED)),
        (sized(MAX + 1, _id=1), (17419, UPDATED)),
    ],
)
async def test_update_refuses_what_becomes_too_long(
    send: Send, update: Any, failure: Outcome | None
) -> None:
    await send({"insert": "c"}, documents=[sized(NINE, _id=1), {"_id": 2}])
    statements = [{"q": {"_id": 1}, "u": update}, {"q": {"_id": 2}, "u": {"$set": {"a": 1}}}]
    reply = await send({"update": "c", "ordered": False}, updates=statements)
    if failure is None:
        assert reply["nModified"] == 2
    else:
        assert (first_error(reply), reply["nModified"]) == (failure, 1)


async def test_update_of_many_elements_counts_what_it_repeats(send: Send) -> None:
    await send({"insert": "c"}, documents=[{"_id": 1, "a": [{"x": 1}] * 20}])
    update = {"q": {}, "u": {"$set": {"a.$[].x": "q" * (1 << 20)}}}
    assert first_error(await send({"update": "c"}, updates=[update]))[0] == 10334


@pytest.mark.parametrize(
    ("update", "failure"),
    [
        (sized(MAX), (17420, UPSERTED)),
        (sized(MAX + 1, _id=1), (17420, UPSERTED)),
        ([{"$set": {"s": LONG}}, {"$set": {"t": "$s"}}], built(18_874_398)),
    ],
)
async def test_upsert_refuses_what_is_too_long(send: Send, update: Any, failure: Outcome) -> None:
    statement = {"q": {"_id": 1}, "u": update, "upsert": True}
    assert first_error(await send({"update": "c"}, updates=[statement])) == failure
    assert await ids(send) == []


async def test_find_and_modify_refuses_what_becomes_too_long(send: Send) -> None:
    await send({"insert": "c"}, documents=[sized(NINE, _id=1)])
    command = {"findAndModify": "c", "query": {"_id": 1}, "update": {"$set": {"t": LONG}}}
    code, message = built(18_874_376)
    prefix = "Plan executor error during findAndModify :: caused by :: "
    assert first_error(await send(command)) == (code, prefix + message)


@pytest.mark.parametrize(
    ("stage", "failure"),
    [
        ({"$out": "o"}, (2, INSERTED.format(MAX + 1))),
        ({"$merge": {"into": "o"}}, (17420, UPSERTED)),
        ({"$merge": {"into": "c", "whenMatched": "replace"}}, (17419, UPDATED)),
    ],
)
async def test_stages_that_write_refuse_documents_over_the_limit(
    send: Send, stage: Document, failure: Outcome
) -> None:
    await send({"insert": "c"}, documents=[sized(NINE, _id=1)])
    for length, expected in [(MAX + 1 - NINE - 8, failure), (NINE - 22, built(18_874_354))]:
        pipeline = [{"$set": {"t": {"$substrBytes": ["$s", 0, length]}}}, stage]
        reply = await send({"aggregate": "c", "pipeline": pipeline, "cursor": {}})
        assert first_error(reply) == (expected[0], AGGREGATION + expected[1])
    collections = await send({"listCollections": 1})
    assert [c["name"] for c in collections["cursor"]["firstBatch"]] == ["c"]


async def test_result_over_the_limit_fails_the_command_that_would_carry_it(send: Send) -> None:
    await send({"insert": "c"}, documents=[{"_id": 1}, sized(NINE, _id=2)])
    _, message = built(18_874_354, "_id: 2")
    pipeline: list[Document] = [{"$set": {"t": "$s"}}]
    reply = await send({"aggregate": "c", "pipeline": pipeline, "cursor": {}})
    assert first_error(reply) == (10334, AGGREGATION + message)
    reply = await send({"find": "c", "projection": {"s": 1, "t": "$s"}, "batchSize": 1})
    more = {"getMore": reply["cursor"]["id"], "collection": "c"}
    prefix = "Executor error during getMore :: caused by :: "
    assert first_error(await send(more)) == (10334, prefix + message)
    assert (await send(more))["code"] == 43
    pipeline.append({"$project": {"n": {"$strLenBytes": {"$ifNull": ["$t", ""]}}}})
    reply = await send({"aggregate": "c", "pipeline": pipeline, "cursor": {}})
    assert [document["n"] for document in reply["cursor"]["firstBatch"]] == [0, NINE - 22]


@pytest.mark.parametrize(("length", "code"), [(MAX - 4143, None), (MAX - 4142, 17217)])
async def test_distinct_refuses_more_than_a_reply_holds(
    send: Send, length: int, code: int | None
) -> None:
    await send({"insert": "c"}, documents=[{"_id": 1, "s": "x" * length}])
    assert (await send({"distinct": "c", "key": "s"})).get("code") == code


async def test_string_of_an_expression_stays_below_the_limit(send: Send) -> None:
    await send({"insert": "c"}, documents=[{"_id": 1, "s": "x" * (MAX // 2)}])
    for rest, code in [({"$substrBytes": ["$s", 0, MAX // 2 - 1]}, None), ("$s", 16493)]:
        pipeline = [{"$project": {"n": {"$strLenBytes": {"$concat": ["$s", rest]}}}}]
        reply = await send({"aggregate": "c", "pipeline": pipeline, "cursor": {}})
        assert reply.get("code") == code
