"""Reading a BSON document where it lies: its top-level elements by their lengths, nothing decoded.

An endpoint needs a command's name, its ``$db`` and a few fields of a reply. Decoding whole
documents for that would cost more than carrying them, and encoding them again would lose what
Python cannot hold. This module steps over values; it knows no command and no socket.

Spec: https://bsonspec.org/spec.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

DOUBLE, STRING, DOCUMENT, ARRAY, BOOLEAN = 0x01, 0x02, 0x03, 0x04, 0x08
INT32, TIMESTAMP, INT64 = 0x10, 0x11, 0x12

MAX_ELEMENTS = 10_000
"""Top-level elements that are looked at: a command has a dozen, and walking is not free."""

_FIXED_SIZES = {
    DOUBLE: 8,
    0x06: 0,  # undefined
    0x07: 12,  # ObjectId
    BOOLEAN: 1,
    0x09: 8,  # date
    0x0A: 0,  # null
    INT32: 4,
    TIMESTAMP: 8,
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
    0x05: 5,  # binary: length, subtype
    0x0C: 16,  # DBPointer: string, ObjectId
    0x0D: 4,  # code
    0x0E: 4,  # symbol
    0x0F: 0,  # code with scope
}
# Both tables in one, by the byte that is the type: what to add to a value's start, below zero for
# what to take from its length, None for what is neither.
_STEPS: list[int | None] = [None] * 256
for _kind, _size in _FIXED_SIZES.items():
    _STEPS[_kind] = _size
for _kind, _size in _PREFIXED_SIZES.items():
    _STEPS[_kind] = -1 - _size
_INT32 = struct.Struct("<i")
_int32_at = _INT32.unpack_from
_new = tuple.__new__  # a NamedTuple's own takes its arguments one by one
_INT64 = struct.Struct("<q")
_UINT64 = struct.Struct("<Q")
_FLOAT = struct.Struct("<d")


class MalformedDocument(ValueError):
    """The bytes are not a BSON document."""


class Element(NamedTuple):
    """One element: its name, BSON type, and where its value begins and ends."""

    name: bytes
    type: int
    start: int
    end: int


def document_end(data: bytes, start: int = 0, limit: int | None = None) -> int:
    """Return where the document at *start* ends; it must lie before *limit* (default: the end).

    Raises:
        MalformedDocument: its length does not fit, or it is not terminated.
    """
    limit = len(data) if limit is None else limit
    if limit - start < 5:
        raise MalformedDocument("a document needs five bytes at least")
    end = start + int(_INT32.unpack_from(data, start)[0])
    if not start + 5 <= end <= limit:
        raise MalformedDocument(f"a document's length is {end - start}")
    if data[end - 1]:
        raise MalformedDocument("a document is not terminated")
    return end


def elements(data: bytes, start: int = 0) -> Iterator[Element]:
    """Yield the top-level elements of the document that begins at *start*.

    Raises:
        MalformedDocument: a length leads outside the document, a type is unknown, or there are
            more than `MAX_ELEMENTS`.
    """
    end = document_end(data, start) - 1
    position = start + 4
    find = data.find
    for _ in range(MAX_ELEMENTS):
        if position == end:
            return
        kind = data[position]
        name_end = find(0, position + 1, end)
        if name_end < 0:
            raise MalformedDocument("an element's name does not end")
        value = name_end + 1
        step = _STEPS[kind]
        if step is None or value + 4 > end:
            following = _value_end(data, kind, value, end)
        elif step >= 0:
            following = value + step
        else:
            length = _int32_at(data, value)[0]
            following = value + length - 1 - step
            if length < 0 or following < value + 5:  # shorter than the shortest of these values
                raise MalformedDocument(f"a value's length is {length}")
        if following > end:
            raise MalformedDocument(f"a value of type {kind:#04x} leads out of its document")
        yield _new(Element, (data[position + 1 : name_end], kind, value, following))
        position = following
    raise MalformedDocument(f"a document has more than {MAX_ELEMENTS} elements")


def _value_end(data: bytes, kind: int, value: int, end: int) -> int:
    fixed = _FIXED_SIZES.get(kind)
    if fixed is not None:
        return value + fixed
    extra = _PREFIXED_SIZES.get(kind)
    if extra is not None:
        if value + 4 > end:
            raise MalformedDocument("a value's length is cut off")
        length = int(_INT32.unpack_from(data, value)[0])
        if length < 0 or length + extra < 5:  # shorter than the shortest of these values
            raise MalformedDocument(f"a value's length is {length}")
        return value + length + extra
    if kind == 0x0B:  # a regular expression: pattern and options, each ended by a zero byte
        pattern = data.find(0, value, end)
        options = data.find(0, pattern + 1, end) if pattern >= 0 else -1
        if options < 0:
            raise MalformedDocument("a regular expression does not end")
        return options + 1
    raise MalformedDocument(f"unknown BSON type {kind:#04x}")


def text(data: bytes, element: Element) -> str:
    """Return the value of a string element; bytes that are not UTF-8 are replaced."""
    return data[element.start + 4 : element.end - 1].decode("utf-8", "replace")


def number(data: bytes, element: Element) -> float | int | None:
    """Return the value of a double, int32, int64 or boolean element, None for other types."""
    if element.type == DOUBLE:
        return float(_FLOAT.unpack_from(data, element.start)[0])
    if element.type == INT32:
        return int(_INT32.unpack_from(data, element.start)[0])
    if element.type == INT64:
        return int(_INT64.unpack_from(data, element.start)[0])
    if element.type == BOOLEAN:
        return data[element.start]
    return None


def timestamp(data: bytes, element: Element) -> int:
    """Return a timestamp element as one unsigned integer that orders as timestamps do."""
    return int(_UINT64.unpack_from(data, element.start)[0])


def find(data: bytes, name: bytes, start: int = 0) -> Element | None:
    """Return the first top-level element called *name* of the document at *start*, or None.

    Raises:
        MalformedDocument: the document is malformed before that element.
    """
    for element in elements(data, start):
        if element.name == name:
            return element
    return None
