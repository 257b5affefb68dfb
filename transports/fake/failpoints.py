"""Failpoints: scripted failures of commands, with the server's own ``configureFailPoint``.

Spec: https://github.com/mongodb/specifications/blob/master/source/transactions/tests/README.md#server-fail-point
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from transports.fake.errors import BAD_VALUE, CommandFailure, unsupported
from transports.fake.labels import ENDINGS, RETRYABLE_CODES, RETRYABLE_WRITE
from transports.fake.operation import Operation
from transports.fake.values import Document, is_number

_FAILPOINT_SET_FAILED: Final = 266
FAIL_GET_MORE: Final = "failGetMoreAfterCursorCheckout"
FAIL_WRITE: Final = "onPrimaryTransactionalWrite"
KNOWN: Final = frozenset({"failCommand", FAIL_GET_MORE, FAIL_WRITE})
REFUSED: Final = frozenset({"maxTimeAlwaysTimeOut", "maxTimeNeverTimeOut"})
_EXEMPT: Final = frozenset({"configureFailPoint"})


@dataclass(slots=True)
class Hit:
    """What a failpoint does to one command."""

    block_ms: int = 0
    close_connection: bool = False
    failure: CommandFailure | None = None


@dataclass(slots=True)
class FailPoint:
    """One failpoint that is on.

    Attributes:
        times: how often it still fires; None without limit.
        skip: how many commands it still lets pass.
        probability: of firing.
        data: the document of the command that set it.
    """

    data: Document
    times: int | None = None
    skip: int = 0
    probability: float = 1.0

    def applies(self, operation: Operation) -> bool:
        """Tell whether it is about this command; counts nothing."""
        data = self.data
        if operation.name not in data.get("failCommands", ()):
            return False
        if "appName" in data and data["appName"] != operation.client.app_name:
            return False
        if "namespace" in data:
            collection = operation.command.get(operation.name)
            if operation.name == "getMore":
                collection = operation.command.get("collection")
            return bool(data["namespace"] == f"{operation.database}.{collection}")
        return True

    def fires(self) -> bool:
        """Count one command; tell whether the failpoint acts on it."""
        if self.skip:
            self.skip -= 1
            return False
        if self.probability < 1.0:
            return random.random() < self.probability  # noqa: S311 - not about secrets
        if self.times is not None:
            if self.times <= 0:
                return False
            self.times -= 1
        return True


class FailPoints:
    """The failpoints of one fake.

    Attributes:
        active: those that are on, by name.
    """

    def __init__(self) -> None:
        self.active: dict[str, FailPoint] = {}
        self._fired: dict[str, int] = {}
        self._write_concern_errors: list[tuple[Operation, Document]] = []

    def configure(self, name: Any, mode: Any, data: Any) -> int:
        """Turn a failpoint on or off; return how often it has fired before.

        Args:
            mode: ``"off"``, ``"alwaysOn"``, ``{"times": n}``, ``{"skip": n}``,
                ``{"activationProbability": p}``.

        Raises:
            CommandFailure: 266 for an unknown failpoint, 2 for an unknown mode.
        """
        if name in REFUSED:
            raise unsupported(f"the failpoint {name}")
        if name not in KNOWN:
            raise CommandFailure(_FAILPOINT_SET_FAILED, f"{name} not found")
        failpoint = _parse(mode, data or {})
        if failpoint is None:
            self.active.pop(name, None)
        else:
            self.active[name] = failpoint
        return self._fired.get(name, 0)

    def hit(self, operation: Operation) -> Hit | None:
        """Return what happens to a command, None if it runs."""
        failpoint = self.active.get("failCommand")
        if failpoint is None or operation.name in _EXEMPT or not failpoint.applies(operation):
            return None
        if not failpoint.fires():
            return None
        self._count("failCommand")
        data = failpoint.data
        hit = Hit(close_connection=bool(data.get("closeConnection")))
        if data.get("blockConnection"):
            hit.block_ms = int(data.get("blockTimeMS", 0))
        if "errorCode" in data:
            hit.failure = _failure(data)
        elif "writeConcernError" in data:
            self._write_concern_errors.append((operation, data))
        return hit

    def _count(self, name: str) -> None:
        self._fired[name] = self._fired.get(name, 0) + 1

    def before_write(self, operation: Operation) -> None:
        """Do what a failpoint wants with a retryable write or a write of a transaction.

        Raises:
            CommandFailure: the write must not take place.
        """
        failpoint = self.active.get(FAIL_WRITE)
        if failpoint is None or not (operation.retryable or operation.transaction):
            return
        if not failpoint.fires():
            return
        self._count(FAIL_WRITE)
        if failpoint.data.get("closeConnection", True):
            operation.closes_connection = True
        code = failpoint.data.get("failBeforeCommitExceptionCode")
        if code is not None:
            session = "" if operation.session is None else operation.session.label
            raise CommandFailure(
                int(code),
                f"Failing write for {session}:{operation.command['txnNumber']} due to failpoint. "
                "The write must not be reflected.",
            )

    def before_get_more(self) -> None:
        """Do what a failpoint wants with a ``getMore`` whose cursor has been found.

        Raises:
            CommandFailure: the command must fail.
        """
        failpoint = self.active.get(FAIL_GET_MORE)
        if failpoint is not None and failpoint.fires():
            self._count(FAIL_GET_MORE)
            raise CommandFailure(
                int(failpoint.data.get("errorCode", 1)),
                f"Hit the '{FAIL_GET_MORE}' failpoint",
            )

    def amend_reply(self, operation: Operation, reply: Document) -> None:
        """Add the write concern error that a failpoint wants in a command's reply."""
        for held, data in self._write_concern_errors:
            if held is operation:
                self._write_concern_errors.remove((held, data))
                _add_write_concern_error(operation, reply, data)
                return


def _failure(data: Document) -> CommandFailure:
    extra = {}
    if "errorLabels" in data:
        extra["errorLabels"] = list(data["errorLabels"])
    return CommandFailure(
        int(data["errorCode"]), "Failing command via 'failCommand' failpoint", extra=extra
    )


def _add_write_concern_error(operation: Operation, reply: Document, data: Document) -> None:
    error = data["writeConcernError"]
    ok = reply.pop("ok")
    reply["writeConcernError"] = error
    reply["ok"] = ok
    labels = data.get("errorLabels")
    retryable = operation.retryable or operation.name in ENDINGS
    if labels is None and retryable and error.get("code") in RETRYABLE_CODES:
        labels = [RETRYABLE_WRITE]
    if labels:
        reply["errorLabels"] = list(labels)


def _parse(mode: Any, data: Document) -> FailPoint | None:
    if mode == "off":
        return None
    if mode == "alwaysOn":
        return FailPoint(data)
    if type(mode) is dict:
        for name in ("times", "skip"):
            if is_number(mode.get(name)):
                count = int(mode[name])
                return (
                    FailPoint(data, times=count) if name == "times" else FailPoint(data, skip=count)
                )
        if is_number(mode.get("activationProbability")):
            return FailPoint(data, probability=float(mode["activationProbability"]))
        raise CommandFailure(
            BAD_VALUE,
            "'mode' must be one of 'off', 'alwaysOn', '{times:n}', '{skip:n}' or "
            "'{activationProbability:p}'",
        )
    raise CommandFailure(BAD_VALUE, f"unknown mode: {mode}")
