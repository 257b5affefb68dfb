"""What a running pipeline needs from the storage: other collections, and where results go.

The command layer implements `Environment`; stages know nothing else of collections, sessions or
transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from bson import DatetimeMS

from transports.fake.collation import Collation
from transports.fake.values import Document


class Environment(Protocol):
    """One run of one pipeline."""

    @property
    def database(self) -> str:
        """The database that the command names."""
        ...

    @property
    def collection(self) -> str:
        """The collection that it names (``""`` for a database-level pipeline)."""
        ...

    @property
    def variables(self) -> Mapping[str, Any]:
        """The command's ``let``, evaluated: name → value."""
        ...

    @property
    def now(self) -> DatetimeMS:
        """``$$NOW``, the same for the whole command."""
        ...

    @property
    def collation(self) -> Collation | None:
        """The command's collation (the collection's default already applied)."""
        ...

    def read(self, database: str, collection: str) -> Iterable[Document]:
        """Yield the documents of a collection or view; nothing if it does not exist."""
        ...

    def source(self, stage: str, spec: Any) -> Iterable[Document]:
        """Yield what a stage that reports on the storage or the server yields.

        Asked for ``$collStats``, ``$indexStats``, ``$currentOp``, ``$listSessions``, …; raise
        `errors.unsupported` for the others.
        """
        ...

    def write_out(self, database: str, collection: str, documents: Iterable[Document]) -> None:
        """Replace the collection by the documents (``$out``), keeping its indexes."""
        ...

    def merge(
        self,
        database: str,
        collection: str,
        on: tuple[str, ...],
        documents: Iterable[tuple[Document, Callable[[Document | None], Document | None]]],
    ) -> None:
        """Merge documents into a collection (``$merge``).

        For each ``(document, decide)``: find the stored document whose values at ``on`` equal the
        given one's (52183 with no unique index on exactly these fields; ``_id`` always has one),
        call ``decide(stored or None)``, and store what it returns in its place, insert it if
        nothing was stored, or leave everything as it is for None. ``decide`` may raise.
        """
        ...
