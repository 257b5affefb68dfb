"""The simulation against Little's law, Erlang's formulas, and the product's own rules.

Every run has a fixed seed; bounds are four standard errors or wider.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from odm.cli.cost.concurrency import erlang_b, poisson_quantile, turned_away
from odm.cli.cost.estimate import estimate, ways
from odm.cli.cost.prices import load_prices
from odm.cli.cost.simulation import Outcome, Settings, Simulation
from odm.cli.cost.workload import MAX_BATCH, MONTH_S, Workload


def simulated(workload: Workload, **settings: Any) -> Outcome:
    return Simulation(Settings(workload=workload, **settings)).run()


# A stream without a caller's influence: hardly any caller has two commands at a time.
STREAM: dict[str, Any] = {"callers": 200_000, "init_ms": 0.0, "round_trip_ms": 0.0}


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_the_mean_is_littles_and_the_tail_is_poisson(spread: float) -> None:
    # 200 a second of 1 + 49 ms: 10 at a time, whatever the spread.
    workload = Workload(
        rate=200, server_ms=49, network_ms=0, overhead_ms=1, spread=spread, reserved=1000, **STREAM
    )
    outcome = simulated(workload, seconds=150, rate_limit=False)
    assert outcome.complete
    assert outcome.throttles == outcome.failed == 0
    assert outcome.commands == pytest.approx(200 * 150, rel=4 / math.sqrt(30_000))
    assert outcome.mean_running == pytest.approx(10, rel=0.06)
    # L = lambda W, with the lambda and the W of this very run: no statistics in it.
    arriving = outcome.invokes / outcome.simulated_s
    each_s = outcome.duration_ms / outcome.invokes / 1000
    assert outcome.mean_running == pytest.approx(arriving * each_s, rel=1e-6)
    for share in (0.5, 0.95, 0.99):
        assert abs(outcome.running_quantile(share) - poisson_quantile(10, share)) <= 1


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("reserved", [8, 12])
def test_throttles_without_repetition_are_erlangs_b(reserved: int, spread: float) -> None:
    workload = Workload(
        rate=200,
        server_ms=49,
        network_ms=0,
        overhead_ms=1,
        spread=spread,
        reserved=reserved,
        **STREAM,
    )
    outcome = simulated(workload, seconds=200, patience_s=0, batching=False, rate_limit=False)
    expected = erlang_b(reserved, 10.0)
    assert outcome.throttles / outcome.commands == pytest.approx(expected, rel=0.1)
    assert outcome.failed == outcome.throttles
    assert len(outcome.latencies_ms) + outcome.failed == outcome.commands


def test_throttles_of_gathers_are_near_haywards_approximation() -> None:
    # 20 gathers a second of 10 commands of 50 ms each: 10 at a time, in tens.
    workload = Workload(
        rate=200,
        gather=10,
        server_ms=49,
        network_ms=0,
        overhead_ms=1,
        spread=0,
        reserved=30,
        **STREAM,
    )
    outcome = simulated(workload, seconds=150, batching=False, patience_s=0, rate_limit=False)
    expected = turned_away(30, 10.0, 10.0)
    found = outcome.throttles / outcome.commands
    # It counts whole gathers: of one that finds too little room, a part gets in all the same.
    assert expected / 2 < found < expected * 1.1
    assert found > 100 * erlang_b(30, 10.0)


def test_waiting_for_a_turn_is_erlangs_c() -> None:
    # One caller who knows its limit is an M/M/c queue: arrivals wait, none is turned away.
    workload = Workload(
        rate=160,
        callers=1,
        reserved=10,
        server_ms=50,
        network_ms=0,
        overhead_ms=0,
        init_ms=0,
        round_trip_ms=0,
    )

    def exponential(random: Random) -> float:
        return random.expovariate(1 / 50)

    simulation = Simulation(
        Settings(
            workload=workload,
            seconds=250,
            batching=False,
            patience_s=1e9,
            rate_limit=False,
            sample=exponential,
            limit=10,
        )
    )
    outcome = simulation.run()
    assert outcome.throttles == 0
    # 160 a second of 50 ms are 8 at a time: with ten places C is 0.4092, the wait C x 50 / 2.
    waits = [each > 1e-6 for each in outcome.waited_ms]
    assert sum(waits) / len(waits) == pytest.approx(0.4092, rel=0.1)
    mean = sum(outcome.waited_ms) / len(outcome.waited_ms)
    assert mean == pytest.approx(0.4092 * 50 / 2, rel=0.2)


def test_the_same_seed_gives_the_same_outcome() -> None:
    workload = Workload(rate=300, gather=5, callers=50, burst=100, burst_every_s=3)
    one, same = (simulated(workload, seconds=10) for _ in range(2))
    other = simulated(workload, seconds=10, seed=2)
    assert one == same
    assert one.latencies_ms != other.latencies_ms


def test_a_gather_of_a_quiet_caller_is_one_invoke() -> None:
    workload = Workload(rate=20, gather=20, callers=1000, reserved=50, spread=0, init_ms=0)
    outcome = simulated(workload, seconds=60)
    assert outcome.throttles == 0
    assert outcome.commands_per_invoke == 20
    one_by_one = simulated(workload, seconds=60, batching=False, rate_limit=False)
    assert one_by_one.commands_per_invoke == 1


def test_a_batch_has_a_most() -> None:
    workload = Workload(
        rate=0, burst=3 * MAX_BATCH + 1, burst_every_s=100, callers=1, reserved=50, init_ms=0
    )
    outcome = simulated(workload, seconds=60)
    assert outcome.commands == 3 * MAX_BATCH + 1
    assert outcome.invokes == 4


def test_what_is_billed_is_rounded_up_one_by_one_with_the_init_phase() -> None:
    workload = Workload(
        rate=0,
        burst=3,
        burst_every_s=100,
        callers=3,
        spread=0,
        server_ms=2,
        network_ms=0,
        overhead_ms=0.5,
        init_ms=100.2,
    )
    outcome = simulated(workload, seconds=60, warm=False)
    # Three callers at once: three cold environments of 0.5 + 2 + 100.2 = 102.7 ms, 103 each.
    assert (outcome.invokes, outcome.cold_starts, outcome.billed_ms) == (3, 3, 309)
    # Each waits for the round trip of 5 ms, too.
    assert outcome.latencies_ms == pytest.approx([107.7] * 3)


def test_an_idle_environment_is_used_again_and_an_old_one_is_gone() -> None:
    workload = Workload(rate=0, burst=1, burst_every_s=100, callers=1)
    kept = simulated(workload, seconds=1000, idle_s=101, warm=False)
    assert (kept.invokes, kept.cold_starts) == (10, 1)
    gone = simulated(workload, seconds=1000, idle_s=99, warm=False)
    assert (gone.invokes, gone.cold_starts) == (10, 10)


def test_provisioned_concurrency_is_never_cold() -> None:
    workload = Workload(rate=0, burst=5, burst_every_s=100, callers=5, provisioned=5, reserved=6)
    outcome = simulated(workload, seconds=60, warm=False)
    assert (outcome.invokes, outcome.cold_starts) == (5, 0)
    more = Workload(rate=0, burst=6, burst_every_s=100, callers=6, provisioned=5, reserved=6)
    assert simulated(more, seconds=60, warm=False).cold_starts == 1


def test_reserved_concurrency_is_never_exceeded() -> None:
    workload = Workload(rate=500, callers=300, burst=300, burst_every_s=5, reserved=7)
    outcome = simulated(workload, seconds=20, rate_limit=False)
    assert len(outcome.running_s) - 1 == 7
    assert outcome.peak_connections <= 7 * (workload.pool + 1)
    assert outcome.throttles > 0
    assert len(outcome.latencies_ms) + outcome.failed == outcome.commands


def test_aws_admits_ten_requests_a_second_for_each_reserved_concurrency() -> None:
    # 300 a second of 2 ms would fit into one environment; five may be asked 50 times a second.
    workload = Workload(rate=300, callers=3000, server_ms=1, network_ms=0, reserved=5, init_ms=0)
    outcome = simulated(workload, seconds=30, patience_s=0)
    assert outcome.throttles == outcome.rate_throttles > 0
    assert outcome.invokes == pytest.approx(5 * 10 * 31, rel=0.02)
    assert simulated(workload, seconds=30, patience_s=0, rate_limit=False).rate_throttles == 0


def test_batches_need_fewer_throttles_than_single_commands() -> None:
    workload = Workload(rate=400, gather=40, callers=20, reserved=4)
    batches = simulated(workload, seconds=30, rate_limit=False)
    single = simulated(workload, seconds=30, rate_limit=False, batching=False)
    assert batches.throttles_per_1000 < single.throttles_per_1000 / 10
    assert batches.invokes < single.invokes / 5


def test_a_throttle_lowers_what_one_caller_has_in_flight() -> None:
    # 200 commands at once from one caller, one by one, against three places: most attempts of
    # the first moment are turned away, and later ones wait for their turn instead.
    workload = Workload(rate=0, burst=200, burst_every_s=1000, callers=1, reserved=3, init_ms=0)
    outcome = simulated(workload, seconds=60, batching=False, rate_limit=False)
    assert outcome.failed == 0
    assert len(outcome.latencies_ms) == 200
    assert 197 <= outcome.throttles < 400


def test_patience_ends() -> None:
    workload = Workload(
        rate=100, callers=100, server_ms=1000, network_ms=0, spread=0, reserved=2, init_ms=0
    )
    outcome = simulated(workload, seconds=20, patience_s=1.5)
    assert outcome.failed > outcome.commands / 2
    assert len(outcome.latencies_ms) + outcome.failed == outcome.commands
    longest_ms = 1500 + 1000 + workload.overhead_ms + workload.round_trip_ms
    assert max(outcome.latencies_ms) <= longest_ms * 1.001


def test_a_stopped_simulation_has_what_there_is() -> None:
    simulation = Simulation(Settings(workload=Workload(rate=5000, reserved=900), seconds=1000))
    told: list[float] = []

    def stop(share: float) -> None:
        told.append(share)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulation.run(stop)
    outcome = simulation.outcome
    assert not outcome.complete
    assert 0 < outcome.simulated_s < 1000
    assert outcome.latencies_ms
    assert told == sorted(told)
    assert sum(outcome.running_s) == pytest.approx(outcome.simulated_s)


def test_the_function_is_sampled_over_time() -> None:
    outcome = simulated(Workload(rate=50), seconds=20)
    seconds = [sample.second for sample in outcome.samples]
    assert seconds == sorted(seconds)
    assert 200 <= len(seconds) <= 260
    assert max(sample.connections for sample in outcome.samples) <= outcome.peak_connections


@pytest.mark.parametrize("batching", [True, False])
@pytest.mark.parametrize("gather", [1, 3, 20])
def test_the_estimate_and_the_simulation_agree(gather: int, batching: bool) -> None:
    workload = Workload(
        rate=150,
        gather=gather,
        callers=50_000,
        burst=400,
        burst_every_s=10,
        reserved=1000,
        init_ms=0,
        cold_start_share=0,
    )
    [way] = [each for each in ways(workload) if each.name == ("batches" if batching else "single")]
    estimated = estimate(way, load_prices(), "us-east-1")
    outcome = simulated(workload, seconds=200, batching=batching, rate_limit=False)
    assert outcome.throttles == 0
    per_s = outcome.invokes / 200
    gathers = 150 * 200 / gather
    assert per_s == pytest.approx(estimated.invokes / MONTH_S, rel=4 / math.sqrt(gathers))
    assert outcome.billed_ms / outcome.invokes == pytest.approx(estimated.billed_ms, rel=0.03)
    assert outcome.commands_per_invoke == pytest.approx(estimated.commands_per_invoke, rel=0.1)
