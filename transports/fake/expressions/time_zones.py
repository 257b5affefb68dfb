"""Calendar and time zones: from milliseconds since 1970 to fields of a date and back.

Dates of any year that int64 milliseconds reach; named zones are looked up for years 1 to 9999.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateToString/#definition
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from transports.fake.errors import CommandFailure
from transports.fake.values import MISSING

DAY_MS: Final = 86_400_000
_OFFSET: Final = re.compile(r"([+-])(\d{2})(?::?(\d{2}))?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ABBREVIATIONS: Final = {"Z": "UTC", "UTC": "UTC", "GMT": "UTC"}


def days_from_civil(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01 of a date of the proleptic Gregorian calendar.

    ``day`` may be any number; ``month`` is 1 to 12.
    """
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return (
        era * 146_097
        + year_of_era * 365
        + year_of_era // 4
        - year_of_era // 100
        + day_of_year
        - 719_468
    )


def civil_from_days(days: int) -> tuple[int, int, int]:
    """Return ``(year, month, day)`` of a day since 1970-01-01."""
    days += 719_468
    era = days // 146_097
    day_of_era = days - era * 146_097
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day


def is_leap(year: int) -> bool:
    """Tell whether the year has a 29th of February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """Return how many days the month has."""
    if month == 2:
        return 29 if is_leap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@dataclass(frozen=True, slots=True)
class Moment:
    """The fields of a date in some zone."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int
    days: int

    @property
    def day_of_year(self) -> int:
        """1 to 366."""
        return self.days - days_from_civil(self.year, 1, 1) + 1

    @property
    def day_of_week(self) -> int:
        """1 (Sunday) to 7 (Saturday)."""
        return (self.days + 4) % 7 + 1

    @property
    def iso_day_of_week(self) -> int:
        """1 (Monday) to 7 (Sunday)."""
        return (self.days + 3) % 7 + 1

    @property
    def week(self) -> int:
        """0 to 53; weeks begin on Sundays, days before the first Sunday are in week 0."""
        return (self.day_of_year + 7 - self.day_of_week) // 7

    def iso_week(self) -> tuple[int, int]:
        """Return the year and the number of the ISO week."""
        thursday = self.days - self.iso_day_of_week + 4
        year = civil_from_days(thursday)[0]
        return year, (thursday - days_from_civil(year, 1, 1)) // 7 + 1


def moment(milliseconds: int) -> Moment:
    """Return the fields of milliseconds since 1970, without any zone."""
    days, rest = divmod(milliseconds, DAY_MS)
    year, month, day = civil_from_days(days)
    hour, rest = divmod(rest, 3_600_000)
    minute, rest = divmod(rest, 60_000)
    second, millisecond = divmod(rest, 1000)
    return Moment(year, month, day, hour, minute, second, millisecond, days)


class TimeZone:
    """A zone: an offset, or rules with a name."""

    def __init__(self, offset_ms: int = 0, rules: ZoneInfo | None = None) -> None:
        self._offset_ms = offset_ms
        self._rules = rules

    @property
    def is_utc(self) -> bool:
        """Whether the zone is UTC, always."""
        return self._rules is None and self._offset_ms == 0

    def offset_ms(self, milliseconds: int) -> int:
        """Return the offset from UTC at an instant."""
        if self._rules is None:
            return self._offset_ms
        try:
            instant = _EPOCH + timedelta(milliseconds=milliseconds)
            offset = instant.astimezone(self._rules).utcoffset()
        except OverflowError:
            return 0
        return 0 if offset is None else round(offset.total_seconds() * 1000)

    def local(self, milliseconds: int) -> Moment:
        """Return the fields of an instant in this zone."""
        return moment(milliseconds + self.offset_ms(milliseconds))

    def instant(self, local_ms: int) -> int:
        """Return the instant of a wall clock's milliseconds; the earlier one of two."""
        if self._rules is None:
            return local_ms - self._offset_ms
        before = self.offset_ms(local_ms - DAY_MS)
        guess = local_ms - before
        if self.offset_ms(guess) == before:
            return guess
        after = self.offset_ms(local_ms + DAY_MS)
        guess = local_ms - after
        return guess if self.offset_ms(guess) == after else local_ms - before


UTC_ZONE: Final = TimeZone()


@lru_cache(maxsize=256)
def time_zone(name: str) -> TimeZone:
    """Return the zone of an Olson name or an offset.

    Raises:
        CommandFailure: 40485 for a name that is no zone.
    """
    if name in _ABBREVIATIONS:
        return UTC_ZONE
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        return TimeZone((-minutes if offset[1] == "-" else minutes) * 60_000)
    try:
        if name in available_timezones():
            return TimeZone(rules=ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError):  # pragma: no cover - names are checked above
        pass
    raise _unrecognized(name)


def _unrecognized(name: str) -> CommandFailure:
    return CommandFailure(40485, f'unrecognized time zone identifier: "{name}"')


def zone_of(value: Any, *, code: int = 40517) -> TimeZone | None:
    """Return the zone that an operator's ``timezone`` names; None for null."""
    if value is None or value is MISSING:
        return None
    if type(value) is not str:
        raise CommandFailure(
            code, f"timezone must evaluate to a string, found {type(value).__name__}"
        )
    if value == "Z":  # which only the text of a date may say
        raise _unrecognized(value)
    return time_zone(value)


def iso_text(milliseconds: int) -> str:
    """Return an instant as ``2020-01-02T03:04:05.006Z``."""
    at = moment(milliseconds)
    if not 0 <= at.year <= 9999:
        raise CommandFailure(
            18537,
            "Could not convert date to string: date component was outside the supported range of "
            f"0-9999: {at.year}",
        )
    return (
        f"{at.year:04d}-{at.month:02d}-{at.day:02d}"
        f"T{at.hour:02d}:{at.minute:02d}:{at.second:02d}.{at.millisecond:03d}Z"
    )
