"""One document at a time into a collection: identifiers, validators, limits, then the storage.

Every command that writes goes through here. Nothing is changed before everything has been checked.

Spec: https://www.mongodb.com/docs/manual/core/document/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bson import ObjectId, Regex
from bson.timestamp import Timestamp

from transports.fake.clock import as_timestamp
from transports.fake.errors import (
    DOCUMENT_VALIDATION_FAILURE,
    DOLLAR_PREFIXED_FIELD_NAME,
    INVALID_ID_FIELD,
    CommandFailure,
)
from transports.fake.sizes import check_updated
from transports.fake.storage import Collection, CollectionView
from transports.fake.timeseries import measurement
from transports.fake.validation import explain_failure
from transports.fake.values import MISSING, Document

if TYPE_CHECKING:
    from transports.fake.operation import Operation

_VIEW: Final = 166


def refuse_view(view: CollectionView | None) -> None:
    """Refuse what only a collection can do.

    Raises:
        CommandFailure: 166 CommandNotSupportedOnView.
    """
    if view is not None and view.collection.is_view:
        raise CommandFailure(
            _VIEW, f"Namespace {view.collection.namespace} is a view, not a collection"
        )


def insert_document(
    operation: Operation, view: CollectionView, document: Document, *, bypass: bool = False
) -> Any:
    """Store a document and return its ``_id``.

    Raises:
        CommandFailure: 11000, 121, 53, …
        WouldConflict: an open transaction holds one of its keys.
    """
    collection = view.collection
    refuse_view(view)
    measures = collection.is_timeseries
    document = measurement(collection, document) if measures else with_id(document)
    for name, value in document.items():
        if type(value) is Timestamp and name != "_id" and not value.time and not value.inc:
            document = {**document, name: as_timestamp(operation.server.clock.tick())}
    if collection.validator is not None and not bypass:
        validate(collection, document)
    operation.server.failpoints.before_write(operation)
    view.insert(document, operation.origin())
    return document.get("_id")


def with_id(document: Document) -> Document:
    """Return the document with its ``_id`` first, a new one if it has none.

    Raises:
        CommandFailure: 53 or 52 for a value that cannot identify a document.
    """
    value = document.get("_id", MISSING)
    if value is MISSING:
        return {"_id": ObjectId(), **document}
    check_id(value)
    if next(iter(document)) != "_id":
        return {"_id": value, **document}
    return document


def check_id(value: Any) -> None:
    """Refuse what cannot be an ``_id``.

    Raises:
        CommandFailure: 53 InvalidIdField, 52 DollarPrefixedFieldName.
    """
    kind = type(value)
    if kind is list or kind is Regex:
        name = "array" if kind is list else "regex"
        raise CommandFailure(INVALID_ID_FIELD, f"The '_id' value cannot be of type {name}")
    if kind is dict:
        for name in value:
            if name.startswith("$"):
                raise CommandFailure(
                    DOLLAR_PREFIXED_FIELD_NAME,
                    f"_id fields may not contain '$'-prefixed fields: {name} is not valid for "
                    "storage.",
                )


def replace_document(
    operation: Operation,
    view: CollectionView,
    record: int,
    old: Document,
    new: Document,
    *,
    update: Any,
    bypass: bool = False,
) -> None:
    """Put a document in the place of another.

    Args:
        update: the ``u`` that made it; None for a replacement.

    Raises:
        CommandFailure: 11000, 121, 112, 17419, 10334.
        WouldConflict: an open transaction holds the record or one of the new keys.
    """
    collection = view.collection
    check_updated(operation.server.store.received, new, update)
    if collection.validator is not None and not bypass:
        level = collection.options.get("validationLevel", "strict")
        if level != "moderate" or collection.validator(old):
            validate(collection, new)
    operation.server.failpoints.before_write(operation)
    view.replace(record, old, new, operation.origin(update))


def remove_document(
    operation: Operation, view: CollectionView, record: int, document: Document
) -> None:
    """Remove a document.

    Raises:
        CommandFailure: 112.
        WouldConflict: an open transaction holds the record.
    """
    view.check_writable(record)
    operation.server.failpoints.before_write(operation)
    view.remove(record, document, operation.origin())


def validate(collection: Collection, document: Document) -> None:
    """Check a document against the collection's validator.

    Raises:
        CommandFailure: 121 DocumentValidationFailure.
    """
    validator = collection.validator
    if (
        validator is None
        or collection.options.get("validationLevel") == "off"
        or collection.options.get("validationAction") == "warn"
        or validator(document)
    ):
        return
    details = explain_failure(collection.options["validator"], document)
    raise CommandFailure(
        DOCUMENT_VALIDATION_FAILURE,
        "Document failed validation",
        extra={"errInfo": {"failingDocumentId": document.get("_id"), "details": details}},
    )
