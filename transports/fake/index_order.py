"""An index in its own order: for ranges, for sorts, and because results come in that order.

A server that reads an index returns documents in the index's order; applications see it wherever
they do not sort. `ordered_records` gives that order, narrowed by a range where that is safe.

The sorted list is built when an order is asked for first and then kept up to date.

Spec: https://www.mongodb.com/docs/manual/core/indexes/index-types/index-single/
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import Any, Final

from bson import DatetimeMS, Int64, ObjectId

from transports.fake.collation import Collation
from transports.fake.values import MISSING, Document, sort_key, type_rank

_SIMPLE: Final = frozenset({int, Int64, float, str, DatetimeMS, ObjectId})
_LOWER: Final = ("$gt", "$gte", "$eq")
_UPPER: Final = ("$lt", "$lte", "$eq")
_EMPTY_ARRAY_RANK: Final = (0, 0)
Position = tuple[Any, ...]


class Descending:
    """A sort key turned round."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[int, Any]) -> None:
        self.key = key

    def __lt__(self, other: Descending) -> bool:
        return other.key < self.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and other.key == self.key

    __hash__ = None  # type: ignore[assignment]  # only compared


class Order:
    """The order of one index.

    Args:
        pattern: its key pattern.
        collation: its collation.
    """

    def __init__(self, pattern: Document, collation: Collation | None) -> None:
        self._collation = collation
        self._ascending = [type(kind) is str or kind > 0 for kind in pattern.values()]
        self._plain = all(self._ascending)
        self._entries: list[tuple[Position, int]] | None = None

    def position(self, values: Iterable[Any]) -> Position:
        """Return what orders a key; missing counts as null."""
        keys = [_sortable(value, self._collation) for value in values]
        if self._plain:
            return tuple(keys)
        return tuple(
            [key if up else Descending(key) for key, up in zip(keys, self._ascending, strict=True)]
        )

    @property
    def is_kept(self) -> bool:
        """Whether the sorted list exists and has to be kept up to date."""
        return self._entries is not None

    def forget(self) -> None:
        """Drop the sorted list."""
        self._entries = None

    def build(self, entries: Iterable[tuple[tuple[Any, ...], int]]) -> None:
        """Build the sorted list from ``(key values, record)``."""
        self._entries = sorted([(self.position(values), record) for values, record in entries])

    def add(self, values: tuple[Any, ...], record: int) -> None:
        """Enter a key into the sorted list, if there is one."""
        if self._entries is not None:
            insort(self._entries, (self.position(values), record))

    def discard(self, values: tuple[Any, ...], record: int) -> None:
        """Take a key out of the sorted list, if there is one."""
        if self._entries is not None:
            entry = (self.position(values), record)
            place = bisect_left(self._entries, entry)
            if place < len(self._entries) and self._entries[place] == entry:
                del self._entries[place]

    def records(
        self,
        low: tuple[int, Any] | None,
        high: tuple[int, Any] | None,
        *,
        multikey: bool,
    ) -> list[int]:
        """Return the records in order, those whose first value lies between two sort keys.

        Args:
            low: the least sort key, None for no limit.
            high: the greatest.
            multikey: a record may have several keys; it is given once, in its first place.
        """
        entries = self._entries or []
        first, last = 0, len(entries)
        if self._ascending[0]:
            if low is not None:
                first = bisect_left(entries, ((low,), -1))
            if high is not None:
                last = bisect_right(entries, high, key=lambda entry: entry[0][0])
        records = [record for _, record in entries[first:last]]
        return list(dict.fromkeys(records)) if multikey else records


def _sortable(value: Any, collation: Collation | None) -> tuple[int, Any]:
    if type(value) is tuple:  # the mark of an empty array, which sorts as undefined
        return _EMPTY_ARRAY_RANK
    return sort_key(None if value is MISSING else value, collation)


def range_of(
    condition: Any, collation: Collation | None, *, multikey: bool
) -> tuple[tuple[int, Any] | None, tuple[int, Any] | None]:
    """Return the sort keys between which a field's value must lie; None for no limit.

    The range may be too wide, never too narrow: the filter decides. A document with an array may
    satisfy two bounds with two elements, so a multikey index is narrowed from one side only.
    """
    if type(condition) is not dict or not condition:
        return None, None
    low = _bound(condition, _LOWER, collation)
    high = _bound(condition, _UPPER, collation)
    if low is not None and high is None:
        high = (low[0], _Top())
    elif high is not None and low is None:
        low = (high[0], _Bottom())
    elif multikey and low is not None and high is not None:
        high = (low[0], _Top())
    return low, high


def _bound(
    condition: Document, operators: tuple[str, ...], collation: Collation | None
) -> tuple[int, Any] | None:
    for operator in operators:
        value = condition.get(operator, MISSING)
        if type(value) in _SIMPLE and not (type(value) is float and math.isnan(value)):
            return (type_rank(value), sort_key(value, collation)[1])
    return None


class _Top:
    """Above every value of a type."""

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return True


class _Bottom:
    """Below every value of a type."""

    def __lt__(self, other: object) -> bool:
        return True

    def __gt__(self, other: object) -> bool:
        return False
