"""Set expressions; their results come in the server's order, which is the sorted one.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#set-expression-operators
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final

from transports.fake.collation import Collation
from transports.fake.errors import CommandFailure
from transports.fake.expressions.arithmetic import type_name
from transports.fake.expressions.conditions import truthy
from transports.fake.expressions.scope import (
    Constant,
    Expression,
    Operator,
    Scope,
    Variables,
    arguments,
    check_count,
    constants_last,
    folded,
    is_nullish,
    refuse_constant,
)
from transports.fake.values import Document, hash_key, sort_key

Keyed = dict[Hashable, Any]


def _keyed(values: list[Any], collation: Collation | None) -> Keyed:
    keyed: Keyed = {}
    for value in values:
        keyed.setdefault(hash_key(value, collation), value)
    return keyed


def _operator(
    name: str, least: int, most: int | None, function: Callable[[Any, Collation | None], Any]
) -> Operator:
    def operator(operand: Any, scope: Scope) -> Expression:
        given = arguments(operand)
        if name == "$setEquals" and len(given) < least:
            raise CommandFailure(
                17045, f"$setEquals needs at least two arguments had: {len(given)}"
            )
        if most is not None:
            check_count(name, len(given), least, most)
        parts = [scope.compile(argument) for argument in given]
        collation = scope.collation
        if name == "$setEquals":
            parts = [_checked(part) for part in parts]
        if name == "$setIsSubset" and type(parts[1]) is Constant and type(parts[0]) is not Constant:
            return _within(parts[0], parts[1], collation)
        if name in ("$setUnion", "$setIntersection"):
            parts = constants_last(parts, lambda values: function(values, collation))
        return folded(
            lambda document, variables: function(
                # A set of any number of operands stops at the first null, or difference.
                (part(document, variables) for part in parts)
                if name in ("$setUnion", "$setIntersection", "$setEquals")
                else [part(document, variables) for part in parts],
                collation,
            ),
            parts,
        )

    operator.__doc__ = function.__doc__
    return operator


def _ordered(keyed: Keyed, collation: Collation | None) -> list[Any]:
    return sorted(keyed.values(), key=lambda value: sort_key(value, collation))


def union(values: Iterable[Any], collation: Collation | None) -> Any:
    """``$setUnion``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/setUnion/."""
    keyed: Keyed = {}
    for value in values:
        if is_nullish(value):
            return None
        if type(value) is not list:
            raise CommandFailure(
                17043,
                "All operands of $setUnion must be arrays. One argument is of type: "
                f"{type_name(value)}",
            )
        for key, element in _keyed(value, collation).items():
            keyed.setdefault(key, element)
    return _ordered(keyed, collation)


def intersection(values: Iterable[Any], collation: Collation | None) -> Any:
    """``$setIntersection``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/setIntersection/."""
    keyed: Keyed | None = None
    for value in values:
        if is_nullish(value):
            return None
        if type(value) is not list:
            raise CommandFailure(
                17047,
                "All operands of $setIntersection must be arrays. One argument is of type: "
                f"{type_name(value)}",
            )
        own = _keyed(value, collation)
        if keyed is None:
            keyed = own
            continue
        if len(keyed) > len(own):
            keyed, own = own, keyed  # equal values of two types: those of the smaller set stay
        keyed = {k: v for k, v in keyed.items() if k in own}
    return _ordered(keyed or {}, collation)


def difference(values: list[Any], collation: Collation | None) -> Any:
    """``$setDifference``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/setDifference/."""
    left, right = values
    if is_nullish(left) or is_nullish(right):
        return None
    for value, code, which in ((left, 17048, "First"), (right, 17049, "Second")):
        if type(value) is not list:
            raise CommandFailure(
                code,
                f"both operands of $setDifference must be arrays. {which} argument is of type: "
                f"{type_name(value)}",
            )
    excluded = _keyed(right, collation)
    return [v for k, v in _keyed(left, collation).items() if k not in excluded]


def equals(values: Iterable[Any], collation: Collation | None) -> bool:
    """``$setEquals``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/setEquals/."""
    first = None
    for number, value in enumerate(values, 1):
        if type(value) is not list:
            raise CommandFailure(
                17044,
                f"All operands of $setEquals must be arrays. {number}-th argument is of type: "
                f"{type_name(value)}",
            )
        keys = _keyed(value, collation).keys()
        first = keys if first is None else first
        if keys != first:
            return False
    return True


def _checked(part: Expression) -> Expression:
    """Return an operand of ``$setEquals``; a constant that is no array fails when it is folded."""
    if type(part) is not Constant or type(part.value) is list:
        return part
    kind = type_name(part.value)

    def fail(document: Document, variables: Variables) -> Any:
        raise CommandFailure(
            5887502, f"All operands of $setEquals must be arrays. One argument is of type: {kind}"
        )

    return folded(fail, [part])


def _within(part: Expression, whole: Constant, collation: Collation | None) -> Expression:
    """Return ``$setIsSubset`` of a constant, an operator of its own to the server."""
    if type(whole.value) is not list:
        refuse_constant(
            CommandFailure(
                17311,
                "both operands of $setIsSubset must be arrays. Second argument is of type: "
                f"{type_name(whole.value)}",
            )
        )

    def within(document: Document, variables: Variables) -> bool:
        value = part(document, variables)
        if type(value) is not list and type(whole.value) is list:
            raise CommandFailure(
                17310,
                "both operands of $setIsSubset must be arrays. First argument is of type: "
                f"{type_name(value)}",
            )
        return is_subset([value, whole.value], collation)

    return within


def is_subset(values: list[Any], collation: Collation | None) -> bool:
    """``$setIsSubset``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/setIsSubset/."""
    left, right = values
    for value, code, which in ((left, 17046, "First"), (right, 17042, "Second")):
        if type(value) is not list:
            raise CommandFailure(
                code,
                f"both operands of $setIsSubset must be arrays. {which} argument is of type: "
                f"{type_name(value)}",
            )
    return _keyed(left, collation).keys() <= _keyed(right, collation).keys()


def any_true(values: list[Any], collation: Collation | None) -> bool:
    """``$anyElementTrue``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/anyElementTrue/."""
    if type(values[0]) is not list:
        raise CommandFailure(
            17041, f"$anyElementTrue's argument must be an array, but is {type_name(values[0])}"
        )
    return any(truthy(value) for value in values[0])


def all_true(values: list[Any], collation: Collation | None) -> bool:
    """``$allElementsTrue``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/allElementsTrue/."""
    if type(values[0]) is not list:
        raise CommandFailure(
            17040, f"$allElementsTrue's argument must be an array, but is {type_name(values[0])}"
        )
    return all(truthy(value) for value in values[0])


SETS: Final[dict[str, Operator]] = {
    "$allElementsTrue": _operator("$allElementsTrue", 1, 1, all_true),
    "$anyElementTrue": _operator("$anyElementTrue", 1, 1, any_true),
    "$setDifference": _operator("$setDifference", 2, 2, difference),
    "$setEquals": _operator("$setEquals", 2, None, equals),
    "$setIntersection": _operator("$setIntersection", 0, None, intersection),
    "$setIsSubset": _operator("$setIsSubset", 2, 2, is_subset),
    "$setUnion": _operator("$setUnion", 0, None, union),
}
