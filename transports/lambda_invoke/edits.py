"""Changing fields of a command where they lie, nothing decoded: the same on both sides.

Pure functions over bytes: no I/O, standard library only. What is a field, and where, others say
(`endpoint.elements` to a caller, `function.policy.message` to the function).

Spec: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Protocol

SECTION = 5
"""Where the document of a message's first section begins: behind the flags and the kind."""

_INT32 = struct.Struct("<i")
_INT32_TYPE = b"\x10"


class Field(Protocol):
    """A field of a command: its name, and where its value begins and ends in the message."""

    @property
    def name(self) -> bytes: ...  # noqa: D102 - as the class says, these three
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def end(self) -> int: ...  # noqa: D102


def int32(name: bytes, value: int) -> bytes:
    """Return a field that holds an int32."""
    return _INT32_TYPE + name + b"\x00" + _INT32.pack(value)


def with_fields(
    message: bytes | bytearray, start: int, added: bytes, instead_of: Iterable[Field] = ()
) -> bytes:
    """Return *message* with more fields at the end of its command.

    Args:
        message: flags and sections.
        start: where the document of the section of kind 0 begins.
        added: fields, as BSON has them.
        instead_of: fields of that document that are left out, in their order.
    """
    (length,) = _INT32.unpack_from(message, start)
    last, size = start + length - 1, length + len(added)
    pieces, position = [message[:start], b""], start + 4
    for field in instead_of:
        before = field.start - len(field.name) - 2  # its type, and the zero byte behind its name
        pieces.append(message[position:before])
        position = field.end
        size -= position - before
    pieces[1] = _INT32.pack(size)
    pieces += (message[position:last], added, message[last:])
    return b"".join(pieces)


def with_int32(message: bytes, name: bytes, value: int, instead_of: Field | None = None) -> bytes:
    """Return *message* with one more field, an int32, at the end of its command.

    Args:
        message: flags and sections, that of kind 0 first.
        name: the field's.
        value: the field's.
        instead_of: a field of that name, which is left out.
    """
    left_out = () if instead_of is None else (instead_of,)
    return with_fields(message, SECTION, int32(name, value), left_out)
