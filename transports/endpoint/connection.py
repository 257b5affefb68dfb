"""One client connection: bytes to messages, one after another, and replies to bytes.

A connection runs one command at a time, as a server does; connections run concurrently. While a
command runs, what the client sends ahead is read up to `READ_AHEAD_BYTES`, so that its going away
is noticed; while the client does not read, nothing more is run for it. What a message is answered
with is `transports.endpoint.dispatch`'s.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Protocol, cast

from transports.endpoint import wire
from transports.endpoint.dispatch import Dispatcher, Services
from transports.errors import ConnectionLost, origin

logger = logging.getLogger(__name__)

READ_AHEAD_BYTES = 256 * 1024
"""What a client may send ahead of a running command before the socket is no longer read."""

HANGUP_INTERVAL_S = 1.0
"""How often a client that is not read from is looked at for having hung up."""

UNAUTHENTICATED_MAX_BYTES = 64 * 1024
"""The longest message of a client that has yet to authenticate: handshakes are short."""

UNAUTHENTICATED_MESSAGE_S = 30.0
"""How long such a client may take for its first message, and for the rest of one it has begun.
Between messages it may wait: monitors of drivers never authenticate."""

MAX_UNAUTHENTICATED = 256
"""Such clients at one time; every process with a driver has a monitor for each member."""

_UCRED = struct.Struct("3i")  # pid, uid, gid
_JOIN_BELOW_BYTES = 64 * 1024  # above, copying a reply costs more than a second write


class Host(Services, Protocol):
    """What a connection needs of the endpoint it belongs to."""

    connections: set[ClientConnection]
    max_clients: int

    @property
    def is_open(self) -> bool:
        """Whether clients are let in."""
        ...


@dataclass(slots=True)
class _Flow:
    """Whether reading and writing may go on."""

    reading_paused: bool = False
    hung_up: bool = False
    deadline: float | None = None
    writable: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.writable.set()


class ClientConnection(asyncio.Protocol):
    """One driver connection on the socket of one member."""

    _transport: asyncio.Transport
    _dispatcher: Dispatcher

    def __init__(self, host: Host, member: str) -> None:
        self.member = member
        self._host = host
        self._decoder = wire.Decoder()
        self._reply_ids = itertools.count(1)
        self._task: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._flow = _Flow()
        self._greeted = False
        self._gone = False
        self._abandoned = False

    # -- what the event loop calls -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of another class
        if not self._host.is_open:  # accepted in the moment in which the endpoint closed
            self._transport.abort()
            return
        counters = self._host.counters
        if self._is_one_too_many():
            counters.refused += 1
            if not counters.refused & (counters.refused - 1):  # the 1st, 2nd, 4th, 8th, …
                logger.warning("%d clients refused: too many connections", counters.refused)
            if self._host.observer is not None:
                self._host.observer.connection_refused(0, "too many connections")
            self._transport.abort()
            return
        counters.connections += 1
        counters.connected_at = time.monotonic()
        self._dispatcher = Dispatcher(self._host, self.member, counters.connections)
        self._host.connections.add(self)
        if self._host.observer is not None:
            self._host.observer.connection_opened(counters.connections, peer_of(self._transport))
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        """Take bytes and wake whoever waits for a message."""
        self._host.counters.bytes_in += len(data)
        self._decoder.receive_data(data)
        if self._arrival is not None:
            self._wake()
        elif self._decoder.buffered_bytes > (
            READ_AHEAD_BYTES if self._dispatcher.authenticated else UNAUTHENTICATED_MAX_BYTES
        ):
            self._pause_reading()

    def eof_received(self) -> None:
        """Take the end of the client's sending for its going away, as a server does."""
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what runs for this client."""
        self._leave()

    def pause_writing(self) -> None:
        """Run nothing more until the client has read what is there."""
        self._flow.writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._flow.writable.set()

    # -- the life of a connection ------------------------------------------------------------

    @property
    def authenticated(self) -> bool:
        """Whether the client may run commands."""
        return self._dispatcher.authenticated

    def _is_one_too_many(self) -> bool:
        host = self._host
        if len(host.connections) >= host.max_clients:
            return True
        if host.verifier is None or len(host.connections) < MAX_UNAUTHENTICATED:
            return False
        return sum(not c.authenticated for c in host.connections) >= MAX_UNAUTHENTICATED

    def end(self, *, spare_unacknowledged: bool = False) -> None:
        """Close the connection and cancel what runs; an unacknowledged write may be spared."""
        self._transport.abort()
        self._leave()
        if not spare_unacknowledged:
            self._abandoned = True
            if self._task is not None:
                self._task.cancel()

    async def ended(self) -> None:
        """Wait until nothing runs for this connection any more."""
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def carries_unacknowledged(self) -> bool:
        """Whether a command runs whose client waits for no reply."""
        running = self._dispatcher.running
        return running is not None and running.more_to_come

    async def _serve(self) -> None:
        connection_id = self._dispatcher.client.connection_id
        try:
            while (event := await self._next_event()) is not None:
                if not self._gone or _is_unacknowledged(event):
                    await self._dispatcher.answer(event, self)
        except wire.ProtocolError as exc:
            logger.info("client %d is closed: %s", connection_id, exc)
            if self._host.observer is not None:
                self._host.observer.connection_refused(connection_id, str(exc))
        except ConnectionLost as exc:
            # The server's connection broke, so this one does: the driver knows what that means.
            logger.warning("client %d is closed: %s", connection_id, exc.message)
        except asyncio.CancelledError:
            if not self._gone:
                raise
            # `_leave` cancelled one command; behind it may wait writes that are to be carried.
            if not self._abandoned and self._decoder.buffered_bytes:
                self._host.spawn(self._serve())
        except Exception as exc:
            logger.error("client %d is closed: %s", connection_id, origin(exc))
        finally:
            if self in self._host.connections and self._host.observer is not None:
                self._host.observer.connection_closed(connection_id)
            self._host.connections.discard(self)
            self._transport.close()

    async def _next_event(self) -> wire.Event | None:
        """Return the next message, or None once the client has gone and left no more."""
        while True:
            authenticated = self._dispatcher.authenticated
            self._decoder.max_message_bytes = (
                wire.MAX_MESSAGE_BYTES if authenticated else UNAUTHENTICATED_MAX_BYTES
            )
            event = self._decoder.next_event()
            if event is not None:
                self._flow.deadline = None
                self._greeted = True
                return event
            if self._gone:
                return None
            self._resume_reading()
            self._arrival = asyncio.get_running_loop().create_future()
            if authenticated or (self._greeted and not self._decoder.buffered_bytes):
                await self._arrival
            else:
                await self._arrival_in_time(self._arrival)

    async def _arrival_in_time(self, arrival: asyncio.Future[None]) -> None:
        flow, now = self._flow, asyncio.get_running_loop().time()
        flow.deadline = flow.deadline or now + UNAUTHENTICATED_MESSAGE_S
        try:
            async with asyncio.timeout_at(flow.deadline):
                await arrival
        except TimeoutError:
            raise wire.ProtocolError(
                f"no whole message within {UNAUTHENTICATED_MESSAGE_S:g} s"
            ) from None

    def _wake(self) -> None:
        arrival, self._arrival = self._arrival, None
        if arrival is not None and not arrival.done():
            arrival.set_result(None)

    def _leave(self) -> None:
        """Take note that the client has gone."""
        if self._gone:
            return
        self._gone = True
        self._flow.writable.set()
        self._wake()
        if self._task is None or self._dispatcher.running is None:
            return
        # Nobody will hear the answer: the operation ends, upstream too. A write that asked for no
        # answer has been promised as soon as it was sent, and goes on.
        if not self._dispatcher.running.more_to_come:
            self._task.cancel()

    # -- flow control ------------------------------------------------------------------------

    def _pause_reading(self) -> None:
        if not (self._flow.reading_paused or self._flow.hung_up):
            self._flow.reading_paused = True
            self._transport.pause_reading()
            self._watch_for_hangup()

    def _resume_reading(self) -> None:
        if self._flow.reading_paused:
            self._flow.reading_paused = False
            self._transport.resume_reading()

    def _watch_for_hangup(self) -> None:
        """Find out that the client has gone although nothing is read from it.

        What it sent before is bounded by the kernel's buffers: it is read to its end, which is
        where the loop tells of the going away.
        """
        if not self._flow.reading_paused or self._gone:
            return
        if _has_hung_up(self._transport):
            self._flow.hung_up = True
            self._resume_reading()
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(HANGUP_INTERVAL_S, self._watch_for_hangup)

    # -- what the dispatcher calls -----------------------------------------------------------

    async def send_msg(
        self,
        event: wire.Message | wire.BadMessage,
        document: bytes,
        flags: int = 0,
        response_to: int | None = None,
    ) -> int:
        """Send an OP_MSG and return its requestId, once the client may be sent more.

        It answers *event*, compressed alike, or the reply *response_to* of a chain.
        """
        reply_id = next(self._reply_ids)
        target = event.request_id if response_to is None else response_to
        if len(document) >= _JOIN_BELOW_BYTES and not event.compressor_id:
            prefix = wire.msg_prefix(reply_id, target, len(document), flags)
            await self._write(prefix, None, document)
        else:
            message = wire.encode_msg(reply_id, target, document, flags)
            await self._write(message, event.compressor_id)
        return reply_id

    async def send_reply(self, query: wire.Query, document: bytes, flags: int) -> None:
        """Send an OP_REPLY."""
        message = wire.encode_reply(next(self._reply_ids), query.request_id, document, flags)
        await self._write(message, query.compressor_id)

    async def _write(self, message: bytes, compressor_id: int | None, rest: bytes = b"") -> None:
        if self._gone:
            return
        if compressor_id:
            message = wire.compress(message, compressor_id)
        self._host.counters.bytes_out += len(message) + len(rest)
        self._transport.write(message)
        if rest:
            self._transport.write(rest)
        if not self._flow.writable.is_set():
            await self._flow.writable.wait()


def _has_hung_up(transport: asyncio.Transport) -> bool:
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "POLLRDHUP"):
        return False  # then the running command ends first
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLRDHUP | select.POLLHUP)
    return bool(poll.poll(0))


def peer_of(transport: asyncio.Transport) -> str:
    """Return who is at the other end: ``"127.0.0.1:50914"``, ``"pid 4711"``, or ``"local"``."""
    peer = transport.get_extra_info("peername")
    if isinstance(peer, tuple):
        return f"{peer[0]}:{peer[1]}"
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(socket, "SO_PEERCRED"):
        return "local"
    try:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return "local"
    return f"pid {_UCRED.unpack(credentials)[0]}"


def _is_unacknowledged(event: wire.Event) -> bool:
    return isinstance(event, wire.Message) and event.more_to_come
