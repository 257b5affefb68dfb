"""``createIndexes``, ``listIndexes``, ``dropIndexes``.

Spec: https://www.mongodb.com/docs/manual/reference/command/createIndexes/
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from transports.fake.bson_text import render_document
from transports.fake.commands.registry import check_fields, command, non_negative
from transports.fake.errors import (
    BAD_VALUE,
    INDEX_NOT_FOUND,
    INVALID_OPTIONS,
    NAMESPACE_NOT_FOUND,
    TYPE_MISMATCH,
    CommandFailure,
)
from transports.fake.fetching import list_reply
from transports.fake.index_conflicts import check_together, existing
from transports.fake.index_specs import normalised
from transports.fake.indexes import Index
from transports.fake.namespaces import check_writable, collection_name
from transports.fake.operation import Operation, Waiting
from transports.fake.oplog import Change
from transports.fake.storage import Collection, CollectionView
from transports.fake.timeseries import check_index
from transports.fake.transactions import Transaction
from transports.fake.values import Document, bson_type
from transports.fake.waiting import until_untouched
from transports.fake.writes import refuse_view

_IN_TRANSACTION: Final = 263
_HASHED_UNIQUE: Final = 16764


@command(
    "createIndexes",
    fields={"indexes": "array", "commitQuorum": "", "ignoreUnknownIndexOptions": "flag"},
    required=("indexes",),
    takes_write_concern=True,
    in_transaction=True,
)
def run_create_indexes(operation: Operation) -> Waiting:
    """Create indexes: ``{"numIndexesBefore": 1, "numIndexesAfter": 2, …}``."""
    command = operation.command
    name = collection_name(operation.database, command["createIndexes"])
    check_writable(operation.database, name)
    specs = command["indexes"]
    if not specs:
        raise CommandFailure(BAD_VALUE, "Must specify at least one index to create")
    yield from until_untouched(operation, (operation.database, name))
    view = operation.find(name)
    refuse_view(view)
    # A collection of no consequence: the checks need one, and must come before a creation.
    model = view.collection if view is not None else _model(operation, name)
    requested = [normalised(model, spec, place) for place, spec in enumerate(specs)]
    if model.is_timeseries:
        for spec in requested:
            check_index(spec)
    new = [spec for spec in requested if existing(model.indexes, spec) is None]
    created = view is None or _is_own(operation, name)
    if view is not None and new:
        _check_transaction(operation, view, created=created)
    indexes = _planned(model, new, created=created)
    if view is None:
        view = operation.create(name, {})
    collection = view.collection
    before = len(collection.indexes)
    if indexes:
        _build(operation, collection, indexes)
    reply: Document = {"numIndexesBefore": before, "numIndexesAfter": len(collection.indexes)}
    if not new and not created:
        return {**reply, "note": "all indexes already exist"}
    reply["createdCollectionAutomatically"] = created
    reply["commitQuorum"] = command.get("commitQuorum", "votingMembers")
    if len(new) < len(requested):
        reply["note"] = "index already exists" if new else "all indexes already exist"
    return reply


def _model(operation: Operation, name: str) -> Collection:
    return Collection(operation.server.store, (operation.database, name), {})


def _is_own(operation: Operation, name: str) -> bool:
    """Tell whether the operation's transaction is what made the collection."""
    transaction = operation.transaction
    return (
        isinstance(transaction, Transaction) and (operation.database, name) in transaction.created
    )


def _check_transaction(operation: Operation, view: CollectionView, *, created: bool) -> None:
    if not isinstance(operation.transaction, Transaction):
        return
    if not created or next(view.scan(), None) is not None:
        raise CommandFailure(
            _IN_TRANSACTION,
            f"Cannot create new indexes on {'non-empty' if created else 'existing'} collection "
            f"{view.collection.namespace} in a multi-document transaction.",
        )


def _planned(collection: Collection, specs: list[Document], *, created: bool) -> list[Index]:
    """Return the indexes to build, before there is any trace of them or of a new collection.

    Raises:
        CommandFailure: what `check_together` raises, 16764 for a unique hashed index.
    """
    try:
        check_together(collection.indexes, specs, empty=not collection.records)
        indexes = [Index(spec) for spec in specs]
        if any(index.hashed and index.unique for index in indexes):
            raise CommandFailure(
                _HASHED_UNIQUE,
                "Currently hashed indexes cannot guarantee uniqueness. Use a regular index.",
            )
    except CommandFailure as failure:
        if not created:
            _explain(failure, collection)
        raise
    return indexes


def _explain(failure: CommandFailure, collection: Collection) -> None:
    build = uuid.uuid4()
    if not collection.records:
        failure.message = (
            f"index build on empty collection failed: {build} :: caused by :: {failure.message}"
        )
    failure.message = (
        f"Index build failed: {build}: Collection {collection.namespace} "
        f"( {collection.uuid} ) :: caused by :: {failure.message}"
    )


def _build(operation: Operation, collection: Collection, indexes: list[Index]) -> None:
    added: list[str] = []
    try:
        for index in indexes:
            collection.add_index(index)
            added.append(index.name)
    except CommandFailure as failure:
        for name in added:
            del collection.indexes[name]
        _explain(failure, collection)
        raise
    specs = [index.spec for index in indexes]
    store = operation.server.store
    store.ttl_indexes += sum("expireAfterSeconds" in spec for spec in specs)
    if operation.transaction is None:
        collection.created = store.clock.tick()
        store.oplog.append(
            Change(
                collection.created,
                "createIndexes",
                collection,
                None,
                extra={"operationDescription": {"indexes": specs}},
            )
        )


@command(
    "listIndexes",
    fields={"cursor": "object", "includeIndexBuildInfo": "flag", "includeBuildUUIDs": "flag"},
)
def run_list_indexes(operation: Operation) -> Document:
    """List a collection's indexes: ``{"cursor": {"id": 0, "ns": …, "firstBatch": […]}}``."""
    command = operation.command
    name = collection_name(operation.database, command["listIndexes"])
    cursor = command.get("cursor") or {}
    check_fields("listIndexes.cursor", cursor, {"batchSize": "number"})
    size = cursor.get("batchSize")
    size = None if size is None else non_negative("batchSize", size)
    view = operation.find(name)
    namespace = f"{operation.database}.{name}"
    if view is None:
        raise CommandFailure(NAMESPACE_NOT_FOUND, f"ns does not exist: {namespace}")
    refuse_view(view)
    specs = [index.spec for index in view.collection.indexes.values()]
    return list_reply(operation, specs, namespace, size)


@command(
    "dropIndexes",
    "deleteIndexes",
    fields={"index": ""},
    required=("index",),
    takes_write_concern=True,
)
def run_drop_indexes(operation: Operation) -> Waiting:
    """Drop indexes: ``{"nIndexesWas": 2}``."""
    command = operation.command
    name = collection_name(operation.database, next(iter(command.values())))
    which = command["index"]
    if type(which) not in (str, dict, list):
        raise CommandFailure(
            TYPE_MISMATCH,
            f"BSON field 'dropIndexes.index' is the wrong type '{bson_type(which)[1]}', expected "
            "types '[string, object']",
        )
    yield from until_untouched(operation, (operation.database, name))
    view = operation.find(name)
    if view is None:
        raise CommandFailure(NAMESPACE_NOT_FOUND, f"ns not found {operation.database}.{name}")
    refuse_view(view)
    collection = view.collection
    before = len(collection.indexes)
    dropped = _chosen(collection, which)
    for index in dropped:
        del collection.indexes[index.name]
        operation.server.store.ttl_indexes -= "expireAfterSeconds" in index.spec
    if dropped:
        store = operation.server.store
        collection.created = store.clock.tick()
        described = {"indexes": [index.spec for index in dropped]}
        store.oplog.append(
            Change(
                collection.created,
                "dropIndexes",
                collection,
                None,
                extra={"operationDescription": described},
            )
        )
    reply: Document = {"nIndexesWas": before}
    if which == "*":
        reply["msg"] = "non-_id indexes dropped for collection"
    return reply


def _chosen(collection: Collection, which: Any) -> list[Index]:
    if which == "*":
        return [index for index in collection.indexes.values() if index.fields != ("_id",)]
    if type(which) is dict:
        return [_by_key(collection, which)]
    names = which if type(which) is list else [which]
    chosen = []
    for name in names:
        index = collection.indexes.get(name)
        if index is None:
            raise CommandFailure(INDEX_NOT_FOUND, f"index not found with name [{name}]")
        chosen.append(_droppable(index))
    return chosen


def _by_key(collection: Collection, key: Document) -> Index:
    shown = render_document(key)
    for index in collection.indexes.values():
        if render_document(index.pattern) == shown:
            return _droppable(index)
    raise CommandFailure(INDEX_NOT_FOUND, f"can't find index with key: {shown}")


def _droppable(index: Index) -> Index:
    if index.fields == ("_id",):
        raise CommandFailure(INVALID_OPTIONS, "cannot drop _id index")
    return index
