"""What the array update operators do to one array.

Each function checks its operand and returns a function from an array to a new array.

Spec: https://www.mongodb.com/docs/manual/reference/operator/update-array/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bson import Regex

from transports.fake.collation import Collation
from transports.fake.errors import TYPE_MISMATCH, CommandFailure
from transports.fake.expressions.numbers import whole
from transports.fake.expressions.ordering import compile_value_order
from transports.fake.matcher import SPECIAL_FEATURES, compile_filter
from transports.fake.matcher_operators import FIELD_OPERATORS
from transports.fake.update_paths import bad_value
from transports.fake.values import NUMBER_TYPES, bson_type, deep_copy, equal, hash_key

Change = Callable[[list[Any]], list[Any]]

_CLAUSES: Final = ("$each", "$slice", "$sort", "$position")


def _each(operand: Any) -> list[Any] | None:
    """Return the values of ``$each``; None if the operand is one plain value."""
    if type(operand) is not dict or "$each" not in operand:
        return None
    values: list[Any] = operand["$each"]
    if type(values) is not list:
        raise bad_value(
            "The argument to $each in $push must be an array but it was of type: "
            f"{bson_type(values)[1]}"
        )
    return values


def _integer(operand: dict[str, Any], clause: str) -> int | None:
    if clause not in operand:
        return None
    value = operand[clause]
    number = whole(value) if type(value) in NUMBER_TYPES else None
    if number is None:
        raise bad_value(
            f"The value for {clause} must be an integer value but was given type: "
            f"{bson_type(value)[1]}"
        )
    return number


def push(operand: Any, collation: Collation | None) -> Change:
    """``$push`` with ``$each``, ``$position``, ``$sort`` and ``$slice``."""
    values = _each(operand)
    if values is None:
        value = deep_copy(operand)
        return lambda array: [*array, value]
    for clause in operand:
        if clause not in _CLAUSES:
            raise bad_value(f"Unrecognized clause in $push: {clause}")
    added = deep_copy(values)
    position, cut = _integer(operand, "$position"), _integer(operand, "$slice")
    order = _order(operand["$sort"], collation) if "$sort" in operand else None

    def change(array: list[Any]) -> list[Any]:
        at = len(array) if position is None else position
        result: list[Any] = array[:at] + added + array[at:]
        if order is not None:
            result = order(result)
        if cut is not None:
            result = result[:cut] if cut >= 0 else result[cut:]
        return result

    return change


def _order(spec: Any, collation: Collation | None) -> Change:
    if type(spec) is dict:
        if not spec:
            raise bad_value("The $sort pattern is empty when it should be a set of fields.")
        for path, way in spec.items():
            if not all(path.split(".")):
                raise bad_value(f"The $sort field is a dotted field but has an empty part: {path}")
            _check_way(way)
    elif type(spec) in NUMBER_TYPES:
        _check_way(spec)
    else:
        raise bad_value(
            "The $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1} to sort "
            "embedded fields"
        )
    return compile_value_order(spec, collation)


def _check_way(way: Any) -> None:
    number = whole(way) if type(way) in NUMBER_TYPES else None
    if number not in (1, -1):
        raise bad_value("The $sort element value must be either 1 or -1")


def add_to_set(operand: Any, collation: Collation | None) -> Change:
    """``$addToSet`` with ``$each``."""
    values = [operand]
    if type(operand) is dict and next(iter(operand), None) == "$each":
        values = operand["$each"]
        if type(values) is not list:
            raise CommandFailure(
                TYPE_MISMATCH,
                "The argument to $each in $addToSet must be an array but it was of type "
                f"{bson_type(values)[1]}",
            )
        for name in operand:
            if name != "$each":
                raise bad_value(f"Found unexpected fields after $each in $addToSet: {name}")
    added = [(hash_key(value, collation), deep_copy(value)) for value in values]

    def change(array: list[Any]) -> list[Any]:
        present = {hash_key(element, collation) for element in array}
        result = list(array)
        for key, value in added:
            if key not in present:
                present.add(key)
                result.append(value)
        return result

    return change


def pull(operand: Any, collation: Collation | None) -> Change:
    """``$pull``: what equals a value, or matches a condition or a filter, goes."""
    test: Callable[[Any], bool]
    first = next(iter(operand), "") if type(operand) is dict else ""
    if type(operand) is dict and (first not in FIELD_OPERATORS or first == "$not"):
        matches = compile_filter(operand, collation=collation, banned=SPECIAL_FEATURES)

        def test(element: Any) -> bool:
            return type(element) is dict and matches(element)

    elif type(operand) in (dict, Regex):
        wrapped = compile_filter({"": operand}, collation=collation, banned=SPECIAL_FEATURES)

        def test(element: Any) -> bool:
            return wrapped({"": element})

    else:

        def test(element: Any) -> bool:
            return equal(element, operand, collation)

    return lambda array: [element for element in array if not test(element)]


def pull_all(operand: Any, collation: Collation | None) -> Change:
    """``$pullAll``: what equals one of the values goes."""
    if type(operand) is not list:
        raise bad_value(
            f"$pullAll requires an array argument but was given a {bson_type(operand)[1]}"
        )
    keys = {hash_key(value, collation) for value in operand}
    return lambda array: [element for element in array if hash_key(element, collation) not in keys]


def pop(first: bool) -> Change:
    """``$pop``: the first or the last element goes."""
    return lambda array: array[1:] if first else array[:-1]
