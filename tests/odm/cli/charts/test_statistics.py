"""Numbers about series of durations."""

from __future__ import annotations

import pytest

from odm.cli.charts.statistics import quantile, ratio, summarise


def test_quantiles_lie_between_the_values_around_them() -> None:
    ordered = [1.0, 2.0, 3.0, 4.0]
    assert quantile(ordered, 0) == 1
    assert quantile(ordered, 0.25) == 1.75
    assert quantile(ordered, 0.5) == 2.5
    assert quantile(ordered, 1) == 4
    assert quantile([7.0], 0.95) == 7


def test_nothing_has_no_quantile_and_no_summary() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)
    assert summarise([]) is None


def test_a_summary_does_not_depend_on_the_order() -> None:
    found = summarise([5.0, 1.0, 4.0, 2.0, 3.0])
    assert found == summarise([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found is not None
    assert (found.minimum, found.q1, found.median, found.q3, found.maximum) == (1, 2, 3, 4, 5)
    assert found.mean == 3
    assert found.count == 5
    assert found.document()["count"] == 5


def test_a_ratio_needs_two_medians() -> None:
    assert ratio(summarise([6.0]), summarise([2.0])) == 3
    assert ratio(summarise([6.0]), None) is None
    assert ratio(summarise([6.0]), summarise([0.0])) is None
