"""OP_MSG bodies for the tests of the policy, as a driver makes them and as it never would."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import bson
from bson.binary import Binary

SESSION = {"id": Binary(bytes(range(16)), 4)}

Document = Mapping[str, Any]


def section(document: Document | bytes) -> bytes:
    """A section of kind 0."""
    return b"\x00" + (document if isinstance(document, bytes) else bson.encode(document))


def sequence(name: str, documents: Iterable[Document]) -> bytes:
    """A section of kind 1."""
    body = name.encode() + b"\x00" + b"".join(map(bson.encode, documents))
    return b"\x01" + struct.pack("<i", len(body) + 4) + body


def message(
    command: Document, database: str | None = "cms", *, flags: int = 0, **sequences: list[Document]
) -> bytes:
    """A message: flags, the command with its ``$db``, document sequences."""
    body = dict(command) if database is None else {**command, "$db": database}
    parts = [struct.pack("<I", flags), section(body)]
    return b"".join(parts + [sequence(*each) for each in sequences.items()])


def raw(*fields: tuple[str, Any]) -> bytes:
    """A BSON document whose fields may repeat."""
    elements = b"".join(bson.encode({name: value})[4:-1] for name, value in fields)
    return struct.pack("<i", len(elements) + 5) + elements + b"\x00"


def flat(*fields: tuple[str, Any]) -> bytes:
    """A message with a body of `raw` fields."""
    return bytes(4) + section(raw(*fields))


def decoded(sent: bytes | bytearray) -> dict[str, Any]:
    """The command of a message whose first section is of kind 0."""
    size = struct.unpack_from("<i", sent, 5)[0]
    return bson.decode(bytes(sent[5 : 5 + size]))
