"""The values, names and paths that cases are made of: few common ones that meet, many odd ones."""

from __future__ import annotations

from typing import Any, Final

from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex
from bson.timestamp import Timestamp

from tests.transports.fake.differential.chooser import Chooser

Document = dict[str, Any]

NUMBERS: Final[tuple[Any, ...]] = (
    0,
    1,
    2,
    3,
    -1,
    5,
    1.0,
    1.5,
    2.0,
    2.5,
    -1.5,
    Int64(1),
    Int64(2),
    Int64(-3),
    Decimal128("1"),
    Decimal128("1.5"),
    Decimal128("2.50"),
)
ODD_NUMBERS: Final[tuple[Any, ...]] = (
    10,
    2**31 - 1,
    -(2**31),
    Int64(2**31),
    Int64(2**53),
    Int64(2**53 + 1),
    Int64(2**63 - 1),
    Int64(-(2**63)),
    Int64(0),
    0.0,
    -0.0,
    0.1,
    float("nan"),
    float("inf"),
    float("-inf"),
    1e300,
    5e-324,
    1e-7,
    2.0**31,
    2.0**53,
    2.0**63,
    -(2.0**63),
    123456789.123,
    Decimal128("0"),
    Decimal128("-0"),
    Decimal128("1.0"),
    Decimal128("0.1"),
    Decimal128("NaN"),
    Decimal128("Infinity"),
    Decimal128("-Infinity"),
    Decimal128("1E+6144"),
    Decimal128("1E-6176"),
    Decimal128("9999999999999999999999999999999999"),
    Decimal128("1E+3"),
    Decimal128("0E+10"),
    Decimal128("9223372036854775807"),
    Decimal128("-7.5"),
)
STRINGS: Final = ("a", "b", "ab", "A", "abc", "", "B")
ODD_STRINGS: Final = (
    "é",
    "e\u0301",
    "É",
    "ß",
    "ss",
    "x.y",
    "$a",
    "1",
    "0",
    "10",
    "2",
    "a1",
    "a10",
    "a2",
    "\U0001f600",
    "a\x00b",
    " a ",
    "a b",
    "a-b",
    "a\nb",
    "2020-01-02",
    "2020-01-02T03:04:05.678Z",
    "5f0000000000000000000001",
    "日本",
    "-1.5",
    "1e3",
    "true",
    "\u00e4",
    "z",
    "\uffff",
)
DATES: Final = (
    DatetimeMS(0),
    DatetimeMS(1577934245678),
    DatetimeMS(1577934245000),
    DatetimeMS(1582934400000),
    DatetimeMS(1600000000000),
)
ODD_DATES: Final = (
    DatetimeMS(-1),
    DatetimeMS(-86400001),
    DatetimeMS(-2208988800000),
    DatetimeMS(-62135596800000),
    DatetimeMS(253402300799999),
    DatetimeMS(400000000000000),
    DatetimeMS(2**63 - 1),
    DatetimeMS(-(2**63)),
)
IDS: Final = (ObjectId("5f0000000000000000000001"), ObjectId("5f00000000000000000000ff"))
OTHERS: Final[tuple[Any, ...]] = (
    *IDS,
    b"",
    b"\x01",
    b"ab",
    Binary(b"\x01", 5),
    Binary(b"\x02\x00\x00\x00ab", 128),
    Binary(b"0123456789abcdef", 4),
    Regex("a"),
    Regex("^A", "i"),
    Regex("b$", "im"),
    Timestamp(1, 1),
    Timestamp(1, 2),
    Timestamp(4294967295, 4294967295),
    MinKey(),
    MaxKey(),
    Code("x"),
    Code("x", {}),
    Code("x", {"a": 1}),
)
COMMON: Final[tuple[Any, ...]] = (*NUMBERS, *STRINGS, None, None, True, False)
ODD: Final[tuple[Any, ...]] = (
    *ODD_NUMBERS,
    *ODD_STRINGS,
    *DATES,
    *ODD_DATES,
    *OTHERS,
    *OTHERS,
)

NAMES: Final = ("a", "a", "a", "b", "b", "b", "c", "c")
ODD_NAMES: Final = ("0", "1", "x", "", "$x", "a.b", "é", "_id", "00", "2")
PATHS: Final = (
    *("a", "a", "a", "b", "b", "c"),
    *("a.b", "a.b", "a.0", "a.b.c", "a.0.b", "b.a", "b.0", "c.a", "c.b", "a.a", "a.1", "a.c"),
    *("_id", "x", "b.1.a", "a.b.0", "a.0.0", "b.b", "a.0.a", "c.0"),
)
ODD_PATHS: Final = (
    *("", "a.", ".a", "a..b", "$a", "a.$b", "a.$", "a.00", "a.-1", "_id.a", "a.2147483648"),
    *("a.b.c.a.b", "é", "a.0.1.b", "a.$[]", "a.$[e]", "b.", "."),
)


def number(c: Chooser) -> Any:
    """A number of any type."""
    return c.pick(NUMBERS if c.chance(70) else ODD_NUMBERS)


def string(c: Chooser) -> str:
    """A string."""
    return c.pick(STRINGS if c.chance(65) else ODD_STRINGS)


def date(c: Chooser) -> DatetimeMS:
    """A date, seldom one that no calendar has."""
    return c.pick(DATES if c.chance(75) else ODD_DATES)


def scalar(c: Chooser) -> Any:
    """A value that is neither document nor array."""
    return c.pick(COMMON if c.chance(65) else ODD)


def value(c: Chooser, depth: int = 2) -> Any:
    """Any value."""
    kind = c.number(0, 99)
    if depth <= 0 or kind < 60:
        return scalar(c)
    return array(c, depth) if kind < 82 else embedded(c, depth)


def array(c: Chooser, depth: int = 2) -> list[Any]:
    """An array, of scalars, of documents or of anything, with repetitions."""
    kind = c.number(0, 9)
    if kind < 4:
        return c.some(scalar, 0, 4)
    if kind < 8:
        return c.some(lambda c: embedded(c, depth - 1), 0, 3)
    return c.some(lambda c: value(c, depth - 1), 0, 3)


def embedded(c: Chooser, depth: int = 2) -> Document:
    """An embedded document, seldom with odd names."""
    return {name(c): value(c, depth - 1) for _ in range(c.number(0, 3))}


def name(c: Chooser) -> str:
    """The name of a field."""
    return c.pick(NAMES if c.chance(93) else ODD_NAMES)


def path(c: Chooser) -> str:
    """A path, seldom an odd one."""
    return c.pick(PATHS if c.chance(95) else ODD_PATHS)


def top_name(c: Chooser) -> str:
    """The name of a top-level field of a stored document."""
    if c.chance(97):
        return c.pick(NAMES)
    return c.pick(("x", "", "a.b", "é", "$x"))


def stored(c: Chooser, id_: Any) -> Document:
    """A document to store."""
    return {"_id": id_} | {top_name(c): value(c, 3) for _ in range(c.number(0, 4))}


def documents(c: Chooser, least: int = 1, most: int = 5) -> list[Document]:
    """Documents to store, which the chooser then has seen."""
    made = [stored(c, id_) for id_ in range(1, c.number(least, most) + 1)]
    for document in made:
        look(c, document, "")
    return made


def look(c: Chooser, node: Any, where: str) -> None:
    """Let the chooser see what is in a document, at paths with and without indexes."""
    named = node.items() if isinstance(node, dict) else enumerate(node)
    for key, member in named:
        c.seen.append(member)
        paths = {f"{where}{key}"}
        if isinstance(node, list):
            paths.add(where.removesuffix("."))
        for found in paths:
            c.places.append((found, member))
            if isinstance(member, dict | list):
                look(c, member, f"{found}.")


def operand(c: Chooser) -> Any:
    """A value to compare with: often one that a document has."""
    if c.seen and c.chance(45):
        return c.pick(c.seen)
    return value(c, 2)
