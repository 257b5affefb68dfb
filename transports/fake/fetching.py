"""Batches of a cursor as replies carry them.

Spec: https://www.mongodb.com/docs/manual/reference/command/getMore/
"""

from __future__ import annotations

from bson import Int64
from bson.timestamp import Timestamp

from transports.fake.cursors import Cursor
from transports.fake.operation import Operation
from transports.fake.values import Document


def own(operation: Operation, cursor: Cursor) -> None:
    """Note in a new cursor which session and transaction opened it."""
    if operation.session is not None:
        cursor.lsid = bytes(operation.session.lsid["id"])
    if operation.transaction is not None:
        cursor.txn_number = int(operation.transaction.number)


def first_batch(
    operation: Operation, cursor: Cursor, size: int, *, close: bool = False
) -> Document:
    """Return the reply with a new cursor's first batch; register the cursor if more may follow.

    Args:
        size: documents in the batch at most.
        close: no more is wanted, whatever is left.
    """
    batch = cursor.take(size)
    own(operation, cursor)
    operation.cursor = cursor
    if not close and not cursor.ended(batch, size):
        operation.server.cursors.register(cursor)
    return {"cursor": {"firstBatch": batch, "id": cursor.id, "ns": cursor.namespace}}


def next_batch(operation: Operation, cursor: Cursor, size: int | None) -> Document:
    """Return the reply with a cursor's next batch; forget the cursor if it was the last."""
    batch = cursor.take(size)
    cursor_id = cursor.id
    if cursor.ended(batch, size):
        operation.server.cursors.close(cursor_id)
        cursor_id = Int64(0)
    return {"cursor": {"nextBatch": batch, "id": cursor_id, "ns": cursor.namespace}}


def snapshot_time(operation: Operation) -> Timestamp:
    """Return the cluster time that a read with the concern ``snapshot`` has read at."""
    at = operation.command["readConcern"].get("atClusterTime")
    return operation.server.clock.operation_time if at is None else at


def list_reply(
    operation: Operation, documents: list[Document], namespace: str, size: int | None
) -> Document:
    """Return the reply of ``listCollections`` and ``listIndexes``, whose fields stand otherwise."""
    cursor = Cursor(namespace, iter(documents))
    size = len(documents) + 1 if size is None else size
    batch = cursor.take(size)
    own(operation, cursor)
    operation.cursor = cursor
    if not cursor.is_exhausted():
        operation.server.cursors.register(cursor)
    return {"cursor": {"id": cursor.id, "ns": namespace, "firstBatch": batch}}
