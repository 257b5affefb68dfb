"""The compressors of OP_COMPRESSED: zlib always, snappy and zstd where a library is installed.

What comes in is hostile until shown otherwise: a compressor never produces more than the size
that the message announces, and that size has been checked before.

Spec: https://github.com/mongodb/specifications/blob/master/source/compression/OP_COMPRESSED.md
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any


class CompressionError(ValueError):
    """Compressed bytes cannot be decompressed to the size announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """One compressor of the wire protocol.

    Attributes:
        id: its number in OP_COMPRESSED.
        name: its name in ``hello``.
        compress: bytes to compressed bytes.
        decompress: compressed bytes and the size announced to at most one byte more than that.
    """

    id: int
    name: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], bytes]


def _noop_decompress(data: bytes, size: int) -> bytes:
    return data[: size + 1]


def _zlib_decompress(data: bytes, size: int) -> bytes:
    decompressor = zlib.decompressobj()
    result = decompressor.decompress(data, size + 1)
    if not decompressor.eof and len(result) <= size:
        raise CompressionError("the compressed bytes are cut off")
    return result


def _snappy() -> Compressor | None:
    try:
        snappy: Any = import_module("snappy")
    except ImportError:
        return None

    def decompress(data: bytes, size: int) -> bytes:
        if _snappy_size(data) != size:
            raise CompressionError("the compressed bytes announce another size")
        return bytes(snappy.uncompress(data))

    return Compressor(id=1, name="snappy", compress=snappy.compress, decompress=decompress)


def _snappy_size(data: bytes) -> int:
    """Return the size that the raw Snappy format announces: a varint of five bytes at most."""
    size = 0
    for index, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return size
    return -1


def _zstd() -> Compressor | None:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            zstd: Any = import_module(name)
        except ImportError:
            continue

        def decompress(data: bytes, size: int, zstd: Any = zstd) -> bytes:
            return bytes(zstd.ZstdDecompressor().decompress(data, max_length=size + 1))

        return Compressor(id=3, name="zstd", compress=zstd.compress, decompress=decompress)
    return _zstandard()


def _zstandard() -> Compressor | None:
    try:
        zstandard: Any = import_module("zstandard")
    except ImportError:
        return None

    def compress(data: bytes) -> bytes:
        return bytes(zstandard.ZstdCompressor().compress(data))

    def decompress(data: bytes, size: int) -> bytes:
        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            return bytes(reader.read(size + 1))

    return Compressor(id=3, name="zstd", compress=compress, decompress=decompress)


def _available() -> Mapping[int, Compressor]:
    noop = Compressor(id=0, name="noop", compress=bytes, decompress=_noop_decompress)
    zlib_ = Compressor(id=2, name="zlib", compress=zlib.compress, decompress=_zlib_decompress)
    found = (noop, _snappy(), zlib_, _zstd())
    return MappingProxyType({c.id: c for c in found if c is not None})


COMPRESSORS: Mapping[int, Compressor] = _available()
"""What can be read and written, by the number that OP_COMPRESSED gives it."""

NAMES: tuple[str, ...] = tuple(c.name for c in COMPRESSORS.values() if c.id)
"""What may be offered in ``hello``; ``noop`` is never offered."""


def compress(data: bytes, compressor_id: int) -> bytes:
    """Compress *data* with a compressor that is in `COMPRESSORS`."""
    return COMPRESSORS[compressor_id].compress(data)


def decompress(data: bytes, compressor_id: int, size: int) -> bytes:
    """Decompress *data* to exactly *size* bytes.

    Raises:
        CompressionError: the compressor is unknown or not installed, the bytes are damaged, or
            they hold more or less than *size*.
    """
    compressor = COMPRESSORS.get(compressor_id)
    if compressor is None:
        raise CompressionError(f"compressor {compressor_id} is unknown here")
    try:
        result = compressor.decompress(data, size)
    except CompressionError:
        raise
    except Exception as exc:  # each library has exceptions of its own
        raise CompressionError(f"{compressor.name}: {exc}") from exc
    if len(result) != size:
        raise CompressionError(f"{compressor.name}: not the {size} bytes that were announced")
    return result
