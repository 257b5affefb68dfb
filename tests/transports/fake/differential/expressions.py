"""Expressions of every operator, with arguments that mostly have the right type.

Kinds of arguments and results: ``n`` number, ``i`` small integer, ``s`` string, ``d`` date, ``l``
array, ``o`` document, ``b`` boolean, ``v`` anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bson import Decimal128, Int64

from tests.transports.fake.differential.cases import COLLECTION, Batch, Document, Probe
from tests.transports.fake.differential.chooser import Chooser
from tests.transports.fake.differential.vocabulary import (
    array,
    date,
    embedded,
    number,
    scalar,
    string,
    value,
)

Make = Callable[[Chooser, int], Any]

_TYPED: Final = {
    "n": ("$n", "$m", "$o.n", "$v"),
    "i": ("$i", "$j", "$n"),
    "s": ("$s", "$t", "$o.s", "$v"),
    "d": ("$d", "$e", "$v"),
    "l": ("$l", "$k", "$p", "$v"),
    "o": ("$o", "$$ROOT", "$v", "$q"),
    "b": ("$b", "$v", "$n"),
    "v": ("$v", "$u", "$n", "$s", "$l", "$o", "$missing", "$$REMOVE", "$l.a", "$o.n"),
}
_UNTYPED: Final = ("$a", "$b", "$c", "$a.b", "$b.a", "$x", "$_id", "$c.a", "$$ROOT", "$a.b.c")

# operator → (kind of its result, kinds of its arguments); a single argument is sometimes bare
_FIXED: Final[dict[str, tuple[str, str]]] = {
    **{f"${name}": ("n", "n") for name in ("abs", "ceil", "floor", "sqrt", "exp", "ln", "log10")},
    **{
        f"${name}": ("n", "n")
        for name in (
            *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh"),
            *("acosh", "atanh", "degreesToRadians", "radiansToDegrees"),
        )
    },
    "$atan2": ("n", "nn"),
    "$subtract": ("n", "nn"),
    "$divide": ("n", "nn"),
    "$mod": ("n", "nn"),
    "$pow": ("n", "nn"),
    "$log": ("n", "nn"),
    "$round": ("n", "ni"),
    "$trunc": ("n", "ni"),
    **{f"${name}": ("b", "vv") for name in ("eq", "ne", "gt", "gte", "lt", "lte")},
    "$cmp": ("n", "vv"),
    "$not": ("b", "b"),
    "$in": ("b", "vl"),
    "$isArray": ("b", "v"),
    "$isNumber": ("b", "v"),
    "$type": ("s", "v"),
    "$size": ("i", "l"),
    "$arrayElemAt": ("v", "li"),
    "$first": ("v", "l"),
    "$last": ("v", "l"),
    "$reverseArray": ("l", "l"),
    "$setDifference": ("l", "ll"),
    "$setIsSubset": ("b", "ll"),
    "$allElementsTrue": ("b", "l"),
    "$anyElementTrue": ("b", "l"),
    "$arrayToObject": ("o", "l"),
    "$objectToArray": ("l", "o"),
    "$toLower": ("s", "s"),
    "$toUpper": ("s", "s"),
    "$strcasecmp": ("n", "ss"),
    "$strLenBytes": ("i", "s"),
    "$strLenCP": ("i", "s"),
    "$substr": ("s", "sii"),
    "$substrBytes": ("s", "sii"),
    "$substrCP": ("s", "sii"),
    "$split": ("l", "ss"),
    "$binarySize": ("i", "s"),
    "$bsonSize": ("i", "o"),
    **{
        f"$to{name}": (kind, "v")
        for name, kind in (
            *(("Bool", "b"), ("Date", "d"), ("Decimal", "n"), ("Double", "n"), ("Int", "n")),
            *(("Long", "n"), ("String", "s"), ("ObjectId", "v")),
        )
    },
    **{
        f"${name}": ("i", "d")
        for name in (
            *("year", "month", "dayOfMonth", "dayOfWeek", "dayOfYear", "hour", "minute", "second"),
            *("millisecond", "week", "isoWeek", "isoWeekYear", "isoDayOfWeek"),
        )
    },
    "$tsSecond": ("n", "v"),
    "$tsIncrement": ("n", "v"),
    "$literal": ("v", "v"),
}
# operator → (result, kind of each of its any number of arguments)
_VARIADIC: Final[dict[str, tuple[str, str]]] = {
    "$add": ("n", "n"),
    "$multiply": ("n", "n"),
    "$and": ("b", "b"),
    "$or": ("b", "b"),
    "$concat": ("s", "s"),
    "$concatArrays": ("l", "l"),
    "$setUnion": ("l", "l"),
    "$setIntersection": ("l", "l"),
    "$setEquals": ("b", "l"),
    "$ifNull": ("v", "v"),
    "$mergeObjects": ("o", "o"),
    "$sum": ("n", "n"),
    "$avg": ("n", "n"),
    "$min": ("v", "v"),
    "$max": ("v", "v"),
    "$stdDevPop": ("n", "n"),
    "$stdDevSamp": ("n", "n"),
}
_ZONES: Final = (
    *("UTC", "GMT", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "+05:30", "-0800", "+03"),
    *("Nowhere/Land", "", "Z"),
)
_UNITS: Final = (
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "hour",
    "minute",
    "second",
    "millisecond",
)
_DAYS: Final = ("monday", "sunday", "Fri", "SAT", "xday")
_DATE_FORMATS: Final = (
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S.%LZ",
    "%d/%m/%Y",
    "%G-%V-%u",
    "%j %U %w",
    "%z %Z",
    "%%x",
    "%q",
    "%",
)
_DATE_TEXTS: Final = (
    "2020-01-02",
    "2020-01-02T03:04:05.678Z",
    "2020-01-02T03:04:05+02:00",
    "02/01/2020",
    "2020-13-45",
    "20200102",
    "Jan 2 2020",
    "2020-01-02 03:04",
    "x",
    "",
    "2020-W01-4",
    "1969-12-31T23:59:59Z",
)
_PATTERNS: Final = ("a", "b", "^a", "(a)(b)?", "[", ".", "\\w+", "é", "a|b", "$", "")


def _unit(c: Chooser) -> Any:
    return c.pick(_UNITS) if c.chance(95) else c.pick(("days", "", 1, None))


def _options(made: Document, c: Chooser, **others: Callable[[], Any]) -> Document:
    for name, make in others.items():
        if c.chance(35):
            made[name] = make()
    return made


def _lambda(c: Chooser, depth: int, name: str) -> Any:
    """An expression over the variable of ``$map``, ``$filter`` or ``$reduce``."""
    variable = f"$${name}"
    kind = c.number(0, 9)
    if kind < 3:
        return c.pick((variable, variable + ".a", variable + ".k"))
    if kind < 6:
        return {c.pick(("$gt", "$lt", "$eq", "$ne", "$cmp")): [variable, argument(c, "v", 0)]}
    if kind < 8:
        return {c.pick(("$toString", "$type", "$isNumber", "$not")): [variable]}
    return expression(c, "v", depth - 1)


def _date_parts(c: Chooser, depth: int) -> Document:
    names: tuple[str, ...] = ("isoWeekYear", "isoWeek", "isoDayOfWeek", "hour")
    if c.chance(70):
        names = ("year", "month", "day", "hour", "minute", "second", "millisecond")
    made: Document = {names[0]: c.pick((2020, 2019, 1970, 1, 9999, 10000, 0, 2020.0, "$i", 2020.5))}
    for name in names[1:]:
        if c.chance(50):
            made[name] = c.pick((1, 2, 0, 12, 13, 31, 60, -1, 1.0, "$i", 40000, None, Int64(5)))
    return _options(made, c, timezone=lambda: c.pick(_ZONES))


def _regex(c: Chooser, depth: int) -> Document:
    made = {"input": argument(c, "s", depth), "regex": c.pick(_PATTERNS)}
    return _options(made, c, options=lambda: c.pick(("i", "m", "s", "x", "", "q", None)))


def _trim(c: Chooser, depth: int) -> Document:
    return _options(
        {"input": argument(c, "s", depth)}, c, chars=lambda: c.pick(("a", " a", "", "é", 1, "$t"))
    )


def _replace(c: Chooser, depth: int) -> Document:
    return {name: argument(c, "s", depth) for name in ("input", "find", "replacement")}


def _convert(c: Chooser, depth: int) -> Document:
    to = c.pick(
        (
            "int",
            "long",
            "double",
            "decimal",
            "string",
            "bool",
            "date",
            "objectId",
            1,
            2,
            16,
            "x",
            None,
        )
    )
    return _options(
        {"input": argument(c, "v", depth), "to": to},
        c,
        onError=lambda: "error",
        onNull=lambda: argument(c, "v", 0),
    )


def _date_arithmetic(c: Chooser, depth: int) -> Document:
    made = {
        "startDate": argument(c, "d", depth),
        "unit": _unit(c),
        "amount": c.pick((0, 1, -1, 13, 100, 1.0, Int64(5), 1.5, "$i", 2**31 - 1, None)),
    }
    return _options(made, c, timezone=lambda: c.pick(_ZONES))


def _date_diff(c: Chooser, depth: int) -> Document:
    made = {
        "startDate": argument(c, "d", depth),
        "endDate": argument(c, "d", depth),
        "unit": _unit(c),
    }
    return _options(made, c, timezone=lambda: c.pick(_ZONES), startOfWeek=lambda: c.pick(_DAYS))


def _date_trunc(c: Chooser, depth: int) -> Document:
    made = {"date": argument(c, "d", depth), "unit": _unit(c)}
    return _options(
        made,
        c,
        binSize=lambda: c.pick((1, 2, 3, 7, 0, -1, 1.0, 1.5, None)),
        timezone=lambda: c.pick(_ZONES),
        startOfWeek=lambda: c.pick(_DAYS),
    )


def _date_to_string(c: Chooser, depth: int) -> Document:
    return _options(
        {"date": argument(c, "d", depth)},
        c,
        format=lambda: c.pick(_DATE_FORMATS),
        timezone=lambda: c.pick(_ZONES),
        onNull=lambda: "null",
    )


def _date_from_string(c: Chooser, depth: int) -> Document:
    return _options(
        {"dateString": c.pick(_DATE_TEXTS) if c.chance(85) else argument(c, "s", depth)},
        c,
        format=lambda: c.pick(_DATE_FORMATS),
        timezone=lambda: c.pick(_ZONES),
        onError=lambda: "error",
        onNull=lambda: "null",
    )


def _n_of(c: Chooser, depth: int) -> Document:
    return {
        "input": argument(c, "l", depth),
        "n": c.pick((1, 2, 5, 1.0, 0, -1, 1.5, "$i", Int64(2), None)),
    }


def _reduce(c: Chooser, depth: int) -> Document:
    step = c.pick(
        (
            {"$concatArrays": ["$$value", ["$$this"]]},
            {"$add": ["$$value", "$$this"]},
            {"$concat": ["$$value", "$$this"]},
            {"$max": ["$$value", "$$this"]},
            "$$this",
        )
    )
    return {
        "input": argument(c, "l", depth),
        "initialValue": c.pick((0, "", [], None, "$n")),
        "in": step,
    }


def _switch(c: Chooser, depth: int) -> Document:
    made: Document = {
        "branches": [
            {"case": argument(c, "b", depth), "then": argument(c, "v", depth)}
            for _ in range(c.number(1, 2))
        ]
    }
    if c.chance(80):
        made["default"] = argument(c, "v", depth)
    return made


def _index_of(c: Chooser, depth: int, kinds: str) -> list[Any]:
    made = [argument(c, kind, depth) for kind in kinds]
    return made + [c.pick((0, 1, 2, -1, 1.0, 10)) for _ in range(c.number(0, 2))]


_SHAPED: Final[dict[str, tuple[str, Make]]] = {
    "$cond": (
        "v",
        lambda c, d: (
            [argument(c, "b", d), argument(c, "v", d), argument(c, "v", d)]
            if c.chance(60)
            else {"if": argument(c, "b", d), "then": argument(c, "v", d), "else": c.pick((1, "$v"))}
        ),
    ),
    "$switch": ("v", _switch),
    "$let": (
        "v",
        lambda c, d: {"vars": {"x": argument(c, "v", d)}, "in": _lambda(c, d, "x")},
    ),
    "$map": (
        "l",
        lambda c, d: _options(
            {"input": argument(c, "l", d), "in": _lambda(c, d, "this")}, c, **{"as": lambda: "this"}
        ),
    ),
    "$filter": (
        "l",
        lambda c, d: _options(
            {"input": argument(c, "l", d), "cond": _lambda(c, d, "this")},
            c,
            limit=lambda: c.pick((1, 2, 0, -1, 1.0, 1.5, None, "$i")),
        ),
    ),
    "$reduce": ("v", _reduce),
    "$slice": (
        "l",
        lambda c, d: [argument(c, "l", d), *c.some(lambda c: argument(c, "i", 0), 1, 2)],
    ),
    "$range": ("l", lambda c, d: [c.number(-2, 5), c.pick((0, 3, 5, "$i", 5.0, 1.5)), *_step(c)]),
    "$zip": (
        "l",
        lambda c, d: _options(
            {"inputs": [argument(c, "l", d) for _ in range(c.number(1, 3))]},
            c,
            useLongestLength=lambda: c.chance(70),
            defaults=lambda: c.some(scalar, 1, 2),
        ),
    ),
    "$sortArray": (
        "l",
        lambda c, d: {
            "input": argument(c, "l", d),
            "sortBy": c.pick((1, -1, {"a": 1}, {"a": -1, "b": 1}, {"a.b": 1}, 0, {}, "a")),
        },
    ),
    "$firstN": ("l", _n_of),
    "$lastN": ("l", _n_of),
    "$maxN": ("l", _n_of),
    "$minN": ("l", _n_of),
    "$indexOfArray": ("i", lambda c, d: _index_of(c, d, "lv")),
    "$indexOfBytes": ("i", lambda c, d: _index_of(c, d, "ss")),
    "$indexOfCP": ("i", lambda c, d: _index_of(c, d, "ss")),
    "$regexMatch": ("b", _regex),
    "$regexFind": ("o", _regex),
    "$regexFindAll": ("l", _regex),
    "$replaceOne": ("s", _replace),
    "$replaceAll": ("s", _replace),
    "$trim": ("s", _trim),
    "$ltrim": ("s", _trim),
    "$rtrim": ("s", _trim),
    "$convert": ("v", _convert),
    "$getField": (
        "v",
        lambda c, d: (
            c.pick(("n", "a.b", "$x", "", 1))
            if c.chance(40)
            else {"field": c.pick(("n", "a", "s", "")), "input": argument(c, "o", d)}
        ),
    ),
    "$setField": (
        "o",
        lambda c, d: {
            "field": c.pick(("n", "a", "a.b", {"$literal": "$x"}, 1)),
            "input": argument(c, "o", d),
            "value": argument(c, "v", d),
        },
    ),
    "$unsetField": (
        "o",
        lambda c, d: {"field": c.pick(("n", "a", "s")), "input": argument(c, "o", d)},
    ),
    "$dateAdd": ("d", _date_arithmetic),
    "$dateSubtract": ("d", _date_arithmetic),
    "$dateDiff": ("n", _date_diff),
    "$dateTrunc": ("d", _date_trunc),
    "$dateToString": ("s", _date_to_string),
    "$dateFromString": ("d", _date_from_string),
    "$dateFromParts": ("d", _date_parts),
    "$dateToParts": (
        "o",
        lambda c, d: _options(
            {"date": argument(c, "d", d)},
            c,
            timezone=lambda: c.pick(_ZONES),
            iso8601=lambda: c.pick((True, False, None, 1)),
        ),
    ),
    "$year": (
        "i",
        lambda c, d: {"date": argument(c, "d", d), "timezone": c.pick(_ZONES)},
    ),
    "$hour": (
        "i",
        lambda c, d: {"date": argument(c, "d", d), "timezone": c.pick(_ZONES)},
    ),
}


def _step(c: Chooser) -> list[Any]:
    return [] if c.chance(50) else [c.pick((1, 2, -1, 0, 1.0, 1.5))]


def _by_kind() -> dict[str, tuple[str, ...]]:
    results: dict[str, list[str]] = {kind: [] for kind in "nisdlobv"}
    for table in (_FIXED, _VARIADIC, _SHAPED):
        for name, (kind, _) in table.items():
            results[kind].append(name)
    return {kind: tuple(names) for kind, names in results.items()}


_BY_KIND: Final = _by_kind()
_ALL: Final = (*_FIXED, *_VARIADIC, *_SHAPED)


def literal(c: Chooser, kind: str) -> Any:
    """A constant of a kind, such that no string is taken for a path."""
    if kind == "n":
        return number(c)
    if kind == "i":
        return c.pick((0, 1, 2, 3, -1, -2, 10, 1.0, Int64(2), Decimal128("1"), 1.5, None))
    if kind == "d":
        return date(c)
    if kind == "b":
        return c.pick((True, False, 1, 0, None, "a"))
    makers: dict[str, Callable[[Chooser], Any]] = {
        "s": string,
        "l": array,
        "o": embedded,
        "v": value,
    }
    made = makers[kind](c)
    return {"$literal": made} if isinstance(made, str | dict | list) else made


def argument(c: Chooser, kind: str, depth: int) -> Any:
    """An argument that mostly is of a kind."""
    roll = c.number(0, 99)
    if roll < 7:
        kind = "v"
    if roll > 75 and depth > 0:
        return expression(c, kind, depth - 1)
    if roll < 60:
        return c.pick(_TYPED[kind]) if c.typed else c.pick(_UNTYPED)
    if kind == "l" and c.chance(50):
        return [argument(c, "v", 0) for _ in range(c.number(0, 3))]
    return literal(c, kind)


def expression(c: Chooser, kind: str = "v", depth: int = 2) -> Any:
    """An operator whose result is of a kind; of any, for ``v``."""
    name = c.pick(_ALL if kind == "v" else (_BY_KIND[kind] or _ALL))
    return {name: _arguments(c, name, depth)}


def _arguments(c: Chooser, name: str, depth: int) -> Any:
    roll = c.number(0, 99)
    if roll < 2:
        return literal(c, "v")
    if name in _VARIADIC and (name not in _SHAPED or roll < 70):
        kind = _VARIADIC[name][1]
        if roll > 92:
            return argument(c, "l", depth)
        return [argument(c, kind, depth) for _ in range(c.number(0 if roll > 88 else 1, 3))]
    if name in _SHAPED and (name not in _FIXED or roll < 50):
        made = _SHAPED[name][1](c, depth)
        if isinstance(made, dict) and c.chance(3):
            made = dict(made)
            if c.chance(50) or not made:
                made["unknown"] = 1
            else:
                made.pop(c.pick(list(made)))
        return made
    kinds = _FIXED[name][1]
    if name in ("$round", "$trunc") and roll < 40:
        kinds = "n"
    made = [argument(c, kind, depth) for kind in kinds]
    if roll > 97:
        return made[1:] if roll > 98 else [*made, 1]
    return made[0] if len(made) == 1 and roll < 60 and not isinstance(made[0], list) else made


def any_expression(c: Chooser, depth: int = 2) -> Any:
    """An expression, seldom only a path or a constant."""
    kind = c.number(0, 9)
    if kind < 7:
        return expression(c, "v", depth)
    return argument(c, "v", 0)


def _of(c: Chooser, make: Callable[[Chooser], Any]) -> Any:
    return make(c) if c.chance(88) else value(c, 1)


def typed_document(c: Chooser, id_: Any) -> Document:
    """A document whose fields mostly are of the types that `argument` expects."""
    small = (0, 1, 2, 3, -1, 5)
    makers: dict[str, Callable[[Chooser], Any]] = {
        "n": number,
        "m": number,
        "i": lambda c: c.pick(small),
        "j": lambda c: c.pick(small),
        "s": string,
        "t": string,
        "d": date,
        "e": date,
        "l": array,
        "p": lambda c: c.some(number, 0, 4),
        "k": lambda c: [
            {"k": c.pick(("a", "b", "n")), "v": scalar(c)} for _ in range(c.number(0, 3))
        ],
        "o": lambda c: {"n": number(c), "s": string(c)},
        "q": embedded,
        "b": lambda c: c.chance(50),
        "v": value,
        "u": value,
    }
    made: Document = {"_id": id_}
    for name, make in makers.items():
        if c.chance(90):
            made[name] = _of(c, make)
    return made


def expression_batch(c: Chooser) -> Batch:
    """One expression each, over documents of known types, or over constants alone."""
    c.typed = True
    made = [typed_document(c, id_) for id_ in range(1, c.number(1, 2) + 1)]
    return Batch("expressions", {COLLECTION: made}, tuple(c.some(_probe, 10, 10)))


_SETS: Final = ("$setUnion", "$setIntersection", "$setDifference")


def _probe(c: Chooser) -> Probe:
    made = any_expression(c, 2)
    as_sets = any(name in repr(made) for name in _SETS)
    if c.chance(12):
        command: Document = {
            "find": COLLECTION,
            "filter": {"$expr": made},
            "projection": {"_id": 1},
        }
        return Probe((command,), as_sets=as_sets)
    pipeline = [{"$project": {"_id": 0, "r": made}}]
    return Probe(({"aggregate": COLLECTION, "pipeline": pipeline, "cursor": {}},), as_sets=as_sets)
