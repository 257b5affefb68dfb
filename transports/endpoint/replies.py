"""What an endpoint reads in a server's reply, in one walk over its top level.

The reply itself goes to the client as it is. Read are the newest times, which ``hello`` repeats;
the codes that say that a server has changed its state; the cursor of a ``getMore``; and, for an
observer, whether it tells of a failure.
"""

from __future__ import annotations

from typing import NamedTuple

from transports.endpoint.elements import (
    ARRAY,
    DOCUMENT,
    INT32,
    INT64,
    STRING,
    TIMESTAMP,
    MalformedDocument,
    document_end,
    elements,
    find,
    number,
    text,
    timestamp,
)

STATE_CHANGE_CODES = frozenset(
    {
        91,  # ShutdownInProgress
        189,  # PrimarySteppedDown
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)
"""Codes after which a driver looks at the server again.

Spec: server-discovery-and-monitoring, "not writable primary" and "node is recovering" errors.
"""


class ReplyFacts(NamedTuple):
    """What one reply tells.

    Attributes:
        state_changed: it carries one of `STATE_CHANGE_CODES`, at its top or as the error of its
            write concern.
        cluster_time: ``$clusterTime.clusterTime`` as one number that orders, 0 for none.
        cluster_time_document: the bytes of ``$clusterTime``, None for none.
        operation_time: ``operationTime`` as one number that orders, 0 for none.
    """

    state_changed: bool = False
    cluster_time: int = 0
    cluster_time_document: tuple[int, int] | None = None
    operation_time: int = 0


def read_reply(reply: bytes) -> ReplyFacts:
    """Read *reply*, one BSON document.

    Raises:
        MalformedDocument: it is none.
    """
    state_changed, cluster_time, operation_time = False, 0, 0
    where: tuple[int, int] | None = None
    for element in elements(reply):
        name = element.name
        if name == b"code":
            state_changed = state_changed or number(reply, element) in STATE_CHANGE_CODES
        elif name == b"operationTime":
            if element.type == TIMESTAMP:
                operation_time = timestamp(reply, element)
        elif name == b"$clusterTime":
            if element.type == DOCUMENT:
                found = find(reply, b"clusterTime", element.start)
                if found is not None and found.type == TIMESTAMP:
                    cluster_time = timestamp(reply, found)
                    where = (element.start, element.end)
        elif name == b"writeConcernError" and element.type == DOCUMENT:
            code = find(reply, b"code", element.start)
            if code is not None and number(reply, code) in STATE_CHANGE_CODES:
                state_changed = True
    return ReplyFacts(state_changed, cluster_time, where, operation_time)


class ReplyFailure(NamedTuple):
    """What a reply says of a failure: its code, 0 for none given, and its name or ``""``."""

    code: int
    code_name: str = ""


def read_failure(reply: bytes) -> ReplyFailure | None:
    """Return the failure that *reply* tells of, None for a success.

    That is the command's own, or else the first of its ``writeErrors`` or its write concern's.
    """
    ok, code, code_name = True, 0, ""
    nested: ReplyFailure | None = None
    try:
        for element in elements(reply):
            name = element.name
            if name == b"ok":
                ok = bool(number(reply, element))
            elif name == b"code":
                code = int(number(reply, element) or 0)
            elif name == b"codeName" and element.type == STRING:
                code_name = text(reply, element)
            elif name == b"writeErrors" and element.type == ARRAY:
                first = next(elements(reply, element.start), None)
                if first is not None and first.type == DOCUMENT:
                    nested = _nested_failure(reply, first.start)
            elif name == b"writeConcernError" and element.type == DOCUMENT:
                nested = nested or _nested_failure(reply, element.start)
    except MalformedDocument:
        return nested
    return nested if ok else ReplyFailure(code, code_name)


def _nested_failure(reply: bytes, start: int) -> ReplyFailure:
    code, code_name = find(reply, b"code", start), find(reply, b"codeName", start)
    return ReplyFailure(
        int(number(reply, code) or 0) if code is not None else 0,
        text(reply, code_name) if code_name is not None and code_name.type == STRING else "",
    )


def is_document(reply: bytes) -> bool:
    """Whether *reply* has the frame of one BSON document; its elements are not looked at."""
    try:
        return document_end(reply) == len(reply)
    except MalformedDocument:
        return False


def cursor_id(reply: bytes) -> int:
    """Return ``cursor.id`` of *reply*, 0 where there is none or the reply is an error."""
    try:
        cursor = find(reply, b"cursor")
        if cursor is None or cursor.type != DOCUMENT:
            return 0
        found = find(reply, b"id", cursor.start)
    except MalformedDocument:
        return 0
    if found is None or found.type not in (INT32, INT64):
        return 0
    return int.from_bytes(reply[found.start : found.end], "little", signed=True)
