"""Sort specifications: ``{"a": 1, "b.c": -1}`` over documents.

An array sorts by its least element ascending and by its greatest descending; an empty array comes
before null, and a missing field is null.

Spec: https://www.mongodb.com/docs/manual/reference/method/cursor.sort/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, Final

from bson import Decimal128, Int64, ObjectId

from transports.fake import metadata
from transports.fake.collation import Collation
from transports.fake.errors import BAD_VALUE, CommandFailure
from transports.fake.expressions.names import check_path
from transports.fake.paths import Parts, array_index
from transports.fake.values import MISSING, Document, as_decimal, is_number, sort_key

_PARALLEL: Final = "cannot sort with keys that are parallel arrays"
_SORTABLE_METADATA: Final = ("textScore", "geoNearDistance", "randVal")
_EMPTY_ARRAY: Final = (0, 0)
_NULL: Final = (5, 0)


def path_key(
    document: Document, parts: Parts, backwards: bool, collation: Collation | None
) -> tuple[int, Any]:
    """Return the key by which a document sorts on one path."""
    value = document.get(parts[0], MISSING)
    if len(parts) == 1 and type(value) is not list:
        return _NULL if value is MISSING else sort_key(value, collation)
    keys = [
        _EMPTY_ARRAY if key is _NOTHING else _NULL if key is MISSING else sort_key(key, collation)
        for key in _key_values(value, parts, 1)
    ]
    if len(keys) == 1:
        return keys[0]
    return max(keys) if backwards else min(keys)


_NOTHING: Final = object()


def _key_values(value: Any, parts: Parts, at: int) -> list[Any]:
    """Return the values that an index on the path would hold, `_NOTHING` for an empty array.

    Unlike a query's walk, a scalar inside an array counts, as null.
    """
    if at == len(parts):
        return (value or [_NOTHING]) if type(value) is list else [value]
    if type(value) is dict:
        return _key_values(value.get(parts[at], MISSING), parts, at + 1)
    if type(value) is not list:
        return [MISSING]
    index = array_index(parts[at])
    if 0 <= index < len(value):
        if any(type(element) is dict and parts[at] in element for element in value):
            raise CommandFailure(
                16746,
                "Ambiguous field name found in array (do not use numeric field names in embedded "
                f"elements in an array), field: '{parts[at]}'",
            )
        if at + 1 == len(parts):
            return [_NOTHING if value[index] == [] else value[index]]
        return _key_values(value[index], parts, at + 1)
    found: list[Any] = []
    for element in value:
        found += _key_values(element, parts, at) if type(element) is dict else [MISSING]
    return found or [MISSING]


def _keys(spec: Mapping[str, Any]) -> list[tuple[Parts, bool]]:
    keys: list[tuple[Parts, bool]] = []
    for path, way in spec.items():
        if type(way) is dict:
            if list(way) == ["$meta"]:
                kind = way["$meta"]
                if kind not in _SORTABLE_METADATA:
                    raise CommandFailure(17312, f"Illegal $meta sort: {kind}")
                keys.append(((metadata.KEY, kind), kind == "textScore"))
                continue
            raise CommandFailure(17312, "$meta is the only expression supported by $sort right now")
        number = _truncated(way) if is_number(way) else 0
        if number not in (1, -1):
            raise CommandFailure(
                15975 if is_number(way) else 15974,
                "$sort key ordering must be 1 (for ascending) or -1 (for descending)",
            )
        keys.append((check_path(path), number < 0))
    return keys


def _check_parallel(node: Any, paths: list[Parts]) -> None:
    """Raise if two paths go into arrays that are not the same one."""
    arrays = []
    for parts in paths:
        value = node
        for at, part in enumerate(parts):
            value = value.get(part, MISSING) if type(value) is dict else MISSING
            if type(value) is list:
                arrays.append((value, parts[at + 1 :]))
                break
    if len(arrays) < 2:
        return
    first = arrays[0][0]
    if any(array is not first for array, _ in arrays):
        raise CommandFailure(BAD_VALUE, _PARALLEL)
    deeper = [rest for _, rest in arrays if rest]
    for element in first if len(deeper) > 1 else ():
        _check_parallel(element, deeper)


def _truncated(way: Any) -> int:
    number = as_decimal(way)
    if not number.is_finite() or abs(number) >= 10:
        return 0
    return 0 if type(way) is Decimal128 and number != int(number) else int(number)


_INTEGERS: Final = frozenset({int, Int64})


def _compares_directly(documents: list[Document], name: str, collation: Collation | None) -> bool:
    """Tell whether Python's order of the field's values is the server's: all of one plain type."""
    kinds = {type(document.get(name, MISSING)) for document in documents}
    if kinds <= _INTEGERS or kinds == {ObjectId} or kinds == {bool}:
        return True
    if kinds == {float}:
        return not any(document[name] != document[name] for document in documents)
    return kinds == {str} and collation is None


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
    paths = [parts for parts, _ in keys]

    def sort(documents: Iterable[Document]) -> list[Document]:
        ordered = list(documents)
        if len(paths) > 1:
            for document in ordered:
                _check_parallel(document, paths)
        for parts, backwards in reversed(keys):
            if len(parts) == 1 and _compares_directly(ordered, parts[0], collation):
                ordered.sort(key=itemgetter(parts[0]), reverse=backwards)
            else:
                ordered.sort(
                    key=lambda document: path_key(document, parts, backwards, collation),
                    reverse=backwards,
                )
        return ordered

    return sort
