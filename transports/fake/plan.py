"""Which stored documents to look at for a filter: by a hash lookup where an index allows one.

A plan gives candidates in the order in which the server's plan would; the matcher decides.

Spec: https://www.mongodb.com/docs/manual/core/query-plans/
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final

from transports.fake.bson_text import render_document
from transports.fake.collation import Collation
from transports.fake.errors import BAD_VALUE, INDEX_NOT_FOUND, CommandFailure
from transports.fake.geo.operators import Near
from transports.fake.index_order import range_of
from transports.fake.indexes import Index
from transports.fake.matcher import Matcher
from transports.fake.storage import Collection, CollectionView
from transports.fake.values import MISSING, Document, hash_key, sort_key

Candidate = tuple[int, Document]

_MIN_MAX_WITHOUT_HINT: Final = 51173
_NO_QUERY_EXECUTION_PLANS: Final = 291
_UNINDEXED: Final = frozenset(
    {"$near", "$nearSphere", "$geoWithin", "$geoIntersects", "$size", "$mod", "$bitsAllSet"}
)
_RANGES: Final = frozenset({"$gt", "$gte", "$lt", "$lte", "$in", "$eq", "$regex", "$type"})


def candidates(
    view: CollectionView,
    matcher: Matcher,
    *,
    collation: Collation | None = None,
    hint: Any = None,
    query: Document | None = None,
) -> Iterable[Candidate]:
    """Return the records that may match, as a list that later writes do not change.

    A ``$near`` gives them in the order of their distance.

    Args:
        query: the filter document, to find the index in whose order the server would answer.

    Raises:
        CommandFailure: 2 for a hint that names no index, 291 if no index answers a ``$near``,
            27 if none answers a ``$text``.
    """
    if matcher.near is not None:
        return [candidate for _, _, candidate in nearest(view, matcher.near)]
    if matcher.text is not None:
        if hint:
            raise CommandFailure(BAD_VALUE, "text and hint not allowed in same query")
        found = list(view.scan())
        matcher.text.run((document for _, document in found), text_index(view))
        return found
    if hint:
        return _hinted(view, hint)
    bounds = matcher.index_bounds()
    if bounds:
        index = _choose(view, bounds, collation)
        if index is not None:
            return _looked_up(view, index, bounds)
    conditions = {} if query is None else _conditions(query)
    for index in view.collection.indexes.values():
        condition = conditions.get(index.fields[0], MISSING)
        if condition is not MISSING and _serves_range(index, condition, collation):
            return index_scan(view, index, condition)
    return list(view.scan())


def nearest(view: CollectionView, near: Near) -> list[tuple[float, Any, Candidate]]:
    """Return ``(distance, place, record)`` of the documents in range, the nearest first.

    Raises:
        CommandFailure: 291 if there is no index for it.
    """
    path = ".".join(near.path)
    if not any(
        index.pattern.get(path) in near.index_kinds for index in view.collection.indexes.values()
    ):
        raise CommandFailure(
            _NO_QUERY_EXECUTION_PLANS,
            f"error processing query: ns={view.collection.namespace}Tree: {near}\nSort: {{}}\n"
            "Proj: {}\n planner returned error :: caused by :: unable to find index for $geoNear "
            "query",
        )
    found: list[tuple[float, Any, Candidate]] = []
    for record, document in view.scan():
        measured = near.distance(document)
        if measured is not None:
            found.append((*measured, (record, document)))
    found.sort(key=lambda entry: entry[0])
    return found


def check_text_index(view: CollectionView | None, query: Document, namespace: str = "") -> None:
    """Refuse a text search where no text index is.

    Raises:
        CommandFailure: 27 IndexNotFound.
    """
    if "$text" in query and view is None and namespace:
        raise CommandFailure(
            INDEX_NOT_FOUND,
            f"text index required for $text query (no such collection '{namespace}')",
        )
    if "$text" in query and (
        view is None
        or not any("_fts" in index.pattern for index in view.collection.indexes.values())
    ):
        raise CommandFailure(INDEX_NOT_FOUND, "text index required for $text query")


def text_index(view: CollectionView) -> Document:
    """Return the specification of the text index.

    Raises:
        CommandFailure: 27 IndexNotFound if there is none.
    """
    for index in view.collection.indexes.values():
        if "_fts" in index.pattern:
            return index.spec
    raise CommandFailure(INDEX_NOT_FOUND, "text index required for $text query")


def _conditions(query: Document) -> Document:
    """Return what a filter says of each field, as far as an index may help."""
    conditions: Document = {}
    for name, condition in query.items():
        if name == "$and" and type(condition) is list:
            for part in condition:
                if type(part) is dict:
                    conditions = {**_conditions(part), **conditions}
        elif not name.startswith("$"):
            conditions[name] = condition
    return conditions


def _serves_range(index: Index, condition: Any, collation: Collation | None) -> bool:
    """Tell whether the server would read the index for a condition on its first field."""
    if not index.serves_lookups or index.hashed or index.hidden or index.partial is not None:
        return False
    if type(condition) is dict:
        operators = condition.keys()
        if operators & _UNINDEXED or (condition.get("$exists") is False and index.sparse):
            return False
        if index.sparse and not operators & _RANGES:
            return False
    elif index.sparse and condition is None:
        return False
    theirs = None if index.collation is None else index.collation.spec
    ours = None if collation is None else collation.spec
    return theirs == ours


def sorting_index(view: CollectionView, sort: Document) -> tuple[Index, bool] | None:
    """Return the index in whose order a sort can be answered, and whether backwards.

    Only for a filter that no equality lookup serves: that lookup would be better.
    """
    directions = [direction for direction in sort.values() if type(direction) in (int, float)]
    if len(directions) != len(sort):
        return None
    fields = list(sort)
    for index in view.collection.indexes.values():
        if list(index.fields[: len(fields)]) != fields or index.multikey or index.collation:
            continue
        if index.sparse or index.partial or index.hidden or not index.serves_lookups:
            continue
        turned = {index.pattern[field] * sort[field] < 0 for field in fields}
        if len(turned) == 1 and not index.hashed:
            return index, turned.pop()
    return None


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
        if index.hidden:
            continue
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


def index_scan(
    view: CollectionView,
    index: Index,
    condition: Any = None,
    *,
    backwards: bool = False,
    lazily: bool = False,
) -> Iterable[Candidate]:
    """Return the records of an index in its order, each once.

    Args:
        condition: what the filter says of the index's first field, to narrow the range.
        backwards: in the opposite order.
        lazily: fetch each when it is asked for; only where nothing can be written meanwhile.
    """
    if not index.serves_lookups or index.hashed:
        return list(view.scan())
    if isinstance(view, Collection):
        if not index.order.is_kept:
            index.order.build(
                (values, record)
                for record, document in view.scan()
                for _, values in index.keys(document)
            )
        records = index.order.records(
            *range_of(condition, index.collation, multikey=index.multikey),
            multikey=index.multikey,
        )
        if backwards:
            records.reverse()
        if lazily:
            return zip(records, map(view.records.__getitem__, records), strict=True)
        return [(record, view.records[record]) for record in records]
    found = []
    for record, document in view.scan():
        keys = [index.order.position(values) for _, values in index.keys(document)]
        if keys:
            found.append((min(keys), record, document))
    found.sort(key=lambda entry: entry[:2], reverse=backwards)
    return [(record, document) for _, record, document in found]


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
    low = None if not least else index.order.position(least.values())
    high = None if not below else index.order.position(below.values())
    found = []
    for record, document in index_scan(view, index):
        for _, values in index.keys(document):
            key = index.order.position(values)
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
