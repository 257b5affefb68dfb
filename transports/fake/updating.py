"""One update statement on one collection: find, apply, store, or insert where nothing matched.

``update`` and ``findAndModify`` share it.

Spec: https://www.mongodb.com/docs/manual/reference/command/update/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from transports.fake.errors import (
    FAILED_TO_PARSE,
    TYPE_MISMATCH,
    CommandFailure,
)
from transports.fake.matcher import Match, Matcher, compile_filter
from transports.fake.operation import Operation
from transports.fake.plan import candidates, check_text_index
from transports.fake.sizes import check_upserted
from transports.fake.sort import compile_sort
from transports.fake.stages.table import SOURCES, STAGES, UNSUPPORTED
from transports.fake.storage import CollectionView
from transports.fake.timeseries import check_measured_update, measurement
from transports.fake.update import Update, compile_update, seed_upsert
from transports.fake.values import Document, bson_type
from transports.fake.writes import insert_document, refuse_view, replace_document, with_id

_CONSTANTS_WITHOUT_PIPELINE: Final = 51198


@dataclass(slots=True, kw_only=True)
class UpdateStatement:
    """One update as a command asks for it, in the words of ``update``'s statements."""

    q: Document
    u: Any
    upsert: bool = False
    multi: bool = False
    hint: Any = None
    collation: Document | None = None
    array_filters: list[Document] | None = None
    constants: Document | None = None
    sort: Document | None = None
    bypass: bool = False


@dataclass(slots=True)
class Updated:
    """What an update did.

    Attributes:
        matched: documents that matched.
        modified: those that have changed.
        upserted: the document that was inserted, None for none.
        before: the document before, of a single update.
        after: the document after.
    """

    matched: int = 0
    modified: int = 0
    upserted: Document | None = None
    before: Document | None = None
    after: Document | None = None
    records: list[int] = field(default_factory=list)


def check_update(update: Any) -> None:
    """Refuse a ``u`` that is no update at all.

    Raises:
        CommandFailure: 9 FailedToParse, and what `check_stages` raises.
    """
    if type(update) not in (dict, list):
        raise CommandFailure(
            FAILED_TO_PARSE, "Update argument must be either an object or an array"
        )
    if type(update) is list:
        check_stages(update)


def check_stages(pipeline: list[Any]) -> None:
    """Refuse a pipeline with something in it that is no stage.

    Raises:
        CommandFailure: 14 TypeMismatch, 40323, 40324.
    """
    for stage in pipeline:
        if type(stage) is not dict:
            raise CommandFailure(
                TYPE_MISMATCH, "Each element of the 'pipeline' array must be an object"
            )
        if len(stage) != 1:
            raise CommandFailure(
                40323, "A pipeline stage specification object must contain exactly one field."
            )
        name = next(iter(stage))
        if name not in STAGES and name not in SOURCES and name not in UNSUPPORTED:
            raise CommandFailure(40324, f"Unrecognized pipeline stage name: '{name}'")


def check_array_filters(field: str, filters: Any) -> None:
    """Refuse array filters that are no documents.

    Raises:
        CommandFailure: 14 TypeMismatch.
    """
    for place, given in enumerate(filters or ()):
        if type(given) is not dict:
            raise CommandFailure(
                TYPE_MISMATCH,
                f"BSON field '{field}.{place}' is the wrong type '{bson_type(given)[1]}', "
                "expected type 'object'",
            )


class Updater:
    """A compiled update statement, ready to be tried until no transaction is in its way."""

    def __init__(self, operation: Operation, name: str, statement: UpdateStatement) -> None:
        self.operation = operation
        self.name = name
        self.statement = statement
        self.view = operation.find(name)
        refuse_view(self.view)
        self.collation = operation.collation(self.view, statement.collation)
        self.matcher, self.update = self._compile()

    def _compile(self) -> tuple[Matcher, Update]:
        statement, operation = self.statement, self.operation
        variables = operation.variables()
        if statement.constants is not None:
            if type(statement.u) is not list:
                raise CommandFailure(
                    _CONSTANTS_WITHOUT_PIPELINE,
                    "Constant values may only be specified for pipeline updates",
                )
            variables = {**variables, **operation.evaluate(statement.constants)}
        update = compile_update(
            statement.u,
            array_filters=statement.array_filters,
            collation=self.collation,
            let=variables,
            now=operation.now,
        )
        if statement.multi and update.is_replacement:
            raise CommandFailure(
                FAILED_TO_PARSE, "multi update is not supported for replacement-style update"
            )
        check_text_index(self.view, statement.q)
        matcher = compile_filter(
            statement.q,
            collation=self.collation,
            let=variables,
            now=operation.now,
            banned=frozenset({"$expr"}) if statement.upsert else frozenset(),
        )
        if self.view is not None and self.view.collection.is_timeseries:
            check_measured_update(
                self.view.collection,
                statement.q,
                statement.u,
                multi=statement.multi,
                upsert=statement.upsert,
            )
        return matcher, update

    def run(self) -> Updated:
        """Update what matches, or insert.

        Raises:
            CommandFailure: as the server refuses it.
            WouldConflict: an open transaction is in the way; nothing of the document in question
                has changed, and `run` may be called again.
        """
        if self.view is None:
            self.view = self.operation.find(self.name)
        targets = [] if self.view is None else self._targets(self.view)
        if not targets:
            return self._insert() if self.statement.upsert else Updated()
        assert self.view is not None
        for record, _, _ in targets:
            self.view.check_writable(record)
        updated = Updated()
        for record, document, match in targets:
            self._apply(self.view, record, document, match, updated)
        return updated

    def _targets(self, view: CollectionView) -> list[tuple[int, Document, Match]]:
        statement = self.statement
        found: list[tuple[int, Document, Match]] = []
        stored = candidates(
            view,
            self.matcher,
            collation=self.collation,
            hint=statement.hint,
            query=statement.q,
        )
        single = not statement.multi and not statement.sort
        match = self.matcher.match
        for record, document in self.operation.in_time(stored):
            matched = match(document)
            if matched is not None:
                found.append((record, document, matched))
                if single:
                    break
        if statement.sort and found:
            by_identity = {id(document): place for place, (_, document, _) in enumerate(found)}
            first = compile_sort(statement.sort, self.collation)([d for _, d, _ in found])[0]
            return [found[by_identity[id(first)]]]
        return found

    def _apply(
        self,
        view: CollectionView,
        record: int,
        document: Document,
        match: Match,
        updated: Updated,
    ) -> None:
        new = self.update.apply(document, match)
        if new is not document and view.collection.is_timeseries:
            new = measurement(view.collection, new)
        updated.matched += 1
        updated.before, updated.after = document, new
        if new is not document:
            replace_document(
                self.operation,
                view,
                record,
                document,
                new,
                update=None if self.update.is_replacement else self.statement.u,
                bypass=self.statement.bypass,
            )
            updated.modified += 1

    def _insert(self) -> Updated:
        document = with_id(seed_upsert(self.matcher, self.update))
        check_upserted(self.operation.server.store.received, document, self.statement.u)
        view = self.operation.writable(self.name)
        insert_document(self.operation, view, document, bypass=self.statement.bypass)
        return Updated(upserted=document, after=document)
