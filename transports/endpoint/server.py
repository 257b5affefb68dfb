"""The endpoint: listens for drivers of this machine and hands their commands to a backend.

Owns the listeners, the client connections and their end. Framing, handshake and authentication
are in the modules beside this one; what a command means is the backend's.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from transports.endpoint.backend import Backend, Deployment, Member
from transports.endpoint.connection import ClientConnection
from transports.endpoint.dispatch import Counters
from transports.endpoint.listeners import Addresses, is_private, parse_listen
from transports.endpoint.listening import Listening
from transports.endpoint.scram import MECHANISM, Credential, Verifier
from transports.endpoint.topology import Topology
from transports.errors import CarriageError, TransportClosed

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0
"""How long `Endpoint.aclose` waits for unacknowledged writes to be carried, and then as long
again for cancelled commands to end."""

MAX_CLIENTS = 65_536
"""A server's own ``maxIncomingConnections``."""

_LAST_READS = 64  # turns of the event loop in which what clients go on sending is still read
_POLL_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatistics:
    """What an endpoint has done since it was started.

    Attributes:
        clients: driver connections open now, monitoring ones included.
        connections: driver connections accepted in all.
        refused: driver connections that were one too many.
        commands: commands handed to the backend (handshakes and authentication are not).
        bytes_in: bytes received from drivers.
        bytes_out: bytes sent to drivers.
    """

    clients: int = 0
    connections: int = 0
    refused: int = 0
    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(slots=True)
class _Listener:
    address: str
    server: asyncio.Server


class Endpoint:
    """A MongoDB deployment on local sockets, whose commands a `Backend` runs.

    Use it as an asynchronous context manager, or call `start` and `aclose`. It belongs to the
    event loop on which it was started.

    Args:
        backend: runs the commands.
        listen: None for private unix sockets, one for each member (loopback ports where the
            platform has none); ``"127.0.0.1:27018"`` for TCP, the primary on that port and further
            members on free ones; ``"/path/x.sock"``. A `Listening` also says what is asked of
            clients, what they may run, and who watches.
        credential: what clients must authenticate with (SCRAM-SHA-256). None for nothing where
            only this user can connect; else for one that is made up and stands in `uri`: any user
            of the machine reaches a port.
        deployment_max_age_s: how old a description of the deployment may get before ``hello``
            asks for it anew; None as long as nothing speaks against it.
        relay_hello: whether every ``hello`` also asks the server itself. It costs a command each,
            heartbeats included, and makes true what is measured or provoked there: round-trip
            times, failpoints on ``hello``.

    Raises:
        ValueError: *listen* cannot be understood, or other machines could reach it and there is
            no credential.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        listen: str | Listening | None = None,
        credential: Credential | None = None,
        deployment_max_age_s: float | None = None,
        relay_hello: bool = False,
    ) -> None:
        listening = Listening.of(listen)
        where = parse_listen(listening.address) if listening.address is not None else None
        credential = credential or listening.credential
        if where is not None and not where.is_loopback and credential is None:
            raise ValueError(
                f"listening on {listening.address!r} lets other machines in: give a credential, "
                "or listen on '127.0.0.1:27018'"
            )
        if credential is None and not is_private(where):
            credential = Credential.random()
        self.backend = backend
        max_age_s = deployment_max_age_s
        if max_age_s is None:
            max_age_s = listening.deployment_max_age_s
        self.topology = Topology(backend, max_age_s=max_age_s, follow=self._follow)
        self.verifier = Verifier(credential) if credential is not None else None
        self.relays_hello = relay_hello
        self.guard = listening.guard
        self.observer = listening.observer
        self.counters = Counters()
        self.connections: set[ClientConnection] = set()
        self.max_clients = _max_clients()
        self._credential = credential
        self._addresses = Addresses(where)
        self._listeners: dict[str, _Listener] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._state = "new"
        self._closed = asyncio.Event()

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Ask the backend what it stands for and listen for each of its members.

        Raises:
            CarriageError: the backend could not tell; nothing is left open.
            ListenError: an address cannot be had; nothing is left open.
            TransportClosed: it was started before.
        """
        if self._state != "new":
            raise TransportClosed(f"{self!r} cannot be started again: make a new one")
        self._state = "starting"
        try:
            deployment = await self.topology.current()
            _check_usable(deployment)
        except BaseException:
            await self.aclose()
            raise
        self._state = "open"
        return self

    async def aclose(self) -> None:
        """Stop accepting, end clients and their commands, remove the sockets. Idempotent.

        Unacknowledged writes that clients have sent are carried first, for `CLOSE_TIMEOUT_S`.
        """
        if self._state == "closed":
            return
        if self._state == "closing":
            await self._closed.wait()
            return
        self._state = "closing"
        try:
            self._stop_listening()
            await self._read_the_rest()
            for connection in tuple(self.connections):
                connection.end(spare_unacknowledged=True)
            await self.topology.aclose()
            await self._wait_for_tasks()
        finally:
            self._abandon()
            self._state = "closed"
            self._closed.set()
        await self._wait_for_tasks()

    def _stop_listening(self) -> None:
        for listener in self._listeners.values():
            listener.server.close()
        self._addresses.close()

    def _abandon(self) -> None:
        for connection in tuple(self.connections):
            connection.end()
        for task in self._background:
            task.cancel()

    async def _read_the_rest(self) -> None:
        """Read what clients wrote before they closed: it may hold unacknowledged writes."""
        loop = asyncio.get_running_loop()
        deadline, turns = loop.time() + CLOSE_TIMEOUT_S, 0
        while loop.time() < deadline:
            before = self.counters.bytes_in
            await asyncio.sleep(0)  # the first turn finds the sockets ready, the second reads
            await asyncio.sleep(0)
            if any(c.carries_unacknowledged for c in self.connections):
                await asyncio.sleep(_POLL_S)  # behind it there may be more to read
            elif self.counters.bytes_in == before or turns == _LAST_READS:
                return
            turns += 1

    async def _wait_for_tasks(self) -> None:
        ending = [asyncio.ensure_future(c.ended()) for c in self.connections]
        waiting: list[asyncio.Future[None]] = [*ending, *self._background]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=CLOSE_TIMEOUT_S)
            if late and self._state == "closed":
                logger.warning("%d commands did not end in time", len(late))
        for task in ending:
            task.cancel()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if getattr(self, "_state", "new") in ("starting", "open"):
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
            self._addresses.close()

    # -- what connections use ----------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether clients are let in."""
        return self._state in ("starting", "open")

    def addresses(self) -> dict[str, str]:
        """Return member address, lower case, to the endpoint's address for it."""
        return {member.lower(): entry.address for member, entry in self._listeners.items()}

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run *coroutine* to its end, or to the endpoint's."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _follow(self, deployment: Deployment) -> None:
        """Listen for members that have come, and no longer for those that have gone."""
        if not self.is_open:
            raise CarriageError("the endpoint is closing", code=91, code_name="ShutdownInProgress")
        before = tuple(self._listeners)
        present = {member.address for member in deployment.members}
        for address in [a for a in self._listeners if a not in present]:
            self._close_listener(address)
        # The primary first: over TCP it gets the port that was asked for.
        for member in sorted(deployment.members, key=lambda m: not _is_primary(m)):
            if member.address not in self._listeners:
                await self._open_listener(member.address)
        if self.observer is not None and tuple(self._listeners) != before:
            self.observer.listening(self.addresses())

    async def _open_listener(self, member: str) -> None:
        loop = asyncio.get_running_loop()
        sock, address = self._addresses.bind()

        def accept() -> ClientConnection:
            return ClientConnection(self, member)

        try:
            if address.startswith("/"):
                server = await loop.create_unix_server(accept, sock=sock)
            else:
                server = await loop.create_server(accept, sock=sock)
        except BaseException:
            sock.close()
            self._addresses.release(address)
            raise
        self._listeners[member] = _Listener(address, server)

    def _close_listener(self, member: str) -> None:
        listener = self._listeners.pop(member)
        listener.server.close()
        self._addresses.release(listener.address)
        for connection in [c for c in self.connections if c.member == member]:
            connection.end()

    # -- what users see ----------------------------------------------------------------------

    @property
    def uri(self) -> str:
        """A ``mongodb://`` URI for any driver of this machine; it may hold a credential.

        Raises:
            TransportClosed: before `start` or after `aclose`.
        """
        if self._state != "open":
            raise TransportClosed(f"{self!r} has no address: use 'async with Endpoint(…)'")
        seeds = ",".join(_seed(entry.address) for entry in self._listeners.values())
        user = ""
        options = list(self._topology_options())
        credential = self._credential
        if credential is not None:
            user = f"{quote(credential.username, safe='')}:{quote(credential.password, safe='')}@"
            options += [
                f"authSource={quote(credential.source or 'admin', safe='')}",
                f"authMechanism={MECHANISM}",
            ]
        query = f"?{'&'.join(options)}" if options else ""
        return f"mongodb://{user}{seeds}/{query}"

    def _topology_options(self) -> list[str]:
        known = self.topology.known
        hellos = [m.hello for m in known.members if m.hello.get("ok")] if known else []
        for hello in hellos:
            if "setName" in hello:
                return [f"replicaSet={quote(hello['setName'], safe='')}"]
            if hello.get("msg") == "isdbgrid":
                return []
        return ["directConnection=true"]

    def statistics(self) -> EndpointStatistics:
        """Counters since the endpoint was started."""
        counters = self.counters
        return EndpointStatistics(
            clients=len(self.connections),
            connections=counters.connections,
            refused=counters.refused,
            commands=counters.commands,
            bytes_in=counters.bytes_in,
            bytes_out=counters.bytes_out,
        )

    def __repr__(self) -> str:
        where = ", ".join(entry.address for entry in self._listeners.values())
        return f"<Endpoint {where} ({self._state})>" if where else f"<Endpoint ({self._state})>"


def _max_clients() -> int:
    """Return half of the files that this process may have open: the rest is the application's."""
    try:
        import resource
    except ImportError:  # Windows
        return MAX_CLIENTS
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CLIENTS if allowed < 0 else min(MAX_CLIENTS, max(allowed // 2, 16))


def _check_usable(deployment: Deployment) -> None:
    """Refuse a deployment of which no member answered: not even its kind is known."""
    if any(member.hello.get("ok") for member in deployment.members):
        return
    if not deployment.members:
        raise CarriageError("the deployment has no member", code=6, code_name="HostUnreachable")
    hello = deployment.members[0].hello
    raise CarriageError(
        str(hello.get("errmsg", "no member of the deployment answers")),
        code=hello.get("code", 6),
        code_name=hello.get("codeName", "HostUnreachable"),
    )


def _is_primary(member: Member) -> bool:
    return bool(member.hello.get("isWritablePrimary") or member.hello.get("ismaster"))


def _seed(address: str) -> str:
    return quote(address, safe="") if address.startswith("/") else address
