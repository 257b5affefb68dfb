"""Means of log-normal durations, against what they are made of."""

from __future__ import annotations

import math
from random import Random

import pytest

from odm.cli.cost.durations import Duration, makespan, mean_billed, mean_makespan, normal

MANY = 60_000


def drawn(duration: Duration) -> list[float]:
    random = Random(7)
    return [duration.sample(random) for _ in range(MANY)]


@pytest.mark.parametrize("spread", [0.2, 0.5, 1.5])
def test_samples_have_the_mean_and_the_spread(spread: float) -> None:
    values = drawn(Duration(4.0, spread))
    mean = sum(values) / MANY
    deviation = math.sqrt(sum((each - mean) ** 2 for each in values) / MANY)
    assert mean == pytest.approx(4.0, rel=0.02)
    assert deviation / mean == pytest.approx(spread, rel=0.06)


def test_the_distribution_function_counts_samples() -> None:
    duration = Duration(4.0, 0.5)
    values = drawn(duration)
    for limit in (1.0, 3.0, 4.0, 8.0):
        share = sum(each <= limit for each in values) / MANY
        assert duration.at_most(limit) == pytest.approx(share, abs=0.01)


def test_the_largest_of_several_is_longer() -> None:
    duration = Duration(4.0, 0.5)
    values = drawn(duration)
    largest = [max(values[i : i + 4]) for i in range(0, MANY, 4)]
    assert duration.mean_of_largest(4) == pytest.approx(sum(largest) / len(largest), rel=0.01)
    assert duration.mean_of_largest(1) == 4.0
    assert Duration(4.0).mean_of_largest(4) == 4.0


@pytest.mark.parametrize(("after_ms", "largest_of"), [(0.0, 1), (1.0, 1), (0.7, 4)])
def test_what_is_billed_is_the_mean_of_what_is_rounded_up(after_ms: float, largest_of: int) -> None:
    duration = Duration(2.0, 0.8)
    values = drawn(duration)
    billed = [
        math.ceil(after_ms + max(values[i : i + largest_of])) for i in range(0, MANY, largest_of)
    ]
    expected = sum(billed) / len(billed)
    found = duration.mean_rounded_up(after_ms=after_ms, largest_of=largest_of)
    assert found == pytest.approx(expected, rel=0.01)


def test_rounding_up_by_hand() -> None:
    assert Duration(120.0).mean_rounded_up() == 120
    assert Duration(2.0).mean_rounded_up(after_ms=1.5) == 4
    assert Duration(0.1).mean_rounded_up(after_ms=0.2) == 1
    # Long ones gain half a millisecond.
    assert Duration(5_000.0, 0.5).mean_rounded_up() == pytest.approx(5_000.5, abs=0.05)
    # However long the longest are.
    assert Duration(900.0, 5.0).mean_rounded_up() == pytest.approx(900.5, abs=0.05)


def test_durations_overlap_between_half_and_all_of_their_time() -> None:
    assert Duration(3.0).overlap == 1
    duration = Duration(3.0, 1.0)
    values = drawn(duration)
    shorter = [min(values[i : i + 2]) for i in range(0, MANY, 2)]
    assert duration.overlap == pytest.approx(sum(shorter) / len(shorter) / 3.0, rel=0.02)


def test_threads_take_shares_that_double_while_commands_are_fast() -> None:
    # Twenty commands of 2 ms and a round trip of 1, four threads: each takes one (until 3), each
    # takes two (1 + 4, until 8), and two of them take four (1 + 8, until 17).
    assert makespan([2.0] * 20, 1.0, 4) == 17
    # Slow ones go one by one: four at a time, three times.
    assert makespan([9.0] * 12, 1.0, 4) == 30
    # One thread: one, two, four, eight, eight and two, a round trip each.
    assert makespan([1.0] * 25, 1.0, 1) == 25 + 6
    assert makespan([1.0, 3.0], 0.5, 4) == 3.5


@pytest.mark.parametrize(("count", "workers"), [(1, 4), (4, 4), (19, 4), (100, 4), (10, 1)])
def test_the_mean_of_a_batch_is_that_of_many_batches(count: int, workers: int) -> None:
    duration = Duration(2.0, 0.5)
    random = Random(3)
    spans = [
        makespan([duration.sample(random) for _ in range(count)], 0.5, workers) for _ in range(2000)
    ]
    expected = sum(spans) / len(spans)
    assert mean_makespan(duration, 0.5, count, workers) == pytest.approx(expected, rel=0.03)
    billed = sum(math.ceil(0.7 + span) for span in spans) / len(spans)
    assert mean_billed(duration, 0.5, count, workers, 0.7) == pytest.approx(billed, rel=0.03)


def test_the_normal_distribution() -> None:
    assert normal(0) == 0.5
    assert normal(1.959964) == pytest.approx(0.975, abs=1e-6)
