"""Framing fed with what nobody should send: it says so, or hangs up, and keeps little of it."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Iterable
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.endpoint import compression, wire
from transports.endpoint.elements import MalformedDocument, document_end, elements
from transports.endpoint.replies import cursor_id, is_document, read_reply
from transports.endpoint.wire import BadMessage, Decoder, Event, Message, ProtocolError, Query

INT32 = struct.Struct("<i")


def frame(opcode: int, payload: bytes, request_id: int = 7) -> bytes:
    return struct.pack("<iiii", 16 + len(payload), request_id, 0, opcode) + payload


def sequence(*documents: dict[str, Any]) -> bytes:
    content = b"documents\0" + b"".join(map(bson.encode, documents))
    return b"\1" + INT32.pack(4 + len(content)) + content


def body(command: dict[str, Any]) -> bytes:
    return b"\0" + bson.encode({**command, "$db": "test"})


def op_query(document: bytes) -> bytes:
    return bytes(4) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + document


def compressed(payload: bytes, opcode: int = wire.OP_MSG, *, size: int | None = None) -> bytes:
    announced = len(payload) if size is None else size
    head = struct.pack("<iiB", opcode, announced, 2)
    return frame(wire.OP_COMPRESSED, head + zlib.compress(payload))


FIND = {
    "find": "c",
    "filter": {"a": [1, {"b": b"\x01\x02", "c": bson.Regex("x", "i")}], "s": "text"},
    "lsid": {"id": bson.Binary(bytes(16), 4)},
}
PAYLOADS = [
    bytes(4) + body({"ping": 1}),
    bytes(4) + body(FIND),
    bytes(4) + body({"insert": "c"}) + sequence({"_id": 1}, {"_id": 2}),
    bytes(4) + sequence({"_id": 1}) + body({"insert": "c"}),
    struct.pack("<I", wire.EXHAUST_ALLOWED | wire.MORE_TO_COME) + body({"getMore": bson.Int64(7)}),
    struct.pack("<I", wire.CHECKSUM_PRESENT) + body({"ping": 1}) + b"crc!",
]
VALID = [
    *(frame(wire.OP_MSG, payload) for payload in PAYLOADS),
    *(compressed(payload) for payload in PAYLOADS[:3]),
    frame(wire.OP_QUERY, op_query(bson.encode({"isMaster": 1}))),
    frame(wire.OP_GET_MORE, bytes(4) + b"t.c\0" + bytes(12)),
]

lengths = st.sampled_from([-(2**31), -1, 0, 1, 4, 5, 15, 16, 17, 255, 48_000_000, 2**31 - 1])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid message in which bytes, or what may be a length, were replaced; or cut off."""
    message = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(message) - 4, 0)))
        how = draw(st.sampled_from(["byte", "length", "insert", "cut"]))
        if how == "byte":
            message[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif how == "length":
            message[place : place + 4] = INT32.pack(draw(lengths))
        elif how == "insert":
            message[place:place] = draw(st.binary(max_size=9))
        else:
            del message[place:]
    return bytes(message)


hostile = st.one_of(st.binary(max_size=200), mutated())


def events_of(pieces: Iterable[bytes], limit: int = wire.MAX_MESSAGE_BYTES) -> list[Event | str]:
    """What a decoder makes of *pieces*; the last entry may be that it gave up."""
    decoder, found = Decoder(limit), list[Event | str]()
    try:
        for piece in pieces:
            decoder.receive_data(piece)
            while (event := decoder.next_event()) is not None:
                found.append(event)
    except ProtocolError as error:
        found.append(str(error))
    return found


@settings(max_examples=400)
@given(hostile)
def test_any_bytes_become_events_or_one_protocol_error(data: bytes) -> None:
    for event in events_of([data]):
        if isinstance(event, Message):
            assert event.document
            assert event.body[event.body_start : event.body_start + 4] == event.document[:4]
            assert len(event.name) <= wire.MAX_NAME_BYTES
            assert len(event.database) <= wire.MAX_NAME_BYTES
            assert event.body[:4] in (b"\0\0\0\0", b"\2\0\0\0")
        elif isinstance(event, BadMessage):
            assert event.code > 0
            assert len(event.errmsg) < 500
        elif isinstance(event, Query):
            assert event.opcode in (wire.OP_QUERY, wire.OP_GET_MORE)


@given(hostile, st.integers(1, 7))
def test_how_bytes_arrive_makes_no_difference(data: bytes, size: int) -> None:
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert events_of(pieces) == events_of([data])


@pytest.mark.parametrize("message", VALID)
def test_every_message_is_understood_split_at_every_position(message: bytes) -> None:
    (whole,) = events_of([message])
    assert not isinstance(whole, str)
    for position in range(len(message)):
        assert events_of([message[:position], message[position:]]) == [whole]
        assert events_of([message[:position]]) == [], "nothing is made of a part"


@pytest.mark.parametrize("message", VALID)
@pytest.mark.parametrize("value", [-(2**31), -1, 0, 1, 3, 47_999_999, 2**31 - 1])
def test_a_lying_length_at_every_position_is_survived(message: bytes, value: int) -> None:
    for position in range(16, len(message) - 3):
        lying = message[:position] + INT32.pack(value) + message[position + 4 :]
        assert len(events_of([lying])) == 1


@pytest.mark.parametrize("length", [-(2**31), -1, 0, 15, 48_000_001, 2**31 - 1])
def test_a_header_with_an_impossible_length_ends_it_at_four_bytes(length: int) -> None:
    (said,) = events_of([INT32.pack(length)])
    assert isinstance(said, str)


@pytest.mark.parametrize("opcode", [-1, 0, 1, 1000, 2001, 2002, 2006, 2007, 2010, 2011, 2014])
def test_what_is_not_served_is_not_waited_for(opcode: int) -> None:
    (said,) = events_of([struct.pack("<iiii", 48_000_000, 1, 0, opcode)])
    assert said == f"opcode {opcode} is not served"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes(3),
        struct.pack("<I", 4) + body({"ping": 1}),
        struct.pack("<I", 1 << 15) + body({"ping": 1}),
        struct.pack("<I", 1) + b"crc",
    ],
)
def test_flags_that_nobody_knows_end_it(payload: bytes) -> None:
    (said,) = events_of([frame(wire.OP_MSG, payload)])
    assert isinstance(said, str)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (bytes(4), 40587),
        (bytes(4) + sequence({}), 40587),
        (bytes(4) + body({"ping": 1}) * 2, 40430),
        (bytes(4) + b"\2" + bson.encode({}), 40432),
        (bytes(4) + b"\0\5\0\0\0\0", 40571),
        (bytes(4) + b"\0\5\0\0\0\1", 22),
        (bytes(4) + b"\0" + bson.encode({"x" * 300: 1, "$db": "t"}), 59),
        (bytes(4) + b"\0" + bson.encode({"ping": 1, "$db": "d" * 300}), 73),
        (bytes(4) + b"\0" + bson.encode({"ping": 1, "$db": 5}), 13111),
        (bytes(4) + b"\0" + bson.encode({f"f{n}": n for n in range(10_001)}), 22),
    ],
)
def test_a_message_that_says_nothing_has_an_answer(payload: bytes, code: int) -> None:
    (event,) = events_of([frame(wire.OP_MSG, payload)])
    assert isinstance(event, BadMessage)
    assert event.code == code


@pytest.mark.parametrize(
    "message",
    [
        compressed(compressed(PAYLOADS[0])[16:], wire.OP_COMPRESSED),
        compressed(PAYLOADS[0], size=len(PAYLOADS[0]) - 1),
        compressed(PAYLOADS[0], size=len(PAYLOADS[0]) + 1),
        compressed(PAYLOADS[0], size=-1),
        compressed(PAYLOADS[0], size=2**31 - 1),
        compressed(PAYLOADS[0], wire.OP_REPLY),
        frame(wire.OP_COMPRESSED, struct.pack("<iiB", wire.OP_MSG, 5, 99) + b"12345"),
        frame(wire.OP_COMPRESSED, struct.pack("<iiB", wire.OP_MSG, 5, 0) + b"1234"),
        frame(wire.OP_COMPRESSED, bytes(8)),
    ],
)
def test_what_cannot_be_unpacked_ends_it(message: bytes) -> None:
    message = INT32.pack(len(message)) + message[4:]
    (said,) = events_of([message])
    assert isinstance(said, str)


def test_a_bomb_is_measured_by_the_limit_of_the_moment() -> None:
    """Before authentication a message is 64 kB at most, and so is what it unpacks to."""
    bomb = compressed(bytes(40_000_000))
    assert len(bomb) < 64 * 1024
    tracemalloc.start()
    try:
        (said,) = events_of([bomb], limit=64 * 1024)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(said, str)
    assert peak < 1_000_000


@pytest.mark.parametrize("compressor_id", compression.COMPRESSORS)
def test_a_bomb_that_announces_little_is_not_unpacked_further(compressor_id: int) -> None:
    packed = compression.compress(bytes(30_000_000), compressor_id)
    tracemalloc.start()
    try:
        with pytest.raises(compression.CompressionError):
            compression.decompress(packed, compressor_id, 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_document_nested_deeply_is_carried_and_not_looked_into() -> None:
    deep = b"\x05\0\0\0\0"
    for _ in range(5000):
        deep = INT32.pack(len(deep) + 8) + b"\x03a\0" + deep + b"\0"
    command = b"\x03find\0" + deep + b"\x02$db\0" + INT32.pack(2) + b"t\0"
    document = INT32.pack(len(command) + 5) + command + b"\0"
    (event,) = events_of([frame(wire.OP_MSG, bytes(5) + document)])
    assert isinstance(event, Message)
    assert (event.name, event.document) == ("find", document)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=80), mutated().map(lambda message: message[21:])))
def test_any_bytes_are_a_document_or_malformed(data: bytes) -> None:
    try:
        for element in elements(data):
            assert 4 < element.start <= element.end <= document_end(data)
        read_reply(data)
    except MalformedDocument:
        pass
    assert cursor_id(data) is not None
    assert is_document(data) in (True, False)
