"""Who answers what: the endpoint the handshake and authentication, the backend every other command.

One `Dispatcher` belongs to one client connection and takes its messages one after another. It
writes through an `Output` and knows neither sockets nor the event loop's protocols.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import bson

from transports.endpoint import authentication, compression, handshake, wire
from transports.endpoint.authentication import Authentication, unauthorized
from transports.endpoint.backend import Backend, Client, Member, Request
from transports.endpoint.elements import INT64, STRING, MalformedDocument, elements, number, text
from transports.endpoint.handshake import CODEC_OPTIONS, HelloContext, Reply, error_reply
from transports.endpoint.listening import Guard
from transports.endpoint.observer import Observer, observed
from transports.endpoint.replies import cursor_id, is_document
from transports.endpoint.scram import Verifier
from transports.endpoint.topology import Topology
from transports.errors import CarriageError, ConnectionLost, origin

logger = logging.getLogger(__name__)

_OP_QUERY_COMMANDS = handshake.HELLO_NAMES | {"saslStart", "saslContinue", "authenticate"}
_RELAYED_HELLO_FIELDS = frozenset({"apiVersion", "apiStrict", "apiDeprecationErrors", "comment"})
_WRAPPERS = (b"$query", b"query")


@dataclass(slots=True)
class Counters:
    """What an endpoint counts; changed by its connections."""

    connections: int = 0
    connected_at: float = -math.inf  # the last of them, by the monotonic clock
    refused: int = 0
    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Services(Protocol):
    """What a dispatcher needs of the endpoint it belongs to."""

    backend: Backend
    topology: Topology
    verifier: Verifier | None
    counters: Counters
    relays_hello: bool
    guard: Guard | None
    observer: Observer | None

    def addresses(self) -> Mapping[str, str]:
        """Return member address, lower case, to the endpoint's address for it."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what outlives its connection; bounded by the endpoint's own end."""
        ...


class Output(Protocol):
    """Where replies go."""

    async def send_msg(
        self,
        event: wire.Message | wire.BadMessage,
        document: bytes,
        flags: int = 0,
        response_to: int | None = None,
    ) -> int:
        """Send an OP_MSG and return its requestId, once the client may be sent more."""
        ...

    async def send_reply(self, query: wire.Query, document: bytes, flags: int) -> None:
        """Send an OP_REPLY."""
        ...


class Dispatcher:
    """Answers the messages of one client.

    Attributes:
        running: the message whose command runs in the backend, None for none.
        client: what requests tell of the client.
    """

    def __init__(self, services: Services, member: str, connection_id: int) -> None:
        self.running: wire.Message | None = None
        self.client = Client(connection_id=connection_id)
        self._services = services
        self._member = member
        self._authentication = Authentication(services.verifier)
        self._metadata_seen = False

    @property
    def authenticated(self) -> bool:
        """Whether the client may run commands."""
        return self._authentication.authenticated

    async def answer(self, event: wire.Event, output: Output) -> None:
        """Answer one message.

        Raises:
            ConnectionLost: the server broke off its connection, so the client's is to be closed.
        """
        if isinstance(event, wire.Query):
            await self._answer_query(event, output)
            return
        if isinstance(event, wire.BadMessage):
            reply = error_reply(event.code, event.code_name, event.errmsg)
        elif event.name in handshake.HELLO_NAMES or event.name in authentication.COMMANDS:
            reply = await self._answer_here(event.name, event.document, event.database)
        elif not self.authenticated:
            reply = unauthorized(event.name)
            if self._services.observer is not None:
                reason = "it sends commands without a user and password"
                self._services.observer.connection_refused(self.client.connection_id, reason)
        else:
            await self._relay(event, output)
            return
        if not event.more_to_come:
            await output.send_msg(event, bson.encode(reply))

    # -- what the endpoint answers itself ----------------------------------------------------

    async def _answer_query(self, query: wire.Query, output: Output) -> None:
        """Answer an OP_QUERY: handshakes of old drivers, and an error for all else."""
        database, _, collection = query.namespace.partition(".")
        flags = wire.REPLY_AWAIT_CAPABLE
        if query.opcode != wire.OP_QUERY or collection != "$cmd":
            flags = wire.REPLY_QUERY_FAILURE
            name = "OP_QUERY" if query.opcode == wire.OP_QUERY else "OP_GET_MORE"
            reply = handshake.unsupported_opcode(name)
        else:
            name, document = _unwrapped(query.document)
            if name in _OP_QUERY_COMMANDS:
                reply = await self._answer_here(name, document, database)
            else:
                reply = handshake.unsupported_query(name)
        await output.send_reply(query, bson.encode(reply), flags)

    async def _answer_here(self, name: str, document: bytes, database: str) -> Reply:
        try:
            command = bson.decode(document, CODEC_OPTIONS)
        except Exception as exc:  # InvalidBSON, and what its decoder of dates raises besides
            return error_reply(22, "InvalidBSON", f"invalid BSON: {type(exc).__name__}")
        if name in handshake.HELLO_NAMES:
            return await self._hello(name, command)
        reply = self._authentication.run(name, command, database)
        if self._services.observer is not None and not reply["ok"]:
            reason = f"{reply['errmsg']} ({reply['codeName']})"
            self._services.observer.connection_refused(self.client.connection_id, reason)
        return reply

    async def _hello(self, name: str, command: dict[str, Any]) -> Reply:
        refusal = handshake.check_hello(command, name) or self._take_metadata(command)
        if refusal is not None:
            return refusal
        topology = self._services.topology
        try:
            await topology.current()
        except CarriageError as exc:
            return error_reply(exc.code, exc.code_name, exc.message, exc.labels)
        except OSError as exc:  # a new member for whom the endpoint cannot listen
            return error_reply(6, "HostUnreachable", str(exc))
        member = topology.member(self._member)
        if member is None:
            message = f"{self._member} is no longer a member of the deployment"
            return error_reply(91, "ShutdownInProgress", message)
        if self._services.relays_hello:
            member = await self._ask(name, command)
        if "client" in command and handshake.is_recovering(member.hello):
            # PyMongo takes such a server for one without sessions, for as long as the connection
            # lives; and by the time that it writes on it, the server may be primary. No label: of
            # a bulk that is repeated for want of a connection it forgets what is not in the first
            # command (4.13 to 4.20).
            message = f"{self._member} is neither primary nor secondary now"
            return error_reply(13436, "NotPrimaryOrSecondary", message)
        context = HelloContext(
            addresses=self._services.addresses(),
            connection_id=self.client.connection_id,
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

    async def _ask(self, name: str, command: dict[str, Any]) -> Member:
        """Ask the server itself for its ``hello``.

        Without what is between driver and endpoint: metadata, compression, authentication, and
        waiting for a change.
        """
        kept = {key: value for key, value in command.items() if key in _RELAYED_HELLO_FIELDS}
        request = Request(
            server=self._member,
            message=bytes(5) + bson.encode({name: 1, **kept, "$db": "admin"}),
            name=name,
            database="admin",
            client=self.client,
        )
        try:
            reply = await self._services.backend.run(request)
        except ConnectionLost:
            raise
        except CarriageError as exc:
            error = error_reply(exc.code, exc.code_name, exc.message, exc.labels)
            return Member(address=self._member, hello=error)
        except Exception as exc:
            logger.error("%s failed in the backend: %s", name, origin(exc))
            error = error_reply(1, "InternalError", f"{type(exc).__name__} in the backend")
            return Member(address=self._member, hello=error)
        try:
            hello: dict[str, Any] = bson.decode(reply, CODEC_OPTIONS)
        except Exception as exc:
            message = f"its reply to {name} is not a BSON document: {type(exc).__name__}"
            return Member(address=self._member, hello=error_reply(17, "ProtocolError", message))
        self._services.topology.read(reply)
        return Member(address=self._member, hello=handshake.checked_hello(hello))

    def _take_metadata(self, command: dict[str, Any]) -> Reply | None:
        """Take the client's name from its first handshake and refuse that it takes another."""
        if "client" not in command:
            return None
        if self._metadata_seen:
            message = "The client metadata document may only be sent in the first hello"
            return error_reply(186, "ClientMetadataCannotBeMutated", message)
        self._metadata_seen = True
        self.client = Client(
            connection_id=self.client.connection_id, app_name=handshake.app_name(command)
        )
        if self._services.observer is not None:
            self._services.observer.client_known(self.client, handshake.driver_name(command))
        return None

    # -- what the backend answers ------------------------------------------------------------

    async def _relay(self, message: wire.Message, output: Output) -> None:
        request = Request(
            server=self._member,
            message=message.body,
            name=message.name,
            database=message.database,
            acknowledged=not message.more_to_come,
            client=self.client,
            request_id=message.request_id,
        )
        self.running = message
        try:
            if message.exhaust_allowed and message.name == "getMore" and request.acknowledged:
                await self._exhaust(message, request, output)
                return
            reply = await self._answer_to(message, request)
        finally:
            self.running = None
        if request.acknowledged:
            await output.send_msg(message, reply)

    async def _answer_to(self, message: wire.Message, request: Request) -> bytes:
        observer = self._services.observer
        if observer is None:
            return await self._guarded(request)
        return await observed(observer, message, request, self._guarded(request))

    async def _guarded(self, request: Request) -> bytes:
        guard = self._services.guard
        refusal = guard.refuse(request) if guard is not None else None
        return refusal if refusal is not None else await self._run(request)

    async def _run(self, request: Request) -> bytes:
        """Run *request*; what goes wrong becomes the reply of a server in that place."""
        services = self._services
        services.counters.commands += 1
        try:
            reply = await services.backend.run(request)
        except ConnectionLost:
            services.topology.doubt()
            raise
        except CarriageError as exc:
            if "SystemOverloadedError" not in exc.labels:  # it ran nowhere: no news of a server
                services.topology.doubt()
            return bson.encode(error_reply(exc.code, exc.code_name, exc.message, exc.labels))
        except Exception as exc:
            logger.error(
                "%r on %r failed in the backend: %s", request.name, request.database, origin(exc)
            )
            message = f"{type(exc).__name__} in the backend while it ran {request.name}"
            return bson.encode(error_reply(1, "InternalError", message))
        if not request.acknowledged:
            return reply
        if not is_document(reply):
            logger.error("%r: the backend's reply is not a BSON document", request.name)
            message = f"the reply to {request.name} is not a BSON document"
            return bson.encode(error_reply(1, "InternalError", message))
        services.topology.read(reply)
        return reply

    async def _exhaust(self, message: wire.Message, request: Request, output: Output) -> None:
        """Repeat a ``getMore`` until its cursor is exhausted, each reply chained to the last.

        Spec: OP_MSG, exhaustAllowed and moreToCome. A server streams no other command but
        ``hello``; one that is not streamed is answered once, which the flag allows.
        """
        finished = False
        response_to: int | None = None
        try:
            while not finished:
                reply = await self._answer_to(message, request)
                finished = not cursor_id(reply)
                flags = 0 if finished else wire.MORE_TO_COME
                response_to = await output.send_msg(message, reply, flags, response_to)
                # Neither backend nor client may have made this wait: let others run, and let the
                # loop tell that the client has gone.
                await asyncio.sleep(0)
        finally:
            if not finished:
                self._services.spawn(self._kill_cursor(message, request))

    async def _kill_cursor(self, message: wire.Message, get_more: Request) -> None:
        cursor, collection = _cursor_of(message.document)
        if cursor is None or collection is None:
            return
        database = get_more.database
        command = {"killCursors": collection, "cursors": [bson.Int64(cursor)], "$db": database}
        request = Request(
            server=get_more.server,
            message=bytes(5) + bson.encode(command),
            name="killCursors",
            database=database,
            client=self.client,
        )
        try:
            await self._run(request)
        except ConnectionLost as exc:
            logger.info("cursor %d was not killed: %s", cursor, exc.message)


def _cursor_of(document: bytes) -> tuple[int | None, str | None]:
    """Return cursor and collection of a ``getMore``."""
    cursor, collection = None, None
    # A message is looked at up to its $db only: what follows may be malformed.
    with contextlib.suppress(MalformedDocument):
        for element in elements(document):
            if element.name == b"getMore" and element.type == INT64:
                cursor = number(document, element)
            elif element.name == b"collection" and element.type == STRING:
                collection = text(document, element)
    return (int(cursor) if cursor is not None else None), collection


def _unwrapped(document: bytes) -> tuple[str, bytes]:
    """Return the name and bytes of a command, out of ``{$query: {…}, $readPreference: {…}}``."""
    try:
        first = next(elements(document), None)
        if first is not None and first.name in _WRAPPERS:
            document = document[first.start : first.end]
            first = next(elements(document), None)
    except MalformedDocument:
        return "", document
    return (first.name.decode("utf-8", "replace") if first is not None else ""), document
