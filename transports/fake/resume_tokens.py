"""Resume tokens of change streams: a place among the changes, as a document.

``{"_data": "82…"}``: hexadecimal, ordered like the changes themselves. An event's token names the
cluster time, the place within a transaction, whether it is the ``invalidate`` after the change,
and the collection; a high-water mark names a time before which everything has been told.

Spec: https://www.mongodb.com/docs/manual/changeStreams/#resume-tokens
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from transports.fake.bson_text import render
from transports.fake.errors import FAILED_TO_PARSE, CommandFailure
from transports.fake.oplog import Change
from transports.fake.values import Document

_BAD_TOKEN: Final = 40647
_TOKEN: Final = re.compile(
    r"82([0-9A-F]{16})2B02(29|2C0100)(29|2[B-F][0-9A-F]+?)6([EF])(?:5A1004[0-9A-F]{32})?.*"
)
_EVENT: Final = "2C0100"


@dataclass(frozen=True, slots=True)
class Place:
    """What a token says.

    Attributes:
        time: cluster time as one integer.
        place: the change's number within its transaction.
        invalidates: whether it is the token of an ``invalidate``.
        is_event: False for a high-water mark.
    """

    time: int
    place: int = 0
    invalidates: bool = False
    is_event: bool = True


def event_token(change: Change, *, invalidates: bool = False) -> Document:
    """Return the token of the event that a change makes."""
    place = "29" if not change.place else _number(change.place)
    flag = "6F" if invalidates else "6E"
    where = "" if change.uuid is None else f"5A1004{change.uuid.hex.upper()}"
    return {"_data": f"82{change.time:016X}2B02{_EVENT}{place}{flag}{where}04"}


def high_water_mark(time: int) -> Document:
    """Return the token that stands before every change of a cluster time."""
    return {"_data": f"82{time:016X}2B0229296E04"}


def parse_token(token: Any) -> Place:
    """Read a token.

    Raises:
        CommandFailure: 40647, 9 for something else.
    """
    data = token.get("_data") if type(token) is dict else None
    if type(data) is not str:
        raise CommandFailure(
            _BAD_TOKEN,
            "Bad resume token: _data of missing or of wrong type. Expected string, got "
            f"{render(token)}",
        )
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2})*", data) is None:
        raise CommandFailure(FAILED_TO_PARSE, "resume token string was not a valid hex string")
    match = _TOKEN.fullmatch(data)
    if match is None:
        raise CommandFailure(_BAD_TOKEN, f"Bad resume token: {data}")
    time, kind, place, flag = match.groups()
    return Place(int(time, 16), _parsed_number(place), flag == "F", kind == _EVENT)


def _number(value: int) -> str:
    """Return a positive number so that longer ones sort after shorter ones."""
    digits = f"{value << 1:X}"
    digits = digits.zfill(len(digits) + len(digits) % 2)
    return f"{0x2B + len(digits) // 2 - 1:X}{digits}"


def _parsed_number(text: str) -> int:
    return 0 if text == "29" else int(text[2:], 16) >> 1
