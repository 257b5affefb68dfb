"""Pipelines: which stages they have, which collections they reach, and what is nested in them.

Every stage is one that the policy knows. Those that read or write other collections, or hold
pipelines of their own, are taken apart field by field; in the others every operator counts.

Source: https://www.mongodb.com/docs/manual/reference/operator/aggregation-pipeline/
"""

from __future__ import annotations

from collections.abc import Callable

from transports.lambda_invoke.function.policy.message import (
    ARRAY,
    DOCUMENT,
    STRING,
    Element,
    truthy,
)
from transports.lambda_invoke.function.policy.names import NAMESPACE_STAGES
from transports.lambda_invoke.function.policy.refusal import Violation, shown
from transports.lambda_invoke.function.policy.scope import Scope

_MAX_NESTING = 30  # a server's own limit of views and sub-pipelines is 20


def check_pipeline(
    scope: Scope, element: Element, database: str, collection: str = "", depth: int = 0
) -> None:
    """Refuse a pipeline that the policy does not allow.

    Args:
        scope: what it is held against.
        element: the pipeline.
        database: where it runs.
        collection: what it runs on, ``""`` for the database.
        depth: of pipelines that this one is nested in.

    Raises:
        Violation: it does not allow it.
    """
    if depth > _MAX_NESTING:
        raise Violation(f"takes no more than {_MAX_NESTING} pipelines in each other")
    if element.type != ARRAY:
        raise Violation("takes a pipeline as an array only")
    for stage in scope.elements(element):
        if stage.type == ARRAY:
            raise Violation("takes a stage as a document only")
        if stage.type != DOCUMENT:
            continue  # no stage at all: the server says so
        for part in scope.elements(stage):
            _stage(scope, part, database, collection, depth)


def _stage(scope: Scope, stage: Element, database: str, collection: str, depth: int) -> None:
    if stage.name not in scope.rules.stages:
        raise Violation(f"allows no stage {shown(stage.name)!r} (stages)")
    if stage.name in NAMESPACE_STAGES:
        _STAGES[stage.name](scope, stage, database, collection, depth)
    else:
        scope.evaluated(stage)


def _lookup(scope: Scope, stage: Element, database: str, _: str, depth: int) -> None:
    fields = scope.fields(stage, "$lookup", _LOOKUP)
    source, collection = database, ""
    if b"from" in fields:
        source, collection = _namespace(scope, fields[b"from"], database, "$lookup.from")
        scope.read(source, collection)
    if b"pipeline" in fields:
        check_pipeline(scope, fields[b"pipeline"], source, collection, depth + 1)
    if b"let" in fields:
        scope.evaluated(fields[b"let"])


def _graph_lookup(scope: Scope, stage: Element, database: str, _: str, depth: int) -> None:
    fields = scope.fields(stage, "$graphLookup", _GRAPH_LOOKUP)
    if b"from" in fields:
        scope.read(*_namespace(scope, fields[b"from"], database, "$graphLookup.from"))
    for name in (b"startWith", b"restrictSearchWithMatch"):
        if name in fields:
            scope.evaluated(fields[name])


def _union_with(scope: Scope, stage: Element, database: str, _: str, depth: int) -> None:
    if stage.type == STRING:
        scope.read(database, scope.text(stage, "$unionWith"))
        return
    fields = scope.fields(stage, "$unionWith", _UNION_WITH)
    source = scope.text(fields[b"db"], "$unionWith.db") if b"db" in fields else database
    collection = ""
    if b"coll" in fields:
        collection = scope.text(fields[b"coll"], "$unionWith.coll")
        scope.read(source, collection)
    if b"pipeline" in fields:
        check_pipeline(scope, fields[b"pipeline"], source, collection, depth + 1)


def _facet(scope: Scope, stage: Element, database: str, collection: str, depth: int) -> None:
    if stage.type != DOCUMENT:
        raise Violation("takes $facet as a document only")
    for pipeline in scope.elements(stage):
        check_pipeline(scope, pipeline, database, collection, depth + 1)


def _out(scope: Scope, stage: Element, database: str, _: str, depth: int) -> None:
    scope.write(*_namespace(scope, stage, database, "$out", _OUT), "$out")


def _merge(scope: Scope, stage: Element, database: str, _: str, depth: int) -> None:
    if stage.type == STRING:
        scope.write(database, scope.text(stage, "$merge"), "$merge")
        return
    fields = scope.fields(stage, "$merge", _MERGE)
    if b"into" not in fields:
        raise Violation("takes no $merge without into")
    scope.write(*_namespace(scope, fields[b"into"], database, "$merge.into"), "$merge")
    if b"let" in fields:
        scope.evaluated(fields[b"let"])
    matched = fields.get(b"whenMatched")
    if matched is not None and matched.type != STRING:
        check_pipeline(scope, matched, database, "", depth + 1)


def _change_stream(scope: Scope, stage: Element, database: str, collection: str, _: int) -> None:
    fields = scope.fields(stage, "$changeStream", _CHANGE_STREAM)
    everywhere = fields.get(b"allChangesForCluster")
    if everywhere is not None and truthy(scope.data, everywhere):
        raise Violation("allows no change stream of the whole cluster")
    if collection:
        return
    if scope.rules.restricts_collections:
        raise Violation("allows no change stream of a whole database beside rules of collections")
    if database == scope.rules.staging[0]:
        raise Violation("allows no change stream of the database of the function's own collection")


def _namespace(
    scope: Scope,
    element: Element,
    database: str,
    what: str,
    known: frozenset[bytes] = frozenset({b"db", b"coll"}),
) -> tuple[str, str]:
    """Return database and collection of ``"collection"`` or ``{db: …, coll: …}``."""
    if element.type == STRING:
        return database, scope.text(element, what)
    fields = scope.fields(element, what, known)
    if b"coll" not in fields:
        raise Violation(f"takes no {what} without a collection")
    if b"db" in fields:
        database = scope.text(fields[b"db"], f"{what}.db")
    return database, scope.text(fields[b"coll"], f"{what}.coll")


def check_view(scope: Scope, options: Element, database: str) -> None:
    """Refuse a view's definition, ``{viewOn: …, pipeline: […]}`` among other options.

    Raises:
        Violation: its source or its pipeline is not allowed.
    """
    fields = scope.fields_of(options)
    if b"viewOn" in fields:
        scope.read(database, scope.text(fields[b"viewOn"], "viewOn"))
    if b"pipeline" in fields:
        check_pipeline(scope, fields[b"pipeline"], database)


def _known(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


_LOOKUP = _known("from localField foreignField as let pipeline")
_GRAPH_LOOKUP = _known(
    "from startWith connectFromField connectToField as maxDepth depthField restrictSearchWithMatch"
)
_UNION_WITH = _known("coll db pipeline")
_OUT = _known("db coll timeseries")
_MERGE = _known("into on let whenMatched whenNotMatched")
_CHANGE_STREAM = _known(
    "fullDocument fullDocumentBeforeChange resumeAfter startAfter startAtOperationTime "
    "allChangesForCluster showExpandedEvents"
)
_STAGES: dict[bytes, Callable[[Scope, Element, str, str, int], None]] = {
    b"$changeStream": _change_stream,
    b"$facet": _facet,
    b"$graphLookup": _graph_lookup,
    b"$lookup": _lookup,
    b"$merge": _merge,
    b"$out": _out,
    b"$unionWith": _union_with,
}
