"""BSON values as the server writes them in its error messages: ``{ x: 1, y: "a" }``.

Not a serialisation: strings are not escaped there, and neither are they here.
"""

from __future__ import annotations

import uuid
from typing import Any

from bson import Binary, Code, DatetimeMS, Decimal128, MaxKey, MinKey, ObjectId, Regex
from bson.timestamp import Timestamp

from transports.fake.values import regex_options


def render(value: Any) -> str:
    """Return the server's text for a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _render_double(value)
    if isinstance(value, dict):
        return render_document(value)
    if isinstance(value, list):
        return f"[ {', '.join(map(render, value))} ]" if value else "[]"
    return _render_scalar(value)


def render_document(document: dict[str, Any]) -> str:
    """Return the server's text for a document, ``{}`` or ``{ a: 1 }``."""
    if not document:
        return "{}"
    return "{ " + ", ".join(f"{name}: {render(value)}" for name, value in document.items()) + " }"


def _render_double(value: float) -> str:
    text = format(value, ".16g")
    return text if "." in text else f"{text}.0"


def _render_scalar(value: Any) -> str:
    if isinstance(value, ObjectId):
        return f"ObjectId('{value}')"
    if isinstance(value, DatetimeMS):
        return f"new Date({int(value)})"
    if isinstance(value, Timestamp):
        return f"Timestamp({value.time}, {value.inc})"
    if isinstance(value, Binary) and value.subtype == 4 and len(value) == 16:
        return f'UUID("{uuid.UUID(bytes=bytes(value))}")'
    if isinstance(value, bytes):
        subtype = value.subtype if isinstance(value, Binary) else 0
        return f"BinData({subtype}, {value.hex().upper()})"
    if isinstance(value, Regex):
        return f"/{value.pattern}/{regex_options(value)}"
    if isinstance(value, MinKey):
        return "MinKey"
    if isinstance(value, MaxKey):
        return "MaxKey"
    if isinstance(value, Decimal128):
        return str(value)
    return repr(value)
