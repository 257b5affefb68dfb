"""Date expressions.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#date-expression-operators
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bson import DatetimeMS, Int64, ObjectId
from bson.timestamp import Timestamp

from transports.fake.errors import CommandFailure
from transports.fake.expressions import date_math, date_text
from transports.fake.expressions.arithmetic import type_name
from transports.fake.expressions.numbers import whole64
from transports.fake.expressions.scope import (
    Expression,
    Operator,
    Scope,
    fixed,
    folded,
    is_nullish,
    named,
)
from transports.fake.expressions.time_zones import (
    DAY_MS,
    UTC_ZONE,
    Moment,
    TimeZone,
    days_from_civil,
    zone_of,
)
from transports.fake.values import Document

_ABSENT: Final = object()
_ISO_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%LZ"


def milliseconds(value: Any, *, code: int = 16006) -> int:
    """Return the instant of a date, a timestamp or an ObjectId.

    Raises:
        CommandFailure: ``code`` for anything else.
    """
    kind = type(value)
    if kind is DatetimeMS:
        return int(value)
    if kind is Timestamp:
        return int(value.time) * 1000
    if kind is ObjectId:
        seconds = int.from_bytes(value.binary[:4], "big", signed=True)
        return seconds * 1000
    raise CommandFailure(code, f"can't convert from BSON type {type_name(value)} to Date")


def _part(name: str, function: Callable[[Moment], Any]) -> Operator:
    def operator(operand: Any, scope: Scope) -> Expression:
        if type(operand) is dict and not next(iter(operand), "").startswith("$"):
            for argument in operand:
                if argument not in ("date", "timezone"):
                    raise CommandFailure(40535, f'unrecognized option to {name}: "{argument}"')
            if "date" not in operand:
                raise CommandFailure(
                    40539, f"missing 'date' argument to {name}, provided: {operand}"
                )
            date = scope.compile(operand["date"])
            zone = scope.compile(operand.get("timezone", "UTC"))
        else:
            if type(operand) is list:
                if len(operand) != 1:
                    raise CommandFailure(
                        40536,
                        f"{name} accepts exactly one argument if given an array, but was given "
                        f"{len(operand)}",
                    )
                operand = operand[0]
            date, zone = scope.compile(operand), scope.compile("UTC")

        def evaluate(document: Document, variables: dict[str, Any]) -> Any:
            value = date(document, variables)
            if is_nullish(value):
                return None
            instant = milliseconds(value)
            where = zone_of(zone(document, variables), code=40533)
            return None if where is None else function(where.local(instant))

        return folded(evaluate, [date, zone])

    operator.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return operator


def date_to_string(
    *,
    date: Any,
    format: Any = _ISO_FORMAT,  # the operator's own name
    timezone: Any = "UTC",
    onNull: Any = None,  # noqa: N803  # the operator's own name
) -> Any:
    """``$dateToString``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateToString/."""
    zone = zone_of(timezone)
    if is_nullish(format):
        return None
    if type(format) is not str:
        raise CommandFailure(
            18533, f"$dateToString requires that 'format' be a string, found: {type_name(format)}"
        )
    date_text.check_format(format)
    if is_nullish(date):
        return onNull
    if zone is None:
        return None
    return date_text.write(milliseconds(date), format, zone)


def date_from_string(
    *,
    dateString: Any,  # noqa: N803  # the operator's own name
    format: Any = _ABSENT,  # the operator's own name
    timezone: Any = _ABSENT,
    onError: Any = _ABSENT,  # noqa: N803  # the operator's own name
    onNull: Any = None,  # noqa: N803  # the operator's own name
) -> Any:
    """``$dateFromString``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateFromString/."""
    zone = None if timezone is _ABSENT else zone_of(timezone)
    if is_nullish(dateString):
        return onNull
    if (timezone is not _ABSENT and zone is None) or is_nullish(format):
        return None
    try:
        if type(dateString) is not str:
            raise CommandFailure(
                241,
                "$dateFromString requires that 'dateString' be a string, found: "
                f"{type_name(dateString)} with value {dateString!r}",
            )
        if format is _ABSENT:
            return DatetimeMS(date_text.read_free(dateString, zone))
        if type(format) is not str:
            raise CommandFailure(
                40684,
                f"$dateFromString requires that 'format' be a string, found: {type_name(format)}",
            )
        return DatetimeMS(date_text.read(dateString, format, zone))
    except CommandFailure as failure:
        if failure.code == 241 and onError is not _ABSENT:
            return onError
        raise


def _field(
    name: str,
    value: Any,
    *,
    wide: bool = False,
) -> int | None:
    """Return a part given to ``$dateFromParts``; None for null."""
    if is_nullish(value):
        return None
    number = whole64(value)
    if number is None:
        raise CommandFailure(
            40515, f"'{name}' must evaluate to an integer, found {type_name(value)}"
        )
    if not wide and not -32768 <= number <= 32767:
        raise CommandFailure(
            31034, f"'{name}' must evaluate to a value in the range [-32768, 32767], found {number}"
        )
    return number


_CHECKED_LATER: Final = frozenset({"year", "isoWeekYear", "second", "millisecond"})


def _fields(*given: tuple[str, Any]) -> list[int] | None:
    """Return parts, None as soon as one is null: what is after it is not looked at."""
    found = []
    for name, value in given:
        number = _field(name, value, wide=name in _CHECKED_LATER)
        if number is None:
            return None
        found.append(number)
    return found


def date_from_parts(
    *,
    year: Any = False,
    month: Any = 1,
    day: Any = 1,
    isoWeekYear: Any = False,  # noqa: N803  # the operator's own name
    isoWeek: Any = 1,  # noqa: N803  # the operator's own name
    isoDayOfWeek: Any = 1,  # noqa: N803  # the operator's own name
    hour: Any = 0,
    minute: Any = 0,
    second: Any = 0,
    millisecond: Any = 0,
    timezone: Any = "UTC",
) -> Any:
    """``$dateFromParts``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateFromParts/."""
    clock = _fields(
        ("hour", hour), ("minute", minute), ("second", second), ("millisecond", millisecond)
    )
    zone = None if clock is None else zone_of(timezone)
    if clock is None or zone is None:
        return None
    if year is not False:
        day_parts = _fields(("year", year), ("month", month), ("day", day))
    else:
        day_parts = _fields(
            ("isoWeekYear", isoWeekYear), ("isoWeek", isoWeek), ("isoDayOfWeek", isoDayOfWeek)
        )
    if day_parts is None:
        return None
    first, second_part, third = day_parts
    if not 1 <= first <= 9999:
        name, code = ("isoWeekYear", 31095) if year is False else ("year", 40523)
        raise CommandFailure(
            code, f"'{name}' must evaluate to an integer in the range 1 to 9999, found {first}"
        )
    if year is not False:
        carry, month_index = divmod(second_part - 1, 12)
        days = days_from_civil(first + carry, month_index + 1, 1) + third - 1
    else:
        fourth = days_from_civil(first, 1, 4)
        days = fourth - (fourth + 3) % 7 + (second_part - 1) * 7 + third - 1
    h, m, s, ms = clock
    instant = zone.instant(days * DAY_MS + ((h * 60 + m) * 60 + s) * 1000 + ms)
    if abs(ms) > 2**63 // 1000 or not -(2**63) <= instant < 2**63:
        raise CommandFailure(
            159, "Overflow casting from a lower-precision duration to a higher-precision duration"
        )
    return DatetimeMS(instant)


def _date_from_parts(operand: Any, scope: Scope) -> Expression:
    if type(operand) is dict:
        if "year" in operand and any(name.startswith("iso") for name in operand):
            raise CommandFailure(
                40489, "$dateFromParts does not allow mixing natural dates with ISO dates"
            )
        if "isoWeekYear" in operand and ("month" in operand or "day" in operand):
            raise CommandFailure(
                40525, "$dateFromParts does not allow mixing ISO dates with natural dates"
            )
        if "year" not in operand and "isoWeekYear" not in operand:
            raise CommandFailure(
                40516, "$dateFromParts requires either 'year' or 'isoWeekYear' to be present"
            )
    return _DATE_FROM_PARTS(operand, scope)


def date_to_parts(*, date: Any, timezone: Any = "UTC", iso8601: Any = False) -> Any:
    """``$dateToParts``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateToParts/."""
    zone = zone_of(timezone)
    if is_nullish(iso8601):
        return None
    if type(iso8601) is not bool:
        raise CommandFailure(40521, f"iso8601 must evaluate to a bool, found {type_name(iso8601)}")
    if is_nullish(date) or zone is None:
        return None
    at = zone.local(milliseconds(date))
    clock = {
        "hour": at.hour,
        "minute": at.minute,
        "second": at.second,
        "millisecond": at.millisecond,
    }
    if iso8601:
        year, week = at.iso_week()
        return {"isoWeekYear": year, "isoWeek": week, "isoDayOfWeek": at.iso_day_of_week, **clock}
    return {"year": at.year, "month": at.month, "day": at.day, **clock}


def _unit(name: str, unit: Any) -> str:
    if type(unit) is not str:
        raise CommandFailure(
            5439013, f"{name} requires 'unit' to be a string, but got {type_name(unit)}"
        )
    if unit not in date_math.MONTHS and unit not in date_math.MILLISECONDS:
        raise CommandFailure(5439014, f"{name} parameter 'unit' value cannot be recognized: {unit}")
    return unit


# How far 64 bits of milliseconds reach, in units.
MOST_UNITS: Final = {
    "year": 584_942_417,
    "quarter": 584_942_417 * 4,
    "month": 584_942_417 * 12,
    **{unit: 2**64 // size for unit, size in date_math.MILLISECONDS.items()},
}


# How large a bin of $dateTrunc may be, where the calendar decides how long a unit is.
_LARGEST_BIN: Final = 100_000_000_000
_BY_CALENDAR: Final = frozenset({*date_math.MONTHS, "week", "day"})


def _zone(timezone: Any) -> TimeZone | None:
    return zone_of(timezone)


def _arithmetic(name: str, sign: int) -> Operator:
    def move(*, startDate: Any, unit: Any, amount: Any, timezone: Any = "UTC") -> Any:  # noqa: N803  # the operator's own name
        if any(is_nullish(value) for value in (startDate, unit, amount, timezone)):
            return None
        if type(unit) is not str:
            raise CommandFailure(5166404, f"{name} expects string defining the time unit")
        date_math.check_unit(unit)
        zone = _zone(timezone) or UTC_ZONE
        start = milliseconds(startDate, code=5166403)
        count = whole64(amount)
        if count is None:
            raise CommandFailure(5166405, f"{name} expects integer amount of time units")
        if sign < 0 and count == -(2**63):
            raise CommandFailure(6045000, f"invalid {name} 'amount' parameter value: {count}")
        if abs(count) > MOST_UNITS.get(unit, 2**63):
            raise CommandFailure(
                5976500, f"invalid {name} 'amount' parameter value: {count} {unit}"
            )
        moved = date_math.add(start, unit, sign * count, zone)
        if not -(2**63) <= moved < 2**63:
            raise CommandFailure(5166406, f"{name} overflowed")
        return DatetimeMS(moved)

    move.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return named(
        name,
        move,
        {"startDate": 5166402, "unit": 5166402, "amount": 5166402},
        ("timezone",),
        not_an_object=5166400,
        unknown=5166401,
    )


def _weekday(value: Any) -> int:
    if type(value) is not str:
        raise CommandFailure(5439015, f"'startOfWeek' must be a string, but got {type_name(value)}")
    if value.lower() not in date_math.WEEKDAYS:
        raise CommandFailure(
            5439016, f"'startOfWeek' is not recognized as a day of a week: {value}"
        )
    return date_math.WEEKDAYS[value.lower()]


def date_diff(
    *,
    startDate: Any,  # noqa: N803  # the operator's own name
    endDate: Any,  # noqa: N803  # the operator's own name
    unit: Any,
    timezone: Any = "UTC",
    startOfWeek: Any = "sunday",  # noqa: N803  # the operator's own name
) -> Any:
    """``$dateDiff``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateDiff/."""
    if any(is_nullish(value) for value in (startDate, endDate, unit, timezone)):
        return None
    if unit == "week" and is_nullish(startOfWeek):
        return None
    zone = _zone(timezone) or UTC_ZONE
    start, end = milliseconds(startDate, code=5166307), milliseconds(endDate, code=5166307)
    unit = _unit("$dateDiff", unit)
    week_start = _weekday(startOfWeek) if unit == "week" else 6
    boundaries = date_math.difference(start, end, unit, zone, week_start)
    if not -(2**63) <= boundaries < 2**63:
        raise CommandFailure(5166308, "dateDiff overflowed")
    return Int64(boundaries)


def date_trunc(
    *,
    date: Any,
    unit: Any,
    binSize: Any = 1,  # noqa: N803  # the operator's own name
    timezone: Any = "UTC",
    startOfWeek: Any = "sunday",  # noqa: N803  # the operator's own name
) -> Any:
    """``$dateTrunc``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/dateTrunc/."""
    if any(is_nullish(value) for value in (date, unit, binSize, timezone)):
        return None
    if unit == "week" and is_nullish(startOfWeek):
        return None
    zone = _zone(timezone) or UTC_ZONE
    instant = milliseconds(date, code=5439012)
    unit = _unit("$dateTrunc", unit)
    size = whole64(binSize)
    if size is None:
        raise CommandFailure(
            5439017,
            f"$dateTrunc requires 'binSize' to be a 64-bit integer, but got {type_name(binSize)}",
        )
    if size <= 0:
        raise CommandFailure(
            5439018, f"$dateTrunc requires 'binSize' to be greater than 0, but got {size}"
        )
    week_start = _weekday(startOfWeek) if unit == "week" else 6
    if unit in _BY_CALENDAR and size > _LARGEST_BIN:
        raise CommandFailure(5439006, "dateTrunc unsupported binSize value")
    if unit not in _BY_CALENDAR and size * date_math.MILLISECONDS[unit] >= 2**63:
        raise CommandFailure(5439002, "dateTrunc overflowed")
    start = date_math.truncate(instant, unit, size, zone, week_start)
    if not -(2**63) <= start < 2**63:
        raise CommandFailure(5166406, "dateAdd overflowed")
    return DatetimeMS(start)


def _timestamp_part(name: str, code: int, part: Callable[[Timestamp], int]) -> Operator:
    def value_of(value: Any) -> Any:
        if is_nullish(value):
            return None
        if type(value) is not Timestamp:
            raise CommandFailure(
                code, f"{name} requires argument of type timestamp, but found {type_name(value)}"
            )
        return Int64(part(value))

    value_of.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return fixed(name, value_of, 1)


_DATE_FROM_PARTS: Final = named(
    "$dateFromParts",
    date_from_parts,
    {},
    (
        "year",
        "month",
        "day",
        "isoWeekYear",
        "isoWeek",
        "isoDayOfWeek",
        "hour",
        "minute",
        "second",
        "millisecond",
        "timezone",
    ),
    not_an_object=40519,
    unknown=40518,
)

DATES: Final[dict[str, Operator]] = {
    "$year": _part("$year", lambda at: at.year),
    "$month": _part("$month", lambda at: at.month),
    "$dayOfMonth": _part("$dayOfMonth", lambda at: at.day),
    "$dayOfYear": _part("$dayOfYear", lambda at: at.day_of_year),
    "$dayOfWeek": _part("$dayOfWeek", lambda at: at.day_of_week),
    "$week": _part("$week", lambda at: at.week),
    "$isoDayOfWeek": _part("$isoDayOfWeek", lambda at: at.iso_day_of_week),
    "$isoWeek": _part("$isoWeek", lambda at: at.iso_week()[1]),
    "$isoWeekYear": _part("$isoWeekYear", lambda at: Int64(at.iso_week()[0])),
    "$hour": _part("$hour", lambda at: at.hour),
    "$minute": _part("$minute", lambda at: at.minute),
    "$second": _part("$second", lambda at: at.second),
    "$millisecond": _part("$millisecond", lambda at: at.millisecond),
    "$dateToString": named(
        "$dateToString",
        date_to_string,
        {"date": 18628},
        ("format", "timezone", "onNull"),
        not_an_object=18629,
        unknown=18534,
    ),
    "$dateFromString": named(
        "$dateFromString",
        date_from_string,
        {"dateString": 40542},
        ("format", "timezone", "onError", "onNull"),
        not_an_object=40540,
        unknown=40541,
    ),
    "$dateFromParts": _date_from_parts,
    "$dateToParts": named(
        "$dateToParts",
        date_to_parts,
        {"date": 40522},
        ("timezone", "iso8601"),
        not_an_object=40524,
        unknown=40520,
    ),
    "$dateAdd": _arithmetic("$dateAdd", 1),
    "$dateSubtract": _arithmetic("$dateSubtract", -1),
    "$dateDiff": named(
        "$dateDiff",
        date_diff,
        {"startDate": 5166303, "endDate": 5166304, "unit": 5166305},
        ("timezone", "startOfWeek"),
        not_an_object=5166301,
        unknown=5166302,
    ),
    "$dateTrunc": named(
        "$dateTrunc",
        date_trunc,
        {"date": 5439009, "unit": 5439010},
        ("binSize", "timezone", "startOfWeek"),
        not_an_object=5439007,
        unknown=5439008,
    ),
    "$tsSecond": _timestamp_part("$tsSecond", 5687301, lambda value: int(value.time)),
    "$tsIncrement": _timestamp_part("$tsIncrement", 5687302, lambda value: int(value.inc)),
}
