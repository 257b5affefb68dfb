"""The rendering of the proxy of 2020: what travels, and that nothing is lost of what it can say."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pymongo
import pytest
from bson import ObjectId

from odm.cli.bench.functions import protocol_2020
from odm.cli.bench.functions.protocol_2020 import (
    ProxyError,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

ID = ObjectId("65a000000000000000000001")


def test_a_query_is_extended_json_inside_json() -> None:
    event = encode_request("articles", "findOne", {"_id": ID, "views": 3})
    assert json.loads(event["body"]) == {
        "collection": "articles",
        "operation": "findOne",
        "arguments": [{"_id": {"$oid": str(ID)}, "views": 3}],
    }


def test_a_query_arrives_as_it_was() -> None:
    event = json.loads(json.dumps(encode_request("articles", "find", {"_id": ID}, 10)))
    assert decode_request(event) == ("articles", "find", [{"_id": ID}, 10])


def test_a_result_arrives_as_the_driver_would_have_returned_it() -> None:
    found = {"_id": ID, "at": datetime(2020, 2, 17, 9, 30), "views": 3, "rating": 4.5}
    assert decode_response(json.loads(json.dumps(encode_response(found)))) == found
    assert decode_response(encode_response(None)) is None


@pytest.mark.parametrize(
    "payload",
    [
        {"error": {"name": "OperationFailure", "message": "bad"}},
        {"errorType": "OperationFailure", "errorMessage": "bad"},
    ],
)
def test_an_error_is_a_name_and_a_message(payload: dict[str, Any]) -> None:
    with pytest.raises(ProxyError, match="OperationFailure: bad"):
        decode_response(payload)


def test_the_function_answers_and_keeps_its_connection(
    mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(protocol_2020.URI_VARIABLE, mongod_uri)
    monkeypatch.setenv(protocol_2020.DATABASE_VARIABLE, "odm_bench_2020")
    monkeypatch.setattr(protocol_2020, "_client", None)

    def call(operation: str, *arguments: Any) -> Any:
        event = encode_request("notes", operation, *arguments)
        return decode_response(protocol_2020.handler(event, None))

    try:
        inserted = call("insertOne", {"number": 1})["insertedId"]
        client = protocol_2020._client
        assert call("findOne", {"number": 1}) == {"_id": inserted, "number": 1}
        assert call("find", {}, 10) == [{"_id": inserted, "number": 1}]
        assert call("aggregate", [{"$count": "notes"}]) == [{"notes": 1}]
        with pytest.raises(ProxyError, match="ValueError: operation 'drop'"):
            call("drop")
        assert protocol_2020._client is client
    finally:
        opened: pymongo.MongoClient[dict[str, Any]] | None = protocol_2020._client
        if opened is not None:
            opened.drop_database("odm_bench_2020")
            opened.close()
