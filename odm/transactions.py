"""Transactions: the session that everything on one connection uses until the transaction ends.

The session travels in a context variable, so it belongs to the task that opened the transaction
and to the tasks started from it. A collection that is reached inside is wrapped so that each of
its operations carries the session, as if the caller had passed ``session=``.

PyMongo has ``session.bind()`` for this since 4.17; older drivers and Motor have not.

Spec: MongoDB transactions
https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from functools import cache, wraps
from types import TracebackType
from typing import Any, TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection

from transports.base import finished

_R = TypeVar("_R")

_READS_LAZILY = frozenset({"find", "find_raw_batches"})
"""Methods that return a cursor without asking the server."""

# Not `watch`: no server opens a change stream in a transaction, and one opened beside it is useful.
_SESSION_METHODS = frozenset(
    {
        *_READS_LAZILY,
        "aggregate",
        "aggregate_raw_batches",
        "bulk_write",
        "count_documents",
        "create_index",
        "create_indexes",
        "delete_many",
        "delete_one",
        "distinct",
        "drop",
        "drop_index",
        "drop_indexes",
        "find_one",
        "find_one_and_delete",
        "find_one_and_replace",
        "find_one_and_update",
        "index_information",
        "insert_many",
        "insert_one",
        "list_indexes",
        "rename",
        "replace_one",
        "update_many",
        "update_one",
    }
)


class Transaction:
    """One transaction in progress.

    Attributes:
        owner: the connection; a transaction of one connection says nothing about another's.
        session: the driver's session.
        active: False once it was committed or aborted. A task that outlives the transaction it
            was started in goes on without it.
    """

    __slots__ = ("_turn", "active", "owner", "session")

    def __init__(self, owner: object, session: AsyncClientSession) -> None:
        self.owner = owner
        self.session = session
        self.active = True
        self._turn = asyncio.Lock()

    async def in_turn(self, operation: Callable[[], Awaitable[_R]]) -> _R:
        """Run one operation at a time.

        Two commands of one transaction must not travel together: if the one that carries
        ``startTransaction`` arrives second, the server refuses the first (NoSuchTransaction).
        """
        async with self._turn:
            return await operation()


_transactions: ContextVar[tuple[Transaction, ...]] = ContextVar("odm_transactions", default=())


in_transaction: Callable[[], tuple[Transaction, ...]] = _transactions.get
"""The transactions of any connection that this task is in, or has been; mostly none."""


def current_transaction(owner: object) -> Transaction | None:
    """Return the transaction that is running on this connection in this task, if any."""
    for transaction in reversed(_transactions.get()):
        if transaction.owner is owner and transaction.active:
            return transaction
    return None


class _Entered:
    """A transaction that this context is in until it leaves, wherever it is when it does."""

    __slots__ = ("_token", "transaction")

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        # Those that were left from another context are still in the variable, out of force.
        running = (outer for outer in _transactions.get() if outer.active)
        self._token: Token[tuple[Transaction, ...]] = _transactions.set((*running, transaction))

    def leave(self) -> None:
        """Let nothing more happen in the transaction."""
        self.transaction.active = False
        # Another task may leave the block than has entered it: the garbage collector of an
        # asynchronous generator that was not finished, or one that was handed the context
        # manager. Its variable never held the transaction, and the one that did tells by
        # `active` that it is over.
        with suppress(ValueError):
            _transactions.reset(self._token)


class TransactionContext:
    """What ``connection.transaction()`` returns: an asynchronous context manager.

    It commits on leaving and aborts when an exception leaves it, from whatever task that is.
    Inside another transaction of the same connection it joins that one, which then commits or
    aborts for both.
    """

    def __init__(
        self, owner: object, client: AsyncMongoClient[Any], options: dict[str, Any]
    ) -> None:
        self._owner = owner
        self._client = client
        self._options = options
        self._entered: _Entered | None = None

    async def __aenter__(self) -> AsyncClientSession:
        outer = current_transaction(self._owner)
        if outer is not None:
            return outer.session
        session = self._client.start_session()
        try:
            await session.start_transaction(**self._options)
        except BaseException:
            await session.end_session()
            raise
        self._entered = _Entered(Transaction(self._owner, session))
        return session

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entered, self._entered = self._entered, None
        if entered is None:
            return
        entered.leave()
        # Cancelled half way, an abort would leave documents locked, and a commit in doubt.
        await finished(_end(entered.transaction.session, commit=exc_type is None))


async def _end(session: AsyncClientSession, *, commit: bool) -> None:
    try:
        # A statement that failed may have aborted it already, and the caller may have ended it.
        if session.in_transaction:
            if commit:
                await session.commit_transaction()
            else:
                await session.abort_transaction()
    finally:
        await session.end_session()


async def run_transaction(
    owner: object,
    client: AsyncMongoClient[Any],
    callback: Callable[[], Awaitable[_R]],
    options: dict[str, Any],
) -> _R:
    """Run *callback* in a transaction and, where the server says so, once more.

    The driver's ``with_transaction``: on ``TransientTransactionError`` the whole callback is run
    again, on ``UnknownTransactionCommitResult`` the commit, for up to 120 s.
    """
    if current_transaction(owner) is not None:
        return await callback()

    async def attempt(session: AsyncClientSession) -> _R:
        entered = _Entered(Transaction(owner, session))
        try:
            return await callback()
        finally:
            entered.leave()

    async with client.start_session() as session:
        return await session.with_transaction(attempt, **options)


@cache
def _session_position(method: str) -> int | None:
    """Where ``session`` stands among the positional arguments, if it can be given so."""
    parameters = list(inspect.signature(getattr(AsyncCollection, method)).parameters.values())
    for position, parameter in enumerate(parameters[1:]):
        if parameter.name == "session" and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            return position
    return None


class TransactionCursor:
    """A cursor whose first command waits for its turn, as that of any other operation does."""

    __slots__ = ("_cursor", "_transaction")

    def __init__(self, cursor: Any, transaction: Transaction) -> None:
        self._cursor = cursor
        self._transaction = transaction

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._cursor, name)
        if not callable(attribute):
            return attribute

        @wraps(attribute)
        def operation(*args: Any, **kwargs: Any) -> Any:
            if inspect.iscoroutinefunction(attribute):
                return self._transaction.in_turn(lambda: attribute(*args, **kwargs))
            result = attribute(*args, **kwargs)
            return self if result is self._cursor else result

        return operation

    def __aiter__(self) -> TransactionCursor:
        return self

    async def __anext__(self) -> Any:
        return await self._transaction.in_turn(self._cursor.__anext__)

    async def __aenter__(self) -> TransactionCursor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cursor.close()


class TransactionCollection:
    """A collection whose operations carry the transaction's session unless given another one."""

    __slots__ = ("_collection", "_transaction")

    def __init__(self, collection: AsyncCollection[Any], transaction: Transaction) -> None:
        self._collection = collection
        self._transaction = transaction

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._collection, name)
        if name in _SESSION_METHODS:
            return self._in_transaction(name, attribute)
        return attribute

    def __getitem__(self, name: str) -> TransactionCollection:
        return TransactionCollection(self._collection[name], self._transaction)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TransactionCollection):
            other = other._collection
        return bool(self._collection == other)

    def __hash__(self) -> int:
        return hash(self._collection)

    def __repr__(self) -> str:
        return f"<{self._collection!r} in a transaction>"

    def with_options(self, *args: Any, **kwargs: Any) -> TransactionCollection:
        """Return a clone with other options, in the same transaction."""
        clone = self._collection.with_options(*args, **kwargs)
        return TransactionCollection(clone, self._transaction)

    def _in_transaction(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        transaction = self._transaction

        @wraps(method)
        def operation(*args: Any, **kwargs: Any) -> Any:
            position = _session_position(name)
            given = position is not None and len(args) > position
            if given or kwargs.get("session") is not None:
                return method(*args, **kwargs)
            kwargs["session"] = transaction.session
            if name in _READS_LAZILY:
                return TransactionCursor(method(*args, **kwargs), transaction)
            return transaction.in_turn(lambda: method(*args, **kwargs))

        return operation
