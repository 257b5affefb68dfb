"""Stages that pass documents on: filters, limits, order, ``$unwind``, and the reshaping ones.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation-pipeline/
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any

from bson import Int64

from transports.fake import metadata
from transports.fake.errors import FAILED_TO_PARSE, CommandFailure
from transports.fake.expressions.names import check_path
from transports.fake.expressions.numbers import as_long, whole64
from transports.fake.expressions.scope import Expression, Variables
from transports.fake.matcher import Matcher, compile_filter
from transports.fake.paths import Parts, put
from transports.fake.sort import compile_sort
from transports.fake.stages.context import CompileStage, Context, Run, Stage
from transports.fake.stages.reshape import compile_reshape
from transports.fake.values import MISSING, NUMBER_TYPES, Document


def compile_match(spec: Any, context: Context) -> Matcher:
    """Compile the filter of a ``$match``."""
    if type(spec) is not dict:
        raise CommandFailure(15959, "the match filter must be an expression in an object")
    matcher = compile_filter(spec, collation=context.collation, names=context.names)
    if matcher.near is not None:
        raise CommandFailure(
            5626500, "$geoNear, $near, and $nearSphere are not allowed in this context"
        )
    return matcher


def match(spec: Any, context: Context) -> Stage:
    """``$match``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/match/."""
    test = compile_match(spec, context).predicate

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        variables = run.variables
        return (document for document in documents if test(document, variables))

    return run


def reshape(name: str) -> CompileStage:
    """Make the stage of `compile_reshape`'s ``name``."""

    def compile_stage(spec: Any, context: Context) -> Stage:
        change = compile_reshape(name, spec, context.names, context.collation)

        def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
            variables = run.variables
            if context.keeps_metadata:
                return (
                    metadata.kept(document, change(document, variables)) for document in documents
                )
            return (change(document, variables) for document in documents)

        return run

    return compile_stage


def sort(spec: Any, context: Context) -> Stage:
    """``$sort``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sort/."""
    if type(spec) is not dict:
        raise CommandFailure(15973, "the $sort key specification must be an object")
    if not spec:
        raise CommandFailure(15976, "$sort stage must have at least one sort key")
    order = compile_sort(spec, context.collation)
    return lambda documents, run: order(documents)


def _non_negative(name: str, value: Any, code: int, kind: str) -> int:
    if type(value) not in NUMBER_TYPES:
        raise CommandFailure(
            code, f"invalid argument to {name} stage: Expected a number in: {name}: {value!r}"
        )
    number = whole64(value)
    if number is None:
        raise CommandFailure(
            code, f"invalid argument to {name} stage: Expected an integer: {name}: {value!r}"
        )
    if number < 0:
        raise CommandFailure(
            code,
            f"invalid argument to {name} stage: Expected a non-negative number in: {name}: "
            f"{number}",
        )
    return number


def limit(spec: Any, context: Context) -> Stage:
    """``$limit``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/limit/."""
    number = _non_negative("$limit", spec, 5107201, "limit")
    if number == 0:
        raise CommandFailure(15958, "the limit must be positive")
    return lambda documents, run: itertools.islice(documents, number)


def skip(spec: Any, context: Context) -> Stage:
    """``$skip``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/skip/."""
    number = _non_negative("$skip", spec, 5107200, "skip")
    return lambda documents, run: itertools.islice(documents, number, None)


def sample(spec: Any, context: Context) -> Stage:
    """``$sample``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sample/."""
    if type(spec) is not dict:
        raise CommandFailure(28745, "the $sample stage specification must be an object")
    for name in spec:
        if name != "size":
            raise CommandFailure(28748, f"unrecognized option to $sample: {name}")
    if "size" not in spec:
        raise CommandFailure(28749, "$sample stage must specify a size")
    if type(spec["size"]) not in NUMBER_TYPES:
        raise CommandFailure(28746, "size argument to $sample must be a number")
    size = as_long(spec["size"])
    if size < 0:
        raise CommandFailure(28747, "size argument to $sample must not be negative")

    def run(documents: Iterable[Document], run: Run) -> Iterable[Document]:
        everything = list(documents)
        return random.sample(everything, min(size, len(everything)))

    return run


def unwind(spec: Any, context: Context) -> Stage:
    """``$unwind``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/unwind/."""
    options = spec if type(spec) is dict else {"path": spec}
    if type(spec) not in (dict, str):
        raise CommandFailure(
            15981, "expected either a string or an object as specification for $unwind stage"
        )
    for name in options:
        if name not in ("path", "preserveNullAndEmptyArrays", "includeArrayIndex"):
            raise CommandFailure(28811, f"unrecognized option to $unwind stage: {name}")
    path = options.get("path", "")
    if type(path) is not str:
        raise CommandFailure(28808, "expected a string as the path for $unwind stage")
    if not path:
        raise CommandFailure(28812, "no path specified to $unwind stage")
    if not path.startswith("$"):
        raise CommandFailure(
            28818, f"path option to $unwind stage should be prefixed with a '$': {path}"
        )
    keep = options.get("preserveNullAndEmptyArrays", False)
    if type(keep) is not bool:
        raise CommandFailure(
            28809, "expected a boolean for the preserveNullAndEmptyArrays option to $unwind stage"
        )
    index_name = options.get("includeArrayIndex")
    if "includeArrayIndex" in options:
        if type(index_name) is not str or not index_name:
            raise CommandFailure(
                28810,
                "expected a non-empty string for the includeArrayIndex  option to $unwind stage",
            )
        if index_name.startswith("$"):
            raise CommandFailure(
                28822,
                "includeArrayIndex option to $unwind stage should not be prefixed with a '$': "
                f"{index_name}",
            )
    parts = check_path(path[1:])
    index_parts = None if index_name is None else check_path(index_name)

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        for document in documents:
            yield from _unwound(document, parts, keep, index_parts)

    return run


def _unwound(
    document: Document, parts: Parts, keep: bool, index_parts: Parts | None
) -> Iterator[Document]:
    value: Any = document
    for part in parts:
        value = value.get(part, MISSING) if type(value) is dict else MISSING
    if type(value) is list and value:
        for index, element in enumerate(value):
            result = put(document, parts, element)
            if index_parts is not None:
                result = put(result, index_parts, Int64(index))
            yield result
        return
    if value is MISSING or value is None or type(value) is list:
        if not keep:
            return
        if type(value) is list:
            document = put(document, parts, MISSING)
    if index_parts is not None:
        document = put(document, index_parts, None)
    yield document


def redact(spec: Any, context: Context) -> Stage:
    """``$redact``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/redact/."""
    expression = context.expression(spec, current=True)

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        for document in documents:
            variables = dict(run.variables)
            kept = _redacted(document, document, expression, variables)
            if kept is not MISSING:
                yield kept

    return run


def _redacted(
    current: Document, root: Document, expression: Expression, variables: Variables
) -> Any:
    variables["CURRENT"] = current
    decision = expression(root, variables)
    if decision == "keep":
        return current
    if decision == "prune":
        return MISSING
    if decision != "descend":
        raise CommandFailure(
            17053,
            "$redact's expression should not return anything aside from the variables $$KEEP, "
            f"$$DESCEND, and $$PRUNE, but returned {decision!r}",
        )
    result = {}
    for name, value in current.items():
        kept = _redacted_value(value, root, expression, variables)
        if kept is not MISSING:
            result[name] = kept
    return result


def _redacted_value(
    value: Any, root: Document, expression: Expression, variables: Variables
) -> Any:
    if type(value) is dict:
        return _redacted(value, root, expression, variables)
    if type(value) is list:
        kept = [_redacted_value(element, root, expression, variables) for element in value]
        return [element for element in kept if element is not MISSING]
    return value


def documents(spec: Any, context: Context) -> Stage:
    """``$documents``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/documents/."""
    expression = context.expression(spec)

    def run(source: Iterable[Document], run: Run) -> Iterator[Document]:
        values = expression({}, run.variables)
        if type(values) is not list:
            raise CommandFailure(5858203, "an array is expected")
        for value in values:
            if type(value) is not dict:
                raise CommandFailure(
                    40228, "'replacement document' expression must evaluate to an object"
                )
            yield value

    return run


def require_object(name: str, spec: Any, code: int = FAILED_TO_PARSE) -> Document:
    """Return a stage's specification, which must be a document."""
    if type(spec) is not dict:
        raise CommandFailure(code, f"{name} specification must be an object")
    checked: Document = spec
    return checked
