"""``odm cost``: from a workload to invocations, concurrency, connections and money."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from odm.cli.console import Console
from odm.cli.cost import options
from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.lifecycle import Stopped
from odm.cli.options import JsonOption, QuietOption

if TYPE_CHECKING:
    from odm.cli.cost.measured import Measurement
    from odm.cli.cost.plan import Plan
    from odm.cli.cost.prices import Prices
    from odm.cli.cost.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """Where the workload and the prices are from."""

    fields: Mapping[str, Any]
    workload_file: Path | None
    statistics: Path | None
    log: Path | None
    over_s: float | None
    region: str
    prices: Path | None
    cluster_prices: list[str]
    free_tier: bool
    target: float


def cost_command(
    context: typer.Context,
    workload: options.WorkloadFile = None,
    rate: options.Rate = None,
    profile: options.Profile = None,
    burst: options.Burst = None,
    gather: options.Gather = None,
    callers: options.Callers = None,
    caller_pool: options.CallerPool = None,
    caller_memory_mb: options.CallerMemoryMb = None,
    server_ms: options.ServerMs = None,
    network_ms: options.NetworkMs = None,
    spread: options.Spread = None,
    bytes_in: options.BytesIn = None,
    bytes_out: options.BytesOut = None,
    memory_mb: options.MemoryMb = None,
    architecture: options.Architecture = None,
    reserved: options.Reserved = None,
    pool: options.Pool = None,
    provisioned: options.Provisioned = None,
    snap_start: options.SnapStart = None,
    commands_per_invoke: options.CommandsPerInvoke = None,
    overhead_ms: options.OverheadMs = None,
    round_trip_ms: options.RoundTripMs = None,
    cold_start_share: options.ColdStartShare = None,
    init_ms: options.InitMs = None,
    restore_ms: options.RestoreMs = None,
    environment_life_s: options.EnvironmentLifeS = None,
    servers: options.Servers = None,
    between_zones: options.BetweenZones = None,
    callers_through: options.CallersThrough = None,
    statistics: options.StatisticsFile = None,
    log: options.LogFile = None,
    over: options.Over = None,
    region: options.Region = "us-east-1",
    prices: options.PricesFile = None,
    cluster_price: options.ClusterPrice = None,
    free_tier: options.FreeTier = False,
    target: options.Target = 0.001,
    connection_limit: options.ConnectionLimit = None,
    check: options.Check = False,
    simulate: options.Simulate = None,
    seed: options.Seed = 1,
    patience: options.Patience = 10.0,
    rate_limit: options.RateLimit = True,
    html: options.Html = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Estimate what a workload costs over the DB proxy function, and what it needs.

    Compared are callers that connect by themselves, and the proxy with one command an invoke, with
    batches, on the other architecture, with provisioned concurrency, and with SnapStart:
    invocations, GB-seconds, concurrency, connections and money per month.
    Everything assumed is told, with the prices' dates and sources.

    Exit code 0: done; 1: with --check, the workload does not fit into the reserved concurrency or
    the connections.

    Example: odm cost --rate 500 --gather 20 --callers 2000 --simulate 60 --html cost.html

    Example: odm cost --log function.log --over 3600 --region eu-central-1
    """
    console = Console(json_output=json_output, quiet=quiet)
    _check_html(html)
    plan = _plan(
        _Inputs(
            fields=context.params,
            workload_file=workload,
            statistics=statistics,
            log=log,
            over_s=over,
            region=region,
            prices=prices,
            cluster_prices=cluster_price or [],
            free_tier=free_tier,
            target=target,
        )
    )
    stopped = False
    if simulate is not None:
        stopped = _simulate(plan, simulate, seed, patience, rate_limit, console)
    _tell(plan, html, connection_limit, console)
    if stopped:
        raise Stopped(signal.SIGINT)
    if check and plan.problems(connection_limit):
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _check_html(html: Path | None) -> None:
    if html is not None and not html.absolute().parent.is_dir():
        raise CommandFailed(
            f"--html {str(html)!r}: there is no directory of that name", ExitCode.USAGE
        )


def _plan(inputs: _Inputs) -> Plan:
    from odm.cli.cost.plan import make_plan

    try:
        prices = _prices(inputs)
        workload, measurement = _workload(inputs)
        return make_plan(
            workload,
            prices,
            inputs.region,
            free_tier=inputs.free_tier,
            target=inputs.target,
            measurement=measurement,
        )
    except ValueError as error:  # InvalidWorkload and InvalidPrices are
        raise CommandFailed(str(error), ExitCode.USAGE) from error


def _prices(inputs: _Inputs) -> Prices:
    from odm.cli.cost.prices import Cluster, load_prices

    prices = load_prices(inputs.prices)
    if inputs.region not in prices.regions:
        raise CommandFailed(
            f"--region {inputs.region!r}: there are prices of {', '.join(prices.regions)}; "
            "others come from a file: --prices",
            ExitCode.USAGE,
        )
    clusters = {cluster.name: cluster for cluster in prices.clusters}
    for text in inputs.cluster_prices:
        name, *numbers = text.split("=")
        known = clusters.get(name)
        try:
            usd = float(numbers[-1])
            connections = int(numbers[0]) if len(numbers) == 2 else known and known.connections
        except (IndexError, ValueError):
            connections = usd = None
        if not connections or usd is None or len(numbers) > 2:
            raise CommandFailed(
                f"--cluster-price {text!r}: write a tier's price per hour, e.g. M40=1.04, or "
                "another's connections too, e.g. own=20000=3.5",
                ExitCode.USAGE,
            )
        clusters[name] = Cluster(name, connections, usd)
    return replace(
        prices, clusters=tuple(sorted(clusters.values(), key=lambda each: each.connections))
    )


def _workload(inputs: _Inputs) -> tuple[Workload, Measurement | None]:
    from odm.cli.cost import measured
    from odm.cli.cost import workload as reading

    if inputs.statistics and inputs.log:
        raise CommandFailed("--statistics and --log: write one of them", ExitCode.USAGE)
    if inputs.over_s is not None and not (inputs.statistics or inputs.log):
        raise CommandFailed("--over is for --statistics or --log", ExitCode.USAGE)
    from_file = reading.read_workload(inputs.workload_file) if inputs.workload_file else {}
    told = _told(inputs.fields)
    default = reading.make_workload(from_file, told)
    if inputs.statistics:
        measurement = measured.read_statistics(inputs.statistics, inputs.over_s, default.init_ms)
    elif inputs.log:
        measurement = measured.read_log(inputs.log, inputs.over_s)
    else:
        return default, None
    # What is written on the command line wins over what was measured.
    return reading.make_workload(from_file, measurement.fields(default), told), measurement


def _told(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the workload's fields among the command's parameters."""
    from dataclasses import fields

    from odm.cli.cost.workload import Workload, parse_burst, parse_profile

    names = {field.name for field in fields(Workload)}
    told = {name: value for name, value in params.items() if name in names and value is not None}
    if "profile" in told:
        told["profile"] = parse_profile(told["profile"])
    if "burst" in told:
        told |= parse_burst(told["burst"])
    return told


def _simulate(
    plan: Plan, seconds: float, seed: int, patience_s: float, rate_limit: bool, console: Console
) -> bool:
    """Simulate; return whether it was stopped."""
    from odm.cli.cost.plan import simulate
    from odm.cli.cost.simulation import Settings
    from odm.cli.demo.progress import Reporter

    try:
        settings = Settings(
            workload=plan.workload,
            seconds=seconds,
            seed=seed,
            patience_s=patience_s,
            rate_limit=rate_limit,
        )
    except ValueError as error:
        raise CommandFailed(f"--simulate: {error}", ExitCode.USAGE) from error
    try:
        with Reporter(console).phase(f"simulating {seconds:g} s, twice") as phase:
            simulate(plan, settings, lambda name, share: phase.step(f"{name} {share:.0%}"))
    except KeyboardInterrupt:
        return True
    return False


def _tell(plan: Plan, html: Path | None, connection_limit: int | None, console: Console) -> None:
    from odm.cli.cost.page import page
    from odm.cli.cost.table import show

    show(plan, console, connection_limit)
    console.document({"ok": not plan.problems(connection_limit), **plan.document()})
    if html is not None:
        try:
            html.write_text(page(plan), encoding="utf-8")
        except OSError as error:
            raise CommandFailed(
                f"cannot write --html {html}: {error.strerror}", ExitCode.USAGE
            ) from error
        console.note(f"report: {html}")
