"""Tests that the driver itself does not pass, each with its reason; no transport can help it."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

_KNOWN: Mapping[str, str] = {
    "retryable_writes/bulkWrite.json::* is never committed": (
        "a bulk write that ends with a network error raises AutoReconnect, without partial result"
    ),
}


def known_failure(test_id: str) -> str | None:
    """Return why the driver is known to fail a test, None if it is not."""
    for pattern, reason in _KNOWN.items():
        if fnmatchcase(test_id, pattern):
            return reason
    return None
