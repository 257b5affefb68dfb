"""Arithmetic on BSON numbers: which type a result has, what overflows to what.

int32 widens to int64, int64 to double; a double makes a double; a Decimal128 makes a Decimal128
and takes doubles rounded to 15 digits, as the server does. Used by expressions, accumulators and
the update operators ``$inc`` and ``$mul``.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from bson import Decimal128, Int64
from bson.decimal128 import create_decimal128_context

from transports.fake.errors import CommandFailure
from transports.fake.values import NUMBER_TYPES, integer

DECIMAL: Final[Context] = create_decimal128_context()
_LEAST_LONG: Final = -(2**63)
_FIFTEEN_DIGITS: Final = Context(prec=15, rounding=ROUND_HALF_EVEN)

Number = int | Int64 | float | Decimal128


def to_decimal(value: Any) -> Decimal:
    """Return a number as the server converts it for decimal arithmetic.

    A double gets exactly 15 significant digits: 0.1 is ``0.100000000000000``.
    """
    if type(value) is Decimal128:
        return value.to_decimal()
    if type(value) is not float:
        return Decimal(value)
    if math.isnan(value) or math.isinf(value):
        return Decimal(value)
    exact = Decimal(value)
    if not exact:
        return Decimal("-0") if math.copysign(1, value) < 0 else Decimal(0)
    rounded = _FIFTEEN_DIGITS.plus(exact)
    return rounded.quantize(Decimal((0, (1,), rounded.adjusted() - 14)), context=DECIMAL)


def decimal_value(value: Decimal) -> Decimal128:
    """Return a `Decimal` as a BSON value, rounded to 34 digits."""
    return Decimal128(DECIMAL.create_decimal(value) if not value.is_nan() else Decimal("NaN"))


def to_float(value: Any) -> float:
    """Return a number as a double."""
    if type(value) is Decimal128:
        return float(value.to_decimal())
    return float(value)


def widest(*values: Any) -> type:
    """Return the type that arithmetic on the numbers works in: int, Int64, float or Decimal128."""
    kinds = {type(value) for value in values}
    for kind in (Decimal128, float, Int64):
        if kind in kinds:
            return kind
    return int


def add(left: Any, right: Any) -> Any:
    """Return the sum of two numbers."""
    kinds = type(left), type(right)
    if Decimal128 not in kinds:
        if float in kinds:
            return float(left) + float(right)
        return integer(int(left) + int(right), wide=Int64 in kinds)
    return decimal_value(DECIMAL.add(to_decimal(left), to_decimal(right)))


def subtract(left: Any, right: Any) -> Any:
    """Return the difference of two numbers."""
    kinds = type(left), type(right)
    if Decimal128 not in kinds:
        if float in kinds:
            return float(left) - float(right)
        return integer(int(left) - int(right), wide=Int64 in kinds)
    return decimal_value(DECIMAL.subtract(to_decimal(left), to_decimal(right)))


def multiply(left: Any, right: Any) -> Any:
    """Return the product of two numbers."""
    kinds = type(left), type(right)
    if Decimal128 not in kinds:
        if float in kinds:
            return float(left) * float(right)
        return integer(int(left) * int(right), wide=Int64 in kinds)
    return decimal_value(DECIMAL.multiply(to_decimal(left), to_decimal(right)))


def is_zero(value: Any) -> bool:
    """Tell whether a number is zero of any type and sign."""
    return value.to_decimal().is_zero() if type(value) is Decimal128 else value == 0


def whole(value: Any) -> int | None:
    """Return a number that is a whole one of any type as an `int`; None for the others."""
    kind = type(value)
    if kind is int or kind is Int64:
        return int(value)
    if kind is float:
        return int(value) if value.is_integer() else None
    if kind is Decimal128:
        number = value.to_decimal()
        if number.is_finite() and number == number.to_integral_value():
            return int(number)
    return None


def whole32(value: Any) -> int | None:
    """Return a value as an `int` if it is a whole number of 32 bits, of any type."""
    return _whole_within(value, 31)


def whole64(value: Any) -> int | None:
    """Return a value as an `int` if it is a whole number of 64 bits, of any type."""
    return _whole_within(value, 63)


def _whole_within(value: Any, bits: int) -> int | None:
    if type(value) not in NUMBER_TYPES:
        return None
    if type(value) is Decimal128 and value.to_decimal().adjusted() > 20:
        return None
    number = whole(value)
    return number if number is not None and -(1 << bits) <= number < 1 << bits else None


def as_long(value: Any) -> int:
    """Return a number as ``safeNumberLong`` does: cut, NaN is zero, out of range the limit."""
    number = value.to_decimal() if type(value) is Decimal128 else value
    if math.isnan(number):
        return 0
    if not _LEAST_LONG <= number < 2**63:
        return _LEAST_LONG if number < 0 else 2**63 - 1
    return int(number)


def coerced_long(value: Any) -> int:
    """Return a number as ``coerceToLong`` does: doubles cut, decimals rounded to the even.

    Raises:
        CommandFailure: 31109 for a double out of range; a decimal that is gives the least long.
    """
    if type(value) is float:
        if not -(2.0**63) <= value < 2.0**63:
            raise CommandFailure(31109, f"Can't coerce out of range value {value:g} to long")
        return int(value)
    if type(value) is Decimal128:
        number = value.to_decimal()
        if not number.is_finite() or number.adjusted() > 20:
            return _LEAST_LONG
        rounded = int(number.to_integral_value(ROUND_HALF_EVEN))
        return rounded if _LEAST_LONG <= rounded < 2**63 else _LEAST_LONG
    return int(value)


class DoubleDouble:
    """A sum of doubles kept in two: what the server's ``$sum`` and ``$avg`` add with."""

    __slots__ = ("addend", "special", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.addend = 0.0
        self.special = 0.0

    def add(self, value: float) -> None:
        """Add one double; what the sum has no digits for is carried along (Knuth's two-sum)."""
        self.special += value
        carried = value + self.addend
        part = carried - value
        lost = (value - (carried - part)) + (self.addend - part)
        total = self.total
        result = total + carried
        part = result - total
        self.addend = (total - (result - part)) + (carried - part) + lost
        self.total = result

    def add_integer(self, value: int) -> None:
        """Add an integer of any size without losing the digits a double has no room for."""
        high = (abs(value) >> 32 << 32) * (1 if value > 0 else -1)
        self.add(float(value - high))
        self.add(float(high))

    def result(self) -> float:
        """Return the sum as one double."""
        return self.special if math.isnan(self.total) else self.total

    def as_decimal(self) -> Decimal:
        """Return the sum as a decimal, rounded to 34 digits only."""
        if math.isnan(self.total) or math.isinf(self.total):
            return Decimal(self.special)
        return DECIMAL.add(Decimal(self.total), Decimal(self.addend))


class Sum:
    """A running sum of numbers of any types; the result has the widest type seen."""

    __slots__ = ("decimals", "doubles", "integers", "kind")

    def __init__(self) -> None:
        self.integers = 0
        self.doubles: DoubleDouble | None = None
        self.decimals: Decimal | None = None
        self.kind: type = int

    def add(self, value: Any) -> None:
        """Add one number."""
        kind = type(value)
        if kind is float:
            if self.doubles is None:
                self.doubles = DoubleDouble()
                self.doubles.add_integer(self.integers)
                self.integers = 0
                if self.kind is not Decimal128:
                    self.kind = float
            self.doubles.add(value)
        elif kind is Decimal128:
            self.kind = Decimal128
            decimals = self.decimals if self.decimals is not None else Decimal(0)
            self.decimals = DECIMAL.add(decimals, value.to_decimal())
        elif self.doubles is not None:
            self.doubles.add_integer(int(value))
        else:
            self.integers += value
            if kind is Int64 and self.kind is int:
                self.kind = Int64

    def result(self) -> Any:
        """Return the sum with its BSON type."""
        if self.kind is int or self.kind is Int64:
            return integer(int(self.integers), wide=self.kind is Int64)
        if self.kind is float:
            return self.as_float()
        return Decimal128(self.as_decimal())

    def as_float(self) -> float:
        """Return the sum as a double."""
        return float(self.integers) if self.doubles is None else self.doubles.result()

    def as_decimal(self) -> Decimal:
        """Return the sum as a decimal."""
        total = self.decimals if self.decimals is not None else Decimal(0)
        if self.doubles is not None:
            return DECIMAL.add(total, self.doubles.as_decimal())
        return DECIMAL.add(total, Decimal(self.integers)) if self.integers else total
