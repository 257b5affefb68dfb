"""Time in the fake: the wall clock, which a test may freeze, and the cluster's own time.

Cluster time is what ``$clusterTime`` and ``operationTime`` carry: seconds and a counter, strictly
increasing with every write.

Spec: https://www.mongodb.com/docs/manual/reference/bson-types/#timestamps
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from bson import DatetimeMS, Int64
from bson.timestamp import Timestamp

_SIGNATURE: Final = {"hash": b"\x00" * 20, "keyId": Int64(0)}


def wall_clock_ms() -> int:
    """Return the milliseconds since 1970 that the machine's clock shows."""
    return time.time_ns() // 1_000_000


class Clock:
    """The wall clock of one fake and the cluster time that follows it.

    Args:
        now_ms: returns milliseconds since 1970; a frozen or scripted one makes tests repeatable.

    Attributes:
        latest: the cluster time of the last write, as one integer (seconds · 2³² + counter).
        operation_time: the same as a `Timestamp`, as replies carry it.
        cluster_time: the document of ``$clusterTime``.
    """

    def __init__(self, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.now_ms = now_ms
        self.latest = 0
        self.operation_time = Timestamp(0, 0)
        self.cluster_time: dict[str, object] = {}
        self.tick()

    def now(self) -> DatetimeMS:
        """Return the time of day as a BSON date."""
        return DatetimeMS(self.now_ms())

    def tick(self) -> int:
        """Advance cluster time by one operation and return it as one integer."""
        floor = (self.now_ms() // 1000) << 32
        self.latest = self.latest + 1 if self.latest > floor else floor + 1
        self.operation_time = as_timestamp(self.latest)
        self.cluster_time = {"clusterTime": self.operation_time, "signature": _SIGNATURE}
        return self.latest


def as_timestamp(cluster_time: int) -> Timestamp:
    """Return the integer form of a cluster time as a BSON timestamp."""
    return Timestamp(cluster_time >> 32, cluster_time & 0xFFFFFFFF)


def as_integer(timestamp: Timestamp) -> int:
    """Return a BSON timestamp as the integer that `Clock.latest` uses."""
    return (timestamp.time << 32) | timestamp.inc
