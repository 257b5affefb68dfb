"""Durations in constant memory: counts by size, from which quantiles are read."""

from __future__ import annotations

import math
from collections import Counter

_STEP = math.log(1.05)
_SHORTEST_S = 1e-6


class Latencies:
    """Durations in seconds, kept to within 5 %, however many.

    Attributes:
        count: how many.
        longest_s: the longest, exactly.
    """

    __slots__ = ("_buckets", "count", "longest_s")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        """Take one more."""
        bucket = math.ceil(math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S) / _STEP)
        self._buckets[bucket] += 1
        self.count += 1
        self.longest_s = max(self.longest_s, seconds)

    def quantile(self, share: float) -> float:
        """Return the duration that *share* (0 to 1) of them do not exceed; 0 where there is none.

        It is at most 5 % more than the real one, and never more than the longest.
        """
        wanted, seen = max(1, math.ceil(share * self.count)), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(_SHORTEST_S * math.exp(bucket * _STEP), self.longest_s)
        return 0.0
