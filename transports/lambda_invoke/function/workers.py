"""The threads on which the items of one invocation run at the same time.

Fast commands are a matter of the processor, of which a function has little: two threads are enough
for one to work while the server answers the other, and more would only take the interpreter from
each other (measured: 100 point reads take 17 ms on five threads, 13 on two). Slow commands are a
matter of waiting. So a batch begins with two threads and gets another for each that waits.

A thread sends several fast commands together over one connection. It begins with one, and doubles
while they are fast: what is behind a slow one on a connection waits for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice

from transports.lambda_invoke.envelope import DeferredResult, Item, Result

_MAX_SHARE = 8
_FIRST_THREADS = 2
# What each command that runs at the same time may need: a reply of 16 MB is there twice for a
# moment, and a third time, compressed, if it is large.
_MEMORY_MB_EACH = 96
# What the process holds at rest, and what a reply of 16 MB that waits for those sent with it needs.
_MEMORY_MB_AT_REST, _MEMORY_MB_WAITING = 60, 20
_FAST_S = 0.005

_DEFERRED = DeferredResult()

Run = Callable[[Sequence[Item]], Sequence[Result]]


class Workers:
    """Runs items on threads that are kept.

    Args:
        pool_size: connections that there may be to a server, so commands at a time.
        memory_mb: the function's memory.

    Attributes:
        at_a_time: items that run at the same time at most.
        max_share: commands that a thread sends together at most.
    """

    def __init__(self, pool_size: int, memory_mb: int) -> None:
        self.at_a_time = min(pool_size, memory_mb // _MEMORY_MB_EACH or 1)
        fit = (memory_mb - _MEMORY_MB_AT_REST) // (self.at_a_time * _MEMORY_MB_WAITING)
        self.max_share = max(1, min(fit, _MAX_SHARE))
        self._threads = ThreadPoolExecutor(self.at_a_time, "odm-proxy")

    def run(self, items: Sequence[Item], run: Run, within_s: float | None) -> list[Result]:
        """Return the results of *items*.

        Args:
            items: in the order of the results.
            run: runs a few items one after another; it raises nothing.
            within_s: seconds after which no item is begun: it is deferred. None for items that
                are no batch: of those each thread takes one after another.
        """
        crew = _Crew(items, run, within_s, self.max_share)
        if self.at_a_time == 1:
            crew.work(0)
            return crew.results
        most = min(len(items), self.at_a_time)
        wanted = most if within_s is None else min(most, _FIRST_THREADS)
        working: list[Future[None]] = []
        while True:
            working += [
                self._threads.submit(crew.work, number) for number in range(len(working), wanted)
            ]
            enough = len(working) == most or any(thread.done() for thread in working)
            if not wait(working, None if enough else _FAST_S).not_done:
                break
            wanted = min(most, max(wanted, _FIRST_THREADS + crew.slow()))
        for thread in working:
            thread.result()
        return crew.results

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Crew:
    """The threads that work off one invocation's items, each taking what is next."""

    def __init__(
        self, items: Sequence[Item], run: Run, within_s: float | None, max_share: int
    ) -> None:
        self.results: list[Result] = [_DEFERRED] * len(items)
        self._waiting = iter(enumerate(items))
        self._run = run
        self._max_share = 1 if within_s is None else max_share
        self._begin_before = math.inf if within_s is None else time.monotonic() + within_s
        # For each thread, until when what it has at hand is fast.
        self._fast_until: dict[int, float] = {}

    def work(self, thread: int) -> None:
        """Run items until there are none, or it is too late to begin one."""
        size = 1
        try:
            while share := tuple(islice(self._waiting, size)):
                began = time.monotonic()
                if began > self._begin_before:
                    return
                self._fast_until[thread] = fast_until = began + _FAST_S * size
                indexes, several = zip(*share, strict=True)
                for index, result in zip(indexes, self._run(several), strict=True):
                    self.results[index] = result
                size = min(size * 2, self._max_share) if time.monotonic() < fast_until else 1
        finally:
            self._fast_until.pop(thread, None)

    def slow(self) -> int:
        """Return how many threads wait for something slow."""
        now = time.monotonic()
        return sum(moment < now for moment in list(self._fast_until.values()))
