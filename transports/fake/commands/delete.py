"""``delete``.

Spec: https://www.mongodb.com/docs/manual/reference/command/delete/
"""

from __future__ import annotations

from typing import Final

from transports.fake.commands.registry import check_fields, command, whole
from transports.fake.errors import (
    FAILED_TO_PARSE,
    ILLEGAL_OPERATION,
    INVALID_OPTIONS,
    CommandFailure,
)
from transports.fake.matcher import compile_filter
from transports.fake.namespaces import check_writable, collection_name
from transports.fake.operation import Operation, Waiting
from transports.fake.plan import candidates, check_text_index
from transports.fake.statements import Statements, until_free
from transports.fake.timeseries import check_query
from transports.fake.values import Document, as_decimal, is_number
from transports.fake.writes import refuse_view, remove_document

_FIELDS: Final = {
    "q": "object",
    "limit": "",
    "hint": "string or object",
    "collation": "object",
    "sampleId": "",
}


@command(
    "delete",
    fields={
        "deletes": "array",
        "ordered": "bool",
        "let": "object",
        "bypassDocumentValidation": "flag",
        "encryptionInformation": "object",
    },
    required=("deletes",),
    takes_write_concern=True,
    in_transaction=True,
    retryable=True,
)
def run_delete(operation: Operation) -> Waiting:
    """Delete documents: ``{"n": 1, …}``."""
    command = operation.command
    name = collection_name(operation.database, command["delete"])
    check_writable(operation.database, name)
    deletes = command["deletes"]
    statements = Statements(operation, len(deletes))
    for delete in deletes:
        check_fields("delete.deletes", delete, _FIELDS, ("q", "limit"))
        if not is_number(delete["limit"]):
            delete["limit"] = 0  # as the server reads it
        if as_decimal(delete["limit"]) not in (0, 1):
            raise CommandFailure(
                FAILED_TO_PARSE,
                f"The limit field in delete objects must be 0 or 1. Got {delete['limit']}",
            )
    for place, delete in enumerate(deletes):
        if statements.answered(place) is not None:
            statements.n += 1
            continue

        def remove(delete: Document = delete) -> int:
            return _remove(operation, name, delete)

        try:
            removed = yield from until_free(remove)
        except CommandFailure as failure:
            if statements.failed(place, failure):
                break
        else:
            statements.n += removed
            if removed:
                statements.remember(place, True)
    return statements.reply()


def _remove(operation: Operation, name: str, delete: Document) -> int:
    single = whole(delete["limit"]) == 1
    if operation.retryable and not single:
        raise CommandFailure(
            INVALID_OPTIONS, "Cannot use (or request) retryable writes with limit=0"
        )
    view = operation.find(name)
    refuse_view(view)
    collation = operation.collation(view, delete.get("collation"))
    check_text_index(view, delete["q"])
    matcher = compile_filter(
        delete["q"], collation=collation, let=operation.variables(), now=operation.now
    )
    if view is None:
        return 0
    if view.collection.is_timeseries and single:
        raise CommandFailure(
            ILLEGAL_OPERATION, "Cannot perform a non-multi delete on a time-series collection"
        )
    if view.collection.is_timeseries:
        check_query(view.collection, delete["q"])
    found = []
    for record, document in candidates(
        view, matcher, collation=collation, hint=delete.get("hint"), query=delete["q"]
    ):
        if matcher(document):
            found.append((record, document))
            if single:
                break
    for record, _ in found:
        view.check_writable(record)
    for record, document in found:
        remove_document(operation, view, record, document)
    return len(found)
