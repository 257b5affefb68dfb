"""Counting with units of time: adding, differences and truncation.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateAdd/,
https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateDiff/ and
https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateTrunc/
"""

from __future__ import annotations

from typing import Final

from transports.fake.errors import FAILED_TO_PARSE, CommandFailure
from transports.fake.expressions.time_zones import (
    DAY_MS,
    Moment,
    TimeZone,
    days_from_civil,
    days_in_month,
)

MONTHS: Final = {"year": 12, "quarter": 3, "month": 1}
MILLISECONDS: Final = {
    "week": 7 * DAY_MS,
    "day": DAY_MS,
    "hour": 3_600_000,
    "minute": 60_000,
    "second": 1000,
    "millisecond": 1,
}
WEEKDAYS: Final = {
    name: index
    for index, names in enumerate(
        (
            ("monday", "mon"),
            ("tuesday", "tue"),
            ("wednesday", "wed"),
            ("thursday", "thu"),
            ("friday", "fri"),
            ("saturday", "sat"),
            ("sunday", "sun"),
        )
    )
    for name in names
}


def check_unit(unit: str) -> str:
    """Return the unit, or raise for one that does not exist."""
    if unit not in MONTHS and unit not in MILLISECONDS:
        raise CommandFailure(FAILED_TO_PARSE, f"unknown time unit value: {unit}")
    return unit


def _of_day(at: Moment) -> int:
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1000 + at.millisecond


def add(milliseconds: int, unit: str, amount: int, zone: TimeZone) -> int:
    """Return the instant ``amount`` units later; days and longer ones by the wall clock."""
    if milliseconds < 0 and milliseconds % 1000 and unit != "millisecond":
        milliseconds -= 1000  # so does the server, before 1970
    if unit in MONTHS:
        at = zone.local(milliseconds)
        months = at.year * 12 + at.month - 1 + amount * MONTHS[unit]
        year, month = divmod(months, 12)
        day = min(at.day, days_in_month(year, month + 1))
        return zone.instant(days_from_civil(year, month + 1, day) * DAY_MS + _of_day(at))
    if unit in ("week", "day") and not zone.is_utc:
        local = milliseconds + zone.offset_ms(milliseconds)
        return zone.instant(local + amount * MILLISECONDS[unit])
    return milliseconds + amount * MILLISECONDS[unit]


def difference(start: int, end: int, unit: str, zone: TimeZone, week_start: int) -> int:
    """Return how many boundaries of the unit lie between two instants."""
    first, last = zone.local(start), zone.local(end)
    if unit == "year":
        return last.year - first.year
    if unit == "quarter":
        return (last.year - first.year) * 4 + (last.month - 1) // 3 - (first.month - 1) // 3
    if unit == "month":
        return (last.year - first.year) * 12 + last.month - first.month
    if unit == "week":
        return (last.days + 3 - week_start) // 7 - (first.days + 3 - week_start) // 7
    if unit == "day":
        return last.days - first.days
    size = MILLISECONDS[unit]
    if unit == "hour":
        before, after = zone.offset_ms(start), zone.offset_ms(end)
        changed = int((before - after) / size)  # towards zero, as the server divides
        return (end + after) // size - (start + before) // size + changed
    return end // size - start // size


def truncate(milliseconds: int, unit: str, size: int, zone: TimeZone, week_start: int) -> int:
    """Return the start of the bin that an instant is in; bins are counted from 2000-01-01."""
    at = zone.local(milliseconds)
    if unit in MONTHS:
        width = MONTHS[unit] * size
        months = (at.year - 2000) * 12 + at.month - 1
        year, month = divmod(months - months % width, 12)
        return zone.instant(days_from_civil(year + 2000, month + 1, 1) * DAY_MS)
    reference = days_from_civil(2000, 1, 1)
    if unit == "week":
        # The first such weekday on or after 2000-01-01, which was a Saturday.
        reference += (week_start - 5) % 7
        days = at.days - reference
        return zone.instant((reference + days - days % (7 * size)) * DAY_MS)
    if unit == "day":
        days = at.days - reference
        return zone.instant((reference + days - days % size) * DAY_MS)
    width = MILLISECONDS[unit] * size
    origin = zone.instant(reference * DAY_MS)
    passed = milliseconds - origin
    return origin + passed - passed % width
