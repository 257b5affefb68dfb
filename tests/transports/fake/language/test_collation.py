"""Strings compare by a collation as the server's compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_collations(case: Any, agree: Callable[[Any], None]) -> None:
    """Sorts, filters and groups under collations; bad ones refused."""
    agree(case)


def test_languages(case: Any, agree: Callable[[Any], None]) -> None:
    """Words of every language that is known, and characters at every strength."""
    agree(case)
