"""The DB proxy function's handler: ``transports.lambda_invoke.function.app.handler``.

The client is created when the module is imported, once per execution environment, and shared by
every invocation: https://www.mongodb.com/docs/atlas/manage-connections-aws-lambda/. An invocation
carries a list of items (`transports.lambda_invoke.envelope`); they run concurrently, each is
answered by itself, and one that fails does not disturb the others.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Generator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol
from uuid import uuid4

from pymongo.errors import (
    ConfigurationError as DriverConfigurationError,
)
from pymongo.errors import (
    ConnectionFailure,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from transports.errors import origin
from transports.lambda_invoke import envelope
from transports.lambda_invoke.bodies import (
    MAX_BODY_BYTES,
    PART_BYTES,
    Body,
    BodyError,
    compress,
    decompress,
)
from transports.lambda_invoke.envelope import (
    CancelItem,
    CommandItem,
    DescribeItem,
    DiscardItem,
    EnvelopeError,
    FailureResult,
    FetchItem,
    FunctionInfo,
    Item,
    MembersResult,
    Ran,
    ReplyResult,
    Result,
    StageItem,
)
from transports.lambda_invoke.function.executor import Executor, NotCompleted
from transports.lambda_invoke.function.lifecycle import (
    Pauses,
    around_snapshots,
    close_at_shutdown,
    connect_ahead,
    is_for_a_snapshot,
    process_start,
)
from transports.lambda_invoke.function.policy import Policy, Refused
from transports.lambda_invoke.function.policy.message import Data
from transports.lambda_invoke.function.recorder import Recorder
from transports.lambda_invoke.function.rotation import REFUSED_CODES, Rotation
from transports.lambda_invoke.function.settings import FunctionSettings
from transports.lambda_invoke.function.staging import MissingPart, Staging
from transports.lambda_invoke.function.views import ViewCatalog
from transports.lambda_invoke.function.workers import Workers
from transports.url import redact

# Lambda kills a function at its time-out and tells nobody why: stop waiting a little earlier.
_ANSWER_MARGIN_S = 0.25
_RESPONSE_BYTES = PART_BYTES
_PROTOCOL_ERROR = (17, "ProtocolError")
_TIME_IS_UP = FailureResult(
    89, "NetworkTimeout", "the function's time was up before it came to this", "no"
)

_Steps = Generator[Data, bytes, Result]

_log = logging.getLogger("odm.proxy")


class LambdaContext(Protocol):
    """The part of Lambda's context object that is used.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's time-out."""
        ...


class Proxy:
    """What one process of an execution environment keeps between invocations.

    Args:
        settings: the function's configuration.
        since: when its making began, by the monotonic clock; for ``init_ms``. By default now.
    """

    def __init__(self, settings: FunctionSettings, since: float | None = None) -> None:
        since = time.monotonic() if since is None else since
        self._policy = Policy.from_settings(settings)
        self._executor = Executor(settings, release())
        self._views = ViewCatalog(self._executor)
        self._pauses = Pauses(self._executor.max_idle_s)
        self._staging = Staging(self._executor.client, settings.staging)
        self._workers = Workers(settings.max_pool_size, settings.memory_mb)
        self._counting = threading.Lock()
        # Of replies, in the invocation under way.
        self._held_bytes, self._may_hold_bytes = 0, MAX_BODY_BYTES
        self._environment = uuid4().hex[:12]
        self._recorder = Recorder(settings, release())
        self._invocations = 0
        self._was_refused = False
        self._init_ms = round((time.monotonic() - since) * 1000, 1)

    def connect(self) -> None:
        """Make the first connection, before there is anything to be sent on it."""
        started = time.monotonic()
        connect_ahead(self._executor.connect)
        self._init_ms = round(self._init_ms + (time.monotonic() - started) * 1000, 1)
        self._pauses.begin()  # it may be long until there is

    @property
    def was_refused(self) -> bool:
        """Whether MongoDB refused the function's credentials in the last invocation."""
        return self._was_refused

    def close(self) -> None:
        """Close the connections: none stays behind when the environment ends."""
        self._workers.close()
        self._executor.close()

    def handle(self, event: Any, context: LambdaContext) -> dict[str, Any]:
        """Answer one invocation; see `transports.lambda_invoke.envelope` for both shapes."""
        started = time.monotonic()
        timeout_ms = context.get_remaining_time_in_millis()
        deadline = started + max(timeout_ms / 1000 - _ANSWER_MARGIN_S, 0.05)
        self._recorder.begin(context)
        try:
            items = envelope.decode_request(event)
            within_ms = envelope.decode_within_ms(event)
        except EnvelopeError as error:
            self._recorder.refuse(self._info(started, timeout_ms, cold_start=False))
            return envelope.encode_refusal(str(error))
        cold_start = self._invocations == 0
        self._invocations += 1
        if self._pauses.end():
            self._executor.renew_connections()
        self._held_bytes = 0
        # A batch has little replies; of large ones, not all are to be in memory at a time.
        self._may_hold_bytes = MAX_BODY_BYTES if within_ms is None else _RESPONSE_BYTES
        try:
            results = self._fit(self._run_all(items, deadline, within_ms))
        finally:
            self._pauses.begin()
        self._was_refused = any(
            isinstance(result, FailureResult) and result.code in REFUSED_CODES for result in results
        )
        function = self._info(started, timeout_ms, cold_start=cold_start)
        self._recorder.end(function, results)
        return envelope.encode_response(function, results)

    def _info(self, started: float, timeout_ms: int, *, cold_start: bool) -> FunctionInfo:
        return FunctionInfo(
            release=release(),
            environment=self._environment,
            cold_start=cold_start,
            init_ms=self._init_ms,
            duration_ms=round((time.monotonic() - started) * 1000, 3),
            timeout_ms=timeout_ms,
        )

    def _run_all(
        self, items: Sequence[Item], deadline: float, within_ms: float | None
    ) -> list[Result]:
        if len(items) == 1:  # the ordinary case pays for no thread
            return [self._run(items[0], deadline)]
        within_s = None if within_ms is None else within_ms / 1000
        return self._workers.run(items, lambda share: self._run_share(share, deadline), within_s)

    def _run_share(self, items: Sequence[Item], deadline: float) -> Sequence[Result]:
        """Run items that one thread has taken: commands for one server over one connection."""
        commands = [item for item in items if isinstance(item, CommandItem)]
        if len(commands) == len(items) and len({item.server for item in commands}) == 1:
            return self._run_commands(commands, deadline)
        return [self._run(item, deadline) for item in items]

    def _run(self, item: Item, deadline: float) -> Result:
        if isinstance(item, CommandItem):
            return self._run_commands((item,), deadline)[0]
        remaining = deadline - time.monotonic()
        if remaining <= 0:  # a thousand items, each of which waits for something
            return _TIME_IS_UP
        try:
            match item:
                case StageItem(identifier, part, data):
                    self._staging.put(identifier, part, data)
                case FetchItem(identifier, part):
                    return self._fetch(identifier, part)
                case DiscardItem(identifier):
                    self._staging.discard(identifier)
                case DescribeItem():
                    return MembersResult(self._executor.describe(timeout_s=remaining))
                case CancelItem(server, lsid, started_ms):
                    self._policy.check_session(lsid)
                    self._executor.cancel(server, lsid, started_ms, timeout_s=remaining)
        except Exception as error:
            return _failed(item, error, remaining)
        return ReplyResult(Body())

    def _fetch(self, identifier: str, part: int) -> Result:
        data = self._staging.get(identifier, part)
        if not self._may_hold(len(data)):
            return FailureResult(*_PROTOCOL_ERROR, "too many parts for one invoke", "no")
        return ReplyResult(Body(data))

    def _run_commands(self, items: Sequence[CommandItem], deadline: float) -> list[Result]:
        """Run commands for one server, over one connection."""
        timeout_s = deadline - time.monotonic()
        if timeout_s <= 0:
            return [_TIME_IS_UP] * len(items)
        results: list[Result] = [_TIME_IS_UP] * len(items)
        messages: list[Data] = []
        sent: list[tuple[int, _Steps]] = []
        for index, item in enumerate(items):
            steps = self._command(item, timeout_s)
            try:
                messages.append(next(steps))
            except StopIteration as end:
                results[index] = end.value
            else:
                sent.append((index, steps))
        if not sent:
            return results
        answers: Sequence[bytes | Exception]
        try:
            remaining = max(deadline - time.monotonic(), 0.001)
            answers = self._executor.run_many(items[0].server, messages, timeout_s=remaining)
        except Exception as error:
            answers = [error] * len(sent)
        for (index, steps), answer in zip(sent, answers, strict=True):
            try:
                steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
            except StopIteration as end:
                results[index] = end.value
        return results

    def _command(self, item: CommandItem, timeout_s: float) -> _Steps:
        """Yield the message to send for *item*, take the server's reply, return the result."""
        deadline = time.monotonic() + timeout_s
        try:
            message = self._unpack(item.message)
            with self._recorder.command(item, message) as record:
                message = self._policy.check(message, self._views.at(item.server, timeout_s))
                if time.monotonic() > deadline:  # the views took all of it
                    return _TIME_IS_UP
                record.reply = reply = yield record.commented(message)
                self._policy.check_reply(reply)
            if not item.acknowledged:
                return ReplyResult(Body())
            if self._may_hold(len(reply)):
                return ReplyResult(Body(reply))
            return self._staged(Body(*compress(reply)))
        except BodyError as error:
            return FailureResult(*_PROTOCOL_ERROR, str(error), "no")
        except Exception as error:
            return _failed(item, error, timeout_s)

    def _unpack(self, body: Body) -> bytes | bytearray:
        if not body.staged:
            message = decompress(body.data, body.encoding)
        else:
            message = self._staging.collect(body.staged, body.parts, body.encoding)
            self._staging.discard(body.staged)
        if len(message) < envelope.MIN_MESSAGE_BYTES:  # its header would promise another length
            raise BodyError("the message is too short to be an OP_MSG")
        return message

    def _may_hold(self, size: int) -> bool:
        """Whether *size* more bytes may wait for this invocation's other items to end."""
        with self._counting:
            self._held_bytes += size
            return self._held_bytes <= self._may_hold_bytes

    def _fit(self, results: list[Result]) -> list[Result]:
        """Make replies fit into one response, the largest first: compressed, else staged."""
        by_size = sorted(range(len(results)), key=lambda i: _size(results[i]), reverse=True)
        for shrink in (_compressed, self._staged):
            for index in by_size:
                if sum(map(_size, results)) <= _RESPONSE_BYTES:
                    return results
                result = results[index]
                if isinstance(result, ReplyResult) and not result.reply.staged:
                    results[index] = shrink(result.reply)
        return results

    def _staged(self, body: Body) -> Result:
        try:
            identifier, parts = self._staging.put_all(body.data)
        except PyMongoError as error:
            return _failure("the function could not stage a large reply", error, "yes")
        return ReplyResult(Body(b"", body.encoding, identifier, parts))


def _failed(item: Item, error: Exception, timeout_s: float) -> Result:
    """Return the answer to an *item* that failed with *error*."""
    match error:
        case Refused():
            _log.warning("%s", error.message)
            acknowledged = isinstance(item, CommandItem) and item.acknowledged
            return ReplyResult(Body(error.reply() if acknowledged else b""))
        case NotCompleted():
            return _not_completed(error, timeout_s)
        case PyMongoError():
            return _failure("the function could not stage a body", error, "no")
        case MissingPart():
            return FailureResult(*_PROTOCOL_ERROR, str(error), "no")
    # Never contents, to the caller or the log: what is raised may quote a document.
    _log.error("a %s failed: %s", type(item).__name__, origin(error))
    return FailureResult(
        1, "InternalError", f"the function failed: {type(error).__name__}", "unknown"
    )


def _compressed(body: Body) -> Result:
    return ReplyResult(Body(*compress(body.data)))


def _size(result: Result) -> int:
    return len(result.reply.data) if isinstance(result, ReplyResult) else 0


def _not_completed(failed: NotCompleted, timeout_s: float) -> FailureResult:
    if isinstance(failed.error, NetworkTimeout) and failed.ran != "no":
        # Not PyMongo's words: the time-out is the function's, and no option of the URI.
        message = (
            f"{failed.server} had not answered after {timeout_s:.1f} s, when the function's time "
            "was up: raise its time-out, or give the command a maxTimeMS"
        )
        return FailureResult(89, "NetworkTimeout", message, failed.ran)
    return _failure(f"the function could not reach {failed.server}", failed.error, failed.ran)


def _failure(what: str, error: PyMongoError, ran: Ran) -> FailureResult:
    """Say what PyMongo says, with the server's error code for a failure of that kind."""
    code, code_name = _code(error)
    return FailureResult(code, code_name, redact(f"{what}: {error}"), ran)


def _code(error: PyMongoError) -> tuple[int, str]:
    match error:
        case OperationFailure(code=int(code)):  # authentication, for example
            details = error.details or {}
            return code, str(details.get("codeName") or "OperationFailed")
        case NetworkTimeout():
            return 89, "NetworkTimeout"
        case ServerSelectionTimeoutError() | ConnectionFailure():
            return 6, "HostUnreachable"
        case DriverConfigurationError():
            return 2, "BadValue"
    return 6, "HostUnreachable"


@cache
def release() -> str:
    """Return this distribution's version; ``0+bundle`` where a zip has no metadata."""
    try:
        return version("odm-transports")
    except PackageNotFoundError:
        return "0+bundle"


_settings = FunctionSettings.from_environment(os.environ)
_rotation = Rotation(_settings, os.environ)
_proxy = Proxy(_settings, since=process_start())
if _settings.connect_at_init and not is_for_a_snapshot():
    _proxy.connect()


def _close() -> None:
    _proxy.close()


def _reopen() -> None:
    global _proxy
    since = time.monotonic()
    _rotation.read_again()  # a snapshot may be older than the password
    _proxy = Proxy(_rotation.settings, since)
    if _settings.connect_at_init:
        _proxy.connect()


close_at_shutdown(_close)
around_snapshots(_close, _reopen)


def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Answer one invocation: one envelope in, one envelope out."""
    global _proxy
    if _proxy.was_refused and _rotation.read_again():
        _proxy.close()
        _proxy = Proxy(_rotation.settings, time.monotonic())
    return _proxy.handle(event, context)
