"""The tables on a terminal and in a pipe."""

from __future__ import annotations

import pytest

from odm.cli.bench.result import Result, Series
from odm.cli.bench.table import milliseconds, show
from odm.cli.console import Console


def test_every_part_has_its_table(canned: Result, capsys: pytest.CaptureFixture[str]) -> None:
    show(canned, Console())
    lines = capsys.readouterr().out.splitlines()
    rows = {tuple(line.split()[:3]): line.split() for line in lines if line.split()}
    driver = rows["point", "read", "driver"]
    assert driver[3:9] == ["0.50", "0.45", "0.55", "0.59", "1.00", "0.20"]
    assert rows["lambda", "3.50", "2.75"][-1] == "2.00"
    assert rows["fake", "failed", "-"]
    assert rows["driver", "110", "1,760"]
    assert rows["lambda", "0.50", "0.50"]  # invokes per operation
    assert rows["lambda", "stream", "1,000"][3:] == ["20.0", "20.0", "10.0", "2.5"]
    assert rows["100", "gathered", "over"][-4:] == ["-", "at", "most", "3"]
    assert rows["lambda", "700", "300"][3] == "250"
    assert rows["8", "callers", "direct"][-3:] == ["8", "40", "0"]
    assert rows["connection", "at", "init"][-1] == "7.00"
    assert rows["of", "connecting:", "authentication"][-1] == "5.00"
    assert rows["in", "all", "70.0"]
    assert rows["in", "all", "81.0"]
    assert "lambda: cold caller failed: it did not start" in lines
    assert "motor: skipped: not installed & not wanted" in lines
    assert "fake: read failed: returned '<b>', not 'Article'" in lines


@pytest.mark.parametrize(
    ("tls", "told"),
    [(True, "invokes by TLS"), (False, "invokes by plain HTTP: AWS's are by TLS"), (None, None)],
)
def test_how_invokes_travelled_is_told(
    tls: bool | None, told: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    show(Result(complete=True, tls=tls), Console())
    assert capsys.readouterr().out.splitlines() == ([told] if told else [])


def test_ratios_have_a_column_for_each_workload(
    canned: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    canned.workloads["read"]["odm"] = Series(durations_ms=[1.0])
    show(canned, Console())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ratio", "of", "medians", "read"] in lines
    assert ["odm", "/", "driver", "2.00"] in lines


def test_a_part_of_a_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show(Result(), Console())
    assert capsys.readouterr().out == "Stopped before the end: this is a part.\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0.1234, "0.12"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_durations_have_three_digits_that_mean_something(
    value: float | None, expected: str
) -> None:
    assert milliseconds(value) == expected
