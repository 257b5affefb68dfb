"""What the demo found: do the transports agree, and what did each of them cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odm.cli.console import Column, Console, counted
from odm.cli.demo.comparable import first_difference
from odm.cli.demo.places import Skipped
from odm.cli.demo.turns import Turn

_SHOWN = 300
_DIFFERENCES_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where a transport's result is not the reference's, or an operation that failed."""

    operation: str
    transport: str
    reference: str
    path: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        where = f"{self.operation}{': result' + self.path if self.path else ''}"
        return (
            f"{where}\n    {self.reference}: {_short(self.expected)}"
            f"\n    {self.transport}: {_short(self.actual)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a run. The first turn that could begin is the reference of the others."""

    turns: Sequence[Turn]
    skipped: Sequence[Skipped]

    @property
    def _compared(self) -> list[Turn]:
        return [turn for turn in self.turns if turn.error is None]

    def differences(self) -> list[Difference]:
        """Return the first difference of every operation and transport that differs."""
        found: list[Difference] = []
        for turn in self._compared[1:]:
            reference = self._compared[0]
            for name, expected in reference.outcomes.items():
                difference = first_difference(expected.result, turn.outcomes[name].result)
                if difference is not None:
                    path, one, other = difference
                    found.append(
                        Difference(
                            operation=name,
                            transport=turn.place.label,
                            reference=reference.place.label,
                            path=path,
                            expected=expected.error or one,
                            actual=turn.outcomes[name].error or other,
                        )
                    )
        return found

    def errors(self) -> list[tuple[str, str, str]]:
        """Return what failed unexpectedly: transport, operation, error."""
        failed = [
            (turn.place.label, "open and seed", turn.error)
            for turn in self.turns
            if turn.error is not None
        ]
        return failed + [
            (turn.place.label, name, outcome.error)
            for turn in self.turns
            for name, outcome in turn.outcomes.items()
            if outcome.error is not None
        ]

    @property
    def agree(self) -> bool:
        """Whether every operation worked and gave the same on every transport."""
        return not self.errors() and not self.differences()

    def show(self, console: Console, *, details: bool) -> None:
        """Write the report to stdout."""
        self._show_table(console)
        if details:
            self._show_operations(console)
        for skipped in self.skipped:
            console.line(f"{skipped.label}: skipped: {skipped.reason}", style="yellow")
        errors, differences = self.errors(), self.differences()
        for transport, operation, error in errors[:_DIFFERENCES_SHOWN]:
            console.line(f"{transport}: {operation} failed: {_short(error)}", style="red")
        for difference in differences[:_DIFFERENCES_SHOWN]:
            console.line(f"differs: {difference}", style="red")
        hidden = max(len(errors) - _DIFFERENCES_SHOWN, 0)
        hidden += max(len(differences) - _DIFFERENCES_SHOWN, 0)
        if hidden:
            console.line(f"… and {hidden} more; --json has them all", style="red")
        console.line(self._verdict(), style="bold green" if self.agree else "bold red")

    def _verdict(self) -> str:
        count = max(len(turn.outcomes) for turn in self.turns)
        labels = [turn.place.label for turn in self.turns]
        if not self.agree:
            failures = counted(len(self.errors()), "failure")
            differences = counted(len(self.differences()), "difference")
            return f"{failures} and {differences} in {count} operations."
        if len(labels) == 1:
            return f"All {count} operations work over {labels[0]}; nothing to compare with."
        return f"All {count} operations agree over {', '.join(labels[:-1])} and {labels[-1]}."

    def _show_table(self, console: Console) -> None:
        columns = [
            Column("transport", style="bold"),
            Column("operations", numeric=True),
            Column("p50 ms", numeric=True),
            Column("p95 ms", numeric=True),
            Column("invocations", numeric=True),
            Column("cold starts", numeric=True),
            Column("connections", numeric=True),
        ]
        console.table(columns, [_row(turn) for turn in self.turns])
        console.line("connections: the most that the server saw at a time", style="dim")
        for turn in self.turns:
            if turn.throttles:
                console.line(
                    f"{turn.place.label}: {counted(turn.throttles, 'invoke')} more met the reserved"
                    " concurrency, were throttled and tried again",
                    style="dim",
                )

    def _show_operations(self, console: Console) -> None:
        turns = self._compared
        labels = [turn.place.label for turn in turns]
        columns = [Column("operation, p50 ms"), *(Column(label, numeric=True) for label in labels)]
        rows = [
            [
                name,
                *(f"{percentile(turn.outcomes[name].durations_ms, 50):.2f}" for turn in turns),
            ]
            for name in (turns[0].outcomes if turns else ())
        ]
        console.table(columns, rows)

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "ok": self.agree,
            "transports": [_summary(turn) for turn in self.turns],
            "skipped": [{"transport": each.label, "reason": each.reason} for each in self.skipped],
            "differences": [
                {
                    "operation": each.operation,
                    "transport": each.transport,
                    "reference": each.reference,
                    "path": each.path,
                    "expected": each.expected,
                    "actual": each.actual,
                }
                for each in self.differences()
            ],
            "errors": [
                {"transport": transport, "operation": operation, "error": error}
                for transport, operation, error in self.errors()
            ],
            "operations": [
                {
                    "name": name,
                    "p50_ms": {
                        turn.place.label: round(percentile(turn.outcomes[name].durations_ms, 50), 3)
                        for turn in self._compared
                    },
                }
                for name in (self._compared[0].outcomes if self._compared else ())
            ],
        }


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile; 0.0 of nothing."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def _row(turn: Turn) -> list[str]:
    is_lambda = turn.invocations > 0
    connections = turn.connections
    return [
        turn.place.label,
        str(len(turn.outcomes)),
        f"{percentile(turn.durations_ms, 50):.2f}",
        f"{percentile(turn.durations_ms, 95):.2f}",
        str(turn.invocations) if is_lambda else "–",
        str(turn.cold_starts) if is_lambda else "–",
        str(connections.peak) if connections is not None else "–",
    ]


def _summary(turn: Turn) -> dict[str, Any]:
    connections = turn.connections
    return {
        "transport": turn.place.label,
        "url": turn.place.url.redacted,
        "operations": len(turn.outcomes),
        "runs": len(turn.durations_ms),
        "p50_ms": round(percentile(turn.durations_ms, 50), 3),
        "p95_ms": round(percentile(turn.durations_ms, 95), 3),
        "invocations": turn.invocations,
        "cold_starts": turn.cold_starts,
        "throttles": turn.throttles,
        "connections": (
            {"peak": connections.peak, "opened": connections.opened} if connections else None
        ),
        "documents": turn.documents,
        "seconds": round(turn.seconds, 2),
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
