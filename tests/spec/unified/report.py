"""What became of each specification test, in a file that another run's can be compared with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


class SpecReport:
    """A pytest plugin that writes ``{"<test id>": {"outcome": …, "reason": …}}``.

    Outcomes are ``passed``, ``failed``, ``skipped`` and ``xfailed``. A test that passes and whose
    set-up or tear-down fails has failed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst of a test's three phases."""
        _, marker, identifier = report.nodeid.partition("::test_specification[")
        if not marker or (report.when != "call" and report.passed):
            return
        outcome = "xfailed" if hasattr(report, "wasxfail") and report.skipped else report.outcome
        result = {"outcome": str(outcome), "reason": _reason(report)}
        self._results[identifier.removesuffix("]")] = result

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        text = json.dumps(dict(sorted(self._results.items())), indent=1, ensure_ascii=False)
        self._path.write_text(text + "\n", encoding="utf-8")


def _reason(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail)
    if isinstance(report.longrepr, tuple):  # a skip: path, line, reason
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr)[:500]
