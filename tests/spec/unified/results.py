"""The driver's results as the documents that the tests expect.

Spec: unified test format, and the CRUD specification for the results of writes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.errors import BulkWriteError
from pymongo.results import (
    BulkWriteResult,
    ClientBulkWriteResult,
    DeleteResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)

Document = dict[str, Any]


def as_document(result: Any) -> Any:
    """Return *result* in the tests' terms; what is no result of a write stays as it is."""
    if not isinstance(
        result,
        InsertOneResult
        | InsertManyResult
        | UpdateResult
        | DeleteResult
        | BulkWriteResult
        | ClientBulkWriteResult,
    ):
        return result
    if not result.acknowledged:
        return {"acknowledged": False}
    match result:
        case InsertOneResult():
            return {"insertedId": result.inserted_id}
        case InsertManyResult():
            return {"insertedIds": _by_number(dict(enumerate(result.inserted_ids)))}
        case UpdateResult():
            return _update_result(result)
        case DeleteResult():
            return {"deletedCount": result.deleted_count}
        case BulkWriteResult():
            return _bulk_write_result(result.bulk_api_result)
        case ClientBulkWriteResult():
            return _client_bulk_write_result(result)


def bulk_error_as_document(error: BulkWriteError) -> Document:
    """Return what a failed bulk write did achieve."""
    return _bulk_write_result(error.details)


def _update_result(result: UpdateResult) -> Document:
    document = {
        "matchedCount": result.matched_count,
        "modifiedCount": result.modified_count,
        "upsertedCount": 0 if result.upserted_id is None else 1,
    }
    if result.upserted_id is not None:
        document["upsertedId"] = result.upserted_id
    return document


def _bulk_write_result(details: Mapping[str, Any]) -> Document:
    return {
        "deletedCount": details["nRemoved"],
        "insertedCount": details["nInserted"],
        "matchedCount": details["nMatched"],
        "modifiedCount": details["nModified"],
        "upsertedCount": details["nUpserted"],
        "upsertedIds": _by_number({item["index"]: item["_id"] for item in details["upserted"]}),
    }


def _client_bulk_write_result(result: ClientBulkWriteResult) -> Document:
    document: Document = {
        "deletedCount": result.deleted_count,
        "insertedCount": result.inserted_count,
        "matchedCount": result.matched_count,
        "modifiedCount": result.modified_count,
        "upsertedCount": result.upserted_count,
    }
    if result.has_verbose_results:
        for name, results in (
            ("insertResults", result.insert_results),
            ("updateResults", result.update_results),
            ("deleteResults", result.delete_results),
        ):
            document[name] = _by_number({n: as_document(one) for n, one in results.items()})
    return document


def _by_number(values: Mapping[int, Any]) -> Document:
    return {str(number): value for number, value in values.items()}
