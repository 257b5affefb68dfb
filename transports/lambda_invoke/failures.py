"""A failed carriage in the driver's own terms: which code, which labels, which words.

The driver decides whether to repeat a command by the reply's labels (writes, transactions) or its
code (reads). So a failure on the way becomes the reply that a ``mongos`` gives when *its* server
does not answer: ``HostUnreachable``, ``NetworkTimeout``; ``RetryableWriteError`` where the command
carries a ``txnNumber`` outside a transaction, ``TransientTransactionError`` inside one.

Spec: https://github.com/mongodb/specifications/blob/master/source/retryable-writes/retryable-writes.md
https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md
https://github.com/mongodb/specifications/blob/master/source/client-backpressure/client-backpressure.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bson
from bson.errors import InvalidBSON
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS

from transports.endpoint.backend import Request
from transports.errors import CarriageError, ConnectionLost
from transports.lambda_invoke.envelope import FailureResult, Ran
from transports.lambda_invoke.invoke_errors import InvokeError

# Names and numbers: the server's list of error codes.
_CODES: Mapping[str, tuple[int, str]] = {
    "network": (6, "HostUnreachable"),
    "crashed": (6, "HostUnreachable"),
    "timeout": (89, "NetworkTimeout"),
    "refused": (13, "Unauthorized"),
    "throttled": (462, "IngressRequestRateLimitExceeded"),
    "expired": (50, "MaxTimeMSExpired"),
    "too_large": (10334, "BSONObjectTooLarge"),
    "reply_too_large": (10334, "BSONObjectTooLarge"),
    "protocol": (17, "ProtocolError"),
}
_NOT_REACHED = (91, "ShutdownInProgress")
# A second attempt of these ends as the first did.
_PERMANENT = {"refused", "too_large", "reply_too_large", "protocol"}
_OVERLOADED = "SystemOverloadedError"
_OVERLOAD_LABELS = (_OVERLOADED, "RetryableError")
_OUTCOME: Mapping[Ran, str] = {
    "no": "It did not run.",
    "unknown": "Whether it ran is unknown.",
    "yes": "It ran; only its reply is lost.",
}


def invoke_failure(error: InvokeError, function: str, request: Request | None) -> CarriageError:
    """Return what the driver is to be told of an invoke that failed.

    Args:
        error: what happened.
        function: the function's display name.
        request: the command, None for a question of the endpoint's own.
    """
    kind: str = error.kind
    if kind == "throttled" and error.ran != "no":
        kind = "network"  # as overloaded, a driver would repeat whatever it is
    code, code_name = _CODES[kind]
    return CarriageError(
        _words(function, request, error.message, error.ran),
        code=code,
        code_name=code_name,
        labels=_labels_for(kind, error.ran, request),
    )


def _labels_for(kind: str, ran: Ran, request: Request | None) -> tuple[str, ...]:
    nothing_written = _nothing_written(ran, request)
    if kind == "expired":  # no time is left in which to repeat it
        return (_OVERLOADED, *nothing_written)
    overload = _OVERLOAD_LABELS if kind == "throttled" else ()
    if request is None:
        return overload
    # The driver adds this to a commit by the error's code, and not for these codes. A commit that
    # was throttled may be the repetition of one whose answer was lost.
    is_commit = request.name == "commitTransaction"
    unknown = ("UnknownTransactionCommitResult",)
    if kind not in _PERMANENT:
        throttled_commit = unknown if is_commit and kind == "throttled" else ()
        return overload + _labels(request) + nothing_written + throttled_commit
    return unknown if is_commit and ran != "no" else nothing_written


def _nothing_written(ran: Ran, request: Request | None) -> tuple[str, ...]:
    """Return the label of a retryable write that did not run.

    It may be the repetition of one whose outcome is unknown. By this label the driver then raises
    that one's error, and not this one, which says that nothing was done.
    """
    if ran == "no" and request is not None and "RetryableWriteError" in _labels(request):
        return ("NoWritesPerformed",)
    return ()


def function_failure(
    failure: FailureResult, function: str, request: Request | None
) -> CarriageError:
    """Return what the driver is to be told of an item that the function could not run.

    A connection that broke behind the function breaks here too: the driver knows what to do. Nor
    is a server that was not reached to be asked again at once: the reply is that of a server that
    shuts down, so that the driver looks for another, and the application sees the reason.
    """
    code, code_name, error = failure.code, failure.code_name, CarriageError
    labels = _labels(request) if request is not None and code in (6, 7, 89) else ()
    labels += _nothing_written(failure.ran, request)
    if request is not None and code == _CODES["network"][0]:
        if failure.ran == "unknown":
            error = ConnectionLost
        elif failure.ran == "no":
            code, code_name = _NOT_REACHED
    return error(
        _words(function, request, failure.message, failure.ran),
        code=code,
        code_name=code_name,
        labels=labels,
    )


def protocol_failure(
    message: str, function: str, request: Request | None, ran: Ran = "unknown"
) -> CarriageError:
    """Return what the driver is to be told of a response that is no envelope of ours."""
    code, code_name = _CODES["protocol"]
    return CarriageError(
        _words(function, request, message, ran),
        code=code,
        code_name=code_name,
        labels=_labels_for("protocol", ran, request),
    )


def _words(function: str, request: Request | None, message: str, ran: Ran) -> str:
    what = f"'{request.name}' on {request.database!r}" if request is not None else "a first call"
    outcome = f" {_OUTCOME[ran]}" if request is not None else ""
    end = "" if message.endswith((".", "!", "?")) else "."
    return f"{what} through the function {function!r} failed: {message}{end}{outcome}"


def _labels(request: Request) -> tuple[str, ...]:
    """Return the error labels a ``mongos`` would add to a network error of this command."""
    try:
        command = section_zero(request.message)
    except (InvalidBSON, ValueError, IndexError):
        return ()
    if "txnNumber" not in command:
        return ()
    in_transaction = command.get("autocommit") is False
    if in_transaction and request.name not in ("commitTransaction", "abortTransaction"):
        return ("TransientTransactionError",)
    return ("RetryableWriteError",)


def section_zero(message: bytes) -> Mapping[str, Any]:
    """Return the command document of an OP_MSG (flags and sections), values left undecoded.

    Raises:
        InvalidBSON: the document is malformed.
        ValueError: there is none.
    """
    position = 4
    while position < len(message):
        kind = message[position]
        size = int.from_bytes(message[position + 1 : position + 5], "little", signed=True)
        if size < 5:
            break
        if kind == 0:
            body = message[position + 1 : position + 1 + size]
            command = bson.decode(body, DEFAULT_RAW_BSON_OPTIONS)
            len(command)  # reads its fields, here where what is malformed is expected
            return command
        position += 1 + size
    raise ValueError("the message has no section of kind 0")
