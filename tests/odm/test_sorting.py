from __future__ import annotations

from typing import Any

import pytest
from beanie.odm.fields import ExpressionField
from pymongo import DESCENDING

from odm import SortDirection
from odm.sorting import sort_order

TITLE: Any = ExpressionField("title")  # type: ignore[no-untyped-call]  # of Beanie


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        (None, []),
        ("title", [("title", 1)]),
        ("+title", [("title", 1)]),
        ("-seo.title", [("seo.title", -1)]),
        (["a", "-b"], [("a", 1), ("b", -1)]),
        (("a", -1), [("a", -1)]),
        ([("a", DESCENDING), "b"], [("a", -1), ("b", 1)]),
        (("a", "b"), [("a", 1), ("b", 1)]),
        (TITLE, [("title", 1)]),
        (-TITLE, [("title", -1)]),
        ([-TITLE, +TITLE], [("title", -1), ("title", 1)]),
        ([("a", SortDirection.DESCENDING)], [("a", -1)]),
        ([("score", {"$meta": "textScore"})], [("score", {"$meta": "textScore"})]),
        ([], []),
    ],
)
def test_spellings(sort: Any, order: list[tuple[str, Any]]) -> None:
    found = sort_order(sort)
    assert found == order
    assert all(type(path) is str for path, _ in found)


@pytest.mark.parametrize(
    "sort",
    ["", "-", "--a", "- a", " a", "$a", 5, [5], [("a", 2)], [("a", 1, 2)], [None], {"a": 1.5}],
)
def test_what_is_refused(sort: Any) -> None:
    if isinstance(sort, dict):
        sort = list(sort.items())
    with pytest.raises(ValueError, match=r"is no sort order: write for example '-published_at'"):
        sort_order(sort)


def test_id_is_read_as_the_database_has_it() -> None:
    assert sort_order(["-id", "a.id"], id_alias=True) == [("_id", -1), ("a.id", 1)]
    assert sort_order("id") == [("id", 1)]
