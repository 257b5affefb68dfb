"""Changing one field of a command where it lies, nothing decoded.

Spec: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
"""

from __future__ import annotations

import struct

from transports.endpoint.elements import Element

SECTION = 5
"""Where the document of a message's first section begins: behind the flags and the kind."""

_INT32 = struct.Struct("<i")
_INT32_TYPE = b"\x10"


def with_int32(message: bytes, name: bytes, value: int, instead_of: Element | None = None) -> bytes:
    """Return *message* with one more field, an int32, at the end of its command.

    Args:
        message: flags and sections, that of kind 0 first.
        name: the field's.
        value: the field's.
        instead_of: a field of that name, in whose place it is then.
    """
    last = SECTION + int(_INT32.unpack_from(message, SECTION)[0]) - 1
    before, after = last, last
    if instead_of is not None:
        before, after = instead_of.start - len(name) - 2, instead_of.end
    element = _INT32_TYPE + name + b"\x00" + _INT32.pack(value)
    size = last + 1 - SECTION + len(element) - (after - before)
    return b"".join(
        (
            message[:SECTION],
            _INT32.pack(size),
            message[SECTION + 4 : before],
            element,
            message[after:],
        )
    )
