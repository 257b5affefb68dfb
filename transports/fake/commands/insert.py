"""``insert``.

Spec: https://www.mongodb.com/docs/manual/reference/command/insert/
"""

from __future__ import annotations

from transports.fake.commands.registry import command
from transports.fake.errors import TYPE_MISMATCH, CommandFailure
from transports.fake.namespaces import check_writable, collection_name
from transports.fake.operation import Operation, Waiting
from transports.fake.sizes import check_inserted
from transports.fake.statements import Statements, until_free
from transports.fake.values import Document, bson_type
from transports.fake.writes import insert_document


@command(
    "insert",
    fields={
        "documents": "array",
        "ordered": "bool",
        "bypassDocumentValidation": "flag",
        "encryptionInformation": "object",
    },
    required=("documents",),
    takes_write_concern=True,
    in_transaction=True,
    retryable=True,
)
def run_insert(operation: Operation) -> Waiting:
    """Insert documents: ``{"n": 2, …, "writeErrors": […]}``."""
    command = operation.command
    name = collection_name(operation.database, command["insert"])
    check_writable(operation.database, name)
    documents = command["documents"]
    statements = Statements(operation, len(documents))
    bypass = bool(command.get("bypassDocumentValidation"))
    _check_documents(documents)
    for place, document in enumerate(documents):
        if statements.answered(place) is not None:
            statements.n += 1
            continue

        def insert(place: int = place, document: Document = document) -> None:
            check_inserted(operation.measured.oversized.get(place, 0))
            insert_document(operation, operation.writable(name), document, bypass=bypass)

        try:
            yield from until_free(insert)
        except CommandFailure as failure:
            if statements.failed(place, failure):
                break
        else:
            statements.n += 1
            statements.remember(place, True)
    return statements.reply()


def _check_documents(documents: list[Document]) -> None:
    for place, document in enumerate(documents):
        if type(document) is not dict:
            raise CommandFailure(
                TYPE_MISMATCH,
                f"BSON field 'insert.documents.{place}' is the wrong type "
                f"'{bson_type(document)[1]}', expected type 'object'",
            )
