"""What became of an invoke that brought no response: one `InvokeError` for every way to fail.

The line that matters is whether the commands may have run. Certain that they did not are: what
fails before the request is sent (credentials, parameters, connecting), what AWS Lambda turns away
(throttles, 4xx, an environment that cannot be set up), and an initialisation that failed. After
the request was sent, a broken connection says nothing about what the function did.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from transports.lambda_invoke.envelope import Ran
from transports.lambda_invoke.http_client import ConnectionBroken, NotConnected, ResponseTooLong

Kind = Literal[
    "throttled",
    "expired",
    "timeout",
    "network",
    "refused",
    "too_large",
    "crashed",
    "reply_too_large",
    "protocol",
]


class InvokeError(Exception):
    """An invoke that brought no response of the function's handler, or none that can be read.

    Attributes:
        kind: ``throttled``, ``expired`` (throttled beyond the command's own ``maxTimeMS``),
            ``timeout``, ``network``, ``refused`` (by AWS), ``too_large``, ``crashed`` (the
            function), ``reply_too_large`` or ``protocol`` (no envelope of ours).
        message: what happened, in words.
        ran: whether the function may have run the commands.
    """

    def __init__(self, kind: Kind, message: str, ran: Ran) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.ran: Ran = ran

    def again(self) -> InvokeError:
        """Return the same error once more: an exception is raised in one task only."""
        return InvokeError(self.kind, self.message, self.ran)


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
        error: what the SDK or the HTTP client raised.
        sent: whether sending the request had begun.
        hint: what to say besides where nothing could be connected to.
    """
    reason = str(error) or type(error).__name__
    match error:
        case NotConnected():
            return InvokeError(
                "network",
                f"Could not connect to the endpoint URL of AWS Lambda: {reason}.{hint}",
                "no",
            )
        case ConnectionBroken(sent=False):
            message = f"the connection to AWS Lambda broke before the request was sent: {reason}"
            return InvokeError("network", message, "no")
        case ResponseTooLong():
            return InvokeError("reply_too_large", reason, "unknown")
    if not sent:  # no credentials
        return InvokeError("refused", reason, "no")
    return InvokeError(
        "network",
        f"the connection to AWS Lambda broke, or what it carried was not HTTP: {reason}",
        "unknown",
    )


def refused(status: int, headers: Mapping[str, str], body: bytes) -> InvokeError:
    """Translate an error response of the Lambda service itself.

    Args:
        status: other than 200.
        headers: by their names in small letters; ``x-amzn-errortype`` names the error.
        body: JSON with ``message`` and, of a throttle, ``Reason``; of a proxy or a load balancer
            anything.
    """
    details = _json(body)
    kind = headers.get("x-amzn-errortype") or str(details.get("__type") or details.get("code", ""))
    code = kind.partition(":")[0].rpartition("#")[2][:100] or str(status)
    message = str(details.get("message") or details.get("Message") or f"HTTP {status}")[:500]
    if status == 429:
        reason = str(details.get("Reason") or code)[:100]
        return InvokeError("throttled", f"throttled by AWS Lambda ({reason}): {message}", "no")
    if status == 413:
        return InvokeError("too_large", f"AWS Lambda refused the request: {message}", "no")
    if status >= 500 or code.startswith(_NOT_READY):
        # AWS does not say how far the invoke got, but where the code itself does.
        ran: Ran = "no" if code.startswith((*_BEFORE_ENVIRONMENT, *_NOT_READY)) else "unknown"
        return InvokeError("network", f"AWS Lambda answered {status} {code}: {message}", ran)
    if status // 100 == 2:  # not the service's: a proxy that has changed what the function said
        return InvokeError("network", f"AWS Lambda answered {status}: {message}", "unknown")
    hint = ""
    if code == "ResourceNotFoundException":
        hint = ". Is its name, qualifier and region right? Write lambda://<function>[:<alias>]/…"
    elif code.startswith("AccessDenied"):
        hint = ". The caller needs lambda:InvokeFunction on it"
    return InvokeError("refused", f"AWS Lambda answered {code}: {message}{hint}", "no")


def _json(body: bytes) -> dict[str, Any]:
    """Return a body that is a JSON object; nothing of any other."""
    try:
        details = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return details if isinstance(details, dict) else {}


def function_error(body: bytes) -> InvokeError:
    """Translate HTTP 200 with ``X-Amz-Function-Error``: time-out, crash, exception, init error."""
    details = {name: text for name, text in _json(body).items() if isinstance(text, str)}
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
