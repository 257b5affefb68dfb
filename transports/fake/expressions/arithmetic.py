"""Arithmetic.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#arithmetic-expression-operators
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from bson import DatetimeMS, Decimal128, Int64

from transports.fake.errors import TYPE_MISMATCH, CommandFailure
from transports.fake.expressions import decimal_functions
from transports.fake.expressions.numbers import (
    DECIMAL,
    Sum,
    coerced_long,
    decimal_value,
    is_zero,
    multiply,
    to_decimal,
    to_float,
    whole32,
    widest,
)
from transports.fake.expressions.numbers import add as add_numbers
from transports.fake.expressions.numbers import subtract as subtract_numbers
from transports.fake.expressions.scope import (
    Constant,
    Expression,
    Operator,
    Scope,
    Variables,
    fixed,
    folded,
    is_nullish,
    variadic,
)
from transports.fake.values import NUMBER_TYPES, Document, bson_type, integer, is_nan


def type_name(value: Any) -> str:
    """Return the type's alias for an error message."""
    return bson_type(value)[1]


def _date_of(milliseconds: Any) -> DatetimeMS:
    value = int(milliseconds)
    if not -(2**63) <= value < 2**63:
        raise CommandFailure(15, "date overflow")
    return DatetimeMS(value)


def _milliseconds(value: Any) -> int:
    """Return a number added to a date as whole milliseconds, cut towards zero."""
    if type(value) is float and (math.isnan(value) or math.isinf(value)):
        raise CommandFailure(15, "date overflow")
    return int(value)


def _earlier(date: DatetimeMS, amount: Any) -> DatetimeMS:
    milliseconds = coerced_long(amount)
    if milliseconds == -(2**63):
        raise CommandFailure(159, "Cannot negate the minimum duration")
    moved = int(date) - milliseconds
    if not -(2**63) <= moved < 2**63:
        raise CommandFailure(159, f"Overflow while adding {-milliseconds}ms to {int(date)}ms")
    return DatetimeMS(moved)


def add(values: Iterable[Any]) -> Any:
    """``$add``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/add/."""
    total = Sum()
    date: int | None = None
    for value in values:
        kind = type(value)
        if kind in NUMBER_TYPES:
            total.add(value)
        elif is_nullish(value):
            return None
        elif kind is DatetimeMS:
            if date is not None:
                raise CommandFailure(16612, "only one date allowed in an $add expression")
            date = int(value)
        else:
            raise CommandFailure(
                16554, f"$add only supports numeric or date types, not {type_name(value)}"
            )
    if date is None:
        return total.result()
    result = total.result()
    if type(result) is Decimal128:
        # The date itself is added as a decimal, and halves go to the even neighbour.
        return DatetimeMS(coerced_long(decimal_value(DECIMAL.add(result.to_decimal(), date))))
    return _date_of(date + _milliseconds(result))


def subtract(left: Any, right: Any) -> Any:
    """``$subtract``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/subtract/."""
    if type(left) in NUMBER_TYPES and type(right) in NUMBER_TYPES:
        return subtract_numbers(left, right)
    if is_nullish(left) or is_nullish(right):
        return None
    if type(left) is DatetimeMS:
        if type(right) is DatetimeMS:
            return Int64(int(left) - int(right))
        if type(right) in NUMBER_TYPES:
            return _earlier(left, right)
    raise CommandFailure(
        TYPE_MISMATCH, f"can't $subtract {type_name(right)} from {type_name(left)}"
    )


def multiply_all(values: Iterable[Any]) -> Any:
    """``$multiply``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/multiply/."""
    product: Any = 1
    for value in values:
        if is_nullish(value):
            return None
        if type(value) not in NUMBER_TYPES:
            raise CommandFailure(
                TYPE_MISMATCH, f"$multiply only supports numeric types, not {type_name(value)}"
            )
        product = multiply(product, value)
    return product


def divide(left: Any, right: Any) -> Any:
    """``$divide``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/divide/."""
    if type(left) in NUMBER_TYPES and type(right) in NUMBER_TYPES:
        if is_zero(right):
            raise CommandFailure(2, "can't $divide by zero")
        if widest(left, right) is Decimal128:
            return decimal_value(DECIMAL.divide(to_decimal(left), to_decimal(right)))
        return float(left) / float(right)
    if is_nullish(left) or is_nullish(right):
        return None
    raise CommandFailure(
        TYPE_MISMATCH,
        f"$divide only supports numeric types, not {type_name(left)} and {type_name(right)}",
    )


def mod(left: Any, right: Any) -> Any:
    """``$mod``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/mod/."""
    if type(left) in NUMBER_TYPES and type(right) in NUMBER_TYPES:
        kind = widest(left, right)
        if is_zero(right):
            code = 5733415 if kind is Decimal128 else 16610
            raise CommandFailure(code, "can't $mod by zero")
        if kind is Decimal128:
            return decimal_value(_WIDEST.remainder(to_decimal(left), to_decimal(right)))
        if type(left) is float or (type(right) is float and not _is_int32(right)):
            left, right = float(left), float(right)
            if math.isinf(left) or math.isnan(left) or math.isnan(right):
                return math.nan
            return math.fmod(left, right)
        remainder = abs(int(left)) % abs(int(right))
        wide = Int64 in (type(left), type(right))
        return integer(-remainder if left < 0 else remainder, wide=wide)
    if is_nullish(left) or is_nullish(right):
        return None
    raise CommandFailure(
        16611, f"$mod only supports numeric types, not {type_name(left)} and {type_name(right)}"
    )


def _is_int32(value: float) -> bool:
    return value.is_integer() and -(2**31) <= value < 2**31


def numeric(name: str, value: Any) -> Any:
    """Return a numeric operand; null for a nullish one."""
    if type(value) in NUMBER_TYPES:
        return value
    if is_nullish(value):
        return None
    raise CommandFailure(28765, f"{name} only supports numeric types, not {type_name(value)}")


def absolute(value: Any) -> Any:
    """``$abs``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/abs/."""
    value = numeric("$abs", value)
    if value is None:
        return None
    if type(value) is Decimal128:
        return Decimal128(value.to_decimal().copy_abs())
    if type(value) is float:
        return abs(value)
    if int(value) == -(2**63):
        raise CommandFailure(28680, "can't take $abs of long long min")
    return integer(abs(int(value)), wide=type(value) is Int64)


def _rounding(name: str, decimal_mode: str, function: Callable[[float], int]) -> Any:
    def rounded(value: Any) -> Any:
        value = numeric(name, value)
        kind = type(value)
        if kind is float:
            if math.isnan(value) or math.isinf(value):
                return value
            return math.copysign(float(function(value)), value) if value else value
        if kind is Decimal128:
            number = value.to_decimal()
            if number.is_nan():
                return value
            if number.is_infinite() or number.adjusted() >= DECIMAL.prec:
                return Decimal128("NaN")  # the server's library cannot, and says so this way
            return Decimal128(number.quantize(Decimal(1), decimal_mode, DECIMAL))
        return value

    rounded.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return rounded


def _to_place(name: str, decimal_mode: str) -> Callable[..., Any]:
    def to_place(value: Any, place: Any = 0) -> Any:
        if is_nullish(value):
            return None
        if type(value) not in NUMBER_TYPES:
            raise CommandFailure(
                51081, f"{name} only supports numeric types, not {type_name(value)}"
            )
        if is_nullish(place):
            return None
        if type(place) not in NUMBER_TYPES:
            raise CommandFailure(16004, f"can't convert from BSON type {type_name(place)} to long")
        coerced_long(place)
        digits = whole32(place)
        if digits is None:
            raise CommandFailure(51082, f"precision argument to  {name} must be a integral value")
        if not -20 <= digits <= 100:
            raise CommandFailure(
                51083,
                f"cannot apply {name} with precision value {digits} value must be in [-20, 100]",
            )
        return _place(value, digits, decimal_mode)

    to_place.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return to_place


def _place(value: Any, digits: int, mode: str) -> Any:
    kind = type(value)
    if kind is float:
        if math.isnan(value) or math.isinf(value):
            return value
        exact = Decimal(value)
        if exact and exact.adjusted() + digits > 400:
            return value
        result = float(_quantized(exact, digits, mode))
        return math.copysign(result, value)
    if kind is Decimal128:
        number = value.to_decimal()
        if not number.is_finite():
            return value
        if number and number.adjusted() + digits > 1000:
            return Decimal128(_padded(number, -digits))
        return Decimal128(_padded(_quantized(number, digits, mode), -digits))
    if digits >= 0:
        return value
    result_integer = int(_quantized(Decimal(int(value)), digits, mode))
    if not -(2**63) <= result_integer < 2**63:
        raise CommandFailure(51080, "invalid conversion from Decimal128 result in $round")
    if kind is int:
        return (result_integer + 2**31) % 2**32 - 2**31  # the server lets 32 bits overflow
    return Int64(result_integer)


def _quantized(number: Decimal, digits: int, mode: str) -> Decimal:
    shifted = number.scaleb(digits, _WIDE)
    return shifted.to_integral_value(mode).scaleb(-digits, _WIDE)


def _padded(number: Decimal, exponent: int) -> Decimal:
    """Return a decimal with zeros down to an exponent, as far as 34 digits reach."""
    lowest = number.adjusted() - DECIMAL.prec + 1 if number else exponent
    return number.quantize(Decimal((0, (1,), max(exponent, lowest))), context=DECIMAL)


_WIDE: Final = DECIMAL.copy()
_WIDE.prec = 1200
_WIDEST: Final = DECIMAL.copy()
_WIDEST.clamp = 0
_WIDEST.prec = 12_400  # from the largest to the smallest Decimal128


def power(base: Any, exponent: Any) -> Any:
    """``$pow``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/pow/."""
    if is_nullish(base) or is_nullish(exponent):
        return None
    if type(base) not in NUMBER_TYPES:
        raise CommandFailure(28762, f"$pow's base must be numeric, not {type_name(base)}")
    if type(exponent) not in NUMBER_TYPES:
        raise CommandFailure(28763, f"$pow's exponent must be numeric, not {type_name(exponent)}")
    kind = widest(base, exponent)
    negative = math.copysign(1, exponent) < 0 if type(exponent) is float else to_float(exponent) < 0
    if is_zero(base) and negative and (to_float(exponent) < 0 or type(base) is Decimal128):
        raise CommandFailure(28764, "$pow cannot take a base of 0 and a negative exponent")
    if kind is Decimal128:
        return decimal_value(decimal_functions.power(to_decimal(base), to_decimal(exponent)))
    if kind is float:
        return _float_power(float(base), float(exponent))
    if exponent >= 0 and (abs(base) <= 1 or exponent <= 63):
        value = int(base) ** (int(exponent) if abs(base) > 1 else int(exponent) % 2 + 2)
        if int(exponent) == 0:
            value = 1
        if -(2**63) <= value < 2**63:
            return integer(value, wide=kind is Int64)
    if abs(base) == 1:
        return integer(int(base) if int(exponent) % 2 else 1, wide=kind is Int64)
    return _float_power(float(base), float(exponent))


def _float_power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        return math.nan


def exp(value: Any) -> Any:
    """``$exp``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/exp/."""
    value = numeric("$exp", value)
    if value is None:
        return None
    if type(value) is Decimal128:
        return decimal_value(DECIMAL.exp(value.to_decimal()))
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def square_root(value: Any) -> Any:
    """``$sqrt``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sqrt/."""
    value = numeric("$sqrt", value)
    if value is None or is_nan(value):
        return value
    if type(value) is Decimal128:
        if value.to_decimal() < 0:
            raise CommandFailure(28714, "$sqrt's argument must be greater than or equal to 0")
        return decimal_value(DECIMAL.sqrt(value.to_decimal()))
    if value < 0:
        raise CommandFailure(28714, "$sqrt's argument must be greater than or equal to 0")
    return math.sqrt(value)


def _positive(name: str, value: Any, code: int) -> None:
    if not is_nan(value) and to_decimal(value) <= 0:
        raise CommandFailure(code, f"{name}'s argument must be a positive number")


def natural_logarithm(value: Any) -> Any:
    """``$ln``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/ln/."""
    value = numeric("$ln", value)
    if value is None:
        return None
    if is_nan(value):
        return math.nan
    _positive("$ln", value, 28766)
    if type(value) is Decimal128:
        return decimal_value(DECIMAL.ln(value.to_decimal()))
    return math.log(value)


def logarithm_10(value: Any) -> Any:
    """``$log10``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/log10/."""
    value = numeric("$log10", value)
    if value is None:
        return None
    if is_nan(value):
        return math.nan
    _positive("$log10", value, 28761)
    if type(value) is Decimal128:
        return decimal_value(DECIMAL.log10(value.to_decimal()))
    return math.log10(value)


def logarithm(value: Any, base: Any) -> Any:
    """``$log``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/log/."""
    if is_nullish(value) or is_nullish(base):
        return None
    if type(value) not in NUMBER_TYPES:
        raise CommandFailure(28756, f"$log's argument must be numeric, not {type_name(value)}")
    if type(base) not in NUMBER_TYPES:
        raise CommandFailure(28757, f"$log's base must be numeric, not {type_name(base)}")
    _positive("$log", value, 28758)
    if not is_nan(base) and (to_decimal(base) <= 0 or to_decimal(base) == 1):
        raise CommandFailure(28759, "$log's base must be a positive number not equal to 1")
    if is_nan(value) or is_nan(base):
        return math.nan
    if widest(value, base) is Decimal128:
        if to_decimal(base) == 2:
            return decimal_value(decimal_functions.binary_logarithm(to_decimal(value)))
        if to_decimal(base) == 10:
            return decimal_value(DECIMAL.log10(to_decimal(value)))
        # What 6.0 computes: it divides by the base, not by the base's logarithm.
        return decimal_value(DECIMAL.divide(DECIMAL.ln(to_decimal(value)), to_decimal(base)))
    return math.log(value) / math.log(base)


def rand(operand: Any, scope: Scope) -> Expression:
    """``$rand``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/rand/."""
    if type(operand) not in (dict, list):
        raise CommandFailure(10065, "invalid parameter: expected an object ($rand)")
    if operand:
        raise CommandFailure(3040501, "$rand does not currently accept arguments")
    return lambda document, variables: random.random()  # noqa: S311  # MongoDB's is not for secrets either


def _add(operand: Any, scope: Scope) -> Expression:
    if type(operand) is not list or len(operand) != 2:
        return _ADD(operand, scope)
    left, right = (scope.compile(argument) for argument in operand)
    if type(left) is Constant and type(right) is not Constant:
        left, right = right, left

    def two(document: Document, variables: Variables) -> Any:
        first = left(document, variables)
        if type(first) not in _PLAIN:
            return add(part(document, variables) for part in (left, right))
        second = right(document, variables)
        if type(second) in _PLAIN:
            return add_numbers(first, second)
        return add((first, second))

    return folded(two, [left, right])


_PLAIN: Final = frozenset({int, Int64, float})
_ADD: Final = variadic(add, commutative=True)
_add.__doc__ = add.__doc__

ARITHMETIC: Final[dict[str, Operator]] = {
    "$abs": fixed("$abs", absolute, 1),
    "$add": _add,
    "$ceil": fixed("$ceil", _rounding("$ceil", ROUND_CEILING, math.ceil), 1),
    "$divide": fixed("$divide", divide, 2),
    "$exp": fixed("$exp", exp, 1),
    "$floor": fixed("$floor", _rounding("$floor", ROUND_FLOOR, math.floor), 1),
    "$ln": fixed("$ln", natural_logarithm, 1),
    "$log": fixed("$log", logarithm, 2),
    "$log10": fixed("$log10", logarithm_10, 1),
    "$mod": fixed("$mod", mod, 2),
    "$multiply": variadic(multiply_all, commutative=True),
    "$pow": fixed("$pow", power, 2),
    "$rand": rand,
    "$round": fixed("$round", _to_place("$round", ROUND_HALF_EVEN), 1, 2),
    "$sqrt": fixed("$sqrt", square_root, 1),
    "$subtract": fixed("$subtract", subtract, 2),
    "$trunc": fixed("$trunc", _to_place("$trunc", ROUND_DOWN), 1, 2),
}
