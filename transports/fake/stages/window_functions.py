"""Functions that only windows have: ranks, shifts, derivatives, moving averages, gaps filled.

`WINDOW_FUNCTIONS` is the table.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/setWindowFields/#window-operators
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol

from bson import DatetimeMS, Decimal128, Int64

from transports.fake.errors import FAILED_TO_PARSE, TYPE_MISMATCH, CommandFailure
from transports.fake.expressions import Expression, Variables
from transports.fake.expressions.arithmetic import subtract as subtract_values
from transports.fake.expressions.date_math import MILLISECONDS, check_unit
from transports.fake.expressions.numbers import (
    DECIMAL,
    Sum,
    add,
    decimal_value,
    multiply,
    subtract,
    to_decimal,
    to_float,
    whole,
    widest,
)
from transports.fake.expressions.scope import Constant, is_nullish
from transports.fake.expressions.summaries import average_of
from transports.fake.stages.context import Context
from transports.fake.values import MISSING, NUMBER_TYPES, Document, bson_type

Bounds = Callable[[int], range]


class PartitionLike(Protocol):
    """What a function sees of a partition (`windows.Partition`)."""

    @property
    def documents(self) -> Sequence[Document]:
        """The documents in order."""
        ...

    @property
    def sort_keys(self) -> Sequence[Hashable]:
        """Each document's key; equal keys are ties."""
        ...

    @property
    def positions(self) -> Sequence[Any]:
        """Each document's value at the only field of ``sortBy``."""
        ...


Compiled = Callable[[PartitionLike, Bounds, Variables], list[Any]]


@dataclass(frozen=True, slots=True)
class WindowFunction:
    """One window function.

    Attributes:
        compile: ``(operand, number of sortBy's fields, context) -> Compiled``.
        windowed: it takes a ``window``.
        window_code: the error if it is given one and takes none.
        needs_window: it must be given one.
    """

    compile: Callable[[Any, int, Context], Compiled]
    windowed: bool = False
    window_code: int = 5371601
    needs_window: bool = False


def _ranking(name: str, rank: Callable[[Sequence[Hashable]], list[Any]]) -> WindowFunction:
    def compile_rank(operand: Any, sort_fields: int, context: Context) -> Compiled:
        if operand != {}:
            raise CommandFailure(5371603, f"{name} must be specified with '{{}}' as the value")
        if sort_fields != 1:
            raise CommandFailure(
                5371602,
                f"{name} must be specified with a top level sortBy expression with exactly one "
                "element",
            )
        return lambda partition, bounds, variables: rank(partition.sort_keys)

    return WindowFunction(compile_rank)


def _rank(keys: Sequence[Hashable]) -> list[Any]:
    ranks: list[int] = []
    for index, key in enumerate(keys):
        ranks.append(ranks[-1] if index and key == keys[index - 1] else index + 1)
    return ranks


def _dense_rank(keys: Sequence[Hashable]) -> list[Any]:
    ranks: list[int] = []
    for index, key in enumerate(keys):
        if not index:
            ranks.append(1)
        else:
            ranks.append(ranks[-1] + (key != keys[index - 1]))
    return ranks


def _document_number(keys: Sequence[Hashable]) -> list[Any]:
    return list(range(1, len(keys) + 1))


def shift(operand: Any, sort_fields: int, context: Context) -> Compiled:
    """``$shift``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/shift/."""
    if type(operand) is not dict or "output" not in operand or "by" not in operand:
        raise CommandFailure(FAILED_TO_PARSE, "$shift requires 'output' and 'by' fields.")
    if not sort_fields:
        raise CommandFailure(FAILED_TO_PARSE, "'$shift' requires a sortBy")
    by = whole(operand["by"]) if type(operand["by"]) in NUMBER_TYPES else None
    if by is None:
        raise CommandFailure(FAILED_TO_PARSE, "'$shift:by' field must be an integer")
    offset = by
    output = context.expression(operand["output"])
    default = context.expression(operand.get("default"))
    if type(default) is not Constant:
        raise CommandFailure(
            FAILED_TO_PARSE, "'$shift:default' expression must yield a constant value."
        )

    def fill(partition: PartitionLike, bounds: Bounds, variables: Variables) -> list[Any]:
        values = [output(document, variables) for document in partition.documents]
        shifted = []
        for index in range(len(values)):
            source = index + offset
            inside = 0 <= source < len(values)
            default_value = None if default.value is MISSING else default.value
            shifted.append(values[source] if inside else default_value)
        return shifted

    return fill


def _with_unit(name: str, operand: Any, sort_fields: int) -> tuple[Any, str | None]:
    if type(operand) is not dict or "input" not in operand:
        raise CommandFailure(FAILED_TO_PARSE, f"{name} requires an 'input' expression")
    if sort_fields != 1:
        raise CommandFailure(FAILED_TO_PARSE, f"{name} requires a sortBy with exactly one element")
    unit = operand.get("unit")
    if "unit" in operand and type(unit) is not str:
        raise CommandFailure(
            FAILED_TO_PARSE, f"unit' must be a string, but got {bson_type(unit)[1]}"
        )
    if unit is not None and check_unit(unit) not in MILLISECONDS:
        raise CommandFailure(5490710, "unit must be 'week' or smaller")
    return operand["input"], unit


def _distance(start: Any, end: Any, unit: str | None, codes: tuple[int, int]) -> Any:
    """Return how far two positions are apart: a number, or milliseconds of dates.

    ``codes`` are those of a position that is no number, and of one that is no date.
    """
    wanted = NUMBER_TYPES if unit is None else frozenset({DatetimeMS})
    if type(start) not in wanted or type(end) not in wanted:
        if unit is None:
            raise CommandFailure(codes[0], "with no 'unit' the sortBy field must be numeric")
        raise CommandFailure(codes[1], "with a 'unit' the sortBy field must be a Date")
    return subtract(end, start) if unit is None else Int64(int(end) - int(start))


def derivative(operand: Any, sort_fields: int, context: Context) -> Compiled:
    """Compile ``$derivative``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/derivative/."""
    given, unit = _with_unit("$derivative", operand, sort_fields)
    source = context.expression(given)

    def fill(partition: PartitionLike, bounds: Bounds, variables: Variables) -> list[Any]:
        values = [source(document, variables) for document in partition.documents]
        positions = partition.positions

        def at(members: range) -> Any:
            if not members:
                return None
            first, last = members[0], members[-1]
            run = _distance(positions[first], positions[last], unit, (5624901, 5624900))
            if first == last:
                return None
            rise = subtract_values(values[last], values[first])
            if type(rise) not in NUMBER_TYPES:
                raise CommandFailure(5624903, "$derivative input must not be a non-number")
            if to_float(run) == 0:
                return None
            slope = _quotient(rise, run)
            return slope if unit is None else multiply(slope, MILLISECONDS[unit])

        return [at(bounds(index)) for index in range(len(values))]

    return fill


def _quotient(left: Any, right: Any) -> Any:
    if widest(left, right) is Decimal128:
        return decimal_value(DECIMAL.divide(to_decimal(left), to_decimal(right)))
    return to_float(left) / to_float(right)


def integral(operand: Any, sort_fields: int, context: Context) -> Compiled:
    """``$integral``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/integral/."""
    given, unit = _with_unit("$integral", operand, sort_fields)
    source = context.expression(given)

    def fill(partition: PartitionLike, bounds: Bounds, variables: Variables) -> list[Any]:
        values = [source(document, variables) for document in partition.documents]
        positions = partition.positions
        wanted = NUMBER_TYPES if unit is None else frozenset({DatetimeMS})
        for value, position in zip(values, positions, strict=True):
            if type(value) not in NUMBER_TYPES:
                raise CommandFailure(5423900, "$integral input must be a number")
            if type(position) not in wanted:
                raise CommandFailure(5423902 if unit is None else 5423901, "$integral: sortBy")

        def over(members: range) -> Any:
            if not members:
                return None
            areas = Sum()
            for left, right in itertools.pairwise(members):
                width = _distance(positions[left], positions[right], unit, (5423902, 5423901))
                both = multiply(add(values[left], values[right]), width)
                areas.add(_quotient(both, 2.0))
            area = areas.result()
            return area if unit is None else _quotient(area, MILLISECONDS[unit])

        return [over(bounds(index)) for index in range(len(values))]

    return fill


def exp_moving_avg(operand: Any, sort_fields: int, context: Context) -> Compiled:
    """``$expMovingAvg``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/expMovingAvg/."""
    if (
        type(operand) is not dict
        or "input" not in operand
        or ("N" in operand) == ("alpha" in operand)
    ):
        raise CommandFailure(
            FAILED_TO_PARSE,
            "$expMovingAvg requires an 'input' and either an 'N' field or an 'alpha' field",
        )
    if not sort_fields:
        raise CommandFailure(FAILED_TO_PARSE, "$expMovingAvg requires an explicit 'sortBy'")
    source = context.expression(operand["input"])
    alpha: Any
    if "N" in operand:
        count = whole(operand["N"]) if type(operand["N"]) in NUMBER_TYPES else None
        if count is None or count <= 0:
            raise CommandFailure(FAILED_TO_PARSE, "'N' field must be an integer, greater than zero")
        alpha = DECIMAL.divide(Decimal(2), Decimal(count + 1))
    else:
        if type(operand["alpha"]) not in NUMBER_TYPES:
            raise CommandFailure(FAILED_TO_PARSE, "'alpha' must be a number")
        alpha = to_decimal(operand["alpha"])
        if alpha.is_nan() or not 0 < alpha < 1:
            raise CommandFailure(FAILED_TO_PARSE, "'alpha' must be between 0 and 1 (exclusive)")

    def fill(partition: PartitionLike, bounds: Bounds, variables: Variables) -> list[Any]:
        results: list[Any] = []
        current: Decimal | None = None
        exact = False
        for document in partition.documents:
            value = source(document, variables)
            if type(value) in NUMBER_TYPES:
                exact = exact or type(value) is Decimal128
                current = _blended(to_decimal(value), current, alpha)
            if current is None:
                results.append(None)
            else:
                results.append(decimal_value(current) if exact else float(current))
        return results

    return fill


def _blended(value: Decimal, current: Decimal | None, alpha: Decimal) -> Decimal:
    if current is None:
        return value
    kept = DECIMAL.multiply(current, DECIMAL.subtract(Decimal(1), alpha))
    return DECIMAL.add(DECIMAL.multiply(value, alpha), kept)


def _covariance(sample: bool) -> Callable[[Any, int, Context], Compiled]:
    def compile_covariance(operand: Any, sort_fields: int, context: Context) -> Compiled:
        pair: Expression = context.expression(operand)

        def fill(partition: PartitionLike, bounds: Bounds, variables: Variables) -> list[Any]:
            pairs = [pair(document, variables) for document in partition.documents]
            return [
                _covariance_of([pairs[m] for m in bounds(i)], sample) for i in range(len(pairs))
            ]

        return fill

    return compile_covariance


def _covariance_of(pairs: list[Any], sample: bool) -> Any:
    known = [
        pair
        for pair in pairs
        if type(pair) is list and len(pair) == 2 and all(type(v) in NUMBER_TYPES for v in pair)
    ]
    count = len(known) - sample
    if count <= 0:
        return None
    all_x, all_y, products = Sum(), Sum(), Sum()
    for number, (x, y) in enumerate(known):
        before = subtract(x, average_of(all_x, number) if number else 0)
        all_x.add(x)
        all_y.add(y)
        products.add(multiply(before, subtract(y, average_of(all_y, number + 1))))
    return _quotient(products.result(), count)


def locf(operand: Any, sort_fields: int, context: Context) -> Compiled:
    """``$locf``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/locf/."""
    source = context.expression(operand)

    def fill(partition: PartitionLike, bounds: Bounds, variables: Variables) -> list[Any]:
        results: list[Any] = []
        last: Any = None
        for document in partition.documents:
            value = source(document, variables)
            if not is_nullish(value):
                last = value
            results.append(last)
        return results

    return fill


def linear_fill(operand: Any, sort_fields: int, context: Context) -> Compiled:
    """``$linearFill``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/linearFill/."""
    if sort_fields != 1:
        raise CommandFailure(
            605001,
            "$linearFill must be specified with a top level sortBy expression with exactly one "
            "element",
        )
    source = context.expression(operand)

    def fill(partition: PartitionLike, bounds: Bounds, variables: Variables) -> list[Any]:
        for place in partition.positions:
            if type(place) is not DatetimeMS and type(place) not in NUMBER_TYPES:
                raise CommandFailure(
                    TYPE_MISMATCH,
                    "Value of the sortBy field must be numeric or a date, but found "
                    f"{bson_type(place)[1]}",
                )
        values = [source(document, variables) for document in partition.documents]
        results = [None if value is MISSING else value for value in values]
        known = [i for i, value in enumerate(values) if not is_nullish(value)]
        for value in (values[i] for i in known):
            if type(value) not in NUMBER_TYPES:
                raise CommandFailure(TYPE_MISMATCH, "Value to be filled must be numeric or nullish")
        for index in range(1, len(values)):
            if partition.sort_keys[index] == partition.sort_keys[index - 1]:
                raise CommandFailure(6050106, "There can be no repeated values in the sort field")
        for left, right in itertools.pairwise(known):
            for index in range(left + 1, right):
                results[index] = _between(partition.positions, values, left, right, index)
        return results

    return fill


def _between(positions: Sequence[Any], values: list[Any], left: int, right: int, at: int) -> Any:
    def position(index: int) -> Any:
        value = positions[index]
        return int(value) if type(value) is DatetimeMS else value

    span = subtract(position(right), position(left))
    passed = subtract(position(at), position(left))
    slope = _quotient(subtract(values[right], values[left]), span)
    return add(values[left], multiply(slope, passed))


WINDOW_FUNCTIONS: Final[dict[str, WindowFunction]] = {
    "$covariancePop": WindowFunction(_covariance(False), windowed=True),
    "$covarianceSamp": WindowFunction(_covariance(True), windowed=True),
    "$denseRank": _ranking("$denseRank", _dense_rank),
    "$derivative": WindowFunction(derivative, windowed=True, needs_window=True),
    "$documentNumber": _ranking("$documentNumber", _document_number),
    "$expMovingAvg": WindowFunction(exp_moving_avg, window_code=FAILED_TO_PARSE),
    "$integral": WindowFunction(integral, windowed=True),
    "$linearFill": WindowFunction(linear_fill, window_code=FAILED_TO_PARSE),
    "$locf": WindowFunction(locf, window_code=FAILED_TO_PARSE),
    "$rank": _ranking("$rank", _rank),
    "$shift": WindowFunction(shift, window_code=FAILED_TO_PARSE),
}
