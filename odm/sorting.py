"""Sort orders: ``"-published_at"``, ``["category", "-title"]``, ``[("title", 1)]``.

Owns their spelling. Beanie takes anything and leaves it to the server to complain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

SortKey: TypeAlias = str | tuple[str, int] | tuple[str, Mapping[str, Any]]
Sort: TypeAlias = SortKey | Iterable[SortKey]
"""``"field"``, ``"+field"``, ``"-field"``, ``("field", -1)``, ``("score", {"$meta": …})``, or
several of these in a list."""

_EXAMPLES = "'-published_at', ['category', '-title'] or [('title', 1)]"


def sort_order(sort: Any, *, id_alias: bool = False) -> list[tuple[str, Any]]:
    """Return *sort* as pairs of a path and a direction (1, -1 or a ``$meta`` expression).

    With *id_alias*, ``id`` is read as ``_id``: the name that the field has in the database.

    Raises:
        ValueError: it cannot be understood; the message says what to write.
    """
    if sort is None:
        return []
    if type(sort) is str:
        return list(_text_order(sort, id_alias))
    if isinstance(sort, str) or _is_pair(sort):
        sort = [sort]
    try:
        order = [_pair(key) for key in sort]
    except TypeError:
        raise _refused(sort) from None
    if id_alias:
        order = [("_id" if path == "id" else path, direction) for path, direction in order]
    return order


@lru_cache(maxsize=256)
def _text_order(sort: str, id_alias: bool) -> tuple[tuple[str, Any], ...]:
    path, direction = _pair(sort)
    return (("_id" if path == "id" and id_alias else path, direction),)


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | Mapping)
    )


def _pair(key: Any) -> tuple[str, Any]:
    direction: Any
    if isinstance(key, str):
        path = str.__str__(key)  # Page.title is a str whose == builds an expression
        direction = -1 if path.startswith("-") else 1
        path = path[1:] if path[:1] in ("-", "+") else path
    elif _is_pair(key):
        path, direction = str.__str__(key[0]), key[1]
    else:
        raise _refused(key)
    if not path or path != path.strip() or path[0] in "$+-":
        raise _refused(key)
    if isinstance(direction, Mapping):
        return path, direction
    if direction not in (1, -1):
        raise _refused(key)
    return path, int(direction)


def _refused(sort: Any) -> ValueError:
    return ValueError(f"{sort!r} is no sort order: write for example {_EXAMPLES}")
