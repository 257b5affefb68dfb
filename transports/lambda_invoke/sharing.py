"""Which commands may share an invoke, and what it does to them.

The answers of a batch come back together, when the slowest is done. So in a batch there is only
what may be cut short and sent again by itself: what reads outside of transactions, and the
retryable writes, whose ``txnNumber`` makes a repetition harmless. Such a command travels with a
``maxTimeMS`` (`bounded`), and if that ended it (`was_cut_short`), it is repeated alone, as it was.
A cursor that it leaves open would have the same limit for all its batches together, so it is closed
(`kill_cursor`) and the command repeated as well. `Loners` remembers the shape of what had to be
repeated.

Pure functions over bytes; no I/O.

Spec: https://www.mongodb.com/docs/manual/reference/method/cursor.maxTimeMS/
https://github.com/mongodb/specifications/blob/master/source/retryable-writes/retryable-writes.md
"""

from __future__ import annotations

import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import bson
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS

from transports.endpoint.backend import Request
from transports.endpoint.elements import (
    DOCUMENT,
    STRING,
    Element,
    MalformedDocument,
    elements,
    find,
    number,
    text,
)
from transports.endpoint.replies import cursor_id
from transports.lambda_invoke.edits import SECTION, with_int32

MAX_MESSAGE_BYTES = 65_536
"""A longer message travels alone: it would hold up what is with it."""

MAX_REPLY_BYTES = 65_536
"""What has been answered with more travels alone from then on."""

MAX_LONERS = 1_000
LONER_S = 60.0
"""How long a shape is remembered: a query becomes fast again, by an index for example."""

_ARRAY = 0x04
_INT32 = struct.Struct("<i")
_MAX_TIME_EXPIRED = 50
_MAX_LIMIT_MS = 2**31 - 1
_EXPIRED_CODE = b"code\x00" + _INT32.pack(_MAX_TIME_EXPIRED)
_NO_WRITES_PERFORMED = "NoWritesPerformed"
_READS = frozenset({"find", "aggregate", "count", "distinct"})
_WRITES = frozenset({"insert", "update", "delete", "findAndModify"})
# What only a command has that is more than one read or one repeatable write.
_APART = frozenset({b"autocommit", b"startTransaction", b"tailable", b"awaitData", b"explain"})
_STAGES_APART = frozenset({b"$out", b"$merge", b"$changeStream", b"$currentOp", b"$listSessions"})
# Where a command says what it looks for.
_CRITERIA = (b"filter", b"query", b"pipeline", b"key", b"sort")

Shape = tuple[str, str, bytes]
"""What is alike in commands that take about as long: name, database, digest of the rest."""


@dataclass(frozen=True, slots=True)
class Shareable:
    """A command that may share an invoke.

    Attributes:
        request: the command.
        session: bytes of its ``lsid``, ``b""`` for none.
        fields: its fields by name, and where they lie in the message.
    """

    request: Request
    session: bytes
    fields: Mapping[bytes, Element]


def shareable(request: Request) -> Shareable | None:
    """Return *request* as one that may share an invoke, None if it may not."""
    name, message = request.name, request.message
    writes = name in _WRITES
    if not (writes or name in _READS) or not request.acknowledged:
        return None
    if len(message) > MAX_MESSAGE_BYTES or message[:SECTION] != bytes(SECTION):
        return None
    try:
        fields = {element.name: element for element in elements(message, SECTION)}
        if not _APART.isdisjoint(fields) or (writes and b"txnNumber" not in fields):
            return None
        if not _is_limit(message, fields.get(b"maxTimeMS")):
            return None
        if name == "aggregate" and not _only_reads(message, fields.get(b"pipeline")):
            return None
    except MalformedDocument:
        return None  # the server will say so
    lsid = fields.get(b"lsid")
    return Shareable(request, message[lsid.start : lsid.end] if lsid is not None else b"", fields)


def _is_limit(message: bytes, element: Element | None) -> bool:
    """Whether a ``maxTimeMS`` is one that a server takes: another one is the server's to refuse."""
    if element is None:
        return True
    value = number(message, element)
    return value is not None and 0 <= value <= _MAX_LIMIT_MS and value == int(value)


def _only_reads(message: bytes, pipeline: Element | None) -> bool:
    return pipeline is not None and all(
        stage not in _STAGES_APART for stage in _stages(message, pipeline)
    )


def _stages(message: bytes, pipeline: Element) -> Iterator[bytes]:
    if pipeline.type == _ARRAY:
        for stage in elements(message, pipeline.start):
            if stage.type == DOCUMENT:
                yield next((element.name for element in elements(message, stage.start)), b"")


def bounded(command: Shareable, limit_ms: int) -> bytes | None:
    """Return the message with a ``maxTimeMS`` of *limit_ms*, None if its own is not longer."""
    message = command.request.message
    own = command.fields.get(b"maxTimeMS")
    if own is not None:
        value = number(message, own)
        if value is not None and 0 < value <= limit_ms:
            return None
    return with_int32(message, b"maxTimeMS", limit_ms, own)


def was_cut_short(reply: bytes) -> bool:
    """Whether *reply* tells of a ``maxTimeMS`` that ended: its own, or its write concern's."""
    if _EXPIRED_CODE not in reply:  # nearly always
        return False
    try:
        answer = bson.decode(reply)
    except Exception:  # of many kinds; whoever reads it will say so
        return False
    errors = [answer, answer.get("writeConcernError"), *(answer.get("writeErrors") or ())]
    return any(
        isinstance(error, Mapping) and error.get("code") == _MAX_TIME_EXPIRED for error in errors
    )


def without_denial(reply: bytes) -> bytes:
    """Return *reply*, to a command that ran before, without a label that says that it did not.

    A server says of this attempt alone that it wrote nothing, and a driver believes it of all.
    """
    if _NO_WRITES_PERFORMED.encode() not in reply:  # nearly always
        return reply
    try:
        answer = bson.decode(reply, DEFAULT_RAW_BSON_OPTIONS)
        labels = answer.get("errorLabels")
        if not isinstance(labels, list):
            return reply
        kept = [label for label in labels if label != _NO_WRITES_PERFORMED]
        return bson.encode({**answer, "errorLabels": kept})
    except Exception:  # of many kinds; whoever reads it will say so
        return reply


def kill_cursor(request: Request, reply: bytes) -> Request | None:
    """Return the command that closes the cursor that *reply* leaves open, None for none."""
    identifier = cursor_id(reply)
    if not identifier:
        return None
    try:
        cursor = find(reply, b"cursor")
        namespace = find(reply, b"ns", cursor.start) if cursor is not None else None
    except MalformedDocument:
        return None  # whoever reads it will say so
    if namespace is None or namespace.type != STRING:
        return None
    database, _, collection = text(reply, namespace).partition(".")
    command = {"killCursors": collection, "cursors": [bson.Int64(identifier)], "$db": database}
    message = bytes(SECTION) + bson.encode(command)
    return Request(server=request.server, message=message, name="killCursors", database=database)


class Loners:
    """The shapes of commands that had to be repeated alone, or whose replies are large.

    Args:
        clock: seconds, never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[Shape, float] = OrderedDict()

    def __contains__(self, command: Shareable) -> bool:
        """Whether *command* is one of them."""
        if not self._until:
            return False
        shape = shape_of(command)
        until = self._until.get(shape)
        if until is None:
            return False
        if until < self._clock():
            del self._until[shape]
            return False
        return True

    def add(self, command: Shareable) -> None:
        """Let commands like *command* travel alone for `LONER_S` seconds."""
        shape = shape_of(command)
        self._until[shape] = self._clock() + LONER_S
        self._until.move_to_end(shape)
        if len(self._until) > MAX_LONERS:
            self._until.popitem(last=False)


def shape_of(command: Shareable) -> Shape:
    """Return the shape of *command*: its collection, and which fields it looks for."""
    message, fields = command.request.message, command.fields
    first = next(iter(fields.values()))
    parts = [message[first.start : first.end] if first.type == STRING else b""]
    for name in _CRITERIA:
        criterion = fields.get(name)
        if criterion is None:
            continue
        parts.append(name)
        try:
            if name == b"pipeline":
                parts += _stages(message, criterion)
            elif criterion.type == DOCUMENT:
                parts += [element.name for element in elements(message, criterion.start)]
        except MalformedDocument:
            break
    if b"limit" in fields:  # without one, it may leave a cursor
        parts.append(b"limit")
    return command.request.name, command.request.database, b"\x00".join(parts)
