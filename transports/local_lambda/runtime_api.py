"""The Runtime API: what the runtime client in an execution environment talks to.

Owns the translation of its calls into calls of the environment. One port for each environment:
the runtime client needs a bare ``host:port``.
Specification: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
"""

from __future__ import annotations

import json
import re
from typing import Protocol

from transports.local_lambda.configuration import MAX_PAYLOAD_BYTES
from transports.local_lambda.faults import Outcome, OutcomeKind, response_too_large
from transports.local_lambda.http_server import (
    Disconnected,
    HttpServer,
    Request,
    Response,
    read_body,
    reply,
)
from transports.local_lambda.invocation import Invocation

# A process whose connection ends is held to have ended; code may run past its time-out.
_KEEP_ALIVE_S = 7 * 86_400.0
_PREFIX = "/2018-06-01/runtime/"
_INVOCATION = re.compile(r"invocation/([^/]+)/(response|error)")


class RuntimeConnection(Protocol):
    """The connection that a process asks for its events by; it ends when the process ends."""

    def is_closing(self) -> bool:
        """Whether it has ended."""
        ...


class RuntimeClientPeer(Protocol):
    """What the Runtime API needs of an execution environment."""

    async def next_invocation(self, client: RuntimeConnection) -> Invocation | None:
        """Wait for an event; None: there will be none."""

    def is_running(self, request_id: str) -> bool:
        """Whether this is the invocation that runs."""

    def complete(self, request_id: str, outcome: Outcome) -> None:
        """End the invocation, which runs, so."""

    def fail_init(self, payload: bytes, error_type: str) -> None:
        """Note that the init phase, or the restore of a snapshot, has failed."""


class RuntimeApi:
    """The HTTP side of one execution environment."""

    def __init__(self, peer: RuntimeClientPeer) -> None:
        self._peer = peer
        self._server = HttpServer(self._handle, keep_alive_s=_KEEP_ALIVE_S)

    def listen(self) -> str:
        """Listen; returns ``AWS_LAMBDA_RUNTIME_API``."""
        return f"127.0.0.1:{self._server.listen('127.0.0.1')}"

    def close(self) -> None:
        """Close the port and every connection."""
        self._server.stop_listening()
        self._server.drop_connections()

    async def _handle(self, request: Request) -> Response:
        path = request.path
        if not path.startswith(_PREFIX):
            return _refusal(404, "InvalidRequest", f"no such path: {path}")
        call = path[len(_PREFIX) :]
        if request.method == "GET" and call == "invocation/next":
            return await self._next(request)
        if request.method == "GET" and call == "restore/next":
            return reply(200)  # the process that asks is the restored one
        if request.method == "POST":
            match = _INVOCATION.fullmatch(call)
            if match is not None:
                return await self._end(request, match[1], match[2])
            if call in ("init/error", "restore/error"):
                return await self._init_error(request)
        return _refusal(404, "InvalidRequest", f"no such call: {request.method} {path}")

    async def _next(self, request: Request) -> Response:
        if request.transport is None:
            raise Disconnected
        invocation = await self._peer.next_invocation(request.transport)
        if invocation is None:
            return _refusal(410, "Sandbox.ShuttingDown", "The execution environment shuts down")
        return reply(200, invocation.payload, invocation.runtime_headers)

    async def _end(self, request: Request, request_id: str, how: str) -> Response:
        body = await read_body(request, MAX_PAYLOAD_BYTES)
        if not self._peer.is_running(request_id):
            return _refusal(400, "InvalidRequestID", "Invalid request ID")
        if body is None:
            self._peer.complete(request_id, response_too_large())
            return _refusal(
                413,
                "RequestEntityTooLarge",
                f"Exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES + 100} bytes).",
            )
        if how == "error":
            error_type = _error_type(request, body)
            outcome = Outcome(OutcomeKind.FUNCTION_ERROR, body, error_type=error_type)
        else:
            content_type = request.headers.get("Content-Type", "application/json")
            outcome = Outcome(OutcomeKind.SUCCESS, body, content_type)
        self._peer.complete(request_id, outcome)
        return _accepted()

    async def _init_error(self, request: Request) -> Response:
        body = await read_body(request, MAX_PAYLOAD_BYTES)
        if body is None:
            return _refusal(413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size")
        self._peer.fail_init(body, _error_type(request, body))
        return _accepted()


def _accepted() -> Response:
    return reply(202, b'{"status":"OK"}')


def _error_type(request: Request, body: bytes) -> str:
    """Return the error's type as the runtime client says it: in a header, or in the body."""
    if header := request.headers.get("Lambda-Runtime-Function-Error-Type"):
        return header
    try:
        return str(json.loads(body)["errorType"])
    except (ValueError, KeyError, TypeError):
        return ""


def _refusal(status: int, error_type: str, message: str) -> Response:
    return reply(status, json.dumps({"errorType": error_type, "errorMessage": message}).encode())
