"""What a plan would read, counted: keys of the index and documents.

Spec: https://www.mongodb.com/docs/manual/reference/explain-results/#executionstats
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from transports.fake.errors import unsupported
from transports.fake.explaining.bounds import EVERYTHING
from transports.fake.explaining.plans import Plan, Scan
from transports.fake.plan import index_scan
from transports.fake.storage import CollectionView
from transports.fake.values import MISSING, Document

Matches = Callable[[Document], bool]


def execution_stats(view: CollectionView | None, plan: Plan, matches: Matches) -> Document:
    """Return ``executionStats``: how much a plan returns and reads, without any time.

    Args:
        view: the collection.
        plan: the plan.
        matches: whether a document meets the filter.

    Raises:
        CommandFailure: 238 for plans whose reading is not known.
    """
    if view is None:
        return _stats(plan, 0, 0, 0)
    query = plan.query
    if query.skip:
        raise unsupported("the execution statistics of a query with a skip")
    enough = query.limit if query.limit and not plan.sorts else None
    keys = documents = found = 0
    if plan.by_id or plan.scan is None:
        for document in _scanned(view, plan):
            documents += 1
            found += matches(document)
            if found == enough or (plan.by_id and found):
                break
        if plan.by_id:
            keys = documents = found
    else:
        for read in _in_bounds(view, plan.scan):
            keys += 1
            if read is None:
                continue
            documents += not plan.covered
            found += matches(read)
            if found == enough:
                break
    returned = min(found, query.limit) if query.limit else found
    return _stats(plan, returned, keys, documents)


def _scanned(view: CollectionView, plan: Plan) -> Iterator[Document]:
    found = [document for _, document in view.scan()]
    natural = plan.query.sort.get("$natural", 1)
    return iter(found if natural > 0 else found[::-1])


def _in_bounds(view: CollectionView, scan: Scan) -> Iterator[Document | None]:
    """Yield what is read of an index, key by key: the documents, None for a key out of bounds."""
    index = scan.index
    if index.multikey or any(len(each.intervals) != 1 for each in scan.bounds[1:]):
        raise unsupported("the execution statistics of such an index")
    later = [each.intervals[0] for each in scan.bounds[1:]]
    if not scan.bounds[0].intervals:
        return
    told = any(interval != EVERYTHING for interval in later)
    if told and not all(each.intervals[0].is_point for each in scan.bounds[:-1]):
        raise unsupported("the execution statistics of several ranges in one index")
    intervals = scan.bounds[0].intervals
    several = len(intervals) > 1
    before = False
    for _, document in index_scan(view, index, backwards=scan.backwards):
        values = index.keys(document)[0][1]
        inside = any(interval.holds(_value(values[0])) for interval in intervals) and all(
            interval.holds(_value(value)) for interval, value in zip(later, values[1:], strict=True)
        )
        if inside:
            yield document
        elif before and several:
            yield None  # the key behind a range is looked at to find its end
        before = inside


def _value(value: Any) -> Any:
    return None if value is MISSING else value


def _stats(plan: Plan, returned: int, keys: int, documents: int) -> Document:
    stages = {"stage": plan.stages["stage"], "nReturned": returned}
    return {
        "executionSuccess": True,
        "nReturned": returned,
        "executionTimeMillis": 0,
        "totalKeysExamined": keys,
        "totalDocsExamined": documents,
        "executionStages": {**stages, **_counted(plan.stages, keys, documents)},
    }


def _counted(stage: Document, keys: int, documents: int) -> Document:
    """Return a stage of the plan with what it has read."""
    counted = dict(stage)
    if stage["stage"] in ("IDHACK", "IXSCAN"):
        counted["keysExamined"] = keys
    if stage["stage"] in ("IDHACK", "COLLSCAN", "FETCH"):
        counted["docsExamined"] = documents
    if "inputStage" in stage:
        counted["inputStage"] = _counted(stage["inputStage"], keys, documents)
    return counted
