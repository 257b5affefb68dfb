"""Scripted failures: what a test wants to go wrong, said in a line of Python.

The server's own ``configureFailPoint`` (`transports.fake.failpoints`) does the same over the wire;
here a failure can also be chosen by a predicate, come after the command has been applied, and tell
afterwards whether it happened.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict, Unpack

from transports.fake.command_log import (
    UNLOGGED,
    LoggedCommand,
    matches_namespace,
    require_command,
    require_namespace,
)
from transports.fake.commands.registry import COMMANDS
from transports.fake.errors import (
    CODE_NAMES,
    DOCUMENT_VALIDATION_FAILURE,
    DUPLICATE_KEY,
    CommandFailure,
)
from transports.fake.values import Document

_CODES: Final = {name: code for code, name in CODE_NAMES.items()}
# A server reports these for one statement, in ``writeErrors``, and not for the command.
_OF_A_STATEMENT: Final = frozenset({DUPLICATE_KEY, DOCUMENT_VALIDATION_FAILURE})
_WITH_STATEMENTS: Final = frozenset({"insert", "update", "delete"})


@dataclass(eq=False, slots=True)
class ScriptedFailure:
    """One failure that is to come.

    Attributes:
        commands: names of the commands it is for; none for every command but handshakes.
        namespace: see `CommandLog.filter`; None for every namespace.
        where: takes the command and tells whether it is meant; None for all.
        times: how often it is still to happen; None for always.
        delay_ms: how long the command waits first.
        failure: what it fails with; None for a delay or a network error.
        network_error: whether the connection breaks instead of a reply.
        after: whether the command is applied first, and only its reply is lost.
        happened: how often it has happened.
    """

    commands: frozenset[str]
    namespace: str | None = None
    where: Callable[[LoggedCommand], bool] | None = None
    times: int | None = 1
    delay_ms: float = 0
    failure: Callable[[], CommandFailure] | None = None
    network_error: bool = False
    after: bool = False
    happened: int = field(default=0, init=False)

    def applies(self, command: LoggedCommand) -> bool:
        """Tell whether it is about this command."""
        if not self.commands and command.name in UNLOGGED:
            return False
        spec = COMMANDS.get(command.name)
        return (
            (not self.commands or (spec is not None and spec.name in self.commands))
            and (self.namespace is None or matches_namespace(command.namespace, self.namespace))
            and (self.where is None or self.where(command))
        )

    def cancel(self) -> None:
        """Let it happen no more."""
        self.times = 0

    @property
    def is_pending(self) -> bool:
        """Whether it may still happen."""
        return self.times is None or self.times > 0

    def outcome(self, command: LoggedCommand) -> Document | None:
        """Return the reply of a command whose first statement fails, None to go on.

        Raises:
            ConnectionResetError: the connection breaks.
            CommandFailure: the command fails.
        """
        if self.network_error:
            raise ConnectionResetError("a scripted failure closed the connection")
        if self.failure is None:
            return None
        failure = self.failure()
        if failure.code not in _OF_A_STATEMENT or command.name not in _WITH_STATEMENTS:
            raise failure
        error = {"index": 0, "code": failure.code, "errmsg": failure.message, **failure.extra}
        reply: Document = {"n": 0, "writeErrors": [error], "ok": 1.0}
        return {**reply, "nModified": 0} if command.name == "update" else reply

    def assert_happened(self) -> None:
        """Fail if it has never happened.

        Raises:
            AssertionError: it says what never came.
        """
        __tracebackhide__ = True
        if not self.happened:
            raise AssertionError(f"{self} never happened: no such command reached the fake")

    def __str__(self) -> str:
        commands = ", ".join(sorted(self.commands)) or "any command"
        where = f" on {self.namespace!r}" if self.namespace else ""
        what = "a network error" if self.network_error else "a delay"
        if self.failure is not None:
            what = str(self.failure())
        after = ", after it is applied" if self.after else ""
        return f"the scripted failure of {commands}{where} ({what}{after})"


class How(TypedDict, total=False):
    """The keyword arguments of `Script.fail_next`, which says what they mean."""

    namespace: str | None
    where: Callable[[LoggedCommand], bool] | None
    times: int | None
    code: int | str | None
    message: str | None
    labels: Iterable[str]
    details: Mapping[str, Any] | None
    network_error: bool
    after: bool
    delay_ms: float


class Script:
    """The scripted failures of one fake, in the order in which they were written."""

    def __init__(self) -> None:
        self.failures: list[ScriptedFailure] = []
        self._paused = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let nothing fail meanwhile: for what a test does to prepare itself."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def fail_next(self, *commands: str, **how: Unpack[How]) -> ScriptedFailure:
        """Let the next command of these names fail, or wait.

        The labels that a server adds to a code by itself (``RetryableWriteError``,
        ``TransientTransactionError``) come by themselves here too. Drivers repeat what a label or
        a network error allows them to repeat: ``times=2`` fails the repetition as well.

        Args:
            commands: names of commands (``"insert"``, not ``insert_one``); none for any.
            namespace: ``"database.collection"``, ``".collection"`` or ``"database."``.
            where: a predicate that takes the `LoggedCommand`.
            times: how often; None until it is cancelled.
            code: the server's error code, or its name: 11000 or ``"DuplicateKey"``.
            message: the ``errmsg``.
            labels: further ``errorLabels``.
            details: further fields of the error, e.g. ``{"keyValue": {"slug": "a"}}``.
            network_error: break the connection.
            after: apply the command first: only its reply is lost.
            delay_ms: wait first; alone, the command then goes on.

        Returns:
            The failure; ``happened`` counts, ``cancel()`` ends it.

        Raises:
            ValueError: an unknown command or code, no namespace, or nothing to do.
            TypeError: an unknown argument, or labels that are no list.
        """
        for name in how.keys() - How.__annotations__.keys():
            raise TypeError(
                f"fail_next() has no argument {name!r}; it takes {', '.join(How.__annotations__)}"
            )
        code, times = how.get("code"), how.get("times", 1)
        network_error, delay_ms = how.get("network_error", False), how.get("delay_ms", 0)
        if code is None and not network_error and not delay_ms:
            raise ValueError(
                "fail_next() needs to know how: code=112 (or 'WriteConflict'), network_error=True "
                "or delay_ms=50"
            )
        if code is not None and network_error:
            raise ValueError("a network error has no code: give code= or network_error=True")
        if code is None and any(how.get(name) for name in ("message", "labels", "details")):
            raise ValueError("message=, labels= and details= belong to an error: give its code=")
        if isinstance(labels := how.get("labels", ()), str):
            raise TypeError(f"labels= takes a list: write labels=[{labels!r}]")
        if (namespace := how.get("namespace")) is not None:
            require_namespace(namespace)
        if times is not None and times < 1:
            raise ValueError(f"times is a number from 1 on, or None for always, not {times!r}")
        scripted = ScriptedFailure(
            frozenset(map(require_command, commands)),
            namespace,
            how.get("where"),
            times,
            delay_ms,
            None if code is None else _maker(_code(code), how),
            network_error,
            how.get("after", False),
        )
        self.failures.append(scripted)
        return scripted

    def take(self, name: str, database: str, command: Document) -> ScriptedFailure | None:
        """Return the failure that this command meets, counted, or None."""
        if self._paused:
            return None
        logged = LoggedCommand.of(name, database, command)
        for scripted in self.failures:
            if scripted.is_pending and scripted.applies(logged):
                scripted.happened += 1
                if scripted.times is not None:
                    scripted.times -= 1
                return scripted
        return None

    def clear(self) -> None:
        """Forget them all."""
        self.failures.clear()


def _maker(code: int, how: How) -> Callable[[], CommandFailure]:
    text = how.get("message") or f"{CODE_NAMES.get(code, 'Failing')}: scripted by fail_next()"
    labels, details = tuple(how.get("labels", ())), dict(how.get("details") or {})
    return lambda: CommandFailure(code, text, labels=labels, extra=details)


def _code(code: int | str) -> int:
    if isinstance(code, int):
        return code
    if code in _CODES:
        return _CODES[code]
    close = difflib.get_close_matches(code, _CODES, 1)
    raise ValueError(
        f"the server has no error {code!r}{f'; do you mean {close[0]!r}?' if close else ''}"
    )
