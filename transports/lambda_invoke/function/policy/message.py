"""An OP_MSG as the policy reads it: names and places of fields, nothing decoded, nothing twice.

What decides about a command must not be misread. So a message is refused that another reader could
understand differently: two sections of kind 0, a field that occurs twice (or in section 0 and as a
document sequence), lengths that do not add up, bytes at the end. Values stay where they are: what
is only data (the documents of an insert) is stepped over by its length, as the server does.

Standard library only; no I/O.

Spec: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
https://bsonspec.org/spec.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

from transports.lambda_invoke.function.policy.refusal import Violation, shown

DOUBLE, STRING, DOCUMENT, ARRAY, BINARY, BOOLEAN = 0x01, 0x02, 0x03, 0x04, 0x05, 0x08
INT32, INT64 = 0x10, 0x12

MAX_DEPTH = 180
"""Levels of nesting that are looked at; a server stores no document of more than 180."""

MAX_STATEMENTS = 100_000
"""Statements of one write that are looked at: a server takes as many (``maxWriteBatchSize``)."""

MAX_FIELDS = 1000
"""Fields whose places are remembered: of a command, a statement, a stage. None has a hundred; 48 MB
hold millions, which are looked at one by one and forgotten."""

MAX_LOOKED_AT = 2_000_000
"""Fields of one command that are looked at, wherever they are nested: about a second of work. An
invoke of 50 kB may unpack to 48 MB, which have room for 24 million."""

_REMEMBERED_BYTES = 65_536
_MORE_TO_COME = 2
_BODY, _SEQUENCE = 0, 1
_FIXED_SIZES = {
    DOUBLE: 8,
    0x06: 0,  # undefined
    0x07: 12,  # ObjectId
    BOOLEAN: 1,
    0x09: 8,  # date
    0x0A: 0,  # null
    INT32: 4,
    0x11: 8,  # timestamp
    INT64: 8,
    0x13: 16,  # Decimal128
    0xFF: 0,  # MinKey
    0x7F: 0,  # MaxKey
}
# Values that begin with an int32, and what to add to it for the size of the whole value.
_PREFIXED_SIZES = {
    STRING: 4,
    DOCUMENT: 0,
    ARRAY: 0,
    BINARY: 5,
    0x0C: 16,  # DBPointer
    0x0D: 4,  # code
    0x0E: 4,  # symbol
    0x0F: 0,  # code with scope
}
_REGULAR_EXPRESSION = 0x0B
_new = tuple.__new__  # a NamedTuple's own takes its arguments one by one
_length_at = struct.Struct("<i").unpack_from
_INT32 = struct.Struct("<i")
_INT64 = struct.Struct("<q")
_FLOAT = struct.Struct("<d")


class Element(NamedTuple):
    """One field: its name, its BSON type, and where its value begins and ends."""

    name: bytes
    type: int
    start: int
    end: int


Data = bytes | bytearray
"""A message that was staged arrives as a bytearray, and is too long to be copied."""


@dataclass(frozen=True, slots=True)
class Message:
    """A command.

    Attributes:
        data: the message: flags and sections.
        start: where the document of section 0 begins.
        fields: its fields in order, the command's name first.
        sequences: document sequences by name, as ``(start, end)`` of their documents.
    """

    data: Data
    start: int
    fields: dict[bytes, Element]
    sequences: dict[bytes, tuple[int, int]]


class _Last:
    """The message that was read last: the log's names and the policy's rules are of the same."""

    message: Message | None = None


def read(message: Data) -> Message:
    """Read *message*: an OP_MSG after its header.

    Raises:
        Violation: it is malformed, or could be read in two ways.
    """
    last = _Last.message
    if last is not None and last.data is message:
        return last
    found = _read(message)
    if message.__class__ is bytes and len(message) <= _REMEMBERED_BYTES:  # others may change
        _Last.message = found
    return found


def _read(message: Data) -> Message:
    if len(message) < 10 or int.from_bytes(message[:4], "little") & ~_MORE_TO_COME:
        raise Violation("takes no message with such flags")
    position, size, start = 4, len(message), 0
    sequences: dict[bytes, tuple[int, int]] = {}
    while position < size:
        kind = message[position]
        end = _end(message, position + 1, size)
        if kind == _BODY and not start:
            start = position + 1
        elif kind == _SEQUENCE:
            name_end = message.find(0, position + 5, end)
            if name_end < 0:
                raise Violation("takes no malformed document sequence")
            name = bytes(message[position + 5 : name_end])
            if name in sequences:
                raise Violation(f"takes no document sequence twice: {shown(name)}")
            sequences[name] = (name_end + 1, end)
        else:
            raise Violation("takes one command a message, and no section of another kind")
        position = end
    if not start:
        raise Violation("takes no message without a command")
    fields = fields_of(message, start)
    if not fields:
        raise Violation("takes no empty command")
    for name in sequences:
        if name in fields:
            raise Violation(f"takes no field twice: {shown(name)}")
    return Message(message, start, fields, sequences)


Looks = Iterator[None]
"""One for every field that may still be looked at; see `MAX_LOOKED_AT`."""

_UNCOUNTED: Looks = repeat(None)
_NONE_LEFT = 1


def looks() -> Looks:
    """Return what one command has."""
    return repeat(None, MAX_LOOKED_AT)


def look(looks: Looks) -> None:
    """Take one of *looks*.

    Raises:
        Violation: there is none left.
    """
    if next(looks, _NONE_LEFT):
        raise Violation(f"looks at no more than {MAX_LOOKED_AT:,} fields of a command")


def elements(
    data: Data, start: int, limit: int | None = None, looks: Looks = _UNCOUNTED
) -> Iterator[Element]:
    """Yield the fields of the document at *start*, which must end before *limit*.

    Raises:
        Violation: it is malformed, or there are no *looks* left.
    """
    end = _end(data, start, len(data) if limit is None else limit) - 1
    if data[end]:
        raise Violation("takes no malformed BSON")
    position = start + 4
    try:
        while position < end:
            kind = data[position]
            name_end = data.index(0, position + 1, end)
            value = name_end + 1
            fixed = _FIXED_SIZES.get(kind)
            if fixed is not None:
                following = value + fixed
            elif kind == _REGULAR_EXPRESSION:
                following = data.index(0, data.index(0, value, end) + 1, end) + 1
            else:
                length = _length_at(data, value)[0]
                following = value + length + _PREFIXED_SIZES[kind]
                if length < 0 or following < value + 5:
                    raise Violation("takes no malformed BSON")
            if following > end:
                raise Violation("takes no malformed BSON")
            name = data[position + 1 : name_end]
            if name.__class__ is not bytes:
                name = bytes(name)
            if next(looks, _NONE_LEFT):
                look(looks)
            yield _new(Element, (name, kind, value, following))
            position = following
    except (ValueError, KeyError, struct.error):  # no end of a string, an unknown type, cut off
        raise Violation("takes no malformed BSON") from None


def fields_of(
    data: Data, start: int, limit: int | None = None, looks: Looks = _UNCOUNTED
) -> dict[bytes, Element]:
    """Return the fields of the document at *start* by name.

    Raises:
        Violation: it is malformed, a field occurs twice, there are more than `MAX_FIELDS`, or no
            *looks* left.
    """
    fields: dict[bytes, Element] = {}
    for element in elements(data, start, limit, looks):
        if element.name in fields:
            raise Violation(f"takes no field twice: {shown(element.name)}")
        if len(fields) == MAX_FIELDS:
            raise Violation(f"takes no more than {MAX_FIELDS} fields here")
        fields[element.name] = element
    return fields


def documents(data: Data, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the documents of a sequence begin and end.

    Raises:
        Violation: they do not fill it, or there are more than `MAX_STATEMENTS`.
    """
    for _ in range(MAX_STATEMENTS):
        if start == end:
            return
        following = _end(data, start, end)
        yield start, following
        start = following
    if start != end:
        raise Violation(f"takes no more than {MAX_STATEMENTS:,} statements at a time")


def text(data: Data, element: Element, what: str) -> str:
    """Return the value of a string.

    Raises:
        Violation: it is of another type, no UTF-8, or holds a zero byte.
    """
    value = data[element.start + 4 : element.end]
    if element.type == STRING and value.find(0) == len(value) - 1:
        try:
            return value[:-1].decode()
        except UnicodeDecodeError:
            pass
    raise Violation(f"takes {what} as a string only")


def whole_number(data: Data, element: Element) -> int:
    """Return the value of an int32, int64 or whole double.

    Raises:
        Violation: it is something else.
    """
    if element.type == INT32:
        return int(_INT32.unpack_from(data, element.start)[0])
    if element.type == INT64:
        return int(_INT64.unpack_from(data, element.start)[0])
    if element.type == DOUBLE:
        value = float(_FLOAT.unpack_from(data, element.start)[0])
        if value.is_integer():
            return int(value)
    raise Violation(f"takes {shown(element.name)} as a whole number only")


def truthy(data: Data, element: Element) -> bool:
    """Return whether a flag is set; what is neither false nor 0 counts as set."""
    if element.type == BOOLEAN:
        return data[element.start] != 0
    if element.type in (INT32, INT64, DOUBLE):
        return any(data[element.start : element.end])
    return True


def _end(data: Data, start: int, limit: int) -> int:
    """Return where what begins with its own length at *start* ends."""
    if start + 5 > limit:
        raise Violation("takes no message that is cut off")
    end = start + int(_length_at(data, start)[0])
    if not start + 5 <= end <= limit:
        raise Violation("takes no message whose lengths do not add up")
    return end
