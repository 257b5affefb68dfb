"""Ordering whole values: ``sortBy`` of ``$sortArray`` and ``$sort`` of ``$push``.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sortArray/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transports.fake.collation import Collation
from transports.fake.errors import CommandFailure
from transports.fake.expressions.numbers import whole
from transports.fake.paths import split
from transports.fake.sort import path_key
from transports.fake.values import NUMBER_TYPES, sort_key


def direction(value: Any, code: int) -> int:
    """Return 1 or -1, or raise ``code``."""
    number = whole(value) if type(value) in NUMBER_TYPES else None
    if number not in (1, -1):
        raise CommandFailure(
            code, "$sort key ordering must be 1 (for ascending) or -1 (for descending)"
        )
    return number


def compile_value_order(
    spec: Any, collation: Collation | None, *, code: int = 15975
) -> Callable[[list[Any]], list[Any]]:
    """Return a function that sorts a list of values, stably.

    Args:
        spec: 1 or -1 for whole values, or ``{"path": 1 or -1, …}`` for documents.
        collation: how strings compare.
        code: the error for a direction that is neither.
    """
    if not isinstance(spec, Mapping):
        backwards = direction(spec, code) < 0
        return lambda values: sorted(
            values, key=lambda value: sort_key(value, collation), reverse=backwards
        )
    keys = [(split(path), direction(way, code) < 0) for path, way in spec.items()]
    if not keys:
        raise CommandFailure(15976, "$sort stage must have at least one sort key")

    def order(values: list[Any]) -> list[Any]:
        for parts, backwards in reversed(keys):
            values = sorted(
                values,
                key=lambda value: path_key(
                    value if type(value) is dict else {}, parts, backwards, collation
                ),
                reverse=backwards,
            )
        return values

    return order
