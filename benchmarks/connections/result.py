"""What was seen: cases with their samples, and the ceiling that they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.connections.sampler import Sample
from odm.cli.charts.statistics import Summary, summarise

DIRECT = "direct"
LAMBDA = "lambda"
WAYS = (DIRECT, LAMBDA)


@dataclass(slots=True, kw_only=True)
class Case:
    """One experiment, one way, one number of callers.

    Attributes:
        experiment: a key of `EXPERIMENTS`.
        way: ``direct`` or ``lambda``.
        callers: how many there were at one time.
        samples: the server over time.
        marks: what happened when, seconds since the sampler began.
        created: connections that the server accepted in a phase, by the phase's name.
        figures: further numbers, by name.
        limits: from which second on the function may have how many connections.
        durations_ms: of queries, from the page's beginning.
        errors: how often each.
        invokes, throttles: as the callers counted them.
        environments: of the function, that were started.
        missed: samples that the server did not answer.
        caller_mb: memory of a caller, shared pages in part.
        failures: why it is no result, or a bad one.
        complete: whether it came to its end.
    """

    experiment: str
    way: str
    callers: int
    samples: list[Sample] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    created: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    limits: list[tuple[float, int]] = field(default_factory=list)
    durations_ms: list[float] = field(default_factory=list)
    errors: Mapping[str, int] = field(default_factory=dict)
    invokes: int = 0
    throttles: int = 0
    environments: int = 0
    missed: int = 0
    caller_mb: float = 0.0
    failures: list[str] = field(default_factory=list)
    complete: bool = False

    @property
    def title(self) -> str:
        """As tables and plots name it."""
        return f"{self.experiment}, {self.callers} callers"

    @property
    def peak(self) -> int:
        """The most connections at one time."""
        return max((sample.current for sample in self.samples), default=0)

    @property
    def total_created(self) -> int:
        """Connections that the server accepted in all."""
        return max((sample.created for sample in self.samples), default=0)

    @property
    def at_end(self) -> int:
        """Connections in the last sample."""
        return self.samples[-1].current if self.samples else 0

    @property
    def summary(self) -> Summary | None:
        """Of the queries' latencies."""
        return summarise(self.durations_ms)

    def limit_at(self, second: float) -> int | None:
        """Return the ceiling at that second, None where there is none."""
        found = [limit for since, limit in self.limits if since <= second]
        return found[-1] if found else None

    def violations(self) -> list[str]:
        """Return in words what should not have been: each sample over its ceiling once."""
        found = list(self.failures)
        over = [
            (sample, limit)
            for sample in self.samples
            if (limit := self.limit_at(sample.second)) is not None and sample.current > limit
        ]
        if over:
            sample, limit = max(over, key=lambda each: each[0].current - each[1])
            found.append(
                f"{sample.current} connections after {sample.second:.1f} s, the ceiling is {limit}"
                f" ({len(over)} samples over it)"
            )
        return found

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        summary = self.summary
        document = asdict(self)
        del document["durations_ms"]
        document["samples"] = [
            [round(each.second, 2), each.current, each.created, dict(each.names)]
            for each in self.samples
        ]
        document["latency_ms"] = summary.document() if summary else None
        document |= {"peak": self.peak, "total_created": self.total_created, "at_end": self.at_end}
        document["violations"] = self.violations()
        return document


@dataclass(slots=True, kw_only=True)
class Simulated:
    """A number of callers that was not real.

    Attributes:
        callers: how many, all at once.
        direct: connections if each opens as many as a real one did.
        proxied: the most of the function at one time.
        ceiling: the most that it may have.
        throttles: of invokes.
        failed: queries that gave up.
        p50_ms, p95_ms: of queries.
        curve: connections of the function over seconds.
    """

    callers: int
    direct: int
    proxied: int
    ceiling: int
    throttles: int
    failed: int
    p50_ms: float
    p95_ms: float
    curve: list[tuple[float, int]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Result:
    """A run.

    Attributes:
        settings: as they were given.
        machine: where it ran, and how busy that was.
        cases: in order.
        simulated: in order.
        skipped: what was left out, with the reason.
        complete: whether it was not interrupted.
    """

    settings: dict[str, Any]
    machine: dict[str, Any] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)
    simulated: list[Simulated] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    complete: bool = False

    def violations(self) -> list[str]:
        """Return every violation, with the case it is of."""
        found = [f"{case.title}, {case.way}: {v}" for case in self.cases for v in case.violations()]
        return found + [
            f"simulated, {each.callers} callers: {each.proxied} connections, ceiling {each.ceiling}"
            for each in self.simulated
            if each.proxied > each.ceiling
        ]

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "settings": self.settings,
            "machine": self.machine,
            "cases": [case.document() for case in self.cases],
            "simulated": [asdict(each) for each in self.simulated],
            "skipped": self.skipped,
            "violations": self.violations(),
            "complete": self.complete,
        }
