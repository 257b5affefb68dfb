from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from bson import Binary, Int64, ObjectId

from tests.spec.unified.matcher import Mismatch, match


class Named:
    def __getitem__(self, name: str) -> Any:
        return {"answer": 42}[name]

    def lsid(self, session: str) -> Mapping[str, Any]:
        return {"id": session}


def matches(expected: Any, actual: Any) -> bool:
    try:
        match(expected, actual, Named())
    except Mismatch:
        return False
    return True


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, 1.0),
        (1, Int64(1)),
        ({"a": 1}, {"a": 1, "more": 2}),
        ([{"a": 1}], [{"a": 1, "more": 2}]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}),
        ({"a": {"$$exists": True}}, {"a": None}),
        ({"a": {"$$exists": False}}, {}),
        ({"a": {"$$type": ["int", "long"]}}, {"a": 2**40}),
        ({"a": {"$$unsetOrMatches": 1}}, {}),
        ({"a": {"$$unsetOrMatches": 1}}, {"a": 1}),
        ({"$$matchesEntity": "answer"}, 42),
        ({"a": {"$$sessionLsid": "s0"}}, {"a": {"id": "s0"}}),
        ({"$$matchesHexBytes": "0aff"}, b"\x0a\xff"),
        ({"a": {"$$lte": 3}}, {"a": 3}),
        ({"a": {"$$matchAsDocument": {"b": 1}}}, {"a": '{"b": {"$numberInt": "1"}}'}),
        ({"a": {"$$matchAsRoot": {"b": 1}}}, {"a": {"b": 1, "more": 2}}),
        ({"a": {"_id": 1}}, {"a": {"_id": {"$eq": 1}}}),
        (None, None),
    ],
)
def test_matches(expected: Any, actual: Any) -> None:
    assert matches(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, True),
        (1, "1"),
        (True, 1),
        (None, {}),
        ({"a": None}, {}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "more": 2}}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "more": 2}]}),
        ([1], [1, 2]),
        ({"a": [1]}, {"a": "1"}),
        ({"a": {"$$exists": True}}, {}),
        ({"a": {"$$exists": False}}, {"a": None}),
        ({"a": {"$$type": "string"}}, {"a": 1}),
        ({"a": {"$$type": "int"}}, {"a": True}),
        ({"a": {"$$type": "int"}}, {}),
        ({"a": {"$$unsetOrMatches": 1}}, {"a": 2}),
        ({"$$matchesEntity": "answer"}, 41),
        ({"a": {"$$sessionLsid": "s0"}}, {"a": {"id": "s1"}}),
        ({"$$matchesHexBytes": "0aff"}, b"\x0a"),
        ({"a": {"$$lte": 3}}, {"a": 4}),
        ({"a": {"$$matchAsDocument": {"b": 1}}}, {"a": '{"b": 1, "more": 2}'}),
        (b"a", Binary(b"a", 128)),
        (ObjectId("0" * 24), ObjectId("1" * 24)),
    ],
)
def test_does_not_match(expected: Any, actual: Any) -> None:
    assert not matches(expected, actual)


def test_mismatch_says_where() -> None:
    with pytest.raises(Mismatch, match=r"reply\.a\[1\]\.b: expected 1, got 2"):
        match({"a": [0, {"b": 1}]}, {"a": [0, {"b": 2}]}, Named(), path="reply")
