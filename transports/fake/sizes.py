"""How long documents may be: what a message carries, what a write makes, what a reply gives back.

A stored document has at most 16 MiB; one on its way may have 16 KiB more. Documents are measured
as they arrive, by the lengths that the message states. What an update makes is encoded only when
it could be too long: until as many bytes have arrived as a document may have, none can be.

Spec: https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-BSON-Document-Size
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import bson
from bson.raw_bson import RawBSONDocument

from transports.fake.bson_text import render
from transports.fake.errors import BAD_VALUE, BSON_OBJECT_TOO_LARGE, CommandFailure
from transports.fake.values import Document
from transports.fake.wire import CODEC

MAX_DOCUMENT_BYTES: Final = 16_777_216
MAX_INTERNAL_BYTES: Final = MAX_DOCUMENT_BYTES + 16 * 1024

_UPDATED_TOO_LARGE: Final = 17419
_UPSERTED_TOO_LARGE: Final = 17420
_STRING_TOO_LONG: Final = 16493
_DISTINCT_TOO_BIG: Final = 17217
_DISTINCT_ROOM: Final = 4117
"""What the server keeps free of the 16 MiB in the reply of ``distinct``; measured."""
_SHOWN_WHOLE: Final = 160
_SHOWN: Final = 150
_FAR_INDEX: Final = re.compile(r"\.\d{4}")
_length = struct.Struct("<i").unpack_from


@dataclass(frozen=True, slots=True)
class Measured:
    """The length of a command's message.

    Attributes:
        total: of the whole message, in bytes.
        oversized: place → length of each of its ``documents`` that is too long to be stored.
    """

    total: int
    oversized: Mapping[int, int] = field(default_factory=dict)


class Received:
    """The bytes that have come in: no document that was made of them can be longer.

    Some writes repeat what they are given, such as a pipeline; after one of these nothing is
    known, and every update is measured.
    """

    def __init__(self) -> None:
        self._total = 0

    def add(self, count: int) -> None:
        """Count a message."""
        self._total += count

    def forget(self) -> None:
        """Take note of a write that may repeat what it was given."""
        self._total = max(self._total, MAX_DOCUMENT_BYTES + 1)

    @property
    def near_limit(self) -> bool:
        """Whether a reply of one document may be too long with what belongs to the reply."""
        return self._total > MAX_DOCUMENT_BYTES // 2

    def may_exceed(self, update: Any) -> bool:
        """Tell whether a document may be too long after an update by ``u``, None for no ``u``."""
        if self._total <= MAX_DOCUMENT_BYTES and update is not None and _repeats(update):
            self.forget()
        return self._total > MAX_DOCUMENT_BYTES


def _repeats(update: Any) -> bool:
    """Tell whether an update may write more than it says: a pipeline, ``a.$[]``, ``a.150000``."""
    if type(update) is list:
        return True
    return any(
        "$[" in path or _FAR_INDEX.search(path) is not None
        for fields in update.values()
        if type(fields) is dict
        for path in fields
    )


def measure(message: bytes) -> Measured:
    """Return how long a message is, and which documents to insert are too long.

    Args:
        message: an OP_MSG after its header.

    Raises:
        CommandFailure: 10334 for a document of more than 16 MiB and 16 KiB.
    """
    oversized: dict[int, int] = {}
    if len(message) <= MAX_DOCUMENT_BYTES:
        return Measured(len(message))
    position = 4
    while position < len(message):
        (size,) = _length(message, position + 1)
        start, end = position + 1, position + 1 + size
        if message[position]:
            start = message.index(b"\x00", start + 4) + 1
        place = 0
        while start < end:
            (size,) = _length(message, start)
            if size > MAX_INTERNAL_BYTES:
                raise too_large(size, bson.decode(message[start : start + size], CODEC))
            if size > MAX_DOCUMENT_BYTES:
                if message[position]:
                    oversized[place] = size
                else:
                    oversized |= _oversized_inside(message[start : start + size])
            place += 1
            start += size
        position = end
    return Measured(len(message), oversized)


def _oversized_inside(body: bytes) -> dict[int, int]:
    documents = RawBSONDocument(body).get("documents")
    if type(documents) is not list:
        return {}
    lengths = {
        place: len(document.raw)
        for place, document in enumerate(documents)
        if isinstance(document, RawBSONDocument)
    }
    return {place: size for place, size in lengths.items() if size > MAX_DOCUMENT_BYTES}


def check_inserted(size: int) -> None:
    """Refuse a document to insert that is too long.

    Raises:
        CommandFailure: 2 BadValue.
    """
    if size > MAX_DOCUMENT_BYTES:
        raise CommandFailure(
            BAD_VALUE,
            f"object to insert too large. size in bytes: {size}, max size: {MAX_DOCUMENT_BYTES}",
        )


def check_updated(received: Received, new: Document, update: Any) -> None:
    """Refuse what an update makes of a document, if that is too long.

    Raises:
        CommandFailure: 17419, 10334.
    """
    if received.may_exceed(update) and check_built(new) > MAX_DOCUMENT_BYTES:
        raise CommandFailure(
            _UPDATED_TOO_LARGE,
            f"Resulting document after update is larger than {MAX_DOCUMENT_BYTES}",
        )


def check_upserted(received: Received, new: Document, update: Any) -> None:
    """Refuse what an upsert would insert, if that is too long.

    Raises:
        CommandFailure: 17420, 10334.
    """
    if received.may_exceed(update) and check_built(new) > MAX_DOCUMENT_BYTES:
        raise CommandFailure(
            _UPSERTED_TOO_LARGE, f"Document to upsert is larger than {MAX_DOCUMENT_BYTES}"
        )


def check_built(document: Document) -> int:
    """Return the length of a document that the server has to build.

    Raises:
        CommandFailure: 10334 BSONObjectTooLarge.
    """
    size = len(bson.encode(document, codec_options=CODEC))
    if size > MAX_INTERNAL_BYTES:
        raise too_large(size, document)
    return size


def check_distinct(received: Received, values: list[Any]) -> None:
    """Refuse more values of ``distinct`` than a reply holds.

    Raises:
        CommandFailure: 17217.
    """
    if not received.near_limit:
        return
    size = len(bson.encode({"values": values}, codec_options=CODEC))
    if size > MAX_DOCUMENT_BYTES - _DISTINCT_ROOM:
        raise CommandFailure(
            _DISTINCT_TOO_BIG,
            "Executor error during distinct command :: caused by :: distinct too big, 16mb cap",
        )


def checked_string(text: str) -> str:
    """Return a string that an expression has put together.

    Raises:
        CommandFailure: 16493 for one of 16 MiB or more.
    """
    if len(text) * 4 >= MAX_DOCUMENT_BYTES and len(text.encode()) >= MAX_DOCUMENT_BYTES:
        raise CommandFailure(_STRING_TOO_LONG, "Tried to create string longer than 16MB")
    return text


def too_large(size: int, document: Document) -> CommandFailure:
    """Return the refusal of a document that no BSON can hold; it names the first field."""
    name = next(iter(document))
    return CommandFailure(
        BSON_OBJECT_TOO_LARGE,
        f"BSONObj size: {size} (0x{size:X}) is invalid. Size must be between 0 and "
        f"{MAX_INTERNAL_BYTES}(16MB) First element: {name}: {render(_shortened(document[name]))}",
    )


def _shortened(value: Any) -> Any:
    if type(value) is str and len(value) >= _SHOWN_WHOLE:
        return value[:_SHOWN] + "..."
    if type(value) is dict:
        return {name: _shortened(member) for name, member in value.items()}
    if type(value) is list:
        return [_shortened(element) for element in value]
    return value
