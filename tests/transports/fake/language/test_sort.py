"""Sorts order as the server's do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_sorts(case: Any, agree: Callable[[Any], None]) -> None:
    """All types, arrays, paths through arrays; errors included."""
    agree(case)
