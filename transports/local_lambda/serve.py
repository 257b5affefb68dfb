"""Run a local Lambda until it is told to stop: the core of ``odm local``.

Owns the handling of SIGINT and SIGTERM, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator

from transports.local_lambda.configuration import FunctionConfiguration
from transports.local_lambda.function import LogSink
from transports.local_lambda.service import LocalLambda


async def serve(
    functions: Iterable[FunctionConfiguration],
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[LocalLambda], Awaitable[None] | None] | None = None,
    *,
    log_sink: LogSink | None = None,
    account_concurrency: int = 1000,
    region: str = "us-east-1",
    tls: bool = False,
    request_rate: float | None = None,
) -> signal.Signals:
    """Serve until SIGINT or SIGTERM, then shut down cleanly; returns the signal.

    Call it on the main thread. A second signal during the shutdown changes nothing: it takes about
    half a second, and a few seconds at most.

    Args:
        on_ready: called with the service when it listens, e.g. to print ``endpoint_url``.
        log_sink: called with (function name, environment id, bytes) for all that is logged.
        account_concurrency: and what follows: see :class:`LocalLambda`.
    """
    with _stop_signals() as stopped:
        async with LocalLambda(
            functions,
            host=host,
            port=port,
            region=region,
            account_concurrency=account_concurrency,
            log_sink=log_sink,
            tls=tls,
            request_rate=request_rate,
        ) as service:
            if on_ready is not None and (waiting := on_ready(service)) is not None:
                await waiting
            return await stopped


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Future[signal.Signals]]:
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
