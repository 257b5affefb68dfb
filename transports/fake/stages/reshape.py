"""Stages that turn one document into one other, which pipeline updates may use too.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/project/,
https://www.mongodb.com/docs/manual/reference/operator/aggregation/addFields/ and
https://www.mongodb.com/docs/manual/reference/operator/aggregation/replaceRoot/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from transports.fake.collation import Collation
from transports.fake.errors import CommandFailure
from transports.fake.expressions import compile_expression
from transports.fake.expressions.names import check_path
from transports.fake.expressions.scope import Expression, Variables
from transports.fake.stages.fields import Level, compile_fields, leaves
from transports.fake.values import Document, bson_type

Reshape = Callable[[Document, Variables], Document]


def compile_reshape(
    name: str, spec: Any, names: frozenset[str], collation: Collation | None
) -> Reshape:
    """Compile one of the stages of `RESHAPES`."""

    def compile_value(expression: Any) -> Expression:
        return compile_expression(expression, variables=names, collation=collation)

    return RESHAPES[name](name, spec, compile_value)


def project(name: str, spec: Any, compile_value: Callable[[Any], Expression]) -> Reshape:
    """``$project``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/project/."""
    if type(spec) is not dict:
        raise CommandFailure(15969, "$project specification must be an object")
    return compile_fields(spec, compile_value)


def unset(name: str, spec: Any, compile_value: Callable[[Any], Expression]) -> Reshape:
    """``$unset``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/unset/."""
    paths = spec if type(spec) is list else [spec]
    if type(spec) not in (list, str):
        raise CommandFailure(31002, "$unset specification must be a string or an array")
    if not paths:
        raise CommandFailure(
            31119, "$unset specification must be a string or an array with at least one field"
        )
    for path in paths:
        if type(path) is not str:
            raise CommandFailure(
                31120,
                "$unset specification must be a string or an array containing only string values",
            )
    level = Level()
    for path in paths:
        level.put(check_path(path), None)
    return lambda document, variables: level.excluded(document)


def add_fields(name: str, spec: Any, compile_value: Callable[[Any], Expression]) -> Reshape:
    """``$addFields``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/addFields/."""
    if type(spec) is not dict:
        raise CommandFailure(
            40272, f"{name} specification stage must be an object, got {bson_type(spec)[1]}"
        )
    level = Level()
    for parts, value in leaves(spec, empty=40180):
        try:
            level.put(parts, compile_value(value))
        except CommandFailure as failure:
            if failure.code not in (31249, 31250):
                raise
            raise CommandFailure(40176, f"Invalid {name} :: {failure.message}") from failure
    return lambda document, variables: level.compute(document, document, variables)


def replace_root(name: str, spec: Any, compile_value: Callable[[Any], Expression]) -> Reshape:
    """``$replaceRoot``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/replaceRoot/."""
    if name == "$replaceRoot":
        if type(spec) is not dict:
            raise CommandFailure(
                40229,
                "expected an object as specification for $replaceRoot stage, got "
                f"{bson_type(spec)[1]}",
            )
        for option in spec:
            if option != "newRoot":
                raise CommandFailure(
                    40415, f"BSON field '$replaceRoot.{option}' is an unknown field."
                )
        if "newRoot" not in spec:
            raise CommandFailure(
                40414, "BSON field '$replaceRoot.newRoot' is missing but a required field"
            )
        spec = spec["newRoot"]
    expression = compile_value(spec)

    def replace(document: Document, variables: Variables) -> Document:
        value = expression(document, variables)
        if type(value) is not dict:
            raise CommandFailure(
                40228,
                f"'{'newRoot' if name == '$replaceRoot' else 'replacement document'}' expression  "
                f"must evaluate to an object, but resulting value was: {value!r}. Type of "
                "resulting "
                f"value: '{bson_type(value)[1]}'.",
            )
        return value

    return replace


RESHAPES: Final[dict[str, Callable[[str, Any, Callable[[Any], Expression]], Reshape]]] = {
    "$addFields": add_fields,
    "$project": project,
    "$replaceRoot": replace_root,
    "$replaceWith": replace_root,
    "$set": add_fields,
    "$unset": unset,
}
