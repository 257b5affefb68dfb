from __future__ import annotations

from typing import Any

import pytest

from odm.cli.console import Console
from odm.cli.demo.connections import ConnectionCount
from odm.cli.demo.places import Place, Skipped
from odm.cli.demo.report import Report, percentile
from odm.cli.demo.turns import Outcome, Turn
from transports.url import parse_url


def _turn(label: str, results: dict[str, Any], **numbers: Any) -> Turn:
    outcomes = {
        name: Outcome(result=result, durations_ms=[1.0, 2.0]) for name, result in results.items()
    }
    place = Place(label=label, url=parse_url("mongodb://user:secret@host/x"))
    return Turn(place=place, outcomes=outcomes, **numbers)


def _shown(report: Report, capsys: pytest.CaptureFixture[str]) -> str:
    report.show(Console(), details=True)
    return capsys.readouterr().out


def test_agreement_is_said_with_everybody_named(capsys: pytest.CaptureFixture[str]) -> None:
    turns = [_turn(label, {"get": 1, "add": [2]}) for label in ("direct", "motor", "fake")]
    report = Report(turns=turns, skipped=[])
    assert report.agree
    assert "All 2 operations agree over direct, motor and fake." in _shown(report, capsys)
    assert report.document()["ok"] is True


def test_a_difference_is_shown_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    turns = [
        _turn("direct", {"get": {"page": {"title": "a"}}}),
        _turn("fake", {"get": {"page": {"title": "b"}}}),
    ]
    report = Report(turns=turns, skipped=[])
    assert not report.agree
    out = _shown(report, capsys)
    assert "differs: get: result.page.title\n    direct: a\n    fake: b\n" in out
    assert "0 failures and 1 difference in 1 operations." in out
    assert report.document()["differences"][0]["path"] == ".page.title"


def test_failing_everywhere_alike_is_no_agreement(capsys: pytest.CaptureFixture[str]) -> None:
    turns = [_turn("direct", {"get": {"error": "X"}}), _turn("fake", {"get": {"error": "X"}})]
    for turn in turns:
        turn.outcomes["get"].error = "X: broken"
    report = Report(turns=turns, skipped=[])
    assert report.differences() == []
    assert not report.agree
    assert "fake: get failed: X: broken" in _shown(report, capsys)


def test_a_transport_that_could_not_begin_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    turns = [
        _turn("direct", {}, error="OperationFailure: no text index"),
        _turn("motor", {"get": 1}),
        _turn("fake", {"get": 2}),
    ]
    report = Report(turns=turns, skipped=[])
    assert not report.agree
    [difference] = report.differences()
    assert (difference.reference, difference.transport) == ("motor", "fake")
    assert "direct: open and seed failed: OperationFailure: no text" in _shown(report, capsys)


def test_one_transport_alone_is_compared_with_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(turns=[_turn("fake", {"get": 1})], skipped=[Skipped("motor", "no motor")])
    out = _shown(report, capsys)
    assert report.agree
    assert "nothing to compare with" in out
    assert "motor: skipped: no motor" in out
    assert report.document()["skipped"] == [{"transport": "motor", "reason": "no motor"}]


def test_numbers_that_do_not_exist_are_dashes_and_null(capsys: pytest.CaptureFixture[str]) -> None:
    turns = [
        _turn(
            "lambda",
            {"get": 1},
            invocations=9,
            throttles=4,
            connections=ConnectionCount(peak=4, opened=5),
        ),
        _turn("fake", {"get": 1}),
    ]
    report = Report(turns=turns, skipped=[])
    out = _shown(report, capsys)
    assert "lambda: 4 invokes more met the reserved concurrency" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["lambda", "1", "1.00", "2.00", "9", "0", "4"] in rows
    assert ["fake", "1", "1.00", "2.00", "–", "–", "–"] in rows
    first, second = report.document()["transports"]
    assert first["connections"] == {"peak": 4, "opened": 5}
    assert second["connections"] is None


def test_no_credentials_in_the_document() -> None:
    assert "secret" not in str(Report(turns=[_turn("direct", {})], skipped=[]).document())


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([3.0, 1.0, 2.0], 50, 2.0), (list(range(1, 101)), 95, 95), ([7.0], 95, 7.0), ([], 50, 0.0)],
)
def test_percentiles_are_by_nearest_rank(
    values: list[float], percent: int, expected: float
) -> None:
    assert percentile(values, percent) == expected
