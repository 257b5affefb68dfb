"""The series of preferred numbers that ``$bucketAuto`` rounds boundaries to.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/bucketAuto/#granularity
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bson import Decimal128

from transports.fake.errors import CommandFailure
from transports.fake.expressions.numbers import DECIMAL, is_zero, to_decimal
from transports.fake.values import NUMBER_TYPES, bson_type, integer, is_nan

_R20: Final = (
    100,
    112,
    125,
    140,
    160,
    180,
    200,
    224,
    250,
    280,
    315,
    355,
    400,
    450,
    500,
    560,
    630,
    710,
    800,
    900,
)
# As they are in the server: 335 is not in the one, and the other has but every second number.
_R40: Final = (
    *(100, 106, 112, 118, 125, 132, 140, 150, 160, 170, 180, 190, 200, 212, 224, 236, 250, 265),
    *(280, 300, 315, 355, 375, 400, 425, 450, 475, 500, 530, 560, 600, 630, 670, 710, 750, 800),
    *(850, 900, 950),
)
_R80: Final = (
    *(103, 109, 115, 122, 128, 136, 145, 155, 165, 175, 185, 195, 206, 218, 230, 243, 258, 272),
    *(290, 307, 325, 345, 365, 387, 412, 437, 462, 487, 515, 545, 575, 615, 650, 690, 730, 775),
    *(825, 875, 925, 975),
)
_E24: Final = (
    *(10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82),
    91,
)


def _geometric(count: int) -> tuple[int, ...]:
    """Return an E series of three digits; one of its numbers is not the rounded power."""
    found = [round(10 ** (place / count) * 100) for place in range(count)]
    return tuple(920 if number == 919 else number for number in found)


_SERIES: Final[dict[str, Sequence[int]]] = {
    "1-2-5": (10, 20, 50),
    "R5": (10, 16, 25, 40, 63),
    "R10": (100, 125, 160, 200, 250, 315, 400, 500, 630, 800),
    "R20": _R20,
    "R40": _R40,
    "R80": _R80,
    "E6": _E24[::4],
    "E12": _E24[::2],
    "E24": _E24,
    "E48": _geometric(48),
    "E96": _geometric(96),
    "E192": _geometric(192),
}

Round = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Rounder:
    """Rounds a number to the next one of a series.

    Attributes:
        up: to the next larger one; zero stays.
        down: to the next smaller one; zero stays.
    """

    up: Round
    down: Round


def rounder_of(name: Any) -> Rounder:
    """Return what rounds to a series.

    Raises:
        CommandFailure: 40261 if the name is no string, 40257 for a series that does not exist.
    """
    if type(name) is not str:
        raise CommandFailure(
            40261,
            "The $bucketAuto 'granularity' field must be a string, but found type: "
            f"{bson_type(name)[1]}.",
        )
    if name == "POWERSOF2":
        return Rounder(_checked(_power_above), _checked(_power_below))
    if name not in _SERIES:
        raise CommandFailure(40257, f"Unknown rounding granularity '{name}'")
    series = _SERIES[name]
    exact = [to_decimal(float(number)) for number in series]
    return Rounder(
        _checked(lambda value: _both(value, series, exact, _above)),
        _checked(lambda value: _both(value, series, exact, _below)),
    )


def _checked(function: Round) -> Round:
    def rounded(value: Any) -> Any:
        if type(value) not in NUMBER_TYPES:
            raise CommandFailure(
                40258,
                "$bucketAuto can specify 'granularity' with numeric boundaries only, but found a "
                f"value with type: {bson_type(value)[1]}",
            )
        if is_nan(value):
            raise CommandFailure(
                40259,
                "$bucketAuto can specify 'granularity' with numeric boundaries only, but found a "
                "NaN",
            )
        number = value.to_decimal() if type(value) is Decimal128 else value
        if number < 0:
            raise CommandFailure(
                40260,
                "$bucketAuto can specify 'granularity' with non-negative numbers only, but found a "
                "negative number",
            )
        if is_zero(value) or math.isinf(number):
            return value
        return function(value)

    return rounded


def _both(value: Any, series: Sequence[int], exact: Sequence[Decimal], function: Any) -> Any:
    if type(value) is Decimal128:
        found: Decimal = function(value.to_decimal(), exact, Decimal(1), Decimal(10))
        return Decimal128(DECIMAL.plus(found))
    return function(float(value), series, 1.0, 10.0)


def _above(number: Any, series: Sequence[Any], scale: Any, ten: Any) -> Any:
    while number >= series[-1] * scale:
        scale *= ten
    while number < series[0] * scale:
        least = series[0] * scale
        scale /= ten
        if number >= series[-1] * scale:
            return least
    return series[bisect_right([member * scale for member in series], number)] * scale


def _below(number: Any, series: Sequence[Any], scale: Any, ten: Any) -> Any:
    while number <= series[0] * scale:
        scale /= ten
    while number > series[-1] * scale:
        greatest = series[-1] * scale
        scale *= ten
        if number <= series[0] * scale:
            return greatest
    return series[bisect_left([member * scale for member in series], number) - 1] * scale


def _power_above(value: Any) -> Any:
    if type(value) is Decimal128:
        return _decimal_power(value, lambda power, number: power > number)
    _, exponent = math.frexp(float(value))
    return _power(exponent)


def _power_below(value: Any) -> Any:
    if type(value) is Decimal128:
        return _decimal_power(value, lambda power, number: power * 2 >= number)
    fraction, exponent = math.frexp(float(value))
    return _power(exponent - (2 if fraction == 0.5 else 1))


def _power(exponent: int) -> Any:
    """Return a power of two: whole numbers as long as they fit."""
    if 0 <= exponent < 63:
        return integer(1 << exponent)
    return math.ldexp(1.0, exponent) if exponent <= 1023 else math.inf


def _decimal_power(value: Decimal128, fits: Callable[[Decimal, Decimal], bool]) -> Decimal128:
    number = value.to_decimal()
    exponent = math.floor(math.log2(float(number))) - 2
    while not fits(power := DECIMAL.power(Decimal(2), Decimal(exponent)), number):
        exponent += 1
    return Decimal128(power.quantize(Decimal((0, (1,), power.adjusted() - 33)), context=DECIMAL))
