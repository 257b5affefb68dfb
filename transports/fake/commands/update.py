"""``update``.

Spec: https://www.mongodb.com/docs/manual/reference/command/update/
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from transports.fake.commands.registry import check_fields, command
from transports.fake.errors import INVALID_OPTIONS, CommandFailure
from transports.fake.namespaces import check_writable, collection_name
from transports.fake.operation import Operation, Wait, Waiting
from transports.fake.statements import Statements, until_free
from transports.fake.updating import (
    Updated,
    Updater,
    UpdateStatement,
    check_array_filters,
    check_update,
)
from transports.fake.values import Document

_FIELDS: Final = {
    "q": "object",
    "u": "",
    "c": "object",
    "upsert": "bool",
    "multi": "bool",
    "hint": "string or object",
    "collation": "object",
    "arrayFilters": "array",
    "sampleId": "",
    "upsertSupplied": "bool",
}


@command(
    "update",
    fields={
        "updates": "array",
        "ordered": "bool",
        "bypassDocumentValidation": "flag",
        "let": "object",
        "encryptionInformation": "object",
    },
    required=("updates",),
    takes_write_concern=True,
    in_transaction=True,
    retryable=True,
)
def run_update(operation: Operation) -> Waiting:
    """Update documents: ``{"n": 1, …, "upserted": […], "nModified": 1}``."""
    command = operation.command
    name = collection_name(operation.database, command["update"])
    check_writable(operation.database, name)
    updates = command["updates"]
    statements = Statements(operation, len(updates))
    for update in updates:
        check_fields("update.updates", update, _FIELDS, ("q", "u"))
        check_update(update["u"])
        check_array_filters("update.updates.arrayFilters", update.get("arrayFilters"))
    modified = 0
    upserted: list[Document] = []
    for place, update in enumerate(updates):
        answer = statements.answered(place)
        if answer is None:
            try:
                answer = yield from _run_statement(operation, name, update)
            except CommandFailure as failure:
                if statements.failed(place, failure):
                    break
                continue
            if answer[1] or answer[2]:
                statements.remember(place, answer)
        matched, changed, inserted = answer
        statements.n += matched + len(inserted)
        modified += changed
        upserted.extend({"index": place, "_id": id_} for id_ in inserted)
    reply = statements.reply()
    if upserted:
        reply["upserted"] = upserted
    reply["nModified"] = modified
    return reply


def _run_statement(
    operation: Operation, name: str, update: Document
) -> Generator[Wait, None, tuple[int, int, tuple[Any, ...]]]:
    """Run one statement; return matched and modified counts and the ``_id`` it inserted."""
    if operation.retryable and update.get("multi"):
        raise CommandFailure(
            INVALID_OPTIONS, "Cannot use (or request) retryable writes with multi=true"
        )
    updater = Updater(
        operation,
        name,
        UpdateStatement(
            q=update["q"],
            u=update["u"],
            upsert=bool(update.get("upsert")),
            multi=bool(update.get("multi")),
            hint=update.get("hint"),
            collation=update.get("collation"),
            array_filters=update.get("arrayFilters"),
            constants=update.get("c"),
            bypass=bool(operation.command.get("bypassDocumentValidation")),
        ),
    )
    updated: Updated = yield from until_free(updater.run)
    inserted = () if updated.upserted is None else (updated.upserted["_id"],)
    return updated.matched, updated.modified, inserted
