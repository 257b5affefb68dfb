"""What a running pipeline asks of the storage: other collections, statistics, a place to write.

Implements `transports.fake.stages.environment.Environment` for one operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from transports.fake.collation import Collation
from transports.fake.errors import INVALID_NAMESPACE, CommandFailure, unsupported
from transports.fake.operation import Operation
from transports.fake.statistics import collection_statistics, index_statistics
from transports.fake.storage import Collection, CollectionView
from transports.fake.values import Document, hash_key
from transports.fake.writes import insert_document, refuse_view, with_id

_MERGE_NEEDS_UNIQUE_INDEX: Final = 51183
_MISSING_ON_FIELD: Final = 51132


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
        operation = self._operation
        if stage == "$currentOp":
            if self.database != "admin" or self.collection:
                raise CommandFailure(
                    INVALID_NAMESPACE,
                    "$currentOp must be run against the 'admin' database with {aggregate: 1}",
                )
            return []
        if stage in ("$listSessions", "$listLocalSessions"):
            return []
        view = operation.find(self.collection)
        if stage == "$indexStats":
            return [] if view is None else index_statistics(operation, view.collection)
        if stage == "$collStats" and view is not None:
            return [collection_statistics(operation, view.collection, spec)]
        raise unsupported(f"the stage {stage}")

    def write_out(self, database: str, collection: str, documents: Iterable[Document]) -> None:
        """Replace a collection by the documents, keeping its indexes and options."""
        operation = self._operation
        new = [with_id(document) for document in documents]
        view = operation.writable(collection, database)
        refuse_view(view)
        target = view.collection
        replaced = Collection(operation.server.store, (database, collection), target.options)
        replaced.uuid = target.uuid
        for index in target.indexes.values():
            if index.name not in replaced.indexes:
                replaced.add_index(index.empty_copy())
        origin = operation.origin()
        written: list[tuple[int, Document]] = []
        for document in new:
            keys = replaced.index_keys(document)
            replaced.check_unique(keys, None)
            replaced.put(0, len(written) + 1, document, keys)
            written.append((len(written) + 1, document))
        replaced.undo.clear()
        target.clear()
        for _, document in written:
            target.insert(document, origin)

    def merge(
        self,
        database: str,
        collection: str,
        on: tuple[str, ...],
        documents: Iterable[tuple[Document, Callable[[Document | None], Document | None]]],
    ) -> None:
        """Merge documents into a collection, each as ``decide`` says."""
        operation = self._operation
        view = operation.find(collection, database)
        if view is not None:
            refuse_view(view)
        if on != ("_id",):
            self._check_unique_on(view, on)
        for document, decide in list(documents):
            target = operation.writable(collection, database)
            stored = _find_on(target, on, document)
            new = decide(None if stored is None else stored[1])
            if new is None:
                continue
            if stored is None:
                insert_document(operation, target, new)
            elif new is not stored[1]:
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
