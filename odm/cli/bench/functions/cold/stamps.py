"""When a process got how far: names, and ns of the system's clock, which all processes share."""

from __future__ import annotations

import time

STAMPS: list[tuple[str, int]] = []


def stamp(name: str) -> None:
    """Note that *name* has come to its end, or its beginning."""
    STAMPS.append((name, time.monotonic_ns()))
