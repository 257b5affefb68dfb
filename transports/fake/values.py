"""BSON values as the server sees them: types, order, equality, hash keys, copies.

Everything in the fake that compares two values asks this module; Python's ``==`` is never used on
values of documents (``True == 1`` and ``{"a": 1, "b": 2} == {"b": 2, "a": 1}`` there, not here).
It knows nothing of queries: what ``$lt`` means across types is `transports.fake.compare`.

Spec: Comparison/Sort Order
https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from decimal import Decimal
from typing import Any, Final

from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex
from bson.timestamp import Timestamp

from transports.fake.collation import Collation

Document = dict[str, Any]


class Missing:
    """The type of `MISSING`: a field that is not there, which is not the same as null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __copy__(self) -> Missing:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Missing:
        return self


MISSING: Final = Missing()


class _NaN:
    """Stands for NaN in sort keys: equal to itself and below every other number."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 7919

    def __lt__(self, other: object) -> bool:
        return self is not other

    def __gt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return True

    def __ge__(self, other: object) -> bool:
        return self is other


NAN_KEY: Final = _NaN()

NUMBER: Final = 10
STRING: Final = 15
OBJECT: Final = 20
ARRAY: Final = 25

_TYPES: Final[dict[type, tuple[int, str]]] = {
    float: (1, "double"),
    str: (2, "string"),
    dict: (3, "object"),
    list: (4, "array"),
    bytes: (5, "binData"),
    Binary: (5, "binData"),
    Missing: (0, "missing"),
    ObjectId: (7, "objectId"),
    bool: (8, "bool"),
    DatetimeMS: (9, "date"),
    type(None): (10, "null"),
    Regex: (11, "regex"),
    Code: (13, "javascript"),
    int: (16, "int"),
    Timestamp: (17, "timestamp"),
    Int64: (18, "long"),
    Decimal128: (19, "decimal"),
    MinKey: (-1, "minKey"),
    MaxKey: (127, "maxKey"),
}

_RANKS: Final[dict[type, int]] = {
    MinKey: -1,
    Missing: 0,
    type(None): 5,
    int: NUMBER,
    Int64: NUMBER,
    float: NUMBER,
    Decimal128: NUMBER,
    str: STRING,
    dict: OBJECT,
    list: ARRAY,
    bytes: 30,
    Binary: 30,
    ObjectId: 35,
    bool: 40,
    DatetimeMS: 45,
    Timestamp: 47,
    Regex: 50,
    Code: 60,
    MaxKey: 127,
}

NUMBER_TYPES: Final = frozenset({int, Int64, float, Decimal128})


def bson_type(value: Any) -> tuple[int, str]:
    """Return the BSON type's number and alias, e.g. ``(16, "int")``; missing is ``(0, "missing")``.

    Source: https://www.mongodb.com/docs/manual/reference/bson-types/
    """
    kind = type(value)
    if kind is Code and value.scope is not None:
        return (15, "javascriptWithScope")
    try:
        return _TYPES[kind]
    except KeyError:
        raise TypeError(f"{kind.__name__} is not a value of a decoded document") from None


def type_rank(value: Any) -> int:
    """Return the place of the value's type in the order of types (equal for all numbers)."""
    kind = type(value)
    if kind is Code and value.scope is not None:
        return 65
    try:
        return _RANKS[kind]
    except KeyError:
        raise TypeError(f"{kind.__name__} is not a value of a decoded document") from None


def is_number(value: Any) -> bool:
    """Tell whether the value is an int32, int64, double or Decimal128 (never a bool)."""
    return type(value) in NUMBER_TYPES


def is_nan(value: Any) -> bool:
    """Tell whether the value is a double or Decimal128 NaN."""
    if type(value) is float:
        return math.isnan(value)
    return type(value) is Decimal128 and value.to_decimal().is_nan()


def as_decimal(value: Any) -> Decimal:
    """Return a number as a `Decimal`; a double as its exact value."""
    return value.to_decimal() if type(value) is Decimal128 else Decimal(value)


def regex_options(value: Regex[Any]) -> str:
    """Return the options of a regular expression as the server orders them, e.g. ``"im"``."""
    flags = int(value.flags)
    return "".join(
        letter
        for letter, flag in (
            ("i", re.IGNORECASE),
            ("l", re.LOCALE),
            ("m", re.MULTILINE),
            ("s", re.DOTALL),
            ("u", re.UNICODE),
            ("x", re.VERBOSE),
        )
        if flags & flag
    )


def _number_key(value: Any) -> Any:
    if type(value) is Decimal128:
        value = value.to_decimal()
        return NAN_KEY if value.is_nan() else value
    return NAN_KEY if value != value else value


def _payload(value: Any, collation: Collation | None) -> Any:
    """Return what orders values of one rank; comparable and hashable."""
    kind = type(value)
    if kind is str:
        return value if collation is None else collation.key(value)
    if kind in NUMBER_TYPES:
        return _number_key(value)
    if kind is dict:
        return tuple(
            [(type_rank(v), name, _payload(v, collation)) for name, v in value.items()],
        )
    if kind is list:
        return tuple([(type_rank(v), _payload(v, collation)) for v in value])
    if kind is DatetimeMS:
        return int(value)
    if kind is bytes:
        return (len(value), 0, value)
    if kind is Binary:
        return (len(value), value.subtype, bytes(value))
    if kind is Regex:
        return (value.pattern, regex_options(value))
    if kind is Timestamp:
        return (value.time, value.inc)
    if kind is Code:
        scope = () if value.scope is None else _payload(dict(value.scope), None)
        return (str(value), scope)
    if kind is ObjectId or kind is bool:
        return value
    return 0


def sort_key(value: Any, collation: Collation | None = None) -> tuple[int, Any]:
    """Return a key whose order and equality are the server's; hashable."""
    return (type_rank(value), _payload(value, collation))


def compare(left: Any, right: Any, collation: Collation | None = None) -> int:
    """Return -1, 0 or 1 by the server's order over all types."""
    kind = type(left)
    if kind is type(right) and (kind is int or (kind is str and collation is None)):
        return -1 if left < right else int(left > right)
    left_key, right_key = sort_key(left, collation), sort_key(right, collation)
    return -1 if left_key < right_key else int(left_key > right_key)


def equal(left: Any, right: Any, collation: Collation | None = None) -> bool:
    """Tell whether the server takes two values for equal; numbers across types by value."""
    kind = type(left)
    if kind is type(right):
        if kind is str and collation is None:
            return bool(left == right)
        if kind is ObjectId or kind is int or kind is bool:
            return bool(left == right)
    elif type_rank(left) != type_rank(right):
        return False
    return sort_key(left, collation) == sort_key(right, collation)


def hash_key(value: Any, collation: Collation | None = None) -> Hashable:
    """Return a hashable that is equal for two values exactly when `equal` says so."""
    kind = type(value)
    if kind is str and collation is None:
        return str(value)
    if kind is int or kind is ObjectId or value is None:
        return value  # type: ignore[no-any-return]  # int, ObjectId and None are hashable
    if kind in NUMBER_TYPES:
        number: Hashable = _number_key(value)
        return number
    return sort_key(value, collation)


def deep_copy(value: Any) -> Any:
    """Return a copy that shares no document and no array with the value."""
    kind = type(value)
    if kind is dict:
        return {
            name: (deep_copy(v) if type(v) is dict or type(v) is list else v)
            for name, v in value.items()
        }
    if kind is list:
        return [deep_copy(v) if type(v) is dict or type(v) is list else v for v in value]
    return value


def integer(value: int, *, wide: bool = False) -> int | Int64 | float:
    """Return an integer in the smallest type that the server would use.

    Args:
        value: any size.
        wide: at least int64, because an operand was.
    """
    if not wide and -0x80000000 <= value <= 0x7FFFFFFF:
        return int(value)
    if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        return Int64(value)
    return float(value)
