"""Motor: direct, for applications that live on Motor until they have moved to PyMongo Async.

Motor 3.7 wraps the synchronous PyMongo in threads. The adapters here give its objects the API of
PyMongo Async, so that Beanie 2 and the repositories run on them unchanged. They are thin: what
Motor and PyMongo Async call the same way is handed through by ``__getattr__``; a method below is a
place where they differ. What PyMongo Async has and Motor lacks is an `AttributeError`, where Motor
itself would take the name for a database's or a collection's.

Limits that are Motor's: a cancelled operation runs on in its thread, an open change stream or
tailable cursor occupies one of Motor's threads, and ``with_transaction`` retries by Motor's rules.
GridFS wants Motor's own objects: `MotorTransport.motor_client`.

Commands are not counted, for the reason that the direct transport gives.

Spec: Motor https://motor.readthedocs.io/en/stable/ · PyMongo Async
https://pymongo.readthedocs.io/en/stable/api/pymongo/asynchronous/
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self, cast

from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase

from transports.base import Transport
from transports.driver import check_deployment, checked, driver_info
from transports.errors import MissingExtra, TransportClosed
from transports.url import TransportURL

try:
    from motor import core
    from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCommandCursor
except ImportError as error:
    raise MissingExtra("motor+mongodb://", "motor", "motor") from error


class MotorTransport(Transport):
    """``motor+mongodb://…`` and ``motor+mongodb+srv://…``: the driver's own options.

    Raises (from ``open()``):
        InvalidURL: the driver refuses the URI or does not know an option.
        ServerUnreachable: nobody answered.
        AuthenticationRefused: the credentials were not accepted.
    """

    name: ClassVar[str] = "motor"

    def __init__(self, url: TransportURL) -> None:
        super().__init__(url)
        self._motor_client: Any = None

    async def _open(self) -> AsyncMongoClient[dict[str, Any]]:
        self._motor_client = checked(self.url, lambda: AsyncIOMotorClient(self.url.driver_uri))
        client = cast("AsyncMongoClient[dict[str, Any]]", ClientAdapter(self._motor_client))
        try:
            # Motor's own driver= joins names with "|", which newer PyMongo refuses.
            client.append_metadata(driver_info())
            await check_deployment(client, self.url)
        except BaseException:
            await client.close()
            raise
        return client

    async def _close(self) -> None:
        # Closed already, as the client: PyMongo's close() fails when it is called again while an
        # operation that was cancelled goes on in its thread.
        self._motor_client = None

    def _abandon(self, *, forked: bool) -> None:
        client, self._motor_client = self._motor_client, None
        if client is not None and not forked:
            client.delegate.close()  # threads and sockets, which no loop owns

    @property
    def uri(self) -> str:
        """The URL without its ``motor+``."""
        return self.url.driver_uri

    @property
    def motor_client(self) -> Any:
        """The ``motor.motor_asyncio.AsyncIOMotorClient`` itself.

        Raises:
            TransportClosed: the transport is not open.
        """
        if self._motor_client is None:
            raise TransportClosed(f"{self!r} is not open")
        return self._motor_client


class Adapter:
    """One of Motor's objects behind the API of its peer in PyMongo Async."""

    _peer: ClassVar[type[Any]]
    _motor: Any

    def __init__(self, motor: Any) -> None:
        self._motor = motor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        known = hasattr(type(self._motor), name) or name in vars(self._motor)
        if hasattr(self._peer, name) and not known:
            raise AttributeError(
                f"Motor has no {self._peer.__name__}.{name}: use mongodb:// instead of"
                " motor+mongodb:// where it is needed"
            )
        value = getattr(self._motor, name)
        return _carried(value) if inspect.ismethod(value) else _adapted(value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Adapter):
            return bool(self._motor == other._motor)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._motor)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._motor!r})"


def _awaited(name: str) -> property:
    """Return a property whose value is a coroutine for the driver's property *name*."""

    async def read(client: ClientAdapter) -> Any:
        return await asyncio.to_thread(getattr, client._motor.delegate, name)

    return property(read)


class WatchedAdapter(Adapter):
    """What change streams are opened over: the deployment, a database, a collection."""

    async def watch(self, *args: Any, **options: Any) -> ChangeStreamAdapter:
        """Open a change stream now: Motor's would wait for the first iteration."""
        stream = self._motor.watch(*map(_plain, args), **_plain_options(options))
        return ChangeStreamAdapter(await stream.__aenter__())


def _run_now(name: str) -> Callable[..., Coroutine[Any, Any, CursorAdapter]]:
    """Return the method *name*, which runs its command now.

    Motor would return a latent cursor, which sends it with the first iteration.
    """

    async def run(adapter: Adapter, *args: Any, **options: Any) -> CursorAdapter:
        # The coroutine that the latent cursor itself calls.
        command = getattr(adapter._motor, f"_async_{name}")
        cursor = await command(*map(_plain, args), **_plain_options(options))
        return CommandCursorAdapter(AsyncIOMotorCommandCursor(cursor, adapter._motor))

    run.__name__ = name
    return run


class ClientAdapter(WatchedAdapter):
    """`AsyncIOMotorClient` as an `AsyncMongoClient`."""

    _peer = AsyncMongoClient

    def __getitem__(self, name: str) -> DatabaseAdapter:
        return DatabaseAdapter(self._motor[name])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def aconnect(self) -> None:
        """Connect now and not with the first command."""
        await self._motor.admin.command("ping", read_preference=self._motor.read_preference)

    async def close(self) -> None:
        """Close the pool; joins the monitors' threads, so in a thread of its own."""
        await asyncio.to_thread(self._motor.close)

    def append_metadata(self, driver_info: Any) -> None:
        """Add to the handshake's ``client.driver``; nothing before PyMongo 4.14."""
        client = self._motor.delegate
        if hasattr(type(client), "append_metadata"):
            client.append_metadata(driver_info)

    def start_session(self, **options: Any) -> SessionAdapter:
        """Start a session: no I/O, so no await, as in PyMongo Async."""
        return SessionAdapter(self._motor.wrap(self._motor.delegate.start_session(**options)))

    # Properties that may wait for a server are coroutines in PyMongo Async.
    address = _awaited("address")
    primary = _awaited("primary")
    secondaries = _awaited("secondaries")
    arbiters = _awaited("arbiters")
    is_primary = _awaited("is_primary")
    is_mongos = _awaited("is_mongos")


class DatabaseAdapter(WatchedAdapter):
    """`AsyncIOMotorDatabase` as an `AsyncDatabase`."""

    _peer = AsyncDatabase

    def __getitem__(self, name: str) -> CollectionAdapter:
        return CollectionAdapter(self._motor[name])

    def __bool__(self) -> bool:
        return bool(self._motor)  # raises, as PyMongo does

    aggregate = _run_now("aggregate")


class CollectionAdapter(WatchedAdapter):
    """`AsyncIOMotorCollection` as an `AsyncCollection`."""

    _peer = AsyncCollection

    def __getitem__(self, name: str) -> CollectionAdapter:
        return CollectionAdapter(self._motor[name])

    def __bool__(self) -> bool:
        return bool(self._motor)  # raises, as PyMongo does

    aggregate = _run_now("aggregate")
    aggregate_raw_batches = _run_now("aggregate_raw_batches")
    list_indexes = _run_now("list_indexes")
    list_search_indexes = _run_now("list_search_indexes")


class IteratedAdapter(Adapter):
    """What is read to its end, or closed before."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self._motor.next()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._motor.close()


class CursorAdapter(IteratedAdapter):
    """`AsyncIOMotorCursor` as an `AsyncCursor`, `AsyncIOMotorCommandCursor` likewise."""

    _peer: ClassVar[type[Any]] = AsyncCursor

    async def rewind(self) -> Self:
        """Go back to before the first document."""
        self._motor.rewind()
        return self

    async def add_option(self, mask: int) -> Self:
        """Set a query flag."""
        self._motor.add_option(mask)
        return self

    @property
    def retrieved(self) -> int:
        """How many documents have come from the server so far."""
        return cast("int", self._motor.delegate.retrieved)

    @property
    def session(self) -> SessionAdapter | None:
        """The explicit session it runs in."""
        session = self._motor.delegate.session
        if session is None:
            return None
        client = self._motor.collection
        while not isinstance(client, core.AgnosticClient):
            client = (
                client.database if isinstance(client, core.AgnosticCollection) else client.client
            )
        return SessionAdapter(client.wrap(session))


class CommandCursorAdapter(CursorAdapter):
    """`AsyncIOMotorCommandCursor` as an `AsyncCommandCursor`."""

    _peer = AsyncCommandCursor


class ChangeStreamAdapter(IteratedAdapter):
    """`AsyncIOMotorChangeStream`, already open, as an `AsyncChangeStream`."""

    _peer = AsyncChangeStream


class SessionAdapter(Adapter):
    """`AsyncIOMotorClientSession` as an `AsyncClientSession`."""

    _peer = AsyncClientSession

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Motor's own exit would abort a running transaction on the event loop's thread.
        await self._motor.end_session()

    async def start_transaction(self, *args: Any, **options: Any) -> Any:
        """Start a transaction; ``async with await session.start_transaction():`` ends it."""
        return self._motor.start_transaction(*args, **options)

    async def with_transaction(
        self, callback: Callable[[Any], Coroutine[Any, Any, Any]], *args: Any, **options: Any
    ) -> Any:
        """Run *callback* with this session in a transaction, retried as Motor retries."""
        return await self._motor.with_transaction(lambda _: callback(self), *args, **options)

    def bind(self, end_session: bool = True) -> BoundSession:
        """Make this session the implicit one of what runs inside (PyMongo 4.17 and later)."""
        return BoundSession(self, end_session)


class BoundSession:
    """``async with session.bind():`` over Motor."""

    def __init__(self, session: SessionAdapter, end_session: bool) -> None:
        self._session = session
        self._end_session = end_session
        # Its exit would end the session, and abort a transaction, on the event loop's thread.
        self._context = session._motor.delegate.bind(end_session=False)

    async def __aenter__(self) -> SessionAdapter:
        # Motor runs each operation in a thread with a copy of this context.
        self._context.__enter__()
        return self._session

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._context.__exit__(exc_type, exc, traceback)
        if self._end_session:
            await self._session._motor.end_session()


_ADAPTERS: Mapping[type, type[Adapter]] = {
    core.AgnosticClient: ClientAdapter,
    core.AgnosticDatabase: DatabaseAdapter,
    core.AgnosticCollection: CollectionAdapter,
    core.AgnosticCommandCursor: CommandCursorAdapter,
    core.AgnosticCursor: CursorAdapter,
    core.AgnosticChangeStream: ChangeStreamAdapter,
    core.AgnosticClientSession: SessionAdapter,
}


def _adapted(value: Any) -> Any:
    """Return *value* behind its adapter if it is one of Motor's objects."""
    if isinstance(value, core.AgnosticBase):
        for motor_class, adapter in _ADAPTERS.items():
            if isinstance(value, motor_class):
                return adapter(value)
    return value


def _plain(value: Any) -> Any:
    """Return what Motor understands: its own object from behind an adapter."""
    return value._motor if isinstance(value, Adapter) else value


def _plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in options.items()}


def _carried(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return Motor's *method* with adapters unwrapped on the way in and put on on the way out.

    Motor begins an operation when it is called, PyMongo Async when it is awaited: a coroutine
    around the call makes it begin when it is awaited.
    """
    if (
        inspect.iscoroutinefunction(method)
        or getattr(method, "is_async_method", False)
        or getattr(method, "coroutine_annotation", False)
    ):

        async def call_async(*args: Any, **options: Any) -> Any:
            result: Awaitable[Any] = method(*map(_plain, args), **_plain_options(options))
            return _adapted(await result)

        return call_async

    def call(*args: Any, **options: Any) -> Any:
        return _adapted(method(*map(_plain, args), **_plain_options(options)))

    return call
