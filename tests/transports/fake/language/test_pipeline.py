"""Pipelines give what the server's give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_pipelines(case: Any, agree: Callable[[Any], None]) -> None:
    """Every stage; errors included."""
    agree(case)
