"""The envelope: what a caller and the DB proxy function say to each other in one invoke.

Both sides import this module, so it knows the standard library and nothing else. It turns
values into JSON bytes and back, checks everything it reads, and does no I/O.

Request (the invoke's payload)::

    {"odm": 1, "items": [
        {"kind": "command", "server": "host:27017", "message": "<base64>", "ack": true,
         "caller": "cms-api", "trace": "00-<32 hex digits>-<16>-01"},           (both optional)
        {"kind": "command", "server": "…", "message": "<base64>", "encoding": "zlib", "ack": true},
        {"kind": "command", "server": "…", "staged": "<id>", "parts": 3, "ack": true},
        {"kind": "stage", "id": "<id>", "part": 0, "data": "<base64>"},
        {"kind": "fetch", "id": "<id>", "part": 0},
        {"kind": "discard", "id": "<id>"},
        {"kind": "describe"},
        {"kind": "cancel", "server": "host:27017", "lsid": "<base64>", "started_ms": 1767225600000}
    ]}

With ``"within_ms": 50`` beside the items, the function begins none of them later than that after
the first, and answers those with ``{"deferred": true}``: others wait for the response as a whole.

Response (the function's result), one reply per item, in order::

    {"odm": 1, "function": {"release": "0.1.0", "environment": "…", "cold_start": true,
                            "init_ms": 312.0, "duration_ms": 4.1, "timeout_ms": 30000},
     "replies": [
        {"reply": "<base64>"},                   (or with "encoding", or "staged" and "parts")
        {"members": [{"address": "host:27017", "hello": "<base64>"}]},
        {"failure": {"code": 6, "code_name": "HostUnreachable", "message": "…", "ran": "no"}},
        {"deferred": true}
    ]}

``message`` is the OP_MSG after its header (flags and sections) and ``reply`` the BSON document of
the reply's section 0: the bytes the driver sent and the server answered, nothing decoded between.
What is too large for one invoke is compressed or staged (`transports.lambda_invoke.bodies`), and
then alone in its envelope: it may unpack to 48 MB.
A version this release does not speak is answered with ``{"odm": 1, "refusal": "…"}``.

Sizes: base64 makes 4 bytes of 3, and a synchronous payload is at most `MAX_PAYLOAD_BYTES`
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), so about 4.5 MiB of BSON.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transports.lambda_invoke.bodies import MAX_PARTS, PART_BYTES, Body, Encoding

VERSION = 1
"""The envelope's version; it changes when an old reader would misunderstand a new writer."""

MAX_PAYLOAD_BYTES = 6_291_456
"""Largest payload of a synchronous invoke, each way."""

MAX_ITEMS = 1000
"""Most items in one envelope; a caller splits before it gets here."""

MAX_MEMBERS = 100
"""Most servers of a deployment: a replica set has 50, and each gets a socket at the caller."""

MAX_ADDRESS_CHARS = 300
"""Longest address of a server: a host's name has 253 characters, a socket's path 107."""

MAX_CALLER_CHARS = 128
"""Longest name of an application: a server's own limit for ``appName``."""

MAX_LSID_BYTES = 256
"""Longest ``lsid``: a UUID, and what a server adds to it of the user."""

MAX_TEXT_CHARS = 10_000
"""Longest text: words about a failure."""

MIN_MESSAGE_BYTES = 10
"""An OP_MSG after its header: flags (4), kind of section (1), the empty document (5)."""

_IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,64}")
# https://www.w3.org/TR/trace-context/#traceparent-header, version 00
_TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_INTEGER = 2**53  # JSON's numbers are exact to here

Ran = Literal["no", "unknown", "yes"]
"""Whether the server applied a command that failed on the way: the driver may repeat only
what its own session numbers make safe, and the application deserves to know."""


class EnvelopeError(ValueError):
    """The bytes are no envelope of this version; the message says what is wrong with them."""


class RefusedEnvelope(EnvelopeError):
    """The function did not understand the request, and ran nothing of it."""


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


@dataclass(frozen=True, slots=True)
class ReplyResult:
    """The server's reply: the BSON document of section 0, ``b""`` if none was asked for.

    Also the answer to the other kinds of items: the part that was asked for, or ``b""``.
    """

    reply: Body


@dataclass(frozen=True, slots=True)
class MembersResult:
    """The deployment: ``(address, BSON of its hello reply)`` for each member."""

    members: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class FailureResult:
    """The function could not run an item; ``code`` is a MongoDB error code."""

    code: int
    code_name: str
    message: str
    ran: Ran


@dataclass(frozen=True, slots=True)
class DeferredResult:
    """The function did not come to an item within ``within_ms``: it did not run."""


Result = ReplyResult | MembersResult | FailureResult | DeferredResult


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionInfo:
    """What the function says about the invocation, for statistics and time-outs.

    Attributes:
        release: version of this distribution on the function's side.
        environment: identifies the execution environment.
        cold_start: True for the first invocation of an execution environment.
        init_ms: how long its initialisation took, from the start of its process.
        duration_ms: this invocation, inside the handler.
        timeout_ms: the function's time-out, as seen at the start of the invocation.
    """

    release: str
    environment: str
    cold_start: bool
    init_ms: float
    duration_ms: float
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Response:
    """A decoded response."""

    function: FunctionInfo
    results: tuple[Result, ...]


def encode_request(items: Sequence[Item], *, within_ms: int | None = None) -> bytes:
    """Return the invoke payload that carries *items*.

    Args:
        items: what the function is to do.
        within_ms: after how many milliseconds it begins none of them any more; None for no limit.
    """
    document: dict[str, Any] = {"odm": VERSION, "items": [_item_to_json(item) for item in items]}
    if within_ms is not None:
        document["within_ms"] = within_ms
    return _dump(document)


def _item_to_json(item: Item) -> dict[str, Any]:
    match item:
        case CommandItem(server, message, acknowledged, trace, caller):
            return {
                "kind": "command",
                "server": server,
                **_body_to_json("message", message),
                "ack": acknowledged,
                **({"trace": trace} if trace else {}),
                **({"caller": caller} if caller else {}),
            }
        case StageItem(identifier, part, data):
            return {
                "kind": "stage",
                "id": identifier,
                "part": part,
                "data": b64encode(data).decode("ascii"),
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
                "lsid": b64encode(lsid).decode("ascii"),
                "started_ms": started_ms,
            }


def _body_to_json(name: str, body: Body) -> dict[str, Any]:
    where: dict[str, Any] = (
        {"staged": body.staged, "parts": body.parts}
        if body.staged
        else {name: b64encode(body.data).decode("ascii")}
    )
    return {**where, "encoding": body.encoding} if body.encoding else where


def _body_from_json(document: Any, name: str, where: str) -> Body:
    encoding: Encoding = ""
    if "encoding" in document:
        if _field(document, "encoding", str, where) != "zlib":
            raise EnvelopeError(f"{where}.encoding is not zlib")
        encoding = "zlib"
    if "staged" in document:
        parts = _field(document, "parts", int, where)
        if not 1 <= parts <= MAX_PARTS:
            raise EnvelopeError(f"{where}.parts is {_shown(parts)}: expected 1 to {MAX_PARTS}")
        return Body(b"", encoding, _identifier(document, "staged", where), parts)
    return Body(_bytes_field(document, name, where), encoding)


def _identifier(document: Any, name: str, where: str) -> str:
    identifier: str = _field(document, name, str, where)
    if not _IDENTIFIER.fullmatch(identifier):
        raise EnvelopeError(f"{where}.{name} is not an identifier of 1 to 64 letters and digits")
    return identifier


def _address(document: Any, name: str, where: str) -> str:
    address = _text(document, name, where)
    if not 1 <= len(address) <= MAX_ADDRESS_CHARS:
        raise EnvelopeError(
            f"{where}.{name} is not an address of 1 to {MAX_ADDRESS_CHARS} characters"
        )
    return address


def _trace(document: Any, where: str) -> str:
    trace: str = _field(document, "trace", str, where)
    if not _TRACE.fullmatch(trace):
        raise EnvelopeError(f"{where}.trace is not a W3C traceparent of version 00")
    return trace


def _caller(document: Any, where: str) -> str:
    caller = _text(document, "caller", where)
    if len(caller) > MAX_CALLER_CHARS:
        raise EnvelopeError(f"{where}.caller is longer than {MAX_CALLER_CHARS} characters")
    return caller


def _part(document: Any, where: str) -> int:
    part: int = _field(document, "part", int, where)
    if not 0 <= part < MAX_PARTS:
        raise EnvelopeError(f"{where}.part is {_shown(part)}: expected 0 to {MAX_PARTS - 1}")
    return part


def decode_request(event: Any) -> list[Item]:
    """Return the items of an invocation's event, already parsed from JSON by the runtime.

    Raises:
        EnvelopeError: it is no envelope, or one of another version.
    """
    _check_version(event, "the event")
    items = _field(event, "items", list, "the event")
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
    return _number(event, "within_ms", "the event") if "within_ms" in event else None


def _is_packed(item: Item) -> bool:
    return isinstance(item, CommandItem) and bool(item.message.encoding or item.message.staged)


def _item_from_json(item: Any, where: str) -> Item:
    kind = _field(item, "kind", str, where)
    if kind == "command":
        message = _body_from_json(item, "message", where)
        if len(message.data) < MIN_MESSAGE_BYTES and not message.encoding and not message.staged:
            raise EnvelopeError(f"{where}.message is too short to be an OP_MSG")
        return CommandItem(
            _address(item, "server", where),
            message,
            _field(item, "ack", bool, where),
            _trace(item, where) if "trace" in item else "",
            _caller(item, where) if "caller" in item else "",
        )
    if kind == "stage":
        data = _bytes_field(item, "data", where)
        if len(data) > PART_BYTES:
            raise EnvelopeError(f"{where}.data is longer than {PART_BYTES:,} bytes")
        return StageItem(_identifier(item, "id", where), _part(item, where), data)
    if kind == "fetch":
        return FetchItem(_identifier(item, "id", where), _part(item, where))
    if kind == "discard":
        return DiscardItem(_identifier(item, "id", where))
    if kind == "describe":
        return DescribeItem()
    if kind == "cancel":
        return _cancel_from_json(item, where)
    raise EnvelopeError(f"{where}.kind is {_shown(kind)}: expected command, describe …")


def _cancel_from_json(item: Any, where: str) -> CancelItem:
    lsid, started_ms = _bytes_field(item, "lsid", where), _field(item, "started_ms", int, where)
    if len(lsid) > MAX_LSID_BYTES:
        raise EnvelopeError(f"{where}.lsid is longer than {MAX_LSID_BYTES} bytes")
    if not 0 <= started_ms <= _MAX_INTEGER:
        raise EnvelopeError(f"{where}.started_ms is {_shown(started_ms)}: expected a time in ms")
    return CancelItem(_address(item, "server", where), lsid, started_ms)


def encode_response(function: FunctionInfo, results: Sequence[Result]) -> dict[str, Any]:
    """Return the function's result; the Lambda runtime turns it into JSON."""
    return {
        "odm": VERSION,
        "function": {
            "release": function.release,
            "environment": function.environment,
            "cold_start": function.cold_start,
            "init_ms": function.init_ms,
            "duration_ms": function.duration_ms,
            "timeout_ms": function.timeout_ms,
        },
        "replies": [_result_to_json(result) for result in results],
    }


def encode_refusal(reason: str) -> dict[str, Any]:
    """Return the function's result for an event that is no envelope of this version."""
    return {"odm": VERSION, "refusal": reason}


def _result_to_json(result: Result) -> dict[str, Any]:
    match result:
        case ReplyResult(reply):
            return _body_to_json("reply", reply)
        case MembersResult(members):
            return {
                "members": [
                    {"address": address, "hello": b64encode(hello).decode("ascii")}
                    for address, hello in members
                ]
            }
        case FailureResult(code, code_name, message, ran):
            return {
                "failure": {"code": code, "code_name": code_name, "message": message, "ran": ran}
            }
        case DeferredResult():
            return {"deferred": True}


def decode_response(payload: bytes, *, expected: int) -> Response:
    """Return the response in an invoke's payload.

    Args:
        payload: the bytes that Lambda returned.
        expected: how many items were sent.

    Raises:
        EnvelopeError: it is no envelope, or one of another version.
        RefusedEnvelope: it is a refusal.
    """
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError(f"the response is not JSON: {error}") from error
    _check_version(document, "the response")
    if "refusal" in document:
        raise RefusedEnvelope(f"the function refused: {_text(document, 'refusal', 'the response')}")
    info = _field(document, "function", dict, "the response")
    function = FunctionInfo(
        release=_text(info, "release", "function"),
        environment=_text(info, "environment", "function"),
        cold_start=_field(info, "cold_start", bool, "function"),
        init_ms=_number(info, "init_ms", "function"),
        duration_ms=_number(info, "duration_ms", "function"),
        timeout_ms=int(_number(info, "timeout_ms", "function")),
    )
    replies = _field(document, "replies", list, "the response")
    if len(replies) != expected:
        raise EnvelopeError(f"the response has {len(replies)} replies to {expected} items")
    return Response(
        function, tuple(_result_from_json(r, f"replies[{i}]") for i, r in enumerate(replies))
    )


def _result_from_json(result: Any, where: str) -> Result:
    if not isinstance(result, dict):
        raise EnvelopeError(f"{where} is not an object")
    if "reply" in result or "staged" in result:
        return ReplyResult(_body_from_json(result, "reply", where))
    if "members" in result:
        members = _field(result, "members", list, where)
        if len(members) > MAX_MEMBERS:
            raise EnvelopeError(f"{where} has {len(members)} members, more than {MAX_MEMBERS}")
        return MembersResult(
            tuple((_address(m, "address", where), _bytes_field(m, "hello", where)) for m in members)
        )
    if "deferred" in result:
        return DeferredResult()
    return _failure_from_json(_field(result, "failure", dict, where), where)


def _failure_from_json(failure: Any, where: str) -> FailureResult:
    ran, code = _field(failure, "ran", str, where), _field(failure, "code", int, where)
    if not 0 <= code < 2**31:
        raise EnvelopeError(f"{where}.code is {_shown(code)}: expected an error code")
    return FailureResult(
        code,
        _text(failure, "code_name", where),
        _text(failure, "message", where),
        "no" if ran == "no" else "yes" if ran == "yes" else "unknown",
    )


def _check_version(document: Any, what: str) -> None:
    if not isinstance(document, dict) or "odm" not in document:
        raise EnvelopeError(
            f"{what} is no envelope of odm-transports: is this the DB proxy function, and is the "
            "caller a lambda:// transport?"
        )
    version = document["odm"]
    if version != VERSION or isinstance(version, bool):
        raise EnvelopeError(
            f"{what} is an envelope of version {_shown(version)}; this release speaks version "
            f"{VERSION}: deploy the same release of odm-transports on both sides"
        )


def _field(document: Any, name: str, kind: type[Any], where: str) -> Any:
    value = document.get(name) if isinstance(document, Mapping) else None
    # bool is an int in Python, but true is no number in JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise EnvelopeError(f"{where}.{name} is missing or not a {kind.__name__}")
    return value


def _text(document: Any, name: str, where: str) -> str:
    text: str = _field(document, name, str, where)
    # JSON may hold half of a surrogate pair, which BSON and UTF-8 cannot.
    return text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode()


def _number(document: Any, name: str, where: str) -> float:
    value = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise EnvelopeError(f"{where}.{name} is missing or not a number")
    if not 0 <= value <= _MAX_INTEGER:  # nor is NaN
        raise EnvelopeError(f"{where}.{name} is {_shown(value)}: expected 0 or more")
    return float(value)


def _bytes_field(document: Any, name: str, where: str) -> bytes:
    text: str = _field(document, name, str, where)
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EnvelopeError(f"{where}.{name} is not base64: {error}") from None


def _shown(value: Any) -> str:
    """Return what a message repeats of a value that it does not expect: a short one, or its type.

    It may be as long as an invoke, or nested more deeply than Python can print it.
    """
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, bool | float | None) or (isinstance(value, int) and abs(value) < 2**64):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode("ascii")
