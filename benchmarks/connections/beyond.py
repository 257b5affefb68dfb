"""More callers than a machine carries: the simulation of ``odm cost`` with a burst of them.

What a caller opens directly is what a real one did; the proxy is simulated, event by event.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.connections.result import DIRECT, Result, Simulated
from benchmarks.connections.settings import Settings
from odm.cli.charts.statistics import summarise
from odm.cli.cost import simulation
from odm.cli.cost.workload import Workload

_SECONDS = 60.0
_PATIENCE_S = 120.0
_INIT_MS = 400.0


def each_opens(result: Result, settings: Settings) -> float:
    """Return how many connections a caller had directly: as measured, else the most it may."""
    measured = [
        case.peak / case.callers
        for case in result.cases
        if case.way == DIRECT and case.experiment in ("installation", "callers")
    ]
    return max(measured, default=settings.queries + 1.0)


def simulate(callers: int, opens: float, settings: Settings) -> Simulated:
    """Have so many callers send a page each in one moment, to a function without environments."""
    workload = Workload(
        rate=0,
        burst=callers * settings.queries,
        burst_every_s=_SECONDS,
        callers=callers,
        init_ms=_INIT_MS,
        reserved=settings.reserved,
        pool=settings.pool,
        servers=1,
    )
    run = simulation.Simulation(
        simulation.Settings(workload=workload, seconds=_SECONDS, patience_s=_PATIENCE_S, warm=False)
    )
    outcome = run.run()
    summary = summarise(outcome.latencies_ms)
    return Simulated(
        callers=callers,
        direct=round(callers * opens),
        proxied=outcome.peak_connections,
        ceiling=settings.ceiling,
        throttles=outcome.throttles,
        failed=outcome.failed,
        p50_ms=round(summary.median, 1) if summary else 0.0,
        p95_ms=round(summary.p95, 1) if summary else 0.0,
        curve=[(round(each.second, 2), each.connections) for each in outcome.samples],
    )


def beyond(result: Result, settings: Settings) -> Iterator[Simulated]:
    """Simulate each number of callers: those that were real first, to be set beside them."""
    opens = each_opens(result, settings)
    real = {case.callers for case in result.cases if case.experiment == "installation"}
    for callers in sorted({*real, *settings.simulated}):
        yield simulate(callers, opens, settings)
