"""Change streams: the cursor behind ``$changeStream``.

Spec: https://www.mongodb.com/docs/manual/changeStreams/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bson import Int64
from bson.timestamp import Timestamp

from transports.fake.bson_text import render
from transports.fake.change_events import Scope, event_of, invalidate_event
from transports.fake.clock import as_integer
from transports.fake.commands.registry import check_fields
from transports.fake.cursors import Cursor
from transports.fake.environment import OperationEnvironment
from transports.fake.errors import BAD_VALUE, ILLEGAL_OPERATION, INVALID_OPTIONS, CommandFailure
from transports.fake.fetching import own
from transports.fake.operation import Operation
from transports.fake.oplog import Change
from transports.fake.pipeline import Pipeline, compile_pipeline
from transports.fake.resume_tokens import Place, event_token, high_water_mark, parse_token
from transports.fake.timeseries import refuse_time_series
from transports.fake.values import Document

NON_RESUMABLE: Final = "NonResumableChangeStreamError"

_CHANGE_STREAM_FATAL: Final = 280
_HISTORY_LOST: Final = 286
_INVALID_RESUME_TOKEN: Final = 260
_TWO_PLACES: Final = 50865
_TWO_STARTS: Final = 40674
_NOT_IN_TRANSACTION: Final = 263
_SPLIT: Final = "$changeStreamSplitLargeEvent"
_STAGES: Final = frozenset(
    {
        "$addFields",
        _SPLIT,
        "$match",
        "$project",
        "$redact",
        "$replaceRoot",
        "$replaceWith",
        "$set",
        "$unset",
    }
)
_OPTIONS: Final = {
    "fullDocument": "string",
    "fullDocumentBeforeChange": "string",
    "resumeAfter": "",
    "startAfter": "",
    "startAtOperationTime": "",
    "allChangesForCluster": "flag",
    "showExpandedEvents": "flag",
    "showMigrationEvents": "flag",
    "showSystemEvents": "flag",
    "allowToRunOnConfigDB": "flag",
    "allowToRunOnSystemNS": "flag",
}
_CHOICES: Final = {
    "fullDocument": ("default", "updateLookup", "whenAvailable", "required"),
    "fullDocumentBeforeChange": ("off", "whenAvailable", "required"),
}
_MAX_EVENTS: Final = 1000


class ChangeStream:
    """The position of one listener.

    Attributes:
        position: number of the next change in the oplog to look at.
        token: the resume token of the last event told, or a high-water mark.
        invalidated: whether its last event has been told.
    """

    def __init__(
        self, scope: Scope, pipeline: Pipeline | None, position: int, token: Document
    ) -> None:
        self.scope = scope
        self._pipeline = pipeline
        self.position = position
        self.token = token
        self.invalidated = False
        self._pending_invalidate: Change | None = None

    def events(self, operation: Operation, most: int) -> list[Document]:
        """Return the next events, at most so many, and move past them.

        Raises:
            CommandFailure: 280 if the pipeline has changed an event's ``_id``, 286 if changes
                have been forgotten, 47 for an image that is missing.
        """
        store = operation.server.store
        if self.position < store.oplog.first:
            raise _history_lost()
        found: list[Document] = []
        environment = OperationEnvironment(operation, self.scope.collection or "", None, {})
        while len(found) < most and not self.invalidated:
            if self._pending_invalidate is not None:
                change, self._pending_invalidate = self._pending_invalidate, None
                self.invalidated = True
                event = invalidate_event(change)
                self.token = event["_id"]
                found.extend(self._shaped(event, environment))
                continue
            step = next(store.oplog.after(self.position), None)
            if step is None:
                break
            self.position = step[0] + 1
            change = step[1]
            if not self.scope.sees(change):
                self.token = high_water_mark(change.time + 1)
                continue
            event = event_of(store, self.scope, change)
            self.token = event["_id"]
            if self.scope.is_ended_by(change):
                self._pending_invalidate = change
            found.extend(self._shaped(event, environment))
        return found

    def _shaped(self, event: Document, environment: OperationEnvironment) -> Iterator[Document]:
        if self._pipeline is None:
            yield event
            return
        for shaped in self._pipeline.run([event], environment):
            if shaped.get("_id") != event["_id"]:
                raise CommandFailure(
                    _CHANGE_STREAM_FATAL,
                    "PlanExecutor error during aggregation :: caused by :: Encountered an event "
                    "whose _id field, which contains the resume token, was modified by the "
                    "pipeline. Modifying the _id field of an event makes it impossible to resume "
                    "the stream from that point. Only transformations that retain the unmodified "
                    f"_id field are allowed. Expected: {render({'_id': event['_id']})} but found: "
                    f"{render({'_id': shaped['_id']} if '_id' in shaped else {})}",
                    labels=(NON_RESUMABLE,),
                )
            yield shaped

    def next_batch(self, operation: Operation, cursor: Cursor, size: int | None) -> Document:
        """Return the reply to ``getMore``."""
        events = self.events(operation, size or _MAX_EVENTS)
        cursor_id = cursor.id
        if self.invalidated:
            operation.server.cursors.close(cursor_id)
            cursor_id = Int64(0)
        return self._reply("nextBatch", events, cursor_id, cursor.namespace)

    def _reply(self, field: str, events: list[Document], id_: Int64, namespace: str) -> Document:
        cursor: Document = {field: events, "postBatchResumeToken": self.token}
        if self.invalidated:
            cursor["invalidated"] = True
        return {"cursor": {**cursor, "id": id_, "ns": namespace}}

    def first_batch(self, operation: Operation, cursor: Cursor, size: int) -> Document:
        """Return the reply to the ``aggregate`` that has opened the stream."""
        events = self.events(operation, size)
        own(operation, cursor)
        if not self.invalidated:
            operation.server.cursors.register(cursor)
        return self._reply("firstBatch", events, cursor.id, cursor.namespace)


def open_change_stream(
    operation: Operation, name: str, stages: list[Document], size: int
) -> Document:
    """Open a change stream and return the reply with what has happened since its start."""
    if operation.transaction is not None:
        raise CommandFailure(
            _NOT_IN_TRANSACTION,
            "Operation not permitted in transaction :: caused by :: Aggregation stage "
            "$changeStream cannot run within a multi-document transaction.",
        )
    options = stages[0]["$changeStream"]
    check_fields("$changeStream", options, _OPTIONS)
    for option, choices in _CHOICES.items():
        if options.get(option) is not None and options[option] not in choices:
            raise CommandFailure(
                BAD_VALUE,
                f"Enumeration value '{options[option]}' for field '$changeStream.{option}' is not "
                "a valid value.",
            )
    scope = _scope(operation, name, options)
    rest = stages[1:]
    release = tuple(map(int, operation.server.version.split(".")[:2]))
    if rest and rest[-1] == {_SPLIT: {}} and release >= (7, 0):
        rest = rest[:-1]  # no event here is larger than a document may be
    for stage in rest:
        (stage_name,) = stage
        if stage_name not in _STAGES and stage_name.startswith("$"):
            compile_pipeline([stage])
            raise CommandFailure(
                ILLEGAL_OPERATION, f"{stage_name} is not permitted in a $changeStream pipeline"
            )
    pipeline = compile_pipeline(rest, database=operation.database) if rest else None
    position, token = _start(operation, options)
    stream = ChangeStream(scope, pipeline, position, token)
    namespace = f"{operation.database}.{name or '$cmd.aggregate'}"
    cursor = Cursor(namespace, iter(()), stream=stream)
    return stream.first_batch(operation, cursor, size)


def _scope(operation: Operation, name: str, options: Document) -> Scope:
    cluster = bool(options.get("allChangesForCluster"))
    if cluster and (operation.database != "admin" or name):
        raise CommandFailure(
            INVALID_OPTIONS,
            "A $changeStream with 'allChangesForCluster:true' may only be opened on the 'admin' "
            f"database, and with no collection name; found "
            f"{operation.database}{'.' + name if name else ''}",
        )
    if operation.database in ("admin", "config", "local") and not cluster:
        raise CommandFailure(
            73, f"$changeStream may not be opened on the internal {operation.database} database"
        )
    view = operation.find(name) if name else None
    if view is not None and (view.collection.is_view or view.collection.is_timeseries):
        refuse_time_series(view.collection)
        raise CommandFailure(
            166, f"Namespace {view.collection.namespace} is a view, not a collection"
        )
    return Scope(
        database=None if cluster else operation.database,
        collection=name or None,
        full_document=options.get("fullDocument") or "default",
        before=options.get("fullDocumentBeforeChange") or "off",
        expanded=bool(options.get("showExpandedEvents")),
    )


def _start(operation: Operation, options: Document) -> tuple[int, Document]:
    """Return the number of the first change to look at, and the token that stands before it."""
    resume, after = options.get("resumeAfter"), options.get("startAfter")
    at: Any = options.get("startAtOperationTime")
    if resume is not None and after is not None:
        raise CommandFailure(
            _TWO_PLACES,
            "Do not specify both 'resumeAfter' and 'startAfter' in a $changeStream stage",
        )
    token = resume if resume is not None else after
    if token is not None and at is not None:
        raise CommandFailure(
            _TWO_STARTS,
            "Only one type of resume option is allowed, but multiple were found.",
        )
    if token is not None:
        place = parse_token(token)
        if place.invalidates and resume is not None:
            raise CommandFailure(
                _INVALID_RESUME_TOKEN,
                "Attempting to resume a change stream using 'resumeAfter' is not allowed from an "
                "invalidate notification",
            )
        return _position_after(operation, place, token), token
    oplog, clock = operation.server.store.oplog, operation.server.clock
    if at is not None:
        assert isinstance(at, Timestamp)
        time = as_integer(at)
        if time < oplog.forgotten_time:
            raise _history_lost()
        return oplog.number_at(time), high_water_mark(time)
    return oplog.end, high_water_mark(clock.latest + 1)


def _position_after(operation: Operation, place: Place, token: Document) -> int:
    oplog = operation.server.store.oplog
    if place.time <= oplog.forgotten_time:
        raise _history_lost()
    first = oplog.number_at(place.time)
    if not place.is_event:
        return first
    for number, change in oplog.after(first):
        if change.time != place.time:
            break
        if change.place == place.place and (
            event_token(change, invalidates=place.invalidates) == token
        ):
            return number + 1
    raise CommandFailure(
        _CHANGE_STREAM_FATAL,
        "PlanExecutor error during aggregation :: caused by :: cannot resume stream; the resume "
        f"token was not found. {render(token)}",
        labels=(NON_RESUMABLE,),
    )


def _history_lost() -> CommandFailure:
    return CommandFailure(
        _HISTORY_LOST,
        "PlanExecutor error during aggregation :: caused by :: Resume of change stream was not "
        "possible, as the resume point may no longer be in the oplog. ",
        labels=(NON_RESUMABLE,),
    )
