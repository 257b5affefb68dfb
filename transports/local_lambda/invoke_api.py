"""Lambda's Invoke over HTTP: what an AWS SDK talks to.

Owns the reading of a request and the writing of its answer. Takes any signature, or none. Refuses
what a browser sends from a web page: a development server runs code.
Specification: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import secrets
import time
import uuid
from dataclasses import dataclass
from typing import NoReturn, Protocol

from transports.local_lambda.configuration import (
    MAX_CLIENT_CONTEXT_BYTES,
    MAX_EVENT_PAYLOAD_BYTES,
    MAX_PAYLOAD_BYTES,
)
from transports.local_lambda.faults import (
    Outcome,
    ServiceError,
    invalid_content,
    invalid_parameter,
    payload_too_large,
)
from transports.local_lambda.http_server import Disconnected, Request, Response, read_body, reply

_PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")
_logger = logging.getLogger("transports.local_lambda")


@dataclass(frozen=True, slots=True)
class InvokeRequest:
    """A request that is well formed, whatever it names."""

    request_id: str
    function: str
    qualifier: str
    invocation_type: str
    payload: bytes
    client_context: str
    want_log: bool
    trace_id: str


@dataclass(frozen=True, slots=True)
class InvokeReply:
    """What comes back: a version, and the outcome where the caller waited for one."""

    status: int
    version: str
    outcome: Outcome | None = None
    log_tail: bytes = b""


class Invoker(Protocol):
    """What runs a request."""

    def check(self, function: str, qualifier: str) -> None:
        """Raise ServiceError if there is no such function: before its payload is looked at."""

    async def invoke(self, request: InvokeRequest) -> InvokeReply:
        """Run it; raises ServiceError if it did not run."""


class InvokeApi:
    """The request handler."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    async def handle(self, http: Request) -> Response:
        """Answer one HTTP request."""
        request_id = str(uuid.uuid4())
        try:
            request = await self._read(http, request_id)
            answer = await self._invoker.invoke(request)
        except ServiceError as error:
            return _refuse(error, request_id)
        except Disconnected:
            raise
        except Exception:
            _logger.exception("request %s failed inside the local Lambda", request_id)
            return _refuse(ServiceError(500, "ServiceException", "internal error"), request_id)
        return _answer(answer, request)

    async def _read(self, http: Request, request_id: str) -> InvokeRequest:
        headers = http.headers
        match = _PATH.fullmatch(http.path)
        if match is None or http.method != "POST":
            raise ServiceError(404, "UnknownOperationException", f"{http.method} {http.path}")
        if "Origin" in headers:
            raise ServiceError(403, "AccessDeniedException", "not for web pages")
        function, qualifier = match[1], http.query.get("Qualifier", "")
        self._invoker.check(function, qualifier)
        invocation_type = headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if invocation_type not in ("RequestResponse", "Event", "DryRun"):
            raise invalid_parameter(f"Unsupported invocation type: {invocation_type}")
        log_type = headers.get("X-Amz-Log-Type", "None")
        if log_type not in ("None", "Tail"):
            raise invalid_parameter(f"Unsupported log type: {log_type}")
        client_context = _client_context(headers.get("X-Amz-Client-Context", ""))
        limit = MAX_EVENT_PAYLOAD_BYTES if invocation_type == "Event" else MAX_PAYLOAD_BYTES
        payload = await read_body(http, limit)
        if payload is None:
            raise _too_large(http, invocation_type)
        return InvokeRequest(
            request_id=request_id,
            function=function,
            qualifier=qualifier,
            invocation_type=invocation_type,
            payload=_event(payload),
            client_context=client_context,
            want_log=log_type == "Tail" and invocation_type == "RequestResponse",
            trace_id=headers.get("X-Amzn-Trace-Id") or _trace_id(),
        )


def _too_large(http: Request, invocation_type: str) -> ServiceError:
    if invocation_type != "Event":
        return payload_too_large()
    size = f"{http.content_length} byte payload" if http.content_length else "payload"
    return payload_too_large(
        f"{size} is too large for the Event invocation type (limit {MAX_EVENT_PAYLOAD_BYTES} bytes)"
    )


def _event(payload: bytes) -> bytes:
    """Return the payload, if it is JSON; an empty object if there is none."""
    if not payload:
        return b"{}"
    try:
        # Decoded here: json.loads would take UTF-16 and UTF-32 as well.
        json.loads(payload.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise invalid_content(f"Could not parse request body into json: {error}") from error
    return payload


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"Unrecognized token '{name}'")


def _client_context(encoded: str) -> str:
    """Return the client context as JSON."""
    if not encoded:
        return ""
    if len(encoded) > MAX_CLIENT_CONTEXT_BYTES:
        raise invalid_content(
            f"Client context must be no more than {MAX_CLIENT_CONTEXT_BYTES} bytes when encoded"
        )
    try:
        context = json.loads(base64.b64decode(encoded, validate=True))
        if not isinstance(context, dict):
            raise ValueError("not an object")
    except (ValueError, binascii.Error, RecursionError) as error:
        raise invalid_content(
            "Client context must be a valid Base64-encoded JSON object."
        ) from error
    # Travels in a header: ASCII, on one line.
    return json.dumps(context)


def _trace_id() -> str:
    root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    return f"Root={root};Parent={secrets.token_hex(8)};Sampled=0"


def _answer(answer: InvokeReply, request: InvokeRequest) -> Response:
    headers = {
        "x-amzn-RequestId": request.request_id,
        "X-Amz-Executed-Version": answer.version,
        "X-Amzn-Trace-Id": request.trace_id,
    }
    outcome = answer.outcome
    if outcome is None:
        return reply(answer.status, b"", headers)
    if outcome.is_error:
        headers["X-Amz-Function-Error"] = "Unhandled"
    if request.want_log:
        headers["X-Amz-Log-Result"] = base64.b64encode(answer.log_tail).decode()
    return reply(answer.status, outcome.payload, headers, outcome.content_type)


def _refuse(error: ServiceError, request_id: str) -> Response:
    return reply(error.status, error.body, {"x-amzn-RequestId": request_id, **error.headers})
