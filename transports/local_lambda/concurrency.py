"""How many invocations run at one time: reserved concurrency and the account's.

Owns the counts and the waiting of asynchronous invocations. Specification:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html.
"""

from __future__ import annotations

import asyncio
from collections import deque

from transports.local_lambda.faults import throttled
from transports.local_lambda.function import Function


class Concurrency:
    """The account's concurrency, of which functions reserve parts for themselves."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reserved = 0
        self._unreserved_executions = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def reserve(self, new: int | None, old: int | None = None) -> None:
        """Set a part aside, in the place of an old one.

        Raises:
            ValueError: more than the account has.
        """
        reserved = self._reserved + (new or 0) - (old or 0)
        if reserved > self._limit:
            raise ValueError(
                f"reserved_concurrency={new}: the account has {self._limit}, of which "
                f"{self._reserved - (old or 0)} are reserved"
            )
        self._reserved = reserved
        self._wake()

    def admit(self, function: Function) -> bool:
        """Take one execution; to be given back with :meth:`release`.

        Returns whether it was taken from the account's unreserved concurrency.

        Raises:
            ServiceError: 429, nothing was taken.
        """
        reserved = function.configuration.reserved_concurrency
        unreserved = reserved is None
        if reserved is not None:
            if function.concurrent_executions >= reserved:
                raise throttled(reserved=True)
        elif self._unreserved_executions >= self._limit - self._reserved:
            raise throttled(reserved=False)
        self._unreserved_executions += unreserved
        function.concurrent_executions += 1
        function.max_concurrent_executions = max(
            function.max_concurrent_executions, function.concurrent_executions
        )
        return unreserved

    def release(self, function: Function, *, unreserved: bool) -> None:
        """Give one execution back."""
        function.concurrent_executions -= 1
        self._unreserved_executions -= unreserved
        self._wake()

    def _wake(self) -> None:
        # All of them: the first in line may wait for another function's concurrency.
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def released(self) -> None:
        """Wait until some execution is given back, or reserved concurrency has changed."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter
