"""Sessions: the state of transactions and the memory of retryable writes.

One `Session` per ``lsid``. It remembers, for its highest transaction number, what each statement
of a retryable write answered, so that a repeated statement is answered and not run again; or the
transaction that carries the number, open, committed or aborted.

Spec: https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final, Literal

from bson import DatetimeMS, Int64

from transports.fake.errors import INVALID_OPTIONS, NO_SUCH_TRANSACTION, CommandFailure
from transports.fake.storage import Store
from transports.fake.transactions import TRANSIENT, Transaction
from transports.fake.values import Document

SESSION_TIMEOUT_MINUTES: Final = 30
TRANSACTION_LIFETIME_MS: Final = 60_000

_TRANSACTION_TOO_OLD: Final = 225
_TRANSACTION_COMMITTED: Final = 256
_CONFLICTING_OPERATION: Final = 117
_INCOMPLETE_HISTORY: Final = 217
NOBODY_DIGEST: Final = bytes.fromhex(
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)
_NOBODY: Final = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
"""SHA-256 of no user at all, which the server prints after a session's id."""

State = Literal["none", "retryable", "open", "committed", "aborted"]


class Session:
    """One logical session.

    Attributes:
        number: the highest transaction number seen, -1 for none.
        state: what carries that number.
        transaction: it, while it is open.
        statements: statement id → what it answered, for retryable writes.
    """

    def __init__(self, lsid: Document) -> None:
        self.lsid = lsid
        self.number = -1
        self.state: State = "none"
        self.transaction: Transaction | None = None
        self.statements: dict[int, Any] = {}
        self.last_used_ms = 0

    @property
    def label(self) -> str:
        """The session as the server names it in messages."""
        return session_label(self.lsid)

    def begin_retryable_write(self, number: int) -> None:
        """Take up a retryable write: a new one forgets the statements of the last.

        Raises:
            CommandFailure: 225 for a number that is older than the session's newest.
        """
        if number == self.number and self.state == "retryable":
            return
        if number < self.number:
            raise CommandFailure(
                _TRANSACTION_TOO_OLD,
                f"Retryable write with txnNumber {number} is prohibited on session {self.label} "
                f"because a newer {self._kind} with txnNumber {self.number} has already started "
                "on this session.",
            )
        if number == self.number:
            raise CommandFailure(
                _INCOMPLETE_HISTORY,
                "Cannot retry a retryable write that has been converted into a transaction",
            )
        self._advance(number, "retryable")

    @property
    def _kind(self) -> str:
        return "retryable write" if self.state == "retryable" else "transaction"

    def _too_old(self, number: int) -> CommandFailure:
        counter = -1 if self.state == "retryable" else 0
        return CommandFailure(
            _TRANSACTION_TOO_OLD,
            f"Cannot start transaction with {{ txnNumber: {number} }} on session {self.label} "
            f"because a newer {self._kind} with txnNumberAndRetryCounter {{ txnNumber: "
            f"{self.number}, txnRetryCounter: {counter} }} has already started on this session.",
        )

    def _advance(self, number: int, state: State) -> None:
        if self.transaction is not None:
            self.transaction.abort()
            self.transaction = None
        self.number, self.state = number, state
        self.statements.clear()

    def start_transaction(self, store: Store, number: int, now_ms: int) -> Transaction:
        """Open a transaction; one that is still open under a lower number is aborted.

        Raises:
            CommandFailure: 225 for an old number, 117 for one that is in use.
        """
        if number < self.number:
            raise self._too_old(number)
        if number == self.number:
            raise CommandFailure(
                _CONFLICTING_OPERATION,
                "Only servers in a sharded cluster can start a new transaction at the active "
                "transaction number",
            )
        self._advance(number, "open")
        self.transaction = Transaction(store, self.lsid, Int64(number), now_ms)
        return self.transaction

    def continue_transaction(self, number: int, *, committing: bool) -> Transaction | None:
        """Return the open transaction of this number; None to commit a committed one again.

        Raises:
            CommandFailure: 225 TransactionTooOld, 251 NoSuchTransaction,
                256 TransactionCommitted.
        """
        if number < self.number:
            raise self._too_old(number)
        if number != self.number or self.state in ("none", "retryable"):
            raise no_such_transaction(
                f"Given transaction number {number} does not match any in-progress transactions. "
                f"The active transaction number is {self.number}"
            )
        if self.state == "aborted":
            raise no_such_transaction(
                f"Transaction with {{ txnNumber: {number} }} has been aborted."
            )
        if self.state == "committed" and not committing:
            raise CommandFailure(
                _TRANSACTION_COMMITTED,
                f"Transaction with {{ txnNumber: {number} }} has been committed.",
            )
        return self.transaction

    def commit(self) -> None:
        """Commit the open transaction, if it is still open."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            self.state = "aborted"
            transaction.commit()
            self.state = "committed"

    def abort(self) -> None:
        """Abort the open transaction, if there is one."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            self.state = "aborted"
            transaction.abort()


class Sessions:
    """The sessions of one fake.

    Args:
        now_ms: the wall clock.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._sessions: dict[bytes, Session] = {}

    def get(self, lsid: Document) -> Session:
        """Return the session of an ``lsid``, a new one the first time."""
        key = bytes(lsid["id"])
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = Session(lsid)
        session.last_used_ms = self._now_ms()
        return session

    def end(self, lsid: Document) -> None:
        """End a session; a transaction that is open stays until its life is over."""
        session = self._sessions.get(bytes(lsid["id"]))
        if session is not None and session.transaction is None and session.state != "retryable":
            del self._sessions[bytes(lsid["id"])]

    def kill(self, lsid: Document | None = None) -> list[bytes]:
        """Abort the transaction of one session or of all; return the ids that were known."""
        if lsid is None:
            killed = list(self._sessions)
        else:
            killed = [key for key in (bytes(lsid["id"]),) if key in self._sessions]
        for key in killed:
            self._sessions[key].abort()
        return killed

    def abort_expired_transactions(self) -> None:
        """Abort the transactions that have been open for longer than the server allows."""
        limit = self._now_ms() - TRANSACTION_LIFETIME_MS
        for session in self._sessions.values():
            if session.transaction is not None and session.transaction.started_ms < limit:
                session.abort()

    def open_transactions(self) -> list[Transaction]:
        """Return the transactions that are open."""
        return [s.transaction for s in self._sessions.values() if s.transaction is not None]

    def described(self) -> list[Document]:
        """Return the documents of ``$listLocalSessions``."""
        return [
            {
                "_id": {"id": session.lsid["id"], "uid": session.lsid.get("uid", NOBODY_DIGEST)},
                "lastUse": DatetimeMS(session.last_used_ms),
            }
            for session in self._sessions.values()
        ]

    def __len__(self) -> int:
        return len(self._sessions)


def session_label(lsid: Document) -> str:
    """Return a session's id as the server names it in messages."""
    return f"{uuid.UUID(bytes=bytes(lsid['id']))} - {_NOBODY} -  - "


def no_such_transaction(message: str) -> CommandFailure:
    """Return the failure of a statement whose transaction is not open."""
    return CommandFailure(NO_SUCH_TRANSACTION, message, labels=(TRANSIENT,))


def invalid_option(message: str) -> CommandFailure:
    """Return the refusal of a session option."""
    return CommandFailure(INVALID_OPTIONS, message)
