"""Pipelines on collections, views and databases.

Spec: https://www.mongodb.com/docs/manual/reference/command/aggregate/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from transports.fake import metadata
from transports.fake.collation import Collation
from transports.fake.cursors import Cursor
from transports.fake.environment import OperationEnvironment
from transports.fake.errors import CommandFailure
from transports.fake.fetching import first_batch
from transports.fake.matcher import Matcher, compile_filter
from transports.fake.operation import Operation
from transports.fake.pipeline import compile_pipeline
from transports.fake.plan import Candidate, candidates, check_text_index
from transports.fake.storage import CollectionView
from transports.fake.values import Document
from transports.fake.views import resolve

_EXECUTION: Final = "PlanExecutor error during aggregation :: caused by :: "


def run_pipeline(
    operation: Operation, name: str, stages: list[Document], size: int, *, close: bool = False
) -> Document:
    """Run a pipeline and return the reply with the first batch.

    Args:
        name: the collection or view; ``""`` for the database itself.
    """
    namespace = f"{operation.database}.{name or '$cmd.aggregate'}"
    view, _, _ = resolve(operation, operation.database, name) if name else (None, "", [])
    documents = pipeline_documents(operation, name, stages)
    collection = None if view is None else view.collection
    cursor = Cursor(namespace, documents, collection=collection)
    writes = bool(stages) and next(iter(stages[-1]), "") in ("$out", "$merge")
    with _executing():
        if writes:
            batch = cursor.take(None)
            cursor.put_back(batch)
        return first_batch(operation, cursor, size, close=close)


@contextmanager
def _executing() -> Iterator[None]:
    """Say of a failure that it is not the pipeline's text but its run that has failed."""
    try:
        yield
    except CommandFailure as failure:
        if not failure.message.startswith(_EXECUTION):
            failure.message = _EXECUTION + failure.message
        raise


def pipeline_documents(
    operation: Operation, name: str, stages: list[Document], database: str | None = None
) -> Iterator[Document]:
    """Compile a pipeline and return the iterator over its documents."""
    named = operation.database if database is None else database
    view: CollectionView | None = None
    prefix: list[Document] = []
    requested = operation.find(name, named) if name else None
    if name:
        view, name, prefix = resolve(operation, named, name)
    collation = operation.collation(requested)
    if stages and type(stages[0].get("$match")) is dict:
        check_text_index(view, stages[0]["$match"])
    variables = operation.variables()
    pipeline = compile_pipeline(
        [*prefix, *stages], collation=collation, variables=variables, database=named
    )
    environment = OperationEnvironment(operation, name, collation, variables)
    environment.database = named
    environment.keeps_metadata = pipeline.keeps_metadata
    source: Iterable[Document] = ()
    hint = operation.command.get("hint")
    if view is not None and (pipeline.reads_source or hint):
        source = _source(operation, view, pipeline.leading_filter, [*prefix, *stages], collation)
        if pipeline.searches_text and pipeline.leading_filter is not None:
            values = {**variables, "NOW": operation.now}
            source = _found(source, pipeline.leading_filter, values, pipeline.keeps_metadata)
    if pipeline.writes is None:
        return iter(pipeline.run(source, environment))
    with _executing():  # the stage that writes does so here
        return iter(pipeline.run(source, environment))


def _found(
    documents: Iterable[Document], matcher: Matcher, variables: Document, keeps_metadata: bool
) -> Iterator[Document]:
    """Yield the documents that a filter with a ``$text`` lets pass, with their scores if wanted."""
    assert matcher.text is not None
    for document in documents:
        if matcher.predicate(document, variables):
            score = matcher.text.score(document)
            if keeps_metadata and score is not None:
                document = metadata.attached(document, {"textScore": score})
            yield document


def _source(
    operation: Operation,
    view: CollectionView,
    matcher: Matcher | None,
    stages: list[Document],
    collation: Collation | None,
) -> Iterable[Document]:
    hint = operation.command.get("hint")
    if matcher is None and not hint:
        found: Iterable[Candidate] = view.scan()
    else:
        query = stages[0].get("$match") if stages else None
        matcher = matcher or compile_filter({})
        found = candidates(view, matcher, collation=collation, hint=hint, query=query)
    return operation.in_time([document for _, document in found])
