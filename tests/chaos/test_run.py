"""The short version of the chaos run, and that it finds what it is there to find."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.chaos.plan import choose_faults
from benchmarks.chaos.report import Report, as_text
from benchmarks.chaos.run import RunOptions, run
from benchmarks.chaos.stage import StageOptions
from transports.mongod import missing_mongod_reason

pytestmark = pytest.mark.skipif(
    missing_mongod_reason() is not None, reason=missing_mongod_reason() or ""
)


async def short_run(directory: Path, *faults: str, duration_s: float, sabotage: str = "") -> Report:
    options = RunOptions(
        seed=7,
        duration_s=duration_s,
        workers=10,
        callers=0,
        faults=choose_faults(faults, members=1),
        stage=StageOptions(members=1, reserved_concurrency=4, function_timeout_s=3.0),
        sabotage=sabotage,
    )
    return await run(options, directory, asyncio.Event(), lambda text: None)


async def test_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    report = await short_run(
        tmp_path,
        *("kill", "freeze", "throttle-all", "network-lost-reply", "network-reset"),
        *("disconnect", "write-error", "step-down"),
        duration_s=6,
    )
    assert report.passed, as_text(report)
    assert report.faults_failed == []
    assert sum(report.faults.values()) >= 6, "little was broken"
    assert report.kinds[-1].acknowledged > 20, "little was done"
    assert set(report.stream_events) == {"r0-collection", "r1-database", "r2-repository"}
    assert 0 < max(report.connections.values()) <= report.ceiling
    assert report.to_document()["options"]["seed"] == 7


async def test_a_planted_defect_is_found(tmp_path: Path) -> None:
    report = await short_run(tmp_path, duration_s=2, sabotage="lose-writes")
    assert not report.passed
    assert "lost" in {violation.kind for violation in report.violations}
    assert "FAILED, seed 7" in as_text(report)
