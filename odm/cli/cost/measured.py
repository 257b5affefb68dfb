"""What a running application or function has measured, as the fields of a workload.

Two sources. ``--statistics``: JSON of a transport's ``statistics()``
(`transports.TransportStatistics`), as the callers saw it; they know neither what the runtime adds
to the handler's time nor how long AWS took to initialise, so `RUNTIME_MS` is added and the init
phase is the workload's. ``--log``: the function's log. Its REPORT lines (text, or
``platform.report`` in JSON) say what is billed; the function's own lines
(`transports.lambda_invoke.function.invocation_log`) say what was carried.

A few minutes say nothing of a month's cold starts: below `LONG_S` their share is not taken over.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html,
https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html (``platform.report``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from odm.cli.cost.estimate import BASE64
from odm.cli.cost.workload import InvalidWorkload, Workload

RUNTIME_MS = 0.5
"""What AWS's runtime client adds to an invocation beside the handler: on the local Lambda 0.51 ms,
the median of 352."""

LONG_S = 6 * 3600.0
"""From so long a measurement on, its share of cold starts is taken for the month's."""

_REPORT = re.compile(
    r"REPORT RequestId: (?P<id>\S+)\s+Duration: (?P<duration>[\d.]+) ms\s+"
    r"Billed Duration: (?P<billed>\d+) ms\s+Memory Size: (?P<memory>\d+) MB"
)
_INIT = re.compile(r"(?:Init|Restore) Duration: ([\d.]+) ms")
_BILLED_RESTORE = re.compile(r"Billed Restore Duration: (\d+) ms")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")


@dataclass(slots=True, kw_only=True)
class Measurement:
    """What was measured, altogether.

    Attributes:
        source: ``"statistics"`` or ``"log"``.
        seconds: over which time.
        commands: that were run; 0 if nobody counted them.
        invocations: that ran.
        billed_ms: of all, as far as the source knows; init phases included.
        warm_billed_ms: of all, without init phases.
        warm_ms: the durations of all, not rounded, without init phases.
        throttles: invokes that were turned away; None if the source does not know.
        cold_starts: invocations that began an environment.
        init_ms: their init phases, altogether.
        bytes_in, bytes_out: of commands and replies.
        memory_mb: the function's memory, None if the source does not know.
        batch_sizes: how many invocations carried how many commands.
        singles_ms: durations of invocations of one command.
    """

    source: str
    seconds: float = 0.0
    commands: int = 0
    invocations: int = 0
    billed_ms: float = 0.0
    warm_billed_ms: float = 0.0
    warm_ms: float = 0.0
    throttles: int | None = None
    cold_starts: int = 0
    init_ms: float = 0.0
    bytes_in: float = 0.0
    bytes_out: float = 0.0
    memory_mb: int | None = None
    batch_sizes: dict[int, int] = field(default_factory=dict)
    singles_ms: list[float] = field(default_factory=list)

    @property
    def gb_seconds(self) -> float | None:
        """What was billed, in GB-seconds; None if the memory is not known."""
        return self.memory_mb and self.billed_ms / 1000 * self.memory_mb / 1024

    def fields(self, default: Workload) -> dict[str, Any]:
        """Return the fields of a workload that this measurement tells.

        Args:
            default: where the function's own time, and its pool, are from.
        """
        invocations, commands = self.invocations, self.commands or self.invocations
        found: dict[str, Any] = {
            "rate": commands / self.seconds,
            "commands_per_invoke": max(commands / invocations, 1.0),
            "billed_ms_per_invoke": self.warm_billed_ms / invocations,
            **self._command(default),
        }
        if self.bytes_in or self.bytes_out:
            found |= {"bytes_in": self.bytes_in / commands, "bytes_out": self.bytes_out / commands}
        if self.memory_mb:
            found["memory_mb"] = self.memory_mb
        if self.init_ms and self.cold_starts:
            found["init_ms"] = self.init_ms / self.cold_starts
        if self.seconds >= LONG_S:
            found["cold_start_share"] = self.cold_starts / invocations
        return found

    def _command(self, default: Workload) -> dict[str, float]:
        """Return what one command takes: what is left of the durations, over the turns it took."""
        if len(self.singles_ms) >= 10:
            mean = sum(self.singles_ms) / len(self.singles_ms)
            variance = sum((each - mean) ** 2 for each in self.singles_ms) / len(self.singles_ms)
            overhead_ms = min(default.overhead_ms, mean / 2)
            spread = math.sqrt(variance) / (mean - overhead_ms)
            return {
                "overhead_ms": overhead_ms,
                "server_ms": mean - overhead_ms,
                "network_ms": 0.0,
                "spread": min(spread, 20.0),
            }
        sizes = self.batch_sizes or {1: self.invocations}
        turns = sum(count * max(1.0, size / default.pool) for size, count in sizes.items())
        overhead_ms = min(default.overhead_ms, self.warm_ms / self.invocations / 2)
        command_ms = (self.warm_ms - overhead_ms * self.invocations) / turns
        return {"overhead_ms": overhead_ms, "server_ms": command_ms, "network_ms": 0.0}

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "source": self.source,
            "seconds": round(self.seconds, 3),
            "commands": self.commands,
            "invocations": self.invocations,
            "billed_ms": round(self.billed_ms, 3),
            "warm_billed_ms": round(self.warm_billed_ms, 3),
            "gb_seconds": None if self.gb_seconds is None else round(self.gb_seconds, 6),
            "cold_starts": self.cold_starts,
            "init_ms": round(self.init_ms, 3),
            "throttles": self.throttles,
            "memory_mb": self.memory_mb,
        }


def read_statistics(path: Path, over_s: float | None, init_ms: float) -> Measurement:
    """Return what the JSON of a transport's ``statistics()`` tells.

    Args:
        path: the file.
        over_s: over how many seconds it was counted.
        init_ms: how long a cold start's init phase takes, where the callers were not told.

    Raises:
        InvalidWorkload: it is not that, or nothing was invoked.
    """
    if over_s is None:
        raise InvalidWorkload(
            "--statistics counts since the application started: say over how many seconds, "
            "e.g. --over 3600"
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else f"no JSON ({error})"
        raise InvalidWorkload(f"{path}: {what}") from error
    if isinstance(document, dict) and isinstance(document.get("statistics"), dict):
        document = document["statistics"]
    try:
        return _from_statistics(document, over_s, init_ms)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidWorkload(
            f"{path}: not the JSON of statistics(): {what}. Write it with "
            "json.dumps(dataclasses.asdict(db.transport.statistics()))"
        ) from error


def _from_statistics(document: Mapping[str, Any], over_s: float, init_ms: float) -> Measurement:
    details = document.get("details", {})
    posted, throttles = int(document["invokes"]), int(details.get("throttles", 0))
    invocations = posted - throttles
    if invocations < 1:
        raise ValueError(f"{posted} invokes, of which {throttles} were throttled: none ran")
    cold_starts = int(document["cold_starts"])
    handler_ms = float(details["function_ms"])
    warm_ms = handler_ms + RUNTIME_MS * invocations
    sizes = {int(size): int(count) for size, count in details.get("batch_sizes", {}).items()}
    sizes[1] = max(invocations - sum(sizes.values()), 0)
    rounding_ms = invocations / 2  # what rounding up adds, on average
    warm_billed_ms = warm_ms + rounding_ms
    # The callers' own sum of what is billed is rounded up, and has the init phases.
    told_init_ms = 0.0
    if cold_starts:
        told_init_ms = max(float(details.get("billed_ms", 0)) - handler_ms - rounding_ms, 0.0)
    return Measurement(
        source="statistics",
        seconds=over_s,
        commands=int(document["commands"]),
        invocations=invocations,
        billed_ms=warm_billed_ms + (told_init_ms or cold_starts * math.ceil(init_ms)),
        warm_billed_ms=warm_billed_ms,
        warm_ms=warm_ms,
        throttles=throttles,
        cold_starts=cold_starts,
        init_ms=told_init_ms,
        bytes_in=float(details.get("bytes_sent", 0)) / BASE64,
        bytes_out=float(details.get("bytes_received", 0)) / BASE64,
        batch_sizes=sizes,
    )


def read_log(path: Path, over_s: float | None = None) -> Measurement:
    """Return what the function's log tells.

    Args:
        path: lines as CloudWatch, ``aws logs tail`` or ``odm local`` write them.
        over_s: over how many seconds; None reads it from the lines' times.

    Raises:
        InvalidWorkload: there is no invocation in it, or no time.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            log = _read(lines)
    except OSError as error:
        raise InvalidWorkload(f"{path}: {error.strerror}") from error
    measurement = log.measurement()
    if not measurement.invocations:
        raise InvalidWorkload(
            f"{path}: no REPORT line and no line of the DB proxy function in it: is it the "
            "function's log group?"
        )
    measurement.seconds = over_s or log.seconds
    if not measurement.seconds:
        raise InvalidWorkload(
            f"{path}: the lines carry no time: say over how many seconds, e.g. --over 3600"
        )
    return measurement


@dataclass(slots=True)
class _Report:
    duration_ms: float
    billed_ms: int
    memory_mb: int
    init_ms: float | None
    billed_restore_ms: int = 0

    @property
    def warm_billed_ms(self) -> int:
        """What is billed of it beside the init phase."""
        return math.ceil(self.duration_ms)


@dataclass(slots=True)
class _Log:
    """What a log's lines said, by the id of the request."""

    reports: dict[str, _Report] = field(default_factory=dict)
    lines: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    first: float = math.inf
    last: float = -math.inf

    @property
    def seconds(self) -> float:
        """From the first line to the last."""
        return max(self.last - self.first, 0.0)

    def measurement(self) -> Measurement:
        found = Measurement(source="log")
        if self.reports:
            self._add_reports(found)
        else:
            self._add_own(found)
        for line in self.lines.values():
            commands = int(line["Commands"])
            found.commands += commands
            found.bytes_in += float(line.get("BytesIn", 0))
            found.bytes_out += float(line.get("BytesOut", 0))
            if commands:
                found.batch_sizes[commands] = found.batch_sizes.get(commands, 0) + 1
        return found

    def _add_reports(self, found: Measurement) -> None:
        for request_id, report in self.reports.items():
            found.invocations += 1
            found.billed_ms += report.billed_ms + report.billed_restore_ms
            found.warm_billed_ms += report.warm_billed_ms
            found.warm_ms += report.duration_ms
            found.memory_mb = report.memory_mb
            if report.init_ms is not None:
                found.cold_starts += 1
                found.init_ms += report.init_ms
            elif self.lines.get(request_id, {}).get("Commands") == 1:
                found.singles_ms.append(report.duration_ms)

    def _add_own(self, found: Measurement) -> None:
        """Count by the function's own lines: the platform's are in another file."""
        for line in self.lines.values():
            duration_ms = float(line["Duration"]) + RUNTIME_MS
            init_ms = float(line.get("InitDuration", 0))
            found.invocations += 1
            found.warm_billed_ms += math.ceil(duration_ms)
            found.billed_ms += math.ceil(duration_ms) + math.ceil(init_ms)
            found.warm_ms += duration_ms
            found.cold_starts += int(line.get("ColdStarts", 0))
            found.init_ms += init_ms
            if line["Commands"] == 1 and not line.get("ColdStarts"):
                found.singles_ms.append(duration_ms)


def _read(lines: Iterable[str]) -> _Log:
    log = _Log()
    for line in lines:
        if found := _TIME.search(line[:120]):
            second = _second(found[0])
            log.first, log.last = min(log.first, second), max(log.last, second)
        if match := _REPORT.search(line):
            init = _INIT.search(line, match.end())
            restored = _BILLED_RESTORE.search(line, match.end())
            log.reports[match["id"]] = _Report(
                float(match["duration"]),
                int(match["billed"]),
                int(match["memory"]),
                float(init[1]) if init else None,
                int(restored[1]) if restored else 0,
            )
            continue
        for document in _documents(line):
            if document.get("type") == "platform.report":
                record = document["record"]
                log.reports[record["requestId"]] = _platform_report(record["metrics"])
            elif "Commands" in document and "requestId" in document:
                log.lines[document["requestId"]] = document
    return log


def _documents(line: str) -> Iterator[Mapping[str, Any]]:
    start = line.find("{")
    if start < 0 or ('"Commands"' not in line and "platform.report" not in line):
        return
    try:
        document = json.loads(line[start:])
    except ValueError:  # a line that was cut off, or something else's
        return
    if isinstance(document, dict):
        yield document


def _platform_report(metrics: Mapping[str, Any]) -> _Report:
    init = metrics.get("initDurationMs", metrics.get("restoreDurationMs"))
    return _Report(
        float(metrics["durationMs"]),
        int(metrics["billedDurationMs"]),
        int(metrics["memorySizeMB"]),
        None if init is None else float(init),
        int(metrics.get("billedRestoreDurationMs", 0)),
    )


def _second(text: str) -> float:
    try:
        return datetime.fromisoformat(text.replace(" ", "T").replace("Z", "+00:00")).timestamp()
    except ValueError:  # digits that are no time
        return math.nan
