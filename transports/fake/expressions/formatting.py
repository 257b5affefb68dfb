"""Numbers and timestamps as the server writes them in text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bson import Decimal128
from bson.timestamp import Timestamp


def double_text(value: float) -> str:
    """Return a double as the server's stream writes it: six digits, e.g. ``1.5``, ``1e+20``."""
    return f"{value:g}"


def number_text(value: Any) -> str:
    """Return a number of any type as text."""
    if type(value) is float:
        return double_text(value)
    if type(value) is Decimal128:
        return str(value)
    return str(int(value))


def timestamp_text(value: Timestamp) -> str:
    """Return a timestamp as ``coerceToString`` writes it, e.g. ``Jan  1 00:00:01:5``."""
    moment = datetime.fromtimestamp(value.time, UTC)
    return f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S}:{value.inc}"
