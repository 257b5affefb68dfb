"""The query operators of one field: from operator name to a test of a value.

`FIELD_OPERATORS` is the table. An operator gets its operand, the other operators beside it
(``$options`` belongs to ``$regex``) and what the filter was compiled with.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN
from typing import Any, Final

from bson import Binary, Decimal128, Int64, Regex

from transports.fake.collation import Collation
from transports.fake.compare import equals, inequality, is_in
from transports.fake.errors import BAD_VALUE, FAILED_TO_PARSE, CommandFailure, unsupported
from transports.fake.geo.operators import GEO_OPERATORS, NEAR
from transports.fake.matcher_node import Group, Leaf
from transports.fake.matcher_regex import check_options, compile_bson, compile_pattern
from transports.fake.paths import Test
from transports.fake.values import (
    MISSING,
    NUMBER_TYPES,
    bson_type,
    is_nan,
    is_number,
    regex_options,
)

Condition = Leaf | Group
Operator = Callable[[Any, Mapping[str, Any], "Context"], Condition]


@dataclass(frozen=True, slots=True)
class Context:
    """What operators need beside their operand.

    Attributes:
        collation: how strings compare.
        filter_test: compiles a whole filter for an embedded document (``$elemMatch``).
    """

    collation: Collation | None
    filter_test: Callable[[Mapping[str, Any]], Callable[[Any], bool]]


def bad_value(message: str) -> CommandFailure:
    """Return the server's BadValue."""
    return CommandFailure(BAD_VALUE, message)


def is_operators(value: Any) -> bool:
    """Tell whether a field's condition is a document of operators rather than a value."""
    if type(value) is not dict or not value:
        return False
    first: str = next(iter(value))
    return first.startswith("$") and first not in ("$ref", "$id", "$db")


def compile_condition(value: Any, context: Context) -> list[Condition]:
    """Compile what stands behind a field's name: a value, a regex or operators."""
    if not is_operators(value):
        if type(value) is Regex:
            return [_matches_regex(value)]
        return [Leaf(equals(value, context.collation))]
    return compile_operators(value, context)


def compile_operators(operators: Mapping[str, Any], context: Context) -> list[Condition]:
    """Compile a document of operators, e.g. ``{"$gt": 1, "$lt": 5}``."""
    conditions = []
    for name, operand in operators.items():
        operator = FIELD_OPERATORS.get(name)
        if operator is not None:
            conditions.append(operator(operand, operators, context))
        elif name == "$options":
            if "$regex" not in operators:
                raise bad_value("$options needs a $regex")
        elif name in UNSUPPORTED:
            raise unsupported(f"the query operator {name}")
        else:
            raise bad_value(f"unknown operator: {name}")
    return conditions


UNSUPPORTED: Final = frozenset(
    {
        "$_internalSchemaType",
    }
)


def _refuse_regex(name: str, operand: Any) -> None:
    if type(operand) is Regex:
        raise bad_value(f"Can't have RegEx as arg to predicate over field '{name}'.")


def eq(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$eq``: https://www.mongodb.com/docs/manual/reference/operator/query/eq/."""
    return Leaf(equals(operand, context.collation))


def ne(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$ne``: https://www.mongodb.com/docs/manual/reference/operator/query/ne/."""
    if type(operand) is Regex:
        raise bad_value("Can't have regex as arg to $ne.")
    return Group([eq(operand, siblings, context)], negated=True)


def _inequality(name: str) -> Operator:
    def operator(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
        _refuse_regex(name, operand)
        return Leaf(inequality(name, operand, context.collation))

    operator.__doc__ = (
        f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/query/{name[1:]}/."
    )
    return operator


def in_(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$in``: https://www.mongodb.com/docs/manual/reference/operator/query/in/."""
    if type(operand) is not list:
        raise bad_value("$in needs an array")
    for value in operand:
        if is_operators(value):
            raise bad_value("cannot nest $ under $in")
    plain = is_in([v for v in operand if type(v) is not Regex], context.collation)
    patterns = [_matches_regex(v).test for v in operand if type(v) is Regex]
    if not patterns:
        return Leaf(plain)
    return Leaf(lambda value: plain(value) or any(pattern(value) for pattern in patterns))


def nin(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$nin``: https://www.mongodb.com/docs/manual/reference/operator/query/nin/."""
    if type(operand) is not list:
        raise bad_value("$nin needs an array")
    return Group([in_(operand, siblings, context)], negated=True)


def not_(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$not``: https://www.mongodb.com/docs/manual/reference/operator/query/not/."""
    if type(operand) is Regex:
        return Group([_matches_regex(operand)], negated=True)
    if type(operand) is not dict:
        raise bad_value("$not needs a regex or a document")
    if not operand:
        raise bad_value("$not cannot be empty")
    return Group(compile_operators(operand, context), negated=True)


def exists(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$exists``: https://www.mongodb.com/docs/manual/reference/operator/query/exists/."""
    there = Leaf(lambda value: value is not MISSING)
    return there if truthy(operand) else Group([there], negated=True)


def truthy(value: Any) -> bool:
    """Tell what the server's ``trueValue`` says: 0, false, null and missing are false."""
    if value is None or value is MISSING or value is False:
        return False
    return not (type(value) in NUMBER_TYPES and not is_nan(value) and _plain(value) == 0)


def _plain(value: Any) -> Any:
    return value if type(value) in (int, float, Int64) else value.to_decimal()


def _geo(name: str) -> Operator:
    read = GEO_OPERATORS[name]
    return lambda operand, siblings, context: Leaf(read(name, operand))


def _near_inside(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    raise bad_value("geo $near must be top-level expr")


TYPE_ALIASES: Final[dict[str, int]] = {
    "double": 1,
    "string": 2,
    "object": 3,
    "array": 4,
    "binData": 5,
    "undefined": 6,
    "objectId": 7,
    "bool": 8,
    "date": 9,
    "null": 10,
    "regex": 11,
    "dbPointer": 12,
    "javascript": 13,
    "symbol": 14,
    "javascriptWithScope": 15,
    "int": 16,
    "timestamp": 17,
    "long": 18,
    "decimal": 19,
    "minKey": -1,
    "maxKey": 127,
}
_NUMBERS: Final = frozenset({1, 16, 18, 19})


def type_codes(operand: Any) -> frozenset[int]:
    """Return the BSON type numbers that ``$type`` names: a number, an alias or a list of them."""
    codes: set[int] = set()
    for item in operand if type(operand) is list else [operand]:
        if type(item) is str:
            if item == "number":
                codes |= _NUMBERS
            elif item in TYPE_ALIASES:
                codes.add(TYPE_ALIASES[item])
            else:
                raise bad_value(f"Unknown type name alias: {item}")
        elif is_number(item):
            number = _plain(item)
            if (
                number != number
                or number != int(number)
                or int(number) not in TYPE_ALIASES.values()
            ):
                raise bad_value(f"Invalid numerical type code: {number}")
            codes.add(int(number))
        else:
            raise CommandFailure(14, "type must be represented as a number or a string")
    if not codes:
        raise CommandFailure(FAILED_TO_PARSE, "$type must match at least one type")
    return frozenset(codes)


def type_(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$type``: https://www.mongodb.com/docs/manual/reference/operator/query/type/."""
    codes = type_codes(operand)
    return Leaf(lambda value: bson_type(value)[0] in codes)


def mod(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$mod``: https://www.mongodb.com/docs/manual/reference/operator/query/mod/."""
    if type(operand) is not list:
        raise bad_value("malformed mod, needs to be an array")
    if len(operand) < 2:
        raise bad_value("malformed mod, not enough elements")
    if len(operand) > 2:
        raise bad_value("malformed mod, too many elements")
    if not is_number(operand[0]):
        raise bad_value("malformed mod, divisor not a number")
    if not is_number(operand[1]):
        raise bad_value("malformed mod, remainder not a number")
    divisor, remainder = _truncated(operand[0]), _truncated(operand[1])
    if divisor is None or remainder is None:
        raise bad_value("malformed mod, divisor and remainder must be finite int64 values")
    if divisor == 0:
        raise bad_value("divisor cannot be 0")

    def test(value: Any) -> bool:
        if type(value) not in NUMBER_TYPES:
            return False
        number = _truncated(value)
        return number is not None and _c_modulo(number, divisor) == remainder

    return Leaf(test)


def _truncated(value: Any) -> int | None:
    """Return a number as int64, cut towards zero; None if it does not fit."""
    number = _plain(value)
    if type(value) not in (int, Int64):
        if number != number or number in (math.inf, -math.inf):
            return None
        number = int(number)
    return int(number) if -(2**63) <= number < 2**63 else None


def _c_modulo(number: int, divisor: int) -> int:
    return int(math.copysign(1, number)) * (abs(number) % abs(divisor))


def _regex_test(pattern: str, options: str) -> Test:
    search = compile_pattern(pattern, options).search

    def test(value: Any) -> bool:
        if type(value) is str:
            return search(value) is not None
        return (
            type(value) is Regex
            and value.pattern == pattern
            and regex_options(value) == "".join(sorted(options))
        )

    return test


def _matches_regex(value: Regex[Any]) -> Leaf:
    compile_bson(value)
    return Leaf(_regex_test(value.pattern, regex_options(value).replace("l", "")))


def regex(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$regex``: https://www.mongodb.com/docs/manual/reference/operator/query/regex/."""
    options = siblings.get("$options", "")
    if type(options) is not str:
        raise bad_value("$options has to be a string")
    if type(operand) is Regex:
        own = regex_options(operand)
        if own and "$options" in siblings:
            raise CommandFailure(51075, "options set in both $regex and $options")
        return Leaf(_regex_test(operand.pattern, options or own))
    if type(operand) is not str:
        raise bad_value("$regex has to be a string")
    check_options(options)
    return Leaf(_regex_test(operand, options))


def all_(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$all``: https://www.mongodb.com/docs/manual/reference/operator/query/all/."""
    if type(operand) is not list:
        raise bad_value("$all needs an array")
    if not operand:
        return Leaf(lambda value: False)
    first = operand[0]
    if type(first) is dict and next(iter(first), None) == "$elemMatch":
        for item in operand:
            if type(item) is not dict or next(iter(item), None) != "$elemMatch":
                raise bad_value("$all/$elemMatch has to be consistent")
        return Group([elem_match(item["$elemMatch"], item, context) for item in operand])
    members: list[Condition] = []
    for item in operand:
        if is_operators(item) and next(iter(item)) in (*FIELD_OPERATORS, "$options"):
            raise bad_value("no $ expressions in $all")
        members.append(_matches_regex(item) if type(item) is Regex else eq(item, siblings, context))
    return Group(members)


_WITHOUT_FIELD: Final = frozenset(
    {
        *("$and", "$or", "$nor", "$expr", "$jsonSchema", "$comment"),
        *("$alwaysTrue", "$alwaysFalse", "$text", "$where", "$sampleRate"),
    }
)


def elem_match(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$elemMatch``: https://www.mongodb.com/docs/manual/reference/operator/query/elemMatch/."""
    if type(operand) is not dict:
        raise bad_value("$elemMatch needs an Object")
    first = next(iter(operand), None)
    if is_operators(operand) and first not in _WITHOUT_FIELD:
        test = Group(compile_operators(operand, context)).on_value()
    else:
        matches = context.filter_test(operand)

        def test(value: Any) -> bool:
            if type(value) is dict:
                return matches(value)
            if type(value) is list:
                return matches({str(i): element for i, element in enumerate(value)})
            return False

    def locate(value: Any) -> int | None:
        if type(value) is list:
            for index, element in enumerate(value):
                if test(element):
                    return index
        return None

    return Leaf(lambda value: locate(value) is not None, expand=False, locate=locate)


def whole_number(value: Any, what: str) -> int:
    """Return an operand that must be a whole number; a bool or a fraction is refused."""
    if not is_number(value):
        raise CommandFailure(FAILED_TO_PARSE, f"{what}. Expected a number in: {value!r}")
    number = _plain(value)
    if number != number or number in (math.inf, -math.inf) or number != int(number):
        raise CommandFailure(FAILED_TO_PARSE, f"{what}. Expected an integer: {value!r}")
    return int(number)


def size(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
    """``$size``: https://www.mongodb.com/docs/manual/reference/operator/query/size/."""
    try:
        length = whole_number(operand, "Failed to parse $size")
    except CommandFailure as failure:
        raise bad_value(failure.message) from failure
    if length < 0:
        raise bad_value(f"Failed to parse $size. Expected a non-negative number in: {length}")
    return Leaf(lambda value: type(value) is list and len(value) == length, expand=False)


def _bit_mask(name: str, operand: Any) -> int:
    """Return the bits an operand names: a number, binary data or a list of positions."""
    if type(operand) is list:
        mask = 0
        for position in operand:
            if not is_number(position) or position != int(_plain(position)):
                raise bad_value(f"Failed to parse bit position. Expected a number in: {position!r}")
            if int(_plain(position)) < 0:
                raise bad_value("Failed to parse bit position. Expected a non-negative number")
            mask |= 1 << int(_plain(position))
        return mask
    if type(operand) in (bytes, Binary):
        return int.from_bytes(operand, "little")
    if is_number(operand):
        number = whole_number(operand, "Expected an integer")
        if number < 0:
            raise CommandFailure(
                FAILED_TO_PARSE, f"Expected a non-negative number in: {name}: {number}"
            )
        if number >= 2**63:
            raise CommandFailure(
                FAILED_TO_PARSE, f"Cannot represent as a 64-bit integer: {name}: {operand}"
            )
        return number
    raise bad_value(f"{name} takes an Array, a number, or a BinData but received: {operand!r}")


def _bits_of(value: Any) -> int | None:
    """Return a value's bits, sign-extended for a number; None if it has none."""
    if type(value) in (bytes, Binary):
        return int.from_bytes(value, "little")
    if type(value) not in NUMBER_TYPES:
        return None
    number = _plain(value)
    if type(value) is Decimal128:
        # The server converts it to int64: halves to even, what does not fit to the least one.
        if not number.is_finite() or not -(2**63) <= number < 2**63:
            return -(2**63)
        return int(number.to_integral_value(ROUND_HALF_EVEN))
    if number != number or number in (math.inf, -math.inf) or number != int(number):
        return None
    return int(number) if -(2**63) <= number < 2**63 else None


def _bit_test(name: str, decide: Callable[[int, int], bool]) -> Operator:
    def operator(operand: Any, siblings: Mapping[str, Any], context: Context) -> Condition:
        mask = _bit_mask(name, operand)

        def test(value: Any) -> bool:
            bits = _bits_of(value)
            return bits is not None and decide(bits, mask)

        return Leaf(test)

    operator.__doc__ = (
        f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/query/{name[1:]}/."
    )
    return operator


FIELD_OPERATORS: Final[dict[str, Operator]] = {
    "$eq": eq,
    "$ne": ne,
    "$gt": _inequality("$gt"),
    "$gte": _inequality("$gte"),
    "$lt": _inequality("$lt"),
    "$lte": _inequality("$lte"),
    "$in": in_,
    "$nin": nin,
    "$not": not_,
    "$exists": exists,
    "$type": type_,
    "$mod": mod,
    "$regex": regex,
    "$all": all_,
    "$elemMatch": elem_match,
    "$size": size,
    "$bitsAllSet": _bit_test("$bitsAllSet", lambda bits, mask: bits & mask == mask),
    "$bitsAllClear": _bit_test("$bitsAllClear", lambda bits, mask: bits & mask == 0),
    "$bitsAnySet": _bit_test("$bitsAnySet", lambda bits, mask: bits & mask != 0),
    "$bitsAnyClear": _bit_test("$bitsAnyClear", lambda bits, mask: bits & mask != mask),
    **{name: _geo(name) for name in GEO_OPERATORS},
    **dict.fromkeys(NEAR, _near_inside),
}
