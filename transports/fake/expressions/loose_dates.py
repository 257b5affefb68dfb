"""Days as people write them: ``Jan 2 2020``, ``02/01/2020``, ``2020-W01-4``, ``2020-002``.

What `date_text` reads where no format is given and the text is not plainly ISO 8601: the commoner
of the forms of timelib, which the server reads dates with.

Spec: https://www.php.net/manual/en/datetime.formats.php
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from transports.fake.expressions.time_zones import days_from_civil, days_in_month

_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAME: Final = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?P<year>\d{4})"
_WEEKDAY: Final = re.compile(
    r"(?P<weekday>mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:rs?(?:day)?)?|fri(?:day)?"
    r"|sat(?:urday)?|sun(?:day)?)\b[,\s]*",
    re.IGNORECASE,
)
ABBREVIATIONS: Final = {
    **{"EST": "-05:00", "EDT": "-04:00", "CST": "-06:00", "CDT": "-05:00", "MST": "-07:00"},
    **{"MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00", "CET": "+01:00", "CEST": "+02:00"},
}
"""Names of zones that a text may end with, besides UTC: name → offset."""


class Day(NamedTuple):
    """A day that a text begins with: days since 1970, and where what follows it begins."""

    days: int
    end: int


def _civil(year: int, month: int, day: int) -> int | None:
    if not 1 <= month <= 12 or not 1 <= day <= days_in_month(year, month):
        return None
    return days_from_civil(year, month, day)


def _numbered(found: dict[str, str]) -> int | None:
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += 2000 if year < 70 else 1900
    return _civil(year, int(found["month"]), int(found["day"]))


def _named(found: dict[str, str]) -> int | None:
    month = _MONTHS.index(found["name"][:3].lower()) + 1
    return _civil(int(found["year"]), month, int(found.get("day", 1)))


def _week(found: dict[str, str]) -> int | None:
    fourth = days_from_civil(int(found["year"]), 1, 4)
    monday = fourth - (fourth + 3) % 7
    return monday + (int(found["week"]) - 1) * 7 + int(found["weekday"] or 1) - 1


def _ordinal(found: dict[str, str]) -> int | None:
    return days_from_civil(int(found["year"]), 1, 1) + int(found["ordinal"]) - 1


_Reader = Callable[[dict[str, str]], int | None]
_FORMS: Final[tuple[tuple[re.Pattern[str], _Reader], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), reader)
    for pattern, reader in (
        (rf"{_YEAR}-?W(?P<week>[0-4]\d|5[0-3])(?:-?(?P<weekday>[0-7]))?(?!\d)", _week),
        (rf"{_YEAR}-?(?P<ordinal>[0-2]\d\d|3[0-5]\d|36[0-5])(?!\d)", _ordinal),
        (rf"(?P<month>\d{{1,2}})/(?P<day>\d{{1,2}})/{_YEAR}(?!\d)", _numbered),
        (rf"(?P<day>\d{{1,2}})[-.](?P<month>\d{{1,2}})[-.]{_YEAR}(?!\d)", _numbered),
        (r"(?P<year>\d\d)-(?P<month>\d\d)-(?P<day>\d\d)(?!\d)", _numbered),
        (rf"{_NAME}[ \t.-]*{_DAY}[ \t.,-]+{_YEAR}(?!\d)", _named),
        (rf"{_DAY}[ \t.-]*{_NAME}[ \t.,-]*{_YEAR}(?!\d)", _named),
        (rf"{_YEAR}[ \t.-]+{_NAME}[ \t.-]*{_DAY}(?!\d)", _named),
        (rf"{_NAME}[ \t.-]*{_YEAR}(?!\d)", _named),
    )
)


def leading_day(text: str) -> Day | None:
    """Return the day that a text begins with, None if it is of no such form."""
    weekday = _WEEKDAY.match(text)
    start = weekday.end() if weekday else 0
    for form, read in _FORMS:
        match = form.match(text, start)
        if match is None:
            continue
        days = read(match.groupdict())
        if days is None:
            return None
        if weekday:  # the first such weekday from there on
            days += (_WEEKDAYS.index(weekday["weekday"][:3].lower()) - days - 3) % 7
        return Day(days, match.end())
    return None
