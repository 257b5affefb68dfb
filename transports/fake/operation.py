"""One running command: what its handler needs to know and may touch.

Handlers are plain functions of an `Operation`. One that may have to wait (for data, for another
transaction) is a generator: it yields a `Wait` and is continued when something has changed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bson import DatetimeMS

from transports.endpoint.backend import Client
from transports.fake.clock import as_integer
from transports.fake.collation import Collation
from transports.fake.collation_spec import compile_collation
from transports.fake.errors import CommandFailure, unsupported
from transports.fake.expressions.compiler import compile_expression
from transports.fake.namespaces import check_creatable, check_writable
from transports.fake.oplog import Origin
from transports.fake.past import PastCollection
from transports.fake.sizes import Measured
from transports.fake.storage import Collection, CollectionView
from transports.fake.transactions import TransactionCollection
from transports.fake.values import MISSING, Document

if TYPE_CHECKING:
    from transports.fake.cursors import Cursor
    from transports.fake.server import FakeServer
    from transports.fake.sessions import Session
    from transports.fake.transactions import Transaction

T = TypeVar("T")

_BUCKETS: Final = "system.buckets."
MAX_TIME_EXPIRED: Final = 50


@dataclass(frozen=True, slots=True)
class Wait:
    """What a handler yields to be continued later.

    Attributes:
        timeout_ms: how long at most; None until something changes.
    """

    timeout_ms: int | None = None


Waiting = Generator[Wait, None, Document]
"""A handler that may wait; it returns the reply."""


class Operation:
    """A command on its way through the interpreter.

    Attributes:
        command: the command document, ``lsid`` and the like included.
        name: the command's name as it is registered.
        now: the time of day, the same for the whole command (``$$NOW``).
        session: of its ``lsid``, if it has one.
        transaction: the open transaction it belongs to.
        retryable: whether its statements are remembered under its ``txnNumber``.
        cursor: the cursor whose batch the reply carries.
        closes_connection: whether a failpoint wants no reply but a closed connection.
        measured: how long its message is.
    """

    __slots__ = (
        "_now",
        "_started",
        "client",
        "closes_connection",
        "command",
        "cursor",
        "database",
        "measured",
        "name",
        "retryable",
        "server",
        "session",
        "started_ms",
        "transaction",
    )

    def __init__(
        self,
        server: FakeServer,
        command: Document,
        name: str,
        database: str,
        client: Client,
        measured: Measured,
    ) -> None:
        self.server = server
        self.command = command
        self.name = name
        self.database = database
        self.client = client
        self.measured = measured
        self.session: Session | None = None
        self.transaction: Transaction | None = None
        self.retryable = False
        self.cursor: Cursor | None = None
        self.closes_connection = False
        self.started_ms = server.clock.now_ms()
        self._started = time.monotonic()
        self._now: DatetimeMS | None = None

    @property
    def now(self) -> DatetimeMS:
        """The time of day at the command's start."""
        if self._now is None:
            self._now = DatetimeMS(self.started_ms)
        return self._now

    def find(self, collection: str, database: str | None = None) -> CollectionView | None:
        """Return a collection or view as this operation sees it, None if it does not exist."""
        name = self.database if database is None else database
        if self.transaction is not None:
            return self.transaction.find(name, collection)
        found = self.server.store.find(name, collection)
        if found is None and collection.startswith(_BUCKETS):
            self._refuse_buckets(name, collection)
        if found is not None and not found.is_view and "readConcern" in self.command:
            at = self.command["readConcern"].get("atClusterTime")
            if at is not None:
                return PastCollection(found, as_integer(at))
        return found

    def _refuse_buckets(self, database: str, collection: str) -> None:
        measured = self.server.store.find(database, collection.removeprefix(_BUCKETS))
        if measured is not None and measured.is_timeseries:
            raise unsupported(f"{collection}: there are no buckets")

    def writable(self, collection: str, database: str | None = None) -> CollectionView:
        """Return a collection to write to, created if it does not exist.

        Raises:
            CommandFailure: 73 for a name that cannot be written to.
        """
        name = self.database if database is None else database
        view = self.find(collection, name)
        if view is None:
            check_writable(name, collection)
            return self.create(collection, {}, name)
        return view

    def create(
        self, collection: str, options: Document, database: str | None = None
    ) -> CollectionView:
        """Create a collection; the caller has made sure that it does not exist."""
        name = self.database if database is None else database
        check_creatable(name, collection)
        if self.transaction is not None:
            return self.transaction.create(name, collection, options)
        return self.server.store.create(name, collection, options)

    def origin(self, update: Any = None) -> Origin:
        """Return where this operation's writes come from."""
        if self.transaction is None:
            return Origin(update)
        return Origin(update, self.transaction.lsid, self.transaction.number)

    def in_time(self, items: Iterable[T]) -> Iterable[T]:
        """Return the items, with a look at the clock before each if there is a time limit.

        Raises:
            CommandFailure: 50 MaxTimeMSExpired, while iterating.
        """
        limit = self.command.get("maxTimeMS")
        return self._timed(items, limit) if limit and self.name != "getMore" else items

    def _timed(self, items: Iterable[T], limit_ms: int) -> Iterator[T]:
        deadline = self._started + limit_ms / 1000
        for item in items:
            if time.monotonic() > deadline:
                raise CommandFailure(MAX_TIME_EXPIRED, "operation exceeded time limit")
            yield item

    def variables(self) -> dict[str, Any]:
        """Return the command's ``let``, evaluated: name → value."""
        let = self.command.get("let")
        if not let:
            return {}
        return self.evaluate(let)

    def evaluate(self, expressions: Document) -> dict[str, Any]:
        """Return the values of constant expressions, name → value; missing ones are left out."""
        values = {}
        for name, expression in expressions.items():
            value = compile_expression(expression)({}, {"NOW": self.now})
            if value is not MISSING:
                values[name] = value
        return values

    def collation(self, view: CollectionView | None, spec: Any = None) -> Collation | None:
        """Return the collation of a statement: its own, the command's or the collection's."""
        spec = spec or self.command.get("collation")
        if spec:
            return compile_collation(spec)
        return None if view is None else view.collection.collation


def underlying(view: CollectionView) -> Collection | TransactionCollection:
    """Return the view as what it is: a collection or a transaction's view of one."""
    assert isinstance(view, Collection | TransactionCollection)
    return view
