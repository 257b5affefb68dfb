"""Cursors: results that are fetched batch by batch.

A cursor holds an iterator over documents that are immutable, so what it still has to give does not
change; a tailable cursor and a change stream follow what is written.

Spec: https://www.mongodb.com/docs/manual/reference/command/getMore/
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import bson
from bson import Int64

from transports.fake.errors import CURSOR_NOT_FOUND, CommandFailure
from transports.fake.sizes import check_built
from transports.fake.storage import Collection
from transports.fake.values import Document
from transports.fake.wire import CODEC

if TYPE_CHECKING:
    from transports.fake.changes import ChangeStream

DEFAULT_BATCH: Final = 101
"""Documents in a first batch whose size was not asked for; the server's own number."""

MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
CURSOR_TIMEOUT_MS: Final = 600_000

_SAMPLE: Final = 1000
_QUERY_PLAN_KILLED: Final = 175
_CURSOR_KILLED: Final = 237
_CAPPED_POSITION_LOST: Final = 136


class Cursor:
    """An open cursor.

    Attributes:
        namespace: ``database.collection``, as replies carry it.
        collection: what it reads; the cursor dies when that is dropped.
        lsid: id of the session it was opened in, None outside of sessions.
        txn_number: the transaction it was opened in.
        await_data: whether ``getMore`` waits for new documents.
        stream: the change stream behind it.
        killed: whether somebody has ended it.

    Args:
        documents: what it gives; ``limit`` is already applied to it.
        limit: after how many documents it ends, 0 for no limit.
        knows_end: whether the server's plan would know its last document for the last.
    """

    def __init__(
        self,
        namespace: str,
        documents: Iterator[Document],
        *,
        collection: Collection | None = None,
        lsid: bytes | None = None,
        txn_number: int | None = None,
        no_timeout: bool = False,
        tailable: bool = False,
        await_data: bool = False,
        stream: ChangeStream | None = None,
        limit: int = 0,
        knows_end: bool = False,
    ) -> None:
        self.id = Int64(0)
        self.namespace = namespace
        self._documents = documents
        self._returned: list[Document] = []
        self.collection = collection
        self.lsid = lsid
        self.txn_number = txn_number
        self.no_timeout = no_timeout
        self.tailable = tailable
        self.await_data = await_data
        self.stream = stream
        self.last_used_ms = 0
        self.killed = False
        self._limit = limit
        self._given = 0
        self._knows_end = knows_end

    @property
    def stays_open(self) -> bool:
        """Whether it outlives its last document."""
        return self.tailable or self.stream is not None

    def check_alive(self) -> None:
        """Refuse to go on when the cursor or its collection is gone.

        Raises:
            CommandFailure: 237 CursorKilled, 175 QueryPlanKilled.
        """
        if self.killed:
            raise CommandFailure(
                _CURSOR_KILLED, "operation was interrupted because the cursor was killed"
            )
        if self.collection is not None and self.collection.dropped and self.stream is None:
            raise CommandFailure(
                _QUERY_PLAN_KILLED, f"collection dropped. UUID {self.collection.uuid}"
            )

    def take(self, count: int | None) -> list[Document]:
        """Return the next documents, as many as were asked for or fit into a reply."""
        if count is not None and count <= _SAMPLE:
            batch = self._returned[:count]
            del self._returned[:count]
            if len(batch) < count:
                batch.extend(islice(self._documents, count - len(batch)))
            return batch
        batch, self._returned = self._returned, []
        batch.extend(islice(self._documents, _SAMPLE))
        if len(batch) >= _SAMPLE:
            average = max(len(bson.encode({"": batch}, codec_options=CODEC)) // len(batch), 1)
            room = max(MAX_BATCH_BYTES // average - len(batch), 0)
            if count is not None:
                room = min(room, count - len(batch))
            batch.extend(islice(self._documents, room))
        return batch

    def put_back(self, documents: list[Document]) -> None:
        """Return documents that did not fit into a reply."""
        self._returned = documents + self._returned

    def ended(self, batch: list[Document], size: int | None) -> bool:
        """Tell whether the server closes the cursor after a batch.

        A plan that has filled a batch does not look whether there is more, unless it knows.
        """
        self._given += len(batch)
        if self.stays_open:
            return False
        if self._limit and self._given >= self._limit:
            return True
        if size is not None and len(batch) >= size and not self._knows_end:
            return False
        return self.is_exhausted()

    def is_exhausted(self) -> bool:
        """Tell whether nothing is left; looks one document ahead."""
        if self._returned:
            return False
        ahead = next(self._documents, None)
        if ahead is None:
            return True
        self._returned.append(ahead)
        return False


class Cursors:
    """The open cursors of one fake.

    Args:
        now_ms: the wall clock; cursors outside of sessions die after ten idle minutes.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._cursors: dict[int, Cursor] = {}
        self.opened = 0

    def register(self, cursor: Cursor) -> None:
        """Give a cursor its id and keep it for ``getMore``."""
        self.expire()
        while not cursor.id or cursor.id in self._cursors:
            cursor.id = Int64(secrets.randbits(63))
        cursor.last_used_ms = self._now_ms()
        self._cursors[cursor.id] = cursor
        self.opened += 1

    def get(self, cursor_id: int) -> Cursor:
        """Return an open cursor.

        Raises:
            CommandFailure: 43 CursorNotFound.
        """
        self.expire()
        cursor = self._cursors.get(cursor_id)
        if cursor is None:
            raise CommandFailure(CURSOR_NOT_FOUND, f"cursor id {cursor_id} not found")
        cursor.last_used_ms = self._now_ms()
        return cursor

    def is_open(self, cursor_id: int) -> bool:
        """Tell whether ``getMore`` would find the cursor."""
        return cursor_id in self._cursors

    def close(self, cursor_id: int) -> bool:
        """Forget a cursor; tell whether it was open."""
        cursor = self._cursors.pop(cursor_id, None)
        if cursor is None:
            return False
        cursor.killed = True
        return True

    def close_session(self, lsid: bytes) -> None:
        """Forget the cursors of a session."""
        for cursor in [c for c in self._cursors.values() if c.lsid == lsid]:
            self.close(cursor.id)

    def close_all(self) -> None:
        """Forget every cursor."""
        for cursor_id in list(self._cursors):
            self.close(cursor_id)

    def expire(self) -> None:
        """Forget cursors that nobody has used for ten minutes."""
        if not self._cursors:
            return
        limit = self._now_ms() - CURSOR_TIMEOUT_MS
        stale = [
            cursor.id
            for cursor in self._cursors.values()
            if cursor.last_used_ms < limit and cursor.lsid is None and not cursor.no_timeout
        ]
        for cursor_id in stale:
            self.close(cursor_id)

    def __len__(self) -> int:
        return len(self._cursors)


def fitting(documents: list[Document]) -> int:
    """Return how many of the documents fit into one reply; at least one.

    Raises:
        CommandFailure: 10334 for a document that fits into none.
    """
    total = 0
    for count, document in enumerate(documents):
        total += check_built(document) + 8
        if total > MAX_BATCH_BYTES and count:
            return count
    return len(documents)


class Tail:
    """The documents of a capped collection in natural order, as they come.

    It may be asked again after it has ended: more may have been written since.

    Args:
        shape: turns a stored document into the one to return, None for one that does not match.
    """

    def __init__(
        self, collection: Collection, shape: Callable[[Document], Document | None]
    ) -> None:
        self._collection = collection
        self._shape = shape
        self._last = 0

    def __iter__(self) -> Iterator[Document]:
        return self

    def __next__(self) -> Document:
        records = self._collection.records
        if records and self._last and next(iter(records)) > self._last + 1:
            raise CommandFailure(
                _CAPPED_POSITION_LOST,
                "Executor error during getMore :: caused by :: CollectionScan died due to failure "
                f"to restore tailable cursor position. Last seen record id: RecordId({self._last})",
            )
        for record in range(self._last + 1, self._collection.next_record):
            self._last = record
            stored = records.get(record)
            if stored is not None:
                shaped = self._shape(stored)
                if shaped is not None:
                    return shaped
        raise StopIteration
