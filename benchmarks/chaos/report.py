"""What a run comes to: numbers by kind, faults, violations, a verdict; as a table and as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.chaos.checker import Violation
from benchmarks.chaos.history import History

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSummary:
    """What became of the operations of one kind; latencies in ms, of those acknowledged."""

    kind: str
    attempted: int
    acknowledged: int
    failed: int
    unknown: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run's result.

    Attributes:
        options: what repeats it, the seed above all.
        interrupted: it was ended by Ctrl-C; what was done until then was checked.
        errors: how often callers were told each error, by its type and code.
        faults: how often each kind of fault struck.
        timeline: which faults, from when to when, in seconds after the workers began.
        faults_failed: faults that could not be made; the run proves less.
        stream_events: by reader.
        connections: by server, the most that were seen.
        ceiling: what that must not exceed.
        service: counts of the Lambda service.
    """

    options: Mapping[str, Any]
    duration_s: float
    interrupted: bool
    kinds: Sequence[KindSummary]
    errors: Mapping[str, int]
    faults: Mapping[str, int]
    timeline: Sequence[tuple[float, float, str]]
    faults_failed: Sequence[str]
    stream_events: Mapping[str, int]
    streams_reopened: int
    connections: Mapping[str, int]
    connection_samples: int
    ceiling: int
    service: Mapping[str, int]
    violations: Sequence[Violation] = field(default_factory=tuple)

    @property
    def unproven(self) -> list[str]:
        """What the run has not looked at, and so says nothing about."""
        looked_at = {
            "no operation was acknowledged": any(kind.acknowledged for kind in self.kinds),
            "no connection was seen": any(self.connections.values()),
            "no event of a change stream was read": any(self.stream_events.values()),
        }
        return [what for what, done in looked_at.items() if not done]

    @property
    def passed(self) -> bool:
        """Whether nothing was violated, and everything was looked at."""
        return not self.violations and not self.unproven

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return {"passed": self.passed, "unproven": self.unproven, **asdict(self)}


def summarise(history: History) -> list[KindSummary]:
    """Count the operations by kind, the total last."""
    kinds = sorted({operation.kind for operation in history.operations.values()})
    return [_summary(history, kind, {kind}) for kind in kinds] + [
        _summary(history, "all", set(kinds))
    ]


def _summary(history: History, name: str, kinds: set[str]) -> KindSummary:
    operations = [each for each in history.operations.values() if each.kind in kinds]
    outcomes = Counter(each.outcome for each in operations)
    latencies = sorted(
        each.latency_s * 1000
        for each in operations
        if each.outcome == "acknowledged" and each.latency_s is not None
    )
    return KindSummary(
        kind=name,
        attempted=len(operations),
        acknowledged=outcomes["acknowledged"],
        failed=outcomes["failed"],
        unknown=outcomes["unknown"],
        p50_ms=_quantile(latencies, 0.50),
        p99_ms=_quantile(latencies, 0.99),
        max_ms=_quantile(latencies, 1.0),
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return 0.0
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1)


def count_errors(history: History) -> dict[str, int]:
    """Count what callers were told, by the error's type and code, the most frequent first."""
    told = (each.error.partition(":")[0] for each in history.operations.values() if each.error)
    return dict(Counter(told).most_common())


def as_text(report: Report) -> str:
    """Return the report for a terminal or a file."""
    blocks = [
        _operations(report),
        _pairs("faults", _counts(report.faults)),
        _pairs("errors told", _counts(report.errors)),
        _pairs(
            "streams",
            f"{_counts(report.stream_events)}; opened again {report.streams_reopened} times",
        ),
        _pairs(
            "connections",
            f"at most {max(report.connections.values(), default=0)} on a server,"
            f" the ceiling is {report.ceiling} ({report.connection_samples} samples)",
        ),
        _pairs("service", _counts(report.service)),
    ]
    blocks += [_pairs("not made", text) for text in report.faults_failed]
    blocks += [_pairs("unproven", text) for text in report.unproven]
    by_kind = Counter(violation.kind for violation in report.violations)
    blocks.append(_pairs("violations", _counts(by_kind) if by_kind else "none"))
    blocks += [f"  {each.kind}: {each.text}" for each in report.violations[:_SHOWN]]
    if len(report.violations) > _SHOWN:
        blocks.append(f"  … and {len(report.violations) - _SHOWN} more: see --json")
    verdict = "PASSED" if report.passed else "FAILED"
    if report.interrupted:
        verdict += ", interrupted"
    blocks.append(_pairs("verdict", f"{verdict}, seed {report.options.get('seed')}"))
    return "\n".join(blocks)


def _operations(report: Report) -> str:
    names = ("attempted", "acknowledged", "failed", "unknown", "p50 ms", "p99 ms", "max ms")
    rows = [
        [
            kind.kind,
            *(f"{n:,}" for n in (kind.attempted, kind.acknowledged, kind.failed, kind.unknown)),
            *(f"{n:,.0f}" for n in (kind.p50_ms, kind.p99_ms, kind.max_ms)),
        ]
        for kind in report.kinds
    ]
    return _aligned([["operations", *names], *rows])


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items()) or "none"


def _pairs(name: str, text: str) -> str:
    return f"{name + ':':<13}{text}"


def connection_violations(connections: Mapping[str, int], ceiling: int) -> Iterable[Violation]:
    """Return a violation for each server that saw too many."""
    for address, highest in connections.items():
        if highest > ceiling:
            text = f"{address} saw {highest} connections of the function, the ceiling is {ceiling}"
            yield Violation(kind="connections", text=text)
