"""Projections of find show what the server's show, fields in its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_projections(case: Any, agree: Callable[[Any], None]) -> None:
    """Inclusion, exclusion, array operators, expressions; errors included."""
    agree(case)
