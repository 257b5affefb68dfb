"""Stages that fill gaps: ``$densify`` makes missing documents, ``$fill`` missing values.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/densify/ and
https://www.mongodb.com/docs/manual/reference/operator/aggregation/fill/
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson import DatetimeMS

from transports.fake.errors import CommandFailure
from transports.fake.expressions import date_math
from transports.fake.expressions.dates import MOST_UNITS
from transports.fake.expressions.names import check_path
from transports.fake.expressions.numbers import add, whole64
from transports.fake.expressions.time_zones import UTC_ZONE
from transports.fake.paths import Parts, put, split
from transports.fake.sort import path_key
from transports.fake.stages.context import Context, Run, Stage
from transports.fake.stages.options import ANY, STRINGS, checked_options
from transports.fake.stages.reshape import compile_reshape
from transports.fake.stages.streams import require_object
from transports.fake.stages.window_functions import WINDOW_FUNCTIONS
from transports.fake.stages.windows import Partition, compile_sort_by, windowed
from transports.fake.values import (
    MISSING,
    NUMBER_TYPES,
    Document,
    as_decimal,
    compare,
    hash_key,
    is_nan,
    sort_key,
)


def _at(document: Any, parts: Parts) -> Any:
    for part in parts:
        document = document.get(part, MISSING) if type(document) is dict else MISSING
    return document


@dataclass(frozen=True, slots=True)
class _Steps:
    """The range of a ``$densify``: how far apart values are, and from where to where."""

    step: Any
    unit: str | None
    bounds: Any

    def value(self, start: Any, number: int) -> Any:
        """Return the value ``number`` steps after the start."""
        if self.unit is None:
            total = start
            for _ in range(number):
                total = add(total, self.step)
            return total
        amount = number * (whole64(self.step) or 0)
        if abs(amount) > MOST_UNITS.get(self.unit, 2**63):
            raise CommandFailure(
                5976500, f"invalid dateAdd 'amount' parameter value: {amount} {self.unit}"
            )
        moved = date_math.add(int(start), self.unit, amount, UTC_ZONE)
        if not -(2**63) <= moved < 2**63:
            raise CommandFailure(5166406, "dateAdd overflowed")
        return DatetimeMS(moved)


def densify(spec: Any, context: Context) -> Stage:
    """``$densify``: see the module."""
    given = checked_options(
        "$densify",
        require_object("the $densify stage", spec),
        {"field": "string", "partitionByFields": STRINGS, "range": "object"},
        ("field", "range"),
    )
    parts = check_path(given["field"])
    partition_parts = [check_path(path) for path in given.get("partitionByFields", [])]
    steps = _steps(given["range"], bool(partition_parts))

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        everything = list(documents)
        for document in everything:
            _check_value(_at(document, parts), steps)
        if steps.bounds != "full" and partition_parts:  # the server sorts by these first
            everything.sort(key=lambda d: [_order(_at(d, path)) for path in partition_parts])
        with_value = [d for d in everything if _at(d, parts) not in (MISSING, None)]
        without = [d for d in everything if _at(d, parts) in (MISSING, None)]
        with_value.sort(key=lambda d: sort_key(_at(d, parts)))
        yield from without
        if not with_value and type(steps.bounds) is not list:
            return
        low, high = _limits(steps, with_value, parts)
        makers: dict[Hashable, _Maker] = {}
        if steps.bounds != "full":
            with_value = [
                d for members in _partitions(with_value, partition_parts) for d in members
            ]
        for document in with_value:
            key = _partition_key(document, partition_parts)
            if key not in makers:
                if steps.bounds != "full":
                    for maker in makers.values():
                        yield from maker.rest()
                makers[key] = _Maker(document, parts, partition_parts, steps, low, high)
            yield from makers[key].up_to(document)
        if not with_value:
            makers[()] = _Maker({}, parts, [], steps, low, high)
        for maker in makers.values():
            yield from maker.rest()

    return run


def _steps(spec: Any, partitioned: bool) -> _Steps:
    given = checked_options(
        "$densify.range",
        spec,
        {"step": "number", "bounds": ANY, "unit": "string"},
        ("step", "bounds"),
    )
    step, unit, bounds = given["step"], given.get("unit"), given["bounds"]
    if is_nan(step) or as_decimal(step) <= 0:
        raise CommandFailure(
            5733401,
            "The step parameter in a range statement must be a strictly positive numeric value",
        )
    if unit is not None:
        date_math.check_unit(unit)
        if whole64(step) is None:
            raise CommandFailure(
                6586400,
                "The step parameter in a range satement must be a whole number when densifying "
                "a date range",
            )
    if type(bounds) is list:
        _check_bounds(bounds, unit, step)
    elif type(bounds) is not str:
        raise CommandFailure(
            5733404,
            "The bounds in a range statement must be the string 'full', 'partition', or an "
            "ascending array of two numbers or two dates",
        )
    elif bounds not in ("full", "partition"):
        raise CommandFailure(5946802, "Bounds string must either be 'full' or 'partition'")
    elif bounds == "partition" and not partitioned:
        raise CommandFailure(
            5733408,
            "one may not specify the bounds as 'partition' without specifying a non-empty array "
            "of partitionByFields.",
        )
    return _Steps(step, unit, bounds)


def _check_bounds(bounds: list[Any], unit: str | None, step: Any) -> None:
    if len(bounds) != 2:
        raise CommandFailure(
            5733403, "A bounding array in a range statement must have exactly two elements"
        )
    if compare(bounds[0], bounds[1]) > 0:
        raise CommandFailure(
            5733402,
            "A bounding array must be an ascending array of either two dates or two numbers",
        )
    dates = [type(bound) is DatetimeMS for bound in bounds]
    numbers = [type(bound) in NUMBER_TYPES for bound in bounds]
    if not dates[0] and not numbers[0]:
        raise CommandFailure(5946800, "Explicit bounds must be numeric or dates")
    if not all(dates) and not all(numbers):
        raise CommandFailure(
            5733406, "A bounding array must contain either both dates or both numeric types"
        )
    if dates[0] and unit is None:
        raise CommandFailure(5733410, "A bounding array of dates must specify a unit")
    if numbers[0] and unit is not None:
        raise CommandFailure(5733409, "Numeric bounds may not have unit parameter")
    if numbers[0] and len({type(bounds[0]), type(bounds[1]), type(step)}) > 1:
        raise CommandFailure(
            5876900, "Upper bound, lower bound, and step must all have the same type"
        )


def _check_value(value: Any, steps: _Steps) -> None:
    if value is MISSING or value is None:
        return
    if type(value) is DatetimeMS:
        if steps.unit is None:
            raise CommandFailure(
                6053600, "Encountered date value in collection when step does not have a date unit."
            )
    elif type(value) not in NUMBER_TYPES:
        raise CommandFailure(5733201, "Densify field type must be numeric or a date")
    elif steps.unit is not None:
        raise CommandFailure(
            6053600, "Encountered non-date value in collection when step has a date unit."
        )


def _order(value: Any) -> Any:
    return sort_key(None if value is MISSING else value)


def _partition_key(document: Document, parts: list[Parts]) -> Hashable:
    return tuple(_key(_at(document, path)) for path in parts)


def _partitions(documents: list[Document], parts: list[Parts]) -> list[list[Document]]:
    groups: dict[Hashable, list[Document]] = {}
    for document in documents:
        groups.setdefault(_partition_key(document, parts), []).append(document)

    def place(members: list[Document]) -> tuple[Any, ...]:
        return tuple(path_key(members[0], path, False, None) for path in parts)

    return sorted(groups.values(), key=place)  # the server sorts before it densifies


def _key(value: Any) -> Hashable:
    return "missing" if value is MISSING else (hash_key(value),)


def _limits(steps: _Steps, documents: Sequence[Document], parts: Parts) -> tuple[Any, Any]:
    if type(steps.bounds) is list:
        return steps.bounds[0], steps.bounds[1]
    if steps.bounds == "partition":
        return None, None
    return _at(documents[0], parts), _at(documents[-1], parts)


class _Maker:
    """Makes the missing documents of one partition as its documents go by in order."""

    def __init__(
        self,
        first: Document,
        parts: Parts,
        partition_parts: list[Parts],
        steps: _Steps,
        low: Any,
        high: Any,
    ) -> None:
        self._parts = parts
        self._steps = steps
        self._start = _at(first, parts) if low is None else low
        self._end = high
        self._last = self._start
        self._number = 0
        self._template: Document = {}
        for path in partition_parts:
            value = _at(first, path)
            if value is not MISSING:
                self._template = put(self._template, path, value)

    def up_to(self, document: Document) -> Iterator[Document]:
        """Yield what is missing before a document, and the document."""
        value = _at(document, self._parts)
        if compare(value, self._last) > 0:
            self._last = value
        while (current := self._current()) is not None and compare(current, value) < 0:
            yield put(self._template, self._parts, current)
            self._number += 1
        if current is not None and compare(current, value) == 0:
            if self._steps.unit is None:
                self._start, self._number = value, 0  # what follows has this one's type
            self._number += 1
        yield document

    def rest(self) -> Iterator[Document]:
        """Yield what is missing after the last document; nothing the second time."""
        while (current := self._current()) is not None:
            yield put(self._template, self._parts, current)
            self._number += 1

    def _current(self) -> Any:
        """Return the next value to be there; None beyond the end."""
        value = self._steps.value(self._start, self._number)
        end = self._last if self._end is None else self._end
        explicit = type(self._steps.bounds) is list
        inside = _inside(value, end, not explicit or compare(self._start, end) == 0)
        return value if inside else None


def _inside(value: Any, end: Any, inclusive: bool) -> bool:
    order = compare(value, end)
    return order < 0 or (inclusive and order == 0)


def fill(spec: Any, context: Context) -> Stage:
    """``$fill``: see the module."""
    given = checked_options(
        "$fill",
        require_object("the $fill stage", spec),
        {
            "partitionBy": "object",
            "partitionByFields": STRINGS,
            "sortBy": "object",
            "output": "object",
        },
        ("output",),
    )
    if "partitionBy" in given and "partitionByFields" in given:
        raise CommandFailure(
            6050204,
            "Maximum one of 'partitionBy' and 'partitionByFields can be specified in '$fill'",
        )
    if not given["output"]:
        raise CommandFailure(
            6050203, "The output field of '$fill' must contain at least one element"
        )
    values: Document = {}
    outputs: list[tuple[str, str]] = []
    for field, way in given["output"].items():
        if type(way) is not dict:
            raise CommandFailure(6050200, "Each element of 'output' must be an object")
        way = checked_options("$fill", way, {"value": ANY, "method": "string"})
        if "value" in way and "method" in way:
            raise CommandFailure(6050201, "Each element must have either a value or a method")
        if "value" in way:
            values[field] = {"$ifNull": [f"${field}", way["value"]]}
        elif way.get("method") in ("linear", "locf"):
            outputs.append((field, way["method"]))
        elif "method" in way:
            raise CommandFailure(6050202, "Method must be either locf or linear")
    partition_by = given.get("partitionBy")
    if "partitionByFields" in given:
        partition_by = {path: f"${path}" for path in given["partitionByFields"]}
    set_values = (
        compile_reshape("$set", values, context.names, context.collation) if values else None
    )
    stage = _windowed(outputs, partition_by, given.get("sortBy", {}), context) if outputs else None

    def run(documents: Iterable[Document], run: Run) -> Iterable[Document]:
        filled = documents if stage is None else stage(documents, run)
        if set_values is None:
            return filled
        return (set_values(document, run.variables) for document in filled)

    return run


def _windowed(
    outputs: list[tuple[str, str]], partition_by: Any, sort_spec: Document, context: Context
) -> Stage:
    sort_by = compile_sort_by(sort_spec)
    columns = [
        (split(field), _method(field, method, len(sort_by.keys), context))
        for field, method in outputs
    ]
    return windowed(partition_by, sort_by, columns, context)


def _method(field: str, method: str, sort_fields: int, context: Context) -> Any:
    name = "$linearFill" if method == "linear" else "$locf"
    compiled = WINDOW_FUNCTIONS[name].compile(f"${field}", sort_fields, context)

    def column(partition: Partition, variables: dict[str, Any]) -> list[Any]:
        return compiled(partition, lambda index: range(0), variables)

    return column
