"""A plan: one workload estimated in every way, what was measured, and what was simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from odm.cli.charts.statistics import quantile
from odm.cli.cost.estimate import ASSUMPTIONS, Estimate, estimate, ways
from odm.cli.cost.measured import Measurement
from odm.cli.cost.prices import Prices, Source
from odm.cli.cost.simulation import Outcome, Settings, Simulation
from odm.cli.cost.workload import Workload

CHOSEN = "batches"
"""The way that the product takes by default: a plan's check is of this one."""

_PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(slots=True, kw_only=True)
class Plan:
    """Everything that is told of a workload.

    Attributes:
        workload: the workload.
        region: where the function is.
        prices: what things cost.
        free_tier: whether the account's free tier is this function's.
        target: the share of invokes that may be throttled.
        estimates: by way.
        measurement: what the workload was derived from, if it was.
        simulations: outcomes by way; a stopped one is a part.
    """

    workload: Workload
    region: str
    prices: Prices
    free_tier: bool
    target: float
    estimates: dict[str, Estimate] = field(default_factory=dict)
    measurement: Measurement | None = None
    simulations: dict[str, Outcome] = field(default_factory=dict)

    @property
    def sources(self) -> list[Source]:
        """Where the prices of this plan's bills are from, each once."""
        found = {
            line.price.source: None
            for each in self.estimates.values()
            for line in each.bill.lines
            if line.price is not None
        }
        if self.free_tier:
            found[self.prices.free_source] = None
        return [*found]

    def problems(self, connection_limit: int | None = None) -> list[str]:
        """Return what this workload does not fit into, in words.

        Args:
            connection_limit: the most connections that a server may have.
        """
        chosen = self.estimates[CHOSEN]
        load, found = chosen.load, []
        assert load is not None
        if load.throttled > self.target:
            found.append(
                f"reserved concurrency {load.reserved} turns {load.throttled:.2%} of the invokes "
                f"away in the busiest hour: {load.needed} would keep that below {self.target:.2%}"
            )
        if load.needed_for_rate > load.reserved:
            found.append(
                f"{load.invokes_per_s:,.0f} invokes a second need a reserved concurrency of "
                f"{load.needed_for_rate}: AWS admits ten requests a second for each of it, "
                "however short they are"
            )
        if connection_limit is not None and chosen.connections > connection_limit:
            found.append(
                f"{chosen.connections:,} connections at a server are more than "
                f"{connection_limit:,}: lower the reserved concurrency or the pool"
            )
        return found

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "workload": self.workload.document(),
            "region": self.region,
            "free_tier": self.free_tier,
            "ways": [each.document() for each in self.estimates.values()],
            "measured": self.measurement.document() if self.measurement else None,
            "simulations": {
                name: simulation_document(each) for name, each in self.simulations.items()
            },
            "problems": self.problems(),
            "assumptions": list(ASSUMPTIONS),
            "sources": [
                {"url": each.url, "as_of": each.as_of, "note": each.note} for each in self.sources
            ],
        }


def make_plan(
    workload: Workload,
    prices: Prices,
    region: str,
    *,
    free_tier: bool = False,
    target: float = 0.001,
    measurement: Measurement | None = None,
) -> Plan:
    """Estimate *workload* in every way.

    Raises:
        ValueError: it needs more concurrency than there is.
    """
    plan = Plan(
        workload=workload,
        region=region,
        prices=prices,
        free_tier=free_tier,
        target=target,
        measurement=measurement,
    )
    for way in ways(workload):
        plan.estimates[way.name] = estimate(way, prices, region, free_tier=free_tier, target=target)
    return plan


def simulate(
    plan: Plan, settings: Settings, progress: Callable[[str, float], None] | None = None
) -> None:
    """Simulate the plan's workload, in batches and one by one; outcomes grow as it goes.

    Args:
        plan: gets the outcomes.
        settings: of both.
        progress: called with the way's name and the share that is done.
    """
    for name, batching in (("batches", True), ("single", False)):
        simulation = Simulation(replace(settings, batching=batching))
        plan.simulations[name] = simulation.outcome

        def tell(share: float, name: str = name) -> None:
            if progress is not None:
                progress(name, share)

        simulation.run(tell)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the largest; nothing of nothing."""
    if not values:
        return {}
    ordered = sorted(values)
    return {name: quantile(ordered, share) for name, share in _PERCENTILES} | {"max": ordered[-1]}


def simulation_document(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome for JSON."""

    def rounded(values: Mapping[str, float]) -> dict[str, float]:
        return {name: round(value, 3) for name, value in values.items()}

    return {
        "complete": outcome.complete,
        "simulated_s": round(outcome.simulated_s, 3),
        "commands": outcome.commands,
        "answered": len(outcome.latencies_ms),
        "failed": outcome.failed,
        "invokes": outcome.invokes,
        "commands_per_invoke": round(outcome.commands_per_invoke, 3),
        "throttles": outcome.throttles,
        "throttles_per_1000_commands": round(outcome.throttles_per_1000, 3),
        "throttles_by_rate": outcome.rate_throttles,
        "cold_starts": outcome.cold_starts,
        "billed_ms": outcome.billed_ms,
        "latency_ms": rounded(percentiles(outcome.latencies_ms)),
        "waited_ms": rounded(percentiles(outcome.waited_ms)),
        "mean_concurrency": round(outcome.mean_running, 4),
        "p99_concurrency": outcome.running_quantile(0.99),
        "peak_connections": outcome.peak_connections,
        "over_time": [
            {
                "second": round(each.second, 3),
                "running": each.running,
                "environments": each.environments,
                "connections": each.connections,
            }
            for each in outcome.samples
        ],
    }
