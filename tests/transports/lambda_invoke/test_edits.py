"""Fields that are added to a command and taken out of it, wherever it lies in its message."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.endpoint import elements as endpoint
from transports.lambda_invoke.edits import SECTION, int32, with_fields, with_int32
from transports.lambda_invoke.function.policy import message as policy

SEQUENCE = b"\x01" + (26).to_bytes(4, "little") + b"documents\x00" + bson.encode({"_id": 1})

values = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.text() | st.booleans() | st.binary() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0")), inner, max_size=3)
    ),
    max_leaves=5,
)
commands = st.dictionaries(
    st.sampled_from(["find", "filter", "maxTimeMS", "batchSize", "ö", "$db"]), values
)


@given(
    command=commands,
    out=st.sets(st.sampled_from(["find", "maxTimeMS", "batchSize", "ö"])),
    before=st.sampled_from([b"", SEQUENCE]),
    after=st.sampled_from([b"", SEQUENCE]),
    kind=st.sampled_from([bytes, bytearray]),
)
def test_fields_come_and_go_and_all_else_stays(
    command: dict[str, Any], out: set[str], before: bytes, after: bytes, kind: type[bytes]
) -> None:
    head = bytes(4) + before + b"\x00"
    message = kind(head + bson.encode(command) + after)
    fields = policy.elements(message, len(head))
    added = bson.encode({"comment": {"a": [1]}, "last": "ö"})[4:-1]
    sent = with_fields(message, len(head), added, [f for f in fields if f.name.decode() in out])
    left = {name: value for name, value in command.items() if name not in out}
    # Encoded, so that their order counts, too.
    assert sent == head + bson.encode({**left, "comment": {"a": [1]}, "last": "ö"}) + after
    assert message == head + bson.encode(command) + after


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1, -(2**31)])
def test_an_int32_is_one(value: int) -> None:
    assert int32("größe".encode(), value) == bson.encode({"größe": value})[4:-1]


@pytest.mark.parametrize("own", [7, bson.Int64(7), 7.0, "7", None])
def test_a_field_of_the_same_name_makes_room(own: Any) -> None:
    message = bytes(SECTION) + bson.encode({"find": "a", "maxTimeMS": own, "$db": "b"}) + SEQUENCE
    instead_of = endpoint.find(message, b"maxTimeMS", SECTION)
    sent = with_int32(message, b"maxTimeMS", 50, instead_of)
    changed = {"find": "a", "$db": "b", "maxTimeMS": 50}
    assert sent == bytes(SECTION) + bson.encode(changed) + SEQUENCE


def test_a_field_that_was_not_there_is_the_last() -> None:
    message = bytes(SECTION) + bson.encode({"getMore": bson.Int64(1), "$db": "b"})
    changed = {"getMore": bson.Int64(1), "$db": "b", "batchSize": 9}
    assert with_int32(message, b"batchSize", 9) == bytes(SECTION) + bson.encode(changed)
