"""Stages that fill gaps: ``$densify`` makes missing documents, ``$fill`` missing values.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/densify/ and
https://www.mongodb.com/docs/manual/reference/operator/aggregation/fill/
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson import DatetimeMS

from transports.fake.errors import TYPE_MISMATCH, CommandFailure
from transports.fake.expressions import date_math
from transports.fake.expressions.names import check_path
from transports.fake.expressions.numbers import add, whole
from transports.fake.expressions.time_zones import UTC_ZONE
from transports.fake.paths import Parts, put, split
from transports.fake.stages.context import Context, Run, Stage
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
        amount = number * int(whole(self.step) or 0)
        return DatetimeMS(date_math.add(int(start), self.unit, amount, UTC_ZONE))


def densify(spec: Any, context: Context) -> Stage:
    """``$densify``: see the module."""
    given = require_object("the $densify stage", spec)
    for name in given:
        if name not in ("field", "partitionByFields", "range"):
            raise CommandFailure(40415, f"BSON field '$densify.{name}' is an unknown field.")
    for name in ("field", "range"):
        if name not in given:
            raise CommandFailure(
                40414, f"BSON field '$densify.{name}' is missing but a required field"
            )
    if type(given["field"]) is not str:
        raise CommandFailure(TYPE_MISMATCH, "BSON field '$densify.field' is the wrong type")
    parts = check_path(given["field"])
    partition_parts = [check_path(path) for path in given.get("partitionByFields", [])]
    steps = _steps(given["range"], bool(partition_parts))

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        everything = list(documents)
        for document in everything:
            _check_value(_at(document, parts), steps)
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
    if type(spec) is not dict:
        raise CommandFailure(TYPE_MISMATCH, "BSON field '$densify.range' is the wrong type")
    for name in ("step", "bounds"):
        if name not in spec:
            raise CommandFailure(
                40414, f"BSON field '$densify.range.{name}' is missing but a required field"
            )
    step, unit, bounds = spec["step"], spec.get("unit"), spec["bounds"]
    if type(step) not in NUMBER_TYPES:
        raise CommandFailure(TYPE_MISMATCH, "BSON field 'RangeSpec.step' is the wrong type")
    if as_decimal(step) <= 0:
        raise CommandFailure(
            5733401,
            "the step parameter in a range statement must be a strictly positive numeric value",
        )
    if unit is not None:
        date_math.check_unit(unit)
        if whole(step) is None:
            raise CommandFailure(
                6586400,
                "The step parameter in a range satement must be a whole number when densifying "
                "a date range",
            )
    if type(bounds) is list:
        _check_bounds(bounds, unit)
    elif bounds not in ("full", "partition"):
        raise CommandFailure(5946802, "Bounds string must either be 'full' or 'partition'")
    elif bounds == "partition" and not partitioned:
        raise CommandFailure(
            5733408,
            "one may not specify the bounds as 'partition' without specifying a non-empty array "
            "of partitionByFields.",
        )
    return _Steps(step, unit, bounds)


def _check_bounds(bounds: list[Any], unit: str | None) -> None:
    if len(bounds) != 2:
        raise CommandFailure(
            5733403, "a bounding array in a range statement must have exactly two elements"
        )
    wanted = NUMBER_TYPES if unit is None else frozenset({DatetimeMS})
    if any(type(bound) not in wanted for bound in bounds):
        code = 5733402 if unit is not None else 5946800
        raise CommandFailure(
            code, "a bounding array must contain either both dates or both numeric types"
        )
    if compare(bounds[0], bounds[1]) > 0:
        raise CommandFailure(5733402, "the bounds in a range statement must be in ascending order")


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


def _partition_key(document: Document, parts: list[Parts]) -> Hashable:
    return tuple(_key(_at(document, path)) for path in parts)


def _partitions(documents: list[Document], parts: list[Parts]) -> list[list[Document]]:
    groups: dict[Hashable, list[Document]] = {}
    for document in documents:
        groups.setdefault(_partition_key(document, parts), []).append(document)
    return list(groups.values())


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
        inside = _inside(value, end, type(self._steps.bounds) is not list)
        return value if inside else None


def _inside(value: Any, end: Any, inclusive: bool) -> bool:
    order = compare(value, end)
    return order < 0 or (inclusive and order == 0)


def fill(spec: Any, context: Context) -> Stage:
    """``$fill``: see the module."""
    given = require_object("the $fill stage", spec)
    for name in given:
        if name not in ("partitionBy", "partitionByFields", "sortBy", "output"):
            raise CommandFailure(40415, f"BSON field '$fill.{name}' is an unknown field.")
    if "output" not in given:
        raise CommandFailure(40414, "BSON field '$fill.output' is missing but a required field")
    if type(given.get("partitionBy", {})) is not dict:
        raise CommandFailure(TYPE_MISMATCH, "BSON field '$fill.partitionBy' is the wrong type")
    if "partitionBy" in given and "partitionByFields" in given:
        raise CommandFailure(
            6050204,
            "Maximum one of 'partitionBy' and 'partitionByFields can be specified in '$fill'",
        )
    sort_by = compile_sort_by(given.get("sortBy", {}))
    if not given["output"]:
        raise CommandFailure(
            6050203, "The output field of '$fill' must contain at least one element"
        )
    values: Document = {}
    outputs = []
    for field, way in given["output"].items():
        if type(way) is not dict:
            raise CommandFailure(6050200, "Each element of 'output' must be an object")
        if "value" in way and "method" in way:
            raise CommandFailure(6050201, "Each element must have either a value or a method")
        if "value" in way:
            values[field] = {"$ifNull": [f"${field}", way["value"]]}
        elif way.get("method") in ("linear", "locf"):
            column = _method(field, way["method"], len(sort_by.keys), context)
            outputs.append((split(field), column))
        elif "method" in way:
            raise CommandFailure(6050202, "Method must be either locf or linear")
    partition_by = given.get("partitionBy")
    if "partitionByFields" in given:
        partition_by = {path: f"${path}" for path in given["partitionByFields"]}
    set_values = (
        compile_reshape("$set", values, context.names, context.collation) if values else None
    )
    stage = windowed(partition_by, sort_by, outputs, context) if outputs else None

    def run(documents: Iterable[Document], run: Run) -> Iterable[Document]:
        filled = documents if stage is None else stage(documents, run)
        if set_values is None:
            return filled
        return (set_values(document, run.variables) for document in filled)

    return run


def _method(field: str, method: str, sort_fields: int, context: Context) -> Any:
    name = "$linearFill" if method == "linear" else "$locf"
    compiled = WINDOW_FUNCTIONS[name].compile(f"${field}", sort_fields, context)

    def column(partition: Partition, variables: dict[str, Any]) -> list[Any]:
        return compiled(partition, lambda index: range(0), variables)

    return column
