"""The result on a terminal: one table of the workloads, and one of each other part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from odm.cli.bench.cold_result import ColdProcess, connection_medians, phases_of
from odm.cli.bench.judged import judge
from odm.cli.bench.result import LoadPoint, Result, ScalePoint, Series
from odm.cli.charts.statistics import summarise
from odm.cli.charts.svg import three_digits
from odm.cli.console import Column, Console

_SHOWN = 160


def show(result: Result, console: Console) -> None:
    """Write *result* to stdout."""
    _show_workloads(result, console)
    _show_ratios(result, console)
    _show_scale(result, console)
    _show_load(result, console)
    _show_traces(result, console)
    _show_cold_processes(result, console)
    _show_connections(result, console)
    _show_judged(result, console)
    if result.way is not None:
        console.line(result.way, style="dim")
    for name, reason in result.skipped.items():
        console.line(f"{name}: skipped: {reason}", style="yellow")
    for name, where, error in result.errors:
        console.line(f"{name}: {where} failed: {error[:_SHOWN]}", style="red")
    if not result.complete:
        console.line("Stopped before the end: this is a part.", style="bold yellow")


def milliseconds(value: float | None) -> str:
    """Return a duration in ms with three digits that mean something; ``-`` for none."""
    return "-" if value is None else three_digits(value)


def _show_workloads(result: Result, console: Console) -> None:
    if not result.workloads:
        return
    columns = [Column("workload", style="bold"), Column("contender")]
    columns += [
        Column(title, numeric=True)
        for title in (
            "median ms",
            "q1",
            "q3",
            "p95",
            "× best",
            "CPU ms",
            "first ms",
            "n",
            "invokes each",
        )
    ]
    rows = []
    for workload, by_name in result.workloads.items():
        medians = [each.summary.median for each in by_name.values() if each.summary]
        best = min(medians, default=0.0)
        title = result.titles.get(workload, workload)
        for name, series in by_name.items():
            rows.append((title, name, *_cells(series, best)))
            title = ""
    console.table(columns, rows)
    console.line(
        "× best: of the workload's medians; CPU: this process's, a mean; first: warm-up, "
        "counted nowhere",
        style="dim",
    )


def _cells(series: Series, best: float) -> tuple[str, ...]:
    summary, each = series.summary, series.invokes_per_operation
    if summary is None:
        return ("failed" if series.error else "-", *("-" for _ in range(8)))
    return (
        milliseconds(summary.median),
        milliseconds(summary.q1),
        milliseconds(summary.q3),
        milliseconds(summary.p95),
        f"{summary.median / best:.2f}" if best else "-",
        milliseconds(series.cpu_ms_per_operation),
        milliseconds(series.first_ms),
        str(summary.count),
        f"{each:.2f}" if each else "-",
    )


def ratio_rows(result: Result) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the workloads, and a row of ratios for each pair that was measured in any."""
    ratios = result.ratios()
    workloads = [workload for workload, by_pair in ratios.items() if by_pair]
    pairs = dict.fromkeys(pair for by_pair in ratios.values() for pair in by_pair)
    rows = []
    for pair in pairs:
        found = [ratios[workload].get(pair) for workload in workloads]
        rows.append((pair, *("-" if each is None else f"{each:.2f}" for each in found)))
    return workloads, rows


def _show_ratios(result: Result, console: Console) -> None:
    workloads, rows = ratio_rows(result)
    if rows:
        numbers = [Column(workload, numeric=True) for workload in workloads]
        console.table([Column("ratio of medians", style="bold"), *numbers], rows)


def scale_rows(result: Result) -> list[tuple[str, ...]]:
    """Return a row for each contender's way to read: its time, beside a tenth of the documents."""
    rows: list[tuple[str, ...]] = []
    for point, smaller in _steps(result):
        summary, each = point.summary, point.us_per_document
        before = smaller.summary if smaller else None
        growth = summary.median / before.median if summary and before else None
        rows.append(
            (
                point.contender,
                point.operation,
                f"{point.documents:,}",
                milliseconds(summary.median if summary else None),
                "-" if each is None else f"{each:.1f}",
                "-" if growth is None else f"{growth:.1f}",
                "-" if point.peak_mb is None else f"{point.peak_mb:.1f}",
            )
        )
    return rows


def _steps(result: Result) -> list[tuple[ScalePoint, ScalePoint | None]]:
    """Return each point with that of a tenth of its documents."""
    by_key = {(each.contender, each.operation, each.documents): each for each in result.scale}
    return [
        (each, by_key.get((each.contender, each.operation, each.documents // 10)))
        for each in result.scale
    ]


SCALE_HEAD = ("documents", "ms", "µs each", "× a tenth (at most 10)", "memory, MB")


def _show_scale(result: Result, console: Console) -> None:
    if result.scale:
        columns = [Column("ten times the documents", style="bold"), Column("read as")]
        columns += [Column(title, numeric=True) for title in SCALE_HEAD]
        console.table(columns, scale_rows(result))


def judged_rows(result: Result) -> list[tuple[str, ...]]:
    """Return a row for each of the ratios by which this project is judged."""
    return [
        (
            each.name,
            f"{each.value:.2f}",
            f"{each.spread.q1:.2f} to {each.spread.q3:.2f}" if each.spread else "-",
            each.aim_in_words,
        )
        for each in judge(result.workloads)
    ]


def _show_judged(result: Result, console: Console) -> None:
    if rows := judged_rows(result):
        numbers = [Column(title, numeric=True) for title in ("", "rounds' quartiles", "aim")]
        console.table([Column("Ratios", style="bold"), *numbers], rows)


def _show_load(result: Result, console: Console) -> None:
    if not result.load:
        return
    _load_table(
        result,
        console,
        "mixed load, operations/s",
        lambda point: f"{found.median:,.0f}" if (found := summarise(point.per_second)) else "-",
    )
    _load_table(
        result,
        console,
        "mixed load, invokes per operation",
        lambda point: f"{each:.2f}" if (each := point.invokes_per_operation) else "",
    )


def _load_table(
    result: Result, console: Console, title: str, cell: Callable[[LoadPoint], str]
) -> None:
    levels = sorted({point.concurrency for point in result.load})
    names = list(dict.fromkeys(point.contender for point in result.load))
    columns = [Column(title, style="bold")]
    columns += [Column(f"at {level}", numeric=True) for level in levels]
    by_key = {(point.contender, point.concurrency): point for point in result.load}
    rows = []
    for name in names:
        points = [by_key.get((name, level)) for level in levels]
        cells = [cell(point) if point else "-" for point in points]
        if any(cells):
            rows.append((name, *cells))
    if rows:
        console.table(columns, rows)


def _show_traces(result: Result, console: Console) -> None:
    if not result.traces:
        return
    columns = [Column("invocations one by one", style="bold")]
    columns += [
        Column(title, numeric=True)
        for title in ("cold ms", "init ms", "handler ms", "rest ms", "warm p50", "warm mean")
    ]
    rows = []
    for trace in result.traces:
        warm = summarise(trace.durations_ms[1:])
        cold = {
            part: summarise([value for each in trace.cold_starts if (value := getattr(each, part))])
            for part in ("total_ms", "init_ms", "handler_ms", "rest_ms")
        }
        medians = [milliseconds(each.median if each else None) for each in cold.values()]
        rows.append(
            (
                trace.contender,
                *medians,
                milliseconds(warm.median if warm else None),
                milliseconds(warm.mean if warm else None),
            )
        )
    console.table(columns, rows)


def _show_cold_processes(result: Result, console: Console) -> None:
    for kind in dict.fromkeys(each.kind for each in result.cold):
        processes = [each for each in result.cold if each.kind == kind and each.total]
        if not processes:
            continue
        console.table(
            [Column(f"cold start of a {kind}, ms", style="bold")]
            + [Column(each.name, numeric=True) for each in processes],
            cold_rows(kind, processes),
        )


def cold_rows(kind: str, processes: Sequence[ColdProcess]) -> list[tuple[str, ...]]:
    """Return a row of medians for each phase, and for their sum; a column for each process."""
    medians = [each.medians() for each in processes]
    rows = [
        (phase, *(milliseconds(found.get(phase)) for found in medians)) for phase in phases_of(kind)
    ]
    rows += [
        (f"of connecting: {step}", *map(milliseconds, values))
        for step, values in connection_medians(processes).items()
    ]
    totals = [each.total for each in processes]
    return [
        *rows,
        ("in all", *(milliseconds(total.median if total else None) for total in totals)),
        (
            "quartiles",
            *(f"{total.q1:.0f} to {total.q3:.0f}" if total else "-" for total in totals),
        ),
    ]


def _show_connections(result: Result, console: Console) -> None:
    if not result.connections:
        return
    columns = [Column("connections at the server", style="bold"), Column("way")]
    columns += [Column(title, numeric=True) for title in ("callers", "answered", "peak", "made")]
    rows = [
        (
            each.scenario,
            each.way,
            str(each.callers),
            str(each.answered),
            str(each.peak),
            str(each.created),
        )
        for each in result.connections
    ]
    console.table(columns, rows)
