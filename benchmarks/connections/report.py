"""A result for people: a table in the terminal, and a page with the plots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from benchmarks.connections.result import LAMBDA, WAYS, Case, Result
from benchmarks.connections.settings import EXPERIMENTS
from odm.cli.charts.document import document, table
from odm.cli.charts.plots import curves

_HEAD = (
    *("experiment", "callers", "way", "peak", "ceiling", "accepted", "at end", "invokes"),
    *("throttles", "errors", "p50 ms", "p95 ms"),
)
_SIMULATED = (
    *("callers", "direct", "through the proxy", "ceiling", "throttles", "gave up"),
    *("p50 ms", "p95 ms"),
)
_CEILING = "ceiling"
_NAMES = (*WAYS, _CEILING)


def as_text(result: Result) -> str:
    """Return the tables, what was noted, and the verdict."""
    lines = [*_columns([_HEAD, *map(_row, result.cases)])] if result.cases else []
    noted = [line for case in result.cases for line in _noted(case)]
    if noted:
        lines += ["", *noted]
    if result.simulated:
        rows = [_SIMULATED, *_simulated_rows(result)]
        lines += ["", "simulated, all callers in one moment:", *_columns(rows)]
    lines += [f"left out: {what}: {why}" for what, why in result.skipped.items()]
    violations = result.violations()
    lines += ["", *(f"VIOLATION: {each}" for each in violations)]
    verdict = f"{len(violations)} violations" if violations else "nothing over its ceiling"
    lines.append(verdict if result.complete else f"interrupted; {verdict} so far")
    return "\n".join(lines)


def _row(case: Case) -> tuple[str, ...]:
    summary = case.summary
    proxied = case.way == LAMBDA
    return (
        case.experiment,
        str(case.callers),
        case.way if case.complete else f"{case.way} (a part)",
        str(case.peak),
        str(max(limit for _, limit in case.limits)) if case.limits else "",
        str(case.total_created),
        str(case.at_end),
        str(case.invokes) if proxied else "",
        str(case.throttles) if proxied else "",
        str(sum(case.errors.values())),
        f"{summary.median:,.0f}" if summary else "",
        f"{summary.p95:,.0f}" if summary else "",
    )


def _simulated_rows(result: Result) -> list[tuple[str, ...]]:
    return [
        (
            *map(str, (each.callers, each.direct, each.proxied, each.ceiling, each.throttles)),
            str(each.failed),
            f"{each.p50_ms:,.0f}",
            f"{each.p95_ms:,.0f}",
        )
        for each in result.simulated
    ]


def _noted(case: Case) -> Iterable[str]:
    noted = [f"{name}: {value:g}" for name, value in case.figures.items()]
    noted += [f"opened by {name}: {count}" for name, count in case.created.items()]
    if noted:
        yield f"{case.title}, {case.way}: {'; '.join(noted)}"
    for words, count in case.errors.items():
        yield f"{case.title}, {case.way}: {count} × {words}"


def _columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(
            cell.ljust(width) if index in (0, 2) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()


def page(result: Result) -> str:
    """Return an HTML document that needs nothing else."""
    told = ", ".join(f"{name} {value}" for name, value in result.machine.items())
    sections = [
        "<h1>Connections at the server</h1>",
        '<p class="note">Above those of before; the sampler\'s own are left out. '
        f"{escape(told)}.</p>",
    ]
    if not result.complete:
        sections.append('<p class="warn">Stopped before the end: this is a part.</p>')
    sections += [f'<p class="warn">{escape(each)}</p>' for each in result.violations()]
    sections.append(table(_HEAD, map(_row, result.cases), words=3))
    for experiment, words in EXPERIMENTS.items():
        found = [case for case in result.cases if case.experiment == experiment and case.samples]
        if found:
            sections.append(f"<h2>{escape(experiment)}</h2><p>{escape(words.capitalize())}.</p>")
            sections += _plots(found)
    if result.simulated:
        sections.append("<h2>beyond</h2><p>Simulated: all callers in one moment.</p>")
        sections.append(table(_SIMULATED, _simulated_rows(result), words=0))
        series = {f"{each.callers:,} callers": each.curve for each in result.simulated}
        title = "connections of the function, simulated"
        sections.append(curves(title, series, [*series], labels=("seconds", "connections")))
    return document("Connections at the server", sections)


def _plots(cases: Sequence[Case]) -> Iterable[str]:
    for count in dict.fromkeys(case.callers for case in cases):
        there = [case for case in cases if case.callers == count]
        series = {
            case.way: [(each.second, float(each.current)) for each in case.samples]
            for case in there
        }
        for case in there:
            if case.limits:
                series[_CEILING] = _steps(case)
        title = there[0].title
        yield f"<h3>{escape(title)}</h3>"
        yield curves(title, series, _NAMES, labels=("seconds", "connections"))
        for case in there:
            marks = "; ".join(f"{second:.1f} s {words}" for second, words in case.marks)
            yield f'<p class="note">{case.way}: {escape(marks)}.</p>'
            for noted in _noted(case):
                yield f'<p class="note">{escape(noted)}</p>'


def _steps(case: Case) -> list[tuple[float, float]]:
    """Return the ceiling over time: each limit from its beginning to the next one's."""
    end = case.samples[-1].second
    ends = [*(since for since, _ in case.limits[1:]), end]
    return [
        point
        for (since, limit), until in zip(case.limits, ends, strict=True)
        for point in ((since, float(limit)), (until, float(limit)))
    ]
