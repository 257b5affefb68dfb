"""``lambda://``: the driver, a local endpoint, and the DB proxy function behind it."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import ClassVar

from pymongo import AsyncMongoClient

from transports.base import Document, Transport, TransportStatistics
from transports.endpoint import Endpoint, Listening
from transports.errors import CarriageError, ServerUnreachable, TransportClosed
from transports.lambda_invoke.backend import LambdaBackend
from transports.lambda_invoke.batching import Arrivals
from transports.lambda_invoke.envelope import FunctionInfo
from transports.lambda_invoke.invoker import Invoker
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.tracing import SpanTracing, tracing
from transports.url import TransportURL

_MAX_CONNECTING = 100


class LambdaTransport(Transport):
    """Every command is carried by AWS Lambda ``Invoke`` to the function that the URL names.

    Args:
        url: ``lambda://<function>[:<qualifier>]/<database>?region=…``; see
            `transports.lambda_invoke.options` for the options.
        listen: where the local endpoint listens, see `Endpoint`; None for a private socket.

    Raises:
        InvalidURL: an option is unknown or wrong.
    """

    name: ClassVar[str] = "lambda"
    spares_bytes: ClassVar[bool] = True

    def __init__(self, url: TransportURL, *, listen: str | Listening | None = None) -> None:
        super().__init__(url)
        self._listen = listen
        self._options = LambdaOptions.from_url(url)
        self._stack = AsyncExitStack()
        self._invoker: Invoker | None = None
        self._backend: LambdaBackend | None = None
        self._endpoint: Endpoint | None = None

    async def _open(self) -> AsyncMongoClient[Document]:
        self._invoker = await self._stack.enter_async_context(Invoker(self._options))
        traced = tracing(self._options)
        self._backend = LambdaBackend(self._invoker, self._options, traced)
        self._stack.push_async_callback(self._backend.aclose)
        self._endpoint = Endpoint(
            self._backend, listen=self._listen, relay_hello=self._options.relay_hello
        )
        try:
            await self._endpoint.start()
        except CarriageError as error:
            raise ServerUnreachable(f"{self.url.redacted}: {error.message}") from error
        arrived = self._endpoint.counters
        self._backend.batching.arrivals = lambda: Arrivals(arrived.bytes_in, arrived.connected_at)
        self._stack.push_async_callback(self._endpoint.aclose)
        return AsyncMongoClient(
            self._endpoint.uri,
            # The endpoint is in this process: nothing is gained by opening connections in turns.
            maxConnecting=_MAX_CONNECTING,
            # A function's own name says who it is, unless the URL does.
            appname=self._options.app_name or os.environ.get("AWS_LAMBDA_FUNCTION_NAME"),
            event_listeners=[traced] if isinstance(traced, SpanTracing) else [],
        )

    async def _close(self) -> None:
        await self._stack.aclose()

    def _abandon(self, *, forked: bool) -> None:
        self._stack = AsyncExitStack()
        self._invoker = self._backend = self._endpoint = None

    @property
    def uri(self) -> str:
        """The local endpoint's ``mongodb://`` URI."""
        if self._endpoint is None:
            raise TransportClosed(f"{self!r} is not open")
        return self._endpoint.uri

    @property
    def function(self) -> FunctionInfo | None:
        """What the DB proxy function last said of itself; None before ``open()``."""
        return self._backend.function if self._backend is not None else None

    def statistics(self) -> TransportStatistics:
        """Commands and invokes since the transport was opened."""
        if self._invoker is None or self._backend is None:
            return super().statistics()
        invokes, commands = self._invoker.counters, self._backend.counters
        batches = self._backend.batching.counters
        return TransportStatistics(
            transport=self.name,
            commands=commands.commands,
            invokes=invokes.invokes,
            cold_starts=commands.cold_starts,
            details={
                "throttles": invokes.throttles,
                "failures": invokes.failures,
                "bytes_sent": invokes.bytes_sent,
                "bytes_received": invokes.bytes_received,
                "staged_bodies": self._backend.staged_bodies,
                "function_ms": round(commands.function_ms, 3),
                "billed_ms": commands.billed_ms,
                "batches": batches.sizes.total(),
                "batch_sizes": {str(size): n for size, n in sorted(batches.sizes.items())},
                "queued_ms": round(batches.queued_ms, 3),
                "deferred": batches.deferred,
            },
        )
