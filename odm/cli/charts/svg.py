"""Drawing: scales, axes and marks as SVG text. Knows nothing of benchmarks.

Colours are classes (``s0`` … ``s11`` for series), which the page's style sheet defines for
light and dark. All text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

SERIES = 12
"""How many colours there are for series; the thirteenth begins again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Maps values to pixels, linearly or by their logarithm.

    Attributes:
        low: the value at *start*; above 0 where *log*.
        high: the value at *end*.
        start: a pixel.
        end: a pixel; less than *start* for an axis that points up.
        log: whether equal ratios have equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of *value*; what lies outside is put at the end."""
        value = min(max(value, self.low), self.high)
        if self.high == self.low:
            return (self.start + self.end) / 2
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * share

    def ticks(self) -> list[float]:
        """Return the round values to be labelled."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)


def log_range(values: Iterable[float]) -> tuple[float, float]:
    """Return a range for a logarithmic scale with some air on both sides; (1, 10) for nothing."""
    positive = [value for value in values if value > 0]
    if not positive:
        return 1.0, 10.0
    return min(positive) / 1.15, max(positive) * 1.15


def _log_ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 2_000 else (1,)
    return [
        tick
        for exponent in exponents
        for step in steps
        if low <= (tick := step * 10.0**exponent) <= high
    ]


def _linear_ticks(low: float, high: float) -> list[float]:
    if high <= low:
        return [low]
    rough = (high - low) / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(magnitude * each for each in (1, 2, 5, 10) if magnitude * each >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def number(value: float) -> str:
    """Return a number as a label: ``0.5``, ``20``, ``3,000``, ``0.00001``."""
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:g}" if value >= 0.001 else f"{value:.9f}".rstrip("0")


def three_digits(value: float) -> str:
    """Return a number with the digits that mean something: ``0.42``, ``12.3``, ``1,234``."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def text(x: float, y: float, words: str, *, anchor: str = "start", cls: str = "") -> str:
    """Return a line of text."""
    kind = f' class="{cls}"' if cls else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{cls}"/>'


def rectangle(x: float, y: float, width: float, height: float, cls: str, title: str = "") -> str:
    """Return a rectangle; *title* is shown when it is pointed at."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" '
        f'class="{cls}">{_title(title)}</rect>'
    )


def path(points: Sequence[tuple[float, float]], cls: str, title: str = "") -> str:
    """Return a line through *points*."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{steps}" class="{cls} curve">{_title(title)}</polyline>'


def dot(x: float, y: float, cls: str, title: str = "") -> str:
    """Return a small disc."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="{cls}">{_title(title)}</circle>'


def _title(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""


def x_axis(scale: Scale, top: float, bottom: float, label: str) -> list[str]:
    """Return vertical grid lines, the ticks' labels below, and what is measured."""
    marks = []
    for tick in scale.ticks():
        x = scale(tick)
        marks += [
            line(x, top, x, bottom, "grid"),
            text(x, bottom + 15, number(tick), anchor="middle", cls="tick"),
        ]
    return [*marks, text(scale.end, bottom + 30, label, anchor="end", cls="tick")]


def y_axis(scale: Scale, left: float, right: float, label: str) -> list[str]:
    """Return horizontal grid lines, the ticks' labels on the left, and what is measured."""
    marks = [text(left - 6, scale.end - 8, label, cls="tick")]
    for tick in scale.ticks():
        y = scale(tick)
        marks += [
            line(left, y, right, y, "grid"),
            text(left - 6, y + 4, number(tick), anchor="end", cls="tick"),
        ]
    return marks


def drawing(width: float, height: float, marks: Iterable[str], title: str) -> str:
    """Return the whole drawing, named for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(marks)}</svg>'
    )
