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
from dataclasses import dataclass
from heapq import heapreplace
from random import Random

_STEPS = 400
_TAIL = 1e-9
_LONG_MS = 2_000.0


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
        # The mean of x over the density of the largest, by the trapezoidal rule over ±8 sigma.
        width = 16 / _STEPS
        total = 0.0
        for step in range(_STEPS + 1):
            z = -8 + step * width
            density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
            total += math.exp(self.mu + self.sigma * z) * count * normal(z) ** (count - 1) * density
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
        mean = after_ms + self.mean_of_largest(largest_of)
        if mean > _LONG_MS:  # the parts of a millisecond are evenly spread
            return mean + 0.5
        total, k = 0.0, 0
        while True:
            longer = 1 - self.at_most(k - after_ms) ** largest_of
            total += longer
            k += 1
            if longer < _TAIL and k > mean:
                return total

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


def mean_makespan(command: Duration, count: int, workers: int) -> float:
    """Return how long *count* commands take on *workers* threads, on average, in ms.

    Exact up to as many commands as threads, and for constant durations.
    """
    last = command.mean_of_largest(min(count, workers))
    return mean_before_last(command, count, workers) + last


def mean_before_last(command: Duration, count: int, workers: int) -> float:
    """Return when the last commands begin, one on each of *workers* threads, in ms."""
    if not command.spread:
        return (math.ceil(count / workers) - 1) * command.mean_ms
    return max(count - workers, 0) * command.mean_ms / workers


def makespan(durations_ms: list[float], workers: int) -> float:
    """Return how long these commands take when each of *workers* takes the next one, in ms."""
    if len(durations_ms) <= workers:
        return max(durations_ms)
    free_at = [0.0] * workers
    for duration in durations_ms:
        heapreplace(free_at, free_at[0] + duration)
    return max(free_at)
