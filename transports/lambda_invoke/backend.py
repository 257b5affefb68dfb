"""The endpoint's backend over Lambda: a command becomes an item of an envelope, and back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import bson

from transports.endpoint.backend import Deployment, Member, Request
from transports.endpoint.handshake import CODEC_OPTIONS
from transports.lambda_invoke.abandoned import AbandonedOperations
from transports.lambda_invoke.batching import Batching
from transports.lambda_invoke.cursors import BatchSizes
from transports.lambda_invoke.envelope import (
    CommandItem,
    DescribeItem,
    EnvelopeError,
    FailureResult,
    FunctionInfo,
    Item,
    MembersResult,
    Ran,
    RefusedEnvelope,
    ReplyResult,
    Result,
    StageItem,
    decode_response,
    encode_request,
)
from transports.lambda_invoke.failures import (
    function_failure,
    invoke_failure,
    protocol_failure,
)
from transports.lambda_invoke.invoke_errors import InvokeError
from transports.lambda_invoke.invoker import Invoker
from transports.lambda_invoke.large import LargeBodies
from transports.lambda_invoke.options import MAX_FUNCTION_TIMEOUT_S, LambdaOptions
from transports.lambda_invoke.tracing import InheritedTracing, Tracing
from transports.lambda_invoke.transactions import Transactions

# Waiting this much longer than the function may run lets its own time-out be heard first.
_GRACE_S = 5.0


@dataclass(slots=True)
class CommandCounters:
    """Counts of one backend.

    Attributes:
        commands: commands run.
        cold_starts: invocations that began an execution environment.
        function_ms: how long the invocations took, inside the handler.
        billed_ms: what AWS bills for them, as far as the function can tell: each rounded up to
            a millisecond, with the initialisation of a new execution environment.
    """

    commands: int = 0
    cold_starts: int = 0
    function_ms: float = 0.0
    billed_ms: int = 0


class LambdaBackend:
    """Runs commands through the DB proxy function.

    Args:
        invoker: an open invoker.
        options: the URL's options.
        tracing: knows in which trace a command is.
    """

    def __init__(
        self, invoker: Invoker, options: LambdaOptions, tracing: Tracing | None = None
    ) -> None:
        self._invoker = invoker
        self._options = options
        self._tracing = tracing or InheritedTracing()
        self._function_timeout_s: float | None = None
        self._abandoned = AbandonedOperations(self._exchange)
        self._bodies = LargeBodies(self._exchange, options.display_name)
        self._batch_sizes = BatchSizes()
        self._transactions = Transactions()
        self.batching = Batching(
            self._exchange,
            self._send,
            invoker.throttling,
            options.batches,
            self._bodies.incoming,
        )
        self.counters = CommandCounters()
        self.function: FunctionInfo | None = None

    async def describe(self) -> Deployment:
        """Return the deployment behind the function, as the function sees it now."""
        try:
            [result] = await self._exchange([DescribeItem()], None)
        except InvokeError as error:
            raise invoke_failure(error, self._options.display_name, None) from error
        match result:
            case MembersResult(members) if members:
                return Deployment(members=self._members(members))
            case FailureResult():
                raise function_failure(result, self._options.display_name, None)
        raise protocol_failure("the function described no server", self._options.display_name, None)

    def _members(self, members: Sequence[tuple[str, bytes]]) -> tuple[Member, ...]:
        try:
            return tuple(
                Member(address=address, hello=dict(bson.decode(hello, CODEC_OPTIONS)))
                for address, hello in members
            )
        except Exception as error:  # of many kinds; their words may quote what they read
            raise protocol_failure(
                f"a server's hello is not a BSON document: {type(error).__name__}",
                self._options.display_name,
                None,
            ) from None

    async def run(self, request: Request) -> bytes:
        """Run one command through the function."""
        self.counters.commands += 1
        started = time.time()
        try:
            return await self._transactions.run(request, lambda: self._run(request))
        except asyncio.CancelledError:
            self._abandoned.add(request, started)
            raise

    async def _run(self, request: Request) -> bytes:
        try:
            message = self._batch_sizes.limit(request)
            body = await self._bodies.outgoing(message, request)
            item = CommandItem(
                request.server,
                body,
                request.acknowledged,
                trace=self._tracing.traceparent(request),
                caller=request.client.app_name or "",
            )
            result = await self.batching.run(request, item)
            if isinstance(result, ReplyResult):
                reply = await self._bodies.incoming(result.reply, request)
                self._batch_sizes.learn(request, reply)
                return reply
        except InvokeError as error:
            raise invoke_failure(error, self._options.display_name, request) from error
        finally:
            self._tracing.forget(request)
        match result:
            case FailureResult():
                raise function_failure(result, self._options.display_name, request)
        raise protocol_failure(
            "the function answered a command with a description",
            self._options.display_name,
            request,
        )

    async def _exchange(self, items: Sequence[Item], request: Request | None) -> Sequence[Result]:
        """Carry *items*, throttled or not."""
        # A command's own time limit is for what comes before it runs, not for fetching its reply.
        is_ahead = isinstance(items[0], CommandItem | StageItem)
        with self._tracing.invoke(items, request) as items:
            payload = await self._invoker.invoke(
                encode_request(items),
                timeout_s=self._timeout_s(),
                operation=request if is_ahead else None,
            )
        return self._read(payload, len(items))

    async def _send(self, items: Sequence[Item], within_ms: int | None) -> Sequence[Result]:
        """Carry *items*, which have been admitted."""
        with self._tracing.invoke(items) as items:
            payload = await self._invoker.post(
                encode_request(items, within_ms=within_ms), self._timeout_s()
            )
        return self._read(payload, len(items))

    def _read(self, payload: bytes, expected: int) -> Sequence[Result]:
        try:
            response = decode_response(payload, expected=expected)
        except EnvelopeError as error:
            ran: Ran = "no" if isinstance(error, RefusedEnvelope) else "unknown"
            raise InvokeError("protocol", str(error), ran) from error
        function = self.function = response.function
        self._function_timeout_s = function.timeout_ms / 1000
        counters = self.counters
        counters.function_ms += function.duration_ms
        counters.billed_ms += math.ceil(function.duration_ms)
        if function.cold_start:
            counters.cold_starts += 1
            counters.billed_ms += math.ceil(function.init_ms)
        return response.results

    def _timeout_s(self) -> float:
        if self._options.invoke_timeout_s is not None:
            return self._options.invoke_timeout_s
        if self._function_timeout_s is None:  # nothing has answered yet: this is open()
            return self._options.open_timeout_s
        return min(self._function_timeout_s, MAX_FUNCTION_TIMEOUT_S) + _GRACE_S

    @property
    def staged_bodies(self) -> int:
        """Messages and replies that were too large for one invoke, even compressed."""
        return self._bodies.staged

    async def aclose(self) -> None:
        """Give up batches, and wait, bounded, for cancellations under way."""
        await self.batching.aclose()
        await self._transactions.aclose()
        await self._abandoned.aclose()
