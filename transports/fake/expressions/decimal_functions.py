"""Trigonometry on Decimal128, to its 34 digits; `decimal` has none.

Series in sixty digits, arguments reduced first. What would need more digits to reduce is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from functools import lru_cache, wraps
from typing import Final

from transports.fake.errors import unsupported

_WORKING: Final = Context(prec=80)
_LARGEST: Final = Decimal("1E+40")

Function = Callable[[Decimal], Decimal]


def _precisely(function: Function) -> Function:
    @wraps(function)
    def precise(value: Decimal) -> Decimal:
        with localcontext(_WORKING):
            return function(value)

    return precise


@lru_cache(maxsize=1)
def pi() -> Decimal:
    """Return pi (Machin's formula)."""
    with localcontext(_WORKING):
        return 4 * (4 * _arctan_series(Decimal(1) / 5) - _arctan_series(Decimal(1) / 239))


def _arctan_series(x: Decimal) -> Decimal:
    total = term = x
    square, divisor = x * x, 1
    while term and term.adjusted() > total.adjusted() - 80:
        term = -term * square
        divisor += 2
        total += term / divisor
    return total


def _alternating(first: Decimal, square: Decimal, start: int, sign: int) -> Decimal:
    total = term = first
    n = start
    while term and term.adjusted() > total.adjusted() - 80:
        term = term * square * sign / (n * (n + 1))
        total += term
        n += 2
    return total


def _reduced(x: Decimal) -> Decimal:
    if abs(x) > _LARGEST:
        raise unsupported("trigonometry on a Decimal128 of more than forty digits")
    turn = 2 * pi()
    return x - turn * (x / turn).to_integral_value()


@_precisely
def sine(x: Decimal) -> Decimal:
    """Return the sine of radians."""
    x = _reduced(x)
    return _alternating(x, x * x, 2, -1)


@_precisely
def cosine(x: Decimal) -> Decimal:
    """Return the cosine of radians."""
    x = _reduced(x)
    return _alternating(Decimal(1), x * x, 1, -1)


@_precisely
def tangent(x: Decimal) -> Decimal:
    """Return the tangent of radians."""
    return sine(x) / cosine(x)


@_precisely
def arc_tangent(x: Decimal) -> Decimal:
    """Return the arc tangent in radians."""
    if x.is_infinite():
        return pi() / 2 if x > 0 else -pi() / 2
    halvings = 0
    while abs(x) > Decimal("0.1"):
        x = x / (1 + (1 + x * x).sqrt())
        halvings += 1
    return _arctan_series(x) * Decimal(2) ** halvings


def arc_tangent_2(y: Decimal, x: Decimal) -> Decimal:
    """Return the angle of a point in radians."""
    with localcontext(_WORKING):
        if x.is_infinite() and y.is_finite():
            return Decimal("0E-6176").copy_sign(y) if x > 0 else pi().copy_sign(y)
        if not x:
            if not y:
                return pi().copy_sign(y) if x.is_signed() else y
            return (pi() / 2).copy_sign(y)
        angle = arc_tangent(y / x)
        if x < 0:
            return angle + pi() if not y.is_signed() else angle - pi()
        return angle


@_precisely
def arc_sine(x: Decimal) -> Decimal:
    """Return the arc sine of -1 to 1 in radians."""
    if abs(x) == 1:
        return (pi() / 2).copy_sign(x)
    return arc_tangent(x / (1 - x * x).sqrt())


@_precisely
def arc_cosine(x: Decimal) -> Decimal:
    """Return the arc cosine of -1 to 1 in radians."""
    return pi() / 2 - arc_sine(x)


@_precisely
def hyperbolic_sine(x: Decimal) -> Decimal:
    """Return the hyperbolic sine."""
    if abs(x) < 1:
        return _alternating(x, x * x, 2, 1)
    return (x.exp() - (-x).exp()) / 2


@_precisely
def hyperbolic_cosine(x: Decimal) -> Decimal:
    """Return the hyperbolic cosine."""
    return (x.exp() + (-x).exp()) / 2


@_precisely
def hyperbolic_tangent(x: Decimal) -> Decimal:
    """Return the hyperbolic tangent."""
    if abs(x) > 100:
        return Decimal(1).copy_sign(x)
    return hyperbolic_sine(x) / hyperbolic_cosine(x)


@_precisely
def hyperbolic_arc_sine(x: Decimal) -> Decimal:
    """Return the inverse of the hyperbolic sine."""
    result = (abs(x) + (x * x + 1).sqrt()).ln()
    return result.copy_sign(x)


@_precisely
def hyperbolic_arc_cosine(x: Decimal) -> Decimal:
    """Return the inverse of the hyperbolic cosine, of 1 and more."""
    return (x + (x * x - 1).sqrt()).ln()


@_precisely
def hyperbolic_arc_tangent(x: Decimal) -> Decimal:
    """Return the inverse of the hyperbolic tangent, of -1 to 1."""
    if abs(x) == 1:
        return Decimal("Infinity").copy_sign(x)
    return ((1 + x) / (1 - x)).ln() / 2


@_precisely
def radians(x: Decimal) -> Decimal:
    """Return degrees as radians."""
    return x * pi() / 180


@_precisely
def degrees(x: Decimal) -> Decimal:
    """Return radians as degrees."""
    return x * 180 / pi()
