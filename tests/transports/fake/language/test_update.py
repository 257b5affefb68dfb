"""Updates change documents as the server changes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_updates(case: Any, agree: Callable[[Any], None]) -> None:
    """Operators, replacements, pipelines and positional paths; errors included."""
    agree(case)


def test_upserts(case: Any, agree: Callable[[Any], None]) -> None:
    """What an upsert inserts when nothing matches."""
    agree(case)
