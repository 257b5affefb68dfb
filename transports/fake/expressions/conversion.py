"""Type expressions: naming a value's type and converting to another.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#type-expression-operators
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import bson
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId
from bson.errors import InvalidId
from bson.timestamp import Timestamp

from transports.fake.errors import (
    BAD_VALUE,
    CONVERSION_FAILURE,
    FAILED_TO_PARSE,
    CommandFailure,
)
from transports.fake.expressions import date_text
from transports.fake.expressions.arithmetic import type_name
from transports.fake.expressions.conditions import truthy
from transports.fake.expressions.dates import milliseconds
from transports.fake.expressions.formatting import number_text
from transports.fake.expressions.numbers import decimal_value, to_decimal, to_float, whole32
from transports.fake.expressions.scope import (
    Expression,
    Operator,
    Scope,
    Variables,
    fixed,
    folded,
    is_nullish,
    named_arguments,
)
from transports.fake.expressions.time_zones import iso_text
from transports.fake.matcher_operators import TYPE_ALIASES
from transports.fake.values import NUMBER_TYPES, Document

_DECIMAL_TEXT: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SPECIAL: Final = {"inf", "infinity", "nan"}


def _failure(why: str) -> CommandFailure:
    return CommandFailure(CONVERSION_FAILURE, f"{why} in $convert with no onError value")


def _unsupported(value: Any, target: str) -> CommandFailure:
    return _failure(f"Unsupported conversion from {type_name(value)} to {target}")


def _parse_integer(text: str, bits: int) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise _failure(f"Failed to parse number '{text}'")
    number = int(text)
    if not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise _failure(f"Failed to parse number '{text}'; Overflow")
    return number


def _integer(value: Any, bits: int, target: str) -> int:
    kind = type(value)
    if kind is bool:
        return int(value)
    if kind is str:
        return _parse_integer(value, bits)
    if kind is DatetimeMS and bits == 64:
        return int(value)
    if kind not in NUMBER_TYPES:
        raise _unsupported(value, target)
    number = value.to_decimal() if kind is Decimal128 else value
    if kind in (float, Decimal128) and (math.isnan(number) or math.isinf(number)):
        raise _failure(
            f"Attempt to convert {'NaN' if math.isnan(number) else 'infinity'} value to integer"
        )
    result = int(number)
    if not -(1 << bits - 1) <= result < 1 << bits - 1:
        raise _failure(f"Conversion would overflow target type: {number_text(value)}")
    return result


def to_int(value: Any) -> int:
    """``$toInt``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toInt/."""
    return _integer(value, 32, "int")


def to_long(value: Any) -> Int64:
    """``$toLong``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toLong/."""
    return Int64(_integer(value, 64, "long"))


def to_double(value: Any) -> float:
    """``$toDouble``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toDouble/."""
    kind = type(value)
    if kind is bool:
        return float(value)
    if kind is str:
        if _DECIMAL_TEXT.fullmatch(value) is None and value.lstrip("+-").lower() not in _SPECIAL:
            raise _failure(f"Failed to parse number '{value}'")
        number = float(value)
        if math.isinf(number) and "inf" not in value.lower():
            raise _failure(f"Failed to parse number '{value}'; Out of range")
        return number
    if kind is DatetimeMS:
        return float(int(value))
    if kind not in NUMBER_TYPES:
        raise _unsupported(value, "double")
    result = to_float(value)
    if kind is Decimal128 and _out_of_range(result, value.to_decimal()):
        raise _failure(f"Conversion would overflow target type: {value}")
    return result


def _out_of_range(result: float, exact: Decimal) -> bool:
    """Tell whether a decimal is too large for a double, or too small to be a normal one."""
    if math.isinf(result):
        return exact.is_finite()
    return abs(result) < sys.float_info.min and bool(exact)


def to_decimal128(value: Any) -> Decimal128:
    """``$toDecimal``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toDecimal/."""
    kind = type(value)
    if kind is Decimal128:
        return Decimal128(value.to_decimal())
    if kind is bool:
        return Decimal128(Decimal(int(value)))
    if kind is str:
        if _DECIMAL_TEXT.fullmatch(value) is None and value.lstrip("+-").lower() not in _SPECIAL:
            raise _failure(f"Failed to parse number '{value}'")
        return decimal_value(Decimal(value))
    if kind is DatetimeMS:
        return Decimal128(Decimal(int(value)))
    if kind not in NUMBER_TYPES:
        raise _unsupported(value, "decimal")
    return decimal_value(to_decimal(value))


def to_bool(value: Any) -> bool:
    """``$toBool``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toBool/."""
    kind = type(value)
    if kind is bool:
        return bool(value)
    if kind in NUMBER_TYPES:
        return truthy(value)
    return True


def to_string(value: Any) -> str:
    """``$toString``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toString/."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind in NUMBER_TYPES:
        text = number_text(value)
        return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(text, text)
    if kind is ObjectId:
        return str(value)
    if kind is DatetimeMS:
        return iso_text(int(value))
    raise _unsupported(value, "string")


def to_object_id(value: Any) -> ObjectId:
    """``$toObjectId``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toObjectId/."""
    if type(value) is ObjectId:
        return value
    if type(value) is not str:
        raise _unsupported(value, "objectId")
    try:
        return ObjectId(value)
    except InvalidId as error:
        raise _failure(f"Failed to parse objectId '{value}'") from error


def to_date(value: Any) -> DatetimeMS:
    """``$toDate``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toDate/."""
    kind = type(value)
    if kind in (DatetimeMS, ObjectId, Timestamp):
        return DatetimeMS(milliseconds(value))
    if kind is str:
        return DatetimeMS(date_text.read_free(value, None))
    if kind in (Int64, float, Decimal128):
        return DatetimeMS(_integer(value, 64, "date"))
    raise _unsupported(value, "date")


CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "double": to_double,
    "string": to_string,
    "objectId": to_object_id,
    "bool": to_bool,
    "date": to_date,
    "int": to_int,
    "long": to_long,
    "decimal": to_decimal128,
}
_ALIAS_OF: Final = {0: "missing", **{code: alias for alias, code in TYPE_ALIASES.items()}}


def _target(value: Any) -> str:
    if type(value) is str:
        if value not in TYPE_ALIASES:
            raise CommandFailure(BAD_VALUE, f"Unknown type name: {value}")
        return value
    if type(value) not in NUMBER_TYPES:
        raise CommandFailure(
            FAILED_TO_PARSE,
            f"$convert's 'to' argument must be a string or number, but is {type_name(value)}",
        )
    number = whole32(value)
    if number is None:
        raise CommandFailure(
            FAILED_TO_PARSE, "In $convert, numeric 'to' argument is not an integer"
        )
    if number not in _ALIAS_OF:
        raise CommandFailure(
            FAILED_TO_PARSE,
            f"In $convert, numeric value for 'to' does not correspond to a BSON type: {number}",
        )
    return _ALIAS_OF[number]


def convert(operand: Any, scope: Scope) -> Expression:
    """``$convert``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/convert/."""
    given = named_arguments(
        "$convert",
        operand,
        {"input": FAILED_TO_PARSE, "to": FAILED_TO_PARSE},
        ("onError", "onNull"),
    )
    parts = {name: scope.compile(value) for name, value in given.items()}
    source, to = parts["input"], parts["to"]
    on_error, on_null = parts.get("onError"), parts.get("onNull")

    def converted(document: Document, variables: Variables) -> Any:
        target = to(document, variables)
        value = source(document, variables)
        name = None if is_nullish(target) else _target(target)
        if is_nullish(value):
            return None if on_null is None else on_null(document, variables)
        if name is None:
            return None
        function = CONVERSIONS.get(name)
        try:
            if function is None:
                raise _unsupported(value, name)
            return function(value)
        except CommandFailure as failure:
            if on_error is not None and failure.code == CONVERSION_FAILURE:
                return on_error(document, variables)
            raise

    return folded(converted, list(parts.values()))


def _to(name: str, function: Callable[[Any], Any]) -> Operator:
    def nullable(value: Any) -> Any:
        return None if is_nullish(value) else function(value)

    compile_one = fixed(name, nullable, 1)

    def operator(operand: Any, scope: Scope) -> Expression:
        if type(operand) is list and len(operand) != 1:
            raise CommandFailure(50723, f"{name} requires a single argument, got {len(operand)}")
        return compile_one(operand, scope)

    operator.__doc__ = function.__doc__
    return operator


def type_(value: Any) -> str:
    """``$type``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/type/."""
    return type_name(value)


def is_number(value: Any) -> bool:
    """``$isNumber``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/isNumber/."""
    return type(value) in NUMBER_TYPES


def bson_size(value: Any) -> Any:
    """``$bsonSize``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/bsonSize/."""
    if is_nullish(value):
        return None
    if type(value) is not dict:
        raise CommandFailure(
            31393, f"$bsonSize requires a document input, found: {type_name(value)}"
        )
    return len(bson.encode(value))


def binary_size(value: Any) -> Any:
    """``$binarySize``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/binarySize/."""
    if is_nullish(value):
        return None
    if type(value) is str:
        return len(value.encode())
    if type(value) in (bytes, Binary):
        return len(value)
    raise CommandFailure(
        51276, f"$binarySize requires a string or BinData argument, found: {type_name(value)}"
    )


TYPES: Final[dict[str, Operator]] = {
    "$convert": convert,
    "$isNumber": fixed("$isNumber", is_number, 1),
    "$type": fixed("$type", type_, 1),
    "$toBool": _to("$toBool", to_bool),
    "$toDate": _to("$toDate", to_date),
    "$toDecimal": _to("$toDecimal", to_decimal128),
    "$toDouble": _to("$toDouble", to_double),
    "$toInt": _to("$toInt", to_int),
    "$toLong": _to("$toLong", to_long),
    "$toObjectId": _to("$toObjectId", to_object_id),
    "$toString": _to("$toString", to_string),
    "$bsonSize": fixed("$bsonSize", bson_size, 1),
    "$binarySize": fixed("$binarySize", binary_size, 1),
}
