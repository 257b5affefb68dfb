"""One index: the keys of a document, the map from key to records, the rule of uniqueness.

Keys are found as the server finds them: an array on an indexed path gives one key per element, a
missing field counts as null. Maps are hash maps, so an equality costs the same at any size.
What options an index may have is `transports.fake.index_specs`, which indexes conflict
`transports.fake.index_conflicts`.

Spec: https://www.mongodb.com/docs/manual/indexes/
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Final

from transports.fake.bson_text import render
from transports.fake.collation import Collation
from transports.fake.collation_spec import compile_collation
from transports.fake.errors import DUPLICATE_KEY, CommandFailure
from transports.fake.geo.index_keys import geo_check
from transports.fake.index_order import Order
from transports.fake.matcher import Matcher, compile_filter
from transports.fake.text.search import check_languages
from transports.fake.values import MISSING, Document, hash_key

_CANNOT_INDEX_PARALLEL_ARRAYS: Final = 171
_HASHED_ARRAY: Final = 16766
_AMBIGUOUS_FIELD: Final = 16746
_EMPTY_ARRAY: Final = ("empty array",)
_DONE: Final[tuple[str, ...]] = ()

Key = tuple[Hashable, tuple[Any, ...]]
"""What an index stores of a document: the hash of a key and the key's values."""


class Index:
    """An index of one collection.

    Args:
        spec: as ``listIndexes`` shows it: ``{"v": 2, "key": {"a": 1}, "name": "a_1", …}``.

    Attributes:
        entries: hash of a key → record, or the records as a dict's keys.
        leading: the same by the first field alone, for a compound index.
        multikey: whether some document gave more than one key.
        order: its entries sorted, for ranges and sorts.
        serves_lookups: False where keys are not values: text, 2dsphere, 2d, wildcard.
    """

    def __init__(self, spec: Document) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.pattern: Document = spec["key"]
        self.fields: tuple[str, ...] = tuple(self.pattern)
        self.unique = bool(spec.get("unique")) or self.pattern == {"_id": 1}
        self.sparse = bool(spec.get("sparse"))
        self.hidden = bool(spec.get("hidden"))
        self.collation: Collation | None = compile_collation(spec.get("collation"))
        partial = spec.get("partialFilterExpression")
        self.partial: Matcher | None = None
        if partial is not None:
            self.partial = compile_filter(partial, collation=self.collation)
        kinds = {kind for kind in self.pattern.values() if type(kind) is str}
        self.hashed = "hashed" in kinds
        self.serves_lookups = not (kinds - {"hashed"}) and not any(
            field.endswith("$**") for field in self.fields
        )
        self._check_geo = geo_check(spec)
        self.multikey = False
        self.entries: dict[Hashable, int | dict[int, None]] = {}
        self.leading: dict[Hashable, int | dict[int, None]] | None = (
            {} if len(self.fields) > 1 else None
        )
        self.order = Order(self.pattern, self.collation)
        self._paths = [tuple(field.split(".")) for field in self.fields]
        self._single = self.fields[0] if len(self.fields) == 1 else None
        self._flat = self._single is not None and "." not in self._single

    def empty_copy(self) -> Index:
        """Return an index of the same specification without entries."""
        return Index(self.spec)

    def keys(self, document: Document) -> list[Key]:
        """Return the keys of a document, each once.

        Raises:
            CommandFailure: 171 for two arrays in one compound key.
        """
        if not self.serves_lookups:
            if self._check_geo is not None:
                self._check_geo(document)
            elif "_fts" in self.pattern:
                check_languages(document, self.spec)
            return []
        if self._flat and self.partial is None and not self.sparse:
            value = document.get(self._single, None)  # type: ignore[arg-type]  # set when _flat
            if type(value) is not list:
                return [(hash_key(value, self.collation), (value,))]
        if self.partial is not None and not self.partial(document):
            return []
        found = _expand([MISSING] * len(self._paths), document, list(self._paths))
        if self.sparse and all(value is MISSING for values in found for value in values):
            return []
        if self.hashed and len(found) > 1:
            raise CommandFailure(
                _HASHED_ARRAY, "hashed indexes do not currently support array values"
            )
        keys: dict[Hashable, tuple[Any, ...]] = {}
        for values in found:
            keys.setdefault(self.hash_of(values), values)
        return list(keys.items())

    def hash_of(self, values: Sequence[Any]) -> Hashable:
        """Return the hash of one key's values; missing counts as null."""
        if self._single is not None:
            return _hash(values[0], self.collation)
        return tuple([_hash(value, self.collation) for value in values])

    def add(self, keys: Iterable[Key], record: int) -> None:
        """Enter a record under its keys."""
        count = 0
        for key, values in keys:
            count += 1
            _enter(self.entries, key, record)
            if self.leading is not None:
                _enter(self.leading, _hash(values[0], self.collation), record)
            if self.order.is_kept:
                self.order.add(values, record)
        if count > 1:
            self.multikey = True

    def discard(self, keys: Iterable[Key], record: int) -> None:
        """Take a record out from under its keys."""
        for key, values in keys:
            _leave(self.entries, key, record)
            if self.leading is not None:
                _leave(self.leading, _hash(values[0], self.collation), record)
            if self.order.is_kept:
                self.order.discard(values, record)

    def records(self, key: Hashable) -> Iterator[int]:
        """Yield the records under the hash of a whole key."""
        return _records(self.entries.get(key))

    def leading_records(self, key: Hashable) -> Iterator[int]:
        """Yield the records whose key begins with a value of this hash."""
        entries = self.entries if self.leading is None else self.leading
        return _records(entries.get(key))

    def clear(self) -> None:
        """Forget every record."""
        self.entries.clear()
        self.order.forget()
        if self.leading is not None:
            self.leading.clear()

    def duplicate_key(self, namespace: str, values: Sequence[Any]) -> CommandFailure:
        """Return the server's E11000 for a second document with this key."""
        shown = {
            field: None if value is MISSING or value is _EMPTY_ARRAY else value
            for field, value in zip(self.fields, values, strict=True)
        }
        collation = self.spec.get("collation")
        extra: Document = {"keyPattern": self.pattern, "keyValue": shown}
        note = ""
        if collation is not None:
            note = f" collation: {render(collation)}"
            extra["collation"] = collation
        return CommandFailure(
            DUPLICATE_KEY,
            f"E11000 duplicate key error collection: {namespace} index: {self.name}{note} "
            f"dup key: {render(shown)}",
            extra=extra,
        )


def _hash(value: Any, collation: Collation | None) -> Hashable:
    if value is MISSING:
        return None
    if value is _EMPTY_ARRAY:
        return _EMPTY_ARRAY  # type: ignore[no-any-return]  # narrowed from Any
    return hash_key(value, collation)


def _enter(entries: dict[Hashable, int | dict[int, None]], key: Hashable, record: int) -> None:
    held = entries.get(key)
    if held is None:
        entries[key] = record
    elif type(held) is dict:
        held[record] = None
    elif held != record:
        entries[key] = {held: None, record: None}  # type: ignore[dict-item]  # held is an int here


def _leave(entries: dict[Hashable, int | dict[int, None]], key: Hashable, record: int) -> None:
    held = entries.get(key)
    if type(held) is dict:
        held.pop(record, None)
        if not held:
            del entries[key]
    elif held == record:
        del entries[key]


def _records(held: int | dict[int, None] | None) -> Iterator[int]:
    if held is None:
        return iter(())
    if type(held) is dict:
        return iter(sorted(held))
    return iter((held,))  # type: ignore[arg-type]  # an int: a dict was answered above


def _expand(values: list[Any], node: Any, rests: list[tuple[str, ...]]) -> list[tuple[Any, ...]]:
    """Return the keys below a node; ``rests`` holds the path that each field has still to walk.

    The server's rule: every field may cross arrays, but all of them the same one.
    """
    array: list[Any] | None = None
    array_name = ""
    members: list[tuple[int, tuple[str, ...]]] = []
    values = list(values)
    for position, rest in enumerate(rests):
        if not rest:
            continue
        value, remaining, name = _walk(node, rest)
        if type(value) is not list:
            values[position] = value
        elif array is None or array is value:
            array, array_name = value, name
            members.append((position, remaining))
        else:
            raise CommandFailure(
                _CANNOT_INDEX_PARALLEL_ARRAYS,
                f"cannot index parallel arrays [{name}] [{array_name}]",
            )
    if array is None:
        return [tuple(values)]
    keys: list[tuple[Any, ...]] = []
    for element in array or [_EMPTY_ARRAY]:
        deeper = [_DONE] * len(rests)
        for position, remaining in members:
            if remaining:
                values[position] = MISSING
                deeper[position] = remaining
            else:
                values[position] = element
        keys.extend(_expand(values, element, deeper) if any(deeper) else [tuple(values)])
    return keys


def _walk(node: Any, path: tuple[str, ...]) -> tuple[Any, tuple[str, ...], str]:
    """Follow a path until it ends or meets an array; return value, what is left, and the name."""
    name = ""
    for depth, part in enumerate(path):
        if type(node) is list and depth:
            if part.isdecimal() and int(part) < len(node):
                if any(type(element) is dict and part in element for element in node):
                    raise CommandFailure(
                        _AMBIGUOUS_FIELD,
                        "Ambiguous field name found in array (do not use numeric field names in "
                        f"embedded elements in an array), field: '{part}' for array: "
                        f"{render(node)}",
                    )
                node = node[int(part)]
                continue
            return node, path[depth:], name
        if type(node) is not dict or part not in node:
            return MISSING, _DONE, name
        node = node[part]
        name = part
    return node, _DONE, name
