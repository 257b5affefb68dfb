"""``aggregate`` and ``explain``.

Spec: https://www.mongodb.com/docs/manual/reference/command/aggregate/
"""

from __future__ import annotations

from typing import Any, Final

from transports.fake.aggregation import run_pipeline
from transports.fake.bson_text import render
from transports.fake.changes import open_change_stream
from transports.fake.commands.registry import check_fields, command, non_negative
from transports.fake.cursors import DEFAULT_BATCH
from transports.fake.errors import (
    FAILED_TO_PARSE,
    INVALID_NAMESPACE,
    INVALID_OPTIONS,
    TYPE_MISMATCH,
    CommandFailure,
    unsupported,
)
from transports.fake.fetching import snapshot_time
from transports.fake.namespaces import collection_name
from transports.fake.operation import Operation
from transports.fake.values import Document, is_number

_ONE_FIELD: Final = 40323
_NOT_IN_TRANSACTION: Final = 263
_ONLY_FIRST: Final = 40602
_NO_COLLECTION_NEEDED: Final = frozenset(
    {
        "$changeStream",
        "$currentOp",
        "$documents",
        "$listLocalSessions",
        "$listSessions",
        "$queryStats",
    }
)


@command(
    "aggregate",
    fields={
        "pipeline": "",
        "cursor": "",
        "explain": "flag",
        "allowDiskUse": "flag",
        "bypassDocumentValidation": "flag",
        "collation": "object",
        "hint": "string or object",
        "let": "object",
        "needsMerge": "flag",
        "fromMongos": "flag",
        "exchange": "object",
        "isMapReduceCommand": "flag",
        "encryptionInformation": "object",
        "runtimeConstants": "object",
    },
    required=("pipeline",),
    takes_write_concern=True,
    read_concerns=("local", "majority", "linearizable", "available", "snapshot"),
    in_transaction=True,
)
def run_aggregate(operation: Operation) -> Document:
    """Run a pipeline: ``{"cursor": {"firstBatch": […], "id": 0, "ns": "db.coll"}}``."""
    command = operation.command
    name = _namespace(operation.database, command["aggregate"])
    stages = _checked_stages(command["pipeline"])
    size = _batch_size(command)
    if command.get("explain"):
        raise unsupported("explain")
    if not name:
        _check_collectionless(stages)
    if stages and "$changeStream" in stages[0]:
        return open_change_stream(operation, name, stages, size)
    if any("$changeStream" in stage for stage in stages):
        raise CommandFailure(
            _ONLY_FIRST,
            "$_internalChangeStreamOplogMatch is only valid as the first stage in a pipeline",
        )
    concern = command.get("readConcern")
    if stages and concern and concern.get("level") == "linearizable":
        _check_linearizable(concern, next(iter(stages[-1])))
    last = next(iter(stages[-1])) if stages else ""
    if operation.transaction is not None and last in ("$out", "$merge"):
        raise CommandFailure(_NOT_IN_TRANSACTION, f"{last} cannot be used in a transaction")
    reply = run_pipeline(operation, name, stages, size)
    if concern and concern.get("level") == "snapshot" and not operation.transaction:
        reply["cursor"]["atClusterTime"] = snapshot_time(operation)
    return reply


def _check_linearizable(concern: Document, last: str) -> None:
    if last in ("$out", "$merge"):
        shown = render({"readConcern": {**concern, "provenance": "clientSupplied"}})
        raise CommandFailure(
            INVALID_OPTIONS,
            f"Command aggregate does not support {shown} :: caused by :: {last} cannot be used "
            "with a 'linearizable' read concern level",
        )


def _namespace(database: str, value: Any) -> str:
    """Return the collection, ``""`` for a pipeline of the database."""
    if is_number(value):
        if value != 1:
            raise CommandFailure(
                FAILED_TO_PARSE,
                "Invalid command format: the 'aggregate' field must specify a collection name or 1",
            )
        return ""
    return collection_name(database, value)


def _checked_stages(pipeline: Any) -> list[Document]:
    if type(pipeline) is not list:
        raise CommandFailure(TYPE_MISMATCH, "'pipeline' option must be specified as an array")
    for stage in pipeline:
        if type(stage) is not dict:
            raise CommandFailure(
                TYPE_MISMATCH, "Each element of the 'pipeline' array must be an object"
            )
        if len(stage) != 1:
            raise CommandFailure(
                _ONE_FIELD,
                "A pipeline stage specification object must contain exactly one field.",
            )
    return pipeline


def _batch_size(command: Document) -> int:
    cursor = command.get("cursor")
    if cursor is None:
        if command.get("explain"):
            return DEFAULT_BATCH
        raise CommandFailure(
            FAILED_TO_PARSE,
            "The 'cursor' option is required, except for aggregate with the explain argument",
        )
    if type(cursor) is not dict:
        raise CommandFailure(TYPE_MISMATCH, "cursor field must be missing or an object")
    check_fields("cursor", cursor, {"batchSize": "number"})
    size = cursor.get("batchSize")
    return DEFAULT_BATCH if size is None else non_negative("batchSize", size)


def _check_collectionless(stages: list[Document]) -> None:
    if not stages:
        raise CommandFailure(
            INVALID_NAMESPACE, "{aggregate: 1} is not valid for an empty pipeline."
        )
    first = next(iter(stages[0]))
    if first not in _NO_COLLECTION_NEEDED and first.startswith("$"):
        raise CommandFailure(
            INVALID_NAMESPACE,
            f"{{aggregate: 1}} is not valid for '{first}'; a collection is required.",
        )
