"""How a message or reply of any size fits into invokes of at most 6 MB: the same on both sides.

A synchronous payload holds about 4.5 MB of BSON, a message up to 48 MB. In this order:

1. what fits travels as it is: the ordinary command pays for nothing;
2. what does not is compressed with zlib, and travels so if it fits then;
3. else it is cut into parts, which wait in MongoDB itself (`function.staging`) until all have
   arrived: execution environments share no other memory, and which one gets an invoke is not ours
   to choose.

Pure functions over bytes: no I/O, standard library only.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from zlib import _Decompress  # the stub's name for what decompressobj() makes

PART_BYTES = 4_500_000
"""Bytes of one part, and the most that travels inside an envelope: base64 makes 6,000,000 of
them, which leaves 291,456 of AWS Lambda's limit for the rest."""

MAX_BODY_BYTES = 48_000_000 + 65_536
"""The longest message a server takes (``maxMessageSizeBytes``), and something for its frame."""

MAX_PARTS = MAX_BODY_BYTES // PART_BYTES + 1

# Level 1 is three times as fast as 6 for a tenth more bytes.
_LEVEL = 1
# Encrypted or compressed already: a few samples tell, in 10 ms.
_SAMPLES, _SAMPLE_BYTES = 8, 32_768
_WORTH_IT = 0.95
_PIECE_BYTES = 1_048_576

Encoding = Literal["", "zlib"]


class BodyError(ValueError):
    """The bytes are not what their envelope says."""


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a message or reply on their way.

    Attributes:
        data: the bytes, or ``b""`` while they are staged.
        encoding: ``"zlib"`` if they are compressed.
        staged: the identifier under which parts wait in MongoDB, ``""`` for none.
        parts: how many.
    """

    data: bytes = b""
    encoding: Encoding = ""
    staged: str = ""
    parts: int = 0


def fits(size: int) -> bool:
    """Whether *size* bytes travel inside an envelope."""
    return size <= PART_BYTES


def compress(data: bytes) -> tuple[bytes, Encoding]:
    """Return *data* in fewer bytes, or as it is where that does not help."""
    if not _is_compressible(data):
        return data, ""
    compressed = zlib.compress(data, _LEVEL)
    if len(compressed) < len(data):
        return compressed, "zlib"
    return data, ""


def _is_compressible(data: bytes) -> bool:
    """Whether samples of *data* get shorter: 48 MB that do not would take more than a second."""
    if len(data) <= _SAMPLES * _SAMPLE_BYTES:
        return True
    view, step = memoryview(data), len(data) // _SAMPLES
    samples = (view[i * step : i * step + _SAMPLE_BYTES] for i in range(_SAMPLES))
    compressed = sum(len(zlib.compress(sample, _LEVEL)) for sample in samples)
    return compressed < _WORTH_IT * _SAMPLES * _SAMPLE_BYTES


def decompress(data: bytes, encoding: Encoding) -> bytes | bytearray:
    """Return what `compress` was given.

    Raises:
        BodyError: it is not zlib data, or would be longer than `MAX_BODY_BYTES`.
    """
    return join((data,), encoding) if encoding else data


def join(parts: Iterable[bytes], encoding: Encoding) -> bytearray:
    """Return the body that *parts* make, decompressed piece by piece: nothing is there twice.

    Raises:
        BodyError: they are not zlib data, or would make more than `MAX_BODY_BYTES`.
    """
    whole = bytearray()
    decoder = zlib.decompressobj() if encoding else None
    for part in parts:
        for piece in _inflate(decoder, part) if decoder is not None else (part,):
            if len(whole) + len(piece) > MAX_BODY_BYTES:
                raise BodyError(f"the body is longer than {MAX_BODY_BYTES:,} bytes")
            whole += piece
    if decoder is not None and not decoder.eof:
        raise BodyError("the body is cut off")
    return whole


def _inflate(decoder: _Decompress, part: bytes) -> Iterator[bytes]:
    view = memoryview(part)
    for start in range(0, len(part), _PIECE_BYTES):
        waiting: bytes | memoryview = view[start : start + _PIECE_BYTES]
        while waiting and not decoder.eof:
            try:
                yield decoder.decompress(waiting, _PIECE_BYTES)
            except zlib.error as error:
                raise BodyError(f"the body is not zlib data: {error}") from error
            waiting = decoder.unconsumed_tail
        if waiting or decoder.unused_data:
            raise BodyError("the body goes on after its end")


def split(data: bytes) -> Iterator[memoryview]:
    """Yield the parts of *data*, none longer than `PART_BYTES`."""
    view = memoryview(data)
    for start in range(0, len(data), PART_BYTES):
        yield view[start : start + PART_BYTES]
