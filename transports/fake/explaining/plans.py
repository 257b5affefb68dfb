"""The plan of a server where there is but one: what reads, sorts, skips and projects.

Which of several plans a server takes it decides by trying them; that is not known here and refused.

Spec: https://www.mongodb.com/docs/manual/reference/explain-results/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from transports.fake.collation import Collation
from transports.fake.errors import unsupported
from transports.fake.explaining.bounds import EVERYTHING, Bounds, both, bounds_of
from transports.fake.explaining.predicates import Predicate, parsed_query, predicates_of
from transports.fake.indexes import Index
from transports.fake.plan import hinted_index
from transports.fake.storage import CollectionView
from transports.fake.values import Document

_MEMORY_LIMIT: Final = 104_857_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is to be found.

    Attributes:
        filter: the filter.
        sort: the order, ``{}`` for none.
        projection: the projection, ``{}`` for none.
        skip: how many to leave out.
        limit: how many at most; 0 for all.
        hint: the index to use.
        collation: how strings compare.
    """

    filter: Document
    sort: Document = field(default_factory=dict)
    projection: Document = field(default_factory=dict)
    skip: int = 0
    limit: int = 0
    hint: Any = None
    collation: Collation | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """How an index is read.

    Attributes:
        index: which.
        bounds: of each of its fields.
        backwards: in the opposite order.
        residual: the conditions that are left to check on the document.
    """

    index: Index
    bounds: tuple[Bounds, ...]
    backwards: bool
    residual: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan.

    Attributes:
        query: what it answers.
        predicates: the filter's conditions.
        stages: the tree of stages as documents.
        scan: the index that it reads, None if it reads the collection.
        by_id: it finds one ``_id``.
        sorts: it sorts what it has found.
        covered: it reads the index only.
    """

    query: Query
    predicates: tuple[Predicate, ...]
    stages: Document
    scan: Scan | None = None
    by_id: bool = False
    sorts: bool = False
    covered: bool = False

    @property
    def parsed_query(self) -> Document:
        """The filter in its normal form."""
        return parsed_query(list(self.predicates))


def plan_query(view: CollectionView | None, query: Query) -> Plan:
    """Return the plan for a query.

    Raises:
        CommandFailure: 238 where a server would choose between plans, or by rules not known here.
    """
    predicates = predicates_of(query.filter)
    if view is None:
        return Plan(query, tuple(predicates), {"stage": "EOF"})
    if (
        view.collection.is_view
        or view.collection.is_timeseries
        or "clusteredIndex" in (view.collection.options)
    ):
        raise unsupported("explain on a view, a time series or a clustered collection")
    if _finds_one_id(query) and not query.skip and not query.hint:
        stages = _projected({"stage": "IDHACK"}, query, covered=False)
        return Plan(query, tuple(predicates), stages, by_id=True)
    scan, provides = _scan(view, query, predicates)
    sorts = bool(query.sort) and "$natural" not in query.sort and not provides
    covered = scan is not None and not sorts and _covers(scan, query)
    if scan is not None and any(
        type(value) not in (bool, int, float) for value in query.projection.values()
    ):
        raise unsupported("explain of a computed projection over an index")
    stages = _tree(query, predicates, scan, sorts=sorts, covered=covered)
    return Plan(query, tuple(predicates), stages, scan, sorts=sorts, covered=covered)


def _finds_one_id(query: Query) -> bool:
    if list(query.filter) != ["_id"] or query.collation is not None:
        return False
    value = query.filter["_id"]
    if type(value) is dict and next(iter(value), "").startswith("$"):
        return False
    return value is not None and type(value) is not list


def _scan(
    view: CollectionView, query: Query, predicates: list[Predicate]
) -> tuple[Scan | None, bool]:
    """Return the only way to read an index, and whether it gives the order that is asked for."""
    if "$natural" in query.sort or (type(query.hint) is dict and "$natural" in query.hint):
        return None, False
    if query.hint:
        return _with_order(hinted_index(view, query.hint), query, predicates)
    paths = {predicate.path for predicate in predicates}
    usable = []
    for index in view.collection.indexes.values():
        if index.hidden:
            continue
        leads = index.fields[0] in paths
        if not _is_plain(index, query.collation):
            if leads or not index.serves_lookups or index.fields[0] in query.sort:
                raise unsupported(f"explain where the index {index.name} may or may not be used")
        elif leads and _field_bounds(index, index.fields[0], predicates) is not None:
            usable.append(index)
    if len(usable) > 1:
        names = " and ".join(index.name for index in usable)
        raise unsupported(f"explain where a server tries out {names}")
    ordering = _ordering(view, query, usable)
    if usable:
        scan, provides = _with_order(usable[0], query, predicates)
        if ordering and not provides:
            raise unsupported(f"explain where a server tries out {usable[0].name} and a sort")
        return scan, provides
    if len(ordering) > 1:
        raise unsupported("explain where several indexes give the order of a sort")
    return _with_order(ordering[0], query, predicates) if ordering else (None, False)


def _is_plain(index: Index, collation: Collation | None) -> bool:
    return (
        index.serves_lookups
        and not index.hashed
        and not index.sparse
        and index.partial is None
        and index.collation is None
        and collation is None
    )


def _ordering(view: CollectionView, query: Query, besides: list[Index]) -> list[Index]:
    """Return the other indexes in whose order a sort could be answered."""
    if not query.sort:
        return []
    return [
        index
        for index in view.collection.indexes.values()
        if index not in besides
        and not index.hidden
        and _is_plain(index, query.collation)
        and _direction(index, query.sort, ()) is not None
    ]


def _field_bounds(index: Index, path: str, predicates: list[Predicate]) -> Bounds | None:
    """Return what the conditions on a path leave of an index's field, None if nothing is told."""
    found: Bounds | None = None
    for predicate in predicates:
        if predicate.path != path:
            continue
        own = bounds_of(predicate)
        if own is None:
            raise unsupported(f"explain of how the index {index.name} serves {predicate.operator}")
        if found is not None and index.multikey:
            raise unsupported("explain of several conditions on an index with arrays")
        found = own if found is None else both(found, own)
    return found


def _with_order(index: Index, query: Query, predicates: list[Predicate]) -> tuple[Scan, bool]:
    bounds = [_field_bounds(index, path, predicates) for path in index.fields]
    if index.multikey and (len(index.fields) > 1 or "." in index.fields[0]):
        raise unsupported("explain of a compound index with arrays")
    told = [Bounds((EVERYTHING,)) if each is None else each for each in bounds]
    exact = {path for path, each in zip(index.fields, told, strict=True) if each.exact}
    residual = [p for p in predicates if p.path not in exact or p.path not in index.fields]
    if index.multikey:
        residual = [p for p in predicates if p.path not in exact or p.negated]
    points = tuple(
        path
        for path, each in zip(index.fields, told, strict=True)
        if len(each.intervals) == 1 and each.intervals[0].is_point
    )
    turned = _direction(index, query.sort, points) if query.sort else False
    several = len(told[0].intervals) > 1 and list(query.sort) != [index.fields[0]]
    provides = bool(query.sort) and turned is not None
    if index.multikey and told[0].intervals != (EVERYTHING,):
        provides = False  # a document may stand in the range and before it
    if provides and several:
        raise unsupported("explain of a sort over several ranges of an index")
    scan = Scan(index, tuple(told), bool(provides and turned), tuple(residual))
    return scan, provides


def _direction(index: Index, sort: Document, points: tuple[str, ...]) -> bool | None:
    """Tell whether a sort reads an index backwards; None if the index has another order."""
    wanted = [(path, way) for path, way in sort.items() if path not in points]
    kept = [path for path in index.fields if path not in points]
    if any(type(way) is dict for _, way in wanted):
        return None
    if [path for path, _ in wanted] != kept[: len(wanted)]:
        return None
    turned = {bool(float(str(way)) * index.pattern[path] < 0) for path, way in wanted}
    if len(turned) > 1:
        return None
    return turned.pop() if turned else False


def _covers(scan: Scan, query: Query) -> bool:
    shown = query.projection
    if not _is_simple(shown) or scan.residual or scan.index.multikey:
        return False
    fields = {path for path, value in shown.items() if value}
    if shown.get("_id", True):
        fields.add("_id")
    return fields <= set(scan.index.fields)


def _is_simple(projection: Document) -> bool:
    """Tell whether a projection names whole fields to show."""
    values = [value for path, value in projection.items() if path != "_id"] or list(
        projection.values()
    )
    flags = all(type(value) in (bool, int, float) for value in projection.values())
    return bool(values) and flags and all(values) and not any("." in path for path in projection)


def _tree(
    query: Query,
    predicates: list[Predicate],
    scan: Scan | None,
    *,
    sorts: bool,
    covered: bool,
) -> Document:
    skip_early = False
    if scan is None:
        natural = query.sort.get("$natural") or (
            query.hint.get("$natural") if type(query.hint) is dict else None
        )
        tree = _stage("COLLSCAN", parsed_query(predicates))
        tree["direction"] = "backward" if natural is not None and natural < 0 else "forward"
    else:
        tree = _index_scan(scan)
        skip_early = bool(query.skip) and not scan.residual and not sorts
        if skip_early:
            tree = {"stage": "SKIP", "skipAmount": query.skip, "inputStage": tree}
        if not covered:
            tree = {**_stage("FETCH", parsed_query(list(scan.residual))), "inputStage": tree}
    if sorts:
        tree = _sorted(query, tree)
    if query.skip and not skip_early:
        tree = {"stage": "SKIP", "skipAmount": query.skip, "inputStage": tree}
    tree = _projected(tree, query, covered=covered)
    if query.limit and not sorts:
        tree = {"stage": "LIMIT", "limitAmount": query.limit, "inputStage": tree}
    return tree


def _stage(name: str, residual: Document) -> Document:
    return {"stage": name, "filter": residual} if residual else {"stage": name}


def _index_scan(scan: Scan) -> Document:
    index = scan.index
    return {
        "stage": "IXSCAN",
        "keyPattern": index.pattern,
        "indexName": index.name,
        "isMultiKey": index.multikey,
        "multiKeyPaths": {path: [path] if index.multikey else [] for path in index.fields},
        "isUnique": index.unique,
        "isSparse": index.sparse,
        "isPartial": index.partial is not None,
        "indexVersion": index.spec["v"],
        "direction": "backward" if scan.backwards else "forward",
        "indexBounds": {
            path: _bound_texts(each, scan.backwards != (index.pattern[path] < 0))
            for path, each in zip(index.fields, scan.bounds, strict=True)
        },
    }


def _bound_texts(bounds: Bounds, backwards: bool) -> list[str]:
    texts = [interval.text(backwards=backwards) for interval in bounds.intervals]
    return texts[::-1] if backwards else texts


def _sorted(query: Query, tree: Document) -> Document:
    if any(type(way) is dict for way in query.sort.values()):
        raise unsupported("explain of a sort by $meta")
    stage: Document = {"stage": "SORT", "sortPattern": query.sort, "memLimit": _MEMORY_LIMIT}
    if query.limit:
        stage["limitAmount"] = query.skip + query.limit
    return {**stage, "type": "simple", "inputStage": tree}


def _projected(tree: Document, query: Query, *, covered: bool) -> Document:
    if not query.projection:
        return tree
    if covered:
        kind = "PROJECTION_COVERED"
    else:
        kind = "PROJECTION_SIMPLE" if _is_simple(query.projection) else "PROJECTION_DEFAULT"
    return {"stage": kind, "transformBy": query.projection, "inputStage": tree}
