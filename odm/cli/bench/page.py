"""The report with plots."""

from __future__ import annotations

from odm.cli.bench.result import Result


def page(result: Result) -> str:
    """Return the report."""
    return str(result.document())
