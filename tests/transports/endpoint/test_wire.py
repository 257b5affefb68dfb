"""The wire protocol without I/O: every vector whole, byte by byte, and with data behind it."""

from __future__ import annotations

import struct
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.endpoint import wire
from transports.endpoint.wire import (
    BadMessage,
    Decoder,
    Event,
    Message,
    ProtocolError,
    Query,
)

PING: dict[str, Any] = {"ping": 1, "$db": "admin"}


def frame(opcode: int, payload: bytes, request_id: int = 7) -> bytes:
    return struct.pack("<iiii", 16 + len(payload), request_id, 0, opcode) + payload


def section(document: dict[str, Any]) -> bytes:
    return b"\0" + bson.encode(document)


def sequence(name: bytes, *documents: dict[str, Any]) -> bytes:
    content = name + b"\0" + b"".join(bson.encode(d) for d in documents)
    return b"\1" + struct.pack("<i", 4 + len(content)) + content


def msg(*sections: bytes, flags: int = 0, tail: bytes = b"") -> bytes:
    return frame(wire.OP_MSG, struct.pack("<I", flags) + b"".join(sections) + tail)


def query(namespace: str, document: dict[str, Any]) -> bytes:
    head = struct.pack("<i", 4) + namespace.encode() + b"\0" + struct.pack("<ii", 0, -1)
    return frame(wire.OP_QUERY, head + bson.encode(document))


def compressed(message: bytes, compressor_id: int = 2) -> bytes:
    return wire.compress(message, compressor_id)


INSERT = {"insert": "c", "ordered": True, "$db": "shop"}
TWO = sequence(b"documents", {"_id": 1}, {"_id": 2})
GET_MORE = {"getMore": bson.Int64(5), "collection": "c", "$db": "shop"}
CLEAR = bytes(4)

# name → the bytes of one message, and what a decoder makes of it
VECTORS: dict[str, tuple[bytes, Event]] = {
    "ping": (msg(section(PING)), Message(7, CLEAR + section(PING), "ping", "admin")),
    "document sequence": (
        msg(section(INSERT), TWO),
        Message(7, CLEAR + section(INSERT) + TWO, "insert", "shop"),
    ),
    "document sequence first": (
        msg(TWO, section(INSERT)),
        Message(7, CLEAR + TWO + section(INSERT), "insert", "shop", body_start=5 + len(TWO)),
    ),
    "checksum": (
        msg(section(PING), flags=wire.CHECKSUM_PRESENT, tail=b"\1\2\3\4"),
        Message(7, CLEAR + section(PING), "ping", "admin"),
    ),
    "unacknowledged": (
        msg(section(INSERT), TWO, flags=wire.MORE_TO_COME),
        Message(7, b"\2\0\0\0" + section(INSERT) + TWO, "insert", "shop", more_to_come=True),
    ),
    "unacknowledged with checksum": (
        msg(section(PING), flags=3, tail=b"abcd"),
        Message(7, b"\2\0\0\0" + section(PING), "ping", "admin", more_to_come=True),
    ),
    "exhaust": (
        msg(section(GET_MORE), flags=wire.EXHAUST_ALLOWED),
        Message(7, CLEAR + section(GET_MORE), "getMore", "shop", exhaust_allowed=True),
    ),
    "unknown optional flag": (
        msg(section(PING), flags=1 << 20),
        Message(7, CLEAR + section(PING), "ping", "admin"),
    ),
    "$db first": (
        msg(section({"$db": "a", "ping": 1})),
        Message(7, CLEAR + section({"$db": "a", "ping": 1}), "$db", "a"),
    ),
    "a $db that is not the command's": (
        msg(section({"find": "c", "filter": {"$db": "no"}, "comment": "\2$db\0", "$db": "yes"})),
        Message(
            7,
            CLEAR
            + section({"find": "c", "filter": {"$db": "no"}, "comment": "\2$db\0", "$db": "yes"}),
            "find",
            "yes",
        ),
    ),
    "zlib": (
        compressed(msg(section(PING))),
        Message(7, CLEAR + section(PING), "ping", "admin", compressor_id=2),
    ),
    "noop": (
        compressed(msg(section(PING)), 0),
        Message(7, CLEAR + section(PING), "ping", "admin", compressor_id=0),
    ),
    "OP_QUERY": (
        query("admin.$cmd", {"ismaster": 1}),
        Query(7, wire.OP_QUERY, "admin.$cmd", bson.encode({"ismaster": 1})),
    ),
    "OP_QUERY with a field selector": (
        frame(
            wire.OP_QUERY,
            bytes(4) + b"a.b\0" + bytes(8) + bson.encode({"x": 1}) + bson.encode({"y": 1}),
        ),
        Query(7, wire.OP_QUERY, "a.b", bson.encode({"x": 1})),
    ),
    "OP_GET_MORE": (
        frame(wire.OP_GET_MORE, bytes(4) + b"a.b\0" + struct.pack("<iq", 0, 9)),
        Query(7, wire.OP_GET_MORE, "a.b", b""),
    ),
    "no $db": (
        msg(section({"ping": 1})),
        BadMessage(7, 40571, "Location40571", "OP_MSG requests require a $db argument"),
    ),
    "empty": (
        msg(section({})),
        BadMessage(7, 40571, "Location40571", "OP_MSG requests require a $db argument"),
    ),
    "$db of another type": (
        msg(section({"ping": 1, "$db": 5})),
        BadMessage(7, 13111, "Location13111", "wrong type for field ($db): a string is expected"),
    ),
    "two bodies": (
        msg(section(PING), section(PING)),
        BadMessage(7, 40430, "Location40430", "Multiple body sections in message"),
    ),
    "no body": (
        msg(TWO),
        BadMessage(7, 40587, "Location40587", "OP_MSG messages must have a body"),
    ),
    "nothing": (
        msg(),
        BadMessage(7, 40587, "Location40587", "OP_MSG messages must have a body"),
    ),
    "unknown section": (
        msg(section(PING), b"\7"),
        BadMessage(7, 40432, "Location40432", "Unknown section kind 7"),
    ),
    "unknown section, unacknowledged": (
        msg(section(PING), b"\7", flags=wire.MORE_TO_COME),
        BadMessage(7, 40432, "Location40432", "Unknown section kind 7", more_to_come=True),
    ),
    "a body longer than the message": (
        msg(b"\0\x10\0\0\0\x02ping\0"),
        BadMessage(7, 22, "InvalidBSON", "invalid BSON: a document's length is 16"),
    ),
    "an unknown BSON type": (
        msg(b"\0\x0c\0\0\0\x77pi\0aaa\0"),
        BadMessage(7, 22, "InvalidBSON", "invalid BSON: unknown BSON type 0x77"),
    ),
    "a sequence that is cut off": (
        msg(section(PING), b"\1\4\0"),
        BadMessage(7, 22, "InvalidBSON", "invalid BSON: a document sequence is cut off"),
    ),
    "a sequence longer than the message": (
        msg(section(PING), b"\1\x40\0\0\0documents\0"),
        BadMessage(7, 22, "InvalidBSON", "invalid BSON: a document sequence's size is 64"),
    ),
    "a sequence without a name": (
        msg(section(PING), b"\1\6\0\0\0ab"),
        BadMessage(
            7, 22, "InvalidBSON", "invalid BSON: a document sequence's identifier does not end"
        ),
    ),
}
vectors = pytest.mark.parametrize(("data", "expected"), VECTORS.values(), ids=VECTORS)


def events_of(decoder: Decoder) -> list[Event]:
    found = []
    while (event := decoder.next_event()) is not None:
        found.append(event)
    return found


@vectors
def test_a_message_that_comes_whole(data: bytes, expected: Event) -> None:
    decoder = Decoder()
    decoder.receive_data(data)
    assert events_of(decoder) == [expected]
    assert decoder.buffered_bytes == 0


@vectors
def test_a_message_that_comes_byte_by_byte(data: bytes, expected: Event) -> None:
    decoder = Decoder()
    for position in range(len(data) - 1):
        decoder.receive_data(data[position : position + 1])
        assert decoder.next_event() is None
    decoder.receive_data(data[-1:])
    assert events_of(decoder) == [expected]


@vectors
def test_a_message_with_more_behind_it(data: bytes, expected: Event) -> None:
    decoder = Decoder()
    after = msg(section({"hello": 1, "$db": "x"}))
    decoder.receive_data(data + after + after[:5])
    first, second = events_of(decoder)
    assert first == expected
    assert isinstance(second, Message)
    assert second.database == "x"
    assert decoder.buffered_bytes == 5
    decoder.receive_data(after[5:])
    assert events_of(decoder) == [second]


def test_the_document_of_section_0_is_found_behind_a_sequence() -> None:
    decoder = Decoder()
    decoder.receive_data(msg(TWO, section(INSERT)))
    event = decoder.next_event()
    assert isinstance(event, Message)
    assert bson.decode(event.document) == INSERT


REFUSED = {
    "shorter than its header": struct.pack("<iiii", 15, 1, 0, wire.OP_MSG),
    "a negative length": struct.pack("<iiii", -5, 1, 0, wire.OP_MSG),
    "longer than 48 MB": struct.pack("<iiii", 48_000_001, 1, 0, wire.OP_MSG),
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "tls": bytes.fromhex("16030100f8010000f403030011223344"),
    "OP_INSERT": frame(2002, bytes(4) + b"a.b\0" + bson.encode({})),
    "OP_REPLY": frame(1, bytes(20)),
    "an unknown opcode": frame(9999, b"abc"),
    "an unknown required flag": msg(section(PING), flags=1 << 5),
    "an OP_MSG without flags": frame(wire.OP_MSG, b"\0\0"),
    "a checksum and nothing else": frame(wire.OP_MSG, b"\1\0\0\0ab"),
    "an OP_COMPRESSED that is cut off": frame(wire.OP_COMPRESSED, b"\0" * 8),
    "an OP_COMPRESSED in another": compressed(compressed(msg(section(PING)))),
    "an unknown compressor": frame(
        wire.OP_COMPRESSED, struct.pack("<iiB", wire.OP_MSG, 10, 99) + bytes(10)
    ),
    "a huge decompressed size": frame(
        wire.OP_COMPRESSED, struct.pack("<iiB", wire.OP_MSG, 2**31 - 1, 2) + bytes(10)
    ),
    "a negative decompressed size": frame(
        wire.OP_COMPRESSED, struct.pack("<iiB", wire.OP_MSG, -1, 2) + bytes(10)
    ),
    "damaged compressed bytes": frame(
        wire.OP_COMPRESSED, struct.pack("<iiB", wire.OP_MSG, 10, 2) + b"garbage"
    ),
    "an OP_QUERY without a namespace": frame(wire.OP_QUERY, bytes(4) + b"abc"),
    "an OP_QUERY without a document": frame(wire.OP_QUERY, bytes(4) + b"a.b\0" + bytes(8)),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_not_the_protocol_ends_the_connection(data: bytes) -> None:
    decoder = Decoder()
    decoder.receive_data(data)
    with pytest.raises(ProtocolError):
        events_of(decoder)


def test_a_length_is_refused_before_the_rest_of_the_header_is_there() -> None:
    decoder = Decoder()
    decoder.receive_data(struct.pack("<i", 48_000_001))
    with pytest.raises(ProtocolError, match="48000001"):
        decoder.next_event()


def test_the_limit_of_a_decoder_can_be_lower() -> None:
    decoder = Decoder(max_message_bytes=100)
    decoder.receive_data(struct.pack("<i", 101))
    with pytest.raises(ProtocolError):
        decoder.next_event()


def test_a_message_of_the_largest_size_passes() -> None:
    filler = bytes(wire.MAX_MESSAGE_BYTES - 200)
    whole = msg(section(INSERT), b"\1" + struct.pack("<i", 6 + len(filler)) + b"d\0" + filler)
    decoder = Decoder()
    for position in range(0, len(whole), 1 << 20):
        decoder.receive_data(whole[position : position + (1 << 20)])
    event = decoder.next_event()
    assert isinstance(event, Message)
    assert len(event.body) == len(whole) - 16
    assert decoder.buffered_bytes == 0


def test_a_reply_is_an_op_msg() -> None:
    document = bson.encode({"ok": 1.0})
    data = wire.encode_msg(3, 7, document, wire.MORE_TO_COME)
    assert struct.unpack_from("<iiii", data) == (len(data), 3, 7, wire.OP_MSG)
    assert data[16:] == b"\2\0\0\0" + b"\0" + document
    assert wire.msg_prefix(3, 7, len(document), wire.MORE_TO_COME) + document == data


def test_the_answer_to_an_op_query_is_an_op_reply_with_one_document() -> None:
    document = bson.encode({"ok": 1.0})
    data = wire.encode_reply(3, 7, document)
    assert struct.unpack_from("<iiii", data) == (len(data), 3, 7, wire.OP_REPLY)
    assert struct.unpack_from("<iqii", data, 16) == (8, 0, 0, 1)
    assert data[36:] == document


def test_a_compressed_reply_holds_the_same_message() -> None:
    message = wire.encode_msg(3, 7, bson.encode({"ok": 1.0, "text": "a" * 500}))
    data = wire.compress(message, 2)
    assert len(data) < len(message)
    length, request_id, response_to, opcode = struct.unpack_from("<iiii", data)
    assert (length, request_id, response_to, opcode) == (len(data), 3, 7, wire.OP_COMPRESSED)
    assert struct.unpack_from("<iiB", data, 16) == (wire.OP_MSG, len(message) - 16, 2)


def drain(data: bytes, cuts: list[int]) -> list[Event | str]:
    """Feed *data* in pieces; return the events, and ``"closed"`` where the protocol ends."""
    decoder, found, start = Decoder(), list[Event | str](), 0
    for end in [*sorted(c % (len(data) + 1) for c in cuts), len(data)]:
        decoder.receive_data(data[start:end])
        start = end
        try:
            found += events_of(decoder)
        except ProtocolError:
            return [*found, "closed"]
    return found


valid = st.sampled_from([data for data, _ in VECTORS.values()])


@given(st.lists(valid, max_size=5), st.lists(st.integers(0, 2000), max_size=6))
def test_pieces_make_no_difference(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(messages)
    found = drain(data, cuts)
    assert found == drain(data, [])
    assert len(found) == len(messages)


@given(valid, st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6))
def test_damaged_messages_end_in_events_or_a_close(
    message: bytes, damage: list[tuple[int, int]]
) -> None:
    damaged = bytearray(message)
    for position, value in damage:
        damaged[position % len(damaged)] = value
    assert drain(bytes(damaged), [3, 20]) == drain(bytes(damaged), [])


@given(st.binary(max_size=120), st.sampled_from([2004, 2005, 2012, 2013]))
def test_garbage_behind_a_good_header_ends_in_an_event_or_a_close(
    payload: bytes, opcode: int
) -> None:
    assert len(drain(frame(opcode, payload), [])) == 1
