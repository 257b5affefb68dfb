"""Stages that gather documents: ``$group``, ``$bucket``, ``$sortByCount`` and their like.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/group/
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Final

from transports.fake.errors import CommandFailure
from transports.fake.expressions.numbers import is_zero, whole32
from transports.fake.expressions.scope import Constant, Expression, Variables
from transports.fake.stages.accumulators import (
    Accumulation,
    Accumulator,
    compile_accumulator,
)
from transports.fake.stages.context import Context, Run, Stage
from transports.fake.stages.granularity import Rounder, rounder_of
from transports.fake.values import (
    MISSING,
    NUMBER_TYPES,
    Document,
    compare,
    hash_key,
    sort_key,
    type_rank,
)

_INCLUDING: Final = frozenset({*NUMBER_TYPES, bool})


def _accumulations(spec: Document, context: Context) -> dict[str, Accumulation]:
    accumulations = {}
    for field, operand in spec.items():
        if type(operand) is not dict:
            raise CommandFailure(40234, f"The field '{field}' must be an accumulator object")
        if "." in field:
            raise CommandFailure(40235, f"The field name '{field}' cannot contain '.'")
        if field.startswith("$"):
            raise CommandFailure(40236, f"The field name '{field}' cannot be an operator name")
        accumulations[field] = compile_accumulator(field, operand, context)
    return accumulations


def group(spec: Any, context: Context) -> Stage:
    """``$group``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/group/."""
    if type(spec) is not dict:
        raise CommandFailure(15947, "a group's fields must be specified in an object")
    fields = {field: operand for field, operand in spec.items() if field != "_id"}
    if "_id" not in spec:
        _accumulations(fields, context)
        raise CommandFailure(15955, "a group specification must include an _id")
    if type(spec["_id"]) is dict and any(
        not name.startswith("$") and ("." in name or type(value) in _INCLUDING)
        for name, value in spec["_id"].items()
    ):
        raise CommandFailure(17390, "$group does not support inclusion-style expressions")
    key_of = _key_expression(spec["_id"], context)
    accumulations = _accumulations(fields, context)
    collation = context.collation

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        variables = run.variables
        groups: dict[Hashable, tuple[Any, list[Accumulator]]] = {}
        expressions = [each.expression for each in accumulations.values()]
        for document in documents:
            key = key_of(document, variables)
            if key is MISSING:
                key = None
            hashed = hash_key(key, collation)
            found = groups.get(hashed)
            if found is None:
                running = [each.start(key, variables) for each in accumulations.values()]
                found = groups[hashed] = (key, running)
            for accumulator, expression in zip(found[1], expressions, strict=True):
                accumulator.add(expression(document, variables))
        for key, running in groups.values():
            yield _result(key, accumulations, running)

    return run


def _key_expression(spec: Any, context: Context) -> Expression:
    """Compile ``_id``; a document of one field has null where that field is missing."""
    key_of = context.expression(spec)
    if type(spec) is not dict or len(spec) != 1:
        return key_of
    name = next(iter(spec))
    if name.startswith("$"):
        return key_of

    def with_null(document: Document, variables: Variables) -> Any:
        return key_of(document, variables) or {name: None}

    return with_null


def _result(key: Any, accumulations: Iterable[str], running: Iterable[Accumulator]) -> Document:
    result: Document = {"_id": key}
    for field, accumulator in zip(accumulations, running, strict=True):
        result[field] = accumulator.result()
    return result


def sort_by_count(spec: Any, context: Context) -> Stage:
    """``$sortByCount``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sortByCount/."""
    if type(spec) is dict:
        if not next(iter(spec), "").startswith("$"):
            raise CommandFailure(
                40147,
                "the sortByCount field must be defined as a $-prefixed path or an expression "
                "inside "
                "an object",
            )
    elif type(spec) is not str:
        raise CommandFailure(
            40149, "the sortByCount field must be specified as a string or as an object"
        )
    elif not spec.startswith("$"):
        raise CommandFailure(
            40148,
            "the sortByCount field must be defined as a $-prefixed path or an expression inside "
            "an object",
        )
    grouped = group({"_id": spec, "count": {"$sum": 1}}, context)

    def run(documents: Iterable[Document], run: Run) -> Iterable[Document]:
        return sorted(grouped(documents, run), key=lambda found: -int(found["count"]))

    return run


def count(spec: Any, context: Context) -> Stage:
    """``$count``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/count/."""
    if type(spec) is not str:
        raise CommandFailure(40156, "the count field must be a non-empty string")
    if not spec:
        raise CommandFailure(40157, "the count field must be a non-empty string")
    if spec.startswith("$"):
        raise CommandFailure(40158, "the count field cannot be a $-prefixed path")
    if spec == "_id":
        raise CommandFailure(15948, "a group's _id may only be specified once")
    if "\0" in spec:
        raise CommandFailure(40159, "the count field cannot contain a null byte")
    if "." in spec:
        raise CommandFailure(40160, "the count field cannot contain '.'")

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        number = sum(1 for _ in documents)
        if number:
            yield {spec: number}

    return run


_DEFAULT_OUTPUT = {"count": {"$sum": 1}}


def bucket(spec: Any, context: Context) -> Stage:
    """``$bucket``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/bucket/."""
    if type(spec) is not dict:
        raise CommandFailure(40201, "Argument to $bucket stage must be an object")
    for name in spec:
        if name not in ("groupBy", "boundaries", "default", "output"):
            raise CommandFailure(40197, f"Unrecognized option to $bucket: {name}.")
    if "groupBy" not in spec or "boundaries" not in spec:
        raise CommandFailure(40198, "$bucket requires 'groupBy' and 'boundaries' to be specified.")
    _check_group_by(spec["groupBy"], 40202, "$bucket")
    boundaries = _boundaries(spec["boundaries"], context)
    default: Any = MISSING
    if "default" in spec:
        default = _constant(spec["default"], context, 40195)
        _check_default(default, boundaries, context)
    output = spec.get("output", _DEFAULT_OUTPUT)
    if type(output) is not dict:
        raise CommandFailure(40196, "The $bucket 'output' field must be an object")
    if "_id" in output:
        raise CommandFailure(15948, "a group's _id may only be specified once")
    key_of = context.expression(spec["groupBy"])
    collation = context.collation
    limits = [sort_key(boundary, collation) for boundary in boundaries]

    def place(document: Document, variables: Variables) -> Any:
        value = key_of(document, variables)
        key = (5, 0) if value is MISSING else sort_key(value, collation)
        for index in range(len(limits) - 1):
            if limits[index] <= key < limits[index + 1]:
                return boundaries[index]
        if default is MISSING:
            raise CommandFailure(
                4934200 if context.slots else 40066,
                "$switch could not find a matching branch for an input, and no default was "
                "specified.",
            )
        return default

    return _grouped_in_order(place, _accumulations(output, context), context)


def _grouped_in_order(
    key_of: Expression, accumulations: dict[str, Accumulation], context: Context
) -> Stage:
    def run(documents: Iterable[Document], run: Run) -> Iterable[Document]:
        variables = run.variables
        groups: dict[Hashable, tuple[Any, list[Accumulator]]] = {}
        for document in documents:
            key = key_of(document, variables)
            hashed = hash_key(key)
            if hashed not in groups:
                running = [each.start(key, variables) for each in accumulations.values()]
                groups[hashed] = (key, running)
            for accumulator, each in zip(groups[hashed][1], accumulations.values(), strict=True):
                accumulator.add(each.expression(document, variables))
        results = [_result(key, accumulations, running) for key, running in groups.values()]
        return sorted(results, key=lambda found: sort_key(found["_id"], context.collation))

    return run


def _check_group_by(value: Any, code: int, name: str) -> None:
    if not (type(value) is str and value.startswith("$")) and not (
        type(value) is dict and next(iter(value), "").startswith("$")
    ):
        raise CommandFailure(
            code,
            f"The {name} 'groupBy' field must be defined as a $-prefixed path or an expression",
        )


def _constant(value: Any, context: Context, code: int) -> Any:
    compiled = context.expression(value)
    if type(compiled) is not Constant:
        raise CommandFailure(code, "The $bucket field must be a constant expression")
    return compiled.value


def _boundaries(given: Any, context: Context) -> list[Any]:
    if type(given) is not list:
        raise CommandFailure(40200, "The $bucket 'boundaries' field must be an array")
    boundaries = [_constant(boundary, context, 40191) for boundary in given]
    if len(boundaries) < 2:
        raise CommandFailure(
            40192,
            "The $bucket 'boundaries' field must have at least 2 values, but found "
            f"{len(boundaries)} value(s).",
        )
    for lower, upper in itertools.pairwise(boundaries):
        if type_rank(lower) != type_rank(upper):
            raise CommandFailure(
                40193, "All values in the 'boundaries' option to $bucket must have the same type."
            )
        if compare(lower, upper, context.collation) >= 0:
            raise CommandFailure(
                40194, "The 'boundaries' option to $bucket must be sorted in ascending order."
            )
    return boundaries


def _check_default(default: Any, boundaries: list[Any], context: Context) -> None:
    if (
        compare(default, boundaries[0], context.collation) >= 0
        and compare(default, boundaries[-1], context.collation) < 0
    ):
        raise CommandFailure(
            40199,
            "The $bucket 'default' field must be less than the lowest boundary or greater than "
            "or equal to the highest boundary.",
        )


def bucket_auto(spec: Any, context: Context) -> Stage:
    """``$bucketAuto``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/bucketAuto/."""
    if type(spec) is not dict:
        raise CommandFailure(40240, "The argument to $bucketAuto must be an object")
    for name in spec:
        if name not in ("groupBy", "buckets", "output", "granularity"):
            raise CommandFailure(40245, f"Unrecognized option to $bucketAuto: {name}.")
    if "groupBy" not in spec or "buckets" not in spec:
        raise CommandFailure(40246, "$bucketAuto requires 'groupBy' and 'buckets' to be specified.")
    _check_group_by(spec["groupBy"], 40239, "$bucketAuto")
    if type(spec["buckets"]) not in NUMBER_TYPES:
        raise CommandFailure(40241, "The $bucketAuto 'buckets' field must be a numeric value")
    buckets = whole32(spec["buckets"])
    if buckets is None:
        raise CommandFailure(
            40242, "The $bucketAuto 'buckets' field must be representable as a 32-bit integer"
        )
    if buckets <= 0:
        raise CommandFailure(
            40243, f"The $bucketAuto 'buckets' field must be greater than 0, but found: {buckets}"
        )
    rounder = rounder_of(spec["granularity"]) if "granularity" in spec else None
    output = spec.get("output", _DEFAULT_OUTPUT)
    output = _DEFAULT_OUTPUT if output == {} else output
    if type(output) is not dict:
        raise CommandFailure(40244, "The $bucketAuto 'output' field must be an object")
    key_of = context.expression(spec["groupBy"])
    accumulations = _accumulations(output, context)
    collation = context.collation

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        pairs = []
        for document in documents:
            value = key_of(document, run.variables)
            value = None if value is MISSING else value
            if rounder is not None:
                rounder.up(value)  # refuses what is no number
            pairs.append((sort_key(value, collation), value, document))
        pairs.sort(key=lambda pair: pair[0])
        for members, lower, upper in _cut(pairs, buckets, rounder):
            running = [each.start(None, run.variables) for each in accumulations.values()]
            for _, _, document in members:
                for accumulator, each in zip(running, accumulations.values(), strict=True):
                    accumulator.add(each.expression(document, run.variables))
            yield _result({"min": lower, "max": upper}, accumulations, running)

    return run


Pair = tuple[tuple[int, Any], Any, Document]


def _cut(
    pairs: list[Pair], buckets: int, rounder: Rounder | None
) -> Iterator[tuple[list[Pair], Any, Any]]:
    """Yield each bucket's members and its boundaries; equal values stay together."""
    size = max(1, int(len(pairs) / buckets + 0.5))
    start = 0
    lower = rounder.down(pairs[0][1]) if rounder is not None and pairs else None
    for number in range(buckets):
        if start >= len(pairs):
            return
        end = len(pairs) if number == buckets - 1 else min(start + size, len(pairs))
        if rounder is None:
            while end < len(pairs) and pairs[end][0] == pairs[end - 1][0]:
                end += 1
            upper = pairs[end][1] if end < len(pairs) else pairs[-1][1]
            yield pairs[start:end], pairs[start][1], upper
        else:
            upper = rounder.up(pairs[end - 1][1])
            while end < len(pairs) and compare(upper, pairs[end][1]) > 0:
                end += 1
            if is_zero(upper) and end < len(pairs):
                upper = rounder.down(pairs[end][1])
            yield pairs[start:end], lower, upper
            lower = upper
        start = end
