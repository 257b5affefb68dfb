"""What every transport is: it opens, gives a client, closes, and counts.

The seam is small on purpose. All that differs between transports happens below MongoDB's own
commands, so above them there is one API: PyMongo's asynchronous client.
"""

from __future__ import annotations

import abc
import asyncio
import warnings
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from transports.driver import refused_elsewhere
from transports.errors import TransportClosed
from transports.residence import Residence
from transports.url import TransportURL

Document = dict[str, Any]
_R = TypeVar("_R")

CLOSE_TIMEOUT_S = 10.0
"""How long closing may take, and how long one that is cancelled is waited for."""


async def finished(release: Coroutine[Any, Any, _R] | asyncio.Task[_R]) -> _R:
    """Return what *release* returns. Cancelled, wait for it all the same, 10 s, and go then.

    For what gives back a resource: it runs in a task of its own, which cancelling the caller does
    not reach. Cancelled once more, the caller goes at once; the task goes on.
    """
    task = release if isinstance(release, asyncio.Task) else asyncio.create_task(release)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
        raise


class LifecycleLock:
    """Lets one task at a time open or close something that is opened on one loop after another.

    An `asyncio.Lock` that tasks have once waited for belongs to their event loop for good; what
    is opened anew in each ``asyncio.run()`` needs a new one there.
    """

    __slots__ = ("_lock", "_loop")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()

    def here(self) -> asyncio.Lock:
        """Return the lock of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lock = loop, asyncio.Lock()
        return self._lock


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportStatistics:
    """What a transport has done since it was opened.

    Attributes:
        transport: its name: ``direct``, ``motor``, ``lambda``, ``fake``, ``embedded``.
        commands: commands that crossed it (the driver's own handshakes left out); 0 where the
            driver itself reaches the deployment: nothing of ours sees them.
        invokes: AWS Lambda invocations made; 0 elsewhere.
        cold_starts: invocations that started an execution environment, as the function reports.
        details: further counters of one transport, by name.
    """

    transport: str
    commands: int = 0
    invokes: int = 0
    cold_starts: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


class Transport(abc.ABC):
    """A way to reach MongoDB. Use it as an asynchronous context manager.

    A transport belongs to the event loop and the process it was opened in. ``open()`` and
    ``aclose()`` may be called any number of times, by several tasks at once. One whose loop has
    been closed, or that was open when the process was forked, is lost: it can be opened anew, and
    closing it touches nothing of the parent's. A transport that is garbage-collected open warns
    with `ResourceWarning`.
    """

    name: ClassVar[str]
    spares_bytes: ClassVar[bool] = False
    """Whether bytes that travel cost more than the server's time: payloads are limited."""

    def __init__(self, url: TransportURL) -> None:
        self.url = url
        self._client: AsyncMongoClient[Document] | None = None
        self._residence: Residence | None = None
        self._changing = LifecycleLock()
        self._closing: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Start what has to be started and check that the deployment answers.

        Raises:
            ServerUnreachable: nothing answered; the message says what was tried.
            MissingExtra: a package this transport needs is not installed.
            WrongEventLoop: it is open in another event loop.
        """
        self._abandon_lost()
        if self._residence is not None:
            self._residence.check()
        async with self._changing.here():
            if self._client is None:
                residence = Residence(f"<{type(self).__name__} {self.url.redacted}>")
                self._residence = residence
                try:
                    self._client = refused_elsewhere(await self._open(), residence.check)
                except BaseException:
                    await finished(self._close())
                    self._residence = None
                    raise
        return self

    async def aclose(self) -> None:
        """Close the client and everything behind it. Idempotent.

        Cancelling it does not stop it. Called again meanwhile, it waits for the same end; during
        ``open()`` it waits for that one's.

        Raises:
            WrongEventLoop: it is open in another event loop.
        """
        if self._abandon_lost():
            return
        if self._residence is not None:
            self._residence.check()
        if self._closing is None or self._closing.done():
            client, self._client = self._client, None
            self._closing = asyncio.create_task(self._release(client))
        await finished(self._closing)

    async def _release(self, client: AsyncMongoClient[Document] | None) -> None:
        async with self._changing.here():
            if client is None:  # it was being opened
                client, self._client = self._client, None
            try:
                if client is not None:
                    with pymongo.timeout(CLOSE_TIMEOUT_S):  # it sends endSessions
                        await client.close()
            finally:
                await self._close()
                self._residence = None

    def _abandon_lost(self) -> bool:
        """Drop what belongs to a closed loop or to the parent, if it does."""
        residence = self._residence
        if residence is None or not residence.is_lost:
            return False
        self._residence = self._client = self._closing = None
        self._abandon(forked=residence.is_forked)
        return True

    @abc.abstractmethod
    async def _open(self) -> AsyncMongoClient[Document]:
        """Open and return a client that has been shown to work. Called once."""

    async def _close(self) -> None:  # noqa: B027 - most transports hold nothing but their client
        """Release what `_open` acquired besides the client. Idempotent, and safe half way."""

    def _abandon(self, *, forked: bool) -> None:  # noqa: B027 - as above
        """Forget what `_open` acquired, with no loop to close it on.

        What outlives a loop (a process, a name that is shared) is released; *forked*, it is left
        alone: it is the parent's.
        """

    @property
    def is_open(self) -> bool:
        """Whether the transport has been opened and not yet closed."""
        return self._client is not None

    @property
    def client(self) -> AsyncMongoClient[Document]:
        """The driver's client (over Motor: an adapter with the same API).

        Raises:
            TransportClosed: before ``open()`` or after ``aclose()``.
            WrongEventLoop: it was opened in another event loop.
            OpenedBeforeFork: it was opened in the process that forked this one.
        """
        if self._client is None:
            raise TransportClosed(
                f"{self!r} is not open: use 'async with open_transport(url) as transport'"
            )
        if self._residence is not None:
            self._residence.check()
        return self._client

    @property
    def residence(self) -> Residence | None:
        """Where it is open; None where it is closed."""
        return self._residence

    @property
    def database(self) -> AsyncDatabase[Document]:
        """The database that the URL names."""
        return self.client[self.url.database]

    @property
    def uri(self) -> str:
        """A ``mongodb://`` URI under which any driver of this machine reaches the same deployment.

        May contain credentials: not for logs.
        """
        raise NotImplementedError

    def statistics(self) -> TransportStatistics:
        """Counters since the transport was opened."""
        return TransportStatistics(transport=self.name)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        residence = getattr(self, "_residence", None)
        if getattr(self, "_client", None) is not None and not (residence and residence.is_forked):
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = "open" if self._client is not None else "closed"
        return f"<{type(self).__name__} {self.url.redacted} ({state})>"
