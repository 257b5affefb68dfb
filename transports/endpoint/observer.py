"""Who watches an endpoint: clients that come and go, commands that have been answered.

An `Observer` is told in words and numbers, never in contents: no document, filter or credential
reaches it. Without one nothing of this module runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Protocol

from transports.endpoint.backend import Client, Request
from transports.endpoint.elements import STRING, MalformedDocument, find, text
from transports.endpoint.replies import ReplyFailure, read_failure
from transports.endpoint.wire import Message
from transports.errors import CarriageError

_NAME_A_COLLECTION = frozenset(
    {
        *("find", "aggregate", "count", "distinct", "mapReduce", "mapreduce", "killCursors"),
        *("insert", "update", "delete", "findAndModify", "findandmodify"),
        *("create", "collMod", "drop", "collStats", "collstats", "validate", "compact"),
        *("listIndexes", "createIndexes", "dropIndexes", "deleteIndexes", "reIndex"),
        *("createSearchIndexes", "updateSearchIndex", "dropSearchIndex", "planCacheClear"),
    }
)
"""Commands whose first value is a collection: of others it may be a user, a message, a UUID."""

CLIENT_DISCONNECT = ReplyFailure(279, "ClientDisconnect")
"""The client went away before its command was answered; the name is the server's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCommand:
    """A command that has been answered, refused, or left by its client.

    Attributes:
        client: who sent it.
        server: address of the member that it was for.
        name: its name, as the client wrote it.
        database: its ``$db``.
        collection: the collection that it acts on, None for none or one that is not known.
        duration_s: from its arrival to its reply.
        request_bytes: of its message.
        reply_bytes: of its reply; 0 without one.
        failure: the code that the client was told, or that its first write error or its write
            concern's has; None for a success.
    """

    client: Client
    server: str
    name: str
    database: str
    collection: str | None
    duration_s: float
    request_bytes: int
    reply_bytes: int
    failure: ReplyFailure | None


class Observer(Protocol):
    """Told of what happens at an endpoint, on its event loop.

    Methods return at once and raise nothing: a client waits for them.
    """

    def listening(self, addresses: Mapping[str, str]) -> None:
        """Take note that the members (keys, lower case) are reached at these addresses now."""
        ...

    def connection_opened(self, connection_id: int, peer: str) -> None:
        """Take note of a connection of *peer*: ``"127.0.0.1:50914"``, ``"pid 4711"``."""
        ...

    def client_known(self, client: Client, driver: str) -> None:
        """Take note of whose connection it is, as its handshake says; *driver* may be ``""``."""
        ...

    def connection_refused(self, connection_id: int, reason: str) -> None:
        """Take note of a client that failed to authenticate, or that makes no sense.

        One that was one too many has no connection, and the number 0.
        """
        ...

    def connection_closed(self, connection_id: int) -> None:
        """Take note of its end."""
        ...

    def command_finished(self, command: FinishedCommand) -> None:
        """Take note of a command. Handshakes and authentication are none."""
        ...


async def observed(
    observer: Observer, message: Message, request: Request, answer: Awaitable[bytes]
) -> bytes:
    """Await the *answer* to *request*, tell the observer of it, and return it."""
    started = time.perf_counter()
    reply, failure = b"", None
    try:
        reply = await answer
        failure = read_failure(reply) if reply else None
        return reply
    except CarriageError as error:  # `ConnectionLost`: all others have become replies
        failure = ReplyFailure(error.code, error.code_name)
        raise
    except asyncio.CancelledError:
        failure = CLIENT_DISCONNECT
        raise
    finally:
        observer.command_finished(
            FinishedCommand(
                client=request.client,
                server=request.server,
                name=request.name,
                database=request.database,
                collection=collection_of(message),
                duration_s=time.perf_counter() - started,
                request_bytes=len(message.body),
                reply_bytes=len(reply),
                failure=failure,
            )
        )


def collection_of(message: Message) -> str | None:
    """Return the collection that a command acts on, None for none or one that is not known."""
    field = message.name if message.name in _NAME_A_COLLECTION else "collection"
    if field == "collection" and message.name != "getMore":
        return None
    try:
        element = find(message.body, field.encode(), message.body_start)
    except MalformedDocument:
        return None
    if element is None or element.type != STRING:
        return None
    return text(message.body, element)
