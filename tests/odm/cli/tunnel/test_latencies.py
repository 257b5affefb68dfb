from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odm.cli.tunnel.latencies import Latencies


@given(
    st.lists(st.floats(min_value=1e-6, max_value=900), min_size=1),
    st.sampled_from([0.0, 0.5, 0.95, 1.0]),
)
def test_a_quantile_is_at_most_five_percent_too_long(seconds: list[float], share: float) -> None:
    latencies = Latencies()
    for each in seconds:
        latencies.add(each)
    real = sorted(seconds)[max(1, math.ceil(share * len(seconds))) - 1]
    assert real * 0.999 <= latencies.quantile(share) <= real * 1.051


def test_the_longest_is_exact() -> None:
    latencies = Latencies()
    for each in (0.001, 1.2345, 0.0):
        latencies.add(each)
    assert latencies.quantile(1.0) == 1.2345
    assert latencies.count == 3


def test_none_at_all_take_no_time() -> None:
    assert Latencies().quantile(0.5) == 0.0


def test_many_take_no_more_memory_than_few() -> None:
    latencies = Latencies()
    for number in range(20_000):
        latencies.add(0.001 + number / 1e6)
    assert latencies.quantile(0.5) == pytest.approx(0.011, rel=0.06)
    assert len(latencies._buckets) < 100
