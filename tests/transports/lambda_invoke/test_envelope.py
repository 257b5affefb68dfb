from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.lambda_invoke.bodies import MAX_PARTS, PART_BYTES, Body
from transports.lambda_invoke.envelope import (
    MAX_ITEMS,
    MAX_PAYLOAD_BYTES,
    CancelItem,
    CommandItem,
    DescribeItem,
    DiscardItem,
    EnvelopeError,
    FailureResult,
    FetchItem,
    FunctionInfo,
    Item,
    MembersResult,
    ReplyResult,
    Result,
    StageItem,
    decode_request,
    decode_response,
    encode_refusal,
    encode_request,
    encode_response,
)

FUNCTION = FunctionInfo(
    release="0.1.0",
    environment="e1",
    cold_start=True,
    init_ms=12.5,
    duration_ms=1.25,
    timeout_ms=3000,
)
MESSAGE = b"\x00\x00\x00\x00\x00" + bson.encode({"ping": 1, "$db": "admin"})

identifiers = st.from_regex(r"[0-9A-Za-z_-]{1,64}", fullmatch=True)
addresses = st.text(min_size=1, max_size=300)
encodings = st.sampled_from(["", "zlib"])
bodies = st.one_of(
    st.builds(Body, st.binary(min_size=10, max_size=200), encodings),
    st.builds(Body, st.just(b""), encodings, identifiers, st.integers(1, MAX_PARTS)),
)
traces = st.just("") | st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True)
items = st.one_of(
    st.builds(CommandItem, addresses, bodies, st.booleans(), traces, st.text(max_size=128)),
    st.builds(StageItem, identifiers, st.integers(0, MAX_PARTS - 1), st.binary(max_size=50)),
    st.builds(FetchItem, identifiers, st.integers(0, MAX_PARTS - 1)),
    st.builds(DiscardItem, identifiers),
    st.just(DescribeItem()),
    st.builds(CancelItem, addresses, st.binary(max_size=40), st.integers(0, 2**53)),
)
results = st.one_of(
    st.builds(ReplyResult, bodies),
    st.builds(
        MembersResult,
        st.lists(st.tuples(addresses, st.binary(max_size=50)), max_size=3).map(tuple),
    ),
    st.builds(
        FailureResult,
        st.integers(1, 99999),
        st.text(),
        st.text(),
        st.sampled_from(["no", "unknown", "yes"]),
    ),
)


def travels(sent: list[Item]) -> bool:
    """What is packed travels alone."""
    packed = [
        i for i in sent if isinstance(i, CommandItem) and (i.message.encoding or i.message.staged)
    ]
    return len(sent) == 1 or not packed


@given(st.lists(items, max_size=5).filter(travels))
def test_a_request_survives_the_journey(sent: list[Item]) -> None:
    assert decode_request(json.loads(encode_request(sent))) == sent


@given(st.lists(results, max_size=5))
def test_a_response_survives_the_journey(sent: list[Result]) -> None:
    payload = json.dumps(encode_response(FUNCTION, sent)).encode()
    response = decode_response(payload, expected=len(sent))
    assert list(response.results) == sent
    assert response.function == FUNCTION


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(json_values)
def test_json_that_is_no_envelope_is_refused(event: Any) -> None:
    with pytest.raises(EnvelopeError):
        decode_request(event)


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_as_a_response(payload: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode_response(payload, expected=1)


def event(**item: Any) -> dict[str, Any]:
    return {"odm": 1, "items": [item]}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({}, "no envelope"),
        ([], "no envelope"),
        ({"odm": 2, "items": []}, "version 2"),
        ({"odm": True, "items": []}, "version True"),
        ({"odm": 1}, "items is missing"),
        ({"odm": 1, "items": [1]}, "items[0].kind"),
        (event(kind="drop"), "expected command, describe"),
        (event(kind="command", server="a:1", message="***", ack=True), "not base64"),
        (event(kind="command", server="a:1", message="AAAA", ack=True), "too short"),
        (event(kind="command", message="AAAA", ack=True), "message is too short"),
        (event(kind="command", server=1, message="A" * 16, ack=True), "server is missing"),
        (event(kind="command", server="a:1", message="A" * 16, ack=1), "ack is missing"),
        (
            event(kind="command", server="a:1", message="A" * 16, encoding="xz", ack=True),
            "not zlib",
        ),
        (event(kind="command", server="a:1", staged="", parts=1, ack=True), "1 to 64 letters"),
        (event(kind="command", server="a:1", staged="i", parts=0, ack=True), "parts is 0"),
        (event(kind="stage", id="i", part=MAX_PARTS, data=""), f"part is {MAX_PARTS}"),
        (event(kind="fetch", id="i", part=-1), "part is -1"),
        (event(kind="discard", id="i" * 65), "1 to 64 letters"),
        (event(kind="cancel", server="a", lsid="", started_ms=True), "started_ms"),
        ({"odm": 1, "items": [{"kind": "describe"}] * (MAX_ITEMS + 1)}, "more than"),
    ],
)
def test_a_bad_event_says_what_is_wrong(bad: Any, words: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        decode_request(bad)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"null", "no envelope"),
        (b'{"statusCode": 200}', "is this the DB proxy function"),
        (b'"hello"', "no envelope"),
        (b'{"odm": 7}', "version 7"),
        (json.dumps(encode_refusal("not today")).encode(), "not today"),
        (json.dumps(encode_response(FUNCTION, [])).encode(), "0 replies to 1 items"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_response_says_what_is_wrong(payload: bytes, words: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        decode_response(payload, expected=1)
    assert words in str(caught.value)


def test_the_bytes_of_a_command_are_carried_as_they_are() -> None:
    payload = json.loads(encode_request([CommandItem("h:1", Body(MESSAGE))]))
    assert payload["items"][0]["message"] == b64encode(MESSAGE).decode()


def test_the_largest_part_fits_into_an_invoke() -> None:
    part = bytes(PART_BYTES)
    assert len(encode_request([StageItem("i" * 64, MAX_PARTS - 1, part)])) <= MAX_PAYLOAD_BYTES
    assert len(encode_request([CommandItem("h" * 255, Body(part))])) <= MAX_PAYLOAD_BYTES
    response = encode_response(FUNCTION, [ReplyResult(Body(part))])
    assert len(json.dumps(response)) <= MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trace", 1),
        ("trace", ""),
        ("trace", f"01-{'a' * 32}-{'b' * 16}-01"),
        ("trace", f"00-{'A' * 32}-{'b' * 16}-01"),
        ("trace", f"00-{'a' * 32}-{'b' * 16}-01\n"),
        ("trace", f"00-{'a' * 32}-{'b' * 16}-01-more"),
        ("caller", None),
        ("caller", "x" * 129),
    ],
)
def test_a_trace_and_a_caller_are_checked(field: str, value: Any) -> None:
    [item] = json.loads(encode_request([CommandItem("h:1", Body(MESSAGE))]))["items"]
    with pytest.raises(EnvelopeError, match=rf"items\[0\].{field}"):
        decode_request(event(**item, **{field: value}))


def test_what_has_no_trace_and_no_caller_travels_without() -> None:
    [item] = json.loads(encode_request([CommandItem("h:1", Body(MESSAGE))]))["items"]
    assert item.keys() == {"kind", "server", "message", "ack"}
