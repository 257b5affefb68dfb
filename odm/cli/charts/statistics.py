"""What is told of a series of durations: medians with their spread. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A series of durations in ms, in a few numbers. Quartiles are the spread."""

    count: int
    minimum: float
    p5: float
    q1: float
    median: float
    q3: float
    p95: float
    maximum: float
    mean: float

    def document(self) -> dict[str, Any]:
        """Return it for JSON, rounded to a microsecond."""
        return {
            name: value if name == "count" else round(value, 3)
            for name, value in asdict(self).items()
        }


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which *share* of the sorted values lie, interpolated.

    The method is the one that NumPy and R (type 7) use by default.
    """
    if not ordered:
        raise ValueError("no values: no quantile")
    position = (len(ordered) - 1) * share
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summarise(durations_ms: Sequence[float]) -> Summary | None:
    """Return the summary of a series, None of an empty one."""
    if not durations_ms:
        return None
    ordered = sorted(durations_ms)
    return Summary(
        count=len(ordered),
        minimum=ordered[0],
        p5=quantile(ordered, 0.05),
        q1=quantile(ordered, 0.25),
        median=quantile(ordered, 0.5),
        q3=quantile(ordered, 0.75),
        p95=quantile(ordered, 0.95),
        maximum=ordered[-1],
        mean=sum(ordered) / len(ordered),
    )


def ratio(one: Summary | None, other: Summary | None) -> float | None:
    """Return how many times longer *one*'s median is than *other*'s, if both are there."""
    if one is None or other is None or not other.median:
        return None
    return one.median / other.median
