from __future__ import annotations

from typing import Any

import pytest

from transports.fake.diffs import compared, described, touched
from transports.fake.errors import CommandFailure
from transports.fake.oplog import KEPT_CHANGES, Change, Oplog
from transports.fake.resume_tokens import Place, event_token, high_water_mark, parse_token
from transports.fake.server import FakeServer

Document = dict[str, Any]
FILLER = "x" * 200


@pytest.mark.parametrize(
    ("update", "old", "new", "updated", "removed"),
    [
        ({"$set": {"a": 2}}, {"a": 1}, {"a": 2}, {"a": 2}, []),
        ({"$set": {"a": 1, "b": 2}}, {"a": 1}, {"a": 1, "b": 2}, {"b": 2}, []),
        ({"$set": {"a.b.c": 1}}, {}, {"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}, []),
        ({"$unset": {"a.b": 1}}, {"a": {"b": 1}}, {"a": {}}, {}, ["a.b"]),
        ({"$push": {"a": 3}}, {"a": [1]}, {"a": [1, 3]}, {"a.1": 3}, []),
        ({"$pop": {"a": 1}}, {"a": [1, 3]}, {"a": [1]}, {"a": [1]}, []),
        ({"$set": {"a.$[]": 0}}, {"a": [0, 1]}, {"a": [0, 0]}, {"a.1": 0}, []),
        ({"$rename": {"a": "b"}}, {"a": 1}, {"b": 1}, {"b": 1}, ["a"]),
    ],
)
def test_operator_update_is_told_by_its_paths(
    update: Document, old: Document, new: Document, updated: Document, removed: list[str]
) -> None:
    description = described(touched(update, old, new))
    assert description == {
        "updatedFields": updated,
        "removedFields": removed,
        "truncatedArrays": [],
    }


def test_pipeline_update_is_told_by_comparing() -> None:
    old = {"_id": 1, "f": FILLER, "a": {"f": FILLER, "x": 1}, "l": [1, 2, 3, FILLER], "z": 1}
    new = {"_id": 1, "f": FILLER, "a": {"f": FILLER, "x": 2}, "l": [1, 2, 3], "n": 1}
    diff = compared(old, new)
    assert diff is not None
    assert described(diff) == {
        "updatedFields": {"n": 1, "a.x": 2},
        "removedFields": ["z"],
        "truncatedArrays": [{"field": "l", "newSize": 3}],
    }


def test_pipeline_that_changes_nearly_everything_counts_as_replacement() -> None:
    assert compared({"_id": 1, "x": 3}, {"_id": 1, "x": 8}) is None


def test_tokens_are_ordered_like_changes() -> None:
    changes = [Change(5, "insert", None, 1, place=place) for place in (0, 1, 2, 70, 200, 40_000)]
    tokens = [event_token(change)["_data"] for change in changes]
    tokens.append(event_token(Change(6, "drop", None, None))["_data"])
    tokens.append(event_token(Change(6, "drop", None, None), invalidates=True)["_data"])
    tokens.append(high_water_mark(7)["_data"])
    assert tokens == sorted(tokens)


@pytest.mark.parametrize("place", [0, 1, 127, 128, 40_000])
def test_token_tells_its_place(place: int) -> None:
    change = Change(7 << 32, "insert", None, 1, place=place)
    assert parse_token(event_token(change)) == Place(7 << 32, place)
    assert parse_token(high_water_mark(9)) == Place(9, is_event=False)


@pytest.mark.parametrize(
    ("token", "code"), [({}, 40647), ({"_data": "zz"}, 9), ({"_data": "00"}, 40647)]
)
def test_bad_token_is_refused(token: Document, code: int) -> None:
    with pytest.raises(CommandFailure) as caught:
        parse_token(token)
    assert caught.value.code == code


def test_oplog_forgets_the_oldest() -> None:
    oplog = Oplog(lambda: 0)
    for time in range(1, KEPT_CHANGES + 3):
        oplog.append(Change(time, "insert", None, time))
    assert (oplog.first, oplog.forgotten_time) == (2, 2)
    assert next(oplog.after(0))[1].time == 3
    assert oplog.number_at(10) == 9


@pytest.mark.parametrize(("version", "code"), [("6.0.5", 238), ("7.0.14", 0)])
async def test_large_events_are_split_where_the_version_can(version: str, code: int) -> None:
    server = FakeServer(version=version)
    pipeline: list[Document] = [{"$changeStream": {}}, {"$changeStreamSplitLargeEvent": {}}]
    await server.run({"create": "c", "$db": "t"})
    opening = {"aggregate": "c", "pipeline": pipeline, "cursor": {}, "$db": "t"}
    assert (await server.run(opening)).get("code", 0) == code
