"""A plan as one HTML file with plots, which needs no script and no network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from html import escape

from odm.cli.charts.document import document, table
from odm.cli.charts.plots import Curve, curves
from odm.cli.cost.concurrency import Concurrency, poisson, turned_away
from odm.cli.cost.estimate import ASSUMPTIONS, estimate
from odm.cli.cost.plan import CHOSEN, Plan, percentiles
from odm.cli.cost.simulation import Outcome

_DECADES = (-2, 2)
_POINTS_PER_DECADE = 5
_MOST_POINTS = 200
_LEAST_SHARE = 0.001  # percent


def page(plan: Plan) -> str:
    """Return the report as an HTML document."""
    return document(
        "odm cost",
        [
            *_head(plan),
            *_money(plan),
            *_cost_against_rate(plan),
            *_concurrency(plan),
            *_throttles(plan),
            *_simulations(plan),
            *_foot(plan),
        ],
    )


def _head(plan: Plan) -> Iterable[str]:
    load = plan.workload
    yield "<h1>odm cost</h1>"
    yield (
        f'<p class="note">{load.rate:,.6g} commands a second, {load.gather} at once, from '
        f"{load.callers:,} callers; {load.memory_mb:,} MB, {escape(load.architecture)}, "
        f"{escape(plan.region)}, reserved concurrency {load.reserved}.</p>"
    )
    for problem in plan.problems():
        yield f'<p class="warn">Does not fit: {escape(problem)}.</p>'


def _money(plan: Plan) -> Iterable[str]:
    head = ("a month", "invocations", "ms billed", "GB-seconds", "$", "connections at a server")
    rows = [
        (
            each.way.title,
            f"{each.invokes:,.0f}",
            f"{each.billed_ms:.2f}",
            f"{each.gb_seconds:,.0f}",
            f"{each.bill.usd:,.2f}" + (" and what is not priced" if each.bill.unpriced else ""),
            f"{each.connections:,}",
        )
        for each in plan.estimates.values()
    ]
    yield table(head, rows, words=1)


def _cost_against_rate(plan: Plan) -> Iterable[str]:
    series: dict[str, list[tuple[float, float]]] = {}
    low, high = _DECADES
    for step in range(low * _POINTS_PER_DECADE, high * _POINTS_PER_DECADE + 1):
        factor = 10 ** (step / _POINTS_PER_DECADE)
        for each in plan.estimates.values():
            way = each.way
            rate = (way.workload.rate or way.workload.mean_rate) * factor
            workload = replace(way.workload, rate=rate, burst=0)
            try:
                usd = estimate(
                    replace(way, workload=workload),
                    plan.prices,
                    plan.region,
                    free_tier=plan.free_tier,
                    target=plan.target,
                ).bill.usd
            except ValueError:  # more than one function can do
                continue
            if usd > 0:
                series.setdefault(way.title, []).append((rate, usd))
    if series:
        yield "<h2>Cost against rate</h2>"
        yield (
            '<p class="note">Everything else as it is; a curve goes on where the reserved '
            "concurrency would no longer do.</p>"
        )
        yield curves(
            "cost against rate",
            series,
            [*series],
            labels=("commands per second", "$ a month"),
            log=(True, True),
        )


def _concurrency(plan: Plan) -> Iterable[str]:
    series: dict[str, Curve] = {}
    highest = 0.0
    for name in ("single", "batches"):
        load = plan.estimates[name].load
        assert load is not None
        distribution = _distribution(load)
        series[plan.estimates[name].way.title] = distribution
        highest = max(highest, *(share for _, share in distribution))
    for name, outcome in plan.simulations.items():
        if total := sum(outcome.running_s):
            title = f"{plan.estimates[name].way.title}, simulated"
            series[title] = _visible(
                (count, 100 * seconds / total) for count, seconds in enumerate(outcome.running_s)
            )
    reserved = plan.workload.reserved
    series["reserved concurrency"] = [(reserved, _LEAST_SHARE), (reserved, highest)]
    yield "<h2>Invocations at one time, in the busiest hour</h2>"
    yield curves(
        "concurrency",
        series,
        [*series],
        labels=("invocations at one time", "% of the time"),
        log=(False, True),
    )


def _visible(distribution: Iterable[tuple[float, float]]) -> Curve:
    """Leave off the end of what happens so seldom that it would stretch the plot."""
    points = [(count, max(share, _LEAST_SHARE)) for count, share in distribution]
    while len(points) > 1 and points[-1][1] <= _LEAST_SHARE:
        points.pop()
    return points


def _distribution(load: Concurrency) -> Curve:
    """Return how often so many run at one time, in percent, where nothing is turned away."""
    peak = load.peakedness
    most = min(int(load.p999 / peak) + 3, _MOST_POINTS)
    return _visible(
        (count * peak, 100 * poisson(load.mean / peak, count) / peak) for count in range(most + 1)
    )


def _throttles(plan: Plan) -> Iterable[str]:
    series: dict[str, Curve] = {}
    for name in ("single", "batches"):
        load = plan.estimates[name].load
        assert load is not None
        most = max(2 * load.needed, load.reserved + 1)
        step = max(1, most // _MOST_POINTS)
        shares = [
            (ceiling, 100 * turned_away(ceiling, load.mean, load.peakedness))
            for ceiling in range(1, most + 1, step)
        ]
        series[plan.estimates[name].way.title] = [
            (ceiling, share) for ceiling, share in shares if share > 1e-6
        ] or [(1.0, 1e-6)]
    reserved = plan.workload.reserved
    series["reserved concurrency"] = [(reserved, 1e-6), (reserved, 100.0)]
    target = 100 * plan.target
    last = max(x for curve in series.values() for x, _ in curve)
    series["wanted"] = [(1.0, target), (last, target)]
    yield "<h2>Throttles against reserved concurrency</h2>"
    yield (
        '<p class="note">The share of invokes that finds no place in the busiest hour, before '
        "anybody repeats anything; without AWS's limit of requests per second.</p>"
    )
    yield curves(
        "throttles",
        series,
        [*series],
        labels=("reserved concurrency", "% turned away"),
        log=(False, True),
    )


def _simulations(plan: Plan) -> Iterable[str]:
    done = {name: each for name, each in plan.simulations.items() if each.latencies_ms}
    if not done:
        return
    yield "<h2>Simulated</h2>"
    head = ("", "commands", "p50 ms", "p95", "p99", "gave up", "throttles /1,000", "connections")
    yield table(
        head, [_simulated(plan.estimates[n].way.title, each) for n, each in done.items()], words=1
    )
    connections: dict[str, Curve] = {}
    for name, each in done.items():
        connections[plan.estimates[name].way.title] = [
            (sample.second, float(sample.connections))
            for sample in each.samples
            if sample.connections
        ]
    direct = plan.estimates["direct"].connections
    last = max(sample.second for each in done.values() for sample in each.samples)
    connections["no proxy"] = [(0.0, float(direct)), (last, float(direct))]
    yield "<h3>Connections at a server</h3>"
    yield curves(
        "connections",
        connections,
        [*connections],
        labels=("seconds", "connections"),
        log=(False, True),
    )


def _simulated(title: str, outcome: Outcome) -> tuple[str, ...]:
    latency = percentiles(outcome.latencies_ms)
    return (
        title + ("" if outcome.complete else " (stopped)"),
        f"{outcome.commands:,}",
        *(f"{latency[name]:,.1f}" for name in ("p50", "p95", "p99")),
        f"{outcome.failed:,}",
        f"{outcome.throttles_per_1000:,.1f}",
        f"{outcome.peak_connections:,}",
    )


def _foot(plan: Plan) -> Iterable[str]:
    chosen = plan.estimates[CHOSEN]
    rows = [
        (
            line.item.replace("_", " "),
            f"{line.quantity:,.2f}",
            f"{line.billed:,.2f}",
            f"{line.price.usd:.10f}".rstrip("0") if line.price else "not known",
            "?" if line.usd is None else f"{line.usd:,.2f}",
        )
        for line in chosen.bill.lines
    ]
    yield f"<h2>The bill of '{escape(chosen.way.title)}'</h2>"
    yield table(("item", "used", "billed", "$ each", "$"), rows, words=1)
    yield "<h2>Assumed</h2><ol>"
    yield from (f"<li>{escape(each)}</li>" for each in ASSUMPTIONS)
    yield "</ol><h2>Prices</h2><ul>"
    for source in plan.sources:
        url = escape(source.url, quote=True)
        yield f'<li>{escape(source.as_of)}: <a href="{url}">{url}</a>, {escape(source.note)}</li>'
    yield "</ul>"
