"""How many invokes may be in flight at a time, learnt from throttles.

A function's reserved concurrency is not known to its callers, and other callers share it. Invokes
that come back throttled are not only late, they are requests that AWS counts; so a throttle lowers
the limit to what was admitted, and invokes that succeed raise it again slowly: additive increase,
as a network's congestion control does. What must wait does so in order of arrival.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque


class Admission:
    """Admits invokes, first come, first served. Belongs to one event loop."""

    def __init__(self) -> None:
        self._limit = math.inf
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> float:
        """The most that may be in flight; infinite until the first throttle."""
        return self._limit

    @property
    def in_flight(self) -> int:
        """Invokes admitted and not yet finished."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """Invokes that wait to be admitted."""
        return len(self._waiting)

    def enter_now(self, *, first: bool = False) -> bool:
        """Be admitted if there is room, and nobody waits or *first*; return whether it was so."""
        if self._in_flight + 1 > self._limit or (self._waiting and not first):
            return False
        self._in_flight += 1
        return True

    async def enter(self, timeout_s: float | None, *, first: bool = False) -> None:
        """Wait to be admitted.

        Args:
            timeout_s: the longest to wait, in seconds; None for as long as it takes.
            first: wait before all others: this invoke has been admitted before, and throttled.

        Raises:
            TimeoutError: it took longer.
        """
        if self.enter_now(first=first):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if first else self._waiting.append)(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # admitted in the same moment
                self._leave()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def succeeded(self) -> None:
        """Take note of an invoke that was not throttled, and admit the next."""
        if self._limit != math.inf:
            self._limit += 1 / self._limit
        self._leave()

    def withdraw(self) -> None:
        """Admit the next in the place of one that has nothing to invoke any more."""
        self._leave()

    def throttled(self) -> None:
        """Take note of an invoke that AWS turned away: those still in flight are the limit."""
        self._limit = max(1, self._in_flight - 1)
        self._leave()

    def _leave(self) -> None:
        self._in_flight -= 1
        while self._waiting and self._in_flight + 1 <= self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
