"""Transactions: a snapshot to read from, writes kept apart until they are committed.

The snapshot costs nothing to take: collections note what later writes replaced. A transaction's
own writes stay in a `TransactionCollection` per collection, with indexes of their own; commit
moves them over, abort forgets them. A record that a transaction has written is locked: another
transaction that writes it fails with WriteConflict at once, as does one whose snapshot is older
than the record's last change.

Spec: https://www.mongodb.com/docs/manual/core/transactions/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from transports.fake.bson_text import render
from transports.fake.clock import as_timestamp
from transports.fake.errors import WRITE_CONFLICT, CommandFailure
from transports.fake.indexes import Index, Key
from transports.fake.namespaces import Namespace
from transports.fake.oplog import Change, Origin
from transports.fake.storage import Collection, Store, WouldConflict, in_cluster
from transports.fake.values import Document

_SNAPSHOT_UNAVAILABLE: Final = 246
TRANSIENT: Final = "TransientTransactionError"


def write_conflict() -> CommandFailure:
    """Return the failure of a write that another one came before."""
    return CommandFailure(
        WRITE_CONFLICT,
        "WriteConflict error: this operation conflicted with another operation. Please retry "
        "your operation or multi-document transaction.",
        labels=(TRANSIENT,),
    )


def snapshot_unavailable(collection: Collection, time: int) -> CommandFailure:
    """Return the failure of a read that is older than its collection."""
    return CommandFailure(
        _SNAPSHOT_UNAVAILABLE,
        "Unable to read from a snapshot due to pending collection catalog changes; please retry "
        f"the operation. Snapshot timestamp is {render(as_timestamp(time))}. Collection minimum is "
        f"{render(as_timestamp(collection.created))}",
        labels=(TRANSIENT,),
    )


class Transaction:
    """One open transaction.

    Attributes:
        snapshot: cluster time of its snapshot, taken by its first statement.
        started_ms: wall clock at its start, for the limit on its life.
        touched: the collections it has read or written, which schema changes must wait for.
    """

    def __init__(self, store: Store, lsid: Document, number: Any, started_ms: int) -> None:
        self.store = store
        self.lsid = lsid
        self.number = number
        self.started_ms = started_ms
        self.snapshot = store.clock.latest
        self.views: dict[int, TransactionCollection] = {}
        self.created: dict[Namespace, TransactionCollection] = {}
        self.touched: set[Namespace] = set()
        self.changes: list[tuple[TransactionCollection, Change]] = []
        store.snapshots.add(self)

    @property
    def has_written(self) -> bool:
        """Whether commit has anything to do."""
        return bool(self.changes or self.created)

    def find(self, database: str, collection: str) -> TransactionCollection | None:
        """Return the transaction's view of a collection, None if it does not exist.

        Raises:
            CommandFailure: 246 SnapshotUnavailable if it changed after the snapshot was taken.
        """
        created = self.created.get((database, collection))
        if created is not None:
            return created
        base = self.store.find(database, collection)
        if base is None:
            return None
        self.touched.add((database, collection))
        view = self.views.get(id(base))
        if view is None:
            if base.created > self.snapshot:
                raise snapshot_unavailable(base, self.snapshot)
            view = self.views[id(base)] = TransactionCollection(self, base)
        return view

    def create(self, database: str, collection: str, options: Document) -> TransactionCollection:
        """Create a collection that only this transaction sees until it is committed."""
        base = Collection(self.store, (database, collection), options)
        view = self.created[database, collection] = TransactionCollection(self, base)
        self.touched.add((database, collection))
        return view

    def commit(self) -> None:
        """Make every write visible at once.

        Raises:
            CommandFailure: 112 if a collection it created exists by now.
        """
        if any(self.store.find(*name) is not None for name in self.created):
            self.abort()
            raise write_conflict()
        for view in self.created.values():
            self.store.publish(view.base)
        now = self.store.clock.tick()
        for view in (*self.views.values(), *self.created.values()):
            view.unlock()
            view.apply(now)
        for place, (_, change) in enumerate(self.changes):
            change.time, change.place = now, place
            self.store.oplog.append(change)
        self._end()

    def abort(self) -> None:
        """Forget every write."""
        for view in self.views.values():
            view.unlock()
        self._end()

    def _end(self) -> None:
        self.views.clear()
        self.created.clear()
        self.changes.clear()
        self.store.release_snapshot(self)


class TransactionCollection:
    """A collection as one transaction sees it.

    Attributes:
        past: record → its document at the snapshot (None: not there yet), where that differs.
        own: record → what the transaction has put there (None: removed).
    """

    def __init__(self, transaction: Transaction, base: Collection) -> None:
        self.transaction = transaction
        self.base = base
        self.past: dict[int, Document | None] = {}
        self.own: dict[int, Document | None] = {}
        self._own_indexes: dict[str, Index] = {}
        self._undone = 0

    @property
    def collection(self) -> Collection:
        """The collection itself."""
        return self.base

    def _follow(self) -> None:
        """Learn what others have committed since the snapshot."""
        undo = self.base.undo
        if self._undone == len(undo):
            return
        for time, record, before in undo[self._undone :]:
            if time > self.transaction.snapshot:
                self.past.setdefault(record, before)
        self._undone = len(undo)

    def scan(self) -> Iterator[tuple[int, Document]]:
        """Yield ``(record, document)`` of the snapshot and the own writes, in natural order."""
        if "clusteredIndex" in self.collection.options:
            return iter(in_cluster(self._stored()))
        return self._stored()

    def _stored(self) -> Iterator[tuple[int, Document]]:
        self._follow()
        if not self.past and not self.own:
            yield from self.base.records.items()
            return
        for record in sorted(self.base.records.keys() | self.past.keys() | self.own.keys()):
            document = self.get(record)
            if document is not None:
                yield record, document

    def get(self, record: int) -> Document | None:
        """Return the document of a record as the transaction sees it."""
        self._follow()
        if record in self.own:
            return self.own[record]
        if record in self.past:
            return self.past[record]
        return self.base.records.get(record)

    def lookup(self, index: Index, key: Any, *, whole: bool) -> Iterable[int]:
        """Return records that may have the key: others' later changes are all among them."""
        self._follow()
        found = set(self.base.lookup(index, key, whole=whole))
        own = self._own_indexes.get(index.name)
        if own is not None:
            found.update(own.records(key) if whole else own.leading_records(key))
        found.update(self.past)
        return sorted(found)

    def insert(self, document: Document, origin: Origin) -> int:
        """Store a document that others see after commit."""
        keys = self.base.index_keys(document)
        self._check_unique(keys, None)
        record = self.base.next_record
        self.base.next_record += 1
        self._write(record, None, document, keys)
        self._note("insert", record, None, document, origin)
        return record

    def replace(self, record: int, old: Document, new: Document, origin: Origin) -> None:
        """Put a document in the place of another, for others after commit."""
        self.check_writable(record)
        keys = self.base.index_keys(new)
        self._check_unique(keys, record)
        self._write(record, old, new, keys)
        operation = "replace" if origin.update is None else "update"
        self._note(operation, record, old, new, origin)

    def remove(self, record: int, old: Document, origin: Origin) -> None:
        """Remove a document, for others after commit."""
        self.check_writable(record)
        self._write(record, old, None, [])
        self._note("delete", record, old, None, origin)

    def check_writable(self, record: int) -> None:
        """Fail if another transaction holds the record or it changed after the snapshot.

        Raises:
            CommandFailure: 112 WriteConflict.
        """
        self._follow()
        holder = self.base.locks.get(record)
        if (holder is not None and holder is not self.transaction) or record in self.past:
            raise write_conflict()

    def check_foreign_keys(self, keys: list[tuple[Index, list[Key]]]) -> None:
        """Refuse another writer's keys that this transaction has taken.

        Raises:
            WouldConflict: to be waited for, or turned into a WriteConflict.
        """
        for index, entered in keys:
            if index.unique:
                own = self._own_indexes.get(index.name)
                if own is not None and any(key in own.entries for key, _ in entered):
                    raise WouldConflict(self.transaction)

    def _check_unique(self, keys: list[tuple[Index, list[Key]]], record: int | None) -> None:
        self._follow()
        for index, entered in keys:
            if not index.unique:
                continue
            own = self._own_indexes.get(index.name)
            for key, values in entered:
                for other in self.base.lookup(index, key, whole=True):
                    if other == record or other in self.own:
                        continue
                    self.check_writable(other)
                    raise index.duplicate_key(self.base.namespace, values)
                if own is not None and any(other != record for other in own.records(key)):
                    raise index.duplicate_key(self.base.namespace, values)
                self._check_past(index, key, values, record)
        for overlay in self.base.overlays:
            if overlay is not self:
                self._check_overlay(overlay, keys)

    def _check_past(
        self, index: Index, key: Any, values: tuple[Any, ...], record: int | None
    ) -> None:
        """Fail where the snapshot still has a key that others have freed since."""
        for other, document in self.past.items():
            if (
                document is not None
                and other != record
                and any(key == held for held, _ in index.keys(document))
            ):
                raise index.duplicate_key(self.base.namespace, values)

    def _check_overlay(
        self, overlay: TransactionCollection, keys: list[tuple[Index, list[Key]]]
    ) -> None:
        for index, entered in keys:
            own = overlay._own_indexes.get(index.name)
            if index.unique and own is not None and any(key in own.entries for key, _ in entered):
                raise write_conflict()

    def _write(
        self,
        record: int,
        old: Document | None,
        new: Document | None,
        keys: list[tuple[Index, list[Key]]],
    ) -> None:
        if not self.own:
            self.base.overlays.append(self)
        self.base.locks[record] = self.transaction
        if old is not None and self.own.get(record) is not None:
            for index, left in self.base.index_keys(old):
                self._own_index(index).discard(left, record)
        self.own[record] = new
        for index, entered in keys:
            self._own_index(index).add(entered, record)

    def _own_index(self, index: Index) -> Index:
        own = self._own_indexes.get(index.name)
        if own is None:
            own = self._own_indexes[index.name] = index.empty_copy()
        return own

    def _note(
        self,
        operation: str,
        record: int,
        before: Document | None,
        after: Document | None,
        origin: Origin,
    ) -> None:
        document = before if after is None else after
        change = Change(
            0,
            operation,
            self.base,
            None if document is None else document.get("_id"),
            before=before,
            after=after,
            origin=origin,
            record=record,
        )
        self.transaction.changes.append((self, change))

    def unlock(self) -> None:
        """Let others write what this transaction has written."""
        if self.own:
            for record in self.own:
                self.base.locks.pop(record, None)
            self.base.overlays.remove(self)

    def apply(self, now: int) -> None:
        """Move the own writes into the collection; conflicts were excluded when writing."""
        base = self.base
        # Removals first: a key that one record gives up may be another's by now.
        moves: list[tuple[int, Document | None, Document | None]] = [
            (record, base.records.get(record), new) for record, new in self.own.items()
        ]
        for record, old, _ in moves:
            if old is not None:
                for index, left in base.index_keys(old):
                    index.discard(left, record)
        for record, old, new in sorted(moves, key=lambda move: move[0]):
            if new is None:
                if old is not None:
                    base.take(now, record, old, [])
            elif old is None:
                base.put(now, record, new, base.index_keys(new))
            else:
                base.swap(now, record, old, new, [], [])
                for index, entered in base.index_keys(new):
                    index.add(entered, record)
        self.own.clear()
