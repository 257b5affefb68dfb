"""Snapshots: the data of a fake as it is now, to go back to.

Stored documents are never changed in place, so a snapshot copies references only: taking and
restoring one costs what the number of documents and index keys costs, not their size.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from transports.fake.indexes import Index
from transports.fake.storage import Collection, Store
from transports.fake.values import Document

Entries = dict[Hashable, int | dict[int, None]]


@dataclass(frozen=True, slots=True)
class _IndexState:
    spec: Document
    multikey: bool
    entries: Entries
    leading: Entries | None


@dataclass(frozen=True, slots=True)
class _CollectionState:
    database: str
    name: str
    uuid: UUID
    options: Document
    records: dict[int, Document]
    next_record: int
    bytes: int
    indexes: tuple[_IndexState, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every collection, index and document of one fake, as they were.

    Attributes:
        documents: how many documents it holds.
    """

    collections: tuple[_CollectionState, ...] = field(repr=False)
    databases: frozenset[str]
    with_views: frozenset[str] = field(repr=False)
    ttl_indexes: int = field(repr=False)

    @property
    def documents(self) -> int:
        """How many documents it holds."""
        return sum(len(collection.records) for collection in self.collections)


def take(store: Store) -> Snapshot:
    """Return what is committed; open transactions are not in it."""
    return Snapshot(
        tuple(
            _collection_state(collection)
            for collections in store.catalog.values()
            for collection in collections.values()
        ),
        frozenset(store.databases),
        frozenset(store.with_views),
        store.ttl_indexes,
    )


def restore(store: Store, snapshot: Snapshot) -> None:
    """Put the store back to what it was; it writes nothing to the oplog.

    The caller has ended every transaction and cursor.
    """
    for collections in store.catalog.values():
        for collection in collections.values():
            collection.dropped = True
    store.catalog = {}
    store.clock.tick()
    for state in snapshot.collections:
        store.catalog.setdefault(state.database, {})[state.name] = _collection(store, state)
    store.databases = set(snapshot.databases)
    store.with_views = set(snapshot.with_views)
    store.ttl_indexes = snapshot.ttl_indexes


def _collection_state(collection: Collection) -> _CollectionState:
    return _CollectionState(
        collection.database,
        collection.name,
        collection.uuid,
        dict(collection.options),
        dict(collection.records),
        collection.next_record,
        collection.bytes,
        tuple(
            _IndexState(
                dict(index.spec),
                index.multikey,
                _copied(index.entries),
                None if index.leading is None else _copied(index.leading),
            )
            for index in collection.indexes.values()
        ),
    )


def _collection(store: Store, state: _CollectionState) -> Collection:
    collection = Collection(store, (state.database, state.name), dict(state.options))
    collection.uuid = state.uuid
    collection.records = dict(state.records)
    collection.next_record = state.next_record
    collection.bytes = state.bytes
    collection.indexes = {}
    for kept in state.indexes:
        index = Index(dict(kept.spec))
        index.multikey = kept.multikey
        index.entries = _copied(kept.entries)
        index.leading = None if kept.leading is None else _copied(kept.leading)
        collection.indexes[index.name] = index
    return collection


def _copied(entries: Entries) -> dict[Any, int | dict[int, None]]:
    return {key: dict(held) if type(held) is dict else held for key, held in entries.items()}
