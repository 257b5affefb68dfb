"""How long things take: a log-normal duration, its largest of several, and its rounding up.

Latencies of databases are skewed: most are short, some are long. A log-normal distribution has
that shape, two parameters, and closed forms for most of what is asked. Pure functions, no clock;
random numbers come from the generator that is given.

AWS bills each invocation's duration rounded up to the next millisecond, so what is billed on
average is the mean of the rounded durations and not the rounded mean:
https://aws.amazon.com/lambda/pricing/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heapreplace
from random import Random

MAX_SHARE = 8
"""Commands that a thread of the function sends together, at most."""

FAST_MS = 5.0
"""Commands are fast if a share takes less than so long for each."""

_BATCHES = 1_000
_STEPS = 400
_TAIL = 1e-9
_EXACT_MS = 2_000


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration in milliseconds.

    Attributes:
        mean_ms: its mean.
        spread: its standard deviation, divided by its mean; 0 for a constant.
    """

    mean_ms: float
    spread: float = 0.0

    @property
    def sigma(self) -> float:
        """The standard deviation of its logarithm."""
        return math.sqrt(math.log1p(self.spread**2))

    @property
    def mu(self) -> float:
        """The mean of its logarithm."""
        return math.log(self.mean_ms) - self.sigma**2 / 2

    def at_most(self, value_ms: float) -> float:
        """Return the probability that it is not longer than *value_ms*."""
        if value_ms <= 0:
            return 0.0 if self.mean_ms > 0 or value_ms < 0 else 1.0
        if not self._varies:
            return 1.0 if value_ms >= self.mean_ms else 0.0
        return normal((math.log(value_ms) - self.mu) / self.sigma)

    def mean_of_largest(self, count: int) -> float:
        """Return the mean of the largest of *count* such durations."""
        if not self._varies or count == 1:
            return self.mean_ms
        return self._mean(lambda value_ms: value_ms, count)

    def _mean(self, function: Callable[[float], float], largest_of: int) -> float:
        """Return the mean of a function of the largest, by the trapezoidal rule over ±8 sigma."""
        width = 16 / _STEPS
        total = 0.0
        for step in range(_STEPS + 1):
            z = -8 + step * width
            density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
            density *= largest_of * normal(z) ** (largest_of - 1)
            total += function(math.exp(self.mu + self.sigma * z)) * density
        return total * width

    def mean_rounded_up(self, *, after_ms: float = 0.0, largest_of: int = 1) -> float:
        """Return the mean of ``ceil(after_ms + largest)``: what is billed, in ms.

        It is the sum of the probabilities that the duration is longer than 0, 1, 2, … ms.

        Args:
            after_ms: a constant that comes before.
            largest_of: of how many such durations the largest counts.
        """
        if not self._varies:
            return float(math.ceil(round(after_ms + self.mean_ms, 9)))
        total = 0.0
        for k in range(_EXACT_MS):
            longer = 1 - self.at_most(k - after_ms) ** largest_of
            total += longer
            if longer < _TAIL:
                return total
        # Of what is longer, the parts of a millisecond are evenly spread.
        beyond = self._mean(lambda value_ms: max(after_ms + value_ms - _EXACT_MS, 0), largest_of)
        return total + beyond + longer / 2

    def sample(self, random: Random) -> float:
        """Return one such duration, in ms."""
        if not self._varies:
            return self.mean_ms
        return random.lognormvariate(self.mu, self.sigma)

    @property
    def overlap(self) -> float:
        """Of two that began together, the mean of the shorter one divided by the mean; ½ to 1."""
        return 2 * normal(-self.sigma / math.sqrt(2)) if self._varies else 1.0

    @property
    def _varies(self) -> bool:
        return self.spread > 0 and self.mean_ms > 0


def normal(z: float) -> float:
    """Return the standard normal distribution's probability of at most *z*."""
    return math.erfc(-z / math.sqrt(2)) / 2


def makespan(server_ms: Sequence[float], network_ms: float, workers: int) -> float:
    """Return how long the function takes for the commands of one batch, in ms.

    Each of its threads takes the next share of the commands, sends it over one connection, and
    waits for all its answers: a round trip, and one command after the other on the server. A
    thread begins with one command and doubles its share while they are fast, as
    `transports.lambda_invoke.function.app` does.

    Args:
        server_ms: how long each command takes on the server.
        network_ms: a round trip.
        workers: threads, and connections.
    """
    threads = [(0.0, 1)] * min(workers, len(server_ms))  # when each is free, and its next share
    sent = 0
    while sent < len(server_ms):
        began, size = threads[0]
        took = network_ms + sum(server_ms[sent : sent + size])
        is_fast = took < FAST_MS * size
        heapreplace(threads, (began + took, min(2 * size, MAX_SHARE) if is_fast else 1))
        sent += size
    return max(ended for ended, _ in threads)


def mean_makespan(server: Duration, network_ms: float, count: int, workers: int) -> float:
    """Return how long *count* commands take in one batch, on average, in ms."""
    if count <= workers:
        return network_ms + server.mean_of_largest(count)
    spans = _makespans(server, network_ms, count, workers)
    return sum(spans) / len(spans)


def mean_billed(
    server: Duration, network_ms: float, count: int, workers: int, overhead_ms: float
) -> float:
    """Return what an invocation of *count* commands is billed for on average, in ms."""
    if count <= workers:
        return server.mean_rounded_up(after_ms=overhead_ms + network_ms, largest_of=count)
    spans = _makespans(server, network_ms, count, workers)
    return sum(math.ceil(round(overhead_ms + span, 9)) for span in spans) / len(spans)


@cache
def _makespans(server: Duration, network_ms: float, count: int, workers: int) -> tuple[float, ...]:
    """Return how long batches take that are larger than the pool: there is no formula for them."""
    random = Random(count)  # noqa: S311 - reproducible, not secret
    batches = _BATCHES if server.spread > 0 else 1
    return tuple(
        makespan([server.sample(random) for _ in range(count)], network_ms, workers)
        for _ in range(batches)
    )
