from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Int64
from bson.binary import Binary

from transports.endpoint.backend import Request
from transports.lambda_invoke import sharing
from transports.lambda_invoke.sharing import (
    Loners,
    Shareable,
    bounded,
    kill_cursor,
    shape_of,
    shareable,
    was_cut_short,
    without_denial,
)

LSID = {"id": Binary(bytes(16), 4)}


def request(command: dict[str, Any], *, acknowledged: bool = True, tail: bytes = b"") -> Request:
    body = bson.encode({**command, "$db": "cms"})
    return Request(
        server="h:1",
        message=bytes(5) + body + tail,
        name=next(iter(command)),
        database="cms",
        acknowledged=acknowledged,
    )


@pytest.mark.parametrize(
    "command",
    [
        {"find": "pages", "filter": {"_id": 1}, "limit": 1, "singleBatch": True, "lsid": LSID},
        {"find": "pages"},
        {"count": "pages", "query": {}},
        {"distinct": "pages", "key": "slug"},
        {"aggregate": "pages", "pipeline": [{"$match": {}}, {"$group": {"_id": 1}}], "cursor": {}},
        {"aggregate": "pages", "pipeline": [], "cursor": {}},
        {"insert": "pages", "documents": [{}], "lsid": LSID, "txnNumber": Int64(1)},
        {"update": "pages", "updates": [], "lsid": LSID, "txnNumber": Int64(1)},
        {"delete": "pages", "deletes": [], "lsid": LSID, "txnNumber": Int64(1)},
        {"findAndModify": "pages", "query": {}, "lsid": LSID, "txnNumber": Int64(1)},
    ],
)
def test_what_may_be_repeated_may_share_an_invoke(command: dict[str, Any]) -> None:
    assert shareable(request(command)) is not None


@pytest.mark.parametrize(
    "command",
    [
        {"insert": "pages", "documents": [{}], "lsid": LSID},
        {"update": "pages", "updates": [{"multi": True}], "lsid": LSID},
        {"find": "pages", "lsid": LSID, "txnNumber": Int64(1), "autocommit": False},
        {"insert": "p", "lsid": LSID, "txnNumber": Int64(1), "autocommit": False},
        {"find": "pages", "tailable": True, "awaitData": True},
        {"getMore": Int64(1), "collection": "pages"},
        {"aggregate": "pages", "pipeline": [{"$match": {}}, {"$out": "x"}], "cursor": {}},
        {"aggregate": "pages", "pipeline": [{"$merge": {"into": "x"}}], "cursor": {}},
        {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}},
        {"aggregate": "pages", "pipeline": [], "explain": True},
        {"aggregate": "pages"},
        {"commitTransaction": 1, "lsid": LSID, "txnNumber": Int64(1), "autocommit": False},
        {"createIndexes": "pages", "indexes": []},
        {"ping": 1},
        {"find": "x" * 70_000},
        {"find": "pages", "maxTimeMS": -1},
        {"find": "pages", "maxTimeMS": 60.5},
        {"find": "pages", "maxTimeMS": "1"},
        {"find": "pages", "maxTimeMS": float("nan")},
        {"find": "pages", "maxTimeMS": float("inf")},
        {"find": "pages", "maxTimeMS": 2**31},
    ],
)
def test_what_may_not_be_repeated_goes_alone(command: dict[str, Any]) -> None:
    assert shareable(request(command)) is None


def test_a_write_that_asks_for_no_answer_goes_alone() -> None:
    command = {"insert": "pages", "documents": [{}], "lsid": LSID, "txnNumber": Int64(1)}
    assert shareable(request(command, acknowledged=False)) is None


@pytest.mark.parametrize("message", [b"", bytes(9), bytes(5) + b"\xff" * 30, b"\x01" + bytes(40)])
def test_what_cannot_be_read_goes_alone(message: bytes) -> None:
    odd = Request(server="h:1", message=message, name="find", database="cms")
    assert shareable(odd) is None


def test_an_empty_stage_is_the_servers_to_refuse() -> None:
    odd = request({"aggregate": "pages", "pipeline": [{}], "cursor": {}})
    assert shareable(odd) is not None


def decoded(message: bytes) -> dict[str, Any]:
    end = 5 + int.from_bytes(message[5:9], "little")
    return bson.decode(message[5:end])


def test_a_bound_is_added_before_what_follows_section_zero() -> None:
    sequence = b"\x01" + (26).to_bytes(4, "little") + b"documents\x00" + bson.encode({"a": 1})
    command = {"insert": "pages", "lsid": LSID, "txnNumber": Int64(1)}
    shared = shareable(request(command, tail=sequence))
    assert shared is not None
    message = bounded(shared, 50)
    assert message is not None
    assert decoded(message) == {**command, "$db": "cms", "maxTimeMS": 50}
    assert message.endswith(sequence)
    assert message[:5] == bytes(5)


@pytest.mark.parametrize("own", [51, 10_000, Int64(60), 75.0, 0])
def test_a_longer_limit_is_lowered(own: float) -> None:
    shared = shareable(request({"find": "pages", "maxTimeMS": own, "filter": {"a": 1}}))
    assert shared is not None
    message = bounded(shared, 50)
    assert message is not None
    assert decoded(message) == {"find": "pages", "filter": {"a": 1}, "$db": "cms", "maxTimeMS": 50}


@pytest.mark.parametrize("own", [1, 50, Int64(7)])
def test_a_limit_of_its_own_that_is_shorter_stays(own: int) -> None:
    shared = shareable(request({"find": "pages", "maxTimeMS": own}))
    assert shared is not None
    assert bounded(shared, 50) is None


@pytest.mark.parametrize(
    ("reply", "cut"),
    [
        ({"ok": 1.0, "n": 1}, False),
        ({"ok": 0.0, "code": 50, "codeName": "MaxTimeMSExpired", "errmsg": ""}, True),
        ({"ok": 0.0, "code": 11601}, False),
        ({"ok": 1.0, "n": 1, "writeConcernError": {"code": 50, "errmsg": ""}}, True),
        ({"ok": 1.0, "n": 0, "writeErrors": [{"index": 0, "code": 50}]}, True),
        ({"ok": 1.0, "writeErrors": [{"index": 0, "code": 11000}]}, False),
        ({"ok": 1.0, "cursor": {"id": 0, "firstBatch": [{"code": 50}]}}, False),
    ],
)
def test_a_reply_tells_whether_its_command_was_cut_short(reply: dict[str, Any], cut: bool) -> None:
    assert was_cut_short(bson.encode(reply)) is cut


def test_a_repetitions_reply_does_not_say_that_nothing_was_written() -> None:
    refusal = {"ok": 0.0, "code": 10107, "errorLabels": ["RetryableWriteError"], "x": {"a": b"\0"}}
    denied = {**refusal, "errorLabels": ["RetryableWriteError", "NoWritesPerformed"]}
    assert bson.decode(without_denial(bson.encode(denied))) == refusal
    for reply in (refusal, {"ok": 1.0, "value": "NoWritesPerformed"}):
        assert without_denial(bson.encode(reply)) == bson.encode(reply)
    assert without_denial(b"NoWritesPerformed") == b"NoWritesPerformed"


def test_a_cursor_that_stays_open_is_closed_where_it_is() -> None:
    find = request({"find": "a.b"})
    reply = {"ok": 1.0, "cursor": {"id": Int64(42), "ns": "cms.a.b", "firstBatch": []}}
    kill = kill_cursor(find, bson.encode(reply))
    assert kill is not None
    assert (kill.server, kill.name, kill.database) == ("h:1", "killCursors", "cms")
    assert decoded(kill.message) == {"killCursors": "a.b", "cursors": [42], "$db": "cms"}


@pytest.mark.parametrize(
    "reply", [{"ok": 1.0}, {"cursor": {"id": Int64(0), "ns": "cms.a"}}, {"cursor": {"id": 7}}]
)
def test_no_cursor_is_closed_where_none_is_open(reply: dict[str, Any]) -> None:
    assert kill_cursor(request({"find": "a"}), bson.encode(reply)) is None


def test_no_cursor_is_closed_where_its_name_cannot_be_read() -> None:
    reply = bson.encode({"cursor": {"id": Int64(7), "ns": "cms.a"}})
    broken = reply.replace(b"\x02ns\x00", b"\x7bns\x00")
    assert kill_cursor(request({"find": "a"}), broken) is None


def test_a_shape_is_what_is_looked_for_and_not_the_values() -> None:
    def shape(command: dict[str, Any]) -> sharing.Shape:
        shared = shareable(request(command))
        assert shared is not None
        return shape_of(shared)

    by_slug = shape({"find": "pages", "filter": {"slug": "a"}})
    assert by_slug == shape({"find": "pages", "filter": {"slug": "b"}, "lsid": LSID})
    assert by_slug != shape({"find": "pages", "filter": {"title": "a"}})
    assert by_slug != shape({"find": "users", "filter": {"slug": "a"}})
    assert by_slug != shape({"find": "pages", "filter": {"slug": "a"}, "limit": 1})
    assert by_slug != shape({"find": "pages", "filter": {"slug": "a"}, "sort": {"at": 1}})
    match = {"aggregate": "pages", "cursor": {}, "pipeline": [{"$match": {"a": 1}}]}
    group = {"aggregate": "pages", "cursor": {}, "pipeline": [{"$group": {"_id": 1}}]}
    assert shape(match) != shape(group)


def shared(command: dict[str, Any]) -> Shareable:
    found = shareable(request(command))
    assert found is not None
    return found


def test_a_loner_is_remembered_for_a_while() -> None:
    now = 0.0
    loners = Loners(clock=lambda: now)
    slow = shared({"find": "pages", "filter": {"slug": "a"}})
    like = shared({"find": "pages", "filter": {"slug": "z"}})
    other = shared({"find": "pages", "filter": {"_id": 1}})
    assert slow not in loners
    loners.add(slow)
    assert like in loners
    assert other not in loners
    now = sharing.LONER_S + 1
    assert like not in loners


def test_loners_are_bounded() -> None:
    loners = Loners()
    commands = [shared({"find": f"c{i}"}) for i in range(sharing.MAX_LONERS + 1)]
    for command in commands:
        loners.add(command)
    assert commands[0] not in loners
    assert commands[-1] in loners
