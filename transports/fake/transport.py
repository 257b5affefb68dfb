"""``fake://[name]/database``: an in-memory MongoDB in this process.

Without a name, every transport has a fake of its own. A named one is shared by all transports of
the process that name it, for as long as any of them is open.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Unpack

from pymongo import AsyncMongoClient

from transports.base import Document, Transport, TransportStatistics
from transports.endpoint.listening import Listening
from transports.endpoint.server import Endpoint
from transports.errors import InvalidURL
from transports.fake import handshake
from transports.fake.backend import FakeBackend
from transports.fake.clock import Clock
from transports.fake.command_log import CommandLog
from transports.fake.loading import Source, dump, insert_documents, read_documents
from transports.fake.scripted import How, ScriptedFailure
from transports.fake.server import FakeServer
from transports.fake.snapshots import Snapshot
from transports.url import TransportURL, check_options

OPTIONS: Final = ("serverVersion",)

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]*")


@dataclass(slots=True)
class _Shared:
    server: FakeServer
    users: int = 0


_shared: Final[dict[str, _Shared]] = {}
_shared_lock: Final = threading.Lock()


class FakeTransport(Transport):
    """The fake transport.

    Options of the URL: ``serverVersion`` (``6.0.x``, the default, or ``7.0.x``), the version to
    present.

    Args:
        url: see above.
        listen: where the local endpoint listens, see `Endpoint`; None for a private socket.

    Raises:
        InvalidURL: an unknown option, a version that the fake cannot play, a name with other
            characters than letters, digits and ``_ . -``.
    """

    name: ClassVar[str] = "fake"

    def __init__(self, url: TransportURL, *, listen: str | Listening | None = None) -> None:
        super().__init__(url)
        self._listen = listen
        check_options(url.options, OPTIONS, url.raw)
        self._version = url.options.get("serverVersion", handshake.DEFAULT_VERSION)
        if handshake.wire_version(self._version) is None:
            raise InvalidURL(
                f"{url.redacted!r} asks for server version {self._version!r}; the fake can be "
                f"{handshake.SUPPORTED_VERSIONS}: write for example "
                f"'fake:///{url.database}?serverVersion={handshake.DEFAULT_VERSION}'"
            )
        if not _NAME.fullmatch(url.target):
            raise InvalidURL(
                f"{url.target!r} in {url.redacted!r} cannot name a fake: use letters, digits and "
                f"'_.-', as in 'fake://shared/{url.database}'"
            )
        self._server: FakeServer | None = None
        self._endpoint: Endpoint | None = None
        self._commands_before = 0
        self._commands_after = 0

    async def _open(self) -> AsyncMongoClient[Document]:
        self._server = self._join()
        self._commands_before = self._server.commands_run
        self._endpoint = Endpoint(FakeBackend(self._server), listen=self._listen)
        await self._endpoint.start()
        return AsyncMongoClient(self._endpoint.uri)

    async def _close(self) -> None:
        endpoint, self._endpoint = self._endpoint, None
        server, self._server = self._server, None
        try:
            if endpoint is not None:
                await endpoint.aclose()
        finally:
            if server is not None:
                self._commands_after += server.commands_run - self._commands_before
                self._leave()

    def _abandon(self, *, forked: bool) -> None:
        self._endpoint = None
        server, self._server = self._server, None
        if server is not None:
            self._leave()

    def _join(self) -> FakeServer:
        if not self.url.target:
            return FakeServer(version=self._version)
        with _shared_lock:
            shared = _shared.get(self.url.target)
            if shared is None:
                shared = _shared[self.url.target] = _Shared(FakeServer(version=self._version))
            elif shared.server.version != self._version:
                raise InvalidURL(
                    f"the fake {self.url.target!r} is open as version {shared.server.version}, "
                    f"and {self.url.redacted!r} asks for {self._version}"
                )
            shared.users += 1
            return shared.server

    def _leave(self) -> None:
        if not self.url.target:
            return
        with _shared_lock:
            shared = _shared[self.url.target]
            shared.users -= 1
            if not shared.users:
                del _shared[self.url.target]

    @property
    def server(self) -> FakeServer:
        """The server itself, for tests that look behind the driver.

        Raises:
            TransportClosed: before ``open()`` or after ``aclose()``.
        """
        self.client  # noqa: B018 - raises TransportClosed
        assert self._server is not None
        return self._server

    @property
    def commands(self) -> CommandLog:
        """The commands that the fake has received, handshakes left out.

        Raises:
            TransportClosed: before ``open()`` or after ``aclose()``.
        """
        return self.server.log

    @property
    def clock(self) -> Clock:
        """The fake's clock: ``freeze()``, ``advance()``, ``thaw()``.

        Raises:
            TransportClosed: before ``open()`` or after ``aclose()``.
        """
        return self.server.clock

    def fail_next(self, *commands: str, **how: Unpack[How]) -> ScriptedFailure:
        """Let the next command of these names fail, or wait: see `Script.fail_next`.

        ::

            transport.fail_next("insert", code="WriteConflict")
            transport.fail_next("update", network_error=True, after=True)
            transport.fail_next("find", namespace=".pages", delay_ms=50, times=3)

        Raises:
            ValueError: an unknown command or code, no namespace, or nothing to do.
            TypeError: an unknown argument.
            TransportClosed: before ``open()`` or after ``aclose()``.
        """
        return self.server.script.fail_next(*commands, **how)

    def snapshot(self) -> Snapshot:
        """Return the data as it is now, for `restore`; open transactions are not in it.

        Raises:
            TransportClosed: before ``open()`` or after ``aclose()``.
        """
        return self.server.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Put the data back to a snapshot; it aborts open transactions and closes cursors.

        Raises:
            TransportClosed: before ``open()`` or after ``aclose()``.
        """
        self.server.restore(snapshot)

    async def load(self, source: Source, *, database: str | None = None) -> dict[str, int]:
        """Insert documents from files or a mapping; validators and unique indexes apply.

        The commands for it are not logged and meet no scripted failure.

        Args:
            source: see `transports.fake.loading.read_documents`.
            database: into which; None for the URL's.

        Returns:
            How many documents came into each collection.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a file cannot be understood; the message names it.
            pymongo.errors.BulkWriteError: a document was refused.
        """
        target = self.client[database or self.url.database]
        loaded = read_documents(source)
        with self.commands.paused(), self.server.script.paused():
            return await insert_documents(target, loaded)

    def dump(self, database: str | None = None, *, canonical: bool = False) -> str:
        """Return the documents of a database as text, one a line, that `load` reads.

        Args:
            database: which; None for the URL's.
            canonical: keep the types of numbers: ``{"$numberLong": "1"}`` instead of ``1``.

        Raises:
            TransportClosed: before ``open()`` or after ``aclose()``.
        """
        return dump(self.server.documents(database or self.url.database), canonical=canonical)

    @property
    def uri(self) -> str:
        """A ``mongodb://`` URI of the fake's endpoint on this machine.

        Raises:
            TransportClosed: before ``open()`` or after ``aclose()``.
        """
        self.client  # noqa: B018 - raises TransportClosed
        assert self._endpoint is not None
        return self._endpoint.uri

    def statistics(self) -> TransportStatistics:
        """Counters since the transport was opened; a shared fake counts everybody's commands."""
        commands = self._commands_after
        details: dict[str, Any] = {}
        if self._server is not None:
            commands += self._server.commands_run - self._commands_before
            details = {
                "cursors": len(self._server.cursors),
                "sessions": len(self._server.sessions),
            }
        return TransportStatistics(transport=self.name, commands=commands, details=details)
