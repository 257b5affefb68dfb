"""Filters select what the server selects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_filters(case: Any, agree: Callable[[Any], None]) -> None:
    """Comparison, arrays, paths, element, bitwise and logical operators."""
    agree(case)


def test_patterns(case: Any, agree: Callable[[Any], None]) -> None:
    """Regular expressions match what PCRE matches."""
    agree(case)


def test_schemas(case: Any, agree: Callable[[Any], None]) -> None:
    """``$jsonSchema`` holds where the server's holds."""
    agree(case)
