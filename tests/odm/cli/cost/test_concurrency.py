"""Queueing formulas, against values worked out by hand or from published tables."""

from __future__ import annotations

import math

import pytest

from odm.cli.cost.concurrency import (
    concurrency,
    erlang_b,
    erlang_c,
    mean_wait,
    needed,
    peakedness,
    poisson,
    poisson_quantile,
    turned_away,
)


def test_erlang_b_by_hand() -> None:
    # One place: a / (1 + a). Two places at load 1: (1/2) / (1 + 1 + 1/2) = 1/5.
    assert erlang_b(1, 0.5) == pytest.approx(0.5 / 1.5)
    assert erlang_b(2, 1.0) == pytest.approx(0.2)
    # Tables have 1 % for 10 places at 4.46 erlangs and for 50 at 37.9.
    assert erlang_b(10, 4.46) == pytest.approx(0.01, abs=1e-4)
    assert erlang_b(50, 37.9) == pytest.approx(0.01, abs=1e-4)
    assert erlang_b(5, 0) == 0
    assert erlang_b(0, 3) == 1


def test_erlang_c_by_hand() -> None:
    # Two places at load 1: B = 1/5, C = B / (1 - (a/c)(1 - B)) = 0.2 / 0.6 = 1/3.
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    # M/M/1: the share that waits is the utilisation, the wait rho / (1 - rho) times a duration.
    assert erlang_c(1, 0.8) == pytest.approx(0.8)
    assert mean_wait(1, 0.8, 10) == pytest.approx(0.8 * 10 / 0.2)
    assert erlang_c(3, 3.0) == 1
    assert math.isinf(mean_wait(3, 3.5, 10))


def test_poisson_by_hand() -> None:
    assert poisson(2, 0) == pytest.approx(math.exp(-2))
    assert poisson(2, 3) == pytest.approx(math.exp(-2) * 8 / 6)
    assert poisson(0, 0) == 1
    assert poisson(0, 1) == 0
    # For mean 1 the sums are 0.368, 0.736, 0.920, 0.981, 0.996.
    assert [poisson_quantile(1, share) for share in (0.3, 0.5, 0.9, 0.99, 0.995)] == [0, 1, 2, 4, 4]


@pytest.mark.parametrize("mean", [0.3, 7.0, 400.0, 20_000.0])
def test_quantiles_are_not_exceeded_so_often(mean: float) -> None:
    for share in (0.5, 0.95, 0.999):
        count = poisson_quantile(mean, share)
        normal_guess = mean + {0.5: 0, 0.95: 1.645, 0.999: 3.09}[share] * math.sqrt(mean)
        assert abs(count - normal_guess) <= 3 + 0.01 * mean
    with pytest.raises(ValueError):
        poisson_quantile(mean, 1.0)


def test_the_needed_ceiling_is_the_least_that_keeps_the_target() -> None:
    for load in (0.05, 1.5, 12.0, 300.0):
        ceiling = needed(load, 0.001)
        assert erlang_b(ceiling, load) <= 0.001 < erlang_b(ceiling - 1, load)
    # Tables: 10 erlangs at 0.1 % take 21 places.
    assert needed(10.0, 0.001) == 21


def test_more_concurrency_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one function"):
        needed(5e6, 0.001)


def test_what_arrives_together_needs_more_room() -> None:
    assert peakedness(1, 0.7) == 1
    assert peakedness(20, 1.0) == 20
    single, peaked = turned_away(15, 3.0), turned_away(15, 3.0, 4.0)
    assert single < 1e-5 < peaked
    assert turned_away(15, 3.0, 1.0) == erlang_b(15, 3.0)
    # Whole groups of four of constant duration that are let in or not: Erlang's B of the groups.
    assert turned_away(16, 8.0, 4.0) == pytest.approx(erlang_b(4, 2.0))
    # Between whole numbers it falls.
    falling = [turned_away(ceiling, 8.0, 4.0) for ceiling in range(12, 21)]
    assert falling == sorted(falling, reverse=True)


def test_littles_law_and_the_limit_of_requests_per_second() -> None:
    # AWS's own example: 100 requests per second of 500 ms are 50 at one time.
    load = concurrency(
        invokes_per_s=100, duration_ms=500, together=1, overlap=1, reserved=60, target=0.01
    )
    assert load.mean == 50
    assert load.needed_for_rate == 10
    assert not load.fits
    assert load.needed == 64
    # 10 ms each are 1 at a time only, but AWS admits ten requests a second for each environment.
    fast = concurrency(
        invokes_per_s=100, duration_ms=10, together=1, overlap=1, reserved=9, target=0.01
    )
    assert fast.mean == 1
    assert fast.throttled < 1e-5
    assert fast.needed_for_rate == 10
    assert not fast.fits
    assert fast.document()["fits"] is False
