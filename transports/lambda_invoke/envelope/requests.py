"""Requests: what a caller asks of the function, and how it is written and read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transports.lambda_invoke.bodies import MAX_PARTS, PART_BYTES, Body
from transports.lambda_invoke.envelope.fields import (
    MAX_INTEGER,
    VERSION,
    EnvelopeError,
    body_from_json,
    body_to_json,
    check_version,
    read_address,
    read_bytes,
    read_field,
    read_identifier,
    read_number,
    read_text,
    shown,
    to_base64,
)

MAX_ITEMS = 1000
"""Most items in one envelope; a caller splits before it gets here."""

MAX_CALLER_CHARS = 128
"""Longest name of an application: a server's own limit for ``appName``."""

MAX_LSID_BYTES = 256
"""Longest ``lsid``: a UUID, and what a server adds to it of the user."""

MIN_MESSAGE_BYTES = 10
"""An OP_MSG after its header: flags (4), kind of section (1), the empty document (5)."""

# https://www.w3.org/TR/trace-context/#traceparent-header, version 00
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class CommandItem:
    """One command for one server.

    Attributes:
        server: where it runs.
        message: the OP_MSG after its header.
        acknowledged: whether a reply is expected.
        trace: the caller's trace context as a W3C ``traceparent``, ``""`` for none.
        caller: the application's name (``appName``), ``""`` for none.
    """

    server: str
    message: Body
    acknowledged: bool = True
    trace: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class StageItem:
    """One part of a body that is too large for one invoke, to be kept until it is complete."""

    id: str
    part: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FetchItem:
    """Asks for one part of a staged reply."""

    id: str
    part: int


@dataclass(frozen=True, slots=True)
class DiscardItem:
    """Says that a staged body has been read."""

    id: str


@dataclass(frozen=True, slots=True)
class DescribeItem:
    """Asks for the deployment: every server and its own reply to ``hello``."""


@dataclass(frozen=True, slots=True)
class CancelItem:
    """Asks to end what a session that nobody waits for any more is still running.

    Attributes:
        server: where it runs.
        lsid: the BSON document ``{"id": UUID}`` of its session.
        started_ms: operations that started later than this (epoch, ms) are left alone: the
            session may be in use again.
    """

    server: str
    lsid: bytes
    started_ms: int


Item = CommandItem | StageItem | FetchItem | DiscardItem | DescribeItem | CancelItem


def encode_request(items: Sequence[Item], *, within_ms: int | None = None) -> bytes:
    """Return the invoke payload that carries *items*.

    Args:
        items: what the function is to do.
        within_ms: after how many milliseconds it begins none of them any more; None for no limit.
    """
    document: dict[str, Any] = {"odm": VERSION, "items": [_item_to_json(item) for item in items]}
    if within_ms is not None:
        document["within_ms"] = within_ms
    return _to_json(document).encode("ascii")


def _item_to_json(item: Item) -> dict[str, Any]:
    match item:
        case CommandItem(server, message, acknowledged, trace, caller):
            return {
                "kind": "command",
                "server": server,
                **body_to_json("message", message),
                "ack": acknowledged,
                **({"trace": trace} if trace else {}),
                **({"caller": caller} if caller else {}),
            }
        case StageItem(identifier, part, data):
            return {
                "kind": "stage",
                "id": identifier,
                "part": part,
                "data": to_base64(data),
            }
        case FetchItem(identifier, part):
            return {"kind": "fetch", "id": identifier, "part": part}
        case DiscardItem(identifier):
            return {"kind": "discard", "id": identifier}
        case DescribeItem():
            return {"kind": "describe"}
        case CancelItem(server, lsid, started_ms):
            return {
                "kind": "cancel",
                "server": server,
                "lsid": to_base64(lsid),
                "started_ms": started_ms,
            }


def decode_request(event: Any) -> list[Item]:
    """Return the items of an invocation's event, already parsed from JSON by the runtime.

    Raises:
        EnvelopeError: it is no envelope, or one of another version.
    """
    check_version(event, "the event")
    items = read_field(event, "items", list, "the event")
    if len(items) > MAX_ITEMS:
        raise EnvelopeError(f"the event has {len(items)} items, more than {MAX_ITEMS}")
    decoded = [_item_from_json(item, f"items[{index}]") for index, item in enumerate(items)]
    if len(decoded) > 1 and any(map(_is_packed, decoded)):
        raise EnvelopeError("a body that is compressed or staged travels alone: it may be large")
    return decoded


def decode_within_ms(event: Mapping[str, Any]) -> float | None:
    """Return after how many milliseconds no item of *event* is to be begun, None for no limit.

    Raises:
        EnvelopeError: it is no number.
    """
    return read_number(event, "within_ms", "the event") if "within_ms" in event else None


def _is_packed(item: Item) -> bool:
    return isinstance(item, CommandItem) and bool(item.message.encoding or item.message.staged)


def _item_from_json(item: Any, where: str) -> Item:
    kind = read_field(item, "kind", str, where)
    if kind == "command":
        message = body_from_json(item, "message", where)
        if len(message.data) < MIN_MESSAGE_BYTES and not message.encoding and not message.staged:
            raise EnvelopeError(f"{where}.message is too short to be an OP_MSG")
        return CommandItem(
            read_address(item, "server", where),
            message,
            read_field(item, "ack", bool, where),
            _read_trace(item, where) if "trace" in item else "",
            _read_caller(item, where) if "caller" in item else "",
        )
    if kind == "stage":
        data = read_bytes(item, "data", where)
        if len(data) > PART_BYTES:
            raise EnvelopeError(f"{where}.data is longer than {PART_BYTES:,} bytes")
        return StageItem(read_identifier(item, "id", where), _read_part(item, where), data)
    if kind == "fetch":
        return FetchItem(read_identifier(item, "id", where), _read_part(item, where))
    if kind == "discard":
        return DiscardItem(read_identifier(item, "id", where))
    if kind == "describe":
        return DescribeItem()
    if kind == "cancel":
        return _cancel_from_json(item, where)
    raise EnvelopeError(f"{where}.kind is {shown(kind)}: expected command, describe …")


def _cancel_from_json(item: Any, where: str) -> CancelItem:
    lsid, started_ms = read_bytes(item, "lsid", where), read_field(item, "started_ms", int, where)
    if len(lsid) > MAX_LSID_BYTES:
        raise EnvelopeError(f"{where}.lsid is longer than {MAX_LSID_BYTES} bytes")
    if not 0 <= started_ms <= MAX_INTEGER:
        raise EnvelopeError(f"{where}.started_ms is {shown(started_ms)}: expected a time in ms")
    return CancelItem(read_address(item, "server", where), lsid, started_ms)


def _read_trace(document: Any, where: str) -> str:
    trace: str = read_field(document, "trace", str, where)
    if not _TRACE.fullmatch(trace):
        raise EnvelopeError(f"{where}.trace is not a W3C traceparent of version 00")
    return trace


def _read_caller(document: Any, where: str) -> str:
    caller = read_text(document, "caller", where)
    if len(caller) > MAX_CALLER_CHARS:
        raise EnvelopeError(f"{where}.caller is longer than {MAX_CALLER_CHARS} characters")
    return caller


def _read_part(document: Any, where: str) -> int:
    part: int = read_field(document, "part", int, where)
    if not 0 <= part < MAX_PARTS:
        raise EnvelopeError(f"{where}.part is {shown(part)}: expected 0 to {MAX_PARTS - 1}")
    return part
