"""What an execution environment wrote, with the lines that the platform adds.

Owns the bounded buffer and the platform's words (INIT_START, START, END, REPORT). Knows nothing of
CloudWatch beyond the look of its lines. Specification:
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_LOG_BYTES = 1 << 20
"""What is kept of one environment's log; the oldest goes first."""
TAIL_BYTES = 4096
"""``X-Amz-Log-Result`` carries the last 4 KB."""

# The runtime client ends the lines of one message with carriage returns when it writes to stdout,
# so that a line-based collector keeps the message in one piece. AWS shows them as lines.
_ONE_MESSAGE = re.compile(rb"^\[ERROR\][^\n]*\r[^\n]*$", re.MULTILINE)


class EnvironmentLog:
    """The log of one execution environment, bounded."""

    sink: Callable[[bytes], None] | None = None
    """Called with every piece as it is written, e.g. to print it."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._start = 0  # the offset of the first byte that is still there
        self._end = 0
        self._at_line_start = True

    @property
    def offset(self) -> int:
        """Where the next byte goes: a mark for :meth:`since`."""
        return self._end

    def write(self, data: bytes) -> None:
        """Add what the function wrote."""
        if not data:
            return
        if b"\r" in data:
            data = _ONE_MESSAGE.sub(lambda match: match[0].replace(b"\r", b"\n"), data)
        self._chunks.append(data)
        self._end += len(data)
        self._at_line_start = data.endswith(b"\n")
        while self._end - self._start > MAX_LOG_BYTES and len(self._chunks) > 1:
            self._start += len(self._chunks.popleft())
        if self.sink is not None:
            self.sink(data)

    def platform(self, line: str) -> None:
        """Add a line of the platform's, on a line of its own."""
        newline = "" if self._at_line_start else "\n"
        self.write(f"{newline}{line}\n".encode())

    def text(self) -> str:
        """Everything that is still there."""
        return b"".join(self._chunks).decode(errors="replace")

    def since(self, offset: int) -> bytes:
        """Return the last 4 KB of what was written from ``offset`` on."""
        wanted = min(TAIL_BYTES, self._end - max(offset, self._start))
        pieces: list[bytes] = []
        missing = wanted
        for chunk in reversed(self._chunks):
            if missing <= 0:
                break
            pieces.append(chunk[-missing:])
            missing -= len(pieces[-1])
        return b"".join(reversed(pieces))


@dataclass(frozen=True, slots=True)
class Report:
    """The numbers of a REPORT line."""

    request_id: str
    duration_ms: float
    memory_size_mb: int
    max_memory_used_mb: int
    init_duration_ms: float | None = None
    restore_duration_ms: float | None = None
    status: str = ""
    error_type: str = ""

    def __str__(self) -> str:
        fields = [
            f"REPORT RequestId: {self.request_id}",
            f"Duration: {self.duration_ms:.2f} ms",
            f"Billed Duration: {math.ceil(self.duration_ms + (self.init_duration_ms or 0))} ms",
            f"Memory Size: {self.memory_size_mb} MB",
            f"Max Memory Used: {self.max_memory_used_mb} MB",
        ]
        if self.init_duration_ms is not None:
            fields.append(f"Init Duration: {self.init_duration_ms:.2f} ms")
        if self.restore_duration_ms is not None:
            fields.append(f"Restore Duration: {self.restore_duration_ms:.2f} ms")
            fields.append(f"Billed Restore Duration: {math.ceil(self.restore_duration_ms)} ms")
        return "\t".join(fields + _status(self.status, self.error_type)) + "\t"


def init_report(duration_ms: float, phase: str, status: str, error_type: str = "") -> str:
    """Make the line for an init phase: one that failed, or a snapshot's."""
    fields = [f"INIT_REPORT Init Duration: {duration_ms:.2f} ms", f"Phase: {phase}"]
    return "\t".join(fields + _status(status, error_type))


def _status(status: str, error_type: str) -> list[str]:
    fields = [f"Status: {status}"] if status else []
    return [*fields, f"Error Type: {error_type}"] if error_type else fields


def timestamp() -> str:
    """Now, e.g. ``2026-11-22T10:00:00.000Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
