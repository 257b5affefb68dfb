"""The statements of a write command: their ids, what was answered before, the reply.

``insert``, ``update`` and ``delete`` carry many statements. Each has an id under which a retryable
write is remembered; each fails alone.

Spec: https://github.com/mongodb/specifications/blob/master/source/retryable-writes/retryable-writes.md
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from transports.fake.bson_text import render_document
from transports.fake.errors import CommandFailure
from transports.fake.handshake import ELECTION_ID, MAX_WRITE_BATCH
from transports.fake.operation import Operation, Wait
from transports.fake.storage import WouldConflict
from transports.fake.values import Document

T = TypeVar("T")

_INVALID_LENGTH: Final = 16
_FAIL_THE_COMMAND: Final = frozenset({112, 246, 251, 263, 238})
"""WriteConflict and the like end the transaction, so they are the command's failure; and what the
fake cannot do must not hide among write errors."""


class Statements:
    """The run of one write command's statements.

    Attributes:
        n: documents written, as the reply counts them.
        errors: the ``writeErrors`` so far.
        retried: ids of statements that had been answered before.
    """

    def __init__(self, operation: Operation, count: int) -> None:
        self.operation = operation
        self.n = 0
        self.errors: list[Document] = []
        self.retried: list[int] = []
        self.ordered = operation.command.get("ordered", True)
        command = operation.command
        if not 1 <= count <= MAX_WRITE_BATCH:
            raise CommandFailure(
                _INVALID_LENGTH,
                f"Write batch sizes must be between 1 and {MAX_WRITE_BATCH}. "
                f"Got {count} operations.",
            )
        ids = command.get("stmtIds")
        if ids is not None and len(ids) != count:
            raise CommandFailure(
                _INVALID_LENGTH,
                "Number of statement ids must match the number of batch entries. Got "
                f"{len(ids)} statement ids but {count} operations. Statement ids: "
                f"{render_document({'stmtIds': ids})}.",
            )
        self._ids = ids
        self._first_id = int(command.get("stmtId") or 0)

    def id_of(self, place: int) -> int:
        """Return the id of a statement."""
        return int(self._ids[place]) if self._ids is not None else self._first_id + place

    def answered(self, place: int) -> Any:
        """Return what a repeated statement answered, None for one that is new."""
        operation = self.operation
        if not operation.retryable or operation.session is None:
            return None
        answer = operation.session.statements.get(self.id_of(place))
        if answer is not None:
            self.retried.append(self.id_of(place))
        return answer

    def remember(self, place: int, answer: Any) -> None:
        """Remember the answer of a statement that has changed something."""
        operation = self.operation
        if operation.retryable and operation.session is not None:
            operation.session.statements[self.id_of(place)] = answer

    def failed(self, place: int, failure: CommandFailure) -> bool:
        """Note the failure of a statement; tell whether the rest is to be left out.

        Raises:
            CommandFailure: the failure itself, where it is the whole command's.
        """
        if failure.code in _FAIL_THE_COMMAND:
            raise failure
        self.errors.append(
            {
                "index": place,
                "code": failure.code,
                "errmsg": failure.message,
                **failure.extra,
            }
        )
        return bool(self.ordered) or self.operation.transaction is not None

    def reply(self) -> Document:
        """Return the beginning of the reply."""
        clock = self.operation.server.clock
        reply: Document = {
            "n": self.n,
            "electionId": ELECTION_ID,
            "opTime": {"ts": clock.operation_time, "t": 1},
        }
        if self.errors:
            reply["writeErrors"] = self.errors
        if self.retried:
            reply["retriedStmtIds"] = self.retried
        return reply


def until_free(action: Callable[[], T]) -> Generator[Wait, None, T]:
    """Do something that open transactions may hinder, waiting for their end.

    Use it as ``result = yield from until_free(lambda: …)`` in a handler.
    """
    while True:
        try:
            return action()
        except WouldConflict:
            yield Wait()
