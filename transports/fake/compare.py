"""What the comparison operators of a query mean for one value.

A comparison holds within one type only (numbers are one type); null also stands for a missing
field. Each function returns a test of a single value; arrays and paths are `paths`' business.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query-comparison/
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from bson import MaxKey, MinKey, ObjectId

from transports.fake.collation import Collation
from transports.fake.values import (
    MISSING,
    NAN_KEY,
    NUMBER_TYPES,
    hash_key,
    is_nan,
    sort_key,
    type_rank,
)

Test = Callable[[Any], bool]


def is_null_or_missing(value: Any) -> bool:
    """Tell whether a value equals null in a query."""
    return value is None or value is MISSING


def equals(constant: Any, collation: Collation | None = None) -> Test:
    """``$eq``: https://www.mongodb.com/docs/manual/reference/operator/query/eq/."""
    kind = type(constant)
    if constant is None:
        return is_null_or_missing
    if kind is str and collation is None:
        return lambda value: type(value) is str and value == constant
    if kind is ObjectId:
        return lambda value: type(value) is ObjectId and value == constant
    if kind is bool:
        return lambda value: value is constant
    if kind in NUMBER_TYPES:
        number = hash_key(constant)
        return lambda value: type(value) in NUMBER_TYPES and hash_key(value) == number
    rank, payload = sort_key(constant, collation)
    return lambda value: type_rank(value) == rank and sort_key(value, collation)[1] == payload


def is_in(constants: Iterable[Any], collation: Collation | None = None) -> Test:
    """``$in`` without regular expressions: one hash lookup per value."""
    keys: set[Hashable] = {hash_key(constant, collation) for constant in constants}
    types = {type(constant) for constant in constants}
    ranks = {type_rank(constant) for constant in constants}
    if types == {str} and collation is None:
        return lambda value: type(value) is str and value in keys
    with_null = None in keys

    def test(value: Any) -> bool:
        if value is MISSING:
            return with_null
        return type_rank(value) in ranks and hash_key(value, collation) in keys

    return test


def _unlike(operator: str, constant: Any) -> Test | None:
    """Return the test against MinKey or MaxKey, which compare with every type."""
    if type(constant) is MaxKey:
        if operator in ("$lt", "$lte"):
            return lambda value: operator == "$lte" or type(value) is not MaxKey
        return lambda value: operator == "$gte" and type(value) is MaxKey
    if type(constant) is MinKey:
        if operator in ("$gt", "$gte"):
            return lambda value: operator == "$gte" or type(value) is not MinKey
        return lambda value: operator == "$lte" and type(value) is MinKey
    return None


def inequality(operator: str, constant: Any, collation: Collation | None = None) -> Test:
    """``$lt``, ``$lte``, ``$gt``, ``$gte``.

    Source: https://www.mongodb.com/docs/manual/reference/operator/query-comparison/
    """
    unlike = _unlike(operator, constant)
    if unlike is not None:
        return unlike
    or_equal = operator in ("$lte", "$gte")
    if constant is None:
        return is_null_or_missing if or_equal else lambda value: False
    if is_nan(constant):
        return is_nan if or_equal else lambda value: False
    kind = type(constant)
    if kind in NUMBER_TYPES or (kind is str and collation is None):
        return _ordered_scalar(operator, constant)
    return _ordered(operator, constant, collation)


def _ordered_scalar(operator: str, constant: Any) -> Test:
    """Compare numbers, or strings by their code points, without building keys."""
    kinds: Any = NUMBER_TYPES if type(constant) in NUMBER_TYPES else frozenset({str})
    key: Any = hash_key(constant)

    # A NaN never passes, though its key is below that of every number.
    def below(value: Any) -> bool:
        if type(value) not in kinds:
            return False
        own: Any = hash_key(value)
        return own is not NAN_KEY and bool(own < key)

    def below_or_equal(value: Any) -> bool:
        if type(value) not in kinds:
            return False
        own: Any = hash_key(value)
        return own is not NAN_KEY and bool(own <= key)

    def above(value: Any) -> bool:
        return type(value) in kinds and hash_key(value) > key

    def above_or_equal(value: Any) -> bool:
        return type(value) in kinds and hash_key(value) >= key

    return {"$lt": below, "$lte": below_or_equal, "$gt": above, "$gte": above_or_equal}[operator]


def _ordered(operator: str, constant: Any, collation: Collation | None) -> Test:
    rank, payload = sort_key(constant, collation)

    def test(value: Any) -> bool:
        if type_rank(value) != rank:
            return False
        other = sort_key(value, collation)[1]
        if operator == "$lt":
            return bool(other < payload)
        if operator == "$lte":
            return bool(other <= payload)
        if operator == "$gt":
            return bool(other > payload)
        return bool(other >= payload)

    return test
