"""``$setWindowFields``: values computed over the neighbours of each document.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/setWindowFields/
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bson import DatetimeMS, Int64

from transports.fake.errors import FAILED_TO_PARSE, TYPE_MISMATCH, CommandFailure
from transports.fake.expressions import Variables, date_math
from transports.fake.expressions.names import check_path
from transports.fake.expressions.numbers import whole
from transports.fake.expressions.scope import Expression
from transports.fake.expressions.summaries import SlidingDeviation
from transports.fake.expressions.time_zones import UTC_ZONE
from transports.fake.paths import Parts, put, split
from transports.fake.sort import compile_sort, path_key
from transports.fake.stages.accumulators import ACCUMULATORS, Ranked, compile_accumulator
from transports.fake.stages.context import Context, Run, Stage
from transports.fake.stages.options import ANY, checked_options
from transports.fake.stages.streams import require_object
from transports.fake.stages.window_functions import WINDOW_FUNCTIONS
from transports.fake.values import (
    MISSING,
    NUMBER_TYPES,
    Document,
    as_decimal,
    hash_key,
    integer,
    sort_key,
)

Bounds = Callable[[int], range]
Fill = Callable[["Partition", Variables], list[Any]]
_NO_WINDOW_FUNCTIONS: Final = frozenset({"$accumulator", "$mergeObjects"})


@dataclass(frozen=True, slots=True)
class SortBy:
    """The order of a partition: the specification, and its keys."""

    spec: Document
    keys: tuple[tuple[Parts, bool], ...]


@dataclass(frozen=True, slots=True)
class Partition:
    """The documents of one partition in their order.

    Attributes:
        documents: in order.
        sort_keys: each document's key by all of ``sortBy``; equal keys are ties.
        positions: each document's value at the only field of ``sortBy``; empty with more fields.
    """

    documents: Sequence[Document]
    sort_keys: Sequence[Hashable]
    positions: Sequence[Any]


def set_window_fields(spec: Any, context: Context) -> Stage:
    """``$setWindowFields``: see the module."""
    given = require_object("the $setWindowFields stage", spec)
    given = checked_options(
        "$setWindowFields",
        given,
        {"partitionBy": ANY, "sortBy": "object", "output": "object"},
        ("output",),
    )
    for field, output in given["output"].items():
        if type(output) is not dict:
            raise CommandFailure(FAILED_TO_PARSE, f"The field '{field}' must be an object")
    sort_by = compile_sort_by(given.get("sortBy", {}))
    paths = {field: check_path(field) for field in given["output"]}
    for field, parts in paths.items():
        if any(other != parts and other[: len(parts)] == parts for other in paths.values()):
            raise CommandFailure(6307900, f"Two paths collide at {field}")
    # A server adds them in no order at all; here it is the order they are written in.
    outputs = [
        (parts, _compile_output(field, given["output"][field], sort_by, context))
        for field, parts in paths.items()
    ]
    return windowed(given.get("partitionBy"), sort_by, outputs, context)


def compile_sort_by(spec: Document) -> SortBy:
    """Compile ``sortBy``."""
    compile_sort(spec)
    keys = tuple((split(path), float(str(way)) < 0) for path, way in spec.items())
    return SortBy(spec, keys)


def windowed(
    partition_by: Any,
    sort_by: SortBy,
    outputs: Sequence[tuple[Parts, Fill]],
    context: Context,
) -> Stage:
    """Return the stage that fills fields partition by partition."""
    key_of = context.expression(partition_by) if partition_by is not None else None
    order = compile_sort(sort_by.spec, context.collation)
    collation = context.collation

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        groups: dict[Hashable, tuple[Any, list[Document]]] = {}
        for document in documents:
            key = None if key_of is None else key_of(document, run.variables)
            if key is MISSING:
                key = None
            if type(key) is list:
                raise CommandFailure(
                    TYPE_MISMATCH,
                    "An expression used to partition cannot evaluate to value of type array",
                )
            groups.setdefault(hash_key(key, collation), (key, []))[1].append(document)
        for _, members in sorted(groups.values(), key=lambda group: sort_key(group[0], collation)):
            ordered = order(members) if sort_by.keys else members
            yield from _filled(_partition(ordered, sort_by, context), outputs, run)

    return run


def _partition(documents: list[Document], sort_by: SortBy, context: Context) -> Partition:
    keys = [
        tuple(
            path_key(document, parts, backwards, context.collation)
            for parts, backwards in sort_by.keys
        )
        for document in documents
    ]
    positions: list[Any] = []
    if len(sort_by.keys) == 1:
        positions = [_value_at(document, sort_by.keys[0][0]) for document in documents]
    return Partition(documents, keys, positions)


def _value_at(document: Any, parts: Parts) -> Any:
    for part in parts:
        document = document.get(part, MISSING) if type(document) is dict else MISSING
    return document


def _filled(
    partition: Partition, outputs: Sequence[tuple[Parts, Fill]], run: Run
) -> Iterator[Document]:
    columns = [(parts, fill(partition, run.variables)) for parts, fill in outputs]
    for index, document in enumerate(partition.documents):
        result = document
        for parts, values in columns:
            result = put(result, parts, values[index])
        yield result


def _compile_output(field: str, spec: Any, sort_by: SortBy, context: Context) -> Fill:
    if type(spec) is not dict:
        raise CommandFailure(
            FAILED_TO_PARSE, f"The field '{field}' must be an object in $setWindowFields"
        )
    names = [name for name in spec if name != "window"]
    if len(names) != 1 or not names[0].startswith("$"):
        raise CommandFailure(
            FAILED_TO_PARSE, "Expected a $-prefixed window function and nothing but a window"
        )
    name = names[0]
    if name in WINDOW_FUNCTIONS:
        function = WINDOW_FUNCTIONS[name]
        if "window" in spec and not function.windowed:
            raise CommandFailure(function.window_code, f"{name} does not accept a 'window' field")
        if function.needs_window and "window" not in spec:
            raise CommandFailure(FAILED_TO_PARSE, f"{name} requires explicit window bounds")
        compiled = function.compile(spec[name], len(sort_by.keys), context)
        window = compile_window(spec.get("window", MISSING), sort_by)
        return lambda partition, variables: compiled(partition, window(partition), variables)
    if name not in ACCUMULATORS or name in _NO_WINDOW_FUNCTIONS:
        raise CommandFailure(FAILED_TO_PARSE, f"Unrecognized window function, {name}")
    window = compile_window(spec.get("window", MISSING), sort_by)
    return _accumulated({name: spec[name]}, window, _slides(spec.get("window")), context)


# Unlike the accumulators of a group, these give a missing value as it is.
_ENDS: Final[dict[str, int]] = {"$first": 0, "$last": -1}


def _slides(window: Any) -> bool:
    if type(window) is not dict:
        return False
    return "range" in window or window.get("documents", ["unbounded"])[0] != "unbounded"


def _accumulated(
    spec: Document, window: Callable[[Partition], Bounds], slides: bool, context: Context
) -> Fill:
    name, operand = next(iter(spec.items()))
    if name == "$count" and operand != {}:
        raise CommandFailure(FAILED_TO_PARSE, "$count only accepts an empty object as input")
    accumulation = compile_accumulator("", spec, context, unary=False)
    if type(operand) is dict and type(operand.get("sortBy")) is list:
        raise CommandFailure(
            5788604, f"expected 'sortBy' to already be an object in the arguments to {name}"
        )
    if name in ("$stdDevPop", "$stdDevSamp") and slides:
        return _deviations(accumulation.expression, window, sample=name == "$stdDevSamp")

    def fill(partition: Partition, variables: Variables) -> list[Any]:
        bounds = window(partition)
        taken = [accumulation.expression(document, variables) for document in partition.documents]
        results: list[Any] = []
        before: range | None = None
        for index in range(len(taken)):
            members = bounds(index)
            if before is not None and members == before:
                results.append(results[-1])
                continue
            if name in _ENDS:
                results.append(taken[members[_ENDS[name]]] if len(members) else None)
                before = members
                continue
            running = accumulation.start(None, variables)
            if isinstance(running, Ranked):
                running.slides = slides
            for member in members:
                running.add(taken[member])
            result = running.result()
            if name == "$sum" and slides and type(result) is Int64:
                result = integer(int(result))  # what is left after removing has the least type
            results.append(result)
            before = members
        return results

    return fill


def _deviations(
    expression: Expression, window: Callable[[Partition], Bounds], *, sample: bool
) -> Fill:
    def fill(partition: Partition, variables: Variables) -> list[Any]:
        bounds = window(partition)
        taken = [expression(document, variables) for document in partition.documents]
        running = SlidingDeviation()
        results: list[Any] = []
        start = stop = 0
        for index in range(len(taken)):
            members = bounds(index)
            for member in range(max(stop, members.start), members.stop):
                running.move(taken[member], 1)
            for member in range(start, min(members.start, stop)):
                running.move(taken[member], -1)
            start, stop = members.start, max(stop, members.stop)
            results.append(running.result(sample=sample))
        return results

    return fill


_WINDOW_FIELDS: Final = (
    "'window' field can only contain 'documents' as the only argument or 'range' with an optional "
    "'unit' field"
)


def compile_window(spec: Any, sort_by: SortBy) -> Callable[[Partition], Bounds]:
    """Compile ``window`` into a function from a position to the positions it covers."""
    if spec is MISSING:
        return lambda partition: lambda index: range(len(partition.documents))
    if type(spec) is not dict:
        raise CommandFailure(FAILED_TO_PARSE, "'window' field must be an object")
    for name in spec:
        if name not in ("documents", "range", "unit"):
            raise CommandFailure(FAILED_TO_PARSE, f"{_WINDOW_FIELDS}, found {name}")
    if "documents" in spec and ("range" in spec or "unit" in spec):
        raise CommandFailure(FAILED_TO_PARSE, _WINDOW_FIELDS)
    if "documents" in spec:
        lower, upper = _pair("documents", spec["documents"])
        if not sort_by.keys and (lower, upper) != ("unbounded", "unbounded"):
            raise CommandFailure(5339901, "Document-based bounds require a sortBy")
        return _by_documents(_offset(lower), _offset(upper))
    if "range" not in spec:
        if "unit" in spec:
            raise CommandFailure(
                FAILED_TO_PARSE, "Window bounds can only specify 'unit' with range-based bounds."
            )
        return compile_window(MISSING, sort_by)
    lower, upper = _pair("range", spec["range"])
    unit = spec.get("unit")
    if "unit" in spec:
        if type(unit) is not str:
            raise CommandFailure(FAILED_TO_PARSE, "'unit' must be a string")
        date_math.check_unit(unit)
        for bound in (lower, upper):
            if type(bound) in NUMBER_TYPES and whole(bound) is None:
                raise CommandFailure(
                    FAILED_TO_PARSE, "With 'unit', range-based bounds must be an integer"
                )
    if len(sort_by.keys) != 1:
        raise CommandFailure(5339902, "Range-based bounds require sortBy a single field")
    if sort_by.keys[0][1]:
        raise CommandFailure(5429404, "Range-based bounds require an ascending sortBy")
    return _by_range(lower, upper, unit)


def _pair(name: str, spec: Any) -> tuple[Any, Any]:
    if type(spec) is not list or len(spec) != 2:
        raise CommandFailure(
            FAILED_TO_PARSE, f"Window bounds must be a 2-element array: {name}: {spec!r}"
        )
    for bound in spec:
        if bound not in ("unbounded", "current") and type(bound) not in NUMBER_TYPES:
            raise CommandFailure(
                FAILED_TO_PARSE, "Window bounds must be 'unbounded', 'current', or a number."
            )
        if name == "documents" and type(bound) in NUMBER_TYPES and whole(bound) is None:
            raise CommandFailure(
                FAILED_TO_PARSE, "Numeric document-based bounds must be an integer"
            )
    lower, upper = spec
    low, high = (0 if b == "current" else b for b in (lower, upper))
    if "unbounded" not in (low, high) and as_decimal(low) > as_decimal(high):
        raise CommandFailure(5339900, "Lower bound must not exceed upper bound")
    return lower, upper


def _offset(bound: Any) -> int | None:
    if bound == "unbounded":
        return None
    return 0 if bound == "current" else whole(bound)


def _by_documents(lower: int | None, upper: int | None) -> Callable[[Partition], Bounds]:
    def window(partition: Partition) -> Bounds:
        size = len(partition.documents)

        def bounds(index: int) -> range:
            start = 0 if lower is None else max(0, index + lower)
            stop = size if upper is None else min(size, index + upper + 1)
            return range(start, max(start, stop))

        return bounds

    return window


def _by_range(lower: Any, upper: Any, unit: str | None) -> Callable[[Partition], Bounds]:
    def window(partition: Partition) -> Bounds:
        positions = [_position(value, unit) for value in partition.positions]
        size = len(positions)

        def bounds(index: int) -> range:
            start, stop = 0, size
            # "current" is the document itself, not the documents that tie with it.
            if lower == "current":
                start = index
            elif lower != "unbounded":
                start = bisect_left(positions, _moved(partition.positions[index], lower, unit))
            if upper == "current":
                stop = index + 1
            elif upper != "unbounded":
                stop = bisect_right(positions, _moved(partition.positions[index], upper, unit))
            return range(start, max(start, stop))

        return bounds

    return window


def _position(value: Any, unit: str | None) -> Any:
    if unit is None:
        if type(value) not in NUMBER_TYPES:
            code = 5429413 if type(value) is DatetimeMS else 5429414
            raise CommandFailure(code, "Invalid range: Expected the sortBy field to be a number")
        return as_decimal(value)
    if type(value) is not DatetimeMS:
        raise CommandFailure(5429513, "Invalid range: Expected the sortBy field to be a Date")
    return int(value)


def _moved(value: Any, bound: Any, unit: str | None) -> Any:
    if unit is None:
        return as_decimal(value) + as_decimal(bound)
    return date_math.add(int(value), unit, whole(bound) or 0, UTC_ZONE)
