"""Events of change streams: what a change in the oplog looks like to a listener.

Spec: https://www.mongodb.com/docs/manual/reference/change-events/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from bson import Binary, DatetimeMS

from transports.fake.bson_text import render
from transports.fake.clock import as_timestamp
from transports.fake.diffs import compared, described, touched
from transports.fake.errors import CommandFailure
from transports.fake.oplog import Change
from transports.fake.resume_tokens import event_token
from transports.fake.sessions import NOBODY_DIGEST
from transports.fake.storage import Store
from transports.fake.values import Document

_NO_MATCHING_DOCUMENT: Final = 47
_EXPANDED: Final = frozenset({"create", "createIndexes", "dropIndexes", "modify"})
_UNSEEN: Final = frozenset({"admin", "config", "local"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a stream listens to and how it shows it.

    Attributes:
        database: None for the whole cluster.
        collection: None for the whole database.
        full_document: ``default``, ``updateLookup``, ``whenAvailable`` or ``required``.
        before: of ``fullDocumentBeforeChange``: ``off``, ``whenAvailable`` or ``required``.
        expanded: whether schema changes are told too.
    """

    database: str | None = None
    collection: str | None = None
    full_document: str = "default"
    before: str = "off"
    expanded: bool = False

    def sees(self, change: Change) -> bool:
        """Tell whether the stream has an event for a change."""
        if change.operation in _EXPANDED and not self.expanded:
            return False
        if self.database is None:
            return change.database not in _UNSEEN and not change.collection.startswith("system.")
        if change.operation == "rename" and change.extra is not None:
            target = change.extra["to"]
            if self._covers(target["db"], target["coll"]):
                return True
        if change.operation == "dropDatabase":
            return change.database == self.database
        return self._covers(change.database, change.collection)

    def _covers(self, database: str, collection: str) -> bool:
        if database != self.database:
            return False
        if self.collection is None:
            return not collection.startswith("system.")
        return collection == self.collection

    def is_ended_by(self, change: Change) -> bool:
        """Tell whether a change that the stream sees is its last."""
        if self.collection is not None:
            return change.operation in ("drop", "rename", "dropDatabase")
        return self.database is not None and change.operation == "dropDatabase"


def event_of(store: Store, scope: Scope, change: Change) -> Document:
    """Return the event of a change.

    Raises:
        CommandFailure: 47 if an image of the document is required and was not kept.
    """
    event: Document = {}
    if change.operation == "rename" and change.extra is not None:
        event["to"] = change.extra["to"]
    origin = change.origin
    if origin is not None and origin.lsid is not None:
        event["txnNumber"] = origin.txn_number
        event["lsid"] = {"id": origin.lsid["id"], "uid": origin.lsid.get("uid", NOBODY_DIGEST)}
    event["_id"] = event_token(change)
    operation, description = _described(change)
    event["operationType"] = operation
    event["clusterTime"] = as_timestamp(change.time)
    if scope.expanded and change.uuid is not None:
        event["collectionUUID"] = Binary(change.uuid.bytes, 4)
    event["wallTime"] = DatetimeMS(change.wall_ms)
    if operation in ("insert", "replace"):
        event["fullDocument"] = change.after
    elif operation == "update" and scope.full_document != "default":
        event["fullDocument"] = _after(store, scope, change)
    event["ns"] = {"db": change.database}
    if change.collection:
        event["ns"]["coll"] = change.collection
    if operation in ("insert", "update", "replace", "delete"):
        event["documentKey"] = {"_id": change.id}
    if description is not None:
        event["updateDescription"] = description
    if operation in ("update", "replace", "delete") and scope.before != "off":
        _add_before(event, scope, change)
    if scope.expanded and change.extra is not None:
        event["operationDescription"] = _operation_description(change.extra)
        if "stateBeforeChange" in change.extra:
            event["stateBeforeChange"] = change.extra["stateBeforeChange"]
    return event


def _operation_description(extra: Document) -> Any:
    if "operationDescription" in extra:
        return extra["operationDescription"]
    described: Document = {"to": extra["to"]}
    if extra.get("dropTarget") is not None:
        described = {"dropTarget": Binary(extra["dropTarget"].bytes, 4), **described}
    return described


def invalidate_event(change: Change) -> Document:
    """Return the last event of a stream whose collection or database is gone."""
    return {
        "_id": event_token(change, invalidates=True),
        "operationType": "invalidate",
        "clusterTime": as_timestamp(change.time),
        "wallTime": DatetimeMS(change.wall_ms),
    }


def _described(change: Change) -> tuple[str, Document | None]:
    """Return the type of event and, for an update, what has changed."""
    if change.operation != "update" or change.before is None or change.after is None:
        return change.operation, None
    update = None if change.origin is None else change.origin.update
    if type(update) is dict:
        return "update", described(touched(update, change.before, change.after))
    diff = compared(change.before, change.after)
    return ("replace", None) if diff is None else ("update", described(diff))


def _after(store: Store, scope: Scope, change: Change) -> Document | None:
    if scope.full_document == "updateLookup":
        return _current(store, change)
    if change.images:
        return change.after
    if scope.full_document == "required":
        raise _image_missing("post", "update", change)
    return None


def _current(store: Store, change: Change) -> Document | None:
    collection = store.find(change.database, change.collection)
    if collection is None or collection.uuid != change.uuid:
        return None
    index = collection.indexes["_id_"]
    for record in index.records(index.hash_of((change.id,))):
        return collection.records[record]
    return None


def _add_before(event: Document, scope: Scope, change: Change) -> None:
    if change.images:
        event["fullDocumentBeforeChange"] = change.before
    elif scope.before == "required":
        raise _image_missing("pre", "update, delete and replace", change)
    else:
        event["fullDocumentBeforeChange"] = None


def _image_missing(image: str, operations: str, change: Change) -> CommandFailure:
    plural = "s" if image == "pre" else ""
    about = render(
        {
            "operationType": change.operation,
            "ns": {"db": change.database, "coll": change.collection},
            "clusterTime": as_timestamp(change.time),
        }
    )
    about = about.replace("{ ", "{").replace(" }", "}")
    return CommandFailure(
        _NO_MATCHING_DOCUMENT,
        "PlanExecutor error during aggregation :: caused by :: Change stream was configured to "
        f"require a {image}-image for all {operations} event{plural or 's'}, but the {image}-image "
        f"was not found for event: {about}",
    )
