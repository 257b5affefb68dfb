"""One client connection: its messages in order, one reply after another.

The handshake and authentication are answered here; every other command goes to the backend as the
bytes it came in. A connection runs one command at a time, as a server does; connections run
concurrently. While a command runs, what the client sends ahead is read up to `READ_AHEAD_BYTES`,
so that its going away is noticed; while the client does not read, nothing more is run for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import bson

from transports.endpoint import authentication, compression, handshake, wire
from transports.endpoint.authentication import Authentication, unauthorized
from transports.endpoint.backend import Backend, Client, Request
from transports.endpoint.elements import INT64, STRING, MalformedDocument, elements, number, text
from transports.endpoint.handshake import CODEC_OPTIONS, HelloContext, Reply, error_reply
from transports.endpoint.replies import cursor_id
from transports.endpoint.scram import Verifier
from transports.endpoint.topology import Topology
from transports.errors import CarriageError, ConnectionLost

logger = logging.getLogger(__name__)

READ_AHEAD_BYTES = 256 * 1024
"""What a client may send ahead of a running command before the socket is no longer read."""

UNAUTHENTICATED_MAX_BYTES = 64 * 1024
"""The longest message of a client that has yet to authenticate: handshakes are short."""

_JOIN_BELOW_BYTES = 64 * 1024  # above, copying a reply costs more than a second write

_OP_QUERY_COMMANDS = handshake.HELLO_NAMES | {"saslStart", "saslContinue", "authenticate"}
_WRAPPERS = ("$query", "query")


@dataclass(slots=True)
class Counters:
    """What an endpoint counts; changed by its connections."""

    connections: int = 0
    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Host(Protocol):
    """What a connection needs of the endpoint it belongs to."""

    backend: Backend
    topology: Topology
    verifier: Verifier | None
    counters: Counters
    connections: set[ClientConnection]

    @property
    def is_open(self) -> bool:
        """Whether clients are let in."""
        ...

    def addresses(self) -> dict[str, str]:
        """Return member address, lower case, to the endpoint's address for it."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what outlives its connection; bounded by the endpoint's own end."""
        ...


@dataclass(slots=True)
class _Flow:
    """Whether reading and writing may go on."""

    reading_paused: bool = False
    writable: asyncio.Event = field(default_factory=asyncio.Event)


class _BrokenOff(Exception):
    """The server broke off the connection upstream, and so does the endpoint."""


class ClientConnection(asyncio.Protocol):
    """One driver connection on the socket of one member."""

    def __init__(self, host: Host, member: str) -> None:
        self.member = member
        self._host = host
        self._decoder = wire.Decoder()
        self._authentication = Authentication(host.verifier)
        self._client = Client(connection_id=0)
        self._metadata_seen = False
        self._reply_ids = itertools.count(1)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._flow = _Flow()
        self._flow.writable.set()
        self._gone = False
        self._abandoned = False
        self._running: wire.Message | None = None

    # -- what the event loop calls -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._host.is_open:  # accepted in the moment in which the endpoint closed
            transport.abort()
            return
        counters = self._host.counters
        counters.connections += 1
        self._client = Client(connection_id=counters.connections)
        if not self._authentication.authenticated:
            self._decoder.max_message_bytes = UNAUTHENTICATED_MAX_BYTES
        self._host.connections.add(self)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        """Take bytes and wake whoever waits for a message."""
        self._host.counters.bytes_in += len(data)
        self._decoder.receive_data(data)
        if self._arrival is not None:
            self._wake()
        elif self._decoder.buffered_bytes > READ_AHEAD_BYTES and not self._flow.reading_paused:
            assert self._transport is not None
            self._flow.reading_paused = True
            self._transport.pause_reading()

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

    def end(self, *, spare_unacknowledged: bool = False) -> None:
        """Close the connection and cancel what runs; an unacknowledged write may be spared."""
        if self._transport is not None:
            self._transport.abort()
        self._leave()
        if not spare_unacknowledged:
            self._abandoned = True
            if self._task is not None:
                self._task.cancel()

    @property
    def carries_unacknowledged(self) -> bool:
        """Whether a command runs whose client waits for no reply."""
        return self._running is not None and self._running.more_to_come

    async def ended(self) -> None:
        """Wait until nothing runs for this connection any more."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _leave(self) -> None:
        if self._gone:
            return
        self._gone = True
        self._flow.writable.set()
        self._wake()
        # Nobody will hear the answer: the operation ends, upstream too. A write that asked for no
        # answer has been promised as soon as it was sent, and goes on.
        if self._task is not None and self._running is not None and not self._running.more_to_come:
            self._task.cancel()

    def _wake(self) -> None:
        arrival, self._arrival = self._arrival, None
        if arrival is not None and not arrival.done():
            arrival.set_result(None)

    async def _serve(self) -> None:
        try:
            while (event := await self._next_event()) is not None:
                if self._gone and not _is_unacknowledged(event):
                    continue
                await self._answer(event)
        except (wire.ProtocolError, _BrokenOff) as exc:
            logger.info("client %d is closed: %s", self._client.connection_id, exc)
        except ConnectionLost as exc:
            # The server's connection broke, so this one does: the driver knows what that means.
            logger.warning("client %d is closed: %s", self._client.connection_id, exc.message)
        except asyncio.CancelledError:
            if not self._gone:
                raise
            # `_leave` cancelled one command; behind it may wait writes that went on.
            if not self._abandoned and self._decoder.buffered_bytes:
                self._host.spawn(self._serve())
        except Exception:
            logger.exception("client %d is closed", self._client.connection_id)
        finally:
            self._running = None
            self._host.connections.discard(self)
            if self._transport is not None:
                self._transport.close()

    async def _next_event(self) -> wire.Event | None:
        """Return the next message, or None once the client has gone and left no more."""
        while True:
            event = self._decoder.next_event()
            if event is not None:
                return event
            if self._gone:
                return None
            if self._flow.reading_paused:
                assert self._transport is not None
                self._flow.reading_paused = False
                self._transport.resume_reading()
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival

    # -- one message -------------------------------------------------------------------------

    async def _answer(self, event: wire.Event) -> None:
        if isinstance(event, wire.Message):
            if event.name in handshake.HELLO_NAMES or event.name in authentication.COMMANDS:
                reply = await self._answer_here(event.name, event.document, event.database)
            elif not self._authentication.authenticated:
                reply = unauthorized(event.name)
            else:
                await self._relay(event)
                return
            if not event.more_to_come:
                await self._send(event, bson.encode(reply))
        elif isinstance(event, wire.BadMessage):
            if not event.more_to_come:
                reply = error_reply(event.code, event.code_name, event.errmsg)
                await self._send(event, bson.encode(reply))
        else:
            await self._answer_query(event)

    async def _answer_query(self, query: wire.Query) -> None:
        """Answer an OP_QUERY: handshakes of old drivers, and an error for all else."""
        database, _, collection = query.namespace.partition(".")
        flags = wire.REPLY_AWAIT_CAPABLE
        if query.opcode != wire.OP_QUERY or collection != "$cmd":
            flags = wire.REPLY_QUERY_FAILURE
            name = "OP_QUERY" if query.opcode == wire.OP_QUERY else "OP_GET_MORE"
            reply = handshake.unsupported_opcode(name)
        else:
            document = _unwrapped(query.document)
            name = _first_key(document)
            if name in _OP_QUERY_COMMANDS:
                reply = await self._answer_here(name, document, database)
            else:
                reply = handshake.unsupported_query(name)
        await self._write(
            wire.encode_reply(next(self._reply_ids), query.request_id, bson.encode(reply), flags),
            query.compressor_id,
        )

    async def _answer_here(self, name: str, document: bytes, database: str) -> Reply:
        try:
            command = bson.decode(document, CODEC_OPTIONS)
        except Exception as exc:  # InvalidBSON, and what its decoder of dates raises besides
            return error_reply(22, "InvalidBSON", f"invalid BSON: {exc}")
        if name in handshake.HELLO_NAMES:
            return await self._hello(name, command)
        reply = self._authentication.run(name, command, database)
        if self._authentication.authenticated:
            self._decoder.max_message_bytes = wire.MAX_MESSAGE_BYTES
        return reply

    async def _hello(self, name: str, command: dict[str, Any]) -> Reply:
        refusal = handshake.check_hello(command, name) or self._check_metadata(command)
        if refusal is not None:
            return refusal
        topology = self._host.topology
        try:
            await topology.current()
        except CarriageError as exc:
            return error_reply(exc.code, exc.code_name, exc.message, exc.labels)
        except OSError as exc:  # a new member for whom the endpoint cannot listen
            return error_reply(6, "HostUnreachable", str(exc))
        member = topology.member(self.member)
        if member is None:
            message = f"{self.member} is no longer a member of the deployment"
            return error_reply(91, "ShutdownInProgress", message)
        context = HelloContext(
            addresses=self._host.addresses(),
            connection_id=self._client.connection_id,
            now=datetime.now(UTC),
            compressors=compression.NAMES,
            mechanisms=self._authentication.mechanisms,
            cluster_time=topology.cluster_time(),
            operation_time=topology.operation_time(),
        )
        reply = handshake.hello_reply(command, member, context, name=name)
        speculation = self._authentication.speculate(command) if reply["ok"] else None
        if speculation is not None:
            reply["speculativeAuthenticate"] = speculation
        return reply

    def _check_metadata(self, command: dict[str, Any]) -> Reply | None:
        """Take the client's name from its first handshake and refuse that it takes another."""
        if "client" not in command:
            return None
        if self._metadata_seen:
            message = "The client metadata document may only be sent in the first hello"
            return error_reply(186, "ClientMetadataCannotBeMutated", message)
        self._metadata_seen = True
        self._client = Client(
            connection_id=self._client.connection_id, app_name=handshake.app_name(command)
        )
        return None

    # -- commands of the backend -------------------------------------------------------------

    async def _relay(self, message: wire.Message) -> None:
        request = Request(
            server=self.member,
            message=message.body,
            name=message.name,
            database=message.database,
            acknowledged=not message.more_to_come,
            client=self._client,
        )
        self._running = message
        try:
            if message.exhaust_allowed and message.name == "getMore":
                await self._exhaust(message, request)
                return
            reply = await self._run(request)
        finally:
            self._running = None
        if not message.more_to_come:
            await self._send(message, reply)

    async def _run(self, request: Request) -> bytes:
        """Run *request*; what goes wrong becomes the reply of a server in that place."""
        host = self._host
        host.counters.commands += 1
        try:
            reply = await host.backend.run(request)
        except ConnectionLost:
            host.topology.doubt()
            raise
        except CarriageError as exc:
            if "SystemOverloadedError" not in exc.labels:
                host.topology.doubt()
            if exc.closes_connection:
                raise _BrokenOff(exc.message) from exc
            return bson.encode(error_reply(exc.code, exc.code_name, exc.message, exc.labels))
        except Exception as exc:
            logger.exception("%s on %s failed in the backend", request.name, request.database)
            message = f"{type(exc).__name__} in the backend while it ran {request.name}"
            return bson.encode(error_reply(1, "InternalError", message))
        if request.acknowledged:
            host.topology.read(reply)
        return reply

    async def _exhaust(self, message: wire.Message, request: Request) -> None:
        """Repeat a ``getMore`` until its cursor is exhausted, each reply chained to the last.

        Spec: OP_MSG, exhaustAllowed and moreToCome.
        """
        finished = False
        response_to: int | None = None
        try:
            while not finished:
                reply = await self._run(request)
                finished = not cursor_id(reply)
                flags = 0 if finished else wire.MORE_TO_COME
                response_to = await self._send(message, reply, flags, response_to)
                # Neither backend nor client may have made this wait: let others run, and let the
                # loop tell that the client has gone.
                await asyncio.sleep(0)
        finally:
            if not finished:
                self._host.spawn(self._kill_cursor(message, request))

    async def _kill_cursor(self, message: wire.Message, get_more: Request) -> None:
        cursor, collection = _cursor_of(message)
        if cursor is None or collection is None:
            return
        command = {
            "killCursors": collection,
            "cursors": [bson.Int64(cursor)],
            "$db": get_more.database,
        }
        request = Request(
            server=get_more.server,
            message=bytes(5) + bson.encode(command),
            name="killCursors",
            database=get_more.database,
            client=self._client,
        )
        with contextlib.suppress(_BrokenOff):
            await self._run(request)

    # -- writing -----------------------------------------------------------------------------

    async def _send(
        self,
        event: wire.Message | wire.BadMessage,
        document: bytes,
        flags: int = 0,
        response_to: int | None = None,
    ) -> int:
        """Write a reply and return its requestId, once the client may be sent more."""
        reply_id = next(self._reply_ids)
        target = event.request_id if response_to is None else response_to
        if len(document) >= _JOIN_BELOW_BYTES and not event.compressor_id:
            prefix = wire.msg_prefix(reply_id, target, len(document), flags)
            await self._write(prefix, None, document)
        else:
            message = wire.encode_msg(reply_id, target, document, flags)
            await self._write(message, event.compressor_id)
        return reply_id

    async def _write(self, message: bytes, compressor_id: int | None, rest: bytes = b"") -> None:
        if self._gone:
            return
        assert self._transport is not None
        if compressor_id:
            message = wire.compress(message, compressor_id)
        self._host.counters.bytes_out += len(message) + len(rest)
        self._transport.write(message)
        if rest:
            self._transport.write(rest)
        if not self._flow.writable.is_set():
            await self._flow.writable.wait()


def _is_unacknowledged(event: wire.Event) -> bool:
    return isinstance(event, wire.Message) and event.more_to_come


def _cursor_of(message: wire.Message) -> tuple[int | None, str | None]:
    """Return cursor and collection of a ``getMore``."""
    cursor, collection = None, None
    document = message.document
    for element in elements(document):
        if element.name == b"getMore" and element.type == INT64:
            cursor = number(document, element)
        elif element.name == b"collection" and element.type == STRING:
            collection = text(document, element)
    return (int(cursor) if cursor is not None else None), collection


def _unwrapped(document: bytes) -> bytes:
    """Return the command inside ``{$query: {…}, $readPreference: {…}}``, or *document* itself."""
    try:
        first = next(elements(document), None)
    except MalformedDocument:
        return document
    if first is not None and first.name.decode("utf-8", "replace") in _WRAPPERS:
        return document[first.start : first.end]
    return document


def _first_key(document: bytes) -> str:
    try:
        first = next(elements(document), None)
    except MalformedDocument:
        return ""
    return first.name.decode("utf-8", "replace") if first is not None else ""
