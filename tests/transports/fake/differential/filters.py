"""Filters, and the commands that take nothing but one: find, count, distinct."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bson import Decimal128, Int64, Regex

from tests.transports.fake.differential.cases import COLLECTION, Batch, Document, Probe
from tests.transports.fake.differential.chooser import Chooser
from tests.transports.fake.differential.vocabulary import (
    COMMON,
    documents,
    name,
    number,
    operand,
    path,
    string,
    value,
)

Make = Callable[[Chooser], Any]

_TYPE_NAMES: Final[tuple[Any, ...]] = (
    *("double", "string", "object", "array", "binData", "objectId", "bool", "date", "null"),
    *("regex", "javascript", "javascriptWithScope", "int", "timestamp", "long", "decimal"),
    *("minKey", "maxKey", "number", "number", "string", "array", "object"),
    *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, -1, 127, 2.0),
)
_ODD_TYPE_NAMES: Final[tuple[Any, ...]] = (
    *("undefined", "missing", "dbPointer", "symbol", "", "Int", 0, 20, 1.5, True, None),
)
_PATTERNS: Final = ("a", "^a", "b$", "^A", "a.b", "^$", "[ab]+", "(?i)A", "a|b", ".", "\\d", "^é")


def types(c: Chooser) -> Any:
    """The operand of ``$type``."""
    if c.chance(75):
        return c.mostly(_TYPE_NAMES, _ODD_TYPE_NAMES)
    return c.some(lambda c: c.mostly(_TYPE_NAMES, _ODD_TYPE_NAMES, 2), 1, 3)


def regex(c: Chooser) -> Document:
    """``$regex`` with its options."""
    pattern: Any = c.pick(_PATTERNS)
    if c.chance(20):
        pattern = Regex(pattern, c.pick(("", "i", "m")))
    made: Document = {"$regex": pattern}
    if c.chance(35):
        made["$options"] = c.mostly(("i", "m", "s", "x", "im", "", "ixs"), ("q", 1, "g"))
    return made


def in_operand(c: Chooser) -> Any:
    """The operand of ``$in`` and ``$nin``."""
    members = c.some(operand, 0, 4)
    if c.chance(10):
        members.append(Regex(c.pick(_PATTERNS)))
    return members


def bits(c: Chooser) -> Any:
    """The operand of the ``$bits…`` operators."""
    kind = c.number(0, 3)
    if kind == 0:
        return c.some(lambda c: c.mostly((0, 1, 2, 5, 31, 63, 64, 200, 1.0), (-1, 1.5)), 0, 3)
    if kind == 1:
        return c.pick((b"", b"\x01", b"\x05\x01", b"ab"))
    return c.pick((0, 1, 2, 5, Int64(2**40), 8.0, Decimal128("3"))) if c.chance(85) else number(c)


def all_operand(c: Chooser) -> Any:
    """The operand of ``$all``."""
    if c.chance(20):
        return [{"$elemMatch": filter_(c, 0)} for _ in range(c.number(1, 2))]
    return c.some(operand, 0, 3)


def elem_match(c: Chooser) -> Any:
    """The operand of ``$elemMatch``."""
    return operators(c, 1) if c.chance(45) else filter_(c, 1)


def negated(c: Chooser) -> Any:
    """The operand of ``$not``."""
    return Regex(c.pick(_PATTERNS)) if c.chance(15) else operators(c, 1)


def modulo(c: Chooser) -> Any:
    """The operand of ``$mod``."""
    if c.chance(4):
        return c.some(number, 0, 4)
    return [c.pick((1, 2, 3, 5, 2.0, 2.5, -2, Int64(3))), c.pick((0, 0, 1, 1.0, -1, number(c)))]


_OPERATORS: Final[dict[str, Make]] = {
    "$eq": operand,
    "$ne": operand,
    "$gt": operand,
    "$gte": operand,
    "$lt": operand,
    "$lte": operand,
    "$in": in_operand,
    "$nin": in_operand,
    "$not": negated,
    "$exists": lambda c: c.pick((True, False, 1, 0, None, "a")),
    "$type": types,
    "$mod": modulo,
    "$all": all_operand,
    "$elemMatch": elem_match,
    "$size": lambda c: c.mostly((0, 1, 2, 3, 2.0), (1.5, -1, "a")),
    "$bitsAllSet": bits,
    "$bitsAllClear": bits,
    "$bitsAnySet": bits,
    "$bitsAnyClear": bits,
}
_NAMES: Final = tuple(_OPERATORS)


def operators(c: Chooser, most: int = 2) -> Document:
    """``{"$gt": 1, …}``."""
    made: Document = {}
    for _ in range(c.number(1, most)):
        if c.chance(8):
            made |= regex(c)
            continue
        operator = c.pick(_NAMES)
        made[operator] = value(c, 1) if c.chance(2) else _OPERATORS[operator](c)
    if c.chance(1):
        made[c.pick(("$foo", "a", "$options", "$ref"))] = value(c, 1)
    return made


def schema(c: Chooser, depth: int = 2) -> Document:
    """A ``$jsonSchema``."""
    made: Document = {}
    for _ in range(c.number(1, 2)):
        keyword = c.pick(tuple(_KEYWORDS))
        made[keyword] = value(c, 1) if c.chance(4) else _KEYWORDS[keyword](c, depth)
    return made


def _schemas(c: Chooser, depth: int) -> list[Document]:
    return [schema(c, depth - 1) if depth else {} for _ in range(c.number(1, 2))]


def _schema(c: Chooser, depth: int) -> Document:
    return schema(c, depth - 1) if depth else {}


def _length(c: Chooser, depth: int) -> Any:
    return c.mostly((0, 1, 2, 3, 1.0), (-1, 1.5, "a"))


_KEYWORDS: Final[dict[str, Callable[[Chooser, int], Any]]] = {
    "bsonType": lambda c, d: types(c),
    "type": lambda c, d: c.pick(("object", "array", "number", "boolean", "string", "null")),
    "required": lambda c, d: [name(c) for _ in range(c.number(1, 2))],
    "properties": lambda c, d: {name(c): _schema(c, d) for _ in range(c.number(0, 2))},
    "patternProperties": lambda c, d: {c.pick(("a", "^b", ".")): _schema(c, d)},
    "additionalProperties": lambda c, d: c.chance(50) if c.chance(50) else _schema(c, d),
    "minimum": lambda c, d: number(c),
    "maximum": lambda c, d: number(c),
    "exclusiveMinimum": lambda c, d: c.chance(50),
    "multipleOf": lambda c, d: number(c),
    "minLength": _length,
    "maxLength": _length,
    "pattern": lambda c, d: c.pick(_PATTERNS),
    "minItems": _length,
    "maxItems": _length,
    "uniqueItems": lambda c, d: c.chance(70),
    "items": lambda c, d: _schemas(c, d) if c.chance(50) else _schema(c, d),
    "additionalItems": lambda c, d: c.chance(50) if c.chance(50) else _schema(c, d),
    "minProperties": _length,
    "maxProperties": _length,
    "dependencies": lambda c, d: {
        name(c): [name(c)] if c.chance(50) else _schema(c, d) for _ in range(c.number(0, 2))
    },
    "enum": lambda c, d: c.some(operand, 0, 3),
    "allOf": _schemas,
    "anyOf": _schemas,
    "oneOf": _schemas,
    "not": _schema,
    "title": lambda c, d: "t",
    "description": lambda c, d: string(c),
}


def _comparison(c: Chooser) -> Document:
    operator = c.pick(("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$cmp"))
    left = "$" + c.pick(("a", "b", "a.b", "_id", "c"))
    right = {"$literal": operand(c)} if c.chance(70) else "$" + c.pick(("a", "b", "c.a"))
    return {operator: [left, right]}


def filter_(c: Chooser, depth: int = 2) -> Document:
    """A filter."""
    made: Document = {}
    for _ in range(c.number(0, 9) // 4 + (0 if c.chance(4) else 1)):
        kind = c.number(0, 99)
        if kind < 80 or depth <= 0:
            if c.places and c.chance(55):
                place, found = c.pick(c.places)
                made[place] = about(c, found)
            else:
                made[path(c)] = condition(c)
        elif kind < 92:
            members = [filter_(c, depth - 1) for _ in range(c.number(1, 2))]
            if c.chance(3):
                members = c.pick((value(c, 1), []))
            made[c.pick(("$and", "$or", "$nor"))] = members
        elif kind < 95:
            made["$expr"] = _comparison(c)
        elif kind < 98:
            made["$jsonSchema"] = schema(c)
        elif kind < 99:
            made["$comment"] = value(c, 1)
        else:
            made[c.pick(("$foo", "$alwaysTrue", "$alwaysFalse", "$not", "$gt"))] = value(c, 1)
    return made


def condition(c: Chooser) -> Any:
    """What a filter asks of a field."""
    kind = c.number(0, 99)
    if kind < 28:
        return operand(c)
    if kind < 32:
        return Regex(c.pick(_PATTERNS), c.pick(("", "i", "m", "s", "x")))
    return operators(c)


def about(c: Chooser, found: Any) -> Any:
    """A condition on a value that a document has."""
    kind = c.number(0, 9)
    if kind < 4 or (isinstance(found, str) and found.startswith("$")):
        return found
    if kind < 7:
        return {c.pick(("$eq", "$gte", "$lte", "$gt", "$lt", "$ne")): found}
    if kind < 8:
        return {c.pick(("$in", "$nin", "$all")): [found, operand(c)][: c.number(1, 2)]}
    return condition(c)


def simple_filter(c: Chooser) -> Document:
    """A filter that mostly matches: for updates, which are the point there."""
    kind = c.number(0, 9)
    if kind < 4:
        return {}
    if kind < 6:
        return {"_id": c.number(1, 5)}
    if kind < 8:
        return {path(c): {c.pick(("$exists", "$exists", "$ne")): c.chance(80)}}
    return filter_(c, 1)


COLLATIONS: Final[tuple[Document, ...]] = (
    {"locale": "en", "strength": 1},
    {"locale": "en", "strength": 2},
    {"locale": "en"},
    {"locale": "en", "strength": 1, "caseLevel": True},
    {"locale": "en", "numericOrdering": True},
    {"locale": "fr", "strength": 2, "backwards": True},
    {"locale": "en", "caseFirst": "upper"},
    {"locale": "en", "alternate": "shifted"},
    {"locale": "simple"},
    {"locale": "xx"},
    {"locale": "en", "strength": 9},
    {},
)


def _filter_probe(c: Chooser) -> Probe:
    kind = c.number(0, 99)
    if kind < 80:
        command: Document = {"find": COLLECTION, "filter": filter_(c)}
        if c.chance(85):
            command["projection"] = {"_id": 1}
    elif kind < 87:
        command = {"count": COLLECTION, "query": filter_(c)}
        if c.chance(30):
            command["limit"] = c.pick((1, 2, 0, -1))
            command["skip"] = c.mostly((0, 1, 2), (-1,))
    elif kind < 96:
        command = {"distinct": COLLECTION, "key": path(c), "query": simple_filter(c)}
    else:
        command = {
            "aggregate": COLLECTION,
            "pipeline": [{"$match": filter_(c)}, {"$project": {"_id": 1}}],
            "cursor": {},
        }
    return Probe((command,))


def filter_batch(c: Chooser) -> Batch:
    """Filters in ``find``, ``count``, ``distinct`` and ``$match``."""
    made = documents(c, 2, 6)
    return Batch("filters", {COLLECTION: made}, tuple(c.some(_filter_probe, 8, 8)))


_WORDS: Final = (
    *("a", "A", "á", "à", "b", "B", "ab", "aB", "a b", "a-b", "ab1", "a10", "a2", "a1", "", "é"),
    *("E", "e", "ß", "ss", "z", "Z", "_a", "-a", " a", "10", "9", "2", "co-op", "coop", "ñ", "n"),
)


def _collation_probe(c: Chooser) -> Probe:
    collation = c.pick(COLLATIONS[:-3] if c.chance(97) else COLLATIONS)
    kind = c.number(0, 3)
    key = c.pick(("a", "a.b", "b"))
    if kind == 0:
        command: Document = {"find": COLLECTION, "sort": {key: c.pick((1, -1)), "_id": 1}}
    elif kind == 1:
        command = {"distinct": COLLECTION, "key": key}
        return Probe(({**command, "collation": collation},))
    elif kind == 2:
        wanted = c.pick(("$eq", "$gt", "$gte", "$lt", "$lte", "$ne"))
        command = {"find": COLLECTION, "filter": {key: {wanted: c.pick(_WORDS)}}}
    else:
        words = c.some(lambda c: c.pick(_WORDS), 1, 3)
        command = {"find": COLLECTION, "filter": {key: {c.pick(("$in", "$nin", "$all")): words}}}
    return Probe(({**command, "collation": collation},))


def collation_batch(c: Chooser) -> Batch:
    """Strings under collations: equality, order, distinct values."""

    def word(c: Chooser) -> Any:
        kind = c.number(0, 9)
        if kind < 7:
            return c.pick(_WORDS)
        return c.pick(COMMON) if kind < 8 else [word(c) for _ in range(c.number(0, 2))]

    made = [{"_id": i, "a": word(c), "b": {"b": word(c)}} for i in range(1, 7)]
    return Batch("collations", {COLLECTION: made}, tuple(c.some(_collation_probe, 8, 8)))
