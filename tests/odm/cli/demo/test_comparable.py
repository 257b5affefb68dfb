from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from bson import DBRef, ObjectId
from pydantic import BaseModel
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from models import Role, User
from odm import Link
from odm.cli.demo.comparable import (
    Normaliser,
    describe_error,
    explain_error,
    failure,
    first_difference,
)

SINCE = datetime(2026, 5, 1, 12, tzinfo=UTC)
OLD = ObjectId.from_datetime(SINCE - timedelta(days=9))


@pytest.fixture
def normaliser() -> Normaliser:
    return Normaliser(SINCE)


class Inner(BaseModel):
    at: datetime
    price: Decimal = Decimal("1.50")


def test_values_become_json(normaliser: Normaliser) -> None:
    value = {
        "id": OLD,
        "model": Inner(at=datetime(2026, 1, 1)),
        "role": Role.ADMIN,
        "key": UUID(int=1),
        "bytes": b"\x00\xff",
        "span": timedelta(minutes=1.5),
        "some": (1, 2.5, None, True),
        "link": Link(DBRef("users", OLD), User),
    }
    plain = normaliser.comparable(value)
    assert json.loads(json.dumps(plain)) == plain
    assert plain == {
        "id": str(OLD),
        "model": {"class": "Inner", "at": "2026-01-01T00:00:00+00:00", "price": "1.50"},
        "role": "admin",
        "key": "00000000-0000-0000-0000-000000000001",
        "bytes": "AP8=",
        "span": "90 s",
        "some": [1, 2.5, None, True],
        "link": {"link": str(OLD)},
    }


def test_what_the_run_itself_made_has_no_instant_and_no_id(normaliser: Normaliser) -> None:
    made = [SINCE + timedelta(seconds=3), ObjectId.from_datetime(SINCE + timedelta(seconds=3))]
    assert normaliser.comparable(made) == ["<now>", "<new id>"]


def test_what_cannot_be_compared_is_refused(normaliser: Normaliser) -> None:
    with pytest.raises(TypeError, match="object is not comparable"):
        normaliser.comparable(object())


def test_errors_are_told_by_what_an_application_can_see() -> None:
    details = {
        "code": 11000,
        "errmsg": "E11000 at /tmp/x",
        "keyPattern": {"slug": 1},
        "keyValue": {"slug": "a"},
    }
    assert describe_error(DuplicateKeyError("E11000 at /tmp/x", 11000, details)) == {
        "error": "DuplicateKeyError",
        "code": 11000,
        "keyPattern": {"slug": 1},
        "keyValue": {"slug": "a"},
        "labels": [],
    }
    bulk = BulkWriteError({"nInserted": 3, "writeErrors": [{"index": 1, **details}]})
    assert describe_error(bulk)["inserted"] == 3
    assert describe_error(bulk)["write errors"][0]["index"] == 1
    conflict = OperationFailure(
        "x", 112, {"codeName": "WriteConflict", "errorLabels": ["TransientTransactionError"]}
    )
    assert describe_error(conflict) == {
        "error": "OperationFailure",
        "code": 112,
        "codeName": "WriteConflict",
        "labels": ["TransientTransactionError"],
    }
    assert describe_error(KeyError("x")) == {"error": "KeyError"}


def test_unexpected_errors_are_explained_in_the_servers_words() -> None:
    refused = OperationFailure(
        "x, full error: {…}", 13, {"code": 13, "codeName": "Unauthorized", "errmsg": "not you"}
    )
    assert explain_error(refused) == "OperationFailure: not you (13 Unauthorized)"
    assert explain_error(ValueError("mongodb://u:p@h")) == "ValueError: mongodb://***@h"


async def test_what_should_fail_and_does_not_is_told() -> None:
    async def works() -> int:
        return 7

    assert await failure(works()) == {"did not fail": 7}


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}, None),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, (".a[1].b", 2, 3)),
        ({"a": 1}, {"a": 1, "b": 2}, (".b", "<nothing>", 2)),
        ([1, 2], [1], ("", "2 of them", "1 of them")),
        (1, 1.0, ("", 1, 1.0)),
        (True, 1, ("", True, 1)),
        ({}, [], ("", {}, [])),
    ],
)
def test_the_first_difference_is_found(one: Any, other: Any, found: Any) -> None:
    assert first_difference(one, other) == found
