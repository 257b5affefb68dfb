"""Index bounds: the ranges of an index that conditions leave, and how the server writes them.

Spec: https://www.mongodb.com/docs/manual/reference/explain-results/#std-label-queryPlanner
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

from bson import DatetimeMS, MaxKey, MinKey, ObjectId

from transports.fake.bson_text import render
from transports.fake.explaining.predicates import Predicate
from transports.fake.values import NUMBER_TYPES, compare, is_nan


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of one field of an index.

    Attributes:
        low, high: its ends.
        includes_low, includes_high: whether the ends belong to it.
        undefined: it is the point ``undefined``, which goes before every null.
    """

    low: Any
    high: Any
    includes_low: bool = True
    includes_high: bool = True
    undefined: bool = False

    @property
    def is_point(self) -> bool:
        """Whether there is but one value in it."""
        return self.includes_low and self.includes_high and compare(self.low, self.high) == 0

    def text(self, *, backwards: bool) -> str:
        """Return it as the server writes it, ``[1, inf.0]``."""
        if self.undefined:
            return "[undefined, undefined]"
        low, high = _text(self.low), _text(self.high)
        left, right = self.includes_low, self.includes_high
        if backwards:
            low, high, left, right = high, low, right, left
        return f"{'[' if left else '('}{low}, {high}{']' if right else ')'}"

    def holds(self, value: Any) -> bool:
        """Tell whether a key's value is in it."""
        if self.undefined:
            return False
        below, above = compare(value, self.low), compare(value, self.high)
        return (below > 0 or (below == 0 and self.includes_low)) and (
            above < 0 or (above == 0 and self.includes_high)
        )


EVERYTHING: Final = Interval(MinKey(), MaxKey())
_UNDEFINED: Final = Interval(None, None, undefined=True)


def _text(value: Any) -> str:
    if type(value) is float and math.isinf(value):
        return "inf.0" if value > 0 else "-inf.0"
    return render(value)


def _bracket(value: Any) -> Interval | None:
    """Return all values that a range comparison with a value looks at, None if not known."""
    if type(value) in NUMBER_TYPES and not is_nan(value):
        return Interval(-math.inf, math.inf)
    if type(value) is str:
        return Interval("", {}, includes_high=False)
    if type(value) is bool:
        return Interval(False, True)
    if type(value) is DatetimeMS:
        return Interval(DatetimeMS(-(2**63)), DatetimeMS(2**63 - 1))
    if type(value) is ObjectId:
        return Interval(ObjectId(b"\0" * 12), ObjectId(b"\xff" * 12))
    return None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What conditions leave of one field.

    Attributes:
        intervals: ascending.
        exact: whether every key in them meets the conditions.
    """

    intervals: tuple[Interval, ...]
    exact: bool = True


def bounds_of(predicate: Predicate) -> Bounds | None:
    """Return the bounds of one condition, None if they are not known or there are none."""
    operator, operand = predicate.operator, predicate.operand
    if operator == "$exists":
        return None if predicate.negated else Bounds((EVERYTHING,), exact=False)
    if operator in ("$eq", "$in"):
        values = operand if operator == "$in" else [operand]
        if predicate.negated:
            return _others(values)
        return _points(values)
    if predicate.negated or operator == "$regex":
        return None
    whole = _bracket(operand)
    if whole is None:
        return None
    if operator in ("$gt", "$gte"):
        return Bounds((replace(whole, low=operand, includes_low=operator == "$gte"),))
    return Bounds((replace(whole, high=operand, includes_high=operator == "$lte"),))


def _points(values: list[Any]) -> Bounds | None:
    intervals: list[Interval] = []
    for value in values:
        if type(value) is not dict and _bracket(value) is None and value is not None:
            return None
        if value is None:
            intervals.append(_UNDEFINED)
        intervals.append(Interval(value, value))
    return Bounds(tuple(intervals), exact=None not in values)


def _others(values: list[Any]) -> Bounds | None:
    if any(_bracket(value) is None for value in values):
        return None
    low: Any = MinKey()
    intervals: list[Interval] = []
    for number, value in enumerate(values):
        intervals.append(Interval(low, value, number == 0, includes_high=False))
        low = value
    intervals.append(Interval(low, MaxKey(), includes_low=False))
    return Bounds(tuple(intervals))


def both(left: Bounds, right: Bounds) -> Bounds:
    """Return what two conditions on the same field leave."""
    intervals = [
        met
        for one in left.intervals
        for other in right.intervals
        if (met := _met(one, other)) is not None
    ]
    return Bounds(tuple(intervals), left.exact and right.exact)


def _met(one: Interval, other: Interval) -> Interval | None:
    if one.undefined or other.undefined:
        return one if one == other else None
    lower = compare(one.low, other.low)
    upper = compare(one.high, other.high)
    low, includes_low = (
        (one.low, one.includes_low) if lower > 0 else (other.low, other.includes_low)
    )
    high, includes_high = (
        (one.high, one.includes_high) if upper < 0 else (other.high, other.includes_high)
    )
    if lower == 0:
        includes_low = one.includes_low and other.includes_low
    if upper == 0:
        includes_high = one.includes_high and other.includes_high
    order = compare(low, high)
    if order > 0 or (order == 0 and not (includes_low and includes_high)):
        return None
    return Interval(low, high, includes_low, includes_high)
