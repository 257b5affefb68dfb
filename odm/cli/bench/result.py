"""What a run found, as values: filled while it runs, so that a stopped run has a report too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from odm.cli.bench.cold_result import ColdProcess
from odm.cli.bench.judged import judge
from odm.cli.charts.statistics import Summary, ratio, summarise

PAIRS = (
    ("lambda-driver", "invoke"),
    ("lambda-driver", "post"),
    ("proxy-2020", "lambda"),
    ("lambda-single", "lambda"),
    ("lambda", "odm"),
    ("odm", "driver"),
    ("odm", "driver+pydantic"),
    ("beanie", "odm"),
    ("motor", "driver"),
)
"""Whose medians are compared, the first one's divided by the second one's."""


@dataclass(slots=True)
class Series:
    """What one contender did in one workload.

    Attributes:
        first_ms: its very first operation; it is warm-up and not among the durations.
        durations_ms: of single operations, all rounds.
        round_medians_ms: the median of each turn, None of one in which nothing was done.
        invokes: while those ran.
        cpu_ms: that this process computed meanwhile.
        error: why it could not take part, or stopped to.
    """

    first_ms: float | None = None
    durations_ms: list[float] = field(default_factory=list)
    round_medians_ms: list[float | None] = field(default_factory=list)
    invokes: int = 0
    cpu_ms: float = 0.0
    error: str | None = None

    def take(self, durations_ms: Sequence[float]) -> None:
        """Add what was done in one turn."""
        found = summarise(durations_ms)
        self.durations_ms += durations_ms
        self.round_medians_ms.append(found.median if found else None)

    @property
    def summary(self) -> Summary | None:
        """The durations in a few numbers."""
        return summarise(self.durations_ms)

    @property
    def invokes_per_operation(self) -> float | None:
        """Invokes per operation, None before there was one."""
        return self.invokes / len(self.durations_ms) if self.durations_ms else None

    @property
    def cpu_ms_per_operation(self) -> float | None:
        """What this process computed for an operation, None before there was one."""
        return self.cpu_ms / len(self.durations_ms) if self.durations_ms else None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        summary, per_operation = self.summary, self.invokes_per_operation
        return {
            "first_ms": _rounded(self.first_ms),
            "summary_ms": summary.document() if summary else None,
            "invokes": self.invokes,
            "invokes_per_operation": _rounded(per_operation),
            "cpu_ms_per_operation": _rounded(self.cpu_ms_per_operation),
            "durations_ms": [round(each, 3) for each in self.durations_ms],
            "error": self.error,
        }


@dataclass(slots=True, kw_only=True)
class ScalePoint:
    """So many documents, read in one way by one contender.

    Attributes:
        contender: who read.
        operation: ``list``, ``stream`` or ``page``.
        documents: how many.
        durations_ms: of the whole.
        peak_mb: the most memory that streaming so many took, in a process of its own, above what
            that process had before.
    """

    contender: str
    operation: str
    documents: int
    durations_ms: list[float] = field(default_factory=list)
    peak_mb: float | None = None
    error: str | None = None

    @property
    def summary(self) -> Summary | None:
        """The durations in a few numbers."""
        return summarise(self.durations_ms)

    @property
    def us_per_document(self) -> float | None:
        """The median of the whole, in µs for each document."""
        summary = self.summary
        return summary.median * 1000 / self.documents if summary else None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        summary, each = self.summary, self.us_per_document
        return {
            "contender": self.contender,
            "operation": self.operation,
            "documents": self.documents,
            "summary_ms": summary.document() if summary else None,
            "us_per_document": _rounded(each),
            "peak_mb": _rounded(self.peak_mb),
            "error": self.error,
        }


@dataclass(slots=True, kw_only=True)
class LoadPoint:
    """One contender under the mixed load at one concurrency, over all rounds."""

    contender: str
    concurrency: int
    per_second: list[float] = field(default_factory=list)
    durations_ms: list[float] = field(default_factory=list)
    operations: int = 0
    invokes: int = 0
    errors: int = 0
    error: str | None = None

    @property
    def invokes_per_operation(self) -> float | None:
        """Invokes per operation, None before there was one."""
        return self.invokes / self.operations if self.operations else None

    def document(self) -> dict[str, Any]:
        """Return it for JSON; of its durations the summary alone."""
        summary, throughput = summarise(self.durations_ms), summarise(self.per_second)
        return {
            "contender": self.contender,
            "concurrency": self.concurrency,
            "per_second": [round(each, 1) for each in self.per_second],
            "median_per_second": round(throughput.median, 1) if throughput else None,
            "summary_ms": summary.document() if summary else None,
            "operations": self.operations,
            "invokes_per_operation": _rounded(self.invokes_per_operation),
            "errors": self.errors,
            "error": self.error,
        }


@dataclass(slots=True, kw_only=True)
class ColdStart:
    """The first invocation of a new execution environment, as its caller waits for it.

    Attributes:
        total_ms: from the invoke to the reply; for lambda:// what opening does is in it.
        init_ms: the function's initialisation, as its REPORT line tells.
        handler_ms: the first invocation inside the handler, likewise.
    """

    total_ms: float
    init_ms: float | None = None
    handler_ms: float | None = None

    @property
    def rest_ms(self) -> float | None:
        """What is neither: the process's start, the caller's client, the way."""
        if self.init_ms is None or self.handler_ms is None:
            return None
        return max(self.total_ms - self.init_ms - self.handler_ms, 0.0)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "total_ms": _rounded(self.total_ms),
            "init_ms": _rounded(self.init_ms),
            "handler_ms": _rounded(self.handler_ms),
            "rest_ms": _rounded(self.rest_ms),
        }


@dataclass(slots=True, kw_only=True)
class Trace:
    """One contender's invocations, one after the other, the cold one first."""

    contender: str
    durations_ms: list[float] = field(default_factory=list)
    cold_starts: list[ColdStart] = field(default_factory=list)
    error: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        warm = summarise(self.durations_ms[1:])
        return {
            "contender": self.contender,
            "durations_ms": [round(each, 3) for each in self.durations_ms],
            "warm_summary_ms": warm.document() if warm else None,
            "cold_starts": [each.document() for each in self.cold_starts],
            "error": self.error,
        }


@dataclass(slots=True, kw_only=True)
class ConnectionCurve:
    """The server's connections over time while many callers live.

    Attributes:
        scenario: what the callers do.
        way: ``direct`` or ``lambda``.
        samples: (seconds, connections above those of before).
        answered: callers that had all their answers.
        created: connections made in all, closed ones included.
    """

    scenario: str
    way: str
    callers: int
    samples: list[tuple[float, int]] = field(default_factory=list)
    answered: int = 0
    created: int = 0
    error: str | None = None

    @property
    def peak(self) -> int:
        """The most that were open at a time."""
        return max((count for _, count in self.samples), default=0)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "scenario": self.scenario,
            "way": self.way,
            "callers": self.callers,
            "answered": self.answered,
            "peak": self.peak,
            "created": self.created,
            "samples": [[round(second, 3), count] for second, count in self.samples],
            "error": self.error,
        }


@dataclass(slots=True, kw_only=True)
class Result:
    """A whole run.

    Attributes:
        tls: whether the function was reached by TLS; None where there was none.
    """

    machine: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    tls: bool | None = None
    contenders: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    workloads: dict[str, dict[str, Series]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    scale: list[ScalePoint] = field(default_factory=list)
    load: list[LoadPoint] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    cold: list[ColdProcess] = field(default_factory=list)
    connections: list[ConnectionCurve] = field(default_factory=list)
    complete: bool = False

    @property
    def errors(self) -> list[tuple[str, str, str]]:
        """What failed: contender, where, why."""
        found = [
            (name, workload, series.error)
            for workload, by_name in self.workloads.items()
            for name, series in by_name.items()
            if series.error
        ]
        found += [(p.contender, f"scale, {p.operation}", p.error) for p in self.scale if p.error]
        found += [(p.contender, f"load at {p.concurrency}", p.error) for p in self.load if p.error]
        found += [(each.contender, "trace", each.error) for each in self.traces if each.error]
        found += [(each.name, f"cold {each.kind}", each.error) for each in self.cold if each.error]
        found += [(each.way, each.scenario, each.error) for each in self.connections if each.error]
        return found

    @property
    def way(self) -> str | None:
        """How the function was reached, in words."""
        if self.tls is None:
            return None
        return "invokes by TLS" if self.tls else "invokes by plain HTTP: AWS's are by TLS"

    def ratios(self) -> dict[str, dict[str, float]]:
        """Return the ratios of `PAIRS` by workload, as far as both took part."""
        return {
            workload: {
                f"{one} / {other}": round(found, 3)
                for one, other in PAIRS
                if one in by_name
                and other in by_name
                and (found := ratio(by_name[one].summary, by_name[other].summary)) is not None
            }
            for workload, by_name in self.workloads.items()
        }

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "ok": self.complete and not self.errors,
            "complete": self.complete,
            "machine": self.machine,
            "settings": self.settings,
            "tls": self.tls,
            "contenders": self.contenders,
            "skipped": self.skipped,
            "workloads": {
                workload: {
                    "title": self.titles.get(workload, workload),
                    "contenders": {name: each.document() for name, each in by_name.items()},
                }
                for workload, by_name in self.workloads.items()
            },
            "ratios": self.ratios(),
            "judged": [each.document() for each in judge(self.workloads)],
            "scale": [each.document() for each in self.scale],
            "load": [each.document() for each in self.load],
            "traces": [each.document() for each in self.traces],
            "cold": [each.document() for each in self.cold],
            "connections": [each.document() for each in self.connections],
            "errors": [
                {"contender": name, "where": where, "error": error}
                for name, where, error in self.errors
            ],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
