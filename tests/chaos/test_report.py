from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.chaos.report import KindSummary, Report, as_text

DONE = KindSummary(
    kind="all", attempted=1, acknowledged=1, failed=0, unknown=0, p50_ms=1, p99_ms=1, max_ms=1
)
REPORT = Report(
    options={"seed": 1},
    duration_s=1,
    interrupted=False,
    kinds=[DONE],
    errors={},
    faults={},
    timeline=[],
    faults_failed=[],
    stream_events={"reader": 1},
    streams_reopened=0,
    connections={"server": 1},
    connection_samples=1,
    ceiling=2,
    service={},
)


def test_a_run_that_looked_at_everything_and_found_nothing_has_passed() -> None:
    assert REPORT.passed
    assert "PASSED, seed 1" in as_text(REPORT)


@pytest.mark.parametrize(
    ("report", "unproven"),
    [
        (replace(REPORT, kinds=[replace(DONE, acknowledged=0)]), "no operation was acknowledged"),
        (replace(REPORT, connections={"server": 0}), "no connection was seen"),
        (replace(REPORT, stream_events={}), "no event of a change stream was read"),
    ],
)
def test_a_run_that_did_not_look_has_not_passed(report: Report, unproven: str) -> None:
    assert not report.passed
    assert report.to_document()["unproven"] == [unproven]
    assert unproven in as_text(report)
    assert "FAILED" in as_text(report)
