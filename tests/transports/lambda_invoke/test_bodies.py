from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.lambda_invoke.bodies import (
    MAX_BODY_BYTES,
    MAX_PARTS,
    PART_BYTES,
    BodyError,
    compress,
    decompress,
    join,
    split,
)


@given(st.binary(max_size=2000))
def test_a_body_survives_compression(data: bytes) -> None:
    assert decompress(*compress(data)) == data


def test_what_does_not_shrink_is_left_alone() -> None:
    assert compress(b"abc") == (b"abc", "")


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, MAX_BODY_BYTES])
def test_parts_make_the_whole_again(size: int) -> None:
    data = bytes(size)
    parts = list(split(data))
    assert len(parts) <= MAX_PARTS
    assert all(len(part) <= PART_BYTES for part in parts)
    assert b"".join(parts) == data


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    bomb = zlib.compress(bytes(MAX_BODY_BYTES + 1), 9)
    assert len(bomb) < 100_000
    with pytest.raises(BodyError, match="longer than"):
        decompress(bomb, "zlib")


@pytest.mark.parametrize("data", [b"", b"not zlib", zlib.compress(bytes(1000))[:-3]])
def test_what_is_no_zlib_data_is_refused(data: bytes) -> None:
    with pytest.raises(BodyError):
        decompress(data, "zlib")


def test_noise_is_not_compressed_in_vain() -> None:
    noise = random.Random(1).randbytes(1_000_000)
    assert compress(noise) == (noise, "")


def test_what_is_noise_in_part_is_compressed_all_the_same() -> None:
    mixed = random.Random(1).randbytes(500_000) + bytes(500_000)
    data, encoding = compress(mixed)
    assert encoding == "zlib"
    assert len(data) < 510_000
    assert decompress(data, encoding) == mixed


@given(st.binary(max_size=5000), st.integers(1, 700))
def test_parts_of_any_length_are_joined_and_decompressed(data: bytes, length: int) -> None:
    compressed = zlib.compress(data)
    parts = [compressed[i : i + length] for i in range(0, len(compressed), length)]
    assert join(parts, "zlib") == data
    assert join([data[i : i + length] for i in range(0, len(data), length)], "") == data


def test_joined_parts_are_never_longer_than_a_message() -> None:
    part = bytes(PART_BYTES)
    with pytest.raises(BodyError, match="longer than"):
        join((part for _ in range(MAX_PARTS + 1)), "")


def test_a_body_ends_where_it_says() -> None:
    with pytest.raises(BodyError, match="goes on"):
        join([zlib.compress(b"abc"), b"def"], "zlib")
