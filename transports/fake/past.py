"""A collection as it was: reads at a cluster time that has passed (``atClusterTime``).

What has changed since is taken back with the documents that the oplog keeps. Nothing can be
written there.

Spec: https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from transports.fake.bson_text import render
from transports.fake.clock import as_timestamp
from transports.fake.errors import CommandFailure
from transports.fake.indexes import Index
from transports.fake.oplog import Origin
from transports.fake.storage import Collection, in_cluster
from transports.fake.transactions import snapshot_unavailable
from transports.fake.values import Document

_SNAPSHOT_TOO_OLD: Final = 239


class PastCollection:
    """The view of a collection at a cluster time.

    Raises:
        CommandFailure: 246 SnapshotUnavailable if it was created or changed its indexes since,
            239 SnapshotTooOld if what has changed since is no longer known.
    """

    def __init__(self, base: Collection, time: int) -> None:
        self.base = base
        if base.created > time:
            raise snapshot_unavailable(base, time)
        oplog = base.store.oplog
        if time < oplog.forgotten_time:
            raise CommandFailure(
                _SNAPSHOT_TOO_OLD,
                f"Read timestamp {render(as_timestamp(time))} is older than the oldest available "
                "timestamp.",
            )
        self._past: dict[int, Document | None] = {}
        for _, change in oplog.after(oplog.number_at(time + 1)):
            if change.uuid == base.uuid and change.record is not None:
                self._past.setdefault(change.record, change.before)

    @property
    def collection(self) -> Collection:
        """The collection itself."""
        return self.base

    def scan(self) -> Iterator[tuple[int, Document]]:
        """Yield ``(record, document)`` in natural order."""
        if "clusteredIndex" in self.collection.options:
            return iter(in_cluster(self._stored()))
        return self._stored()

    def _stored(self) -> Iterator[tuple[int, Document]]:
        for record in sorted(self.base.records.keys() | self._past.keys()):
            document = self.get(record)
            if document is not None:
                yield record, document

    def get(self, record: int) -> Document | None:
        """Return the document that a record had."""
        if record in self._past:
            return self._past[record]
        return self.base.records.get(record)

    def lookup(self, index: Index, key: Any, *, whole: bool) -> Iterable[int]:
        """Return records that may have had the key."""
        return sorted({*self.base.lookup(index, key, whole=whole), *self._past})

    def insert(self, document: Document, origin: Origin) -> int:
        """Never called: a read concern cannot come with a write."""
        raise NotImplementedError

    def replace(self, record: int, old: Document, new: Document, origin: Origin) -> None:
        """Never called: a read concern cannot come with a write."""
        raise NotImplementedError

    def remove(self, record: int, old: Document, origin: Origin) -> None:
        """Never called: a read concern cannot come with a write."""
        raise NotImplementedError

    def check_writable(self, record: int) -> None:
        """Never called: a read concern cannot come with a write."""
        raise NotImplementedError
