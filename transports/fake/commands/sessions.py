"""Sessions and the end of transactions.

Spec: https://www.mongodb.com/docs/manual/reference/command/nav-sessions/
"""

from __future__ import annotations

import uuid

from bson import Binary

from transports.fake.commands.registry import command
from transports.fake.operation import Operation
from transports.fake.sessions import SESSION_TIMEOUT_MINUTES, no_such_transaction
from transports.fake.values import Document


@command("startSession")
def run_start_session(operation: Operation) -> Document:
    """Start a session: ``{"id": {"id": UUID}, "timeoutMinutes": 30}``."""
    return {"id": {"id": Binary.from_uuid(uuid.uuid4())}, "timeoutMinutes": SESSION_TIMEOUT_MINUTES}


@command("endSessions", fields={"endSessions": "array"})
def run_end_sessions(operation: Operation) -> Document:
    """End sessions; their cursors go with them."""
    for lsid in operation.command["endSessions"]:
        operation.server.cursors.close_session(bytes(lsid["id"]))
        operation.server.sessions.end(lsid)
    return {}


@command("refreshSessions", fields={"refreshSessions": "array"})
def run_refresh_sessions(operation: Operation) -> Document:
    """Use sessions, so that they do not end."""
    for lsid in operation.command["refreshSessions"]:
        operation.server.sessions.get(lsid)
    return {}


@command("killSessions", fields={"killSessions": "array"})
def run_kill_sessions(operation: Operation) -> Document:
    """Abort the transactions of sessions and close their cursors; none named means all."""
    _kill(operation, operation.command["killSessions"] or [None])
    return {}


@command("killAllSessions", "killAllSessionsByPattern", fields={"killAllSessions": "array"})
def run_kill_all_sessions(operation: Operation) -> Document:
    """Abort every transaction and close the cursors of every session."""
    _kill(operation, [None])
    return {}


def _kill(operation: Operation, lsids: list[Document | None]) -> None:
    server = operation.server
    for lsid in lsids:
        for killed in server.sessions.kill(lsid):
            server.cursors.close_session(killed)


@command(
    "commitTransaction",
    fields={"recoveryToken": "object", "commitTimestamp": ""},
    admin_only=True,
    takes_write_concern=True,
    in_transaction=True,
)
def run_commit_transaction(operation: Operation) -> Document:
    """Commit; committing again what is committed is fine."""
    assert operation.session is not None
    operation.transaction = None
    operation.session.commit()
    return {}


@command(
    "abortTransaction",
    fields={"recoveryToken": "object"},
    admin_only=True,
    takes_write_concern=True,
    in_transaction=True,
)
def run_abort_transaction(operation: Operation) -> Document:
    """Abort."""
    session, transaction = operation.session, operation.transaction
    assert session is not None
    if transaction is None:
        raise no_such_transaction(
            f"Transaction with {{ txnNumber: {session.number} }} has been aborted."
        )
    session.abort()
    operation.transaction = None
    return {}
