"""Trigonometry.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#trigonometry-expression-operators
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from bson import Decimal128

from transports.fake.errors import CommandFailure
from transports.fake.expressions import decimal_functions as exact
from transports.fake.expressions.arithmetic import numeric, type_name
from transports.fake.expressions.decimal_functions import as_library
from transports.fake.expressions.numbers import decimal_value, to_decimal, to_float, widest
from transports.fake.expressions.scope import (
    Expression,
    Operator,
    Scope,
    Variables,
    arguments,
    check_count,
    fixed,
    folded,
    is_nullish,
)
from transports.fake.values import NUMBER_TYPES, Document, is_nan


def _trigonometric(
    name: str,
    function: Callable[[float], float],
    precise: Callable[[Decimal], Decimal],
    inside: Callable[[Any], bool] = lambda value: bool(abs(value) != math.inf),
) -> Operator:
    def value_of(value: Any) -> Any:
        value = numeric(name, value)
        if value is None or is_nan(value):
            return value
        number: Any = value.to_decimal() if type(value) is Decimal128 else to_float(value)
        if not inside(number):
            raise CommandFailure(50989, f"cannot apply {name} to {number}")
        if type(value) is Decimal128:
            return decimal_value(precise(number))
        return function(number)

    value_of.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return fixed(name, value_of, 1)


def _unlimited(function: Callable[[float], float]) -> Callable[[float], float]:
    def limited(value: float) -> float:
        try:
            return function(value)
        except OverflowError:
            return math.copysign(math.inf, value) if function is math.sinh else math.inf

    return limited


def arc_tangent_2(operand: Any, scope: Scope) -> Expression:
    """``$atan2``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/atan2/."""
    given = arguments(operand)
    check_count("$atan2", len(given), 2, 2)
    parts = [scope.compile(argument) for argument in given]

    def evaluate(document: Document, variables: Variables) -> Any:
        values = []
        for part, code in zip(parts, (51044, 51045), strict=True):
            value = part(document, variables)
            if is_nullish(value):
                return None
            if type(value) not in NUMBER_TYPES:
                raise CommandFailure(
                    code, f"$atan2 only supports numeric types, not {type_name(value)}"
                )
            values.append(value)
        return _arc_tangent_2(*values)

    return folded(evaluate, parts)


def _arc_tangent_2(y: Any, x: Any) -> Any:
    if widest(y, x) is Decimal128:
        return decimal_value(exact.arc_tangent_2(to_decimal(y), to_decimal(x)))
    return math.atan2(to_float(y), to_float(x))


def _in_unit(value: Any) -> bool:
    return bool(-1 <= value <= 1)


def _anywhere(value: Any) -> bool:
    return True


def _hyperbolic_arc_tangent(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) == 1 else math.atanh(value)


TRIGONOMETRY: Final[dict[str, Operator]] = {
    "$sin": _trigonometric("$sin", math.sin, as_library(exact.sine, zero=True, reduces=True)),
    "$cos": _trigonometric("$cos", math.cos, as_library(exact.cosine, reduces=True)),
    "$tan": _trigonometric("$tan", math.tan, as_library(exact.tangent, tiny=True, reduces=True)),
    "$asin": _trigonometric("$asin", math.asin, as_library(exact.arc_sine, tiny=True), _in_unit),
    "$acos": _trigonometric("$acos", math.acos, as_library(exact.arc_cosine), _in_unit),
    "$atan": _trigonometric(
        "$atan", math.atan, as_library(exact.arc_tangent, zero=True), _anywhere
    ),
    "$atan2": arc_tangent_2,
    "$sinh": _trigonometric(
        "$sinh", _unlimited(math.sinh), as_library(exact.hyperbolic_sine, tiny=True), _anywhere
    ),
    "$cosh": _trigonometric(
        "$cosh", _unlimited(math.cosh), as_library(exact.hyperbolic_cosine), _anywhere
    ),
    "$tanh": _trigonometric(
        "$tanh", math.tanh, as_library(exact.hyperbolic_tangent, zero=True), _anywhere
    ),
    "$asinh": _trigonometric(
        "$asinh", math.asinh, as_library(exact.hyperbolic_arc_sine), _anywhere
    ),
    "$acosh": _trigonometric(
        "$acosh",
        math.acosh,
        as_library(exact.hyperbolic_arc_cosine),
        lambda value: bool(value >= 1),
    ),
    "$atanh": _trigonometric(
        "$atanh", _hyperbolic_arc_tangent, as_library(exact.hyperbolic_arc_tangent), _in_unit
    ),
    "$degreesToRadians": _trigonometric(
        "$degreesToRadians", math.radians, exact.radians, _anywhere
    ),
    "$radiansToDegrees": _trigonometric(
        "$radiansToDegrees", math.degrees, exact.degrees, _anywhere
    ),
}
