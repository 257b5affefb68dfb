"""A plan as text: tables on a terminal, plain lines in a pipe."""

from __future__ import annotations

from odm.cli.console import Column, Console
from odm.cli.cost.estimate import ASSUMPTIONS, Estimate
from odm.cli.cost.plan import CHOSEN, Plan, percentiles

_TITLES = {"batches": "in batches", "single": "one by one"}


def show(plan: Plan, console: Console, connection_limit: int | None = None) -> None:
    """Write *plan* to stdout."""
    console.pairs(_given(plan))
    console.line()
    _money(plan, console)
    _bill(plan, console)
    _concurrency(plan, console)
    _simulations(plan, console)
    for problem in plan.problems(connection_limit):
        console.line(f"Does not fit: {problem}.", style="bold red")
    for line in _remarks(plan):
        console.line(line)
    console.line()
    console.line("Assumed:", style="bold")
    for number, assumption in enumerate(ASSUMPTIONS, 1):
        console.line(f"{number:>3}. {assumption}")
    console.line("Prices:", style="bold")
    for source in plan.sources:
        console.line(f"  as of {source.as_of}: {source.url} ({source.note})")


def _given(plan: Plan) -> list[tuple[str, str]]:
    load = plan.workload
    peak = f", {load.peak_rate:,.6g} in the busiest hour" if load.peak_rate > load.rate else ""
    burst = f", and {load.burst:,} at once every {load.burst_every_s:g} s" if load.burst else ""
    together = f"{load.gather} at once"
    if load.commands_per_invoke:
        together = f"{load.commands_per_invoke:.2f} an invoke"
    rows = [
        (
            "commands",
            f"{load.rate:,.6g} a second{peak}{burst}; {load.commands_per_month:,.0f} a month",
        ),
        (
            "a command",
            f"{load.server_ms + load.network_ms:.3g} ms (spread {load.spread:.2g}), "
            f"{load.bytes_in:,.0f} bytes there, {load.bytes_out:,.0f} back, {together}",
        ),
        ("callers", f"{load.callers:,}, {load.round_trip_ms:g} ms from the function"),
        (
            "function",
            f"{load.memory_mb:,} MB, {load.architecture}, {plan.region}, reserved concurrency "
            f"{load.reserved}, pool of {load.pool}",
        ),
    ]
    if (found := plan.measurement) is not None:
        throttles = "" if found.throttles is None else f", {found.throttles:,} throttles"
        rows.append(
            (
                "measured",
                f"{found.seconds:,.6g} s of {found.source}: {found.commands:,} commands, "
                f"{found.invocations:,} invocations, {found.billed_ms:,.0f} ms billed, "
                f"{found.cold_starts:,} cold starts{throttles}",
            )
        )
    return rows


def _money(plan: Plan, console: Console) -> None:
    console.table(
        [
            Column("a month"),
            Column("invocations", numeric=True),
            Column("ms billed", numeric=True),
            Column("GB-seconds", numeric=True),
            Column("requests $", numeric=True),
            Column("duration $", numeric=True),
            Column("other $", numeric=True),
            Column("sum $", numeric=True, style="bold"),
            Column("ms waited", numeric=True),
            Column("connections", numeric=True),
            Column("cluster"),
        ],
        [_row(each) for each in plan.estimates.values()],
    )


def _row(each: Estimate) -> tuple[str, ...]:
    bill = each.bill
    requests, duration = bill.of("request"), bill.of("duration", "provisioned_duration")
    other = max(bill.usd - requests - duration, 0.0)  # never the difference of two roundings
    unknown = " +?" if bill.unpriced else ""
    return (
        each.way.title,
        f"{each.invokes:,.0f}",
        f"{each.billed_ms:.2f}",
        f"{each.gb_seconds:,.0f}",
        f"{requests:,.2f}",
        f"{duration:,.2f}",
        f"{other:,.2f}{unknown}",
        f"{bill.usd:,.2f}{unknown}",
        f"{each.latency_ms:.1f}",
        f"{each.connections:,}",
        f"{each.cluster.name}" if each.cluster else "none",
    )


def _bill(plan: Plan, console: Console) -> None:
    chosen = plan.estimates[CHOSEN]
    console.line()
    console.line(f"The bill of '{chosen.way.title}':", style="bold")
    console.table(
        [
            Column("item"),
            Column("used", numeric=True),
            Column("billed", numeric=True),
            Column("unit"),
            Column("$ each", numeric=True),
            Column("$", numeric=True),
        ],
        [
            (
                line.item.replace("_", " "),
                f"{line.quantity:,.2f}",
                f"{line.billed:,.2f}",
                line.price.unit if line.price else "",
                f"{line.price.usd:.10f}".rstrip("0") if line.price else "not known",
                "?" if line.usd is None else f"{line.usd:,.2f}",
            )
            for line in chosen.bill.lines
        ],
    )


def _concurrency(plan: Plan, console: Console) -> None:
    console.line()
    console.line("Invocations at one time, in the busiest hour:", style="bold")
    rows = []
    for name in ("single", "batches"):
        each = plan.estimates[name]
        load = each.load
        assert load is not None
        rows.append(
            (
                each.way.title,
                f"{load.invokes_per_s:,.1f}",
                f"{load.mean:,.2f}",
                f"{load.p50:,}",
                f"{load.p99:,}",
                f"{load.p999:,}",
                f"{load.throttled:.4%}",
                "no end" if load.wait_ms is None else f"{load.wait_ms:,.2f}",
                f"{load.needed:,}",
                f"{load.needed_for_rate:,}",
                f"{each.burst_invokes:,}" if each.burst_invokes else "",
            )
        )
    console.table(
        [
            Column(""),
            Column("invokes /s", numeric=True),
            Column("mean", numeric=True),
            Column("p50", numeric=True),
            Column("p99", numeric=True),
            Column("p99.9", numeric=True),
            Column("turned away", numeric=True),
            Column("wait ms", numeric=True),
            Column("needed", numeric=True),
            Column("for rate", numeric=True),
            Column("a burst", numeric=True),
        ],
        rows,
    )


def _simulations(plan: Plan, console: Console) -> None:
    if not plan.simulations:
        return
    console.line()
    console.line("Simulated, the busiest hour:", style="bold")
    rows = []
    for name, each in plan.simulations.items():
        latency = percentiles(each.latencies_ms)
        rows.append(
            (
                _TITLES[name] + ("" if each.complete else " (a part)"),
                f"{each.simulated_s:,.1f}",
                f"{each.commands:,}",
                *(f"{latency[key]:,.1f}" if latency else "" for key in ("p50", "p95", "p99")),
                f"{each.failed:,}",
                f"{each.commands_per_invoke:.2f}",
                f"{each.throttles_per_1000:,.1f}",
                f"{each.rate_throttles:,}",
                f"{each.cold_starts:,}",
                f"{each.mean_running:.2f}",
                f"{each.running_quantile(0.99):,}",
                f"{each.peak_connections:,}",
            )
        )
    console.table(
        [
            Column(""),
            Column("seconds", numeric=True),
            Column("commands", numeric=True),
            Column("p50 ms", numeric=True),
            Column("p95 ms", numeric=True),
            Column("p99 ms", numeric=True),
            Column("gave up", numeric=True),
            Column("per invoke", numeric=True),
            Column("throttles /1,000", numeric=True),
            Column("by rate", numeric=True),
            Column("cold", numeric=True),
            Column("mean running", numeric=True),
            Column("p99 running", numeric=True),
            Column("connections", numeric=True),
        ],
        rows,
    )


def _remarks(plan: Plan) -> list[str]:
    direct, single = plan.estimates["direct"], plan.estimates["single"]
    chosen = plan.estimates[CHOSEN]
    said = [
        "",
        f"Without the proxy {plan.workload.callers:,} callers hold {direct.connections:,} "
        f"connections at a server ({_tier(direct, plan)}); with it there are at most "
        f"{chosen.connections:,} ({_tier(chosen, plan)}), however many callers there are.",
    ]
    if chosen.burst_invokes > plan.workload.reserved:
        said.append(
            f"A burst asks for {chosen.burst_invokes:,} invocations at one time, of which "
            f"{plan.workload.reserved} run: the others are throttled and tried again. How long "
            "that takes is what --simulate tells."
        )
    if single.bill.usd > chosen.bill.usd:
        said.append(
            f"Batches save ${single.bill.usd - chosen.bill.usd:,.2f} a month: "
            f"{chosen.commands_per_invoke:.1f} commands an invoke."
        )
    for each in plan.estimates.values():
        if each.bill.unpriced:
            items = ", ".join(item.replace("_", " ") for item in each.bill.unpriced)
            said.append(
                f"Not priced for {plan.region} in '{each.way.title}': {items} (see --prices)."
            )
    return said


def _tier(each: Estimate, plan: Plan) -> str:
    if each.cluster is None:
        return f"more than any of {', '.join(c.name for c in plan.prices.clusters)} takes"
    price = each.cluster.usd_per_hour
    month = "" if price is None else f", ${price * 730:,.2f} a month"
    return f"{each.cluster.name} takes {each.cluster.connections:,}{month}"
