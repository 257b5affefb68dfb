"""What became of an invoke that brought no response: one `InvokeError` for every way to fail.

The line that matters is whether the commands may have run. Certain that they did not are: what
fails before the request is sent (credentials, parameters, connecting), what AWS Lambda turns away
(throttles, 4xx, an environment that cannot be set up), and an initialisation that failed. After
the request was sent, a broken connection says nothing about what the function did.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors
"""

from __future__ import annotations

import json
import socket
from typing import Any, Literal

from transports.errors import MissingExtra
from transports.lambda_invoke.envelope import Ran

try:
    import aiohttp
    from botocore import exceptions as aws
except ImportError as error:
    raise MissingExtra("lambda://", "aiobotocore", "lambda") from error

Kind = Literal[
    "throttled",
    "expired",
    "timeout",
    "network",
    "refused",
    "too_large",
    "crashed",
    "reply_too_large",
]


class InvokeError(Exception):
    """An invoke that brought no response of the function's handler.

    Attributes:
        kind: ``throttled``, ``expired`` (throttled beyond the command's own ``maxTimeMS``),
            ``timeout``, ``network``, ``refused`` (by AWS), ``too_large``, ``crashed`` (the
            function) or ``reply_too_large``.
        message: what happened, in words.
        ran: whether the function may have run the commands.
    """

    def __init__(self, kind: Kind, message: str, ran: Ran) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.ran: Ran = ran


# These stop a function before its handler is called.
_BEFORE_HANDLER = frozenset(
    f"Runtime.{reason}"
    for reason in (
        "HandlerNotFound",
        "ImportModuleError",
        "InvalidEntrypoint",
        "MalformedHandlerName",
        "UserCodeSyntaxError",
    )
)
# The service could not set an execution environment up. All but the internal error
# (``ServiceException``) of the 5xx that API_Invoke documents.
_BEFORE_ENVIRONMENT = (
    "EC2",
    "EFS",
    "ENI",
    "InvalidRuntime",
    "InvalidSecurityGroup",
    "InvalidSubnet",
    "InvalidZipFile",
    "KMS",
    "ResourceNotReady",
    "SnapStart",
    "SubnetIPAddressLimitReached",
)
# The function is being created, updated or restored: soon it will be ready.
_NOT_READY = ("ResourceConflict", "SnapStart", "ResourceNotReady")


def translate(error: Exception, *, sent: bool, hint: str = "") -> InvokeError:
    """Return what *error* says about an invoke.

    Args:
        error: what the SDK or its HTTP client raised.
        sent: whether the SDK had begun to send the request.
        hint: what to say besides where nothing could be connected to.
    """
    if isinstance(error, aws.ClientError):
        return _refused(error)
    if not sent:  # no credentials, a parameter of the wrong form
        return InvokeError("refused", str(error) or type(error).__name__, "no")
    if _not_connected(error):
        return InvokeError("network", f"{error}.{hint}", "no")
    cause = _cause(error)
    if _not_written(cause):
        message = "the connection to AWS Lambda was closed before the request was sent"
        return InvokeError("network", message, "no")
    return InvokeError(
        "network",
        f"the connection to AWS Lambda broke, or what it carried was not HTTP: "
        f"{str(cause) or type(cause).__name__}",
        "unknown",
    )


def _cause(error: BaseException) -> BaseException:
    """Return the HTTP client's error: the SDK's words for it name another one."""
    kwargs = getattr(error, "kwargs", {})
    inner = kwargs.get("error") if isinstance(kwargs, dict) else None
    return inner if isinstance(inner, BaseException) else error


def _not_connected(error: Exception) -> bool:
    """Whether no connection was made. The SDK calls a connection that was reset so, too."""
    if isinstance(error, aws.ConnectTimeoutError | aws.ProxyConnectionError | aws.SSLError):
        return True
    return isinstance(_cause(error), aiohttp.ClientConnectorError | socket.gaierror)


def _not_written(cause: BaseException) -> bool:
    """Whether the request, or a part of it, was refused by a connection that was closed already.

    An idle connection that the service closes just then. aiohttp says so in these words only; in
    others, of a later release, it is one more connection that broke.
    """
    reason = cause.__cause__ or cause
    closed = isinstance(reason, aiohttp.ClientConnectionResetError)
    return closed and "Cannot write to closing transport" in str(reason)


def _refused(error: aws.ClientError) -> InvokeError:
    """Translate an error response of the Lambda service itself."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    details: dict[str, Any] = dict(error.response.get("Error", {}))
    code = str(details.get("Code") or status)
    message = str(details.get("Message") or error.response.get("message") or error)[:500]
    if status == 429:
        reason = error.response.get("Reason") or code
        return InvokeError("throttled", f"throttled by AWS Lambda ({reason}): {message}", "no")
    if status == 413:
        return InvokeError("too_large", f"AWS Lambda refused the request: {message}", "no")
    if status >= 500 or code.startswith(_NOT_READY):
        # AWS does not say how far the invoke got, but where the code itself does.
        ran: Ran = "no" if code.startswith((*_BEFORE_ENVIRONMENT, *_NOT_READY)) else "unknown"
        return InvokeError("network", f"AWS Lambda answered {status} {code}: {message}", ran)
    hint = ""
    if code == "ResourceNotFoundException":
        hint = ". Is its name, qualifier and region right? Write lambda://<function>[:<alias>]/…"
    elif code.startswith("AccessDenied"):
        hint = ". The caller needs lambda:InvokeFunction on it"
    return InvokeError("refused", f"AWS Lambda answered {code}: {message}{hint}", "no")


def function_error(body: bytes) -> InvokeError:
    """Translate HTTP 200 with ``X-Amz-Function-Error``: time-out, crash, exception, init error."""
    try:
        details = json.loads(body)
    except (ValueError, RecursionError):
        details = None
    if not isinstance(details, dict):
        details = {}
    details = {name: text for name, text in details.items() if isinstance(text, str)}
    kind = str(details.get("errorType", ""))[:100]
    message = str(details.get("errorMessage", "it failed without a message"))[:500]
    if kind == "Function.ResponseSizeTooLarge":
        return InvokeError("reply_too_large", message, "yes")
    if kind == "Sandbox.Timedout" or "Task timed out" in message:
        return InvokeError("timeout", f"the function was stopped: {message}", "unknown")
    # The runtime client posts an error of the initialisation without a request's id.
    initialising = kind in _BEFORE_HANDLER or details.get("requestId") == ""
    what = "the function's initialisation failed" if initialising else "the function failed"
    return InvokeError(
        "crashed",
        f"{what}: {kind}: {message}" if kind else f"{what}: {message}",
        "no" if initialising else "unknown",
    )
