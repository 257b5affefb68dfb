"""The bytes of a command and of a reply: OP_MSG sections to one document, and back.

No state, no clock, no I/O. Values are decoded into what `transports.fake.values` understands.

Spec: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
"""

from __future__ import annotations

import struct
from typing import Any, Final

import bson
from bson import DBRef
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError

from transports.fake.errors import CommandFailure
from transports.fake.values import Document

CODEC: Final[CodecOptions[Document]] = CodecOptions(
    document_class=dict,
    tz_aware=False,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
MAX_REPLY_BYTES: Final = 16_777_216 + 16_384
"""A reply is a BSON document of 16 MiB, and 16 KiB around it."""
_INVALID_BSON: Final = 22
_DBREF_FIELD: Final = b"$ref\x00"
_length = struct.Struct("<i").unpack_from


def decode_message(message: bytes) -> Document:
    """Return the command that an OP_MSG (after its header) carries.

    Document sequences become arrays of the command document, as the server merges them.

    Raises:
        CommandFailure: 22 InvalidBSON.
    """
    try:
        if message[4:5] == b"\x00" and _length(message, 5)[0] == len(message) - 5:
            command = bson.decode(message[5:], CODEC)
        else:
            command = _decode_sections(message)
    except (BSONError, struct.error, IndexError, ValueError) as error:
        raise CommandFailure(_INVALID_BSON, f"cannot read the message: {error}") from error
    if _DBREF_FIELD in message:
        command = {name: plain(value) for name, value in command.items()}
    return command


def _decode_sections(message: bytes) -> Document:
    command: Document = {}
    sequences: Document = {}
    view = memoryview(message)
    position = 4
    while position < len(message):
        kind = message[position]
        (size,) = _length(message, position + 1)
        start, end = position + 1, position + 1 + size
        if kind == 0:
            command = bson.decode(view[start:end], CODEC)
        elif kind == 1:
            name_end = message.index(b"\x00", start + 4)
            name = message[start + 4 : name_end].decode()
            sequences[name] = bson.decode_all(view[name_end + 1 : end], CODEC)
        else:
            raise CommandFailure(_INVALID_BSON, f"Unknown section kind: {kind}")
        position = end
    command.update(sequences)
    return command


def encode_reply(reply: Document) -> bytes:
    """Return the BSON of a reply."""
    return bson.encode(reply, codec_options=CODEC)


def encode_message(command: Document) -> bytes:
    """Return a command as the OP_MSG that a driver would send, after its header."""
    return b"\x00\x00\x00\x00\x00" + bson.encode(command, codec_options=CODEC)


def plain(value: Any) -> Any:
    """Return a value with the driver's `DBRef` objects turned back into plain documents."""
    kind = type(value)
    if kind is dict:
        return {name: plain(v) for name, v in value.items()}
    if kind is list:
        return [plain(v) for v in value]
    if kind is DBRef:
        document = {"$ref": value.collection, "$id": plain(value.id)}
        if value.database is not None:
            document["$db"] = value.database
        extra: Document = value._DBRef__kwargs
        document.update({name: plain(v) for name, v in extra.items()})
        return document
    return value
