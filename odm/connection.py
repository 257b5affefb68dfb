"""Connections: a transport, the models that are bound on it, and what can be done with both."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import beanie
from beanie.odm.utils.init import Initializer
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from odm.binding import Binder, deregister, entered, register
from odm.errors import InvalidConfiguration, NotConnected
from odm.initialise import is_ours
from odm.metaclass import is_base
from odm.repository import Repository
from odm.schema import SchemaOptions, prepare, run_custom_init
from odm.settings import Settings
from odm.transactions import TransactionContext, run_transaction
from transports.base import LifecycleLock, Transport, TransportStatistics
from transports.registry import open_transport
from transports.residence import Residence
from transports.url import TransportURL

if TYPE_CHECKING:
    from odm.document import Document

_R = TypeVar("_R")
_D = TypeVar("_D", bound="Document")
_Repository = TypeVar("_Repository", bound="Repository[Any]")


class Connection(Binder):
    """An open transport with models bound on it. Made by `connect()`.

    It belongs to the event loop and the process it was opened in: elsewhere it refuses to be used,
    and can be opened anew once its loop is closed, or after a fork. Use it as ``async with
    connect(…) as db``, or ``db = await connect(…)`` and, in the end, ``await db.aclose()``. Blocks
    may be nested and entered by several tasks at once: leaving the last one closes it. For
    synchronous code there is `odm.Runner`.
    """

    def __init__(
        self, transport: Transport, models: Iterable[Any] = (), options: SchemaOptions | None = None
    ) -> None:
        super().__init__()
        self._transport = transport
        self.spares_bytes = transport.spares_bytes
        self._models = tuple(models)
        self._options = options or SchemaOptions()
        self._opening = LifecycleLock()
        self._closings = 0
        self._entered = 0

    async def open(self) -> Self:
        """Open the transport, bind the models and create what they need. Idempotent.

        Several tasks may call it at once: all return when the connection is ready.

        Raises:
            TransportError: the transport could not be opened; the message says why.
            InvalidConfiguration: a model cannot be bound.
            OperationFailure: the server refuses an index, a view or a collection.
            NotConnected: it was closed while it was being opened.
            WrongEventLoop: it is open in another event loop.
        """
        await self._abandon_lost()
        if self.residence is not None:
            self.residence.check()
        async with self._opening.here():
            if not self.is_open:
                await self._open()
        return self

    async def _abandon_lost(self) -> None:
        residence = self.residence
        if residence is not None and residence.is_lost:
            self._entered = 0
            await self._close()

    async def _open(self) -> None:
        closings = self._closings
        await self._transport.open()
        try:
            await self._bind()
            if self._closings == closings:
                # From here on calls on the classes may mean this connection.
                register(self)
                await run_custom_init(self, self._ours)
        except BaseException as error:
            closed = self._closings != closings and isinstance(error, Exception)
            await self._close()
            if closed:
                raise self._closed_while_opening() from error
            raise
        if self._closings != closings:
            await self._close()
            raise self._closed_while_opening()

    def _closed_while_opening(self) -> NotConnected:
        return NotConnected(f"{self.label} was closed while it was being opened")

    @property
    def _ours(self) -> list[Any]:
        return [model for model in self._models if is_ours(model)]

    async def _bind(self) -> None:
        database = self._transport.database
        plain = [model for model in self._models if not is_ours(model)]
        if plain:
            # Classes of beanie's own know one database at a time: the one bound last.
            await beanie.init_beanie(
                database=database,
                document_models=plain,
                allow_index_dropping=self._options.allow_index_dropping,
                recreate_views=self._options.recreate_views,
                skip_indexes=not self._options.create_indexes,
            )
        if self._ours:
            await prepare(self, database, self._ours, self._options)

    async def aclose(self) -> None:
        """Close the transport. Queries and documents of this connection cannot run any more.

        Idempotent. Cancelling it does not stop it; called again meanwhile, it waits for the end.

        Raises:
            WrongEventLoop: it is open in another event loop.
        """
        residence = self.residence
        if residence is not None and not residence.is_lost:
            residence.check()
        self._closings += 1
        await self._close()

    async def _close(self) -> None:
        deregister(self)
        await self._transport.aclose()

    @property
    def residence(self) -> Residence | None:
        """Where it is open; None where it is closed."""
        return self._transport.residence

    @property
    def url(self) -> str:
        """The URL without its credentials."""
        return self._transport.url.redacted

    @property
    def transport(self) -> Transport:
        """How commands travel."""
        return self._transport

    @property
    def client(self) -> AsyncMongoClient[dict[str, Any]]:
        """The driver's client (over Motor: an adapter with the same API).

        Raises:
            NotConnected: the connection is closed.
        """
        self.require_open()
        return self._transport.client

    @property
    def database(self) -> AsyncDatabase[dict[str, Any]]:
        """The database that the URL names.

        Raises:
            NotConnected: the connection is closed.
        """
        self.require_open()
        return self._transport.database

    @property
    def models(self) -> tuple[Any, ...]:
        """The classes given to `connect()`."""
        return self._models

    # In this order: to a type checker beanie.Document has a base of type Any (lazy_model ships no
    # types), which would match anything.
    @overload
    def repository(self, cls: type[_D]) -> Repository[_D]: ...
    @overload
    def repository(self, cls: type[_Repository]) -> _Repository: ...
    def repository(self, cls: Any) -> Any:
        """Return a repository: of the class given, or a plain one of the document class given.

        Raises:
            TypeError: *cls* is neither.
            NotConnected: its document class is not bound on this connection.
        """
        if inspect.isclass(cls) and issubclass(cls, Repository):
            return cls(self)
        return Repository(self, cls)

    def transaction(self, **options: Any) -> AbstractAsyncContextManager[AsyncClientSession]:
        """Return a context manager: what runs inside, on this connection, is one transaction.

        It commits on leaving and aborts when an exception leaves it. Nested, it joins the outer
        one. *options* are those of the driver's ``start_transaction``.
        """
        return TransactionContext(self, self.client, options)

    async def run_transaction(self, callback: Callable[[], Awaitable[_R]], **options: Any) -> _R:
        """Run *callback* in a transaction, again where the server says that it may work then.

        The driver's ``with_transaction``: *callback* may run several times, for up to 120 s.
        """
        return await run_transaction(self, self.client, callback, options)

    def bind(self) -> AbstractContextManager[None]:
        """Return a context manager: calls on classes and documents inside mean this connection.

        Raises:
            NotConnected: the connection is closed.
        """
        self.require_open()
        return entered(self.forced_scope)

    def statistics(self) -> TransportStatistics:
        """Return the transport's counters."""
        return self._transport.statistics()

    async def ping(self) -> None:
        """Ask the deployment whether it is there.

        Raises:
            PyMongoError: it is not.
        """
        await self.client.admin.command("ping")

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    async def __aenter__(self) -> Self:
        await self._abandon_lost()
        self._entered += 1
        try:
            return await self.open()
        except BaseException:
            self._entered -= 1
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered -= 1
        if not self._entered:  # the outermost block, or the last of several tasks, closes
            await self.aclose()

    @property
    def label(self) -> str:
        """What messages call it."""
        return repr(self)

    def __repr__(self) -> str:
        return f"<Connection {self.url} ({'open' if self.is_open else 'closed'})>"


def connect(
    url: str | TransportURL | None = None,
    *,
    models: Iterable[Any] = (),
    create_indexes: bool | None = None,
    recreate_views: bool | None = None,
    allow_index_dropping: bool | None = None,
    settings: Settings | None = None,
) -> Connection:
    """Return a connection, to be opened with ``async with`` or ``await``.

    Args:
        url: a transport URL; see `transports.url`. None: ``ODM_URL``.
        models: document, view and union classes, or their dotted paths. Classes of `odm` follow
            their connection; those of `beanie` itself are bound for the whole process, as
            ``init_beanie`` does, to the connection that was opened last.
        create_indexes: create the indexes that the models declare; true where nothing says else.
        recreate_views: drop and create views that exist already.
        allow_index_dropping: drop indexes that no model declares.
        settings: what holds where an argument is None; read from the environment by default.

    Raises:
        InvalidConfiguration: there is no URL, or *models* is not a list of classes.
        InvalidURL: the URL cannot be understood.
    """
    settings = settings or Settings()
    if url is None:
        url = settings.url.get_secret_value() if settings.url is not None else ""
        if not url.strip():
            raise InvalidConfiguration(
                "there is no URL to connect to: write connect('mongodb://localhost:27017/cms',"
                " …), or export ODM_URL=mongodb://localhost:27017/cms"
            )
    elif not isinstance(url, str | TransportURL):
        raise InvalidConfiguration(
            f"connect() takes a URL and models by name, not {url!r}:"
            " write connect('mongodb://localhost:27017/cms', models=[…])"
        )

    def choose(argument: bool | None, setting: bool) -> bool:
        return setting if argument is None else argument

    return Connection(
        open_transport(url),
        _checked_models(models),
        SchemaOptions(
            create_indexes=choose(create_indexes, settings.create_indexes),
            recreate_views=choose(recreate_views, settings.recreate_views),
            allow_index_dropping=choose(allow_index_dropping, settings.allow_index_dropping),
        ),
    )


def _checked_models(models: Any) -> list[Any]:
    if isinstance(models, str) or inspect.isclass(models) or not isinstance(models, Iterable):
        name = models if isinstance(models, str) else getattr(models, "__name__", "Page, …")
        raise InvalidConfiguration(f"models is a list: write connect(…, models=[{name}])")
    checked = []
    for model in models:
        found = _imported(model) if isinstance(model, str) else model
        kinds = (beanie.Document, beanie.View, beanie.UnionDoc)
        if not inspect.isclass(found) or not issubclass(found, kinds):
            raise InvalidConfiguration(
                f"{found!r} is no model: connect(models=[…]) takes classes derived from Document,"
                " View or UnionDoc"
            )
        if is_base(found):
            raise InvalidConfiguration(
                f"{found.__name__} itself has no collection: derive a class from it"
            )
        if found not in checked:
            checked.append(found)
    return checked


def _imported(path: str) -> Any:
    try:
        return Initializer.get_model(path)
    except (ValueError, AttributeError, ImportError) as error:
        raise InvalidConfiguration(f"the model {path!r} cannot be imported: {error}") from error
