"""The query language: a filter document, compiled once, asked of many documents.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bson import DatetimeMS

from transports.fake.collation import Collation
from transports.fake.values import Document


@dataclass(frozen=True, slots=True)
class Match:
    """How a document matched.

    Attributes:
        array_index: the element of the outermost array that matched: what the positional ``$``
            stands for; None if the filter matched through no array.
    """

    array_index: int | None = None


class Matcher:
    """A compiled filter."""

    def __call__(self, document: Document) -> bool:
        """Tell whether the document matches."""
        raise NotImplementedError

    def match(self, document: Document) -> Match | None:
        """Return how the document matches; None if it does not."""
        raise NotImplementedError

    def equalities(self) -> dict[str, Any]:
        """Return path → value of the equalities that seed an upserted document."""
        raise NotImplementedError

    def index_bounds(self) -> dict[str, list[Any]]:
        """Return path → candidate values: every matching document has one of them there.

        "There" includes, as in an index, any element of an array on the path. A path is only
        listed if an index lookup (by `hash_key`, null standing for missing) loses nothing.
        """
        raise NotImplementedError


def compile_filter(
    query: Mapping[str, Any],
    *,
    collation: Collation | None = None,
    let: Mapping[str, Any] | None = None,
    now: DatetimeMS | None = None,
) -> Matcher:
    """Compile a filter document.

    Args:
        query: the filter, e.g. ``{"a.b": {"$gt": 1}}``.
        collation: how strings compare.
        let: variables (already evaluated) that ``$expr`` sees as ``$$name``.
        now: what ``$$NOW`` is.

    Raises:
        CommandFailure: as a server refuses the filter (2 BadValue, …).
    """
    raise NotImplementedError
