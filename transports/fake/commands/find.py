"""``find``.

Spec: https://www.mongodb.com/docs/manual/reference/command/find/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from bson import Int64

from transports.fake import metadata
from transports.fake.commands.registry import command, non_negative
from transports.fake.cursors import DEFAULT_BATCH, Cursor, Tail
from transports.fake.errors import (
    BAD_VALUE,
    FAILED_TO_PARSE,
    TYPE_MISMATCH,
    CommandFailure,
    unsupported,
)
from transports.fake.expressions.scope import folding
from transports.fake.fetching import first_batch, snapshot_time
from transports.fake.matcher import Matcher, compile_filter
from transports.fake.namespaces import collection_name
from transports.fake.operation import Operation
from transports.fake.plan import bounded, candidates, check_text_index, index_scan, sorting_index
from transports.fake.projection import compile_projection
from transports.fake.sort import compile_sort
from transports.fake.storage import Collection, CollectionView
from transports.fake.values import Document
from transports.fake.views import find_as_pipeline, run_on_view

_DOCUMENTS: Final = ("filter", "sort", "projection")

UNSUPPORTED_OPTIONS: Final = (
    "returnKey",
    "requestResumeToken",
    "$_requestResumeToken",
    "resumeAfter",
)


@command(
    "find",
    fields={
        "filter": "",
        "projection": "",
        "sort": "",
        "hint": "string or object",
        "collation": "object",
        "skip": "number",
        "limit": "number",
        "batchSize": "number",
        "singleBatch": "flag",
        "allowDiskUse": "flag",
        "min": "object",
        "max": "object",
        "returnKey": "flag",
        "showRecordId": "flag",
        "tailable": "flag",
        "awaitData": "flag",
        "oplogReplay": "flag",
        "noCursorTimeout": "flag",
        "allowPartialResults": "flag",
        "mirrored": "flag",
        "let": "object",
        "options": "object",
        "term": "number",
        "readOnce": "flag",
        "allowSpeculativeMajorityRead": "flag",
        "requestResumeToken": "flag",
        "resumeAfter": "object",
        "$_requestResumeToken": "flag",
        "$_resumeAfter": "object",
        "encryptionInformation": "object",
        "runtimeConstants": "object",
    },
    struct="FindCommandRequest",
    read_concerns=("local", "majority", "linearizable", "available", "snapshot"),
    in_transaction=True,
)
def run_find(operation: Operation) -> Document:
    """Find documents: ``{"cursor": {"firstBatch": […], "id": 0, "ns": "db.coll"}}``."""
    command = operation.command
    name = collection_name(operation.database, command["find"])
    for field in _DOCUMENTS:
        if field in command and type(command[field]) is not dict and command[field] is not None:
            raise CommandFailure(TYPE_MISMATCH, f"Expected field {field}to be of type object")
    _check_options(command)
    skip = non_negative("skip", command.get("skip") or 0)
    limit = non_negative("limit", command.get("limit") or 0)
    size = command.get("batchSize")
    size = DEFAULT_BATCH if size is None else non_negative("batchSize", size)
    view = operation.find(name)
    if view is not None and view.collection.is_view:
        return run_on_view(operation, view.collection, find_as_pipeline(command), size)
    with folding():
        query = _Query(operation, view)
    namespace = f"{operation.database}.{name}"
    if view is None:
        return {"cursor": {"id": Int64(0), "ns": namespace, "firstBatch": []}}
    if command.get("tailable"):
        size = min(size, limit) if limit else size
        return _tailable(operation, view, query, namespace, size)
    documents = query.documents(view, skip, limit)
    cursor = Cursor(
        namespace,
        documents,
        collection=view.collection,
        no_timeout=bool(command.get("noCursorTimeout")),
        limit=limit,
        knows_end=query.knows_end,
    )
    reply = first_batch(operation, cursor, size, close=bool(command.get("singleBatch")))
    if command.get("readConcern", {}).get("level") == "snapshot" and not operation.transaction:
        reply["cursor"]["atClusterTime"] = snapshot_time(operation)
    return reply


def _check_options(command: Document) -> None:
    if command.get("awaitData") and not command.get("tailable"):
        raise CommandFailure(
            FAILED_TO_PARSE, "Cannot set 'awaitData' without also setting 'tailable'"
        )
    if command.get("tailable"):
        if command.get("sort") and command["sort"] != {"$natural": 1}:
            raise CommandFailure(
                BAD_VALUE, "cannot use tailable option with a sort other than {$natural: 1}"
            )
        if command.get("singleBatch"):
            raise CommandFailure(
                BAD_VALUE, "cannot use tailable option with the 'singleBatch' option"
            )
    for option in UNSUPPORTED_OPTIONS:
        if command.get(option):
            raise unsupported(f"the option {option} of find")


class _Query:
    """The compiled parts of a find.

    Attributes:
        metadata: which kinds of metadata its projection and sort ask for.
        in_one_batch: whether the limit ends the cursor with its first batch.
        knows_end: whether the plan knows its last document for the last (a sort, one ``_id``).
    """

    def __init__(self, operation: Operation, view: CollectionView | None) -> None:
        command = operation.command
        self.operation = operation
        self.command = command
        self.filter: Document = command.get("filter") or {}
        self.collation = operation.collation(view)
        variables = operation.variables()
        check_text_index(view, self.filter, f"{operation.database}.{command['find']}")
        self.matcher: Matcher = compile_filter(
            self.filter,
            collation=self.collation,
            let=variables,
            now=operation.now,
        )
        sort = command.get("sort") or {}
        limit, size = command.get("limit") or 0, command.get("batchSize")
        self.in_one_batch = bool(limit) and limit <= (DEFAULT_BATCH if size is None else size)
        self.natural = sort.get("$natural")
        self.sort: Callable[[Iterable[Document]], list[Document]] | None = None
        projection = command.get("projection")
        self.project = None
        self.positional = False
        if projection:
            self.project = compile_projection(
                projection, collation=self.collation, let=variables, now=operation.now
            )
            self.positional = any(path.endswith(".$") for path in projection)
        if sort and self.natural is None:
            self.sort = compile_sort(sort, self.collation)
        self.metadata = metadata.kinds_in([projection, sort])
        if self.metadata:
            metadata.check_available(self.metadata, self._available())
        if self.matcher.text is not None and self.natural is not None:
            raise CommandFailure(BAD_VALUE, "text expression not allowed with $natural sort order")
        id_ = self.filter.get("_id")
        self.knows_end = self.sort is not None or (
            id_ is not None
            and len(self.filter) == 1
            and not (type(id_) is dict and any(key.startswith("$") for key in id_))
        )

    def _available(self) -> frozenset[str]:
        kinds = {"textScore"} if self.matcher.text is not None else set()
        if self.matcher.near is not None:
            kinds |= {"geoNearDistance", "geoNearPoint"}
        return frozenset(kinds)

    def _with_metadata(self, record: int, document: Document) -> Document:
        known: Document = {"recordId": Int64(record)}
        text, near = self.matcher.text, self.matcher.near
        score = None if text is None else text.score(document)
        if score is not None:
            known["textScore"] = score
        nearest = None if near is None else near.distance(document)
        if nearest is not None:
            known["geoNearDistance"], known["geoNearPoint"] = nearest
        return metadata.attached(document, known)

    @property
    def may_sort_by_index(self) -> bool:
        """Whether nothing else than a sort asks for an index."""
        matcher = self.matcher
        return matcher.near is None and matcher.text is None and not matcher.index_bounds()

    def stored(self, view: CollectionView) -> Iterable[tuple[int, Document]]:
        """Return the records to look at."""
        command = self.command
        if command.get("min") or command.get("max"):
            return bounded(view, command.get("hint"), command.get("min"), command.get("max"))
        hint = command.get("hint")
        if self.sort is not None and not hint and self.may_sort_by_index:
            order = sorting_index(view, command["sort"])
            if order is not None and self.collation is None:
                self.sort = None
                return index_scan(
                    view,
                    order[0],
                    self.filter.get(order[0].fields[0]),
                    backwards=order[1],
                    lazily=self.in_one_batch,
                )
        if self.natural is not None:
            hint = {"$natural": self.natural}
        return candidates(
            view, self.matcher, collation=self.collation, hint=hint, query=self.filter
        )

    def documents(self, view: CollectionView, skip: int, limit: int) -> Iterator[Document]:
        """Yield the documents found, sorted, cut and projected."""
        matcher, project = self.matcher, self.project
        stored = self.operation.in_time(self.stored(view))
        matching = ((record, document) for record, document in stored if matcher(document))
        if self.metadata:
            matching = ((r, self._with_metadata(r, document)) for r, document in matching)
        if self.command.get("showRecordId"):
            matching = ((r, {**document, "$recordId": Int64(r)}) for r, document in matching)
        found: Iterator[Document] = (document for _, document in matching)
        if self.sort is not None:
            found = iter(self.sort(found))
        if skip or limit:  # before the projection, which may fail
            found = islice(found, skip, skip + limit if limit else None)
        if self.metadata:
            return metadata.stripped(
                document if project is None else project(document, matcher.match(document))
                for document in found
            )
        if project is None:
            return found
        if not self.positional:
            return (project(document, None) for document in found)
        return (project(document, matcher.match(document)) for document in found)

    def shape(self, document: Document) -> Document | None:
        """Return one document as the query shows it, None if it does not match."""
        match = self.matcher.match(document)
        if match is None:
            return None
        return document if self.project is None else self.project(document, match)


def _tailable(
    operation: Operation, view: CollectionView, query: _Query, namespace: str, size: int
) -> Document:
    collection = view.collection
    if not collection.is_capped:
        raise CommandFailure(
            BAD_VALUE,
            f"error processing query: ns={namespace}Tree: $and\nSort: {{}}\nProj: {{}}\n "
            "tailable cursor requested on non capped collection",
        )
    assert isinstance(collection, Collection)
    cursor = Cursor(
        namespace,
        Tail(collection, query.shape),
        collection=collection,
        tailable=True,
        await_data=bool(operation.command.get("awaitData")),
        no_timeout=bool(operation.command.get("noCursorTimeout")),
    )
    return first_batch(operation, cursor, size, close=not collection.records)
