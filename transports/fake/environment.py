"""What a running pipeline asks of the storage: other collections, statistics, a place to write.

Implements `transports.fake.stages.environment.Environment` for one operation.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from transports.fake import metadata
from transports.fake.collation import Collation
from transports.fake.errors import (
    BAD_VALUE,
    DUPLICATE_KEY,
    INVALID_NAMESPACE,
    NAMESPACE_NOT_FOUND,
    CommandFailure,
    unsupported,
)
from transports.fake.geo.geo_near import read_geo_near
from transports.fake.matcher import compile_filter
from transports.fake.namespaces import check_writable
from transports.fake.operation import Operation
from transports.fake.plan import nearest
from transports.fake.sizes import check_built, check_inserted, check_updated, check_upserted
from transports.fake.statistics import collection_statistics, index_statistics
from transports.fake.storage import Collection, CollectionView
from transports.fake.timeseries import refuse_time_series
from transports.fake.values import Document, hash_key
from transports.fake.wire import encode_reply
from transports.fake.writes import insert_document, refuse_view, with_id

ANSWERED_SOURCES: Final = frozenset(
    {"$collStats", "$currentOp", "$geoNear", "$indexStats", "$listLocalSessions", "$listSessions"}
)

_TEMPORARY: Final = "tmp.agg_out."
_MERGE_NEEDS_UNIQUE_INDEX: Final = 51183


class OperationEnvironment:
    """One run of one pipeline, on behalf of one operation."""

    def __init__(
        self,
        operation: Operation,
        collection: str,
        collation: Collation | None,
        variables: dict[str, Any],
    ) -> None:
        self._operation = operation
        self.database = operation.database
        self.collection = collection
        self.variables: Mapping[str, Any] = variables
        self.now = operation.now
        self.collation = collation
        self.keeps_metadata = False

    def read(self, database: str, collection: str) -> Iterable[Document]:
        """Return the documents of a collection or view as a list."""
        view = self._operation.find(collection, database)
        if view is None:
            return []
        if view.collection.is_view:
            from transports.fake.aggregation import pipeline_documents

            return list(pipeline_documents(self._operation, collection, [], database))
        return [document for _, document in view.scan()]

    def source(self, stage: str, spec: Any) -> Iterable[Document]:
        """Yield what a stage that reports on the storage or the server yields."""
        if stage == "$geoNear":
            return self._geo_near(spec)
        if stage not in ANSWERED_SOURCES:
            raise unsupported(f"the stage {stage}")
        operation = self._operation
        if stage == "$currentOp":
            if self.database != "admin" or self.collection:
                raise CommandFailure(
                    INVALID_NAMESPACE,
                    "$currentOp must be run against the 'admin' database with {aggregate: 1}",
                )
            return []
        if stage == "$listLocalSessions":
            return operation.server.sessions.described()
        if stage == "$listSessions":
            return []
        view = operation.find(self.collection)
        if stage == "$indexStats":
            return [] if view is None else index_statistics(operation, view.collection)
        if stage == "$collStats" and view is not None:
            return [collection_statistics(operation, view.collection, spec)]
        raise unsupported(f"the stage {stage}")

    def _geo_near(self, spec: Any) -> Iterable[Document]:
        """Return a collection's documents by their distance."""
        operation, namespace = self._operation, f"{self.database}.{self.collection}"
        view = operation.find(self.collection, self.database)

        def patterns() -> list[Document]:
            if view is None:
                raise CommandFailure(
                    NAMESPACE_NOT_FOUND,
                    f"$geoNear requires a geo index to run, but {namespace} does not exist",
                )
            return [index.pattern for index in view.collection.indexes.values()]

        wanted = read_geo_near(spec, patterns, namespace)
        assert view is not None  # patterns() has looked
        matcher = compile_filter(
            wanted.query, collation=self.collation, let=self.variables, now=self.now
        )
        if matcher.near is not None:
            raise CommandFailure(BAD_VALUE, "Too many geoNear expressions")
        found = nearest(view, wanted.near)
        return (
            metadata.attached(
                wanted.shown(document, distance, place),
                {"geoNearDistance": distance, "geoNearPoint": place},
            )
            if self.keeps_metadata
            else wanted.shown(document, distance, place)
            for distance, place, (_, document) in found
            if matcher(document)
        )

    def write_out(self, database: str, collection: str, documents: Iterable[Document]) -> None:
        """Replace a collection by the documents, keeping its indexes and options."""
        operation = self._operation
        new = [with_id(document) for document in documents]
        existing = operation.find(collection, database)
        refuse_view(existing)
        refuse_time_series(None if existing is None else existing.collection)
        check_writable(database, collection)
        target = None if existing is None else existing.collection
        store = operation.server.store
        store.received.forget()
        name = f"{_TEMPORARY}{uuid.uuid4()}"
        temporary = store.create(
            database, name, {"temp": True} | ({} if target is None else dict(target.options))
        )
        del temporary.options["temp"]
        try:
            for index in () if target is None else target.indexes.values():
                if index.name not in temporary.indexes:
                    temporary.add_index(index.empty_copy())
            for document in new:
                check_inserted(check_built(document))
                insert_document(operation, temporary, document)
        except CommandFailure:
            store.drop(temporary)
            raise
        store.rename(temporary, database, collection, replaced=target is not None)

    def merge(
        self,
        database: str,
        collection: str,
        on: tuple[str, ...],
        documents: Iterable[tuple[Document, Callable[[Document | None], Document | None]]],
    ) -> None:
        """Merge documents into a collection, each as ``decide`` says."""
        operation = self._operation
        store = operation.server.store
        store.received.forget()
        view = operation.find(collection, database)
        if view is not None:
            refuse_view(view)
        if on != ("_id",):
            self._check_unique_on(view, on)
        for document, decide in list(documents):
            check_built(document)
            if operation.find(collection, database) is None:
                check_upserted(store.received, document, None)
            target = operation.writable(collection, database)
            stored = _find_on(target, on, document)
            try:
                new = decide(None if stored is None else stored[1])
            except CommandFailure as failure:
                raise _duplicate(target.collection, on, document, failure) from None
            if new is None:
                continue
            if stored is None:
                check_upserted(store.received, new, None)
                insert_document(operation, target, new)
            elif encode_reply(new) != encode_reply(stored[1]):
                check_updated(store.received, new, None)
                target.replace(stored[0], stored[1], new, operation.origin([]))

    def _check_unique_on(self, view: CollectionView | None, on: tuple[str, ...]) -> None:
        indexes = [] if view is None else list(view.collection.indexes.values())
        for index in indexes:
            if index.unique and set(index.fields) == set(on) and index.partial is None:
                return
        raise CommandFailure(
            _MERGE_NEEDS_UNIQUE_INDEX,
            "Cannot find index to verify that join fields will be unique",
        )


def _duplicate(
    collection: Collection, on: tuple[str, ...], document: Document, failure: CommandFailure
) -> CommandFailure:
    """Return ``whenMatched: "fail"`` as the insert it is on a server: with the key in its way."""
    if failure.code != DUPLICATE_KEY:
        return failure
    index = next(i for i in collection.indexes.values() if set(i.fields) == set(on))
    cause = index.duplicate_key(collection.namespace, [_at(document, f) for f in index.fields])
    cause.message = (
        "PlanExecutor error during aggregation :: caused by :: "
        f"{failure.message} :: caused by :: {cause.message}"
    )
    return cause


def _find_on(
    view: CollectionView, on: tuple[str, ...], document: Document
) -> tuple[int, Document] | None:
    """Return the stored document with the same values at the paths."""
    wanted = [hash_key(_at(document, path)) for path in on]
    if on == ("_id",):
        index = view.collection.indexes["_id_"]
        for record in view.lookup(index, wanted[0], whole=True):
            stored = view.get(record)
            if stored is not None and hash_key(stored["_id"]) == wanted[0]:
                return record, stored
        return None
    for record, stored in view.scan():
        if [hash_key(_at(stored, path)) for path in on] == wanted:
            return record, stored
    return None


def _at(document: Document, path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if type(value) is dict else None
    return value
