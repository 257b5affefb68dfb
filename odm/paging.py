"""Pages of results: by number, and by key.

A page by number costs what it skips, and shifts when documents are added before it. A page by key
starts after the last document of the page before: an index finds it, and nothing shifts. Its token
holds the sort values of that document.

The filter that means "after this document" must order values as the server's sort does: by type
first, missing and null as one, then by value. Comparisons in a query look at one type only, so the
types that come after are named.

Spec: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
"""

from __future__ import annotations

import base64
import binascii
import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError

from odm.errors import InvalidPageToken

_T = TypeVar("_T")
_VERSION = 1
_MAX_TOKEN = 16_384

Order = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[_T]):
    """A page by its number, counted from 1.

    Attributes:
        items: the documents of this page.
        total: how many documents match altogether.
        number: which page this is.
        size: how many documents a page holds.
    """

    items: list[_T]
    total: int
    number: int
    size: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.total // self.size)

    @property
    def has_next(self) -> bool:
        """Whether a page follows."""
        return self.number < self.pages


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysetPage(Generic[_T]):
    """A page that begins after a key.

    Attributes:
        items: the documents of this page.
        next: the token of the page that follows; None on the last.
    """

    items: list[_T]
    next: str | None


def with_id(order: Order) -> list[tuple[str, int]]:
    """Return *order* made total: documents that it leaves equal are sorted by ``_id``.

    Raises:
        ValueError: a part of it is a ``$meta`` expression.
    """
    for path, direction in order:
        if direction not in (1, -1):
            raise ValueError(f"cannot page by {path!r} in the order {direction!r}")
    if any(path == "_id" for path, _ in order):
        return list(order)
    return [*order, ("_id", order[-1][1] if order else 1)]


def encode_token(
    document: Mapping[str, Any], order: Order, collection: str, codec_options: CodecOptions[Any]
) -> str:
    """Return the token of the page after *document*, which is as the server returned it."""
    values = [_sort_value(document, path) for path, _ in order]
    content = {"v": _VERSION, "c": collection, "s": [list(pair) for pair in order], "k": values}
    encoded = bson.encode(content, codec_options=codec_options)
    return base64.urlsafe_b64encode(encoded).rstrip(b"=").decode("ascii")


def decode_token(
    token: str, order: Order, collection: str, codec_options: CodecOptions[Any]
) -> list[Any]:
    """Return the sort values that *token* holds.

    Raises:
        InvalidPageToken: it is damaged, or of another collection or order.
    """
    try:
        if len(token) > _MAX_TOKEN:
            raise ValueError("too long")
        encoded = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        content: Mapping[str, Any] = bson.decode(encoded, codec_options=codec_options)
        values = content["k"]
        if not isinstance(values, list):
            raise TypeError("no list")
        same = (
            content["v"] == _VERSION
            and content["c"] == collection
            and content["s"] == [list(pair) for pair in order]
            and len(values) == len(order)
        )
        for (path, _), value in zip(order, values, strict=True):
            _type_rank(value, path)
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, BSONError) as error:
        raise InvalidPageToken(
            "the page token is damaged: pass KeysetPage.next back as it was, or None for the start"
        ) from error
    if not same:
        raise InvalidPageToken(
            "the page token was made for another collection or sort order: start again with None"
        )
    return list(values)


def after(order: Order, values: Sequence[Any]) -> dict[str, Any]:
    """Return the filter of the documents that *order* puts after those with these *values*."""
    branches: list[dict[str, Any]] = []
    equal: list[dict[str, Any]] = []
    for (path, direction), value in zip(order, values, strict=True):
        branches += [
            {"$and": [*equal, beyond]} if equal else beyond
            for beyond in _beyond(path, direction, value)
        ]
        equal = [*equal, {path: {"$eq": value}}]
    # Nothing comes after the greatest value there is, and an empty $or is an error.
    return {"$or": branches} if branches else {"$expr": False}


def check_sort_values(documents: Sequence[Mapping[str, Any]], order: Order) -> None:
    """Refuse documents that no page can begin after.

    Raises:
        ValueError: a sort value is an array or of a type that cannot be compared.
    """
    for document in documents:
        for path, _ in order:
            _type_rank(_sort_value(document, path), path)


def _sort_value(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        if isinstance(value, list):
            raise ValueError(f"cannot page by {path!r}: there is an array in it")
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | bson.Decimal128) and not isinstance(value, bool)


def _is_binary(value: Any) -> bool:
    return isinstance(value, bytes | UUID)


# Types in the order in which the server sorts them, with their names for $type.
_TYPES: tuple[tuple[tuple[str, ...], Callable[[Any], bool]], ...] = (
    (("minKey",), lambda value: isinstance(value, bson.MinKey)),
    (("null", "undefined"), lambda value: value is None),
    (("number",), _is_number),
    (("string", "symbol"), lambda value: isinstance(value, str) and type(value) is not bson.Code),
    (("object",), lambda value: isinstance(value, Mapping)),
    (("array",), lambda value: False),
    (("binData",), _is_binary),
    (("objectId",), lambda value: isinstance(value, bson.ObjectId)),
    (("bool",), lambda value: isinstance(value, bool)),
    (("date",), lambda value: isinstance(value, datetime.datetime)),
    (("timestamp",), lambda value: isinstance(value, bson.Timestamp)),
    (("regex",), lambda value: False),
    (("dbPointer",), lambda value: False),
    (("javascript", "javascriptWithScope"), lambda value: False),
    (("maxKey",), lambda value: isinstance(value, bson.MaxKey)),
)
_NULL = 1


def _type_rank(value: Any, path: str) -> int:
    for rank, (_, matches) in enumerate(_TYPES):
        if matches(value):
            return rank
    raise ValueError(f"cannot page by {path!r}: {type(value).__name__} values have no order there")


def _beyond(path: str, direction: int, value: Any) -> list[dict[str, Any]]:
    """Return the alternatives under which the value at *path* comes after *value*."""
    rank = _type_rank(value, path)
    found: list[dict[str, Any]] = []
    if _is_nan(value):
        # NaN is the least number, and no comparison but equality holds for it.
        if direction == 1:
            found.append({path: {"$type": "number", "$ne": value}})
    elif rank not in (0, _NULL, len(_TYPES) - 1):
        found.append({path: {"$gt" if direction == 1 else "$lt": value}})
        if _is_number(value) and direction == -1:
            found.append({path: {"$eq": math.nan}})
    others = _TYPES[rank + 1 :] if direction == 1 else _TYPES[:rank]
    names = [name for type_names, _ in others for name in type_names]
    if "null" in names:
        found.append({path: None})  # matches a missing field too, which $type does not
    # Arrays are refused above, and to look for one the server would read the whole index.
    names = [name for name in names if name not in ("null", "undefined", "array")]
    if names:
        found.append({path: {"$type": names}})
    return found


def _is_nan(value: Any) -> bool:
    if isinstance(value, bson.Decimal128):
        return value.to_decimal().is_nan()
    return isinstance(value, float) and math.isnan(value)
