"""``getMore`` and ``killCursors``.

Spec: https://www.mongodb.com/docs/manual/reference/command/getMore/
"""

from __future__ import annotations

from typing import Final

from bson import Int64

from transports.fake.commands.registry import command, non_negative
from transports.fake.cursors import Cursor
from transports.fake.errors import BAD_VALUE, UNAUTHORIZED, CommandFailure
from transports.fake.fetching import next_batch
from transports.fake.namespaces import collection_name
from transports.fake.operation import Operation, Wait, Waiting
from transports.fake.sessions import session_label
from transports.fake.values import Document

DEFAULT_AWAIT_MS: Final = 1000
"""How long an awaiting ``getMore`` waits that names no ``maxTimeMS``; the server's own number."""

_WITHOUT_LSID: Final = 50737
_OTHER_LSID: Final = 50738
_NOT_IN_TRANSACTION: Final = 50739
_WITHOUT_TXN_NUMBER: Final = 50740
_OTHER_TXN_NUMBER: Final = 50741


@command(
    "getMore",
    fields={
        "getMore": "long",
        "collection": "string",
        "batchSize": "number",
        "term": "number",
        "lastKnownCommittedOpTime": "object",
    },
    required=("collection",),
    in_transaction=True,
)
def run_get_more(operation: Operation) -> Waiting:
    """Return the next batch: ``{"cursor": {"nextBatch": […], "id": …, "ns": "db.coll"}}``."""
    command = operation.command
    cursor = operation.server.cursors.get(command["getMore"])
    name = collection_name(operation.database, command["collection"])
    size = command.get("batchSize")
    size = (non_negative("batchSize", size) or None) if size is not None else None
    operation.cursor = cursor
    _check_owner(operation, cursor, f"{operation.database}.{name}")
    limit = command.get("maxTimeMS")
    waits = cursor.await_data or cursor.stream is not None
    if limit and not waits:
        raise CommandFailure(
            BAD_VALUE, "cannot set maxTimeMS on getMore command for a non-awaitData cursor"
        )
    deadline = operation.started_ms + (limit or DEFAULT_AWAIT_MS)
    try:
        operation.server.failpoints.before_get_more()
        while True:
            cursor.check_alive()
            if cursor.stream is not None:
                reply = cursor.stream.next_batch(operation, cursor, size)
            else:
                reply = next_batch(operation, cursor, size)
            left = deadline - operation.server.clock.now_ms()
            if not waits or reply["cursor"]["nextBatch"] or not reply["cursor"]["id"] or left <= 0:
                return reply
            yield Wait(left)
    except CommandFailure:
        operation.server.cursors.close(cursor.id)
        raise


def _check_owner(operation: Operation, cursor: Cursor, namespace: str) -> None:
    if cursor.namespace != namespace:
        raise CommandFailure(
            UNAUTHORIZED,
            f"Requested getMore on namespace '{namespace}', but cursor belongs to a different "
            f"namespace {cursor.namespace}",
        )
    prefix = f"Cannot run getMore on cursor {cursor.id}, which was"
    lsid = None if operation.session is None else bytes(operation.session.lsid["id"])
    if cursor.lsid is not None and lsid != cursor.lsid:
        made = f"{prefix} created in session {session_label({'id': cursor.lsid})},"
        if lsid is None:
            raise CommandFailure(_WITHOUT_LSID, f"{made} without an lsid")
        raise CommandFailure(_OTHER_LSID, f"{made} in session {session_label({'id': lsid})}")
    if cursor.lsid is None and lsid is not None and cursor.txn_number is None:
        raise CommandFailure(
            50736,
            f"{prefix} not created in a session, in session {session_label({'id': lsid})}",
        )
    number = None if operation.transaction is None else int(operation.transaction.number)
    if cursor.txn_number is None and number is not None:
        raise CommandFailure(
            _NOT_IN_TRANSACTION, f"{prefix} not created in a transaction, in transaction {number}"
        )
    if cursor.txn_number is not None and number != cursor.txn_number:
        made = f"{prefix} created in transaction {cursor.txn_number},"
        if number is None:
            raise CommandFailure(_WITHOUT_TXN_NUMBER, f"{made} without a txnNumber")
        raise CommandFailure(_OTHER_TXN_NUMBER, f"{made} in transaction {number}")


@command("killCursors", fields={"cursors": "array"}, required=("cursors",), in_transaction=True)
def run_kill_cursors(operation: Operation) -> Document:
    """Close cursors: ``{"cursorsKilled": […], "cursorsNotFound": […], …}``."""
    collection_name(operation.database, operation.command["killCursors"])
    killed: list[Int64] = []
    unknown: list[Int64] = []
    for cursor_id in operation.command["cursors"]:
        found = operation.server.cursors.close(cursor_id)
        (killed if found else unknown).append(cursor_id)
    return {
        "cursorsKilled": killed,
        "cursorsNotFound": unknown,
        "cursorsAlive": [],
        "cursorsUnknown": [],
    }
