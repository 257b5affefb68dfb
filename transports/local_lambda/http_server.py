"""HTTP/1.1 on loopback: the only module that imports aiohttp.

Owns listening, TLS, keep-alive, reading bodies with a bound, and closing. Two things are served
with it: Lambda's Invoke, and one Runtime API for each execution environment. Uses aiohttp's
low-level server: no routes, no middlewares, one coroutine a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping

from transports.errors import MissingExtra

try:
    from aiohttp import web
except ModuleNotFoundError as error:
    raise MissingExtra("transports.local_lambda", "aiohttp", "local") from error


class Disconnected(Exception):
    """The client went away in the middle of its request."""


Request = web.BaseRequest
Response = web.Response
Handler = Callable[[Request], Awaitable[Response]]

# aiohttp hands over what arrived up to this size at once; its default of 64 KiB costs a large
# payload a pause and a resume of the socket each time.
_READ_BUFFER_BYTES = 1 << 20
_FLUSH_S = 0.2
_DISCARD_S = 10.0
_DISCARD_BYTES = 64 << 20
# What reading a body raises when its sender has gone: aiohttp's "Connection closed." is a bare
# RuntimeError.
_BROKEN = (ConnectionError, web.RequestPayloadError, web.PayloadAccessError, RuntimeError)
_BACKLOG = 128
_HANDSHAKE_S = 10.0
_logger = logging.getLogger("transports.local_lambda")


class HttpServer:
    """A handler behind one loopback port.

    The handler is not cancelled when its client goes away: an invocation that has begun goes on.

    Args:
        handler: answers a request.
        keep_alive_s: how long a connection may be idle.
        tls: with it HTTPS is served, and nothing else.
    """

    def __init__(
        self, handler: Handler, *, keep_alive_s: float = 75, tls: ssl.SSLContext | None = None
    ) -> None:
        self._handler = handler
        self._tls = tls
        self._in_progress = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._server = web.Server(
            self._handle,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=keep_alive_s,
            read_bufsize=_READ_BUFFER_BYTES,
            lingering_time=0,  # _discard_rest does it, and knows when the client has gone
        )
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    def listen(self, host: str, port: int = 0) -> int:
        """Listen, and return the port.

        Raises:
            OSError: the address cannot be had.
        """
        # Not loop.create_server: in Python 3.11 a server that is closed between accepting a
        # connection and attaching it fails an assertion and leaks the connection. An execution
        # environment that is killed as it connects does just that.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept, self._listener)
        bound: int = self._listener.getsockname()[1]
        return bound

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_BACKLOG):
            try:
                connection, _ = listener.accept()
            except OSError:  # none left, or it has gone away already
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._connect(connection))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket) -> None:
        handshake: dict[str, float] = {}
        if self._tls is not None:
            handshake = {"ssl_handshake_timeout": _HANDSHAKE_S, "ssl_shutdown_timeout": _FLUSH_S}
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                self._server, connection, ssl=self._tls, **handshake
            )
        except OSError as error:  # it speaks no TLS, does not trust us, or has gone
            _logger.debug("a connection was not made: %s", error)
            return
        if self._listener is None:
            transport.abort()

    async def _handle(self, request: Request) -> Response:
        self._in_progress += 1
        self._quiet.clear()
        try:
            response = await self._handler(request)
            await _discard_rest(request)
            return response
        except Disconnected:
            return reply(400)  # to nobody
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._quiet.set()

    def stop_listening(self) -> None:
        """Accept no further connection; those open go on."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def drop_connections(self) -> None:
        """Close every connection at once, in the middle of a request or not."""
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def aclose(self, timeout_s: float) -> None:
        """Wait for open requests up to ``timeout_s``, then close everything."""
        self.stop_listening()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), timeout_s)
        await self._give_up_handshakes()
        # What remains is the writing of answers.
        self._server.pre_shutdown()
        transports = [connection.transport for connection in self._server.connections]
        await self._server.shutdown(_FLUSH_S)
        for transport in transports:
            if transport is not None:  # TLS says goodbye, and would wait for the other end's
                transport.abort()

    async def _give_up_handshakes(self) -> None:
        await asyncio.sleep(0)  # a task that is cancelled before it began would close nothing
        for task in self._connecting:
            task.cancel()
        if self._connecting:
            await asyncio.wait(self._connecting)


async def read_body(request: Request, limit: int) -> bytes | None:
    """Read the whole body; None if it is over ``limit`` bytes, no more is ever held.

    Raises:
        Disconnected: there is nobody left to answer.
    """
    if (request.content_length or 0) > limit:
        return None
    if _expects_continue(request) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunks = []
    size = 0
    try:
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > limit:
                return None
            chunks.append(chunk)
    except _BROKEN as error:
        raise Disconnected from error
    return b"".join(chunks)


async def _discard_rest(request: Request) -> None:
    """Read what the handler left of a body, so that the client, still sending, can be answered.

    Bounded; aiohttp closes the connection if there is still more. A client that may be waiting to
    be told to continue is answered instead.
    """
    if _expects_continue(request):
        return
    size = 0
    with contextlib.suppress(TimeoutError, *_BROKEN):
        async with asyncio.timeout(_DISCARD_S):
            while size < _DISCARD_BYTES and not request.content.is_eof():
                size += len(await request.content.readany())


def _expects_continue(request: Request) -> bool:
    return request.headers.get("Expect", "").lower() == "100-continue"


def reply(
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Response:
    """Make a response with a body of JSON, or of what ``content_type`` says."""
    return web.Response(
        status=status, body=body, headers={**(headers or {}), "Content-Type": content_type}
    )
