"""Object expressions.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#object-expression-operators
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from transports.fake.errors import CommandFailure
from transports.fake.expressions.arithmetic import type_name
from transports.fake.expressions.scope import (
    Expression,
    Operator,
    Scope,
    Variables,
    fixed,
    is_nullish,
    named_arguments,
    variadic,
)
from transports.fake.values import MISSING, Document


def merge_objects(given: Iterable[Any]) -> Any:
    """``$mergeObjects``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/mergeObjects/."""
    values = list(given)
    if len(values) == 1 and type(values[0]) is list:
        values = values[0]
    merged: Document = {}
    for value in values:
        if is_nullish(value):
            continue
        if type(value) is not dict:
            raise CommandFailure(
                40400,
                f"$mergeObjects requires object inputs, but input {value!r} is of type "
                f"{type_name(value)}",
            )
        merged.update(value)
    return merged


def object_to_array(value: Any) -> Any:
    """``$objectToArray``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/objectToArray/."""
    if is_nullish(value):
        return None
    if type(value) is not dict:
        raise CommandFailure(
            40390, f"$objectToArray requires a document input, found: {type_name(value)}"
        )
    return [{"k": name, "v": member} for name, member in value.items()]


def _constant_name(operator: str, field: Any, codes: tuple[int, int, int]) -> str:
    """Return the constant string an operator wants for ``field``.

    ``codes`` are those of a field path, of another expression, and of another type.
    """
    if type(field) is str and field.startswith("$"):
        raise CommandFailure(
            codes[0],
            f"'{field}' is a field path reference which is not allowed in this context. Did you "
            f"mean {{$literal: '{field}'}}?",
        )
    if type(field) is dict and list(field) in (["$literal"], ["$const"]):
        field = next(iter(field.values()))
    elif type(field) in (dict, list):
        raise CommandFailure(
            codes[1],
            f"{operator} requires 'field' to evaluate to a constant, but got a non-constant "
            "argument",
        )
    if type(field) is not str:
        raise CommandFailure(
            codes[2],
            f"{operator} requires 'field' to evaluate to type String, but got {type_name(field)}",
        )
    return field


def get_field(operand: Any, scope: Scope) -> Expression:
    """``$getField``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/getField/."""
    if type(operand) is dict and not next(iter(operand), "").startswith("$"):
        given = named_arguments(
            "$getField",
            operand,
            {"field": 3041702, "input": 3041703},
            unknown=3041701,
        )
        source = scope.compile(given["input"])
        field = given["field"]
    else:
        source, field = scope.compile("$$CURRENT"), operand
    name = _constant_name("$getField", field, (5654600, 5654601, 5654602))

    def get(document: Document, variables: Variables) -> Any:
        value = source(document, variables)
        if type(value) is dict:
            return value.get(name, MISSING)
        return None if is_nullish(value) and value is None else MISSING

    return get


def set_field(operand: Any, scope: Scope) -> Expression:
    """``$setField``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/setField/."""
    given = named_arguments(
        "$setField",
        operand,
        {"field": 4161102, "input": 4161109, "value": 4161103},
        not_an_object=4161100,
        unknown=4161101,
    )
    return _set("$setField", given["field"], given["input"], given["value"], scope)


def unset_field(operand: Any, scope: Scope) -> Expression:
    """``$unsetField``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/unsetField/."""
    given = named_arguments(
        "$unsetField",
        operand,
        {"field": 4161102, "input": 4161109},
        not_an_object=4161100,
        unknown=4161101,
    )
    return _set("$unsetField", given["field"], given["input"], "$$REMOVE", scope)


def _set(operator: str, field: Any, source: Any, value: Any, scope: Scope) -> Expression:
    name = _constant_name(operator, field, (4161108, 4161106, 4161107))
    target, new = scope.compile(source), scope.compile(value)

    def put(document: Document, variables: Variables) -> Any:
        given = target(document, variables)
        if is_nullish(given):
            return None
        if type(given) is not dict:
            raise CommandFailure(4161105, f"{operator} requires 'input' to evaluate to type Object")
        changed = dict(given)
        member = new(document, variables)
        if member is MISSING:
            changed.pop(name, None)
        else:
            changed[name] = member
        return changed

    return put


OBJECTS: Final[dict[str, Operator]] = {
    "$getField": get_field,
    "$mergeObjects": variadic(merge_objects),
    "$objectToArray": fixed("$objectToArray", object_to_array, 1),
    "$setField": set_field,
    "$unsetField": unset_field,
}
