"""What a command is called where it is recorded: its name and its namespace, never its contents.

A command is read where it lies, and only its own names leave it: those of the command, the database
and the collection that it acts on. What a first value means, the policy's table of commands says:
of ``createUser`` it is a user, and is left out.

Spec: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
"""

from __future__ import annotations

import re
from typing import NamedTuple

from transports.lambda_invoke.function.policy.commands import ALIASES, COMMANDS, Target
from transports.lambda_invoke.function.policy.message import (
    ARRAY,
    DOCUMENT,
    INT32,
    STRING,
    Data,
    Element,
    elements,
    fields_of,
    read,
    truthy,
)
from transports.lambda_invoke.function.policy.refusal import Violation

UNKNOWN = "?"
"""Stands for a name that no server has: it may be anything."""

_MAX_DATABASE_BYTES = 63  # a server's own limits
_MAX_NAMESPACE_BYTES = 255
_SMALL_REPLY_BYTES = 65_536
_IN_PARTS = (b"\x04writeErrors\x00", b"\x03writeConcernError\x00")
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]{0,39}")
_NAMES_A_COLLECTION = frozenset(
    name
    for name in (*COMMANDS, *ALIASES)
    if COMMANDS[ALIASES.get(name, name)].target in (Target.READS, Target.USES)
) | {"aggregate", "killCursors"}


class Named(NamedTuple):
    """A command's names.

    Attributes:
        name: the command's, as the caller wrote it.
        namespace: ``"database.collection"``, or the database alone.
        start: where the document of section 0 begins in the message, 0 if it cannot be read.
        has_comment: whether it has a comment of its own.
    """

    name: str
    namespace: str
    start: int = 0
    has_comment: bool = False


class ServerError(NamedTuple):
    """An error that a server answered: the code, and its name where the server told it."""

    code: int
    code_name: str


_UNREADABLE = Named(UNKNOWN, "")


def read_named(message: Data) -> Named:
    """Return the names in *message*, an OP_MSG after its header; `UNKNOWN` if it is malformed."""
    try:
        command = read(message)
        fields = command.fields
        first = next(iter(fields.values()))
        name = first.name.decode() if _NAME.fullmatch(first.name) else UNKNOWN
        namespace = _text(message, fields.get(b"$db"), _MAX_DATABASE_BYTES)
        collection = _collection(message, name, first, fields)
    except Violation:
        return _UNREADABLE
    if collection:
        namespace = f"{namespace}.{collection}"
    return Named(name, namespace, command.start, b"comment" in fields)


def _collection(data: Data, name: str, first: Element, fields: dict[bytes, Element]) -> str:
    if name in _NAMES_A_COLLECTION:
        return _text(data, first, _MAX_NAMESPACE_BYTES)
    if name == "getMore":
        return _text(data, fields.get(b"collection"), _MAX_NAMESPACE_BYTES)
    if name == "explain" and first.type == DOCUMENT:
        explained = next(iter(fields_of(data, first.start, first.end).values()), None)
        if (
            explained is not None
            and explained.name.decode("ascii", "replace") in _NAMES_A_COLLECTION
        ):
            return _text(data, explained, _MAX_NAMESPACE_BYTES)
    return ""


def _text(data: Data, element: Element | None, most: int) -> str:
    if element is None or element.type != STRING:
        return ""
    end = min(element.end - 1, element.start + 4 + most)
    return data[element.start + 4 : end].decode("utf-8", "replace")


def server_error(reply: Data) -> ServerError | None:
    """Return the error in a server's *reply*, None for a success.

    A write that succeeded as a command and failed in parts has the code of the first part.
    """
    if not reply:  # none was asked for
        return None
    # Most replies are of this kind, and need not be read to their end.
    in_parts = len(reply) > _SMALL_REPLY_BYTES or any(name in reply for name in _IN_PARTS)
    try:
        found: dict[bytes, Element] = {}
        for element in elements(reply, 0):
            found[element.name] = element
            if element.name == b"ok" and not in_parts and truthy(reply, element):
                return None
        if b"ok" in found and truthy(reply, found[b"ok"]):
            return _error_in_part(reply, found)
        return _error(reply, found)
    except Violation:
        return ServerError(0, "InvalidBSON")


def _error_in_part(reply: Data, fields: dict[bytes, Element]) -> ServerError | None:
    errors = fields.get(b"writeErrors")
    if errors is not None and errors.type == ARRAY:
        for first in elements(reply, errors.start, errors.end):
            return _error(reply, fields_of(reply, first.start, first.end))
    error = fields.get(b"writeConcernError")
    if error is not None and error.type == DOCUMENT:
        return _error(reply, fields_of(reply, error.start, error.end))
    return None


def _error(reply: Data, fields: dict[bytes, Element]) -> ServerError:
    code = fields.get(b"code")
    number = 0
    if code is not None and code.type == INT32:
        number = int.from_bytes(reply[code.start : code.end], "little", signed=True)
    return ServerError(number, _text(reply, fields.get(b"codeName"), 63))
