"""Estimates against calculations by hand, written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from odm.cli.cost.estimate import Estimate, estimate, smallest_cluster, ways
from odm.cli.cost.plan import make_plan
from odm.cli.cost.prices import Cluster, Prices, load_prices
from odm.cli.cost.workload import MONTH_S, Workload

# Constant durations, nothing between zones: 2 + 1 ms a command, 1.5 ms the function's own.
BY_HAND = Workload(
    rate=100,
    server_ms=2,
    network_ms=1,
    overhead_ms=1.5,
    round_trip_ms=5,
    spread=0,
    between_zones=0,
    init_ms=400,
    environment_life_s=7200,
    memory_mb=512,
    reserved=15,
    pool=4,
    servers=3,
    callers=100,
)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load_prices()


def estimates(workload: Workload, prices: Prices, **settings: Any) -> dict[str, Estimate]:
    return {way.name: estimate(way, prices, "us-east-1", **settings) for way in ways(workload)}


def test_one_command_an_invoke_by_hand(prices: Prices) -> None:
    each = estimates(BY_HAND, prices)["single"]
    # 100 a second for 730 hours of 3,600 s.
    assert each.invokes == 100 * 730 * 3600 == 262_800_000
    # 1.5 + 2 + 1 = 4.5 ms: 0.45 at one time.
    assert each.load is not None
    assert each.load.mean == pytest.approx(0.45)
    # Poisson of 0.45: at most 2 at 98.9 %, at most 3 at 99.9 %: three environments, started anew
    # every two hours: 3 x 365 = 1,095 cold starts.
    assert each.load.p99 == 3
    assert each.cold_starts == pytest.approx(1_095)
    # 5 ms billed of 4.5, half a GB: 657,000 GB-s, and 1,095 x 0.4 s x 0.5 GB = 219.
    assert each.gb_seconds == pytest.approx(657_000 + 219)
    # 262.8 x $0.20 = $52.56, 657,219 x $0.0000166667 = $10.95.
    assert each.bill.of("request") == pytest.approx(52.56)
    assert each.bill.of("duration") == pytest.approx(10.9537, abs=1e-3)
    assert each.bill.usd == pytest.approx(52.56 + 10.9537, abs=1e-3)
    assert each.bill.unpriced == ()
    # 15 environments x (a pool of 4 and a monitor); at two other members a monitor each.
    assert each.connections == 75
    assert each.all_connections == 75 + 15 * 2
    assert each.latency_ms == 5 + 4.5


def test_batches_by_hand(prices: Prices) -> None:
    each = estimates(replace(BY_HAND, gather=20), prices)["batches"]
    # Twenty commands are an invoke.
    assert each.commands_per_invoke == 20
    assert each.invokes == pytest.approx(13_140_000)
    # Four threads send one command each (1 + 2), two each (1 + 4), and two threads the last eight
    # (1 + 8): 17 ms, and 1.5: 18.5 ms, 19 billed.
    warm = each.gb_seconds - each.cold_starts * 0.4 * 0.5
    assert warm == pytest.approx(13_140_000 * 19 / 1000 * 0.5)
    # Five invokes a second of 18.5 ms.
    assert each.load is not None
    assert each.load.mean == pytest.approx(5 * 0.0185)
    assert each.load.needed_for_rate == 1
    # Each of them waits for the whole invoke; one by one they wait for their own.
    assert each.latency_ms == 5 + 18.5
    single = estimates(replace(BY_HAND, gather=20), prices)["single"]
    assert single.latency_ms == 5 + 4.5


def test_a_gather_of_more_than_a_batch_is_several_by_hand(prices: Prices) -> None:
    each = estimates(replace(BY_HAND, gather=250), prices)["batches"]
    # 100, 100 and 50.
    assert each.commands_per_invoke == pytest.approx(250 / 3)
    assert each.load is not None
    assert each.load.peakedness == 3


def test_callers_that_connect_by_themselves_by_hand(prices: Prices) -> None:
    each = estimates(replace(BY_HAND, gather=20, caller_pool=8), prices)["direct"]
    # 100 callers x (8 of the 20 commands at a time and a monitor); monitors at two others.
    assert each.connections == 900
    assert each.all_connections == 900 + 100 * 2
    assert (each.invokes, each.bill.usd) == (0, 0)
    assert each.latency_ms == 3
    assert each.cluster is not None
    assert (each.cluster.name, each.cluster.connections) == ("M10", 1500)


def test_callers_that_pay_while_they_wait_by_hand(prices: Prices) -> None:
    found = estimates(replace(BY_HAND, caller_memory_mb=1024), prices)
    # Directly 3 ms of a GB for each command, through the function 5 + 4.5 ms.
    assert found["direct"].waiting_gb_seconds == pytest.approx(262.8e6 * 0.003)
    assert found["single"].waiting_gb_seconds == pytest.approx(262.8e6 * 0.0095)
    assert found["direct"].bill.usd == pytest.approx(788_400 * 0.0000166667)
    # What the function runs on changes nothing for them.
    waiting = [found[name].bill.of("callers_waiting") for name in ("batches", "arm64")]
    assert waiting == pytest.approx([262.8e6 * 0.0095 * 0.0000166667] * 2)


def test_data_on_its_way_by_hand(prices: Prices) -> None:
    workload = replace(
        BY_HAND, bytes_in=1000, bytes_out=3000, between_zones=0.5, callers_through="vpc_endpoint"
    )
    bill = estimates(workload, prices)["single"].bill
    gigabytes = 262.8e6 * 4000 / 1024**3
    # Half of it crosses a zone at a cent; all of it, as base64, the endpoint, in two zones.
    assert bill.of("between_zones") == pytest.approx(gigabytes / 2 * 0.01)
    assert bill.of("vpc_endpoint") == pytest.approx(gigabytes * 4 / 3 * 0.01)
    assert bill.of("vpc_endpoint_hour") == pytest.approx(730 * 2 * 0.01)


def test_arm64_costs_a_fifth_less_duration(prices: Prices) -> None:
    found = estimates(BY_HAND, prices)
    assert found["arm64"].gb_seconds == found["batches"].gb_seconds
    ratio = found["arm64"].bill.of("duration") / found["batches"].bill.of("duration")
    assert ratio == pytest.approx(0.8, abs=1e-5)


def test_provisioned_concurrency_by_hand(prices: Prices) -> None:
    each = estimates(replace(BY_HAND, provisioned=2), prices, free_tier=True)["provisioned"]
    # 2 x 0.5 GB all month.
    assert each.bill.of("provisioned") == pytest.approx(MONTH_S * 0.0000041667)
    # Poisson of 0.45 within 2: 0.2869 + 2 x 0.0754... = 0.4377 of 0.45: 97 % of the duration.
    on = {line.item: line.quantity for line in each.bill.lines}
    share = on["provisioned_duration"] / (on["provisioned_duration"] + on["duration"])
    assert share == pytest.approx(0.9727, abs=2e-3)
    # No free tier with provisioned concurrency: all requests are billed.
    assert each.bill.lines[0].billed == each.invokes


def test_provisioned_concurrency_takes_its_part_of_a_burst(prices: Prices) -> None:
    workload = replace(BY_HAND, rate=0, burst=1000, burst_every_s=60, provisioned=3)
    each = estimates(workload, prices)["provisioned"]
    # Three of the fifteen environments that a burst keeps busy.
    on = {line.item: line.quantity for line in each.bill.lines}
    share = on["provisioned_duration"] / (on["provisioned_duration"] + on["duration"])
    assert share == pytest.approx(3 / 15)


def test_snap_start_by_hand(prices: Prices) -> None:
    each = estimates(replace(BY_HAND, restore_ms=200), prices)["snap_start"]
    # Half a GB kept all month, half a GB for each of 1,095 restores.
    assert each.bill.of("snapshot_cached") == pytest.approx(MONTH_S * 0.5 * 0.0000015046)
    assert each.bill.of("snapshot_restored") == pytest.approx(1_095 * 0.5 * 0.0001397998)
    assert each.gb_seconds == pytest.approx(657_000 + 1_095 * 0.2 * 0.5)


def test_the_free_tier_is_taken_off_once(prices: Prices) -> None:
    with_it = estimates(BY_HAND, prices, free_tier=True)["single"].bill.usd
    without = estimates(BY_HAND, prices)["single"].bill.usd
    assert without - with_it == pytest.approx(1 * 0.20 + 400_000 * 0.0000166667)


def test_the_busiest_hour_decides_the_concurrency_not_the_volume(prices: Prices) -> None:
    profile = (0.0,) * 23 + (24.0,)
    flat = estimates(BY_HAND, prices)["single"]
    peaked = estimates(replace(BY_HAND, profile=profile), prices)["single"]
    assert peaked.invokes == flat.invokes
    assert flat.load is not None
    assert peaked.load is not None
    assert peaked.load.mean == pytest.approx(24 * flat.load.mean)


def test_bursts_by_hand(prices: Prices) -> None:
    workload = replace(BY_HAND, gather=20, burst=600, burst_every_s=60)
    found = estimates(workload, prices)
    assert found["single"].invokes == pytest.approx((100 + 10) * MONTH_S)
    assert found["single"].burst_invokes == 600
    # Gathers: 5 a second of 20 commands, 18.5 ms. A burst is six commands for each of 100
    # callers: 100 invokes every 60 s.
    batches = found["batches"]
    assert batches.burst_invokes == 100
    assert batches.invokes == pytest.approx((5 + 100 / 60) * MONTH_S)
    assert batches.commands_per_invoke == pytest.approx((100 + 10) / (5 + 100 / 60))
    # Six commands: four at once (3 ms), then one thread takes the other two (1 + 2 + 2): 8 ms and
    # 1.5, 10 billed; of 20 commands 19.
    warm = batches.gb_seconds - batches.cold_starts * 0.4 * 0.5
    mean = (5 * 19 + 100 / 60 * 10) / (5 + 100 / 60)
    assert warm == pytest.approx(batches.invokes * mean / 1000 * 0.5)
    # A burst fills all 15 environments.
    assert batches.cold_starts == pytest.approx(15 * 365)


def test_measured_batches_and_billing_are_taken_as_they_are(prices: Prices) -> None:
    workload = replace(
        BY_HAND, commands_per_invoke=4, billed_ms_per_invoke=7.25, cold_start_share=0.01
    )
    each = estimates(workload, prices)["batches"]
    assert each.invokes == 65_700_000
    assert each.cold_starts == 657_000
    assert each.gb_seconds == pytest.approx((65.7e6 * 7.25 + 657_000 * 400) / 1000 * 0.5)
    assert each.billed_ms == pytest.approx(7.25 + 0.01 * 400)
    # One command an invoke was not measured.
    assert estimates(workload, prices)["single"].invokes == 262_800_000


def test_the_smallest_cluster_takes_the_connections() -> None:
    clusters = (Cluster("S", 10), Cluster("L", 100))
    assert smallest_cluster(clusters, 10) == clusters[0]
    assert smallest_cluster(clusters, 11) == clusters[1]
    assert smallest_cluster(clusters, 101) is None


def test_a_plan_says_what_does_not_fit(prices: Prices) -> None:
    fits = make_plan(BY_HAND, prices, "us-east-1")
    assert fits.problems() == []
    assert len(fits.problems(connection_limit=74)) == 1
    # 1,000 invokes a second of 4.5 ms are 4.5 at a time, but ask for 100 by AWS's rate.
    busy = make_plan(replace(BY_HAND, rate=1000), prices, "us-east-1")
    [problem] = busy.problems()
    assert "reserved concurrency of 100" in problem
    # 100 ms each are 10 at a time by 100 invokes a second: too many for 15 places at 0.1 %.
    slow = make_plan(replace(BY_HAND, server_ms=97.5), prices, "us-east-1")
    [problem] = slow.problems()
    assert "turns 3.65% of the invokes away" in problem
    assert "21 would keep that below 0.10%" in problem
