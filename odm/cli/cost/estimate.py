"""A workload's month: invocations, GB-seconds, concurrency, connections, latency and money.

Each *way* of running it is estimated: callers that connect by themselves; the proxy with one
command an invoke; with batches; and those with one thing changed. Pure functions; the assumptions
are listed in `ASSUMPTIONS` and belong to the result.

Sources: billing, https://aws.amazon.com/lambda/pricing/; that INIT is billed since 2025-08-01,
https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/; connections,
docs/lambda.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from odm.cli.cost.concurrency import Concurrency, concurrency, poisson
from odm.cli.cost.prices import Bill, Cluster, Line, Price, Prices, Usage
from odm.cli.cost.workload import MONTH_S, Workload

GB = 1024**3
"""AWS's examples count 1,024 MB as a GB, of memory and of data."""

MONITORS = 1
"""Connections of a driver's monitor, per server and process: on Lambda PyMongo polls, with one."""

BASE64 = 4 / 3
"""What a byte of BSON becomes in an invoke's JSON payload."""

CALLERS_ARCHITECTURE = "x86_64"
"""What callers are taken to run on, if they are functions: the function's is its own matter."""

ENDPOINT_ZONES = 2
"""In how many Availability Zones an interface endpoint is, so that one may fail."""

ASSUMPTIONS = (
    "A month has 730 hours; prices are list prices, without Savings Plans or taxes.",
    "Duration is billed per invocation, rounded up to 1 ms, and includes the init phase of a cold "
    "start, which AWS bills for every function since 2025-08-01.",
    "Throttled invokes are not billed: nothing was run.",
    "What a caller sends in one turn of its event loop travels together, up to 100 commands; none "
    "of it has to travel alone (writes without a session, getMore, transactions do).",
    "The commands of a batch run on as many connections at a time as the pool has.",
    "Cold starts, where they were not measured: each environment that the busiest hour needs at "
    "99 %, or a burst, is started anew every environment_life_s. AWS documents no lifetime; "
    "measure with --log.",
    "The concurrency is that of the busiest hour. Arrivals are Poisson; bursts come on top of it.",
    "Provisioned concurrency is on all month; the free tier does not apply to such a function.",
    "arm64 is taken to need the same time as x86_64. Callers that are functions are on x86_64.",
    "Bytes between Availability Zones are billed on this side, once each way.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of running a workload.

    Attributes:
        name: for programs.
        title: for people.
        workload: as it is run that way.
        proxy: whether there is a function at all.
        batching: whether commands share invokes.
    """

    name: str
    title: str
    workload: Workload
    proxy: bool = True
    batching: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one way costs and needs.

    Attributes:
        way: which.
        invokes: a month; 0 without the proxy.
        commands_per_invoke: on average.
        billed_ms: per invocation on average, cold starts included.
        cold_starts: a month.
        gb_seconds: a month.
        burst_invokes: how many invocations a burst asks for at one time.
        load: the concurrency of the busiest hour; None without the proxy.
        connections: at the server that the commands go to, at most.
        all_connections: with the monitors at the other members.
        latency_ms: what a caller waits for a command on average, when nothing is in its way; one
            that shares an invoke waits for all of it.
        bill: of the month.
        waiting_gb_seconds: what callers that are functions are billed for while they wait.
        cluster: the smallest cluster tier that takes so many connections.
    """

    way: Way
    invokes: float
    commands_per_invoke: float
    billed_ms: float
    cold_starts: float
    gb_seconds: float
    burst_invokes: int
    load: Concurrency | None
    connections: int
    all_connections: int
    latency_ms: float
    bill: Bill
    waiting_gb_seconds: float
    cluster: Cluster | None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "way": self.way.name,
            "title": self.way.title,
            "invokes": round(self.invokes),
            "commands_per_invoke": round(self.commands_per_invoke, 3),
            "billed_ms_per_invoke": round(self.billed_ms, 3),
            "cold_starts": round(self.cold_starts),
            "gb_seconds": round(self.gb_seconds, 1),
            "burst_invokes": self.burst_invokes,
            "concurrency": self.load.document() if self.load else None,
            "connections_per_server": self.connections,
            "connections_in_all": self.all_connections,
            "latency_ms": round(self.latency_ms, 3),
            "usd_per_month": round(self.bill.usd, 4),
            "bill": [line.document() for line in self.bill.lines],
            "unpriced": list(self.bill.unpriced),
            "smallest_cluster": self.cluster.name if self.cluster else None,
        }


def ways(workload: Workload) -> list[Way]:
    """Return the ways that are compared for *workload*."""
    plain = replace(workload, provisioned=0, snap_start=False)
    other = "arm64" if workload.architecture == "x86_64" else "x86_64"
    found = [
        Way(
            name="direct",
            title="no proxy: every caller connects",
            workload=plain,
            proxy=False,
            batching=False,
        ),
        Way(name="single", title="proxy, one command an invoke", workload=plain, batching=False),
        Way(name="batches", title="proxy, batches", workload=plain),
        Way(
            name=other,
            title=f"proxy, batches, {other}",
            workload=replace(plain, architecture=other),
        ),
    ]
    load = _load(plain, batching=True)
    wanted = workload.provisioned or max(1, min(load.p99, workload.reserved))
    provisioned = replace(plain, provisioned=wanted)
    title = f"proxy, batches, {wanted} provisioned"
    found.append(Way(name="provisioned", title=title, workload=provisioned))
    title = "proxy, batches, SnapStart"
    found.append(Way(name="snap_start", title=title, workload=replace(plain, snap_start=True)))
    return found


def estimate(
    way: Way, prices: Prices, region: str, *, free_tier: bool = False, target: float = 0.001
) -> Estimate:
    """Return what *way* costs and needs in *region*.

    Args:
        way: one of `ways`.
        prices: what things cost.
        region: where the function is.
        free_tier: whether the function has the account's free tier to itself.
        target: the share of invokes that may be throttled.
    """
    if not way.proxy:
        return _direct(way, prices, region)
    workload, batching = way.workload, way.batching
    load = _load(workload, batching=batching, target=target)
    stream = _stream(workload, batching=batching)
    invokes = sum(per_s for per_s, _ in stream) * MONTH_S
    burst_invokes = len(workload.invokes_of_burst(batching=batching))
    cold_starts = _cold_starts(workload, max(load.p99, burst_invokes), invokes)
    start_ms = workload.restore_ms if workload.snap_start else workload.init_ms
    billed_ms = _warm_billed_ms(workload, stream, batching=batching)
    memory_gb = workload.memory_mb / 1024
    gb_seconds = (invokes * billed_ms + cold_starts * math.ceil(start_ms)) / 1000 * memory_gb
    on_provisioned = _share_on_provisioned(workload, load, burst_invokes)
    usage = Usage(
        requests=invokes,
        gb_seconds=gb_seconds * (1 - on_provisioned),
        provisioned_gb_seconds=workload.provisioned * MONTH_S * memory_gb,
        provisioned_duration_gb_seconds=gb_seconds * on_provisioned,
        snapshot_gb_seconds=MONTH_S * memory_gb * workload.snap_start,
        restored_gb=cold_starts * memory_gb * workload.snap_start,
        other=_transfers(workload),
    )
    bill = prices.bill(
        usage, region, workload.architecture, free_tier=free_tier and not workload.provisioned
    )
    duration_ms = _duration_ms(workload, batching=batching)
    waiting = _waiting_gb_seconds(workload, workload.round_trip_ms + duration_ms[-1])
    connections = workload.reserved * (workload.pool + MONITORS)
    return Estimate(
        way=way,
        invokes=invokes,
        commands_per_invoke=workload.commands_per_month / invokes,
        billed_ms=gb_seconds / memory_gb * 1000 / invokes,
        cold_starts=cold_starts,
        gb_seconds=gb_seconds,
        burst_invokes=burst_invokes,
        load=load,
        connections=connections,
        all_connections=connections + workload.reserved * MONITORS * (workload.servers - 1),
        latency_ms=workload.round_trip_ms + _mean_wait_ms(workload, batching=batching),
        bill=_with_waiting(bill, prices, region, waiting),
        waiting_gb_seconds=waiting,
        cluster=smallest_cluster(prices.clusters, connections),
    )


def _direct(way: Way, prices: Prices, region: str) -> Estimate:
    workload = way.workload
    command_ms = workload.server_ms + workload.network_ms
    at_a_time = min(workload.gather, workload.caller_pool)
    connections = workload.callers * (at_a_time + MONITORS)
    waiting = _waiting_gb_seconds(workload, command_ms * math.ceil(workload.gather / at_a_time))
    usage = Usage(requests=0, gb_seconds=0, other={"between_zones": _gb_between_zones(workload)})
    bill = prices.bill(usage, region, workload.architecture, free_tier=False)
    return Estimate(
        way=way,
        invokes=0.0,
        commands_per_invoke=0.0,
        billed_ms=0.0,
        cold_starts=0.0,
        gb_seconds=0.0,
        burst_invokes=0,
        load=None,
        connections=connections,
        all_connections=connections + workload.callers * MONITORS * (workload.servers - 1),
        latency_ms=command_ms,
        bill=_with_waiting(bill, prices, region, waiting),
        waiting_gb_seconds=waiting,
        cluster=smallest_cluster(prices.clusters, connections),
    )


def smallest_cluster(clusters: Sequence[Cluster], connections: int) -> Cluster | None:
    """Return the smallest tier that takes so many connections a node, None if none does."""
    return next((each for each in clusters if each.connections >= connections), None)


def _sizes(workload: Workload, *, batching: bool) -> list[int]:
    """Return the sizes of the invokes of one gather; where their mean was measured, that one."""
    if batching and workload.commands_per_invoke:
        return [max(1, round(workload.commands_per_invoke))]
    return workload.invokes_of_gather(batching=batching)


def _commands_per_invoke(workload: Workload, *, batching: bool) -> float:
    """Return how many commands an invoke carries, bursts apart."""
    if batching and workload.commands_per_invoke:
        return workload.commands_per_invoke
    return workload.gather / len(workload.invokes_of_gather(batching=batching))


def _stream(workload: Workload, *, batching: bool) -> list[tuple[float, int]]:
    """Return how many invokes a second carry how many commands, over the day; bursts included."""
    sizes = _sizes(workload, batching=batching)
    per_s = workload.rate / _commands_per_invoke(workload, batching=batching)
    stream = [(per_s / len(sizes), size) for size in sizes]
    sizes_of_burst = Counter(workload.invokes_of_burst(batching=batching))
    stream += [(count / workload.burst_every_s, size) for size, count in sizes_of_burst.items()]
    return stream


def _duration_ms(workload: Workload, *, batching: bool) -> list[float]:
    return [workload.duration_ms(size) for size in _sizes(workload, batching=batching)]


def _mean_wait_ms(workload: Workload, *, batching: bool) -> float:
    """Return how long a command is in the function, on average: as long as its invoke."""
    sizes = _sizes(workload, batching=batching)
    return sum(size * workload.duration_ms(size) for size in sizes) / sum(sizes)


def _warm_billed_ms(
    workload: Workload, stream: Sequence[tuple[float, int]], *, batching: bool
) -> float:
    if workload.billed_ms_per_invoke and batching:
        return workload.billed_ms_per_invoke
    by_size = {size: workload.billed_ms(size) for _, size in stream}
    return sum(per_s * by_size[size] for per_s, size in stream) / sum(n for n, _ in stream)


def _load(workload: Workload, *, batching: bool, target: float = 0.001) -> Concurrency:
    durations = _duration_ms(workload, batching=batching)
    return concurrency(
        invokes_per_s=workload.peak_rate / _commands_per_invoke(workload, batching=batching),
        duration_ms=sum(durations) / len(durations),
        together=len(durations),
        overlap=workload.overlap,
        reserved=workload.reserved,
        target=target,
    )


def _cold_starts(workload: Workload, at_one_time: int, invokes: float) -> float:
    if workload.cold_start_share >= 0:
        return workload.cold_start_share * invokes
    environments = max(0, min(max(at_one_time, 1), workload.reserved) - workload.provisioned)
    return min(environments * MONTH_S / workload.environment_life_s, invokes)


def _share_on_provisioned(workload: Workload, load: Concurrency, burst_invokes: int) -> float:
    """Return the share of the duration that runs on provisioned concurrency, hour by hour."""
    if not workload.provisioned:
        return 0.0
    peak = max(workload.hourly_rates)
    on = total = 0.0
    for rate in workload.hourly_rates:
        mean = load.mean * rate / peak if peak else 0.0
        total += mean
        on += _mean_within(mean, workload.provisioned)
    if burst_invokes:
        mean = burst_invokes / workload.burst_every_s * load.duration_ms / 1000
        total += mean
        on += mean * min(1.0, workload.provisioned / min(burst_invokes, workload.reserved))
    return on / total


def _mean_within(mean: float, ceiling: int) -> float:
    """Return the mean of the smaller of *ceiling* and a Poisson number."""
    within = sum(count * poisson(mean, count) for count in range(ceiling))
    above = 1 - sum(poisson(mean, count) for count in range(ceiling))
    return within + ceiling * max(above, 0.0)


def _transfers(workload: Workload) -> dict[str, float]:
    """Return the items that data on its way costs: to the server, and from the callers."""
    found = {"between_zones": _gb_between_zones(workload)}
    each = (workload.bytes_in + workload.bytes_out) * BASE64
    if workload.callers_through != "public":
        found[workload.callers_through] = workload.commands_per_month * each / GB
    if workload.callers_through == "vpc_endpoint":
        found["vpc_endpoint_hour"] = MONTH_S / 3600 * ENDPOINT_ZONES
    return found


def _gb_between_zones(workload: Workload) -> float:
    each = workload.bytes_in + workload.bytes_out
    return workload.commands_per_month * each * workload.between_zones / GB


def _waiting_gb_seconds(workload: Workload, wait_ms: float) -> float:
    """Return what callers are billed for while they wait, a gather at a time."""
    gathers = workload.commands_per_month / workload.gather
    return gathers * wait_ms / 1000 * workload.caller_memory_mb / 1024


def _with_waiting(bill: Bill, prices: Prices, region: str, gb_seconds: float) -> Bill:
    if not gb_seconds:
        return bill
    price: Price | None = prices.get("duration", region, CALLERS_ARCHITECTURE)
    usd = gb_seconds * price.usd if price else None
    return Bill((*bill.lines, Line("callers_waiting", gb_seconds, gb_seconds, price, usd)))
