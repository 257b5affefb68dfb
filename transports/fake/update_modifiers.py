"""The update operators of one field: from operator name to a change of a value.

`MODIFIERS` is the table. Each entry checks its operand once and gives a `Modifier`, which changes
the value at the end of a path.

Spec: https://www.mongodb.com/docs/manual/reference/operator/update/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bson import DatetimeMS, Int64
from bson.timestamp import Timestamp

from transports.fake.collation import Collation
from transports.fake.errors import FAILED_TO_PARSE, TYPE_MISMATCH, CommandFailure
from transports.fake.expressions.numbers import add, multiply, whole
from transports.fake.update_arrays import (
    add_to_set,
    pop,
    pull,
    pull_all,
    push,
)
from transports.fake.update_paths import bad_value
from transports.fake.values import (
    MISSING,
    NUMBER_TYPES,
    bson_type,
    compare,
    deep_copy,
    integer,
    is_nan,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What modifiers are compiled with: the collation, and what time it is."""

    collation: Collation | None
    now: DatetimeMS


@dataclass(frozen=True, slots=True)
class Modifier:
    """A change of one value.

    Attributes:
        change: ``(value or MISSING, path, document's _id) -> value or MISSING``; the argument
            itself, by identity, for no change.
        creates: what is missing is created, parents included.
        inserts_only: applies to upserted documents only.
        removes: ``$unset``, to which a path that leads nowhere is nothing wrong.
    """

    change: Callable[[Any, str, Any], Any]
    creates: bool = True
    inserts_only: bool = False
    removes: bool = False


def type_name(value: Any) -> str:
    """Return the type's alias for an error message."""
    return bson_type(value)[1]


def identical(left: Any, right: Any) -> bool:
    """Tell whether two values are the same to the byte: type and content."""
    kind = type(left)
    if kind is not type(right):
        return False
    if kind is dict:
        return list(left) == list(right) and all(
            identical(value, right[name]) for name, value in left.items()
        )
    if kind is list:
        return len(left) == len(right) and all(
            identical(a, b) for a, b in zip(left, right, strict=True)
        )
    if kind is float:
        return repr(left) == repr(right)
    return bool(left == right)


def set_(operand: Any, setting: Setting) -> Modifier:
    """``$set``: https://www.mongodb.com/docs/manual/reference/operator/update/set/."""
    constant = deep_copy(operand)
    return Modifier(lambda value, path, key: value if identical(value, constant) else constant)


def set_on_insert(operand: Any, setting: Setting) -> Modifier:
    """``$setOnInsert``: https://www.mongodb.com/docs/manual/reference/operator/update/setOnInsert/."""
    return Modifier(set_(operand, setting).change, inserts_only=True)


def unset(operand: Any, setting: Setting) -> Modifier:
    """``$unset``: https://www.mongodb.com/docs/manual/reference/operator/update/unset/."""
    return Modifier(lambda value, path, key: MISSING, creates=False, removes=True)


def _not_numeric(name: str, value: Any, path: str, key: Any) -> CommandFailure:
    return CommandFailure(
        TYPE_MISMATCH,
        f"Cannot apply {name} to a value of non-numeric type. {{_id: {key!r}}} has the field "
        f"'{path.rpartition('.')[2]}' of non-numeric type {type_name(value)}",
    )


def _arithmetic(
    name: str, verb: str, operate: Callable[[Any, Any], Any], initial: Callable[[Any], Any]
) -> Callable[[Any, Setting], Modifier]:
    def modifier(operand: Any, setting: Setting) -> Modifier:
        if type(operand) not in NUMBER_TYPES:
            raise CommandFailure(
                TYPE_MISMATCH, f"Cannot {verb} with non-numeric argument: {{{operand!r}}}"
            )

        def change(value: Any, path: str, key: Any) -> Any:
            if value is MISSING:
                return initial(operand)
            if type(value) not in NUMBER_TYPES:
                raise _not_numeric(name, value, path, key)
            result = operate(value, operand)
            if type(result) is float and float not in (type(value), type(operand)):
                raise bad_value(
                    f"Failed to apply {name} operations to current value "
                    f"(({type_name(value)}){value}) for document {{_id: {key!r}}}"
                )
            return value if _is_same_number(value, result) else result

        return Modifier(change)

    modifier.__doc__ = (
        f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/update/{name[1:]}/."
    )
    return modifier


def _is_same_number(old: Any, new: Any) -> bool:
    """Tell whether arithmetic has changed nothing: by value and type, and NaN is never the same."""
    return type(old) is type(new) and not is_nan(new) and compare(old, new) == 0


def _extreme(name: str, wanted: int) -> Callable[[Any, Setting], Modifier]:
    def modifier(operand: Any, setting: Setting) -> Modifier:
        constant = deep_copy(operand)

        def change(value: Any, path: str, key: Any) -> Any:
            if value is MISSING or compare(constant, value, setting.collation) == wanted:
                return constant
            return value

        return Modifier(change)

    modifier.__doc__ = (
        f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/update/{name[1:]}/."
    )
    return modifier


def current_date(operand: Any, setting: Setting) -> Modifier:
    """``$currentDate``: https://www.mongodb.com/docs/manual/reference/operator/update/currentDate/."""
    kind: Any = "date"
    if type(operand) is dict:
        for name in operand:
            if name != "$type":
                raise bad_value(f"Unrecognized $currentDate option: {name}")
        kind = operand.get("$type")
        if kind not in ("date", "timestamp"):
            raise bad_value(
                "The '$type' string field is required to be 'date' or 'timestamp': "
                "{$currentDate: {field : {$type: 'date'}}}"
            )
    elif type(operand) is not bool:
        raise bad_value(
            f"{type_name(operand)} is not valid type for $currentDate. Please use a boolean "
            "('true') "
            "or a $type expression ({$type: 'timestamp/date'})."
        )
    now: Any = setting.now
    if kind == "timestamp":
        now = Timestamp(int(setting.now) // 1000, 1)
    return Modifier(lambda value, path, key: now)


def bit(operand: Any, setting: Setting) -> Modifier:
    """``$bit``: https://www.mongodb.com/docs/manual/reference/operator/update/bit/."""
    if type(operand) is not dict:
        raise bad_value(
            "The $bit modifier is not compatible with a "
            f"{type_name(operand)}. You must pass in an embedded document: {{$bit: {{field: "
            f"{{and/or/xor: #}}}}"
        )
    if not operand:
        raise bad_value(
            "You must pass in at least one bitwise operation. The format is: "
            "{$bit: {field: {and/or/xor: #}}"
        )
    for name, number in operand.items():
        if name not in ("and", "or", "xor"):
            raise bad_value(
                "The $bit modifier only supports 'and', 'or', and 'xor', not '"
                f"{name}' which is an unknown operator: {{{name}: {number!r}}}"
            )
        if type(number) not in (int, Int64):
            raise bad_value(
                "The $bit modifier field must be an Integer(32/64 bit); a "
                f"'{type_name(number)}' is not supported here"
            )

    def change(value: Any, path: str, key: Any) -> Any:
        result: Any = 0 if value is MISSING else value
        if type(result) not in (int, Int64):
            raise bad_value(
                f"Cannot apply $bit to a value of non-integral type.{{_id: {key!r}}} has the field "
                f"{path} of non-integer type {type_name(value)}"
            )
        for name, number in operand.items():
            wide = Int64 in (type(result), type(number))
            bits = {
                "and": int(result) & int(number),
                "or": int(result) | int(number),
                "xor": int(result) ^ int(number),
            }[name]
            result = integer(bits, wide=wide)
        return value if identical(value, result) else result

    return Modifier(change)


def _array(
    compiled: Callable[[list[Any]], list[Any]], name: str, message: str, creates: bool
) -> Modifier:
    def change(value: Any, path: str, key: Any) -> Any:
        if value is MISSING:
            return compiled([]) if creates else MISSING
        if type(value) is not list:
            raise bad_value(
                message.format(path=path, type=type_name(value), key=f"{{_id: {key!r}}}")
            )
        result = compiled(value)
        return value if identical(value, result) else result

    code_of_pop = name == "$pop"

    def change_pop(value: Any, path: str, key: Any) -> Any:
        if value is not MISSING and type(value) is not list:
            raise CommandFailure(
                TYPE_MISMATCH,
                f"Path '{path}' contains an element of non-array type '{type_name(value)}'",
            )
        return change(value, path, key)

    return Modifier(change_pop if code_of_pop else change, creates=creates)


_MUST_BE_ARRAY: Final = (
    "The field '{path}' must be an array but is of type {type} in document {key}"
)


def push_(operand: Any, setting: Setting) -> Modifier:
    """``$push``: https://www.mongodb.com/docs/manual/reference/operator/update/push/."""
    return _array(push(operand, setting.collation), "$push", _MUST_BE_ARRAY, True)


def add_to_set_(operand: Any, setting: Setting) -> Modifier:
    """``$addToSet``: https://www.mongodb.com/docs/manual/reference/operator/update/addToSet/."""
    message = (
        "Cannot apply $addToSet to non-array field. Field named '{path}' has non-array type {type}"
    )
    return _array(add_to_set(operand, setting.collation), "$addToSet", message, True)


def pull_(operand: Any, setting: Setting) -> Modifier:
    """``$pull``: https://www.mongodb.com/docs/manual/reference/operator/update/pull/."""
    message = "Cannot apply $pull to a non-array value"
    return _array(pull(operand, setting.collation), "$pull", message, False)


def pull_all_(operand: Any, setting: Setting) -> Modifier:
    """``$pullAll``: https://www.mongodb.com/docs/manual/reference/operator/update/pullAll/."""
    message = "Cannot apply $pull to a non-array value"
    return _array(pull_all(operand, setting.collation), "$pullAll", message, False)


def pop_(operand: Any, setting: Setting) -> Modifier:
    """``$pop``: https://www.mongodb.com/docs/manual/reference/operator/update/pop/."""
    number = whole(operand) if type(operand) in NUMBER_TYPES else None
    if number is None:
        raise CommandFailure(FAILED_TO_PARSE, f"Expected a number in: $pop: {operand!r}")
    if number not in (1, -1):
        raise CommandFailure(FAILED_TO_PARSE, f"$pop expects 1 or -1, found: {operand}")
    return _array(pop(number < 0), "$pop", _MUST_BE_ARRAY, False)


MODIFIERS: Final[dict[str, Callable[[Any, Setting], Modifier]]] = {
    "$addToSet": add_to_set_,
    "$bit": bit,
    "$currentDate": current_date,
    "$inc": _arithmetic("$inc", "increment", add, lambda operand: operand),
    "$max": _extreme("$max", 1),
    "$min": _extreme("$min", -1),
    "$mul": _arithmetic("$mul", "multiply", multiply, lambda operand: multiply(0, operand)),
    "$pop": pop_,
    "$pull": pull_,
    "$pullAll": pull_all_,
    "$push": push_,
    "$set": set_,
    "$setOnInsert": set_on_insert,
    "$unset": unset,
}
