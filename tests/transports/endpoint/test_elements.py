"""Walking BSON without decoding it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from transports.endpoint.elements import (
    MAX_ELEMENTS,
    Element,
    MalformedDocument,
    document_end,
    elements,
    find,
    number,
    text,
    timestamp,
)

EVERY_TYPE: dict[str, Any] = {
    "double": 1.5,
    "string": "grüße",
    "document": {"a": {"b": 1}},
    "array": [1, "x", {"y": 2}],
    "binary": Binary(b"\x00\x01", 128),
    "objectid": ObjectId(),
    "true": True,
    "date": datetime.datetime(2026, 1, 1),
    "null": None,
    "regex": Regex("a.b", "i"),
    "pattern": re.compile("x"),
    "dbref": DBRef("c", 1),
    "code": Code("f()"),
    "scoped": Code("f()", {"x": 1}),
    "int32": 7,
    "timestamp": Timestamp(5, 6),
    "int64": Int64(2**40),
    "decimal": Decimal128("1.5"),
    "minkey": MinKey(),
    "maxkey": MaxKey(),
    "empty string": "",
    "empty document": {},
    "": "a name may be empty",
}
# Types that Python's encoder no longer writes: undefined, DBPointer, symbol.
OLD_TYPES = (
    b"\x06undefined\x00"
    b"\x0cpointer\x00\x02\x00\x00\x00a\x00" + bytes(12) + b"\x0esymbol\x00\x03\x00\x00\x00ab\x00"
)

json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.binary()
    # BSON's names and patterns end with a zero byte, its strings may hold one
    | st.text(),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", codec="utf-8")), children
        )
    ),
    max_leaves=8,
)
documents = st.dictionaries(
    st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=8), json_like
)


def document_of(raw_elements: bytes) -> bytes:
    return (len(raw_elements) + 5).to_bytes(4, "little") + raw_elements + b"\0"


def test_every_type_is_stepped_over() -> None:
    found = [element.name.decode() for element in elements(bson.encode(EVERY_TYPE))]
    assert found == list(EVERY_TYPE)


def test_types_of_old_servers_are_stepped_over() -> None:
    data = document_of(OLD_TYPES + b"\x10last\x00\x01\x00\x00\x00")
    names = [element.name for element in elements(data)]
    assert names == [b"undefined", b"pointer", b"symbol", b"last"]


def test_a_document_in_the_midst_of_bytes_is_walked_where_it_lies() -> None:
    data = b"before" + bson.encode({"a": 1, "b": "x"}) + b"after"
    element = find(data, b"b", 6)
    assert element is not None
    assert text(data, element) == "x"
    assert document_end(data, 6) == len(data) - len(b"after")


def test_values_are_read() -> None:
    data = bson.encode(
        {"d": 1.0, "i": 5, "l": Int64(6), "t": True, "s": "x", "ts": Timestamp(2, 3)}
    )
    by_name = {element.name.decode(): element for element in elements(data)}
    numbers = [number(data, by_name[name]) for name in ("d", "i", "l", "t", "s")]
    assert numbers == [1.0, 5, 6, 1, None]
    assert timestamp(data, by_name["ts"]) == (2 << 32) + 3
    assert find(data, b"nothing") is None


def test_a_string_that_is_not_utf8_is_read_with_replacements() -> None:
    data = document_of(b"\x02$db\x00\x03\x00\x00\x00a\xff\x00")
    element = find(data, b"$db")
    assert element is not None
    assert text(data, element) == "a\ufffd"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x05\x00\x00\x00",
        b"\x05\x00\x00\x00\x01",
        b"\x04\x00\x00\x00\x00",
        b"\xff\xff\xff\xff\x00",
        b"\x06\x00\x00\x00\x00",
        document_of(b"\x10a"),
        document_of(b"\x10a\x00\x01\x00"),
        document_of(b"\x77a\x00"),
        document_of(b"\x02a\x00\xff\xff\xff\xff"),
        document_of(b"\x02a\x00\x00\x00\x00\x00"),
        document_of(b"\x02a\x00\xff\xff\xff\x7f\x00"),
        document_of(b"\x03a\x00\x00\x00\x00\x00"),
        document_of(b"\x05a\x00\xfb\xff\xff\xff\x00"),
        document_of(b"\x02a\x00\x01"),
        document_of(b"\x0ba\x00xyz"),
        document_of(b"\x0ba\x00xyz\x00i"),
    ],
)
def test_malformed_documents_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedDocument):
        list(elements(data))


def test_a_document_of_endless_elements_is_given_up() -> None:
    data = document_of(b"\x0a\x00" * (MAX_ELEMENTS + 1))
    with pytest.raises(MalformedDocument, match="more than"):
        list(elements(data))


@given(documents)
def test_the_walk_agrees_with_the_decoder(document: dict[str, Any]) -> None:
    data = bson.encode(document)
    assert [element.name.decode() for element in elements(data)] == list(document)
    for element in elements(data):
        lone = document_of(data[element.start - len(element.name) - 2 : element.end])
        assert bson.encode(bson.decode(lone)) == lone


@given(st.binary(max_size=64), st.integers(-1, 70))
def test_garbage_ends_in_one_exception(garbage: bytes, length: int) -> None:
    for data in (garbage, length.to_bytes(4, "little", signed=True) + garbage):
        try:
            for element in elements(data):
                assert 0 <= element.start <= element.end < len(data)
        except MalformedDocument:
            pass


def plainly(data: bytes) -> Iterator[Element]:
    """Yield elements as the specification has them, one step after the other."""
    end = document_end(data) - 1
    at = 4
    while at != end:
        kind, name, found = data[at], *data[at + 1 : end].partition(b"\0")[:2]
        start = at + 2 + len(name)
        if not found:
            raise MalformedDocument
        if kind in FIXED:
            at = start + FIXED[kind]
        elif kind in PREFIXED:
            if start + 4 > end:
                raise MalformedDocument
            length = int.from_bytes(data[start : start + 4], "little", signed=True)
            if length < 0 or length + PREFIXED[kind] < 5:
                raise MalformedDocument
            at = start + length + PREFIXED[kind]
        elif kind == 0x0B and data[start:end].count(0) > 1:
            at = data.index(0, data.index(0, start) + 1) + 1
        else:
            raise MalformedDocument
        if at > end:
            raise MalformedDocument
        yield Element(name, kind, start, at)


FIXED = {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 255: 0, 127: 0}
PREFIXED = {2: 4, 3: 0, 4: 0, 5: 5, 12: 16, 13: 4, 14: 4, 15: 0}


def walked(walk: Iterator[Element]) -> tuple[list[Element], bool]:
    """Return what is found before a document's end, or before what is malformed in it."""
    seen: list[Element] = []
    try:
        for element in walk:
            seen.append(element)  # noqa: PERF402 - what came ahead of the exception counts
    except MalformedDocument:
        return seen, False
    return seen, True


TYPES_AND_LENGTHS = st.sampled_from([*range(20), 127, 128, 252, 255])


@given(
    st.lists(st.tuples(TYPES_AND_LENGTHS, st.binary(max_size=2), TYPES_AND_LENGTHS), max_size=5),
    st.integers(0, 16),
    st.binary(max_size=4),
    st.lists(st.tuples(st.integers(0, 200), TYPES_AND_LENGTHS), max_size=3),
)
def test_the_walk_agrees_with_one_step_by_step_on_what_is_malformed(
    parts: list[tuple[int, bytes, int]], size: int, more: bytes, changes: list[tuple[int, int]]
) -> None:
    body = b"".join(
        bytes([kind]) + name + b"\0" + bytes([length, 0, 0, 0]) + bytes(size)
        for kind, name, length in parts
    )
    changed = bytearray(body + more)
    for at, byte in changes:
        if at < len(changed):
            changed[at] = byte
    data = document_of(bytes(changed))
    assert walked(elements(data)) == walked(plainly(data))


@given(documents, st.integers(0, 10**6), TYPES_AND_LENGTHS)
def test_the_walk_agrees_with_one_step_by_step_where_a_byte_has_changed(
    document: dict[str, Any], at: int, byte: int
) -> None:
    changed = bytearray(bson.encode(document))
    changed[at % len(changed)] = byte
    data = bytes(changed)
    try:
        document_end(data)
    except MalformedDocument:
        return
    assert walked(elements(data)) == walked(plainly(data))
