"""Equality, order and hash keys of values agree with each other."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
)
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from transports.fake.values import (
    MISSING,
    bson_type,
    compare,
    deep_copy,
    equal,
    hash_key,
    sort_key,
)

NAN = float("nan")
IN_ORDER: list[Any] = [
    MinKey(),
    MISSING,
    None,
    NAN,
    float("-inf"),
    Int64(-5),
    0,
    Decimal128("0.5"),
    1,
    1.5,
    2**40,
    "",
    "A",
    "a",
    "aa",
    "é",
    {},
    {"a": 1},
    {"a": 1, "b": 1},
    {"b": 0},
    {"a": "x"},
    [],
    [1],
    [1, 2],
    [2],
    b"z",
    b"aa",
    Binary(b"aa", 5),
    ObjectId("0" * 24),
    False,
    True,
    DatetimeMS(-1),
    DatetimeMS(0),
    Timestamp(1, 1),
    Timestamp(1, 2),
    Regex("a"),
    Regex("a", "i"),
    Code("x"),
    MaxKey(),
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-3, 3).map(Int64),
    st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0, NAN]),
    st.sampled_from(["0", "1", "1.0", "1.50", "NaN", "-0"]).map(Decimal128),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from([ObjectId("0" * 24), DatetimeMS(0), b"", Timestamp(0, 1), MinKey(), MaxKey()]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)


def test_types_and_values_are_in_the_servers_order() -> None:
    for lower, upper in itertools.pairwise(IN_ORDER):
        assert compare(lower, upper) == -1, (lower, upper)
        assert compare(upper, lower) == 1, (lower, upper)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, Int64(1)),
        (1, 1.0),
        (Decimal128("1.0"), 1),
        (Decimal128("1.50"), 1.5),
        (NAN, Decimal128("NaN")),
        (0.0, -0.0),
        ({"a": [1]}, {"a": [1.0]}),
        (b"x", Binary(b"x", 0)),
    ],
)
def test_numbers_of_different_types_are_equal_by_value(left: Any, right: Any) -> None:
    assert equal(left, right)
    assert hash_key(left) == hash_key(right)
    assert compare(left, right) == 0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (0, False),
        ("1", 1),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (None, MISSING),
        (b"x", Binary(b"x", 5)),
        ("a", Code("a")),
        (DatetimeMS(1), 1),
        ([1, 2], [2, 1]),
        ({}, []),
        ("", None),
    ],
)
def test_what_python_or_another_fake_takes_for_equal_is_not(left: Any, right: Any) -> None:
    assert not equal(left, right)
    assert hash_key(left) != hash_key(right)
    assert compare(left, right) != 0


@given(values, values)
def test_order_equality_and_hash_keys_agree(left: Any, right: Any) -> None:
    order = compare(left, right)
    assert compare(right, left) == -order
    assert equal(left, right) == (order == 0)
    assert (hash_key(left) == hash_key(right)) == (order == 0)
    if order == 0:
        assert hash(hash_key(left)) == hash(hash_key(right))
    assert (sort_key(left) < sort_key(right)) == (order < 0)


@given(values)
def test_a_copy_is_equal_and_shares_nothing(value: Any) -> None:
    copied = deep_copy(value)
    assert equal(copied, value)
    if isinstance(value, dict | list) and value:
        copied.clear()
        assert value


def test_every_type_has_its_number_and_alias() -> None:
    assert bson_type(1) == (16, "int")
    assert bson_type(Int64(1)) == (18, "long")
    assert bson_type(True) == (8, "bool")
    assert bson_type(Code("x", {"y": 1})) == (15, "javascriptWithScope")
    with pytest.raises(TypeError):
        bson_type(object())
