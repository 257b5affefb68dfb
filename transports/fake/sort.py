"""Sort specifications: ``{"a": 1, "b.c": -1}`` over documents.

An array sorts by its least element ascending and by its greatest descending; an empty array comes
before null, and a missing field is null.

Spec: https://www.mongodb.com/docs/manual/reference/method/cursor.sort/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from transports.fake.collation import Collation
from transports.fake.errors import BAD_VALUE, CommandFailure, unsupported
from transports.fake.paths import Parts, all_values, split
from transports.fake.values import MISSING, NUMBER_TYPES, Document, sort_key

_EMPTY_ARRAY: Final = (0, 0)
_NULL: Final = (5, 0)


def path_key(
    document: Document, parts: Parts, backwards: bool, collation: Collation | None
) -> tuple[int, Any]:
    """Return the key by which a document sorts on one path."""
    if len(parts) == 1:
        value = document.get(parts[0], MISSING)
        if type(value) is not list:
            return _NULL if value is MISSING else sort_key(value, collation)
    values = all_values(document, parts, False)
    keys: list[tuple[int, Any]] = []
    for value in values:
        if type(value) is list:
            keys += [sort_key(element, collation) for element in value] or [_EMPTY_ARRAY]
        else:
            keys.append(_NULL if value is MISSING else sort_key(value, collation))
    if not keys:
        return _NULL
    if len(keys) == 1:
        return keys[0]
    return max(keys) if backwards else min(keys)


def _keys(spec: Mapping[str, Any]) -> list[tuple[Parts, bool]]:
    keys = []
    for path, way in spec.items():
        if type(way) is dict:
            if "$meta" in way:
                raise unsupported("sorting by $meta")
            raise CommandFailure(
                BAD_VALUE, "Illegal key in $sort specification: an object is only allowed for $meta"
            )
        number = float(str(way)) if type(way) in NUMBER_TYPES else 0
        if number not in (1, -1):
            raise CommandFailure(
                15974 if type(way) not in NUMBER_TYPES else 15975,
                "$sort key ordering must be 1 (for ascending) or -1 (for descending)",
            )
        if path.startswith("$"):
            raise CommandFailure(16410, "FieldPath field names may not start with '$'.")
        parts = split(path)
        if not all(parts):
            raise CommandFailure(15998, "FieldPath field names may not be empty strings.")
        keys.append((parts, number < 0))
    return keys


def compile_sort(
    spec: Mapping[str, Any], collation: Collation | None = None
) -> Callable[[Iterable[Document]], list[Document]]:
    """Compile a sort; stable, so documents that compare equal keep their order.

    ``{"$natural": 1}`` keeps the order of the source, ``-1`` reverses it.
    """
    if "$natural" in spec:
        forwards = float(str(spec["$natural"])) > 0
        return lambda documents: list(documents) if forwards else list(documents)[::-1]
    keys = _keys(spec)

    def sort(documents: Iterable[Document]) -> list[Document]:
        ordered = list(documents)
        for parts, backwards in reversed(keys):
            ordered.sort(
                key=lambda document: path_key(document, parts, backwards, collation),
                reverse=backwards,
            )
        return ordered

    return sort
