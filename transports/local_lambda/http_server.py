"""HTTP/1.1 on loopback: the only module that imports aiohttp.

Owns listening, keep-alive, reading bodies with a bound, and closing. Two things are served with it:
Lambda's Invoke, and one Runtime API for each execution environment. Uses aiohttp's low-level
server: no routes, no middlewares, one coroutine a request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from transports.errors import MissingExtra

try:
    from aiohttp import web
except ModuleNotFoundError as error:
    raise MissingExtra("transports.local_lambda", "aiohttp", "local") from error

Request = web.BaseRequest
Response = web.Response
Handler = Callable[[Request], Awaitable[Response]]

# aiohttp hands over what arrived up to this size at once; its default of 64 KiB costs a large
# payload a pause and a resume of the socket each time.
_READ_BUFFER_BYTES = 1 << 20
_FLUSH_S = 0.2


class HttpServer:
    """A handler behind one loopback port.

    The handler is not cancelled when its client goes away: an invocation that has begun goes on.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._in_progress = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._server = web.Server(
            self._handle,
            access_log=None,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
        )
        self._listener: asyncio.Server | None = None

    async def listen(self, host: str, port: int = 0) -> int:
        """Listen, and return the port."""
        loop = asyncio.get_running_loop()
        # Exactly one socket, so that there is exactly one port, also for "localhost".
        self._listener = await loop.create_server(self._server, host, port)
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def _handle(self, request: Request) -> Response:
        self._in_progress += 1
        self._quiet.clear()
        try:
            return await self._handler(request)
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._quiet.set()

    def stop_listening(self) -> None:
        """Accept no further connection; those open go on."""
        if self._listener is not None:
            self._listener.close()

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
        # aiohttp's own wait is for the writing of answers. It would also wait for the rest of a
        # body whose sender has gone away in the middle, hence not for long.
        self._server.pre_shutdown()
        await self._server.shutdown(_FLUSH_S)


async def read_body(request: Request, limit: int) -> bytes | None:
    """Read the whole body; None if it is over ``limit`` bytes, no more is ever held."""
    if (request.content_length or 0) > limit:
        return None
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunks = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


async def discard_body(request: Request) -> None:
    """Read the rest of a body and forget it, so that the client can read the answer."""
    async for _ in request.content.iter_any():
        pass


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
