"""The report with plots: one HTML file that needs nothing else, no script and no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from odm.cli.bench.cold_result import phases_of
from odm.cli.bench.result import Result
from odm.cli.bench.table import (
    SCALE_HEAD,
    cold_rows,
    judged_rows,
    milliseconds,
    ratio_rows,
    scale_rows,
)
from odm.cli.charts.document import document, table
from odm.cli.charts.plots import bars, boxes, curves
from odm.cli.charts.statistics import summarise


def page(result: Result) -> str:
    """Return the report as an HTML document."""
    names = [*result.contenders]
    sections = [
        *_head(result),
        *_judged(result),
        *_workloads(result, names),
        *_ratios(result),
        *_invokes(result),
        *_scale(result, names),
        *_load(result, names),
        *_traces(result, names),
        *_cold_processes(result),
        *_connections(result, names),
        *_figures(result),
        *_failures(result),
    ]
    return document("odm bench", sections)


def _head(result: Result) -> Iterable[str]:
    machine = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in result.machine.items() if value
    )
    yield "<h1>odm bench</h1>"
    yield (
        '<p class="note">All contenders took turns in one run on one machine, warm-up apart. '
        f"{escape(machine)}.</p>"
    )
    if result.way is not None:
        yield f'<p class="note">{escape(result.way[:1].upper() + result.way[1:])}.</p>'
    if not result.complete:
        yield '<p class="warn">Stopped before the end: this is a part.</p>'
    rows = [(name, title) for name, title in result.contenders.items()]
    rows += [(name, f"left out: {reason}") for name, reason in result.skipped.items()]
    yield table(("contender", "what it is"), rows, words=2)


def _judged(result: Result) -> Iterable[str]:
    if rows := judged_rows(result):
        yield "<h2>Ratios</h2>"
        yield (
            '<p class="note">Of medians in this run, by which this project is judged; beside them '
            "the quartiles of the single rounds' ratios.</p>"
        )
        yield table(("", "ratio", "rounds' quartiles", "aim"), rows, words=1)


def _workloads(result: Result, names: Sequence[str]) -> Iterable[str]:
    if result.workloads:
        yield "<h2>Latency</h2>"
        yield (
            '<p class="note">Box: quartiles; bar: median, its number beside it; whiskers: '
            "5th to 95th percentile.</p>"
        )
    for workload, by_name in result.workloads.items():
        rows = {name: found for name, each in by_name.items() if (found := each.summary)}
        if rows:
            title = result.titles.get(workload, workload)
            yield f"<h3>{escape(title)}</h3>{boxes(title, rows, names)}"


def _ratios(result: Result) -> Iterable[str]:
    workloads, rows = ratio_rows(result)
    if rows:
        yield f"<h2>Ratios of medians</h2>{table(('', *workloads), rows, words=1)}"


def _invokes(result: Result) -> Iterable[str]:
    plots = []
    for workload, by_name in result.workloads.items():
        rows = {
            name: {"invokes": each.invokes_per_operation or 0.0}
            for name, each in by_name.items()
            if each.invokes
        }
        if len({round(row["invokes"], 2) for row in rows.values()}) > 1:
            title = result.titles.get(workload, workload)
            plot = bars(f"invocations: {title}", rows, ("invokes",), "invokes per operation")
            plots.append(f"<h3>{escape(title)}</h3>{plot}")
    if plots:
        yield "<h2>Invocations per operation</h2>"
        yield (
            '<p class="note">Where not all need as many; the others are in the table of '
            "figures.</p>"
        )
        yield from plots


def _scale(result: Result, names: Sequence[str]) -> Iterable[str]:
    if not result.scale:
        return
    yield "<h2>Ten times the documents</h2>"
    series: dict[str, list[tuple[float, float]]] = {}
    for point in result.scale:
        if each := point.us_per_document:
            name = f"{point.contender}, {point.operation}"
            series.setdefault(name, []).append((point.documents, each))
    sizes = sorted({point.documents for point in result.scale})
    if series:
        yield curves(
            "time for each document",
            series,
            [*series],
            labels=("documents", "µs for each"),
            log=(True, True),
            ticks=sizes,
        )
    yield table(("contender", "read as", *SCALE_HEAD), scale_rows(result), words=2)
    yield (
        '<p class="note">Memory: what streaming added to the most that a process of its own ever '
        "had.</p>"
    )


def _load(result: Result, names: Sequence[str]) -> Iterable[str]:
    curve: dict[str, list[tuple[float, float]]] = {}
    tail: dict[str, list[tuple[float, float]]] = {}
    invokes: dict[str, list[tuple[float, float]]] = {}
    for point in result.load:
        throughput, durations = summarise(point.per_second), summarise(point.durations_ms)
        if throughput and durations:
            curve.setdefault(point.contender, []).append((point.concurrency, throughput.median))
            tail.setdefault(point.contender, []).append((point.concurrency, durations.p95))
            if each := point.invokes_per_operation:
                invokes.setdefault(point.contender, []).append((point.concurrency, each))
    if not curve:
        return
    levels = sorted({point.concurrency for point in result.load})
    yield "<h2>Mixed load</h2>"
    yield '<p class="note">80 % point reads, 10 % writes, 10 % lists of 10.</p>'
    for title, series, label in (
        ("Throughput against concurrency", curve, "operations/s"),
        ("95th percentile against concurrency", tail, "ms"),
        ("Invocations per operation against concurrency", invokes, "invokes per operation"),
    ):
        if not series:
            continue
        plot = curves(
            title,
            series,
            names,
            labels=("concurrency", label),
            log=(True, True),
            ticks=levels,
        )
        yield f"<h3>{title}</h3>{plot}"


def _traces(result: Result, names: Sequence[str]) -> Iterable[str]:
    series = {
        trace.contender: list(enumerate(trace.durations_ms, 1))
        for trace in result.traces
        if trace.durations_ms
    }
    if series:
        length = max(map(len, series.values()))
        title = f"{length} invocations, the first one cold"
        yield f"<h2>{title}</h2>"
        yield curves(title, series, names, labels=("invocation", "ms"), log=(False, True))
    rows = {}
    for trace in result.traces:
        for number, each in enumerate(trace.cold_starts, 1):
            if each.init_ms is not None and each.handler_ms is not None:
                rows[f"{trace.contender} {number}"] = {
                    "process, caller and way": each.rest_ms or 0.0,
                    "initialisation": each.init_ms,
                    "first invocation in the handler": each.handler_ms,
                }
    if rows:
        parts = [*next(iter(rows.values()))]
        yield f"<h2>Cold starts</h2>{bars('cold starts', rows, parts, 'ms')}"


def _cold_processes(result: Result) -> Iterable[str]:
    for kind in dict.fromkeys(each.kind for each in result.cold):
        processes = [each for each in result.cold if each.kind == kind and each.total]
        if not processes:
            continue
        title = f"Cold start of a {kind}, by phase"
        rows = {each.name: each.medians() for each in processes}
        phases = [name for name in phases_of(kind) if any(row.get(name) for row in rows.values())]
        names = [each.name for each in processes]
        yield f"<h2>{title}</h2>"
        yield '<p class="note">Medians of real processes, from their start to the first reply.</p>'
        yield bars(title, rows, phases, "ms")
        yield table(("phase, ms", *names), cold_rows(kind, processes), words=1)


def _connections(result: Result, names: Sequence[str]) -> Iterable[str]:
    scenarios = dict.fromkeys(each.scenario for each in result.connections)
    # The direct ones are repositories too: they have the colour of these.
    names = ["direct" if name == "odm" else name for name in names]
    if scenarios:
        yield "<h2>Connections at the server</h2>"
        yield (
            '<p class="note">Above those of before. Callers come at once, send four queries each, '
            "stay like idle execution environments, and are gone.</p>"
        )
    for scenario in scenarios:
        series = {
            each.way: [(second, float(count)) for second, count in each.samples]
            for each in result.connections
            if each.scenario == scenario and each.samples
        }
        if series:
            plot = curves(scenario, series, names, labels=("seconds", "connections"))
            yield f"<h3>{escape(scenario)}</h3>{plot}"


def _figures(result: Result) -> Iterable[str]:
    rows = []
    for workload, by_name in result.workloads.items():
        for name, each in by_name.items():
            if found := each.summary:
                numbers = (
                    *(found.median, found.q1, found.q3, found.p95),
                    *(each.cpu_ms_per_operation, each.first_ms),
                )
                per_operation = f"{each.invokes / found.count:.2f}" if each.invokes else ""
                title = result.titles.get(workload, workload)
                rows.append(
                    (title, name, *map(milliseconds, numbers), str(found.count), per_operation)
                )
    if rows:
        head = (
            *("workload", "contender", "median ms", "q1", "q3", "p95"),
            *("CPU ms", "first", "n", "invokes"),
        )
        yield f"<h2>Figures</h2>{table(head, rows, words=2)}"
        yield (
            '<p class="note">CPU: what this process computed for one operation, a mean. '
            "First: warm-up, counted nowhere.</p>"
        )


def _failures(result: Result) -> Iterable[str]:
    if result.errors:
        yield f"<h2>What failed</h2>{table(('contender', 'where', 'why'), result.errors, words=3)}"
