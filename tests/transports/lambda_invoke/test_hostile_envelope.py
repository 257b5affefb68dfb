"""Envelopes that nobody should send, read by both sides: one clean error, and little memory."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.lambda_invoke.bodies import MAX_BODY_BYTES, BodyError, decompress, join
from transports.lambda_invoke.envelope import (
    MAX_MEMBERS,
    MAX_PAYLOAD_BYTES,
    MAX_TEXT_CHARS,
    CancelItem,
    CommandItem,
    EnvelopeError,
    FailureResult,
    decode_request,
    decode_response,
)

FUNCTION = {
    "release": "0.1.0",
    "environment": "e1",
    "cold_start": False,
    "init_ms": 1.0,
    "duration_ms": 1.0,
    "timeout_ms": 3000,
}
ITEM = {"kind": "command", "server": "h:1", "message": "A" * 16, "ack": True}
CANCEL = {"kind": "cancel", "server": "h:1", "lsid": "AAAA", "started_ms": 1}
FAILURE = {"code": 6, "code_name": "HostUnreachable", "message": "…", "ran": "no"}


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


ODD: list[Any] = [
    None,
    True,
    -1,
    2**31,
    10**400,
    -(10**400),
    float("nan"),
    float("inf"),
    1e300,
    "",
    "\ud800",
    "x" * 1_000_000,
    "\0",
    [],
    {},
    [[]] * 1000,
    nested(20_000),
    {"$ne": None},
]


def request_of(**fields: Any) -> dict[str, Any]:
    return {"odm": 1, "items": [fields]}


def response_of(reply: Any, function: Any = FUNCTION) -> dict[str, Any]:
    return {"odm": 1, "function": function, "replies": [reply]}


def read_request(event: Any) -> list[Any]:
    """What comes of *event*: items, or none where it was refused in few words."""
    try:
        return list(decode_request(event))
    except EnvelopeError as error:
        refusal = str(error).encode()
    assert len(refusal) < 500
    return []


@pytest.mark.parametrize("item", [ITEM, CANCEL, {**ITEM, "staged": "i", "parts": 1}])
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
def test_a_value_of_any_kind_in_any_place_of_a_request_is_read_or_refused(
    item: dict[str, Any], odd: Any
) -> None:
    for key in item:
        read_request(request_of(**{**item, key: odd}))
    for event in (odd, {"odm": odd}, {"odm": odd, "items": []}, {"odm": 1, "items": odd}):
        assert read_request(event) == []
    assert read_request(request_of(kind=odd)) == []


@pytest.mark.parametrize(
    "event",
    [
        {"version": "2.0", "routeKey": "$default", "headers": {}, "body": "{}"},  # API Gateway
        {"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}}}]},
        {"Records": [{"eventSource": "aws:sqs", "body": "{}"}]},
        {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}},
        {"test": "event"},
        "event",
        [],
        None,
        0,
    ],
)
def test_an_event_of_another_service_is_told_what_this_is(event: Any) -> None:
    with pytest.raises(EnvelopeError, match="is this the DB proxy function"):
        decode_request(event)


@pytest.mark.parametrize("version", [0, 2, -1, 1.5, "1", None, [1], {"1": 1}, nested(20_000), True])
def test_another_version_is_named_shortly(version: Any) -> None:
    with pytest.raises(EnvelopeError, match="version") as caught:
        decode_request({"odm": version, "items": []})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "identifier",
    ["", " ", "a b", "../x", "a.b", "$ne", "a\0", "ä", "\ud800", "a" * 65, "a\n", {"$gt": ""}, 5],
)
@pytest.mark.parametrize("kind", ["stage", "fetch", "discard"])
def test_an_identifier_is_letters_and_digits(kind: str, identifier: Any) -> None:
    item = {"kind": kind, "id": identifier, "part": 0, "data": ""}
    assert read_request(request_of(**item)) == []


@pytest.mark.parametrize("server", ["", "h" * 301, None, ["h:1"], {"host": "h"}])
def test_an_address_is_a_short_text(server: Any) -> None:
    assert read_request(request_of(**{**ITEM, "server": server})) == []


def test_half_of_a_surrogate_pair_becomes_a_question_mark() -> None:
    (item,) = decode_request(json.loads(json.dumps(request_of(**{**ITEM, "server": "h\ud800:1"}))))
    assert isinstance(item, CommandItem)
    assert item.server == "h?:1"


@pytest.mark.parametrize("started_ms", [-1, 2**53 + 1, 10**400, 1.5, "1", None])
def test_a_moment_is_one(started_ms: Any) -> None:
    assert read_request(request_of(**{**CANCEL, "started_ms": started_ms})) == []
    (item,) = decode_request(request_of(**{**CANCEL, "started_ms": 2**53}))
    assert isinstance(item, CancelItem)


def test_an_lsid_is_short() -> None:
    lsid = b64encode(bytes(257)).decode()
    assert read_request(request_of(**{**CANCEL, "lsid": lsid})) == []


@pytest.mark.parametrize("data", ["AAA", "A===", "AAAA\n", "AA AA", "ÄÄÄÄ", "-_-_", "\ud800AAA"])
def test_what_is_not_base64_is_refused_without_repeating_it(data: str) -> None:
    with pytest.raises(EnvelopeError, match="not base64") as caught:
        decode_request(request_of(**{**ITEM, "message": data}))
    assert data not in str(caught.value)


keys = st.sampled_from(
    [
        *("odm", "items", "kind", "server", "message", "ack", "staged", "parts", "encoding"),
        *("id", "part", "data", "lsid", "started_ms", "replies", "function", "reply", "members"),
        *("failure", "code", "code_name", "ran", "address", "hello", "refusal", "timeout_ms"),
    ]
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=6),
    st.sampled_from(["command", "stage", "fetch", "cancel", "describe", "zlib", "AAAA", 1, "no"]),
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner), max_leaves=12
)


@settings(max_examples=100)
@given(values, st.lists(values, max_size=3))
def test_json_of_any_shape_is_read_or_refused(value: Any, items: list[Any]) -> None:
    read_request(value)
    read_request({"odm": 1, "items": items})
    for document in (value, response_of(value), response_of(value, function=value)):
        read_response(json.dumps(document).encode())


def read_response(payload: bytes, expected: int = 1) -> Any:
    try:
        return decode_response(payload, expected=expected)
    except EnvelopeError as error:
        refusal = str(error)
    assert len(refusal) < MAX_TEXT_CHARS + 100
    assert refusal.encode()
    return None


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
def test_a_value_of_any_kind_in_any_place_of_a_response_is_read_or_refused(odd: Any) -> None:
    def dumped(document: Any) -> bytes:
        try:
            return json.dumps(document).encode()
        except RecursionError:
            return b"[" * 20_000

    for key in FUNCTION:
        response = read_response(dumped(response_of({"reply": ""}, {**FUNCTION, key: odd})))
        assert response is None or response.function.timeout_ms <= 2**53
    for key in FAILURE:
        response = read_response(dumped(response_of({"failure": {**FAILURE, key: odd}})))
        if response is not None:
            (failure,) = response.results
            assert isinstance(failure, FailureResult)
            assert len(failure.message) <= MAX_TEXT_CHARS
            assert 0 <= failure.code < 2**31
    for reply in ({"reply": odd}, {"members": odd}, {"staged": odd, "parts": 1}, odd):
        read_response(dumped(response_of(reply)))
    read_response(dumped({"odm": 1, "refusal": odd}))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"\x00",
        b"<html>502 Bad Gateway</html>",
        b'{"errorMessage": "no", "errorType": "Error"}',
        b'{"odm": 1e999}',
        b'{"odm": ' + b"9" * 5000 + b"}",
        b"{" * 100_000,
        b'{"odm":1,"refusal":"' + b"x" * 1_000_000 + b'"}',
    ],
)
def test_bytes_of_any_kind_are_refused_as_a_response(payload: bytes) -> None:
    assert read_response(payload) is None


def test_a_response_has_as_many_replies_as_there_were_items() -> None:
    for count in (0, 2, 1000):
        document = {"odm": 1, "function": FUNCTION, "replies": [{"reply": ""}] * count}
        assert read_response(json.dumps(document).encode()) is None


def test_a_deployment_has_as_many_members_as_there_may_be_sockets() -> None:
    members = [{"address": f"h{n}:1", "hello": "AAAA"} for n in range(MAX_MEMBERS + 1)]
    assert read_response(json.dumps(response_of({"members": members})).encode()) is None
    assert read_response(json.dumps(response_of({"members": members[1:]})).encode()) is not None


def test_the_worst_response_that_fits_an_invoke_takes_bounded_memory() -> None:
    filler = b"{}," * ((MAX_PAYLOAD_BYTES - 100) // 3)
    payload = b'{"odm": 1, "replies": [' + filler + b"{}]}"
    assert len(payload) <= MAX_PAYLOAD_BYTES
    tracemalloc.start()
    try:
        assert read_response(payload) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * MAX_PAYLOAD_BYTES


# -- bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 9])
def test_a_bomb_takes_no_more_than_the_longest_body(level: int) -> None:
    bomb = zlib.compress(bytes(3 * MAX_BODY_BYTES), level)
    tracemalloc.start()
    try:
        with pytest.raises(BodyError, match="longer than"):
            decompress(bomb, "zlib")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.25 * MAX_BODY_BYTES


def test_a_bomb_in_parts_is_refused_as_one_whole() -> None:
    bomb = zlib.compress(bytes(MAX_BODY_BYTES + 1), 9)
    with pytest.raises(BodyError, match="longer than"):
        join((bomb[i : i + 1000] for i in range(0, len(bomb), 1000)), "zlib")
    with pytest.raises(BodyError, match="longer than"):
        join((bytes(10_000_000) for _ in range(5)), "")


@given(st.binary(max_size=60), st.binary(max_size=30))
def test_damaged_bodies_are_refused_or_read(data: bytes, tail: bytes) -> None:
    packed = zlib.compress(data)
    for damaged in (data, tail, packed[:-1], packed[: len(packed) // 2], packed + tail + b"x"):
        said = ""
        try:
            decompress(damaged, "zlib")
        except BodyError as error:
            said = str(error)
        assert len(said) < 200
