"""Time in the fake: the wall clock, which a test may freeze, and the cluster's own time.

Cluster time is what ``$clusterTime`` and ``operationTime`` carry: seconds and a counter, strictly
increasing with every write.

Spec: https://www.mongodb.com/docs/manual/reference/bson-types/#timestamps
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from bson import DatetimeMS, Int64
from bson.timestamp import Timestamp

_SIGNATURE: Final = {"hash": b"\x00" * 20, "keyId": Int64(0)}


def wall_clock_ms() -> int:
    """Return the milliseconds since 1970 that the machine's clock shows."""
    return time.time_ns() // 1_000_000


class Clock:
    """The wall clock of one fake and the cluster time that follows it.

    What the server dates follows it: ``$$NOW``, ``$currentDate``, TTL indexes, the lives of
    cursors, sessions and transactions. What the driver or the application dates does not
    (ObjectIds, ``datetime.now()``), nor does waiting.

    Args:
        source: returns milliseconds since 1970.

    Attributes:
        moves: how often a test has moved it.
        latest: the cluster time of the last write, as one integer (seconds · 2³² + counter).
        operation_time: the same as a `Timestamp`, as replies carry it.
        cluster_time: the document of ``$clusterTime``.
    """

    def __init__(self, source: Callable[[], int] = wall_clock_ms) -> None:
        self._source = source
        self._offset_ms = 0
        self._frozen_ms: int | None = None
        self.moves = 0
        self.latest = 0
        self.operation_time = Timestamp(0, 0)
        self.cluster_time: dict[str, object] = {}
        self.tick()

    def now_ms(self) -> int:
        """Return the milliseconds since 1970 that this clock shows."""
        return self._frozen_ms if self._frozen_ms is not None else self._source() + self._offset_ms

    def now(self) -> DatetimeMS:
        """Return the time of day as a BSON date."""
        return DatetimeMS(self.now_ms())

    @property
    def time(self) -> datetime:
        """The time of day, in UTC."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.now_ms())

    @property
    def is_frozen(self) -> bool:
        """Whether it stands still."""
        return self._frozen_ms is not None

    def freeze(self, at: datetime | None = None) -> None:
        """Stop the clock.

        Args:
            at: what it is to show, in UTC if it names no time zone; None for what it shows now.

        Raises:
            TypeError: it is no `datetime`.
        """
        if at is not None and not isinstance(at, datetime):
            raise TypeError(f"freeze() takes a datetime, not {at!r}: datetime(2024, 2, 29, 12)")
        self._frozen_ms = self.now_ms() if at is None else _milliseconds(at)
        self.moves += 1

    def advance(self, by: timedelta | float) -> None:
        """Move the clock on, frozen or not; what has expired by then is gone at the next command.

        Args:
            by: a `timedelta`, or seconds.

        Raises:
            ValueError: backwards.
            TypeError: neither a `timedelta` nor a number.
        """
        if not isinstance(by, timedelta | float | int):
            raise TypeError(f"advance() takes a timedelta, or seconds, not {by!r}")
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if seconds < 0:
            raise ValueError(f"a clock goes forward: advance({by!r}); freeze(at=…) sets any time")
        milliseconds = round(seconds * 1000)
        if self._frozen_ms is None:
            self._offset_ms += milliseconds
        else:
            self._frozen_ms += milliseconds
        self.moves += 1

    def thaw(self) -> None:
        """Let the clock follow the machine's again."""
        self._frozen_ms = None
        self._offset_ms = 0
        self.moves += 1

    def tick(self) -> int:
        """Advance cluster time by one operation and return it as one integer."""
        floor = (self.now_ms() // 1000) << 32
        self.latest = self.latest + 1 if self.latest > floor else floor + 1
        self.operation_time = as_timestamp(self.latest)
        self.cluster_time = {"clusterTime": self.operation_time, "signature": _SIGNATURE}
        return self.latest

    def __repr__(self) -> str:
        return f"<Clock: {self.time.isoformat()}{', frozen' if self.is_frozen else ''}>"


def _milliseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def as_timestamp(cluster_time: int) -> Timestamp:
    """Return the integer form of a cluster time as a BSON timestamp."""
    return Timestamp(cluster_time >> 32, cluster_time & 0xFFFFFFFF)


def as_integer(timestamp: Timestamp) -> int:
    """Return a BSON timestamp as the integer that `Clock.latest` uses."""
    return (timestamp.time << 32) | timestamp.inc
