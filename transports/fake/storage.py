"""What is stored: collections of immutable documents, their indexes, the catalog of them.

A stored document is never changed: a write puts another one in its place, so a reader, a cursor
or a snapshot may keep what it has seen. Transactions live in `transports.fake.transactions`: while
one is open, collections note what each write replaced (``undo``), from which the transaction's
snapshot is told, and which records uncommitted writes hold (``locks``).

This module knows no commands. Writes are recorded in the `Oplog`, from which change streams read.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import bson

from transports.fake.clock import Clock
from transports.fake.collation import Collation
from transports.fake.collation_spec import compile_collation
from transports.fake.indexes import Index, Key
from transports.fake.matcher import Matcher, compile_filter
from transports.fake.namespaces import Namespace
from transports.fake.oplog import Change, Oplog, Origin
from transports.fake.sizes import Received
from transports.fake.values import Document, sort_key
from transports.fake.wire import CODEC

if TYPE_CHECKING:
    from transports.fake.transactions import Transaction, TransactionCollection

_ID_INDEX: Document = {"v": 2, "key": {"_id": 1}, "name": "_id_"}


class WouldConflict(Exception):
    """A write met a record that an open transaction has written and not committed.

    A transaction fails with WriteConflict; any other write waits until the holder has ended.
    """

    def __init__(self, holder: Transaction) -> None:
        super().__init__()
        self.holder = holder


def in_cluster(stored: Iterable[tuple[int, Document]]) -> list[tuple[int, Document]]:
    """Return the records of a clustered collection in natural order, which is that of ``_id``."""
    return sorted(stored, key=lambda entry: sort_key(entry[1]["_id"]))


class CollectionView(Protocol):
    """A collection as one operation sees it: committed data, or a transaction's snapshot."""

    @property
    def collection(self) -> Collection:
        """The collection itself: its name, options and indexes."""
        ...

    def scan(self) -> Iterator[tuple[int, Document]]:
        """Yield ``(record, document)`` in natural order."""
        ...

    def get(self, record: int) -> Document | None:
        """Return the document of a record, None if there is none."""
        ...

    def lookup(self, index: Index, key: Any, *, whole: bool) -> Iterable[int]:
        """Return the records under one key (or its first value): a superset in a transaction."""
        ...

    def insert(self, document: Document, origin: Origin) -> int:
        """Store a document and return its record."""
        ...

    def replace(self, record: int, old: Document, new: Document, origin: Origin) -> None:
        """Put a document in the place of another."""
        ...

    def remove(self, record: int, old: Document, origin: Origin) -> None:
        """Remove a document."""
        ...

    def check_writable(self, record: int) -> None:
        """Raise what a write to the record would raise because of other transactions."""
        ...


class Collection:
    """One collection, committed data; also the `CollectionView` of every non-transaction.

    Attributes:
        records: record number → document, ascending: natural order.
        undo: ``(cluster time, record, document before or None)`` of writes during snapshots.
        locks: record → the open transaction that has written it.
        overlays: open transactions' views with uncommitted writes.
        created: cluster time of its creation or of its last index change.
    """

    def __init__(self, store: Store, name: Namespace, options: Document) -> None:
        self.store = store
        self.database, self.name = name
        self.uuid = uuid.uuid4()
        self.options = options
        self.records: dict[int, Document] = {}
        self.next_record = 1
        self.bytes = 0
        self.undo: list[tuple[int, int, Document | None]] = []
        self.locks: dict[int, Transaction] = {}
        self.overlays: list[TransactionCollection] = []
        self.created = store.clock.latest
        self.dropped = False
        self.validator: Matcher | None = None
        self.collation: Collation | None = None
        self.indexes: dict[str, Index] = {}
        self.apply_options()
        if not self.is_view and not self.is_timeseries:
            index = Index(self._id_index_spec())
            self.indexes[index.name] = index

    @property
    def collection(self) -> Collection:
        """The collection itself."""
        return self

    @property
    def namespace(self) -> str:
        """``database.collection``."""
        return f"{self.database}.{self.name}"

    @property
    def is_view(self) -> bool:
        """Whether it is a view, which stores nothing."""
        return "viewOn" in self.options

    @property
    def is_timeseries(self) -> bool:
        """Whether it is a time-series collection."""
        return "timeseries" in self.options

    @property
    def is_capped(self) -> bool:
        """Whether old documents make room for new ones."""
        return bool(self.options.get("capped"))

    def apply_options(self) -> None:
        """Compile what the options mean; call it after changing them."""
        self.collation = compile_collation(self.options.get("collation"))
        validator = self.options.get("validator")
        self.validator = compile_filter(validator, collation=self.collation) if validator else None

    def _id_index_spec(self) -> Document:
        spec = dict(_ID_INDEX)
        clustered = self.options.get("clusteredIndex")
        if clustered:
            spec = {"v": 2, "key": {"_id": 1}, "name": clustered.get("name", "_id_")}
            spec |= {"unique": True, "clustered": True}
        if "collation" in self.options:
            spec["collation"] = self.options["collation"]
        return spec

    # Reading

    def scan(self) -> Iterator[tuple[int, Document]]:
        """Yield ``(record, document)`` in natural order."""
        if "clusteredIndex" in self.options:
            return iter(in_cluster(self.records.items()))
        return iter(self.records.items())

    def get(self, record: int) -> Document | None:
        """Return the document of a record."""
        return self.records.get(record)

    def lookup(self, index: Index, key: Any, *, whole: bool) -> Iterable[int]:
        """Return the records under one key, or under the first value of a compound key."""
        return index.records(key) if whole else index.leading_records(key)

    # Writing

    def insert(self, document: Document, origin: Origin) -> int:
        """Store a document; 11000 if a unique index has its key."""
        keys = self._unique_keys(document, None)
        for overlay in self.overlays:
            overlay.check_foreign_keys(keys)
        record = self.next_record
        self.next_record += 1
        now = self.store.clock.tick()
        self.put(now, record, document, keys)
        self.store.oplog.append(
            Change(
                now, "insert", self, document["_id"], after=document, origin=origin, record=record
            )
            if not self.is_timeseries
            else None
        )
        if self.is_capped:
            self._make_room(document)
        return record

    def replace(self, record: int, old: Document, new: Document, origin: Origin) -> None:
        """Put *new* in the place of *old*; 11000 if a unique index has its key."""
        self.check_writable(record)
        old_keys, keys = self.index_keys(old), self._unique_keys(new, record)
        for overlay in self.overlays:
            overlay.check_foreign_keys(keys)
        now = self.store.clock.tick()
        self.swap(now, record, old, new, old_keys, keys)
        operation = "replace" if origin.update is None else "update"
        self.store.oplog.append(
            Change(
                now,
                operation,
                self,
                old["_id"],
                before=old,
                after=new,
                origin=origin,
                record=record,
            )
        )

    def remove(self, record: int, old: Document, origin: Origin) -> None:
        """Remove a document."""
        self.check_writable(record)
        now = self.store.clock.tick()
        self.take(now, record, old, self.index_keys(old))
        self.store.oplog.append(
            Change(now, "delete", self, old.get("_id"), before=old, origin=origin, record=record)
            if not self.is_timeseries
            else None
        )

    def check_writable(self, record: int) -> None:
        """Refuse a record that an open transaction has written.

        Raises:
            WouldConflict: with the transaction to wait for.
        """
        holder = self.locks.get(record)
        if holder is not None:
            raise WouldConflict(holder)

    def index_keys(self, document: Document) -> list[tuple[Index, list[Key]]]:
        """Return the keys of a document in every index."""
        return [(index, index.keys(document)) for index in self.indexes.values()]

    def _unique_keys(self, document: Document, record: int | None) -> list[tuple[Index, list[Key]]]:
        """Return the keys of a document; each index refuses it before the next one is asked."""
        found = []
        for index in self.indexes.values():
            entered = index.keys(document)
            if index.unique:
                self.check_unique([(index, entered)], record)
            found.append((index, entered))
        return found

    def check_unique(self, keys: list[tuple[Index, list[Key]]], record: int | None) -> None:
        """Refuse keys that another record has in a unique index.

        Raises:
            CommandFailure: 11000 DuplicateKey.
            WouldConflict: the other record is held by an open transaction.
        """
        for index, entered in keys:
            if index.unique:
                for key, values in entered:
                    for other in index.records(key):
                        if other != record:
                            self.check_writable(other)
                            raise index.duplicate_key(self.namespace, values)

    # The bare changes of state; a transaction's commit uses them too

    def put(
        self, now: int, record: int, document: Document, keys: list[tuple[Index, list[Key]]]
    ) -> None:
        """Store a new record."""
        for index, entered in keys:
            index.add(entered, record)
        if self.records and record < next(reversed(self.records)):
            self.records[record] = document
            self.records = dict(sorted(self.records.items()))
        else:
            self.records[record] = document
        if self.store.snapshots:
            self.undo.append((now, record, None))

    def swap(
        self,
        now: int,
        record: int,
        old: Document,
        new: Document,
        old_keys: list[tuple[Index, list[Key]]],
        keys: list[tuple[Index, list[Key]]],
    ) -> None:
        """Put a document in the place of another."""
        for (index, left), (_, entered) in zip(old_keys, keys, strict=True):
            index.discard(left, record)
            index.add(entered, record)
        self.records[record] = new
        if self.store.snapshots:
            self.undo.append((now, record, old))

    def take(
        self, now: int, record: int, old: Document, keys: list[tuple[Index, list[Key]]]
    ) -> None:
        """Remove a record."""
        for index, left in keys:
            index.discard(left, record)
        del self.records[record]
        if self.store.snapshots:
            self.undo.append((now, record, old))

    def _make_room(self, document: Document) -> None:
        self.bytes += len(bson.encode(document, codec_options=CODEC))
        self._shrink()

    def _shrink(self) -> None:
        limit, most = self.options.get("size", 0), self.options.get("max") or None
        while len(self.records) > 1 and (
            self.bytes > limit or (most is not None and len(self.records) > most)
        ):
            record, oldest = next(iter(self.records.items()))
            self.bytes -= len(bson.encode(oldest, codec_options=CODEC))
            self.take(self.store.clock.latest, record, oldest, self.index_keys(oldest))

    def measure(self) -> None:
        """Count the bytes of a collection that has become capped, and make room."""
        sizes = [len(bson.encode(d, codec_options=CODEC)) for d in self.records.values()]
        self.bytes = sum(sizes)
        if self.records:
            self._shrink()

    def add_index(self, index: Index) -> None:
        """Build an index over the stored documents and add it.

        Raises:
            CommandFailure: 11000 if it is unique and the documents are not, 171, …
        """
        twice: list[tuple[Any, ...]] = []
        for record, document in self.records.items():
            keys = index.keys(document)
            if index.unique:
                twice += [
                    values
                    for key, values in keys
                    if any(other != record for other in index.records(key))
                ]
            index.add(keys, record)
        if twice:  # a server's build sorts the keys before it looks
            raise index.duplicate_key(self.namespace, min(twice, key=index.order.position))
        self.indexes[index.name] = index
        self.created = self.store.clock.latest

    def clear(self) -> None:
        """Remove every record without a trace in the oplog (``$out``, ``convertToCapped``)."""
        now = self.store.clock.latest
        for record, document in list(self.records.items()):
            self.take(now, record, document, self.index_keys(document))
        self.bytes = 0


class Store:
    """Every database of one fake.

    Attributes:
        catalog: database → collection → `Collection`.
        snapshots: the open transactions that read from a snapshot.
        ttl_indexes: how many indexes let documents expire.
        databases: those that have had a collection since they were dropped last.
        with_views: those among them that have had a view or a time series.
        received: the bytes that have come in.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.oplog = Oplog(clock.now_ms)
        self.catalog: dict[str, dict[str, Collection]] = {}
        self.snapshots: set[Transaction] = set()
        self.ttl_indexes = 0
        self.databases: set[str] = set()
        self.with_views: set[str] = set()
        self.received = Received()

    def find(self, database: str, collection: str) -> Collection | None:
        """Return a collection (or view), None if it does not exist."""
        collections = self.catalog.get(database)
        return None if collections is None else collections.get(collection)

    def create(self, database: str, collection: str, options: Document) -> Collection:
        """Create a collection; the caller has made sure that it does not exist."""
        created = Collection(self, (database, collection), options)
        self.publish(created)
        return created

    def publish(self, created: Collection) -> None:
        """Make a collection visible to everybody."""
        created.created = self.clock.tick()
        self.catalog.setdefault(created.database, {})[created.name] = created
        self.databases.add(created.database)
        described = dict(created.options)
        if created.is_view or created.is_timeseries:
            self.with_views.add(created.database)
        else:
            described["idIndex"] = dict(_ID_INDEX)
        self.oplog.append(
            Change(
                created.created, "create", created, None, extra={"operationDescription": described}
            )
        )

    def drop(self, dropped: Collection) -> None:
        """Remove a collection."""
        collections = self.catalog[dropped.database]
        del collections[dropped.name]
        if not collections:
            del self.catalog[dropped.database]
        dropped.dropped = True
        self.oplog.append(Change(self.clock.tick(), "drop", dropped, None))

    def rename(self, renamed: Collection, database: str, name: str, *, replaced: bool) -> None:
        """Give a collection another name; a collection of that name has to be gone."""
        target = self.catalog.get(database, {}).get(name) if replaced else None
        if target is not None:
            target.dropped = True
        now = self.clock.tick()
        old = self.catalog[renamed.database]
        change = Change(
            now,
            "rename",
            renamed,
            None,
            extra={
                "to": {"db": database, "coll": name},
                "dropTarget": None if target is None else target.uuid,
            },
        )
        del old[renamed.name]
        if not old:
            del self.catalog[renamed.database]
        renamed.database, renamed.name = database, name
        self.catalog.setdefault(database, {})[name] = renamed
        self.databases.add(database)
        self.oplog.append(change)

    def drop_database(self, database: str) -> None:
        """Remove a database."""
        for collection in list(self.catalog.get(database, {}).values()):
            self.drop(collection)
        self.databases.discard(database)
        self.with_views.discard(database)
        change = Change(self.clock.tick(), "dropDatabase", None, None)
        change.database = database
        self.oplog.append(change)

    def release_snapshot(self, transaction: Transaction) -> None:
        """Forget a snapshot; the notes for snapshots go with the last one."""
        self.snapshots.discard(transaction)
        if not self.snapshots:
            for collections in self.catalog.values():
                for collection in collections.values():
                    collection.undo.clear()
