"""Functions of Decimal128 as the server's decimal library has them; `decimal` has but a few.

Series in eighty digits, arguments reduced first. What would need more digits to reduce is refused.
The library computes in binary floating point of 113 bits, which shows in the last digit.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache, wraps
from typing import Final

from transports.fake.errors import unsupported

_WORKING: Final = Context(prec=80, Emax=999_999, Emin=-999_999)
_LARGEST: Final = Decimal("1E+40")
_DIGITS: Final = Context(prec=34, Emax=999_999, Emin=-999_999)
_POWER: Final = Context(prec=50, Emax=999_999, Emin=-999_999, traps=[])
_BITS: Final = 113
_SMALL: Final = Decimal("1E-22")  # below, what is odd in these functions is its argument
_OVERFLOWING: Final = 20_000
_NEARLY_NOTHING: Final = Decimal("1E-40")
_RADIAN: Final = Decimal("0.01745329251994329576923690768488613")
_DEGREE: Final = Decimal("57.29577951308232087679815481410517")

Function = Callable[[Decimal], Decimal]


def _precisely(function: Function) -> Function:
    @wraps(function)
    def precise(value: Decimal) -> Decimal:
        with localcontext(_WORKING):
            return function(value)

    return precise


def _binary(value: Decimal) -> Decimal:
    """Return the nearest number of 113 bits, exactly."""
    if not value or not value.is_finite():
        return value
    top, bottom = value.as_integer_ratio()
    shift = _BITS - (abs(top).bit_length() - bottom.bit_length())
    scaled = Fraction(top, bottom) * (Fraction(2) ** shift)
    if abs(scaled) >= 1 << _BITS:
        scaled, shift = scaled / 2, shift - 1
    whole = Decimal(round(scaled))
    with localcontext(Context(prec=12000, Emax=999_999, Emin=-999_999)):
        return whole * Decimal(2) ** -shift if shift <= 0 else whole / Decimal(2) ** shift


def as_library(
    function: Function, *, tiny: bool = False, zero: bool = False, reduces: bool = False
) -> Function:
    """Return a function as the library computes it: in 113 bits, to 34 digits, zeros included.

    Args:
        function: computes to eighty digits.
        tiny: whether a tiny argument is the result.
        zero: whether zero is the result of zero as it stands.
        reduces: whether the argument is taken as it is, and what is left of it in 113 bits.
    """

    def computed(value: Decimal) -> Decimal:
        if tiny and value.copy_abs() < _SMALL:
            return value.fma(_NEARLY_NOTHING, value, _DIGITS)
        if zero and not value:
            return value
        if not value.is_finite() or not _in_range(value):
            return function(value)
        return _padded(value, function(value if reduces else _WORKING.plus(_binary(value))))

    return computed


def _in_range(value: Decimal) -> bool:
    return not value or _NEARLY_NOTHING <= value.copy_abs() <= _LARGEST


def _padded(value: Decimal, result: Decimal) -> Decimal:
    if not result.is_finite():
        return result
    if not result:
        return result if value else _nothing(value)
    if result.copy_abs() == 1 and value:
        return Decimal(1).copy_sign(result)
    result = _DIGITS.plus(_binary(result))
    return result.quantize(Decimal((0, (1,), result.adjusted() - 33)), context=_DIGITS)


def _nothing(value: Decimal) -> Decimal:
    return Decimal("0E-6176").copy_sign(value)


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


def _reduced(x: Decimal) -> tuple[Decimal, int]:
    """Return what is left of an angle in 113 bits, and how many quarters of a turn it is off."""
    if abs(x) > _LARGEST:
        raise unsupported("trigonometry on a Decimal128 of more than forty digits")
    quarter = pi() / 2
    turns = (x / quarter).to_integral_value()
    return _WORKING.plus(_binary(x - quarter * turns)), int(turns) % 4


def _of_angle(x: Decimal, quarters: int) -> Decimal:
    if quarters % 2:
        value = _alternating(Decimal(1), x * x, 1, -1)
    else:
        value = _alternating(x, x * x, 2, -1)
    return -value if quarters >= 2 else value


@_precisely
def sine(x: Decimal) -> Decimal:
    """Return the sine of radians."""
    return _of_angle(*_reduced(x)) if x else x


@_precisely
def cosine(x: Decimal) -> Decimal:
    """Return the cosine of radians."""
    rest, quarters = _reduced(x)
    return _of_angle(rest, (quarters + 1) % 4)


@_precisely
def tangent(x: Decimal) -> Decimal:
    """Return the tangent of radians."""
    rest, quarters = _reduced(x)
    return _of_angle(rest, quarters) / _of_angle(rest, (quarters + 1) % 4)


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
    if x.is_nan() or y.is_nan():
        return Decimal("NaN")
    with localcontext(_WORKING):
        if x.is_infinite() and y.is_infinite():
            return (pi() / 4 if x > 0 else 3 * pi() / 4).copy_sign(y)
        if (not y and not x.is_signed()) or (x.is_infinite() and x > 0):
            return _nothing(y)
        if x.is_infinite():
            return pi().copy_sign(y)
        if not x:
            return (pi() / 2 if y else pi()).copy_sign(y)
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
    return pi() / 2 - arc_sine(x) if x != 1 else _nothing(x)


@_precisely
def hyperbolic_sine(x: Decimal) -> Decimal:
    """Return the hyperbolic sine."""
    if abs(x) < 1:
        return _alternating(x, x * x, 2, 1)
    if abs(x) > _OVERFLOWING:
        return Decimal("Infinity").copy_sign(x)
    return (x.exp() - (-x).exp()) / 2


@_precisely
def hyperbolic_cosine(x: Decimal) -> Decimal:
    """Return the hyperbolic cosine."""
    if abs(x) > _OVERFLOWING:
        return Decimal("Infinity")
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
    return (x + (x * x - 1).sqrt()).ln() if x != 1 else Decimal(0)


@_precisely
def hyperbolic_arc_tangent(x: Decimal) -> Decimal:
    """Return the inverse of the hyperbolic tangent, of -1 to 1."""
    if abs(x) == 1:
        return Decimal("Infinity").copy_sign(x)
    return ((1 + x) / (1 - x)).ln() / 2


def radians(x: Decimal) -> Decimal:
    """Return degrees as radians."""
    return _DIGITS.multiply(x, _RADIAN)


def degrees(x: Decimal) -> Decimal:
    """Return radians as degrees."""
    return _DIGITS.multiply(x, _DEGREE)


def power(base: Decimal, exponent: Decimal) -> Decimal:
    """Return a power; the base is not zero if the exponent is negative."""
    if not exponent or base == 1:
        return Decimal("1." + "0" * 33)
    if base.is_nan() or exponent.is_nan():
        return Decimal("NaN")
    grows = (base.copy_abs() > 1) == (exponent > 0)
    if exponent.is_infinite() or base.is_infinite() or not base:
        endless = grows if base.copy_abs() != 1 else False
        if not endless:
            return Decimal("0E-6176") if base.copy_abs() != 1 else Decimal("1." + "0" * 33)
        odd = base.is_signed() and exponent.is_finite() and _is_odd(exponent)
        return Decimal("-Infinity" if odd else "Infinity")
    result = _POWER.power(base, exponent)
    if result.is_nan():
        return result
    if result.adjusted() > 6144 or result.is_infinite():
        odd = result.is_signed() and exponent.adjusted() < 34
        return Decimal("-Infinity" if odd else "Infinity")
    if not result or result.adjusted() < -6176:
        return Decimal("0E-6176")
    lowest = max(result.adjusted() - 33, -6176)
    return result.quantize(Decimal((0, (1,), lowest)), context=_DIGITS)


def _is_odd(value: Decimal) -> bool:
    return value == value.to_integral_value() and value.adjusted() < 34 and int(value) % 2 == 1


def binary_logarithm(x: Decimal) -> Decimal:
    """Return the logarithm to the base of 2 of a positive number."""
    with localcontext(_WORKING):
        return x.ln() / Decimal(2).ln()
