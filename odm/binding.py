"""Which connection a call means, and what a model is on it.

Beanie binds a class to one database for the whole process. Here a class may be bound on any number
of connections at once, and the connection that is meant is found when an operation begins:

1. the scope in a context variable: set by ``with db.bind()``, by a repository, by a query for the
   time of each of its steps, by a loaded document for the time of its operation;
2. else the only open connection of the running event loop that has bound the class;
3. else an error that says what to write.

A scope never stays set while the caller's own code runs, ``with db.bind()`` excepted.
This module knows neither Beanie nor transports.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

from odm.errors import AmbiguousConnection, NotConnected
from odm.transactions import TransactionCollection, current_transaction, in_transaction
from transports.residence import Residence


class Binding:
    """A model on a connection.

    Attributes:
        collection: the driver's collection (a view's too).
        server_major_version: decides between two forms of ``$lookup``.
        cache: the results that `Settings.use_cache` keeps; one connection never sees another's.
    """

    __slots__ = ("cache", "collection", "server_major_version")

    def __init__(self, collection: Any, server_major_version: int, cache: Any) -> None:
        self.collection = collection
        self.server_major_version = server_major_version
        self.cache = cache


class _NoCache:
    """A cache that keeps nothing."""

    def get(self, key: str) -> None:
        """Return nothing."""

    def set(self, key: str, value: Any) -> None:
        """Keep nothing."""


NO_CACHE = _NoCache()


class Binder:
    """What a connection is to the models: the bindings, and the scopes that lead to them."""

    def __init__(self) -> None:
        self.bindings: dict[type, Binding] = {}
        self.is_open = False
        self.spares_bytes = False
        self._resident: Residence | None = None
        self.home = Home(self)
        self.scope = Scope(self)
        self.forced_scope = Scope(self, forced=True)

    @property
    def label(self) -> str:
        """What messages call it."""
        return repr(self)

    @property
    def residence(self) -> Residence | None:
        """Where it is open; None where it is closed."""
        return None

    def require_open(self) -> None:
        """Refuse to be used closed, or elsewhere than where it was opened.

        Raises:
            NotConnected: the connection is closed; the message says how to open one.
            WrongEventLoop: it was opened in another event loop.
            OpenedBeforeFork: it was opened in the process that forked this one.
        """
        if not self.is_open:
            raise NotConnected(
                f"{self.label} is closed: write 'async with connect(url, models=[…]) as db: …',"
                " or open it again with 'await db.open()'"
            )
        if (residence := self.residence) is not None:
            residence.check()

    def binding(self, model: type) -> Binding:
        """Return what *model* is on this connection.

        Raises:
            NotConnected: the connection is closed, or has not bound the model.
            WrongEventLoop: it was opened in another event loop.
            OpenedBeforeFork: it was opened in the process that forked this one.
        """
        # Asked on every operation: past two properties, and in one go.
        if self._resident is not None:
            self._resident.check()
        else:
            self.require_open()
        return self.bindings.get(model) or self._inherited(model)

    def known(self, model: type) -> Binding:
        """Return what *model* is on this connection, wherever that is open.

        Raises:
            NotConnected: the connection has not bound the model.
        """
        binding = self.bindings.get(model)
        if binding is None:
            binding = self._inherited(model)
        return binding

    def _inherited(self, model: type) -> Binding:
        # A class of an inheritance tree lives in the collection of its root.
        if getattr(model, "_inheritance_inited", False):
            for base in model.__mro__[1:]:
                if base in self.bindings and getattr(base, "_inheritance_inited", False):
                    self.bindings[model] = self.bindings[base]
                    return self.bindings[base]
        raise NotConnected(
            f"{self.label} has not bound {model.__name__}:"
            f" write connect(url, models=[…, {model.__name__}])"
        )

    def collection(self, model: type) -> Any:
        """Return the collection, carrying the session of the transaction that is running, if any.

        Raises:
            NotConnected: see `binding`.
        """
        collection = self.binding(model).collection
        if not in_transaction() or (transaction := current_transaction(self)) is None:
            return collection
        return TransactionCollection(collection, transaction)

    def cache(self, model: type) -> Any:
        """Return the cache; inside a transaction one that keeps nothing, lest it keep dirt.

        Raises:
            NotConnected: see `binding`.
        """
        cache = self.binding(model).cache
        return cache if current_transaction(self) is None else NO_CACHE

    # Queries and documents are copied deeply; the connection they belong to is not.
    def __copy__(self) -> Binder:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Binder:
        return self


class Home:
    """The connection that a document was loaded from or saved to, held weakly.

    All homes are equal: where a document lives is no part of what it is.
    """

    __slots__ = ("__weakref__", "_binder")

    def __init__(self, binder: Binder | None = None) -> None:
        self._binder = weakref.ref(binder) if binder is not None else None

    @property
    def is_set(self) -> bool:
        """Whether the document has a home."""
        return self._binder is not None

    def binder(self, model: type) -> Binder | None:
        """Return the connection; None if the document has no home.

        Raises:
            NotConnected: the connection is gone.
        """
        if self._binder is None:
            return None
        binder = self._binder()
        if binder is None or not binder.is_open:
            raise NotConnected(
                f"the connection that this {model.__name__} was loaded from has been closed:"
                " save it through a repository of an open one, or inside 'with db.bind(): …'"
            )
        return binder

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Home)

    def __hash__(self) -> int:
        return hash(Home)

    def __copy__(self) -> Home:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Home:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (Home, ())  # a pickled document has no home where it arrives

    def __repr__(self) -> str:
        binder = self._binder() if self._binder is not None else None
        return f"<Home {binder.label if binder is not None else 'nowhere'}>"


HOMELESS = Home()


class Scope:
    """An operation's connection.

    Attributes:
        forced: from ``with db.bind()``: it outranks the home of a document.
        subject: the document whose own operation this is; what the operation does to it stays on
            this connection, wherever its home is.
        missed: the subject's update found no document.
    """

    __slots__ = ("binder", "forced", "missed", "subject")

    def __init__(self, binder: Binder, *, forced: bool = False, subject: Any = None) -> None:
        self.binder = binder
        self.forced = forced
        self.subject = subject
        self.missed = False


_scope: ContextVar[Scope | None] = ContextVar("odm_scope", default=None)


class entered:  # noqa: N801 - reads as the verb it is: with entered(scope)
    """Set the scope for a block. With None the block keeps the scope it has."""

    __slots__ = ("_scope", "_token")

    def __init__(self, scope: Scope | None) -> None:
        self._scope = scope
        self._token: Token[Scope | None] | None = None

    def __enter__(self) -> None:
        if self._scope is not None:
            self._token = _scope.set(self._scope)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            try:
                _scope.reset(self._token)
            except ValueError:
                # A coroutine that is never finished is closed by the garbage collector, in
                # whatever context that runs: there is nothing to restore there.
                if exc_type is not GeneratorExit:
                    raise
            self._token = None


def in_scope(scope: Scope | None, read: Callable[[Any], Any], raw: Any) -> Any:
    """Return ``read(raw)`` with the scope set: `entered`, for what takes a microsecond or two."""
    token = _scope.set(scope)
    try:
        return read(raw)
    finally:
        _scope.reset(token)


def current_scope() -> Scope | None:
    """Return the scope of the running operation."""
    return _scope.get()


def current_home() -> Home:
    """Return the home of a document that is made now: the scope's connection, or none."""
    scope = _scope.get()
    return HOMELESS if scope is None else scope.binder.home


current_home.__odm_same_in_a_scope__ = True  # type: ignore[attr-defined]  # of a function


_open: tuple[weakref.ref[Binder], ...] = ()
_open_lock = threading.Lock()


def register(binder: Binder) -> None:
    """Enter a connection that has been opened on the running event loop."""
    global _open
    binder.is_open, binder._resident = True, binder.residence
    with _open_lock:
        _open = (*(ref for ref in _open if ref() is not None), weakref.ref(binder))


def deregister(binder: Binder) -> None:
    """Take out a connection that is being closed. Idempotent."""
    global _open
    binder.is_open, binder._resident = False, None
    with _open_lock:
        _open = tuple(ref for ref in _open if ref() is not None and ref() is not binder)


def _bound(model: type) -> list[Binder]:
    binders = (ref() for ref in _open)
    return [
        binder
        for binder in binders
        if binder is not None and binder.is_open and _has_bound(binder, model)
    ]


def _has_bound(binder: Binder, model: type) -> bool:
    try:
        binder.known(model)
    except NotConnected:
        return False
    return True


def only_binder(model: type) -> Binder:
    """Return the only open connection of this event loop that has bound *model*.

    Outside of an event loop the connections of all loops count.

    Raises:
        NotConnected: there is none.
        AmbiguousConnection: there are several.
    """
    everywhere = _bound(model)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        here = [b for b in everywhere if b.residence is not None and not b.residence.is_lost]
    else:
        here = [b for b in everywhere if b.residence is not None and b.residence.is_in(loop)]
    if len(here) == 1:
        return here[0]
    name = model.__name__
    if here:
        raise AmbiguousConnection(
            f"{name} is bound on {len(here)} open connections"
            f" ({', '.join(b.label for b in here)}): say which is meant with"
            f" 'db.repository({name})' or 'with db.bind(): …'"
        )
    if everywhere:
        raise NotConnected(
            f"{name} is bound on a connection of another event loop"
            f" ({', '.join(b.label for b in everywhere)}): a connection belongs to the loop it was"
            f" opened on, so write 'async with connect(url, models=[{name}]) as db' in this one,"
            " or keep one loop with odm.Runner or @odm.lambda_handler"
        )
    raise NotConnected(
        f"no open connection has bound {name}:"
        f" write 'async with connect(url, models=[{name}]) as db: …'"
    )


def binder_for(model: type) -> Binder:
    """Return the connection that a call on the class means.

    Raises:
        NotConnected: none is open.
        AmbiguousConnection: several are, and no scope says which.
    """
    scope = _scope.get()
    return scope.binder if scope is not None else only_binder(model)


def captured(model: type) -> Binder | None:
    """Return the connection that a query built now belongs to; None if none is open yet.

    Raises:
        AmbiguousConnection: several are, and no scope says which.
    """
    try:
        return binder_for(model)
    except NotConnected:
        return None
