"""How many invocations run at one time: reserved concurrency and the account's.

Owns the counts, which request is over which limit, and the waiting of asynchronous invocations.
Specification:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

from transports.local_lambda.faults import throttled
from transports.local_lambda.function import Function
from transports.local_lambda.request_rate import RequestRate


class Concurrency:
    """The account's concurrency, of which functions reserve parts for themselves.

    Args:
        limit: invocations at one time.
        request_rate: synchronous requests a second for each of them; None for no limit.
        clock: gives seconds, and does not go back.

    Raises:
        ValueError: the rate is not positive.
    """

    def __init__(
        self,
        limit: int,
        request_rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if request_rate is not None and request_rate <= 0:
            raise ValueError(
                f"request_rate={request_rate}: write how many synchronous requests a second there "
                "are for each unit of concurrency, 10 on AWS, or None for no limit"
            )
        self._limit = limit
        self._request_rate = request_rate
        self._clock = clock
        self._rates: WeakKeyDictionary[Function, RequestRate] = WeakKeyDictionary()
        self._unreserved_rate = RequestRate(request_rate or 0)
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

    def admit(self, function: Function, *, synchronous: bool = True) -> bool:
        """Take one execution; to be given back with :meth:`release`.

        Returns whether it was taken from the account's unreserved concurrency.

        Args:
            function: what is to run.
            synchronous: its caller waits; of the others there is no limit a second.

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
        if synchronous:
            self._count_request(function, reserved)
        self._unreserved_executions += unreserved
        function.concurrent_executions += 1
        function.max_concurrent_executions = max(
            function.max_concurrent_executions, function.concurrent_executions
        )
        return unreserved

    def _count_request(self, function: Function, reserved: int | None) -> None:
        if self._request_rate is None:
            return
        if reserved is None:
            rate, concurrency = self._unreserved_rate, self._limit - self._reserved
        else:
            rate = self._rates.setdefault(function, RequestRate(self._request_rate))
            concurrency = reserved
        if not rate.take(concurrency, self._clock()):
            raise throttled(reserved=reserved is not None, by_rate=True)

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
