"""Expressions give the server's values, of the server's types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_arithmetic(case: Any, agree: Callable[[Any], None]) -> None:
    """Every arithmetic operator over numbers of every type."""
    agree(case)


def test_conditions(case: Any, agree: Callable[[Any], None]) -> None:
    """Comparison, boolean, conditional operators, variables, paths and literals."""
    agree(case)


def test_strings(case: Any, agree: Callable[[Any], None]) -> None:
    """String operators."""
    agree(case)


def test_arrays(case: Any, agree: Callable[[Any], None]) -> None:
    """Array, set, object operators and accumulators as expressions."""
    agree(case)


def test_dates(case: Any, agree: Callable[[Any], None]) -> None:
    """Date operators."""
    agree(case)


def test_conversions(case: Any, agree: Callable[[Any], None]) -> None:
    """Conversions between types."""
    agree(case)


def test_limits(case: Any, agree: Callable[[Any], None]) -> None:
    """Operators over numbers and dates at their limits, and over constants of the wrong type."""
    agree(case)
