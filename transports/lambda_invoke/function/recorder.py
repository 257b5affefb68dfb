"""What the function tells of itself: a log line and metrics, spans, and comments in the server.

One `Recorder` belongs to a proxy. It is told when an invocation begins and ends, and is asked for a
`CommandRecord` around each command. Nothing of it may change how a command ends: what fails here is
logged by its kind and forgotten.

docs/observability.md says what is told, for those who read it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from transports.errors import origin
from transports.lambda_invoke.edits import with_fields
from transports.lambda_invoke.envelope import (
    CommandItem,
    DeferredResult,
    FailureResult,
    FunctionInfo,
    Result,
)
from transports.lambda_invoke.function import comments
from transports.lambda_invoke.function.executor import NotCompleted
from transports.lambda_invoke.function.invocation_log import (
    CommandEntry,
    InvocationEntry,
    InvocationLog,
)
from transports.lambda_invoke.function.metrics import EmbeddedMetrics
from transports.lambda_invoke.function.naming import read_named, server_error
from transports.lambda_invoke.function.policy.message import Data
from transports.lambda_invoke.function.policy.refusal import Refused
from transports.lambda_invoke.function.settings import FunctionSettings
from transports.lambda_invoke.function.tracing import Spans, is_traced, trace_id, xray_trace_id

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_log = logging.getLogger("odm.proxy")


class Invocation(Protocol):
    """The part of Lambda's context object that is used."""

    aws_request_id: str


class CommandRecord:
    """One command, from its policy to its reply. A context manager.

    Attributes:
        reply: to be set to the server's reply.
    """

    __slots__ = (
        "_entry",
        "_invocation",
        "_item",
        "_named",
        "_recorder",
        "_span",
        "_started",
        "reply",
    )

    def __init__(
        self, recorder: Recorder, invocation: InvocationEntry, item: CommandItem, message: Data
    ) -> None:
        self.reply: bytes | None = None
        self._recorder = recorder
        self._invocation = invocation
        self._item = item
        self._named = named = read_named(message)
        self._entry = CommandEntry(
            name=named.name,
            namespace=named.namespace,
            server=item.server,
            caller=item.caller,
            trace=trace_id(item.trace, invocation.xray),
            bytes_in=len(message),
        )
        self._span: Span | None = None
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        spans = self._recorder.spans
        if spans is not None:
            item, request_id = self._item, self._invocation.request_id
            self._span = spans.start(self._named, item.server, item.trace, request_id)
        return self

    def commented(self, message: Data) -> Data:
        """Return *message*, which the policy has let pass, with a comment if it may have one."""
        # The policy may have lowered a limit in it: section 0 begins where it did all the same.
        if not self._recorder.adds_comments or not comments.takes_comment(self._named, message):
            return message
        entry = self._entry
        element = comments.comment(self._invocation.request_id, entry.caller, entry.trace)
        return with_fields(message, self._named.start, element)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entry = self._entry
        entry.duration_ms = round((time.monotonic() - self._started) * 1000, 3)
        if self.reply is not None:
            entry.bytes_out = len(self.reply)
        if error is not None:
            _describe(entry, error, answered=self.reply is not None)
        elif self.reply and (answered := server_error(self.reply)) is not None:
            entry.code, entry.code_name = answered
        self._invocation.commands.append(entry)
        if self._span is not None and self._recorder.spans is not None:
            self._recorder.spans.end(self._span, _error_type(entry))


class Unrecorded:
    """Stands for a `CommandRecord` where nothing is told: it costs nothing."""

    __slots__ = ("reply",)

    def __init__(self) -> None:
        self.reply: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.reply = None  # it may be large

    def commented(self, message: Data) -> Data:
        """Return *message*."""
        return message


_UNRECORDED = Unrecorded()


class Recorder:
    """Records the invocations of one proxy.

    Args:
        settings: the function's configuration.
        release: version of this distribution.

    Attributes:
        spans: what makes spans, None without OpenTelemetry.
        adds_comments: whether commands get a comment.
    """

    def __init__(self, settings: FunctionSettings, release: str) -> None:
        self.spans: Spans | None = None
        self._release = release
        self.adds_comments = settings.comment
        self._log: InvocationLog | None = None
        if settings.log_invocations or settings.metrics_namespace:
            metrics = settings.metrics_namespace and EmbeddedMetrics(
                settings.metrics_namespace, settings.function_name
            )
            self._log = InvocationLog(
                lists_commands=settings.log_invocations, metrics=metrics or None
            )
        self._invocation = InvocationEntry("")

    def begin(self, context: Invocation) -> None:
        """Take note of the invocation that begins. An execution environment has one at a time."""
        xray = xray_trace_id(os.environ.get("_X_AMZN_TRACE_ID", ""))
        self._invocation = InvocationEntry(context.aws_request_id, xray)
        if self.spans is None and is_traced():
            self.spans = Spans(self._release)

    def command(self, item: CommandItem, message: Data) -> CommandRecord | Unrecorded:
        """Return what is to be entered around the running of *item*, whose message is *message*."""
        if self._log is None and self.spans is None and not self.adds_comments:
            return _UNRECORDED
        return CommandRecord(self, self._invocation, item, message)

    def end(self, function: FunctionInfo, results: Sequence[Result]) -> None:
        """Write the invocation's line."""
        if self._log is None:
            return
        invocation = self._invocation
        invocation.failures = sum(isinstance(result, FailureResult) for result in results)
        invocation.deferred = sum(isinstance(result, DeferredResult) for result in results)
        self._write(function)

    def refuse(self, function: FunctionInfo) -> None:
        """Write the line of an invocation whose event was no envelope of ours."""
        self._invocation.refusal = True
        if self._log is not None:
            self._write(function)

    def _write(self, function: FunctionInfo) -> None:
        assert self._log is not None
        try:
            sys.stdout.write(self._log.line(self._invocation, function) + "\n")
        except Exception as error:  # the replies are there, and are worth more than the line
            _log.error("an invocation could not be logged: %s", origin(error))


def _describe(entry: CommandEntry, error: BaseException, *, answered: bool) -> None:
    if isinstance(error, Refused):
        entry.refused = True
        entry.ran = "yes" if answered else "no"
    elif isinstance(error, NotCompleted):
        entry.failure, entry.ran = type(error.error).__name__, error.ran
    else:
        entry.failure, entry.ran = type(error).__name__, "unknown"


def _error_type(entry: CommandEntry) -> str:
    if entry.code is not None:
        return str(entry.code)
    return "Refused" if entry.refused else entry.failure
