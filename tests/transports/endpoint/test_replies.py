"""What is read in a server's reply."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Int64, Timestamp

from transports.endpoint.elements import MalformedDocument
from transports.endpoint.replies import ReplyFacts, cursor_id, read_reply


def facts(reply: dict[str, Any]) -> ReplyFacts:
    return read_reply(bson.encode(reply))


@pytest.mark.parametrize(
    "reply",
    [
        {"ok": 0.0, "errmsg": "not primary", "code": 10107},
        {"ok": 0.0, "code": Int64(11600)},
        {"ok": 0.0, "code": 189.0},
        {"n": 1, "writeConcernError": {"code": 91, "errmsg": "shutdown"}, "ok": 1.0},
    ],
)
def test_a_change_of_state_is_noticed(reply: dict[str, Any]) -> None:
    assert facts(reply).state_changed


@pytest.mark.parametrize(
    "reply",
    [
        {"ok": 1.0},
        {"ok": 0.0, "code": 11000},
        {"ok": 0.0, "code": "10107"},
        {"n": 1, "writeConcernError": {"code": 64}, "ok": 1.0},
        {"n": 1, "writeConcernError": "?", "ok": 1.0},
        {"cursor": {"firstBatch": [{"code": 10107}], "code": 10107}, "ok": 1.0},
    ],
)
def test_other_replies_are_no_change_of_state(reply: dict[str, Any]) -> None:
    assert not facts(reply).state_changed


def test_times_are_found() -> None:
    cluster_time = {"clusterTime": Timestamp(5, 6), "signature": {"keyId": Int64(0)}}
    reply = bson.encode({"ok": 1.0, "$clusterTime": cluster_time, "operationTime": Timestamp(5, 4)})
    found = read_reply(reply)
    assert found.cluster_time == (5 << 32) + 6
    assert found.operation_time == (5 << 32) + 4
    assert found.cluster_time_document is not None
    start, end = found.cluster_time_document
    assert bson.decode(reply[start:end]) == cluster_time


def test_times_of_other_types_are_none() -> None:
    assert facts({"$clusterTime": 5, "operationTime": 5}) == ReplyFacts()
    assert facts({"$clusterTime": {"clusterTime": 5}}) == ReplyFacts()
    assert facts({"$clusterTime": {}}) == ReplyFacts()


def test_what_is_no_document_is_told() -> None:
    with pytest.raises(MalformedDocument):
        read_reply(b"")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"cursor": {"firstBatch": [], "id": Int64(2**40), "ns": "a.b"}, "ok": 1.0}, 2**40),
        ({"cursor": {"nextBatch": [{"id": 5}], "id": Int64(0)}, "ok": 1.0}, 0),
        ({"cursor": {"id": 7}}, 7),
        ({"cursor": {"id": "x"}}, 0),
        ({"cursor": {}}, 0),
        ({"cursor": 5}, 0),
        ({"ok": 0.0, "code": 43}, 0),
    ],
)
def test_the_cursor_is_found(reply: dict[str, Any], expected: int) -> None:
    assert cursor_id(bson.encode(reply)) == expected


def test_garbage_has_no_cursor() -> None:
    assert cursor_id(b"garbage") == 0
