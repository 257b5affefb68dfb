"""What was found of cold starts: phases of real process starts, of a function's and of a caller's.

The phases are in the order in which they happen, and end where the next one begins: their sum is
the time from the process's start to its first reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from odm.cli.charts.statistics import Summary, summarise

FUNCTION_PHASES = (
    "interpreter",
    "runtime client",
    "driver",
    "our modules",
    "client",
    "connection at init",
    "event",
    "connection in the invocation",
    "command",
    "reply",
)
"""Of a function's process. At init it connects before anybody waits; else the first one waits."""
CALLER_PHASES = (
    "interpreter",
    "driver",
    "odm, Beanie",
    "models",
    "transport",
    "AWS client",
    "opening",
    "models' binding",
    "command",
)
"""Of an application's process; it has no *AWS client* where it connects directly."""
CONNECTION_STEPS = ("finding the server", "TCP, TLS, hello, key", "authentication")
"""What a function's connection consists of.

The first is the driver's monitor's own connection. The key that SCRAM derives from a password is
computed before the first message of the authentication, and so belongs to what comes before it.
"""


@dataclass(slots=True, kw_only=True)
class ColdProcess:
    """The starts of one kind of process.

    Attributes:
        kind: ``function`` or ``caller``.
        name: what is different about it.
        phases: ms by phase, a value for every start.
        connection: ms by step of a function's connection, where it was seen.
        error: why there is nothing, or nothing more.
    """

    kind: str
    name: str
    phases: dict[str, list[float]] = field(default_factory=dict)
    connection: dict[str, list[float]] = field(default_factory=dict)
    error: str | None = None

    def add(self, phases: Mapping[str, float], connection: Mapping[str, float]) -> None:
        """Take one start."""
        for target, values in ((self.phases, phases), (self.connection, connection)):
            for name, value in values.items():
                target.setdefault(name, []).append(value)

    @property
    def totals_ms(self) -> list[float]:
        """From the process's start to its first reply, for every start."""
        return [sum(values) for values in zip(*self.phases.values(), strict=True)]

    @property
    def total(self) -> Summary | None:
        """The same in a few numbers."""
        return summarise(self.totals_ms)

    def medians(self) -> dict[str, float]:
        """Return the median of each phase in ms."""
        return _medians(self.phases)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        total = self.total
        return {
            "kind": self.kind,
            "name": self.name,
            "median_ms": {name: round(value, 3) for name, value in self.medians().items()},
            "connection_median_ms": {
                name: round(value, 3) for name, value in _medians(self.connection).items()
            },
            "total_summary_ms": total.document() if total else None,
            "phases_ms": {
                name: [round(each, 3) for each in values] for name, values in self.phases.items()
            },
            "error": self.error,
        }


def connection_medians(processes: Sequence[ColdProcess]) -> dict[str, list[float | None]]:
    """Return the medians of each step of a connection, a value for each process."""
    if not any(each.connection for each in processes):
        return {}
    found = [_medians(each.connection) for each in processes]
    return {step: [each.get(step) for each in found] for step in CONNECTION_STEPS}


def phases_of(kind: str) -> Sequence[str]:
    """Return the phases of a kind of process."""
    return FUNCTION_PHASES if kind == "function" else CALLER_PHASES


def _medians(values: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: found.median for name, each in values.items() if (found := summarise(each))}
