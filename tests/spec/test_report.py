from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.spec.unified.files import ROOT
from tests.spec.unified.report import SpecReport


def report(
    name: str, when: Literal["setup", "call", "teardown"], outcome: Any, longrepr: Any = None
) -> pytest.TestReport:
    nodeid = f"tests/spec/test_unified.py::test_specification[{name}]"
    return pytest.TestReport(nodeid, ("", 0, ""), {}, outcome, longrepr, when)


def compare(tmp_path: Path, first: object, second: object) -> subprocess.CompletedProcess[str]:
    paths = [tmp_path / "first.json", tmp_path / "second.json"]
    for path, content in zip(paths, (first, second), strict=True):
        path.write_text(json.dumps(content))
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "spec-compare"), *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_report_keeps_the_worst_phase_of_each_test(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    plugin = SpecReport(path)
    for each in (
        report("a.json::x [1]", "setup", "passed"),
        report("a.json::x [1]", "call", "passed"),
        report("a.json::x [1]", "teardown", "passed"),
        report("a.json::y", "call", "passed"),
        report("a.json::y", "teardown", "failed", "left a socket open"),
        report("a.json::z", "call", "skipped", ("runner.py", 1, "Skipped: needs a server from 9")),
    ):
        plugin.pytest_runtest_logreport(each)
    other = pytest.TestReport("tests/test_other.py::test_x", ("", 0, ""), {}, "failed", "", "call")
    plugin.pytest_runtest_logreport(other)

    plugin.pytest_sessionfinish()

    assert json.loads(path.read_text()) == {
        "a.json::x [1]": {"outcome": "passed", "reason": ""},
        "a.json::y": {"outcome": "failed", "reason": "left a socket open"},
        "a.json::z": {"outcome": "skipped", "reason": "needs a server from 9"},
    }


def test_equal_reports_compare_equal(tmp_path: Path) -> None:
    one = {"a": {"outcome": "passed", "reason": ""}}
    result = compare(tmp_path, one, one)

    assert result.returncode == 0
    assert "0 of 1 tests differ" in result.stdout


def test_differences_are_listed_with_their_reasons(tmp_path: Path) -> None:
    first = {"a": {"outcome": "passed", "reason": ""}, "b": {"outcome": "skipped", "reason": "x"}}
    second = {"a": {"outcome": "failed", "reason": "event 0 is missing\nmore"}}
    result = compare(tmp_path, first, second)

    assert result.returncode == 1
    assert "a\n  passed → failed\n  failed: event 0 is missing\n" in result.stdout
    assert "b\n  skipped → absent" in result.stdout
