"""How AWS Lambda says that something went wrong: service errors and function errors.

Owns both vocabularies. A *service error* is an HTTP status with ``x-amzn-ErrorType`` and means the
function was not run. A *function error* is HTTP 200 with ``X-Amz-Function-Error`` and a payload.
Knows neither HTTP server nor process. Specification:
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors and
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from transports.local_lambda.configuration import MAX_PAYLOAD_BYTES


class ServiceError(Exception):
    """An answer of the service itself; the function did not run.

    Args:
        status: the HTTP status.
        error_type: the modelled exception's name, e.g. ``"ResourceNotFoundException"``.
        message: AWS's words.
        reason: only for throttles.
    """

    def __init__(self, status: int, error_type: str, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.reason = reason

    @property
    def headers(self) -> dict[str, str]:
        """The headers that carry it."""
        headers = {"x-amzn-ErrorType": self.error_type}
        if self.status == 429:
            headers["Retry-After"] = "1"
        return headers

    @property
    def body(self) -> bytes:
        """``{"Reason": …, "Type": "User" | "Service", "message": …}``, as JSON."""
        document = {"Reason": self.reason} if self.reason else {}
        document["Type"] = "Service" if self.status >= 500 else "User"
        # Two modelled shapes spell the member with a capital.
        capital = self.error_type in ("ResourceNotFoundException", "ServiceException")
        document["Message" if capital else "message"] = self.message
        return json.dumps(document).encode()


def not_found(what: str) -> ServiceError:
    """Make a 404; ``what`` is e.g. ``Function not found: arn:aws:lambda:…``."""
    return ServiceError(404, "ResourceNotFoundException", what)


def invalid_parameter(message: str) -> ServiceError:
    """Refuse a header or parameter that means nothing."""
    return ServiceError(400, "InvalidParameterValueException", message)


def invalid_content(message: str) -> ServiceError:
    """Refuse a payload or a client context that is not what it must be."""
    return ServiceError(400, "InvalidRequestContentException", message)


def payload_too_large(message: str = "") -> ServiceError:
    """Refuse a request over the limit.

    The service sends ``RequestEntityTooLargeException``, which is *not* the modelled
    ``RequestTooLargeException``: SDKs raise their generic client error, with this code.
    """
    message = message or (
        f"Request must be smaller than {MAX_PAYLOAD_BYTES} bytes for the InvokeFunction operation"
    )
    return ServiceError(413, "RequestEntityTooLargeException", message)


def throttled(*, reserved: bool, by_rate: bool = False) -> ServiceError:
    """No concurrency left, the function's own or the account's; or too many requests a second."""
    if by_rate:
        reason = f"{'Reserved' if reserved else ''}FunctionInvocationRateLimitExceeded"
    else:
        reason = f"{'ReservedFunction' if reserved else ''}ConcurrentInvocationLimitExceeded"
    return ServiceError(429, "TooManyRequestsException", "Rate Exceeded.", reason)


def not_restored(failure: InitFailure | None) -> ServiceError:
    """Tell that there is no environment: its snapshot, or the restore of it, failed.

    https://docs.aws.amazon.com/lambda/latest/dg/snapstart-troubleshooting.html
    """
    if failure is not None and failure.status == "timeout":
        return ServiceError(
            408,
            "SnapStartTimeoutException",
            "Lambda couldn't restore the snapshot within the timeout limit.",
        )
    reason = failure.reason if failure is not None else "the process ended"
    return ServiceError(400, "SnapStartException", f"SnapStart error: {reason}")


class OutcomeKind(Enum):
    """How an invocation ended."""

    SUCCESS = "success"
    FUNCTION_ERROR = "function error"
    TIMEOUT = "timeout"
    EXIT = "exit"
    UNDELIVERED = "undelivered"
    """The environment ended before it took the event: it can be run elsewhere."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended, and the payload that says so."""

    kind: OutcomeKind
    payload: bytes = b""
    content_type: str = "application/json"
    error_type: str = ""

    @property
    def is_error(self) -> bool:
        """Whether ``X-Amz-Function-Error`` goes with it."""
        return self.kind is not OutcomeKind.SUCCESS


def timed_out(request_id: str, timeout_s: float) -> Outcome:
    """Tell that it, or an init phase within it, took longer than the function's timeout."""
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return _outcome(OutcomeKind.TIMEOUT, "Sandbox.Timedout", message)


def exited(request_id: str, returncode: int) -> Outcome:
    """Tell that the process ended; ``returncode`` is as in ``subprocess``."""
    message = f"RequestId: {request_id} Error: {exit_reason(returncode)}"
    return _outcome(OutcomeKind.EXIT, "Runtime.ExitError", message)


@dataclass(frozen=True, slots=True)
class InitFailure:
    """Why an init phase failed: an error that was posted, an exit, or its time limit."""

    status: Literal["error", "timeout"]
    error_type: str = ""
    payload: bytes = b""
    returncode: int = 0

    @property
    def reason(self) -> str:
        """What went wrong, in words."""
        try:
            return f"{self.error_type}: {json.loads(self.payload)['errorMessage']}"
        except (ValueError, KeyError, TypeError):
            return exit_reason(self.returncode)

    def outcome(self, request_id: str, timeout_s: float) -> Outcome:
        """Return what the caller is told about it."""
        if self.status == "timeout":
            return timed_out(request_id, timeout_s)
        if self.payload:
            return Outcome(OutcomeKind.FUNCTION_ERROR, self.payload, error_type=self.error_type)
        return exited(request_id, self.returncode)


def response_too_large() -> Outcome:
    """Tell that the response is over the limit; AWS's message names 100 bytes more."""
    return _outcome(
        OutcomeKind.FUNCTION_ERROR,
        "Function.ResponseSizeTooLarge",
        "Response payload size exceeded maximum allowed payload size "
        f"({MAX_PAYLOAD_BYTES + 100} bytes).",
    )


def exit_reason(returncode: int) -> str:
    """Say the end of a process in AWS's words: ``Runtime exited with error: exit status 1``."""
    if returncode == 0:
        return "Runtime exited without providing a reason"
    if returncode > 0:
        return f"Runtime exited with error: exit status {returncode}"
    return f"Runtime exited with error: signal: {_signal_name(-returncode)}"


def _outcome(kind: OutcomeKind, error_type: str, message: str) -> Outcome:
    payload = json.dumps({"errorType": error_type, "errorMessage": message}).encode()
    return Outcome(kind, payload, error_type=error_type)


# AWS's side is written in Go, whose names of signals these are.
_SIGNALS: dict[int, str] = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGUSR2: "user defined signal 2",
    signal.SIGPIPE: "broken pipe",
    signal.SIGALRM: "alarm clock",
    signal.SIGTERM: "terminated",
}


def _signal_name(number: int) -> str:
    return _SIGNALS.get(number, f"signal {number}")
