"""``explain``: the plan of another command, which is not run.

Spec: https://www.mongodb.com/docs/manual/reference/command/explain/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from transports.fake.collation_spec import compile_collation
from transports.fake.commands.registry import command, non_negative
from transports.fake.errors import (
    BAD_VALUE,
    COMMAND_NOT_FOUND,
    INVALID_NAMESPACE,
    TYPE_MISMATCH,
    CommandFailure,
    unsupported,
)
from transports.fake.explaining import Plan, Query, execution_stats, plan_query
from transports.fake.matcher import compile_filter
from transports.fake.namespaces import collection_name
from transports.fake.operation import Operation
from transports.fake.storage import CollectionView
from transports.fake.values import Document, bson_type

_VERBOSITIES: Final = ("queryPlanner", "executionStats", "allPlansExecution")
_ILLEGAL_OPERATION: Final = 20
_INVALID_LENGTH: Final = 16
_HUNDRED_MIB: Final = 104_857_600
_PARAMETERS: Final = {
    "internalQueryFacetBufferSizeBytes": _HUNDRED_MIB,
    "internalQueryFacetMaxOutputDocSizeBytes": _HUNDRED_MIB,
    "internalLookupStageIntermediateDocumentMaxSizeBytes": _HUNDRED_MIB,
    "internalDocumentSourceGroupMaxMemoryBytes": _HUNDRED_MIB,
    "internalQueryMaxBlockingSortMemoryUsageBytes": _HUNDRED_MIB,
    "internalQueryProhibitBlockingMergeOnMongoS": 0,
    "internalQueryMaxAddToSetBytes": _HUNDRED_MIB,
    "internalDocumentSourceSetWindowFieldsMaxMemoryBytes": _HUNDRED_MIB,
}
_TOPS: Final = {"count": "COUNT", "update": "UPDATE", "delete": "DELETE"}
_LIMITS: Final = {
    "maxIndexedOrSolutionsReached": False,
    "maxIndexedAndSolutionsReached": False,
    "maxScansToExplodeReached": False,
}


@command(
    "explain",
    fields={"verbosity": "string"},
    read_concerns=("local", "majority", "linearizable", "available", "snapshot"),
)
def run_explain(operation: Operation) -> Document:
    """Return the plan of a command: ``{"queryPlanner": {"winningPlan": {…}, …}, …}``.

    There are no ``queryHash`` and ``planCacheKey`` in it, and stages count what they read only.
    """
    explained = operation.command["explain"]
    if type(explained) is not dict:
        raise CommandFailure(
            TYPE_MISMATCH,
            f"BSON field 'explain.explain' is the wrong type '{bson_type(explained)[1]}', "
            "expected type 'object'",
        )
    verbosity = operation.command.get("verbosity") or "allPlansExecution"
    if verbosity not in _VERBOSITIES:
        raise CommandFailure(
            BAD_VALUE,
            f"Enumeration value '{verbosity}' for field 'explain.verbosity' is not a valid value.",
        )
    name = next(iter(explained), "")
    _check_command(operation, name, explained)
    collection = collection_name(operation.database, explained[name])
    view = operation.find(collection)
    query = _QUERIES[name](explained, view)
    plan = plan_query(view, query)
    planner = _planner(f"{operation.database}.{collection}", name, plan)
    reply: Document = {"explainVersion": "1", "queryPlanner": planner}
    if verbosity != "queryPlanner":
        if name not in ("find", "aggregate"):
            raise unsupported(f"the execution statistics of {name} in explain")
        matcher = compile_filter(query.filter, collation=query.collation, now=operation.now)
        reply["executionStats"] = execution_stats(view, plan, matcher)
        if verbosity == "allPlansExecution":
            reply["executionStats"]["allPlansExecution"] = []
    echoed = {k: v for k, v in explained.items() if k != "$db"}
    echoed["$db"] = operation.database
    return {**reply, "command": echoed, **_server(operation)}


def _check_command(operation: Operation, name: str, explained: Document) -> None:
    if name in _QUERIES:
        if explained.get("$db", operation.database) != operation.database:
            raise CommandFailure(
                INVALID_NAMESPACE,
                f"Mismatched $db in explain command. Expected {operation.database} but got "
                f"{explained['$db']}",
            )
        return
    if name in ("insert", "create", "drop", "getMore", "ping", "createIndexes", "listCollections"):
        raise CommandFailure(_ILLEGAL_OPERATION, f"Cannot explain cmd: {name}")
    raise CommandFailure(COMMAND_NOT_FOUND, f"Explain failed due to unknown command: {name}")


def _planner(namespace: str, name: str, plan: Plan) -> Document:
    stages = plan.stages
    planner: Document = {"namespace": namespace, "indexFilterSet": False}
    counts_all = name == "count" and not plan.query.filter and "inputStage" not in stages
    if counts_all:
        stages = {"stage": "RECORD_STORE_FAST_COUNT"} if stages["stage"] != "EOF" else stages
    elif name in _TOPS:
        if name == "count" and plan.scan is not None:
            raise unsupported("explain of a count by an index")
        stages = {"stage": _TOPS[name], "inputStage": stages}
    changes_by_id = plan.by_id and name in ("update", "delete")
    if not counts_all and not changes_by_id:
        planner["parsedQuery"] = plan.parsed_query
    if name == "aggregate":
        planner["optimizedPipeline"] = True
    if plan.query.collation is not None:
        planner["collation"] = plan.query.collation.spec
    return {**planner, **_LIMITS, "winningPlan": stages, "rejectedPlans": []}


def _server(operation: Operation) -> Document:
    host, _, port = operation.server.address.rpartition(":")
    return {
        "serverInfo": {
            "host": host,
            "port": int(port),
            "version": operation.server.version,
            "gitVersion": "0" * 40,
        },
        "serverParameters": dict(_PARAMETERS),
    }


def _find(explained: Document, view: CollectionView | None) -> Query:
    for option in ("min", "max", "tailable", "showRecordId", "returnKey", "let"):
        if explained.get(option):
            raise unsupported(f"explain of a find with {option}")
    return Query(
        filter=_document(explained, "filter"),
        sort=_document(explained, "sort"),
        projection=_document(explained, "projection"),
        skip=non_negative("skip", explained.get("skip") or 0),
        limit=non_negative("limit", explained.get("limit") or 0),
        hint=explained.get("hint"),
        collation=_collation(explained, view),
    )


def _document(explained: Document, name: str) -> Document:
    value = explained.get(name)
    if value is None:
        return {}
    if type(value) is not dict:
        raise CommandFailure(TYPE_MISMATCH, f"Expected field {name}to be of type object")
    checked: Document = value
    return checked


def _collation(explained: Document, view: CollectionView | None) -> Any:
    if "collation" in explained:
        return compile_collation(explained["collation"])
    return None if view is None else compile_collation(view.collection.options.get("collation"))


def _aggregate(explained: Document, view: CollectionView | None) -> Query:
    """Return the query that a pipeline of ``$match``, ``$sort``, ``$skip``, ``$limit`` is."""
    known = {"$match": "filter", "$sort": "sort", "$skip": "skip", "$limit": "limit"}
    given: Document = {}
    last = -1
    for stage in explained.get("pipeline") or []:
        name = next(iter(stage), "")
        place = list(known).index(name) if name in known else -1
        if place <= last:
            raise unsupported("explain of such a pipeline")
        last = place
        given[known[name]] = stage[name]
    hint: Document = {name: explained[name] for name in ("hint", "collation") if name in explained}
    return _find({**given, **hint}, view)


def _count(explained: Document, view: CollectionView | None) -> Query:
    if explained.get("skip") or explained.get("limit"):
        raise unsupported("explain of a count with a limit")
    return Query(
        filter=_document(explained, "query"),
        hint=explained.get("hint"),
        collation=_collation(explained, view),
    )


def _distinct(explained: Document, view: CollectionView | None) -> Query:
    if view is not None:
        for index in view.collection.indexes.values():
            if explained.get("key") in index.fields:
                raise unsupported("explain of a distinct by an index")
    return Query(filter=_document(explained, "query"), collation=_collation(explained, view))


def _statement(name: str) -> Callable[[Document, CollectionView | None], Query]:
    def query_of(explained: Document, view: CollectionView | None) -> Query:
        statements = explained.get(name) or []
        if len(statements) != 1:
            raise CommandFailure(_INVALID_LENGTH, "explained write batches must be of size 1")
        statement = statements[0]
        return Query(
            filter=_document(statement, "q"),
            hint=statement.get("hint"),
            collation=_collation(statement, view),
        )

    return query_of


def _find_and_modify(explained: Document, view: CollectionView | None) -> Query:
    raise unsupported("explain of findAndModify")


_QUERIES: Final[dict[str, Callable[[Document, CollectionView | None], Query]]] = {
    "find": _find,
    "aggregate": _aggregate,
    "count": _count,
    "distinct": _distinct,
    "update": _statement("updates"),
    "delete": _statement("deletes"),
    "findAndModify": _find_and_modify,
    "findandmodify": _find_and_modify,
}
