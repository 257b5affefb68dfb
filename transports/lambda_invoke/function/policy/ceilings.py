"""Ceilings: a command asks for no more time and no more documents at a time than the policy says.

Nor for the names of other databases than its own.

More is lowered, not refused: a larger maxTimeMS or batchSize is a wish, and what comes of the lower
one is what a driver knows anyway, a ``MaxTimeMSExpired`` or one more ``getMore``. Only where fewer
documents would look like all of them (``singleBatch``) is the command refused.

``maxTimeMS`` means something else on the ``getMore`` of a cursor that awaits data (how long to
wait), and is an error on other ones, so it is never added to a ``getMore``. It need not be: the
server takes what a cursor's batches may use altogether from the command that opened it.

Source: https://www.mongodb.com/docs/manual/reference/command/getMore/
"""

from __future__ import annotations

import struct

import bson

from transports.lambda_invoke.edits import int32, with_fields
from transports.lambda_invoke.function.policy.commands import Command, Target
from transports.lambda_invoke.function.policy.message import (
    DOCUMENT,
    Data,
    Element,
    Message,
    fields_of,
    truthy,
    whole_number,
)
from transports.lambda_invoke.function.policy.refusal import Violation
from transports.lambda_invoke.function.policy.rules import EVERY, Rules

_DEFAULT_BATCH = 101  # the server's own first batch
_INT32 = struct.Struct("<i")
_DOCUMENT_TYPE, _ARRAY_TYPE = b"\x03", b"\x04"


def lower(rules: Rules, message: Message, command: Command | None) -> Data:
    """Return the message's bytes, with what exceeds a ceiling lowered to it.

    Raises:
        Violation: that would change the result.
    """
    changes: dict[bytes, bytes] = {}
    if rules.max_time_ms is not None and _exceeds_time(
        rules.max_time_ms, message, timed=command is None or command.timed
    ):
        changes[b"maxTimeMS"] = int32(b"maxTimeMS", rules.max_time_ms)
    if rules.max_batch_size is not None and command is not None:
        changes |= _batch_size(rules.max_batch_size, message, command)
    if command is not None and command.target is Target.EVERY_DATABASE:
        changes |= _database_names(rules, message)
    if not changes:
        return message.data
    changed = [field for name, field in message.fields.items() if name in changes]
    return with_fields(message.data, message.start, b"".join(changes.values()), changed)


def _exceeds_time(ceiling: int, message: Message, *, timed: bool) -> bool:
    given = message.fields.get(b"maxTimeMS")
    if given is None:
        return timed
    value = whole_number(message.data, given)
    return value > ceiling or (value == 0 and timed)  # 0 stands for no limit


def _batch_size(ceiling: int, message: Message, command: Command) -> dict[bytes, bytes]:
    fields, data = message.fields, message.data
    if command.name in ("find", "getMore"):
        default = 0 if command.name == "getMore" else _DEFAULT_BATCH
        wanted = _number(data, fields.get(b"batchSize"), default)
        if command.name == "getMore" and wanted == 0:
            wanted = ceiling + 1  # as many as there are
        limit = _number(data, fields.get(b"limit"), 0)
        if wanted <= ceiling or 0 < limit <= ceiling:
            return {}
        if b"singleBatch" in fields and truthy(data, fields[b"singleBatch"]):
            raise Violation(f"allows no more than {ceiling} documents in one batch (maxBatchSize)")
        return {b"batchSize": int32(b"batchSize", ceiling)}
    if b"cursor" not in command.special:
        return {}
    cursor = fields.get(b"cursor")
    if cursor is None and command.name == "aggregate":
        return {}  # explain; for all else the server wants one
    inner = {} if cursor is None else fields_of(data, cursor.start, cursor.end)
    # All others give as many as there are.
    default = _DEFAULT_BATCH if command.name == "aggregate" else ceiling + 1
    if _number(data, inner.get(b"batchSize"), default) <= ceiling:
        return {}
    return {b"cursor": _subdocument(b"cursor", int32(b"batchSize", ceiling))}


def _database_names(rules: Rules, message: Message) -> dict[bytes, bytes]:
    """Have ``listDatabases`` tell of allowed databases, as a server does of a user's own."""
    if EVERY in rules.databases:
        return {}
    allowed = bson.encode({"name": {"$in": sorted(rules.databases)}})
    wanted = message.fields.get(b"filter")
    if wanted is None:
        return {b"filter": _DOCUMENT_TYPE + b"filter\x00" + allowed}
    if wanted.type != DOCUMENT:
        raise Violation("takes a filter as a document only")
    given = message.data[wanted.start : wanted.end]
    both = _DOCUMENT_TYPE + b"0\x00" + allowed + _DOCUMENT_TYPE + b"1\x00" + given
    clauses = _ARRAY_TYPE + _subdocument(b"$and", both)[1:]
    return {b"filter": _subdocument(b"filter", clauses)}


def _subdocument(name: bytes, fields: bytes) -> bytes:
    return b"".join((_DOCUMENT_TYPE, name, b"\x00", _INT32.pack(len(fields) + 5), fields, b"\x00"))


def _number(data: Data, element: Element | None, default: int) -> int:
    return default if element is None else whole_number(data, element)
