"""Accumulators used as expressions: ``{"$sum": ["$a", "$b"]}`` or over one array.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#accumulators--in-other-stages-
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from bson import Decimal128

from transports.fake.collation import Collation
from transports.fake.expressions.numbers import DECIMAL, DoubleDouble, Sum, decimal_value, to_float
from transports.fake.expressions.scope import (
    Expression,
    Operator,
    Scope,
    arguments,
    constants_last,
    folded,
    is_nullish,
)
from transports.fake.values import NUMBER_TYPES, sort_key

Summary = Callable[[list[Any], Collation | None], Any]


def total(values: list[Any], collation: Collation | None = None) -> Any:
    """``$sum``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sum/."""
    result = Sum()
    for value in values:
        if type(value) in NUMBER_TYPES:
            result.add(value)
    return result.result()


def average_of(result: Sum, count: int) -> Any:
    """Return the average of a finished sum; null for no numbers."""
    if count == 0:
        return None
    if result.kind is Decimal128:
        return decimal_value(DECIMAL.divide(result.as_decimal(), Decimal(count)))
    return result.as_float() / count


def average(values: list[Any], collation: Collation | None = None) -> Any:
    """``$avg``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/avg/."""
    result, count = Sum(), 0
    for value in values:
        if type(value) in NUMBER_TYPES:
            result.add(value)
            count += 1
    return average_of(result, count)


def least(values: list[Any], collation: Collation | None = None) -> Any:
    """``$min``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/min/."""
    present = [value for value in values if not is_nullish(value)]
    return min(present, key=lambda value: sort_key(value, collation), default=None)


def greatest(values: list[Any], collation: Collation | None = None) -> Any:
    """``$max``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/max/."""
    present = [value for value in values if not is_nullish(value)]
    return max(present, key=lambda value: sort_key(value, collation), default=None)


class Deviation:
    """A running standard deviation (Welford), as the server computes it."""

    __slots__ = ("count", "mean", "squares")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def add(self, value: Any) -> None:
        """Add one number."""
        number = to_float(value)
        self.count += 1
        delta = number - self.mean
        if delta != 0.0:
            self.mean += delta / self.count
            self.squares += delta * (number - self.mean)

    def result(self, *, sample: bool) -> float | None:
        """Return the deviation; null for too few numbers."""
        divisor = self.count - sample
        if divisor <= 0:
            return None
        quotient = self.squares / divisor
        return math.sqrt(quotient) if quotient >= 0 else math.nan


class SlidingDeviation:
    """A standard deviation that numbers leave again (Youngs and Cramer), as the server has it."""

    __slots__ = ("_count", "_special", "_squares", "_sum")

    def __init__(self) -> None:
        self._special = 0
        self._clear()

    def _clear(self) -> None:
        self._count = 0
        self._sum = DoubleDouble()
        self._squares = DoubleDouble()

    def move(self, value: Any, quantity: int) -> None:
        """Take one value in (1) or out (-1); what is no number is ignored."""
        if type(value) not in NUMBER_TYPES:
            return
        number = to_float(value)
        if not math.isfinite(number):
            self._special += quantity
            return
        if self._count + quantity == 0:
            self._clear()
            return
        if self._count:
            after = self._count + quantity
            distance = self._count * number - self._sum.result()
            self._squares.add(distance * distance * quantity / (after * self._count))
        self._count += quantity
        self._sum.add(quantity * number)

    def result(self, *, sample: bool) -> float | int | None:
        """Return the deviation; null of too few numbers, and where one is not finite."""
        divisor = self._count - sample
        if self._special or divisor == 0:
            return None
        squares = self._squares.result()
        if squares < 0 or (self._count == 1 and not sample):
            return 0
        return math.sqrt(squares / divisor)


def _deviation(sample: bool) -> Summary:
    def deviation(values: list[Any], collation: Collation | None = None) -> Any:
        running = Deviation()
        for value in values:
            if type(value) in NUMBER_TYPES:
                running.add(value)
        return running.result(sample=sample)

    name = "stdDevSamp" if sample else "stdDevPop"
    deviation.__doc__ = (
        f"``${name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name}/."
    )
    return deviation


def _operator(summary: Summary) -> Operator:
    def operator(operand: Any, scope: Scope) -> Expression:
        parts = [scope.compile(argument) for argument in arguments(operand)]
        collation = scope.collation
        if len(parts) == 1:
            only = parts[0]

            def over_one(document: Any, variables: Any) -> Any:
                value = only(document, variables)
                return summary(value if type(value) is list else [value], collation)

            return folded(over_one, parts)
        if summary in (least, greatest):
            parts = constants_last(parts, lambda values: summary(values, collation))
        return folded(
            lambda document, variables: summary(
                [part(document, variables) for part in parts], collation
            ),
            parts,
        )

    operator.__doc__ = summary.__doc__
    return operator


SUMMARIES: Final[dict[str, Operator]] = {
    "$sum": _operator(total),
    "$avg": _operator(average),
    "$min": _operator(least),
    "$max": _operator(greatest),
    "$stdDevPop": _operator(_deviation(False)),
    "$stdDevSamp": _operator(_deviation(True)),
}
