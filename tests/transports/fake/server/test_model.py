"""Random writes, inside transactions and outside, against a model of plain dictionaries."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from bson import Binary, Int64
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.fake.server import FakeServer

Document = dict[str, Any]

WRITES = st.one_of(
    st.tuples(st.just("insert"), st.integers(0, 5), st.integers(0, 3)),
    st.tuples(st.just("update"), st.integers(0, 5), st.integers(0, 3)),
    st.tuples(st.just("delete"), st.integers(0, 5), st.just(0)),
)
STEPS = st.lists(
    st.one_of(
        WRITES, st.just(("start", 0, 0)), st.just(("commit", 0, 0)), st.just(("abort", 0, 0))
    ),
    max_size=30,
)


def command_of(kind: str, id_: int, x: int) -> Document:
    if kind == "insert":
        return {"insert": "a", "documents": [{"_id": id_, "x": x, "u": x if x else None}]}
    if kind == "update":
        return {"update": "a", "updates": [{"q": {"_id": id_}, "u": {"$set": {"x": x, "u": x}}}]}
    return {"delete": "a", "deletes": [{"q": {"_id": id_}, "limit": 1}]}


def applied(state: dict[int, Document], kind: str, id_: int, x: int) -> bool:
    """Apply a write to the model; tell whether it was refused."""
    taken = {document["u"] for key, document in state.items() if key != id_}
    if kind == "insert":
        u = x if x else None
        if id_ in state or u in taken:
            return True
        state[id_] = {"_id": id_, "x": x, "u": u}
    elif kind == "update" and id_ in state:
        if x in taken:
            return True
        state[id_] = {**state[id_], "x": x, "u": x}
    elif kind == "delete":
        state.pop(id_, None)
    return False


async def play(steps: list[tuple[str, int, int]]) -> None:
    server = FakeServer()
    unique = {"key": {"u": 1}, "name": "u_1", "unique": True}
    plain = {"key": {"x": 1}, "name": "x_1"}
    await server.run({"createIndexes": "a", "indexes": [unique, plain], "$db": "t"})
    committed: dict[int, Document] = {}
    working: dict[int, Document] | None = None
    lsid, number, fresh = {"id": Binary.from_uuid(uuid.uuid4())}, 0, False
    for kind, id_, x in steps:
        fields: Document = {"lsid": lsid, "txnNumber": Int64(number), "autocommit": False}
        if kind == "start":
            if working is None:
                number, working, fresh = number + 1, dict(committed), True
        elif kind in ("commit", "abort"):
            if working is not None and not fresh:
                await server.run({f"{kind}Transaction": 1, **fields, "$db": "admin"})
                committed = working if kind == "commit" else committed
            working = None
        else:
            command = {**command_of(kind, id_, x), "$db": "t"}
            if working is not None:
                command |= fields | ({"startTransaction": True} if fresh else {})
                fresh = False
            reply = await server.run(command)
            assert reply["ok"] == 1.0, reply
            refused = applied(committed if working is None else working, kind, id_, x)
            assert ("writeErrors" in reply) == refused, reply
            if refused and working is not None:
                working = None  # any failure ends a transaction
    if working is not None and not fresh:
        fields = {"lsid": lsid, "txnNumber": Int64(number), "autocommit": False}
        await server.run({"abortTransaction": 1, **fields, "$db": "admin"})
    await check(server, committed)


async def check(server: FakeServer, expected: dict[int, Document]) -> None:
    """Check that scans and both indexes agree with the model."""
    found = await server.run({"find": "a", "$db": "t"})
    stored = {d["_id"]: d for d in found["cursor"]["firstBatch"]}
    assert stored == expected
    for x in range(4):
        for field in ("x", "u"):
            reply = await server.run({"find": "a", "filter": {field: x}, "$db": "t"})
            ids = sorted(d["_id"] for d in reply["cursor"]["firstBatch"])
            assert ids == sorted(key for key, d in expected.items() if d[field] == x)
    reply = await server.run({"find": "a", "filter": {"x": {"$gte": 0}}, "$db": "t"})
    assert [d["x"] for d in reply["cursor"]["firstBatch"]] == sorted(
        d["x"] for d in expected.values()
    )
    collection = server.store.find("t", "a")
    assert collection is not None
    assert (collection.locks, collection.overlays, collection.undo) == ({}, [], [])


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_writes_agree_with_a_model(steps: list[tuple[str, int, int]]) -> None:
    asyncio.run(play(steps))
