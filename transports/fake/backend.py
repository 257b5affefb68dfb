"""The fake behind an endpoint: bytes of a command in, bytes of its reply out.

Spec: `transports.endpoint.backend.Backend`
"""

from __future__ import annotations

from transports.endpoint.backend import Deployment, Member, Request
from transports.errors import ConnectionLost
from transports.fake import handshake
from transports.fake.errors import CommandFailure
from transports.fake.server import FakeServer
from transports.fake.sizes import measure
from transports.fake.wire import decode_message, encode_reply

_SOCKET_EXCEPTION = 9001


class FakeBackend:
    """Implements `Backend` for one `FakeServer`."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server

    async def describe(self) -> Deployment:
        """Return the one member: the primary of a replica set."""
        hello = {**handshake.hello(self.server), "ok": 1.0}
        return Deployment(members=(Member(address=self.server.address, hello=hello),))

    async def run(self, request: Request) -> bytes:
        """Run one command.

        Raises:
            ConnectionLost: a failpoint wants the connection closed.
        """
        try:
            command = decode_message(request.message)
            measured = measure(request.message)
        except CommandFailure as failure:
            return encode_reply(
                {
                    "ok": 0.0,
                    "errmsg": failure.message,
                    "code": failure.code,
                    "codeName": failure.code_name,
                }
            )
        try:
            reply = await self.server.run_encoded(command, client=request.client, measured=measured)
        except ConnectionResetError as error:
            raise ConnectionLost(
                str(error), code=_SOCKET_EXCEPTION, code_name="SocketException"
            ) from error
        return reply if request.acknowledged else b""
