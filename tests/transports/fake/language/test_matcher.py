"""Filters select what the server selects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.fake.errors import CommandFailure
from transports.fake.matcher import compile_filter
from transports.fake.paths import all_values
from transports.fake.values import MISSING, hash_key


def test_filters(case: Any, agree: Callable[[Any], None]) -> None:
    """Comparison, arrays, paths, element, bitwise and logical operators."""
    agree(case)


def test_patterns(case: Any, agree: Callable[[Any], None]) -> None:
    """Regular expressions match what PCRE matches."""
    agree(case)


def test_schemas(case: Any, agree: Callable[[Any], None]) -> None:
    """``$jsonSchema`` holds where the server's holds."""
    agree(case)


_values = st.sampled_from([None, 1, 2, 1.0, "x", [], [1], [1, 2], {"c": 1}, [{"c": 1}, {"c": 2}]])
_documents = st.dictionaries(
    st.sampled_from("ab"),
    _values | st.dictionaries(st.sampled_from("c"), _values) | st.lists(_values, max_size=2),
)
_conditions = st.one_of(
    _values,
    st.builds(lambda v: {"$eq": v}, _values),
    st.builds(lambda v: {"$in": v}, st.lists(_values, max_size=3)),
    st.builds(lambda v: {"$all": v}, st.lists(_values, max_size=2)),
    st.builds(lambda v: {"$gt": v}, st.integers(0, 2)),
)
_filters = st.dictionaries(st.sampled_from(["a", "b", "a.c", "a.0"]), _conditions, max_size=2)


@given(_documents, _filters)
def test_every_match_has_a_candidate_of_each_index_bound(
    document: dict[str, Any], query: dict[str, Any]
) -> None:
    matcher = compile_filter({"$and": [query]} if query else {})
    if matcher(document):
        for path, candidates in matcher.index_bounds().items():
            found = {
                hash_key(None if value is MISSING else value)
                for value in all_values(document, tuple(path.split(".")), True)
            }
            assert found & {hash_key(candidate) for candidate in candidates}, path


def test_a_filter_that_no_index_can_serve_has_no_bounds() -> None:
    for query in (
        {"a": {"$gt": 1}},
        {"$or": [{"a": 1}]},
        {"a.0": 1},
        {"a": [1]},
        {"a": {"$ne": 1}},
    ):
        assert compile_filter(query).index_bounds() == {}


@pytest.mark.parametrize("operator", ["$where"])
def test_what_is_not_implemented_is_refused_by_name(operator: str) -> None:
    with pytest.raises(CommandFailure) as caught:
        compile_filter({operator: "x"})
    assert caught.value.code == 238
    assert operator in caught.value.message
