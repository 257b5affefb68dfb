"""The kinds of plots that a report has: boxes, curves and bars, each from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from odm.cli.charts.statistics import Summary
from odm.cli.charts.svg import (
    SERIES,
    Scale,
    dot,
    drawing,
    line,
    log_range,
    number,
    path,
    rectangle,
    text,
    three_digits,
    x_axis,
    y_axis,
)

_WIDTH = 760.0
_LEFT = 130.0
_RIGHT = 20.0
_ROW = 24.0
_LETTER = 7.0
_PLOT_HEIGHT = 260.0
_CURVE_LEFT = 68.0

Curve = Sequence[tuple[float, float]]


def colour(names: Sequence[str], name: str) -> str:
    """Return the class of *name*'s colour: the same in every plot of a report."""
    return f"s{names.index(name) % SERIES}" if name in names else "s0"


def boxes(title: str, rows: Mapping[str, Summary], names: Sequence[str]) -> str:
    """Draw a box a row: quartiles, median, and whiskers from the 5th to the 95th percentile."""
    low, high = log_range([value for each in rows.values() for value in (each.p5, each.p95)])
    bottom = 10 + _ROW * len(rows)
    left = _left(rows)
    scale = Scale(low=low, high=high, start=left, end=_WIDTH - 80, log=True)
    marks = x_axis(scale, 6, bottom, "ms, logarithmic")
    for index, (name, each) in enumerate(rows.items()):
        middle = 10 + _ROW * index + _ROW / 2
        cls = colour(names, name)
        told = (
            f"{name}: median {each.median:.2f} ms, quartiles {each.q1:.2f} and {each.q3:.2f},"
            f" 5 % {each.p5:.2f}, 95 % {each.p95:.2f}, n {each.count}"
        )
        q1, median, q3 = scale(each.q1), scale(each.median), scale(each.q3)
        marks += [
            text(left - 8, middle + 4, name, anchor="end"),
            line(scale(each.p5), middle, scale(each.p95), middle, "whisker"),
            rectangle(q1, middle - 7, q3 - q1, 14, cls, told),
            line(median, middle - 9, median, middle + 9, "median"),
            text(scale(each.p95) + 6, middle + 4, three_digits(each.median), cls="tick"),
        ]
    return _framed(bottom + 38, marks, title)


def curves(
    title: str,
    series: Mapping[str, Curve],
    names: Sequence[str],
    *,
    labels: tuple[str, str],
    log: tuple[bool, bool] = (False, False),
    ticks: Sequence[float] = (),
) -> str:
    """Draw a curve for each of *series*.

    Args:
        title: what is seen.
        series: points by name.
        names: all names of the report, for the colours.
        labels: of the two axes.
        log: which of them are logarithmic.
        ticks: values of x to be labelled instead of round ones; few.
    """
    xs = [x for curve in series.values() for x, _ in curve]
    ys = [y for curve in series.values() for _, y in curve]
    bottom = 24 + _PLOT_HEIGHT
    x_scale = _scale(xs, _CURVE_LEFT, _WIDTH - _RIGHT, log=log[0], from_zero=False)
    y_scale = _scale(ys, bottom, 24, log=log[1], from_zero=True)
    marks = y_axis(y_scale, _CURVE_LEFT, _WIDTH - _RIGHT, labels[1])
    if ticks:
        for tick in ticks:
            marks.append(
                text(x_scale(tick), bottom + 15, number(tick), anchor="middle", cls="tick")
            )
        marks.append(text(_WIDTH - _RIGHT, bottom + 30, labels[0], anchor="end", cls="tick"))
    else:
        marks += x_axis(x_scale, 24, bottom, labels[0])
    for name, curve in series.items():
        cls = colour(names, name)
        points = [(x_scale(x), y_scale(y)) for x, y in curve]
        marks.append(path(points, cls, name))
        if len(points) <= 40:
            marks += [
                dot(*point, cls, f"{name}: {number(x)}: {y:,.4g}")
                for point, (x, y) in zip(points, curve, strict=True)
            ]
    return _framed(bottom + 38, marks, title) + _legend(series, names)


def _scale(
    values: Sequence[float], start: float, end: float, *, log: bool, from_zero: bool
) -> Scale:
    if log:
        low, high = log_range(values)
    else:
        low = 0.0 if from_zero else min(values, default=0.0)
        high = max([low + 1.0, *values]) * (1.05 if from_zero else 1.0)
    return Scale(low=low, high=high, start=start, end=end, log=log)


def bars(
    title: str, rows: Mapping[str, Mapping[str, float]], parts: Sequence[str], label: str
) -> str:
    """Draw a bar a row, of *parts* one after the other, and their sum beside it."""
    totals = [sum(row.get(part, 0.0) for part in parts) for row in rows.values()]
    bottom = 10 + _ROW * len(rows)
    left = _left(rows)
    high = max([1.0, *totals])
    scale = Scale(low=0.0, high=high, start=left, end=_WIDTH - 80)
    marks = x_axis(scale, 6, bottom, label)
    for index, ((name, row), total) in enumerate(zip(rows.items(), totals, strict=True)):
        top = 10 + _ROW * index
        marks.append(text(left - 8, top + _ROW / 2 + 4, name, anchor="end"))
        done = 0.0
        for part in parts:
            value = row.get(part, 0.0)
            width = scale(done + value) - scale(done)
            told = f"{name}, {part}: {value:,.4g}"
            marks.append(rectangle(scale(done), top + 5, width, 14, colour(parts, part), told))
            done += value
        marks.append(text(scale(total) + 6, top + _ROW / 2 + 4, three_digits(total), cls="tick"))
    legend = _legend(dict.fromkeys(parts), parts) if len(parts) > 1 else ""
    return _framed(bottom + 38, marks, title) + legend


def _left(rows: Mapping[str, object]) -> float:
    """Return where a plot begins, right of its rows' names."""
    return min(max(_LEFT, 16 + _LETTER * max(map(len, rows), default=0)), _WIDTH / 2)


def _framed(height: float, marks: Sequence[str], title: str) -> str:
    """Return the drawing in a frame that can be scrolled where a window is too narrow."""
    return f'<div class="wide">{drawing(_WIDTH, height, marks, title)}</div>'


def _legend(shown: Mapping[str, object], names: Sequence[str]) -> str:
    entries = "".join(
        f'<span><i class="{colour(names, name)}"></i>{escape(name)}</span>' for name in shown
    )
    return f'<p class="legend">{entries}</p>'
