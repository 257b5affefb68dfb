"""Boxes, curves and bars: where things are drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from odm.cli.charts.plots import bars, boxes, colour, curves
from odm.cli.charts.statistics import Summary, summarise
from odm.cli.charts.svg import SERIES

SVG = "{http://www.w3.org/2000/svg}"


def summary(*values: float) -> Summary:
    found = summarise(values)
    assert found is not None
    return found


def test_a_series_has_the_same_colour_in_every_plot() -> None:
    names = [f"series {number}" for number in range(SERIES + 1)]
    assert colour(names, "series 3") == "s3"
    assert colour(names, names[SERIES]) == "s0"
    assert colour(names, "unknown") == "s0"


def test_long_names_have_room_left_of_the_boxes() -> None:
    def left(name: str) -> float:
        plot = ElementTree.fromstring(boxes("x", {name: summary(1.0, 2.0)}, [name]))
        [label] = [each for each in plot.iter(f"{SVG}text") if each.text == name]
        return float(label.attrib["x"])

    assert left("a name of a good forty letters, as it is") > left("short")


def test_a_plot_can_be_scrolled_where_the_window_is_narrow() -> None:
    frame = ElementTree.fromstring(boxes("x", {"a": summary(1.0, 2.0)}, ["a"]))
    assert (frame.tag, frame.attrib["class"]) == ("div", "wide")


def test_the_parts_of_a_bar_follow_one_another() -> None:
    plot = f"<p>{bars('x', {'a': {'one': 3.0, 'two': 1.0}}, ['one', 'two'], 'ms')}</p>"
    one, two = ElementTree.fromstring(plot).iter(f"{SVG}rect")
    end = float(one.attrib["x"]) + float(one.attrib["width"])
    assert abs(end - float(two.attrib["x"])) < 0.2
    assert abs(float(one.attrib["width"]) / float(two.attrib["width"]) - 3) < 0.01


def test_few_points_are_dots_and_many_are_none() -> None:
    def dots(count: int) -> int:
        curve = [(float(x), 1.0 + x) for x in range(count)]
        plot = f"<p>{curves('x', {'a': curve}, ['a'], labels=('x', 'y'))}</p>"
        return len([*ElementTree.fromstring(plot).iter(f"{SVG}circle")])

    assert (dots(40), dots(41)) == (40, 0)
