from __future__ import annotations

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
