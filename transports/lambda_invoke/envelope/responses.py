"""Responses: what the function answers, and how it is written and read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope.fields import (
    VERSION,
    EnvelopeError,
    body_from_json,
    body_to_json,
    check_version,
    read_address,
    read_bytes,
    read_field,
    read_number,
    read_text,
    shown,
    to_base64,
)

MAX_MEMBERS = 100
"""Most servers of a deployment: a replica set has 50, and each gets a socket at the caller."""

Ran = Literal["no", "unknown", "yes"]
"""Whether the server applied a command that failed on the way: the driver may repeat only
what its own session numbers make safe, and the application deserves to know."""


class RefusedEnvelope(EnvelopeError):
    """The function did not understand the request, and ran nothing of it."""


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
            return body_to_json("reply", reply)
        case MembersResult(members):
            return {
                "members": [
                    {"address": address, "hello": to_base64(hello)} for address, hello in members
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
    check_version(document, "the response")
    if "refusal" in document:
        raise RefusedEnvelope(
            f"the function refused: {read_text(document, 'refusal', 'the response')}"
        )
    info = read_field(document, "function", dict, "the response")
    function = FunctionInfo(
        release=read_text(info, "release", "function"),
        environment=read_text(info, "environment", "function"),
        cold_start=read_field(info, "cold_start", bool, "function"),
        init_ms=read_number(info, "init_ms", "function"),
        duration_ms=read_number(info, "duration_ms", "function"),
        timeout_ms=int(read_number(info, "timeout_ms", "function")),
    )
    replies = read_field(document, "replies", list, "the response")
    if len(replies) != expected:
        raise EnvelopeError(f"the response has {len(replies)} replies to {expected} items")
    return Response(
        function, tuple(_result_from_json(r, f"replies[{i}]") for i, r in enumerate(replies))
    )


def _result_from_json(result: Any, where: str) -> Result:
    if not isinstance(result, dict):
        raise EnvelopeError(f"{where} is not an object")
    if "reply" in result or "staged" in result:
        return ReplyResult(body_from_json(result, "reply", where))
    if "members" in result:
        members = read_field(result, "members", list, where)
        if len(members) > MAX_MEMBERS:
            raise EnvelopeError(f"{where} has {len(members)} members, more than {MAX_MEMBERS}")
        return MembersResult(
            tuple(
                (read_address(m, "address", where), read_bytes(m, "hello", where)) for m in members
            )
        )
    if "deferred" in result:
        return DeferredResult()
    return _failure_from_json(read_field(result, "failure", dict, where), where)


def _failure_from_json(failure: Any, where: str) -> FailureResult:
    ran, code = read_field(failure, "ran", str, where), read_field(failure, "code", int, where)
    if not 0 <= code < 2**31:
        raise EnvelopeError(f"{where}.code is {shown(code)}: expected an error code")
    return FailureResult(
        code,
        read_text(failure, "code_name", where),
        read_text(failure, "message", where),
        "no" if ran == "no" else "yes" if ran == "yes" else "unknown",
    )
