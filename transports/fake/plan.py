"""Which stored documents to look at for a filter: by a hash lookup where an index allows one.

A plan gives candidates in the order in which the server's plan would; the matcher decides.

Spec: https://www.mongodb.com/docs/manual/core/query-plans/
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final

from transports.fake.bson_text import render_document
from transports.fake.collation import Collation
from transports.fake.errors import BAD_VALUE, CommandFailure
from transports.fake.indexes import Index
from transports.fake.matcher import Matcher
from transports.fake.storage import CollectionView
from transports.fake.values import Document, hash_key, sort_key

Candidate = tuple[int, Document]

_MIN_MAX_WITHOUT_HINT: Final = 51173


def candidates(
    view: CollectionView,
    matcher: Matcher,
    *,
    collation: Collation | None = None,
    hint: Any = None,
) -> Iterable[Candidate]:
    """Return the records that may match, as a list that later writes do not change.

    Raises:
        CommandFailure: 2 for a hint that names no index.
    """
    if hint:
        return _hinted(view, hint)
    bounds = matcher.index_bounds()
    if bounds:
        index = _choose(view, bounds, collation)
        if index is not None:
            return _looked_up(view, index, bounds)
    return list(view.scan())


def _hinted(view: CollectionView, hint: Any) -> Iterable[Candidate]:
    if type(hint) is dict and next(iter(hint)) == "$natural":
        found = list(view.scan())
        if next(iter(hint.values())) < 0:
            found.reverse()
        return found
    return index_scan(view, hinted_index(view, hint))


def hinted_index(view: CollectionView, hint: Any) -> Index:
    """Return the index that a hint names.

    Raises:
        CommandFailure: 2 if there is none.
    """
    for index in view.collection.indexes.values():
        if index.name == hint or (
            type(hint) is dict and render_document(index.pattern) == render_document(hint)
        ):
            return index
    raise planner_failure(
        view.collection.namespace, "hint provided does not correspond to an existing index"
    )


def planner_failure(namespace: str, reason: str, code: int = BAD_VALUE) -> CommandFailure:
    """Return the planner's refusal."""
    return CommandFailure(
        code,
        f"error processing query: ns={namespace}Tree: $and\nSort: {{}}\nProj: {{}}\n"
        f" planner returned error :: caused by :: {reason}",
    )


def index_scan(view: CollectionView, index: Index) -> list[Candidate]:
    """Return the records of an index in its order, each once."""
    if not index.serves_lookups or index.hashed:
        return list(view.scan())
    directions = [-1 if kind < 0 else 1 for kind in index.pattern.values()]
    found = []
    for record, document in view.scan():
        keys = [_position(index, values, directions) for _, values in index.keys(document)]
        if keys:
            found.append((min(keys), record, document))
    found.sort(key=lambda entry: entry[:2])
    return [(record, document) for _, record, document in found]


def _position(index: Index, values: tuple[Any, ...], directions: list[int]) -> tuple[Any, ...]:
    return tuple(
        [
            key if direction > 0 else _Descending(key)
            for key, direction in zip(
                [_sortable(value, index.collation) for value in values], directions, strict=True
            )
        ]
    )


def _sortable(value: Any, collation: Collation | None) -> tuple[int, Any]:
    if type(value) is tuple:  # the mark of an empty array, which sorts as undefined
        return (0, 0)
    return sort_key(value, collation)


class _Descending:
    """A sort key turned round."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[int, Any]) -> None:
        self.key = key

    def __lt__(self, other: _Descending) -> bool:
        return other.key < self.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and other.key == self.key

    __hash__ = None  # type: ignore[assignment]  # only compared


def bounded(
    view: CollectionView, hint: Any, least: Document | None, below: Document | None
) -> list[Candidate]:
    """Return the records between ``min`` (included) and ``max`` (excluded) of an index.

    Raises:
        CommandFailure: 51173 without a hint.
    """
    if not hint:
        raise planner_failure(
            view.collection.namespace,
            "When using min()/max() a hint of which index to use must be provided",
            _MIN_MAX_WITHOUT_HINT,
        )
    index = hinted_index(view, hint)
    directions = [-1 if kind < 0 else 1 for kind in index.pattern.values()]
    low = None if not least else _position(index, tuple(least.values()), directions)
    high = None if not below else _position(index, tuple(below.values()), directions)
    found = []
    for record, document in index_scan(view, index):
        for _, values in index.keys(document):
            key = _position(index, values, directions)
            if (low is None or not key < low) and (high is None or key < high):
                found.append((record, document))
                break
    return found


def _choose(
    view: CollectionView, bounds: dict[str, list[Any]], collation: Collation | None
) -> Index | None:
    """Return the index whose lookup gives the fewest records, None if none loses nothing."""
    best: Index | None = None
    best_score = 0
    for index in view.collection.indexes.values():
        values = bounds.get(index.fields[0])
        if values is None or not _is_usable(index, values, collation):
            continue
        if index.fields[0] == "_id" and index.unique:
            return index
        score = 1 + index.unique + sum(field in bounds for field in index.fields)
        if score > best_score:
            best, best_score = index, score
    return best


def _is_usable(index: Index, values: list[Any], collation: Collation | None) -> bool:
    if not index.serves_lookups or index.hidden or index.partial is not None:
        return False
    if index.sparse and None in values:
        return False
    theirs = None if index.collation is None else index.collation.spec
    ours = None if collation is None else collation.spec
    return theirs == ours or not any(type(value) in (str, dict, list) for value in values)


def _looked_up(view: CollectionView, index: Index, bounds: dict[str, list[Any]]) -> list[Candidate]:
    records: dict[int, None] = {}
    keys, whole = _keys(index, bounds)
    for key in keys:
        for record in view.lookup(index, key, whole=whole):
            records[record] = None
    found = []
    for record in records:
        document = view.get(record)
        if document is not None:
            found.append((record, document))
    return found


def _keys(index: Index, bounds: dict[str, list[Any]]) -> tuple[list[Hashable], bool]:
    """Return the hashes to look up, in the index's order, and whether they are whole keys."""
    firsts = bounds[index.fields[0]]
    if len(firsts) > 1:
        descending = index.pattern[index.fields[0]] == -1
        firsts = sorted(
            firsts, key=lambda value: sort_key(value, index.collation), reverse=descending
        )
    if len(index.fields) == 1:
        return [index.hash_of((value,)) for value in firsts], True
    if not index.multikey and all(len(bounds.get(field, ())) == 1 for field in index.fields):
        return [index.hash_of([bounds[field][0] for field in index.fields])], True
    return [hash_key(value, index.collation) for value in firsts], False
