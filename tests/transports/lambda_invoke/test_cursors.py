from __future__ import annotations

from typing import Any

import bson
import pytest

from transports.endpoint.backend import Request
from transports.lambda_invoke.cursors import BATCH_BYTES, BatchSizes


def request(name: str, **fields: Any) -> Request:
    body = bson.encode({**fields, "$db": "cms"})
    return Request(server="h:1", message=bytes(5) + body, name=name, database="cms")


def opened(number: int, size: int, count: int = 3) -> bytes:
    batch = [{"x": bytes(size)} for _ in range(count)]
    return bson.encode({"cursor": {"firstBatch": batch, "id": bson.Int64(number)}, "ok": 1.0})


def fields_of(message: bytes) -> dict[str, Any]:
    return bson.decode(message[5:])


def test_a_get_more_asks_for_as_many_documents_as_fit() -> None:
    sizes = BatchSizes()
    sizes.learn(request("find", find="c"), opened(7, 30_000))
    get_more = request("getMore", getMore=bson.Int64(7), collection="c")
    fields = fields_of(sizes.limit(get_more))
    assert 95 <= fields.pop("batchSize") <= BATCH_BYTES // 30_000
    assert fields == {"getMore": 7, "collection": "c", "$db": "cms"}


def test_a_document_larger_than_a_batch_is_asked_for_by_itself() -> None:
    sizes = BatchSizes()
    sizes.learn(request("find", find="c"), opened(7, 8_000_000, count=1))
    get_more = request("getMore", getMore=bson.Int64(7))
    assert fields_of(sizes.limit(get_more))["batchSize"] == 1


@pytest.mark.parametrize(
    "other",
    [
        request("getMore", getMore=bson.Int64(8)),
        request("getMore", getMore=bson.Int64(7), batchSize=5),
        request("find", find="c"),
    ],
)
def test_everything_else_is_left_as_it_is(other: Request) -> None:
    sizes = BatchSizes()
    sizes.learn(request("find", find="c"), opened(7, 1000))
    assert sizes.limit(other) is other.message


@pytest.mark.parametrize(
    "reply",
    [
        opened(0, 1000),
        opened(7, 1000, count=0),
        bson.encode({"ok": 1.0}),
        bson.encode({"cursor": {"id": bson.Int64(7)}}),
        bson.encode({"cursor": 1}),
        b"",
    ],
)
def test_a_reply_without_an_open_cursor_teaches_nothing(reply: bytes) -> None:
    sizes = BatchSizes()
    sizes.learn(request("find", find="c"), reply)
    get_more = request("getMore", getMore=bson.Int64(7))
    assert sizes.limit(get_more) is get_more.message
