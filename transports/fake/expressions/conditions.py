"""Comparison, boolean and conditional expressions, variables and literals.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#comparison-expression-operators
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bson import Int64

from transports.fake.errors import CommandFailure
from transports.fake.expressions.names import check_variable_name
from transports.fake.expressions.scope import (
    Constant,
    Expression,
    Operator,
    Scope,
    Variables,
    arguments,
    check_count,
    compile_unneeded,
    folded,
)
from transports.fake.values import MISSING, NUMBER_TYPES, Document, compare, is_nan


def truthy(value: Any) -> bool:
    """Tell what ``coerceToBool`` says: false, null, missing and zero are false; NaN is true."""
    if value is True:
        return True
    if value is False or value is None or value is MISSING:
        return False
    kind = type(value)
    if kind in NUMBER_TYPES:
        if kind is int or kind is float or kind is Int64:
            return bool(value != 0)
        return is_nan(value) or not value.to_decimal().is_zero()
    return True


def _comparison(name: str, decide: Callable[[int], Any]) -> Operator:
    def operator(operand: Any, scope: Scope) -> Expression:
        given = arguments(operand)
        parts = [scope.compile(argument) for argument in given]
        check_count(name, len(given), 2, 2)
        left, right = parts
        collation = scope.collation
        return folded(
            lambda document, variables: decide(
                compare(left(document, variables), right(document, variables), collation)
            ),
            [left, right],
        )

    operator.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return operator


def and_(operand: Any, scope: Scope) -> Expression:
    """``$and``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/and/."""
    parts = [scope.compile(argument) for argument in arguments(operand)]
    if any(type(part) is Constant and not truthy(part.value) for part in parts):
        return Constant(False)  # the server optimizes so: nothing else is evaluated
    return folded(
        lambda document, variables: all(truthy(part(document, variables)) for part in parts), parts
    )


def or_(operand: Any, scope: Scope) -> Expression:
    """``$or``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/or/."""
    parts = [scope.compile(argument) for argument in arguments(operand)]
    if any(type(part) is Constant and truthy(part.value) for part in parts):
        return Constant(True)
    return folded(
        lambda document, variables: any(truthy(part(document, variables)) for part in parts), parts
    )


def not_(operand: Any, scope: Scope) -> Expression:
    """``$not``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/not/."""
    given = arguments(operand)
    check_count("$not", len(given), 1, 1)
    part = scope.compile(given[0])
    return folded(lambda document, variables: not truthy(part(document, variables)), [part])


def cond(operand: Any, scope: Scope) -> Expression:
    """``$cond``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/cond/."""
    if type(operand) is dict:
        for name in operand:
            if name not in ("if", "then", "else"):
                raise CommandFailure(17083, f"Unrecognized parameter to $cond: {name}")
        for name, code in (("if", 17080), ("then", 17081), ("else", 17082)):
            if name not in operand:
                raise CommandFailure(code, f"Missing '{name}' parameter to $cond")
        given = [operand["if"], operand["then"], operand["else"]]
    else:
        given = arguments(operand)
        check_count("$cond", len(given), 3, 3)
    test, then, otherwise = (scope.compile(argument) for argument in given)
    if type(test) is Constant:
        return then if truthy(test.value) else otherwise

    def choose(document: Document, variables: Variables) -> Any:
        if truthy(test(document, variables)):
            return then(document, variables)
        return otherwise(document, variables)

    return choose


def if_null(operand: Any, scope: Scope) -> Expression:
    """``$ifNull``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/ifNull/."""
    given = arguments(operand)
    if len(given) < 2:
        raise CommandFailure(1257300, f"$ifNull needs at least two arguments, had: {len(given)}")
    parts = [scope.compile(argument) for argument in given]

    def first(document: Document, variables: Variables) -> Any:
        value: Any = MISSING
        for part in parts:
            value = part(document, variables)
            if value is not None and value is not MISSING:
                break
        return value

    return folded(first, parts)


def switch(operand: Any, scope: Scope) -> Expression:
    """``$switch``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/switch/."""
    if type(operand) is not dict:
        raise CommandFailure(40060, "$switch requires an object as an argument")
    for name in operand:
        if name not in ("branches", "default"):
            raise CommandFailure(40067, f"$switch found an unknown argument: {name}")
    given = operand.get("branches", [])
    if type(given) is not list:
        raise CommandFailure(40061, "$switch expected an array for 'branches'")
    if not given:
        raise CommandFailure(40068, "$switch requires at least one branch.")
    branches = _branches(given, scope)
    default = scope.compile(operand["default"]) if "default" in operand else None
    if not branches and default is None:
        raise CommandFailure(
            40069,
            "Cannot execute a switch statement where all the cases evaluate to false without a "
            "default",
        )

    def choose(document: Document, variables: Variables) -> Any:
        for case, then in branches:
            if truthy(case(document, variables)):
                return then(document, variables)
        if default is None:
            raise CommandFailure(
                40066,
                "$switch could not find a matching branch for an input, and no default was "
                "specified.",
            )
        return default(document, variables)

    return choose


def _branches(given: list[Any], scope: Scope) -> list[tuple[Expression, Expression]]:
    """Compile the branches that can be taken; a constant that fails matters only in these."""
    for branch in given:
        _check_branch(branch)
    branches: list[tuple[Expression, Expression]] = []
    decided = False
    for branch in given:
        case = _branch_part(branch["case"], scope, needed=not decided)
        value = case.value if isinstance(case, Constant) else None
        known = isinstance(case, Constant)
        possible = not decided and (not known or truthy(value))
        then = _branch_part(branch["then"], scope, needed=possible)
        if possible and case is not None and then is not None:
            branches.append((case, then))
            decided = known
    return branches


def _branch_part(operand: Any, scope: Scope, *, needed: bool) -> Expression | None:
    return scope.compile(operand) if needed else compile_unneeded(operand, scope)


def _check_branch(branch: Any) -> None:
    if type(branch) is not dict:
        raise CommandFailure(40062, "$switch expected each branch to be an object")
    for name in branch:
        if name not in ("case", "then"):
            raise CommandFailure(40063, f"$switch found an unknown argument to a branch: {name}")
    if "case" not in branch:
        raise CommandFailure(40064, "$switch requires each branch have a 'case' expression")
    if "then" not in branch:
        raise CommandFailure(40065, "$switch requires each branch have a 'then' expression.")


def literal(operand: Any, scope: Scope) -> Expression:
    """``$literal``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/literal/."""
    return Constant(operand)


def let(operand: Any, scope: Scope) -> Expression:
    """``$let``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/let/."""
    if type(operand) is not dict:
        raise CommandFailure(16874, "$let only supports an object as its argument")
    for name in operand:
        if name not in ("vars", "in"):
            raise CommandFailure(16875, f"Unrecognized parameter to $let: {name}")
    if "vars" not in operand:
        raise CommandFailure(16876, "Missing 'vars' parameter to $let")
    if "in" not in operand:
        raise CommandFailure(16877, "Missing 'in' parameter to $let")
    given = operand["vars"]
    if type(given) is list:  # to the server, a document whose names are numbers
        given = {str(index): value for index, value in enumerate(given)}
    if type(given) is not dict:
        raise CommandFailure(10065, "invalid parameter: expected an object (vars)")
    for name in given:
        check_variable_name(name)
    values = {name: scope.compile(value) for name, value in given.items()}
    body = scope.binding(*values).compile(operand["in"])

    def evaluate(document: Document, variables: Variables) -> Any:
        inner = dict(variables)
        for name, value in values.items():
            inner[name] = value(document, variables)
        return body(document, inner)

    return evaluate


CONDITIONS: Final[dict[str, Operator]] = {
    "$eq": _comparison("$eq", lambda order: order == 0),
    "$ne": _comparison("$ne", lambda order: order != 0),
    "$gt": _comparison("$gt", lambda order: order > 0),
    "$gte": _comparison("$gte", lambda order: order >= 0),
    "$lt": _comparison("$lt", lambda order: order < 0),
    "$lte": _comparison("$lte", lambda order: order <= 0),
    "$cmp": _comparison("$cmp", lambda order: order),
    "$and": and_,
    "$or": or_,
    "$not": not_,
    "$cond": cond,
    "$ifNull": if_null,
    "$switch": switch,
    "$literal": literal,
    "$const": literal,
    "$let": let,
}
