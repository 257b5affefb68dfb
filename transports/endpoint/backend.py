"""The narrow waist: one MongoDB command in, one reply out, as bytes.

An endpoint (`transports.endpoint.server`) speaks the wire protocol to a driver and hands each
command to a `Backend`. This module holds the few values that cross that line and nothing else: no
socket, no AWS, no interpreter.

Spec: MongoDB wire protocol, OP_MSG
https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One server of the deployment behind a backend.

    Attributes:
        address: ``"host:port"`` as the deployment names it; a `Request` repeats it.
        hello: the server's own reply to ``hello``, decoded:
            ``{"isWritablePrimary": True, "maxWireVersion": 17, "setName": "rs0", …}``.
            A member that could not be asked has ``{"ok": 0.0, "errmsg": …, "code": …}``.
    """

    address: str
    hello: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What a backend stands for: a standalone, the members of a replica set, or some ``mongos``.

    An endpoint listens once per member and rewrites the addresses in ``hello``, so the driver
    itself chooses the server: read preferences, pinned cursors and pinned transactions need no
    code of ours, and a `Request` always says which server is meant.
    """

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The driver connection that a command came from."""

    connection_id: int
    app_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One command as the driver sent it.

    Attributes:
        server: address of the `Member` whose socket received it.
        message: the OP_MSG after its header: 4 bytes of flags (checksum and exhaust bits cleared,
            no checksum at the end), then the sections, document sequences included.
        name: the command's name: the first key of section 0.
        database: its ``$db``.
        acknowledged: False for an OP_MSG with ``moreToCome``: no reply is expected.
        client: where it came from.
        request_id: the message's requestID, by which the client's own monitoring knows the
            command; 0 for one that no client sent.
    """

    server: str
    message: bytes
    name: str
    database: str
    acknowledged: bool = True
    client: Client = field(default_factory=lambda: Client(connection_id=0))
    request_id: int = 0


class Backend(Protocol):
    """Runs commands somewhere. Every method may be called concurrently.

    Cancelling `run` means that the client has gone away: the backend ends the operation upstream
    where it can, and leaks nothing.
    """

    async def describe(self) -> Deployment:
        """Return the deployment as it is now.

        Raises:
            CarriageError: it could not be asked; the message says why.
        """
        ...

    async def run(self, request: Request) -> bytes:
        """Run one command and return its reply: the BSON document of the reply's section 0.

        An unacknowledged request returns ``b""`` once the server has it.

        Raises:
            CarriageError: the command could not be carried there and back; the client gets it as
                an error reply.
            ConnectionLost: the connection to the server broke; the client's connection is closed.
        """
        ...
