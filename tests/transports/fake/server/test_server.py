from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import bson
import pytest
from bson import Binary, DatetimeMS, Int64

from transports.endpoint.backend import Request
from transports.fake.backend import FakeBackend
from transports.fake.commands.registry import COMMANDS
from transports.fake.indexes import Index
from transports.fake.operation import Operation
from transports.fake.server import FakeServer
from transports.fake.wire import CODEC, MAX_REPLY_BYTES, decode_message, encode_message

Document = dict[str, Any]
Run = Callable[..., Awaitable[Document]]


async def test_failure_is_a_reply(run: Run) -> None:
    reply = await run({"nonsense": 1}, fails=59)
    assert list(reply)[:4] == ["ok", "errmsg", "code", "codeName"]
    assert reply["$clusterTime"]["clusterTime"] == reply["operationTime"]


async def test_an_exception_inside_the_fake_is_a_reply_and_a_line_of_the_log(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(operation: Operation) -> Document:
        raise ZeroDivisionError("of something")

    monkeypatch.setitem(COMMANDS, "ping", replace(COMMANDS["ping"], handler=fail))
    reply = await run({"ping": 1}, fails=1)
    assert reply["codeName"] == "InternalError"
    assert reply["errmsg"] == "A defect of the fake, in ping: ZeroDivisionError: of something"
    assert [line.levelname for line in caplog.records] == ["ERROR"]
    assert (await run({"hello": 1}))["ok"] == 1.0


async def test_a_result_that_bson_has_no_room_for_is_a_reply(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ping = replace(COMMANDS["ping"], handler=lambda operation: {"n": 2**64})
    monkeypatch.setitem(COMMANDS, "ping", ping)
    reply = bson.decode(await server.run_encoded({"ping": 1, "$db": "t"}))
    assert (reply["ok"], reply["codeName"]) == (0.0, "InternalError")
    assert reply["errmsg"].startswith("A defect of the fake, in ping: OverflowError")


async def test_backend_describes_one_primary(server: FakeServer) -> None:
    (member,) = (await FakeBackend(server).describe()).members
    assert member.hello["isWritablePrimary"] is True
    assert member.hello["hosts"] == [member.address]
    assert member.hello["maxWireVersion"] == 17


async def test_backend_answers_nothing_to_an_unacknowledged_write(server: FakeServer) -> None:
    message = encode_message({"insert": "a", "documents": [{"_id": 1}], "$db": "t"})
    request = Request(server="", message=message, name="insert", database="t", acknowledged=False)
    assert await FakeBackend(server).run(request) == b""
    found = server.store.find("t", "a")
    assert found is not None
    assert list(found.records.values()) == [{"_id": 1}]


async def test_bytes_that_are_no_message_are_refused(server: FakeServer) -> None:
    request = Request(server="", message=b"\0\0\0\0\0abc", name="ping", database="t")
    reply = bson.decode(await FakeBackend(server).run(request))
    assert (reply["ok"], reply["code"]) == (0.0, 22)


def test_document_sequences_become_fields() -> None:
    body = bson.encode({"insert": "a", "$db": "t"})
    documents = bson.encode({"_id": 1}) + bson.encode({"_id": 2})
    name = b"documents\0"
    size = (4 + len(name) + len(documents)).to_bytes(4, "little")
    message = b"\0\0\0\0" + b"\1" + size + name + documents + b"\0" + body
    assert decode_message(message) == {
        "insert": "a",
        "$db": "t",
        "documents": [{"_id": 1}, {"_id": 2}],
    }


async def test_reply_is_never_longer_than_it_may_be(server: FakeServer) -> None:
    big = "x" * 6_000_000
    for number in range(4):
        await server.run({"insert": "a", "documents": [{"_id": number, "s": big}], "$db": "t"})
    encoded = await server.run_encoded({"find": "a", "$db": "t"})
    assert len(encoded) <= MAX_REPLY_BYTES
    reply = bson.decode(encoded, CODEC)
    assert [document["_id"] for document in reply["cursor"]["firstBatch"]] == [0, 1]
    rest = await server.run_encoded(
        {"getMore": reply["cursor"]["id"], "collection": "a", "$db": "t"}
    )
    assert [d["_id"] for d in bson.decode(rest)["cursor"]["nextBatch"]] == [2, 3]


async def test_get_more_without_a_size_gives_thousands(run: Run) -> None:
    await run({"insert": "a", "documents": [{"_id": number} for number in range(5000)]})
    reply = await run({"find": "a"})
    assert len(reply["cursor"]["firstBatch"]) == 101
    reply = await run({"getMore": reply["cursor"]["id"], "collection": "a"})
    assert (len(reply["cursor"]["nextBatch"]), reply["cursor"]["id"]) == (4899, 0)


async def test_idle_cursor_is_forgotten(run: Run, clock: list[int]) -> None:
    await run({"insert": "a", "documents": [{"_id": 1}, {"_id": 2}]})
    idle = (await run({"find": "a", "batchSize": 1}))["cursor"]["id"]
    kept = (await run({"find": "a", "batchSize": 1, "noCursorTimeout": True}))["cursor"]["id"]
    clock[0] += 600_001
    await run({"getMore": idle, "collection": "a"}, fails=43)
    await run({"getMore": kept, "collection": "a"})


async def test_expired_documents_go_when_the_clock_moves(run: Run, clock: list[int]) -> None:
    index = {"key": {"at": 1}, "name": "at_1", "expireAfterSeconds": 100}
    await run({"createIndexes": "a", "indexes": [index]})
    now = clock[0]
    await run(
        {
            "insert": "a",
            "documents": [
                {"_id": 1, "at": DatetimeMS(now)},
                {"_id": 2, "at": DatetimeMS(now + 300_000)},
                {"_id": 3, "at": "never"},
                {"_id": 4, "at": [DatetimeMS(now + 900_000), DatetimeMS(now)]},
                {"_id": 5},
            ],
        }
    )
    clock[0] += 101_000
    reply = await run({"find": "a"})
    assert [d["_id"] for d in reply["cursor"]["firstBatch"]] == [2, 3, 5]


async def test_retried_statement_is_answered_and_not_run_again(run: Run) -> None:
    session = {"lsid": {"id": Binary.from_uuid(uuid.uuid4())}, "txnNumber": Int64(1)}
    update = {
        "update": "a",
        "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}, "upsert": True}],
        **session,
    }
    first = await run(update)
    again = await run(update)
    assert again["retriedStmtIds"] == [0]
    assert again["upserted"] == first["upserted"]
    assert (await run({"find": "a"}))["cursor"]["firstBatch"] == [{"_id": 1, "n": 1}]


async def test_time_limit_ends_a_long_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    await run({"insert": "a", "documents": [{"_id": 1}, {"_id": 2}]})
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    await run({"find": "a", "maxTimeMS": 1500}, fails=50)
    await run({"find": "a", "maxTimeMS": 5000})


@pytest.mark.parametrize(
    ("spec", "document", "values"),
    [
        ({"a": 1}, {"a": 5}, [(5,)]),
        ({"a": 1}, {"a": [1, 2, 1.0]}, [(1,), (2,)]),
        ({"a.b": 1}, {"a": [{"b": 1}, {"b": [2, 3]}, 4]}, [(1,), (2,), (3,), (None,)]),
        ({"a.0": 1}, {"a": [7, 8]}, [(7,)]),
        ({"a": 1, "b": -1}, {"a": [1, 2], "b": 3}, [(1, 3), (2, 3)]),
        ({"a.x": 1, "a.y": 1}, {"a": [{"x": 1, "y": 2}, {"x": 3}]}, [(1, 2), (3, None)]),
    ],
)
def test_keys_of_a_document(spec: Document, document: Document, values: list[Any]) -> None:
    index = Index({"v": 2, "key": spec, "name": "i"})
    found = [key for _, key in index.keys(document)]
    shown = [tuple(None if type(v).__name__ == "Missing" else v for v in key) for key in found]
    assert shown == values


def test_sparse_and_partial_indexes_leave_documents_out() -> None:
    sparse = Index({"v": 2, "key": {"a": 1}, "name": "i", "sparse": True})
    assert sparse.keys({"b": 1}) == []
    assert sparse.keys({"a": None})
    partial = Index(
        {"v": 2, "key": {"a": 1}, "name": "i", "partialFilterExpression": {"a": {"$gt": 5}}}
    )
    assert partial.keys({"a": 5}) == []
    assert partial.keys({"a": 6})


async def test_equality_on_an_index_looks_at_its_records_only(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run({"insert": "a", "documents": [{"_id": n, "x": n % 10} for n in range(100)]})
    await run({"createIndexes": "a", "indexes": [{"key": {"x": 1}, "name": "x_1"}]})
    collection = server.store.find("t", "a")
    assert collection is not None
    monkeypatch.setattr(type(collection), "scan", lambda self: pytest.fail("it scans"))
    reply = await run({"find": "a", "filter": {"x": 3}})
    assert [d["_id"] for d in reply["cursor"]["firstBatch"]] == list(range(3, 100, 10))
    reply = await run({"find": "a", "filter": {"_id": {"$in": [5, 2]}}})
    assert [d["_id"] for d in reply["cursor"]["firstBatch"]] == [2, 5]
    assert (await run({"count": "a", "query": {"_id": 7}}))["n"] == 1
