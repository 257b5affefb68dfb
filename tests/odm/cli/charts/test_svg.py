"""Scales and marks."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from odm.cli.charts import svg
from odm.cli.charts.svg import Scale


def test_a_linear_scale_maps_its_ends_and_what_is_between() -> None:
    scale = Scale(low=0, high=10, start=100, end=0)
    assert [scale(0), scale(5), scale(10)] == [100, 50, 0]


def test_equal_ratios_have_equal_lengths_on_a_logarithmic_scale() -> None:
    scale = Scale(low=1, high=100, start=0, end=200, log=True)
    assert scale(10) == pytest.approx(100)
    assert scale(100) == pytest.approx(200)


def test_what_is_outside_is_put_at_the_end() -> None:
    scale = Scale(low=1, high=100, start=0, end=200, log=True)
    assert scale(0) == 0
    assert scale(1e9) == pytest.approx(200)
    assert Scale(low=3, high=3, start=0, end=10)(3) == 5


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (0, 47, False, [0, 10, 20, 30, 40]),
        (0.3, 30, True, [0.5, 1, 2, 5, 10, 20]),
        (1, 100_000, True, [1, 10, 100, 1_000, 10_000, 100_000]),
        (4, 4, False, [4]),
    ],
)
def test_ticks_are_round_and_inside(
    low: float, high: float, log: bool, expected: list[float]
) -> None:
    ticks = Scale(low=low, high=high, start=0, end=1, log=log).ticks()
    assert ticks == pytest.approx(expected)


def test_words_from_outside_are_no_markup() -> None:
    mark = svg.text(0, 0, "<b> & co") + svg.rectangle(0, 0, 1, 1, "s0", '"<i>"')
    tree = ElementTree.fromstring(svg.drawing(10, 10, [mark], '<"title">'))
    assert tree.attrib["aria-label"] == '<"title">'
    assert [each.text for each in tree.iter() if each.text] == ["<b> & co", '"<i>"']


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, "0.5"), (20, "20"), (3_000, "3,000"), (0.00001, "0.00001"), (1e-6, "0.000001")],
)
def test_ticks_have_labels_without_exponents(value: float, expected: str) -> None:
    assert svg.number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1234, "0.12"), (12.34, "12.3"), (1_234.5, "1,234")]
)
def test_numbers_have_three_digits_that_mean_something(value: float, expected: str) -> None:
    assert svg.three_digits(value) == expected
