"""Dates as text: writing by a format, reading by a format or without one.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateToString/
and https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateFromString/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from transports.fake.errors import CONVERSION_FAILURE, CommandFailure
from transports.fake.expressions.loose_dates import ABBREVIATIONS, leading_day
from transports.fake.expressions.time_zones import (
    DAY_MS,
    UTC_ZONE,
    Moment,
    TimeZone,
    days_from_civil,
    days_in_month,
    time_zone,
)

_MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]

_WRITERS: Final[dict[str, Callable[[Moment, int], str]]] = {
    "Y": lambda at, offset: _four_digits(at.year),
    "m": lambda at, offset: f"{at.month:02d}",
    "d": lambda at, offset: f"{at.day:02d}",
    "H": lambda at, offset: f"{at.hour:02d}",
    "M": lambda at, offset: f"{at.minute:02d}",
    "S": lambda at, offset: f"{at.second:02d}",
    "L": lambda at, offset: f"{at.millisecond:03d}",
    "j": lambda at, offset: f"{at.day_of_year:03d}",
    "w": lambda at, offset: str(at.day_of_week),
    "U": lambda at, offset: f"{at.week:02d}",
    "u": lambda at, offset: str(at.iso_day_of_week),
    "V": lambda at, offset: f"{at.iso_week()[1]:02d}",
    "G": lambda at, offset: _four_digits(at.iso_week()[0]),
    "z": lambda at, offset: offset_text(offset),
    "Z": lambda at, offset: str(offset // 60_000),
    "b": lambda at, offset: _MONTHS[at.month - 1][:3],
    "B": lambda at, offset: _MONTHS[at.month - 1],
    "%": lambda at, offset: "%",
}
_READERS: Final = {
    "Y": r"(?P<Y>\d{4})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "H": r"(?P<H>\d{1,2})",
    "M": r"(?P<M>\d{1,2})",
    "S": r"(?P<S>\d{1,2})",
    "L": r"(?P<L>\d{1,3})",
    "u": r"(?P<u>[1-7])",
    "V": r"(?P<V>\d{1,2})",
    "G": r"(?P<G>\d{4})",
    "z": r"(?P<z>[+-]\d{2}:?\d{2}|Z|UTC|GMT)",
    "Z": r"(?P<Z>[+-]?\d{1,4})",
    "b": r"(?P<b>[A-Za-z]{3})",
    "B": r"(?P<B>[A-Za-z]+)",
    "%": "%",
}


def _four_digits(year: int) -> str:
    if not 0 <= year <= 9999:
        raise CommandFailure(
            18537,
            "Could not convert date to string: date component was outside the supported range: "
            f"{year}",
        )
    return f"{year:04d}"


def offset_text(offset_ms: int) -> str:
    """Return an offset as ``+0130``."""
    minutes = abs(offset_ms) // 60_000
    return f"{'-' if offset_ms < 0 else '+'}{minutes // 60:02d}{minutes % 60:02d}"


def check_format(text: str, *, reading: bool = False) -> None:
    """Raise for a format with an unknown or unfinished specifier."""
    known = _READERS if reading else _WRITERS
    at = 0
    while (at := text.find("%", at)) >= 0:
        if at + 1 >= len(text):
            raise CommandFailure(18535, "Unmatched '%' at end of format string")
        if text[at + 1] not in known:
            raise CommandFailure(
                18536, f"Invalid format character '%{text[at + 1]}' in format string"
            )
        at += 2


def write(milliseconds: int, text: str, zone: TimeZone) -> str:
    """Return an instant in a zone by a format such as ``"%Y-%m-%d"``."""
    check_format(text)
    at = zone.local(milliseconds)
    offset = zone.offset_ms(milliseconds)
    return re.sub(r"%(.)", lambda match: _WRITERS[match[1]](at, offset), text, flags=re.DOTALL)


def _failure(text: str, why: str) -> CommandFailure:
    return CommandFailure(CONVERSION_FAILURE, f"Error parsing date string '{text}'; {why}")


def read(text: str, layout: str, zone: TimeZone | None) -> int:
    """Return the instant that a text means by a format.

    Raises:
        CommandFailure: 241 if the text does not have the format.
    """
    check_format(layout, reading=True)
    pattern = "".join(
        _READERS[piece[1]] if piece.startswith("%") else re.escape(piece)
        for piece in re.findall(r"%.|[^%]+", layout, flags=re.DOTALL)
    )
    match = re.fullmatch(pattern, text)
    if match is None:
        raise _failure(text, f"it does not have the format '{layout}'")
    parts = match.groupdict()
    day = _day_of(text, parts)
    local = (
        day * DAY_MS
        + _clock(text, int(parts.get("H") or 0), int(parts.get("M") or 0), int(parts.get("S") or 0))
        + int((parts.get("L") or "0").ljust(3, "0"))
    )
    if parts.get("z") or parts.get("Z"):
        if zone is not None:
            raise CommandFailure(
                CONVERSION_FAILURE,
                f"you cannot pass in a date/time string with time zone information ('{text}') "
                "together with a timezone argument",
            )
        if parts.get("Z"):
            return local - int(parts["Z"]) * 60_000
        return time_zone(parts["z"]).instant(local)
    return (zone or UTC_ZONE).instant(local)


def _day_of(text: str, parts: dict[str, str]) -> int:
    if "G" in parts or "V" in parts:
        year, week, weekday = (int(parts.get(k) or 1) for k in "GVu")
        fourth = days_from_civil(year, 1, 4)
        monday = fourth - (fourth + 3) % 7
        return monday + (week - 1) * 7 + weekday - 1
    if "Y" not in parts:
        raise _failure(text, "an incomplete date/time string has been found, with elements missing")
    year = int(parts["Y"])
    if "b" in parts or "B" in parts:
        name = (parts.get("b") or parts.get("B") or "")[:3].title()
        months = [month[:3] for month in _MONTHS]
        if name not in months:
            raise _failure(text, "a textual month could not be found")
        month = months.index(name) + 1
    elif "m" in parts:
        month = int(parts["m"])
    else:
        raise _failure(text, "an incomplete date/time string has been found, with elements missing")
    if "d" not in parts:
        raise _failure(text, "an incomplete date/time string has been found, with elements missing")
    return _checked_day(text, year, month, int(parts["d"]))


def _checked_day(text: str, year: int, month: int, day: int) -> int:
    if not 1 <= month <= 12 or not 1 <= day <= days_in_month(year, month):
        raise _failure(text, "the parsed date was invalid")
    return days_from_civil(year, month, day)


def _clock(text: str, hour: int, minute: int, second: int) -> int:
    if hour > 23 or minute > 59 or second > 59:
        raise _failure(text, "unexpected character")
    return ((hour * 60 + minute) * 60 + second) * 1000


_ISO_DAY: Final = re.compile(
    r"""(?P<year>\d{4})
    (?:-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?(?!\d)|/(?P<month2>\d{1,2})/(?P<day2>\d{1,2})
       |(?P<month3>\d{2})(?P<day3>\d{2}))""",
    re.VERBOSE,
)
_REST: Final = re.compile(
    r"""(?:(?:[Tt]|\s+)(?P<hour>\d{1,2})(?::?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?
       (?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?)?
    \s*(?P<zone>Z|z|[A-Z]{3,4}|[+-]\d{2}:?\d{2}|[+-]\d{1,2})?\s*""",
    re.VERBOSE,
)
_EPOCH: Final = re.compile(r"\s*@(?P<seconds>-?\d{1,15})\s*")


def read_free(text: str, zone: TimeZone | None) -> int:
    """Return the instant of an ISO 8601 text or one of its looser forms.

    Raises:
        CommandFailure: 241 if it is none of them.
    """
    epoch = _EPOCH.fullmatch(text)
    if epoch is not None and zone is None:
        return int(epoch["seconds"]) * 1000
    days, rest = _free_day(text)
    match = _REST.fullmatch(rest)
    if match is None:
        raise _failure(text, "an unexpected character or an incomplete date was found")
    parts = match.groupdict()
    local = (
        days * DAY_MS
        + _clock(text, _hour(text, parts), int(parts["minute"] or 0), int(parts["second"] or 0))
        + int((parts["fraction"] or "0").ljust(3, "0")[:3])
    )
    if parts["zone"]:
        if zone is not None:
            raise CommandFailure(
                CONVERSION_FAILURE,
                f"you cannot pass in a date/time string with time zone information ('{text}') "
                "together with a timezone argument",
            )
        return _named_zone(text, parts["zone"]).instant(local)
    return (zone or UTC_ZONE).instant(local)


def _free_day(text: str) -> tuple[int, str]:
    """Return the day that a text begins with, and what follows it."""
    text = text.lstrip()
    iso = _ISO_DAY.match(text)
    loose = leading_day(text)
    if loose is not None and (iso is None or loose.end >= iso.end()):
        return loose.days, text[loose.end :]
    if iso is None:
        raise _failure(text, "an unexpected character or an incomplete date was found")
    parts = iso.groupdict()
    month = parts["month"] or parts["month2"] or parts["month3"]
    day = parts["day"] or parts["day2"] or parts["day3"] or "1"
    return _checked_day(text, int(parts["year"]), int(month), int(day)), text[iso.end() :]


def _hour(text: str, parts: dict[str, str | None]) -> int:
    hour = int(parts["hour"] or 0)
    if parts["half"] is None:
        return hour
    if not 1 <= hour <= 12:
        raise _failure(text, "unexpected character")
    return hour % 12 + (12 if parts["half"] in "Pp" else 0)


def _named_zone(text: str, name: str) -> TimeZone:
    if name[0] in "+-":
        sign, digits = name[0], name[1:].replace(":", "")
        hours, minutes = (digits[:2], digits[2:]) if len(digits) > 2 else (digits, "0")
        return time_zone(f"{sign}{int(hours):02d}:{int(minutes):02d}")
    if name in ABBREVIATIONS:
        return time_zone(ABBREVIATIONS[name])
    if name.upper() not in ("Z", "UTC", "GMT"):
        raise _failure(text, "the timezone could not be found in the database")
    return time_zone(name.upper())
