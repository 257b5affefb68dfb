"""The result on a terminal: one table of the workloads, and one of each other part."""

from __future__ import annotations

from collections.abc import Sequence

from odm.cli.bench.cold_result import ColdProcess, connection_medians, phases_of
from odm.cli.bench.result import Result, Series
from odm.cli.charts.statistics import summarise
from odm.cli.console import Column, Console

_SHOWN = 160


def show(result: Result, console: Console) -> None:
    """Write *result* to stdout."""
    _show_workloads(result, console)
    _show_ratios(result, console)
    _show_load(result, console)
    _show_traces(result, console)
    _show_cold_processes(result, console)
    _show_connections(result, console)
    for name, reason in result.skipped.items():
        console.line(f"{name}: skipped: {reason}", style="yellow")
    for name, where, error in result.errors:
        console.line(f"{name}: {where} failed: {error[:_SHOWN]}", style="red")
    if not result.complete:
        console.line("Stopped before the end: this is a part.", style="bold yellow")


def milliseconds(value: float | None) -> str:
    """Return a duration in ms with three digits that mean something; ``-`` for none."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _show_workloads(result: Result, console: Console) -> None:
    if not result.workloads:
        return
    columns = [Column("workload", style="bold"), Column("contender")]
    columns += [
        Column(title, numeric=True)
        for title in ("median ms", "q1", "q3", "p95", "× best", "first ms", "n", "invokes each")
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
    console.line("× best: of the workload's medians; first: warm-up, counted nowhere", style="dim")


def _cells(series: Series, best: float) -> tuple[str, ...]:
    summary, each = series.summary, series.invokes_per_operation
    if summary is None:
        return ("failed" if series.error else "-", *("-" for _ in range(7)))
    return (
        milliseconds(summary.median),
        milliseconds(summary.q1),
        milliseconds(summary.q3),
        milliseconds(summary.p95),
        f"{summary.median / best:.2f}" if best else "-",
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


def _show_load(result: Result, console: Console) -> None:
    if not result.load:
        return
    levels = sorted({point.concurrency for point in result.load})
    names = list(dict.fromkeys(point.contender for point in result.load))
    columns = [Column("mixed load, operations/s", style="bold")]
    columns += [Column(f"at {level}", numeric=True) for level in levels]
    by_key = {(point.contender, point.concurrency): point for point in result.load}
    rows = []
    for name in names:
        cells = []
        for level in levels:
            point = by_key.get((name, level))
            throughput = summarise(point.per_second) if point else None
            cells.append(f"{throughput.median:,.0f}" if throughput else "-")
        rows.append((name, *cells))
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
