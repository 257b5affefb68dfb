"""One invoke: bytes to the function, bytes back, or one `InvokeError` that says what happened.

An invoke is posted once. Only a throttled one, which certainly did not run, is tried again
(`transports.lambda_invoke.throttling`). With `connections` and `invoke_errors` the only module that
talks to AWS.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from transports.endpoint.backend import Request
from transports.lambda_invoke.connections import Connections
from transports.lambda_invoke.envelope import MAX_PAYLOAD_BYTES
from transports.lambda_invoke.invoke_errors import (
    InvokeError,
    function_error,
    refused,
    translate,
)
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.throttling import Throttling


class _Attempt:
    """One invoke on its way: whether sending it has begun."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


@dataclass(slots=True)
class InvokeCounters:
    """Counts of one invoker."""

    invokes: int = 0
    throttles: int = 0
    failures: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


class Invoker:
    """Invokes one function. An asynchronous context manager."""

    def __init__(self, options: LambdaOptions) -> None:
        self._options = options
        self._stack = AsyncExitStack()
        self._connections = Connections(options)
        self.throttling = Throttling(options.throttle_timeout_s)
        self.counters = InvokeCounters()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._connections)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def invoke(
        self, payload: bytes, *, timeout_s: float, operation: Request | None = None
    ) -> bytes:
        """Invoke the function and return its payload.

        Args:
            payload: at most `MAX_PAYLOAD_BYTES`.
            timeout_s: seconds to wait for one response.
            operation: what the invoke is a part of, and cannot have begun yet: its own time limit
                bounds how long a throttled invoke is tried again.

        Raises:
            InvokeError: there is no response of the handler; a throttled invoke has been tried
                again until ``throttle_timeout_s``.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise InvokeError(
                "too_large",
                f"the request is {len(payload):,} bytes, AWS Lambda takes {MAX_PAYLOAD_BYTES:,}",
                "no",
            )
        try:
            return await self.throttling.run(lambda: self.post(payload, timeout_s), operation)
        except InvokeError:
            self.counters.failures += 1
            raise

    async def post(self, payload: bytes, timeout_s: float) -> bytes:
        """Invoke the function once, throttled or not; whoever calls it has been admitted.

        Raises:
            InvokeError: there is no response of the handler.
        """
        self.counters.invokes += 1
        self.counters.bytes_sent += len(payload)
        attempt = _Attempt()
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._connections.post(payload, attempt)
        except TimeoutError as error:
            raise _too_late(timeout_s, attempt) from error
        except Exception as error:  # of the SDK, of the HTTP client
            hint = " Is 'odm local' running there?" if self._options.is_local else ""
            raise translate(error, sent=attempt.sent, hint=hint) from error
        body = reply.body
        self.counters.bytes_received += len(body)
        if reply.status != HTTPStatus.OK:
            failure = refused(reply.status, reply.headers, body)
            self.counters.throttles += failure.kind == "throttled"
            raise failure
        if "x-amz-function-error" in reply.headers:
            raise function_error(body)
        return body


def _too_late(timeout_s: float, attempt: _Attempt) -> InvokeError:
    if not attempt.sent:
        what = "credentials, or connecting, took longer"
        return InvokeError("timeout", f"nothing could be sent within {timeout_s:g} s: {what}", "no")
    return InvokeError("timeout", f"no response within {timeout_s:g} s", "unknown")
