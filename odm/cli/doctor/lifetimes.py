"""Until when versions are supported: data, with their source and the day they were read."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from types import MappingProxyType

_day = datetime.date.fromisoformat

RUNTIMES_READ_ON = _day("2026-07-25")
RUNTIMES: Mapping[str, datetime.date] = MappingProxyType(
    {
        "python3.14": _day("2029-06-30"),
        "python3.13": _day("2029-06-30"),
        "python3.12": _day("2028-10-31"),
        "python3.11": _day("2027-06-30"),
        "python3.10": _day("2026-10-31"),
        "python3.9": _day("2025-12-15"),
        "python3.8": _day("2024-10-14"),
        "python3.7": _day("2023-12-04"),
    }
)
"""Deprecation of AWS Lambda's Python runtimes.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
"""

SUPPORTED_RUNTIMES = ("python3.11", "python3.12", "python3.13")
"""What the function's bundle is built for and tested on."""

SERVERS_READ_ON = _day("2026-05-08")
SERVERS: Mapping[tuple[int, int], datetime.date] = MappingProxyType(
    {
        (8, 0): _day("2029-10-31"),
        (7, 0): _day("2027-08-31"),
        (6, 0): _day("2025-07-31"),
        (5, 0): _day("2024-10-31"),
        (4, 4): _day("2024-02-29"),
        (4, 2): _day("2023-04-30"),
    }
)
"""End of life of MongoDB's major releases.

Source: https://www.mongodb.com/legal/support-policy/lifecycles
"""

MOTOR_END = _day("2026-05-14")
"""Motor's end of life; critical fixes for a year more.

Source: https://www.mongodb.com/docs/drivers/motor/
"""
