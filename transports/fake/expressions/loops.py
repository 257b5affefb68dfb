"""Array expressions that bind a variable: ``$map``, ``$filter``, ``$reduce``.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#array-expression-operators
"""

from __future__ import annotations

from typing import Any, Final

from transports.fake.errors import CommandFailure
from transports.fake.expressions.arithmetic import type_name
from transports.fake.expressions.conditions import truthy
from transports.fake.expressions.names import check_variable_name
from transports.fake.expressions.numbers import whole32
from transports.fake.expressions.scope import (
    Constant,
    Expression,
    Operator,
    Scope,
    Variables,
    is_nullish,
    named_arguments,
)
from transports.fake.values import MISSING, Document


def _elements(operator: str, value: Any, code: int) -> list[Any] | None:
    """Return the array an operator works on; None for a nullish one."""
    if type(value) is list:
        return value
    if is_nullish(value):
        return None
    raise CommandFailure(code, f"input to {operator} must be an array not {type_name(value)}")


def map_(operand: Any, scope: Scope) -> Expression:
    """``$map``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/map/."""
    given = named_arguments(
        "$map", operand, {"input": 16880, "in": 16882}, ("as",), not_an_object=16878, unknown=16879
    )
    source = scope.compile(given["input"])
    name = _name(given, "as")
    body = scope.binding(name).compile(given["in"])

    def mapped(document: Document, variables: Variables) -> Any:
        elements = _elements("$map", source(document, variables), 16883)
        if elements is None:
            return None
        inner = dict(variables)
        results = []
        for element in elements:
            inner[name] = element
            value = body(document, inner)
            results.append(None if value is MISSING else value)
        return results

    return mapped


def _name(given: Document, argument: str) -> str:
    name = given.get(argument, "this")
    if type(name) is not str:
        raise CommandFailure(16866, "variable names must be strings")
    if argument in given:
        check_variable_name(name)
    return name


def filter_(operand: Any, scope: Scope) -> Expression:
    """``$filter``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/filter/."""
    given = named_arguments(
        "$filter",
        operand,
        {"input": 28648, "cond": 28650},
        ("as", "limit"),
        not_an_object=28646,
        unknown=28647,
    )
    source = scope.compile(given["input"])
    name = _name(given, "as")
    condition = scope.binding(name).compile(given["cond"])
    limit = scope.compile(given["limit"]) if "limit" in given else Constant(None)

    def filtered(document: Document, variables: Variables) -> Any:
        elements = _elements("$filter", source(document, variables), 28651)
        if elements is None:
            return None
        if not elements:
            return []
        most = _limit(limit(document, variables))
        inner = dict(variables)
        results: list[Any] = []
        for element in elements:
            inner[name] = element
            if truthy(condition(document, inner)):
                results.append(element)
                if len(results) == most:
                    break
        return results

    return filtered


def _limit(value: Any) -> int | None:
    if is_nullish(value):
        return None
    number = whole32(value)
    if number is None:
        raise CommandFailure(
            327391, f"$filter: limit must be represented as a 32-bit integral value: {value}"
        )
    if number <= 0:
        raise CommandFailure(327392, f"$filter: limit must be greater than 0: {number}")
    return number


def reduce_(operand: Any, scope: Scope) -> Expression:
    """``$reduce``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/reduce/."""
    given = named_arguments(
        "$reduce",
        operand,
        {"input": 40077, "initialValue": 40078, "in": 40079},
        not_an_object=40075,
        unknown=40076,
    )
    source, initial = scope.compile(given["input"]), scope.compile(given["initialValue"])
    body = scope.binding("this", "value").compile(given["in"])

    def reduced(document: Document, variables: Variables) -> Any:
        elements = source(document, variables)
        if is_nullish(elements):
            return None
        if type(elements) is not list:
            raise CommandFailure(
                40080, f"$reduce requires that 'input' be an array, found: {elements!r}"
            )
        inner = dict(variables)
        inner["value"] = initial(document, variables)
        for element in elements:
            inner["this"] = element
            inner["value"] = body(document, inner)
        return inner["value"]

    return reduced


LOOPS: Final[dict[str, Operator]] = {
    "$filter": filter_,
    "$map": map_,
    "$reduce": reduce_,
}
