"""Asynchronous invocations: accepted at once, run when there is concurrency, repeated on errors.

Owns the queue behind ``InvocationType=Event``. Specification:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from transports.local_lambda.concurrency import Concurrency
from transports.local_lambda.faults import Outcome, ServiceError, throttled

MAX_QUEUED = 1_000
RETRY_DELAYS_S = (60.0, 120.0)
"""Before the second and the third attempt after a function error."""

Attempt = Callable[[], Awaitable[Outcome]]
"""Admit and run the invocation once; raises ServiceError when it is throttled."""


class AsynchronousInvocations:
    """The events that were accepted and have not been dealt with yet."""

    def __init__(self, concurrency: Concurrency) -> None:
        self._concurrency = concurrency
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, attempt: Attempt) -> None:
        """Take an event.

        Raises:
            ServiceError: 429, the queue is full. AWS's has no such bound.
        """
        if len(self._tasks) >= MAX_QUEUED:
            raise throttled(reserved=False)
        task = asyncio.create_task(self._run(attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, attempt: Attempt) -> None:
        delays = iter(RETRY_DELAYS_S)
        while True:
            outcome = await self._attempt(attempt)
            if outcome is None or not outcome.is_error:
                return
            delay = next(delays, None)
            if delay is None:
                return
            await asyncio.sleep(delay)

    async def _attempt(self, attempt: Attempt) -> Outcome | None:
        """Try until it is not throttled; None if it cannot be run at all."""
        while True:
            try:
                return await attempt()
            except ServiceError as error:
                if error.status != 429:
                    return None
            await self._concurrency.released()

    async def aclose(self) -> None:
        """Forget what was not run."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
