"""The compressors of OP_COMPRESSED."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.endpoint.compression import (
    COMPRESSORS,
    NAMES,
    CompressionError,
    compress,
    decompress,
)

every_compressor = pytest.mark.parametrize("compressor_id", sorted(COMPRESSORS))


def test_zlib_is_always_there_and_noop_is_never_offered() -> None:
    assert "zlib" in NAMES
    assert "noop" not in NAMES


@every_compressor
@given(data=st.binary(max_size=200))
def test_what_is_compressed_is_decompressed(compressor_id: int, data: bytes) -> None:
    assert decompress(compress(data, compressor_id), compressor_id, len(data)) == data


@every_compressor
@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_wrong_size_is_refused(compressor_id: int, wrong: int) -> None:
    data = bytes(100)
    with pytest.raises(CompressionError):
        decompress(compress(data, compressor_id), compressor_id, len(data) + wrong)


@pytest.mark.parametrize("compressor_id", sorted(set(COMPRESSORS) - {0}))
@given(garbage=st.binary(max_size=60))
def test_garbage_is_one_error(compressor_id: int, garbage: bytes) -> None:
    with contextlib.suppress(CompressionError):
        assert len(decompress(garbage, compressor_id, 10)) == 10


def test_a_bomb_is_not_unpacked_beyond_the_size_announced() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    with pytest.raises(CompressionError, match="100 bytes"):
        decompress(bomb, 2, 100)


def test_bytes_that_are_cut_off_are_refused() -> None:
    with pytest.raises(CompressionError):
        decompress(zlib.compress(b"abcdefgh" * 10)[:-6], 2, 80)


def test_an_unknown_compressor_is_refused() -> None:
    with pytest.raises(CompressionError, match="77"):
        decompress(b"", 77, 0)
