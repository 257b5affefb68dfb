"""TTL indexes: documents that end by themselves, as the server's monitor removes them.

The monitor runs when a command arrives and either a minute of the fake's clock has passed or a test
has moved the clock.

Spec: https://www.mongodb.com/docs/manual/core/index-ttl/
"""

from __future__ import annotations

from typing import Any, Final

from bson import DatetimeMS

from transports.fake.errors import CommandFailure
from transports.fake.indexes import Index
from transports.fake.oplog import Origin
from transports.fake.storage import Collection, Store, WouldConflict
from transports.fake.values import Document

INTERVAL_MS: Final = 60_000


class TTLMonitor:
    """Removes expired documents of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last_ms = store.clock.now_ms()
        self._moves = store.clock.moves

    def run_if_due(self) -> None:
        """Remove what has expired if a minute has passed since the last time."""
        if not self._store.ttl_indexes:
            return
        clock = self._store.clock
        now_ms = clock.now_ms()
        if now_ms - self._last_ms >= INTERVAL_MS or clock.moves != self._moves:
            self._last_ms, self._moves = now_ms, clock.moves
            for collections in self._store.catalog.values():
                for collection in list(collections.values()):
                    for index in collection.indexes.values():
                        if "expireAfterSeconds" in index.spec:
                            self._expire(collection, index, now_ms)

    def _expire(self, collection: Collection, index: Index, now_ms: int) -> None:
        limit = now_ms - int(index.spec["expireAfterSeconds"]) * 1000
        for record, document in list(collection.scan()):
            if _earliest(index, document) <= limit:
                try:
                    collection.remove(record, document, Origin())
                except (WouldConflict, CommandFailure):
                    continue


def _earliest(index: Index, document: Document) -> float:
    dates: list[Any] = [
        int(values[0]) for _, values in index.keys(document) if type(values[0]) is DatetimeMS
    ]
    return min(dates, default=float("inf"))
