"""What has been written, in order: the record from which change streams are told.

An entry keeps the documents before and after a write by reference; nothing is copied and no
event is built until somebody listens.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from transports.fake.values import Document

if TYPE_CHECKING:
    from transports.fake.storage import Collection

KEPT_CHANGES: Final = 50_000
"""Changes kept; a change stream that resumes before them fails, as with a server's oplog."""


@dataclass(slots=True)
class Origin:
    """Where a write came from.

    Attributes:
        update: the ``u`` of an update with operators or of a pipeline; None for a replacement.
        lsid: the session document of a transaction.
        txn_number: its number.
    """

    update: Any = None
    lsid: Document | None = None
    txn_number: Any = None


class Change:
    """One entry.

    Attributes:
        time: cluster time as one integer; the changes of a transaction share one.
        operation: ``insert``, ``update``, ``replace``, ``delete``, ``create``, ``drop``,
            ``rename``, ``dropDatabase``, ``createIndexes``, ``dropIndexes``, ``modify``.
        record: the record that was written.
        place: its number among the changes of one transaction.
        wall_ms: milliseconds since 1970 when it was written.
        images: whether the collection kept pre- and post-images when it was written.
    """

    __slots__ = (
        "after",
        "before",
        "collection",
        "database",
        "extra",
        "id",
        "images",
        "operation",
        "origin",
        "place",
        "record",
        "time",
        "uuid",
        "wall_ms",
    )

    def __init__(
        self,
        time: int,
        operation: str,
        collection: Collection | None,
        id_: Any,
        *,
        before: Document | None = None,
        after: Document | None = None,
        origin: Origin | None = None,
        place: int = 0,
        record: int | None = None,
        extra: Document | None = None,
    ) -> None:
        self.time = time
        self.operation = operation
        self.id = id_
        self.before = before
        self.after = after
        self.origin = origin
        self.place = place
        self.record = record
        self.extra = extra
        self.database = ""
        self.collection = ""
        self.uuid: uuid.UUID | None = None
        self.images = False
        self.wall_ms = 0
        if collection is not None:
            self.database = collection.database
            self.collection = collection.name
            self.uuid = None if collection.is_view else collection.uuid
            images = collection.options.get("changeStreamPreAndPostImages")
            self.images = bool(images and images.get("enabled"))


class Oplog:
    """The latest changes, oldest first.

    Attributes:
        first: the number of the oldest change kept; numbers count from 0 and are never reused.
        forgotten_time: cluster time of the newest change that is no longer kept, 0 if all are.

    Args:
        now_ms: the wall clock.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._changes: deque[Change] = deque()
        self.first = 0
        self.forgotten_time = 0

    @property
    def end(self) -> int:
        """The number that the next change will have."""
        return self.first + len(self._changes)

    def append(self, change: Change | None) -> None:
        """Add a change; None is a write that nobody can listen to."""
        if change is None:
            return
        change.wall_ms = self._now_ms()
        self._changes.append(change)
        if len(self._changes) > KEPT_CHANGES:
            self.forgotten_time = self._changes.popleft().time
            self.first += 1

    def after(self, number: int) -> Iterator[tuple[int, Change]]:
        """Yield ``(number, change)`` from a number on."""
        for place in range(max(number, self.first), self.end):
            yield place, self._changes[place - self.first]

    def number_at(self, time: int) -> int:
        """Return the number of the first change at or after a cluster time."""
        low, high = 0, len(self._changes)
        while low < high:
            middle = (low + high) // 2
            if self._changes[middle].time < time:
                low = middle + 1
            else:
                high = middle
        return self.first + low
