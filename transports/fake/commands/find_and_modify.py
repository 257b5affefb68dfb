"""``findAndModify``.

Spec: https://www.mongodb.com/docs/manual/reference/command/findAndModify/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from transports.fake.commands.registry import command
from transports.fake.errors import BAD_VALUE, FAILED_TO_PARSE, CommandFailure
from transports.fake.matcher import Match, compile_filter, is_id_query
from transports.fake.namespaces import check_writable, collection_name
from transports.fake.operation import Operation, Waiting
from transports.fake.plan import candidates
from transports.fake.projection import compile_projection
from transports.fake.sort import compile_sort
from transports.fake.statements import until_free
from transports.fake.timeseries import refuse_time_series
from transports.fake.updating import Updater, UpdateStatement, check_array_filters
from transports.fake.values import Document
from transports.fake.writes import refuse_view, remove_document

_EXECUTION: Final = "Plan executor error during findAndModify :: caused by :: "
_UNPREFIXED: Final = frozenset({2, 9, 166, 238, 246, 251})


@command(
    "findAndModify",
    "findandmodify",
    fields={
        "query": "object",
        "sort": "object",
        "remove": "flag",
        "update": "update",
        "new": "flag",
        "fields": "object",
        "upsert": "flag",
        "bypassDocumentValidation": "flag",
        "collation": "object",
        "arrayFilters": "array",
        "hint": "string or object",
        "let": "object",
        "encryptionInformation": "object",
    },
    takes_write_concern=True,
    in_transaction=True,
    retryable=True,
)
def run_find_and_modify(operation: Operation) -> Waiting:
    """Change one document and return it: ``{"lastErrorObject": {…}, "value": {…}}``."""
    command = operation.command
    check_array_filters("findAndModify.arrayFilters", command.get("arrayFilters"))
    name = collection_name(operation.database, next(iter(command.values())))
    _check_options(command)
    check_writable(operation.database, name)
    found = operation.find(name)
    refuse_time_series(None if found is None else found.collection)
    statement = int(command.get("stmtId") or 0)
    session = operation.session
    if operation.retryable and session is not None and statement in session.statements:
        answered: Document = {**session.statements[statement], "retriedStmtId": statement}
        return answered
    run = _removal(operation, name) if command.get("remove") else _update(operation, name)
    try:
        reply, wrote = yield from until_free(run)
    except CommandFailure as failure:
        if failure.code not in _UNPREFIXED:
            failure.message = _EXECUTION + failure.message
        raise
    if wrote and operation.retryable and session is not None:
        session.statements[statement] = dict(reply)
    return cast(Document, reply)


def _check_options(command: Document) -> None:
    update, remove = command.get("update"), command.get("remove")
    if remove:
        if update is not None:
            raise _refused("Cannot specify both an update and remove=true")
        if command.get("upsert"):
            raise _refused("Cannot specify both upsert=true and remove=true ")
        if command.get("new"):
            raise _refused(
                "Cannot specify both new=true and remove=true; 'remove' always returns the "
                "deleted document"
            )
        if command.get("arrayFilters"):
            raise _refused("Cannot specify arrayFilters and remove=true")
    elif type(update) is list and command.get("arrayFilters") is not None:
        raise _refused("Cannot specify arrayFilters and a pipeline update")
    elif update is None:
        raise _refused("Either an update or remove=true must be specified")


def _refused(message: str) -> CommandFailure:
    return CommandFailure(FAILED_TO_PARSE, message)


def _projection(
    operation: Operation, query: Document, collation: Any
) -> Callable[[Document | None], Document | None]:
    """Return what shows a document as ``fields`` asks for it; also check ``sort``."""
    command = operation.command
    fields = command.get("fields")
    if command.get("sort") and (fields or not is_id_query(query)):
        compile_sort(command["sort"], collation)
    project = compile_projection(
        fields or {}, collation=collation, let=operation.variables(), now=operation.now
    )
    positional = any(path.endswith(".$") for path in fields or ())
    if positional and command.get("new"):
        raise CommandFailure(
            BAD_VALUE, "cannot use a positional projection and return the new document"
        )

    def projected(document: Document | None) -> Document | None:
        if document is None or not fields:
            return document
        match: Match | None = None
        if positional:
            matcher = compile_filter(query, collation=collation, let=operation.variables())
            match = matcher.match(document)
        return project(document, match)

    return projected


def _update(operation: Operation, name: str) -> Any:
    command = operation.command
    query = command.get("query") or {}
    updater = Updater(
        operation,
        name,
        UpdateStatement(
            q=query,
            u=command["update"],
            upsert=bool(command.get("upsert")),
            hint=command.get("hint"),
            array_filters=command.get("arrayFilters"),
            sort=None if is_id_query(query) else command.get("sort"),
            bypass=bool(command.get("bypassDocumentValidation")),
        ),
    )

    projected = _projection(operation, query, updater.collation)

    def run() -> tuple[Document, bool]:
        updated = updater.run()
        existing = updated.upserted is None and updated.matched > 0
        count = 1 if existing or updated.upserted is not None else 0
        last: Document = {"n": count, "updatedExisting": existing}
        if updated.upserted is not None:
            last["upserted"] = updated.upserted["_id"]
        value = updated.after if command.get("new") else updated.before
        value = projected(value)
        wrote = updated.modified > 0 or updated.upserted is not None
        return {"lastErrorObject": last, "value": value}, wrote

    return run


def _removal(operation: Operation, name: str) -> Any:
    command = operation.command
    query = command.get("query") or {}

    def run() -> tuple[Document, bool]:
        view = operation.find(name)
        refuse_view(view)
        collation = operation.collation(view)
        matcher = compile_filter(
            query, collation=collation, let=operation.variables(), now=operation.now
        )
        projected = _projection(operation, query, collation)
        if view is None:
            return {"lastErrorObject": {"n": 0}, "value": None}, False
        stored = candidates(
            view, matcher, collation=collation, hint=command.get("hint"), query=query
        )
        found = [(record, document) for record, document in stored if matcher(document)]
        if not found:
            return {"lastErrorObject": {"n": 0}, "value": None}, False
        record, document = found[0]
        if command.get("sort") and not is_id_query(query):
            records = {id(document): record for record, document in found}
            document = compile_sort(command["sort"], collation)([d for _, d in found])[0]
            record = records[id(document)]
        value = projected(document)
        remove_document(operation, view, record, document)
        return {"lastErrorObject": {"n": 1}, "value": value}, True

    return run
