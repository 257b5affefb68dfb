"""The network between callers and the Lambda service: a relay of bytes that can be broken.

Knows TCP and nothing of HTTP: what callers send goes to the service, what it answers comes back. A
connection is broken by RST, as by a host that has lost it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends RST


class Gateway:
    """Listens on a loopback port and relays to *upstream_port*; an async context manager."""

    def __init__(self, upstream_port: int) -> None:
        self.delay_s = 0.0
        """Every piece waits for so long before it is sent on, either way."""
        self.lose_requests = 0
        """So many pieces that callers send are not carried: their connections are reset."""
        self.lose_replies = 0
        """The same for pieces that the service sends."""
        self.port = 0
        self._upstream_port = upstream_port
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse()
        self.reset()
        if self._relays:
            await asyncio.wait(self._relays)

    async def listen(self) -> None:
        """Accept connections, on the same port as before. Idempotent."""
        if self._listener is None:
            # Not asyncio.start_server: closing that one may leak what it has just accepted (3.11).
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._accepting = asyncio.create_task(self._accept(self._listener))

    async def refuse(self) -> None:
        """Accept no connections; those that are open stay."""
        if self._listener is not None and self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._listener.close()
            self._listener = None

    def reset(self) -> None:
        """Reset every open connection, whatever is on its way."""
        for writer in list(self._open):
            _abort(writer)

    async def heal(self) -> None:
        """Carry everything again."""
        self.delay_s, self.lose_requests, self.lose_replies = 0.0, 0, 0
        await self.listen()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            relay = loop.create_task(self._carry(connection))
            self._relays.add(relay)
            relay.add_done_callback(self._relays.discard)

    async def _carry(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        self._open.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            from_service, upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            self._open.add(upstream)
            await self._relay(reader, writer, from_service, upstream)
        except OSError:
            pass  # one of the two has gone, or the service is not there
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self._open.discard(end)
                    _abort(end)

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_service: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        ways = {
            asyncio.ensure_future(self._pump(reader, upstream, "lose_requests")),
            asyncio.ensure_future(self._pump(from_service, writer, "lose_replies")),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, lose: str
    ) -> None:
        """Carry one way until its end, or until a piece is to be lost."""
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK_BYTES):
                if getattr(self, lose):
                    setattr(self, lose, getattr(self, lose) - 1)
                    return
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                target.write(data)
                await target.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
