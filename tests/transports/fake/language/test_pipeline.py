"""Pipelines give what the server's give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_pipelines(case: Any, agree: Callable[[Any], None]) -> None:
    """Every stage; errors included."""
    agree(case)


def test_windows(case: Any, agree: Callable[[Any], None]) -> None:
    """``$setWindowFields``: windows by documents and by range, every function."""
    agree(case)


def test_gaps(case: Any, agree: Callable[[Any], None]) -> None:
    """``$densify`` and ``$fill``."""
    agree(case)


def test_options(case: Any, agree: Callable[[Any], None]) -> None:
    """Options of stages, accumulators and window functions: of the wrong type, missing, extreme."""
    agree(case)
