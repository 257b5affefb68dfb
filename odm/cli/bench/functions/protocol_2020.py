"""The DB proxy function of 2020 and its protocol, rendered in Python, to be compared with.

As the article tells it (https://www.webiny.com, "Using AWS Lambda to Create a MongoDB Connection
Proxy", February 2020): a function invokes the proxy "whenever a database query needs to be made,
with all of the query params sent via the invocation payload"; "every database query is a new Lambda
function invocation". The proxy runs it "using the standard driver" and responds "with the query
results". Its first trace shows the code outside the handler run at init and the connection made
inside the first invocation; the second invocation reuses it. The article gives no payload: the
shapes below are of that kind, and in relaxed Extended JSON, which JavaScript's ``EJSON.stringify``
writes:

Request: ``{"body": "<EJSON of {collection, operation, arguments}>"}``.
Response: ``{"response": "<EJSON of the result>"}`` or ``{"error": {"name", "message"}}``.

It stands alone: the local Lambda gets this directory as the function's bundle.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from bson import json_util
from pymongo import MongoClient
from pymongo.database import Database

URI_VARIABLE = "MONGODB_SERVER"
DATABASE_VARIABLE = "MONGODB_NAME"

_RELAXED = json_util.RELAXED_JSON_OPTIONS
_client: MongoClient[dict[str, Any]] | None = None


class ProxyError(Exception):
    """What the proxy of 2020 tells of an error: its name and its message."""


def encode_request(collection: str, operation: str, *arguments: Any) -> dict[str, str]:
    """Return the invoke's payload for one query, to be written as JSON."""
    query = {"collection": collection, "operation": operation, "arguments": list(arguments)}
    return {"body": json_util.dumps(query, json_options=_RELAXED)}


def decode_request(event: Mapping[str, Any]) -> tuple[str, str, list[Any]]:
    """Return collection, operation and arguments of an event."""
    query = json_util.loads(event["body"], json_options=_RELAXED)
    return query["collection"], query["operation"], query["arguments"]


def encode_response(result: Any) -> dict[str, str]:
    """Return the function's result for a query's."""
    return {"response": json_util.dumps(result, json_options=_RELAXED)}


def decode_response(payload: Mapping[str, Any]) -> Any:
    """Return the result in an invoke's payload, as the driver would have returned it.

    Raises:
        ProxyError: the payload tells of an error, the proxy's or Lambda's.
    """
    if "response" in payload:
        return json_util.loads(payload["response"], json_options=_options())
    error = payload.get("error") or {
        "name": payload.get("errorType", "Error"),
        "message": payload.get("errorMessage", "no response"),
    }
    raise ProxyError(f"{error['name']}: {error['message']}")


def run(database: Database[Any], collection: str, operation: str, arguments: list[Any]) -> Any:
    """Run one query. Cursors are drained into one array, as the proxy did.

    Raises:
        ValueError: it is none of the operations.
    """
    target = database[collection]
    match operation:
        case "findOne":
            return target.find_one(*arguments)
        case "find":
            query, limit = arguments
            return target.find(query, limit=limit).to_list()
        case "insertOne":
            return {"insertedId": target.insert_one(arguments[0]).inserted_id}
        case "aggregate":
            return target.aggregate(*arguments).to_list()
    raise ValueError(f"operation {operation!r}: findOne, find, insertOne or aggregate")


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Run the event's query."""
    try:
        return encode_response(run(_database(), *decode_request(event)))
    except Exception as error:  # the proxy's callers learn no more of it than this
        return {"error": {"name": type(error).__name__, "message": str(error)}}


def _database() -> Database[dict[str, Any]]:
    global _client  # the connection outlives the invocation, as in the article
    if _client is None:
        _client = MongoClient(os.environ[URI_VARIABLE])
    return _client[os.environ[DATABASE_VARIABLE]]


@cache
def _options() -> json_util.JSONOptions:
    # As the driver decodes BSON by default: dates without a time zone.
    return json_util.JSONOptions(json_mode=json_util.JSONMode.RELAXED, tz_aware=False)
