"""The report in one file: well-formed, complete, and dependent on nothing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from odm.cli.bench.page import page
from odm.cli.bench.result import Result

SVG = "{http://www.w3.org/2000/svg}svg"


def parsed(html: str) -> ElementTree.Element:
    doctype, document = html.split("\n", 1)
    assert doctype == "<!doctype html>"
    return ElementTree.fromstring(document)


def test_it_is_well_formed_and_has_every_plot(canned: Result) -> None:
    tree = parsed(page(canned))
    plots = [each.attrib["aria-label"] for each in tree.iter(SVG)]
    assert plots == [
        "point read",
        "100 point reads",
        "invocations: 100 point reads",
        "time for each document",
        "Throughput against concurrency",
        "95th percentile against concurrency",
        "Invocations per operation against concurrency",
        "30 invocations, the first one cold",
        "cold starts",
        "Cold start of a function, by phase",
        "Cold start of a caller, by phase",
        "8 callers",
    ]


def test_it_loads_nothing_and_runs_nothing(canned: Result) -> None:
    html = page(canned).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|<script|<link|<img|@import|url\(", html)


def test_the_ratios_that_are_judged_come_first(canned: Result) -> None:
    tables = [
        [[cell.text for cell in row] for row in table.iter("tr")]
        for table in parsed(page(canned)).iter("table")
    ]
    assert tables[1][1:] == [
        ["100 gathered over lambda, invokes", "1.00", "-", "at most 3"],
        [
            "100 gathered, times faster than 100 bare invokes gathered",
            "6.00",
            "6.00 to 6.00",
            "at least 8",
        ],
    ]


def test_words_from_outside_are_shown_as_they_are(canned: Result) -> None:
    words = " ".join(parsed(page(canned)).itertext())
    assert "returned '<b>', not 'Article'" in words
    assert "Repository <over> lambda://" in words
    assert "not installed & not wanted" in words


def test_how_invokes_travelled_is_told(canned: Result) -> None:
    assert "by TLS" not in page(canned)
    canned.tls = True
    assert "Invokes by TLS." in page(canned)
    canned.tls = False
    assert "Invokes by plain HTTP" in page(canned)


def test_a_part_says_that_it_is_one(canned: Result) -> None:
    assert "this is a part" not in page(canned)
    canned.complete = False
    assert "this is a part" in page(canned)


def test_a_run_that_found_nothing_has_a_report_too() -> None:
    assert [*parsed(page(Result())).iter(SVG)] == []
