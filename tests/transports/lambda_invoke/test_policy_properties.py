"""The policy under generated commands: what is forbidden is found wherever it is put."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transports.lambda_invoke.op_msg import message
from transports.lambda_invoke.function.policy import Policy, Refused

POLICY = Policy.from_text("", mongodb_uri="mongodb://h/cms", staging="odm_proxy.staging")

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31)
    | st.floats(allow_nan=False)
    | st.text("ab$.", max_size=4)
    | st.binary(max_size=20)
    | st.datetimes()
    | st.builds(bson.ObjectId)
    | st.builds(bson.Regex, st.just("a$"))
)
# Names of fields and of operators that may hold anything.
keys = st.sampled_from(["a", "b.c", "$and", "$or", "$expr", "$eq", "$cond", "$map", "$elemMatch"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
FORBIDDEN = ("$where", "$function", "$accumulator", "$out", "$merge", "$lookup", "$_internalX")


@st.composite
def hiding(draw: st.DrawFn) -> Any:
    """A document with something forbidden at any depth."""
    found: Any = {draw(st.sampled_from(FORBIDDEN)): draw(values)}
    for _ in range(draw(st.integers(0, 12))):
        if draw(st.booleans()):
            siblings = draw(st.lists(values, max_size=2))
            siblings.insert(draw(st.integers(0, len(siblings))), found)
            found = siblings
        else:
            siblings_by_key = draw(st.dictionaries(keys, values, max_size=2))
            found = {**siblings_by_key, draw(keys): found}
    return found if isinstance(found, dict) else {"$or": found}


@st.composite
def commands(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> bytes:
    """A message that has a document of *inner* where a server evaluates it."""
    document = draw(inner)
    shape = draw(st.integers(0, 11))
    made: list[bytes] = [
        message({"find": "a", "filter": document}),
        message({"find": "a", "projection": document}),
        message({"count": "a", "query": document}),
        message({"distinct": "a", "key": "b", "query": document}),
        message({"update": "a"}, updates=[{"q": {}, "u": {"$set": {"a": 1}}}, {"q": document}]),
        message({"update": "a", "updates": [{"q": {}, "u": [{"$set": {"x": document}}]}]}),
        message({"delete": "a"}, deletes=[{"q": document, "limit": 1}]),
        message({"findAndModify": "a", "query": document, "remove": True}),
        message({"aggregate": "a", "pipeline": [{"$match": document}], "cursor": {}}),
        message(
            {
                "aggregate": "a",
                "pipeline": [
                    {"$facet": {"f": [{"$unionWith": {"coll": "b", "pipeline": [document]}}]}}
                ],
                "cursor": {},
            }
        ),
        message({"explain": {"find": "a", "filter": document}}),
        message({"create": "a", "validator": document}),
    ]
    return made[shape]


@given(commands(hiding()))
def test_what_is_forbidden_is_refused_at_any_depth(sent: bytes) -> None:
    with pytest.raises(Refused):
        POLICY.check(sent)


@given(st.dictionaries(keys, values, max_size=4))
def test_what_is_not_forbidden_passes(document: dict[str, Any]) -> None:
    sent = message({"find": "a", "filter": document})
    assert POLICY.check(sent) is sent


@given(st.dictionaries(st.sampled_from([*FORBIDDEN, "a"]), values, max_size=3))
def test_data_passes_whatever_it_looks_like(document: dict[str, Any]) -> None:
    for sent in (
        message({"insert": "a"}, documents=[document, {"b": document}]),
        message({"update": "a"}, updates=[{"q": {}, "u": {"$set": {"b": document}}}]),
        message({"update": "a"}, updates=[{"q": {}, "u": {"b": document}}]),
        message({"find": "a", "projection": {"b": {"$literal": document}}}),
    ):
        assert POLICY.check(sent) is sent


def checked(sent: bytes) -> bytes | bytearray | None:
    """What may be sent for *sent*; None where it is refused, which is the only way to fail."""
    try:
        return POLICY.check(sent)
    except Refused:
        return None


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused(noise: bytes) -> None:
    assert checked(noise) is None


@given(st.data())
def test_a_message_with_changed_bytes_is_refused_or_passes(data: st.DataObject) -> None:
    sent = bytearray(
        message({"update": "a", "comment": "x"}, updates=[{"q": {"b": {"$gt": 1}}, "u": {"c": 1}}])
    )
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    assert checked(bytes(sent)) in (None, sent)
