"""The MongoDB wire protocol without I/O: bytes in, messages out, replies to bytes.

A `Decoder` is fed whatever the socket brought and yields one message at a time. It knows framing
only: which messages are a handshake, and who may send what, is decided elsewhere. What is wrong in
one message and can be answered becomes a `BadMessage`; after a `ProtocolError` nothing that follows
can be trusted, and the connection has to be closed. Both are what a ``mongod`` 6.0 does with the
same bytes, but for checksums: they are accepted and removed, not verified (the standard library has
no CRC-32C, and no driver sends one).

Spec: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
https://github.com/mongodb/specifications/blob/master/source/message/OP_MSG.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from transports.endpoint import compression
from transports.endpoint.elements import (
    STRING,
    MalformedDocument,
    document_end,
    elements,
    text,
)

OP_REPLY, OP_QUERY, OP_GET_MORE, OP_COMPRESSED, OP_MSG = 1, 2004, 2005, 2012, 2013
_FOREIGN = {  # what others begin with, and what to tell them by
    b"\x16\x03": "it speaks TLS, which is not spoken here: connect with tls=false",
    b"GET ": "it speaks HTTP: this is a MongoDB address, for MongoDB's shells and drivers",
}
_SERVED = frozenset({OP_QUERY, OP_GET_MORE, OP_COMPRESSED, OP_MSG})

CHECKSUM_PRESENT = 1 << 0
MORE_TO_COME = 1 << 1
EXHAUST_ALLOWED = 1 << 16
REQUIRED_BITS = 0xFFFF
"""Flag bits that a receiver must refuse when it does not know them."""

MAX_MESSAGE_BYTES = 48_000_000
"""A server's own limit (``maxMessageSizeBytes``), header included."""

MAX_NAME_BYTES = 256
"""The longest name of a command or database: they are repeated in errors and logs."""

HEADER_BYTES = 16
REPLY_QUERY_FAILURE = 2
REPLY_AWAIT_CAPABLE = 8

_HEADER = struct.Struct("<iiii")
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_COMPRESSED = struct.Struct("<iiB")
_REPLY = struct.Struct("<iqii")
_MSG_PREFIX = struct.Struct("<iiiiIB")


class ProtocolError(Exception):
    """The bytes are not the wire protocol, or beyond its limits: close the connection."""


@dataclass(slots=True)
class Message:
    """An OP_MSG from a client.

    Attributes:
        request_id: what the reply's ``responseTo`` repeats.
        body: the flags (moreToCome only), then the sections; no checksum.
        name: the first key of section 0.
        database: ``$db``.
        body_start: where the document of section 0 begins in *body*.
        more_to_come: the client expects no reply.
        exhaust_allowed: the client takes more than one reply.
        compressor_id: what it was compressed with, None for not at all; the reply is alike.
    """

    request_id: int
    body: bytes
    name: str
    database: str
    body_start: int = 5
    more_to_come: bool = False
    exhaust_allowed: bool = False
    compressor_id: int | None = None

    @property
    def document(self) -> bytes:
        """The document of section 0."""
        return self.body[self.body_start : document_end(self.body, self.body_start)]


@dataclass(slots=True)
class Query:
    """An OP_QUERY (or the namespace of an OP_GET_MORE), which is answered by an OP_REPLY."""

    request_id: int
    opcode: int
    namespace: str
    document: bytes
    compressor_id: int | None = None


@dataclass(slots=True)
class BadMessage:
    """A message that is framed well and says nothing a server can run: answer with the error."""

    request_id: int
    code: int
    code_name: str
    errmsg: str
    more_to_come: bool = False
    compressor_id: int | None = None


Event = Message | Query | BadMessage


class Decoder:
    """Turns the bytes of one connection into messages.

    Args:
        max_message_bytes: a header that announces more is refused as soon as it is there. May be
            changed between messages.
    """

    __slots__ = ("_buffer", "max_message_bytes")

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.max_message_bytes = max_message_bytes
        self._buffer: bytes | bytearray = b""

    @property
    def buffered_bytes(self) -> int:
        """Bytes received that no message has been made of yet."""
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the socket. Call `next_event` until it returns None."""
        if not self._buffer:
            self._buffer = data  # most reads bring one whole message: keep it without a copy
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._buffer += data

    def next_event(self) -> Event | None:
        """Return the next whole message, or None until more data is there.

        Raises:
            ProtocolError: close the connection.
        """
        buffer = self._buffer
        if len(buffer) < HEADER_BYTES:
            self._check_length_early()
            return None
        length, request_id, _, opcode = _HEADER.unpack_from(buffer)
        self._check_length(length)
        if opcode not in _SERVED:  # before the rest of it is waited for
            self._refuse_foreign()
            raise ProtocolError(f"opcode {opcode} is not served")
        if len(buffer) < length:
            return None
        payload = self._take(length)
        return _parse(request_id, opcode, payload, self.max_message_bytes)

    def _check_length_early(self) -> None:
        if len(self._buffer) >= 4:
            self._check_length(_INT32.unpack_from(self._buffer)[0])

    def _check_length(self, length: int) -> None:
        if not HEADER_BYTES <= length <= self.max_message_bytes:
            self._refuse_foreign()
            raise ProtocolError(
                f"a header announces {length} bytes; "
                f"{HEADER_BYTES} to {self.max_message_bytes} are possible"
            )

    def _refuse_foreign(self) -> None:
        """Say of what is no message of ours which other protocol it is of, if that is known."""
        for beginning, words in _FOREIGN.items():
            if self._buffer.startswith(beginning):
                raise ProtocolError(words)

    def _take(self, length: int) -> bytes:
        """Remove a message of *length* bytes from the buffer and return it without its header."""
        buffer = self._buffer
        with memoryview(buffer) as view:
            payload = bytes(view[HEADER_BYTES:length])
        if len(buffer) == length:
            self._buffer = b""
        elif isinstance(buffer, bytearray):
            del buffer[:length]
        else:
            self._buffer = bytearray(memoryview(buffer)[length:])
        return payload


def _parse(request_id: int, opcode: int, payload: bytes, max_message_bytes: int) -> Event:
    if opcode == OP_MSG:
        return _parse_msg(request_id, payload)
    if opcode == OP_COMPRESSED:
        return _parse_compressed(request_id, payload, max_message_bytes)
    if opcode in (OP_QUERY, OP_GET_MORE):
        return _parse_query(request_id, opcode, payload)
    raise ProtocolError(f"opcode {opcode} is not served")


def _parse_compressed(request_id: int, payload: bytes, max_message_bytes: int) -> Event:
    if len(payload) < _COMPRESSED.size:
        raise ProtocolError("an OP_COMPRESSED is cut off")
    opcode, size, compressor_id = _COMPRESSED.unpack_from(payload)
    if opcode == OP_COMPRESSED:
        raise ProtocolError("an OP_COMPRESSED holds another")
    # The limit is one of what is unpacked, too: 48 kB of zlib may hold 48 MB.
    if not 0 <= size <= max_message_bytes - HEADER_BYTES:
        raise ProtocolError(f"an OP_COMPRESSED announces {size} bytes")
    try:
        inner = compression.decompress(payload[_COMPRESSED.size :], compressor_id, size)
    except compression.CompressionError as exc:
        raise ProtocolError(str(exc)) from exc
    event = _parse(request_id, opcode, inner, max_message_bytes)
    event.compressor_id = compressor_id
    return event


def _parse_query(request_id: int, opcode: int, payload: bytes) -> Query:
    end = payload.find(0, 4)
    if end < 0:
        raise ProtocolError(f"opcode {opcode} without a namespace")
    namespace = payload[4:end].decode("utf-8", "replace")
    if opcode == OP_GET_MORE:
        return Query(request_id, opcode, namespace, b"")
    start = end + 1 + 8  # numberToSkip, numberToReturn
    try:
        document = payload[start : document_end(payload, start)]
    except MalformedDocument as exc:
        raise ProtocolError(f"OP_QUERY: {exc}") from exc
    return Query(request_id, opcode, namespace, document)


def _parse_msg(request_id: int, payload: bytes) -> Message | BadMessage:
    if len(payload) < 4:
        raise ProtocolError("an OP_MSG is cut off")
    flags: int = _UINT32.unpack_from(payload)[0]
    if flags & REQUIRED_BITS & ~(CHECKSUM_PRESENT | MORE_TO_COME):
        raise ProtocolError(f"an OP_MSG has unknown required flag bits: {flags:#010x}")
    end = len(payload)
    if flags & CHECKSUM_PRESENT:
        end -= 4
        if end < 4:
            raise ProtocolError("an OP_MSG is shorter than its checksum")
    relayed_flags = flags & MORE_TO_COME
    if flags != relayed_flags:
        payload = _UINT32.pack(relayed_flags) + payload[4:end]
    more_to_come = relayed_flags != 0
    try:
        start = _find_body(payload)
        name, database = _peek(payload, start)
    except _Refused as refusal:
        code, code_name, errmsg = refusal.args
        return BadMessage(request_id, code, code_name, errmsg, more_to_come)
    except MalformedDocument as exc:
        return BadMessage(request_id, 22, "InvalidBSON", f"invalid BSON: {exc}", more_to_come)
    return Message(
        request_id, payload, name, database, start, more_to_come, bool(flags & EXHAUST_ALLOWED)
    )


class _Refused(Exception):
    """Arguments: code, codeName and errmsg as a ``mongod`` words them."""

    def __init__(self, code: int, errmsg: str, code_name: str = "") -> None:
        super().__init__(code, code_name or f"Location{code}", errmsg)


def _find_body(payload: bytes) -> int:
    """Check that the sections fill *payload* and return where the one body document begins."""
    position, end, body = 4, len(payload), 0
    while position < end:
        kind = payload[position]
        position += 1
        if kind == 0:
            if body:
                raise _Refused(40430, "Multiple body sections in message")
            body = position
            position = document_end(payload, position, end)
        elif kind == 1:
            position = _skip_sequence(payload, position, end)
        else:
            raise _Refused(40432, f"Unknown section kind {kind}")
    if not body:
        raise _Refused(40587, "OP_MSG messages must have a body")
    return body


def _skip_sequence(payload: bytes, start: int, end: int) -> int:
    if end - start < 4:
        raise MalformedDocument("a document sequence is cut off")
    following = start + int(_INT32.unpack_from(payload, start)[0])
    if not start + 5 <= following <= end:
        raise MalformedDocument(f"a document sequence's size is {following - start}")
    if payload.find(0, start + 4, following) < 0:
        raise MalformedDocument("a document sequence's identifier does not end")
    return following


def _peek(payload: bytes, start: int) -> tuple[str, str]:
    """Return the command's name and its ``$db``, which may stand anywhere in section 0."""
    name: str | None = None
    for element in elements(payload, start):
        if name is None:
            name = element.name.decode("utf-8", "replace")
            if len(element.name) > MAX_NAME_BYTES:
                raise _Refused(59, f"no such command: '{name[:40]}…'", "CommandNotFound")
        if element.name == b"$db":
            if element.type != STRING:
                raise _Refused(13111, "wrong type for field ($db): a string is expected")
            if element.end - element.start > MAX_NAME_BYTES:
                raise _Refused(73, "the name in $db is too long", "InvalidNamespace")
            return name, text(payload, element)
    raise _Refused(40571, "OP_MSG requests require a $db argument")


def encode_msg(request_id: int, response_to: int, document: bytes, flags: int = 0) -> bytes:
    """Return an OP_MSG whose section 0 is *document*."""
    return b"".join((msg_prefix(request_id, response_to, len(document), flags), document))


def msg_prefix(request_id: int, response_to: int, size: int, flags: int = 0) -> bytes:
    """Return what stands in an OP_MSG before a section 0 of *size* bytes."""
    return _MSG_PREFIX.pack(_MSG_PREFIX.size + size, request_id, response_to, OP_MSG, flags, 0)


def encode_reply(
    request_id: int, response_to: int, document: bytes, flags: int = REPLY_AWAIT_CAPABLE
) -> bytes:
    """Return an OP_REPLY, the answer to an OP_QUERY, with one document."""
    length = HEADER_BYTES + _REPLY.size + len(document)
    header = _HEADER.pack(length, request_id, response_to, OP_REPLY)
    return b"".join((header, _REPLY.pack(flags, 0, 0, 1), document))


def compress(message: bytes, compressor_id: int) -> bytes:
    """Return a whole message as an OP_COMPRESSED."""
    _, request_id, response_to, opcode = _HEADER.unpack_from(message)
    payload = message[HEADER_BYTES:]
    packed = compression.compress(payload, compressor_id)
    length = HEADER_BYTES + _COMPRESSED.size + len(packed)
    header = _HEADER.pack(length, request_id, response_to, OP_COMPRESSED)
    return b"".join((header, _COMPRESSED.pack(opcode, len(payload), compressor_id), packed))
