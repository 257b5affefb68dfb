"""HTTP/1.1 to one origin: POSTs on connections that are kept, and what is known of one that failed.

An invoke is all of a request and all of a response, posted once. So there is little here: no
redirects, no cookies, no decompression, no repetition; and there is what an HTTP client does not
tell in general: whether a whole request has left. A request of which the last byte did not leave
cannot have run the function, whose payload's hash is signed. The parser is llhttp, Node's.

A connection that was idle for too long is worse than none: the other end, or a NAT between, has
forgotten it, and a request sent on it fails with its outcome unknown. An idle one is closed after
`KEEPALIVE_S`, by the monotonic clock or the wall clock (one may stand still while a machine is
suspended or an execution environment is frozen, the other may be set), and is looked at before it
is used: one that has something to read has ended.

Source: https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import asyncio
import select
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Protocol, cast
from urllib.parse import unquote, urlsplit

from transports.errors import MissingExtra

try:
    import httptools
except ImportError as error:
    raise MissingExtra("lambda://", "httptools", "lambda") from error

KEEPALIVE_S = 12
"""How long a connection may be idle; AWS's own ends were seen to close them after 20 seconds."""

MAX_HEAD_BYTES = 2**18
"""Bytes of a response's status line and headers; more of them are no response of a service's."""

_PIECE_BYTES = 2**17
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Between the attempts to connect to a host's addresses; RFC 8305 recommends it.
_EAGER: dict[str, Any] = {"happy_eyeballs_delay": 0.25}


class NotConnected(Exception):
    """There is no connection; nothing was sent."""


class ConnectionBroken(Exception):
    """The connection ended before there was a response, or what came was none.

    Attributes:
        sent: whether all of the request had left.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ResponseTooLong(Exception):
    """The response is longer than the client was told to read."""


@dataclass(slots=True)
class Response:
    """A response.

    Attributes:
        status: code.
        headers: by their names in small letters.
        body: all of it.
    """

    status: int
    headers: dict[str, str]
    body: bytes


class Sending(Protocol):
    """Is told when the first byte of a request is about to leave."""

    sent: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go.

    Attributes:
        url: of every request, with its path and query encoded.
        trust: says which certificates to trust, where one of the URLs is ``https``.
        proxy: URL of an HTTP proxy, which may hold a user and a password.
    """

    url: str
    trust: ssl.SSLContext | None = None
    proxy: str | None = field(default=None, repr=False)

    @property
    def is_tls(self) -> bool:
        """Whether requests are encrypted from here to there, through a proxy or not."""
        return self.url.startswith("https:")


class HttpClient:
    """Posts to one URL. Belongs to one event loop.

    There are as many connections as there are requests at a time: a limit here would let long
    polls starve short commands.

    Args:
        origin: where to.
        connect_timeout_s: seconds to connect, with the handshakes of TLS and of a proxy.
        max_body_bytes: of a response.
        user_agent: of the requests.
    """

    def __init__(
        self, origin: Origin, *, connect_timeout_s: float, max_body_bytes: int, user_agent: str
    ) -> None:
        parts = urlsplit(origin.url)
        self._host, self._port = _host_and_port(origin.url)
        self._origin = origin
        self._connect_timeout_s = connect_timeout_s
        self._max_body_bytes = max_body_bytes
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        self._head = f"Host: {_authority(origin.url)}\r\nUser-Agent: {user_agent}\r\n"
        if origin.proxy and not origin.is_tls:
            target = f"http://{_authority(origin.url)}{target}"
            self._head += _proxy_headers(origin.proxy)
        self._head = f"POST {target} HTTP/1.1\r\n{self._head}"
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._connecting: set[asyncio.Timeout] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def post(self, headers: Mapping[str, str], body: bytes, sending: Sending) -> Response:
        """Post *body*, once, and return the response.

        Raises:
            NotConnected: there was no connection.
            ConnectionBroken: the connection ended, or there was no HTTP on it.
            ResponseTooLong: the response's body is longer than ``max_body_bytes``.
            ValueError: a header cannot be sent.
        """
        if self._is_closed:
            raise NotConnected("the client was closed")
        head = self._request_head(headers, len(body))
        connection = self._take() or await self._connect()
        sending.sent = True
        try:
            response = await connection.exchange(head, body)
        except BaseException:  # a cancellation, too: what comes next would be this one's response
            connection.abort()
            raise
        if connection.can_be_kept():
            self._keep(connection)
        else:
            connection.abort()
        return response

    async def aclose(self) -> None:
        """Close all connections, and make no more."""
        self._is_closed = True
        for attempt in self._connecting:
            attempt.reschedule(0)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._idle.clear()
        ended = [connection.abort() for connection in list(self._open)]
        if ended:
            await asyncio.wait(ended)

    def _request_head(self, headers: Mapping[str, str], length: int) -> bytes:
        lines = [self._head]
        for name, value in headers.items():
            if "\n" in value or "\r" in value:
                raise ValueError(f"The value of the header {name} has more than one line.")
            lines.append(f"{name}: {value}\r\n")
        lines.append(f"Content-Length: {length}\r\n\r\n")
        return "".join(lines).encode("latin-1")

    # -- connections that are kept -----------------------------------------------------------------

    def _take(self) -> _Connection | None:
        """Return the connection that was used last, if it can be used again."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.abort()
        return None

    def _keep(self, connection: _Connection) -> None:
        connection.idle_since = (time.monotonic(), time.time())
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep_later()

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(KEEPALIVE_S, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        stale = [connection for connection in self._idle if not connection.is_usable()]
        for connection in stale:
            self._idle.remove(connection)
            connection.abort()
        if self._idle:
            self._sweep_later()

    # -- connections that are made -----------------------------------------------------------------

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(self._connect_timeout_s) as attempt:
                self._connecting.add(attempt)
                connection = await self._connected()
        except TimeoutError as error:
            reason = f"no connection within {self._connect_timeout_s:g} s"
            if self._is_closed:
                reason = "the client was closed"
            raise NotConnected(f"{self._host}:{self._port}: {reason}") from error
        except OSError as error:  # TLS's errors are some, too
            raise NotConnected(f"{self._host}:{self._port}: {error.strerror or error}") from error
        finally:
            self._connecting.discard(attempt)
        if self._is_closed:  # it was there in the same moment
            connection.abort()
            raise NotConnected("the client was closed")
        return connection

    async def _connected(self) -> _Connection:
        origin = self._origin
        if origin.proxy is None:
            return await self._opened(self._host, self._port, is_tls=origin.is_tls)
        host, port = _host_and_port(origin.proxy)
        connection = await self._opened(host, port, is_tls=origin.proxy.startswith("https:"))
        if not origin.is_tls:
            return connection
        assert origin.trust is not None
        try:
            await connection.tunnel(
                f"CONNECT {self._host}:{self._port} HTTP/1.1\r\n"
                f"Host: {self._host}:{self._port}\r\n"
                f"{_proxy_headers(origin.proxy)}\r\n".encode("latin-1"),
                origin.trust,
                self._host.strip("[]"),
            )
        except BaseException:
            connection.abort()
            connection.connection_lost(None)  # a handshake that is broken off tells nobody else
            raise
        return connection

    async def _opened(self, host: str, port: int, *, is_tls: bool) -> _Connection:
        loop, host = asyncio.get_running_loop(), host.strip("[]")
        # Other loops, such as uvloop's, do not know it; they try the addresses in turn. And where
        # there is but one, asyncio may lose a socket by it that connects as it is cancelled.
        is_eager = isinstance(loop, asyncio.BaseEventLoop) and not _is_address(host)
        _, connection = await loop.create_connection(
            lambda: _Connection(self._max_body_bytes, self._forget),
            host,
            port,
            ssl=self._origin.trust if is_tls else None,
            **(_EAGER if is_eager else {}),
        )
        if not connection.closed.done():
            self._open.add(connection)
        return connection

    def _forget(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


class _Connection(asyncio.Protocol):
    """A connection, with one request on it at a time.

    Args:
        max_body_bytes: of a response.
        forget: is told that the connection has ended.
    """

    def __init__(self, max_body_bytes: int, forget: Callable[[_Connection], None]) -> None:
        self._max_body_bytes = max_body_bytes
        self._forget = forget
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._response: asyncio.Future[Response] | None = None
        self._has_left = False
        self._is_tunnelling = False
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._length = 0
        self._head_bytes = 0
        self._in_body = False
        self._keep_alive = True
        self._writable: asyncio.Event | None = None
        # Windows has none; there an end is known when the event loop has seen it.
        self._poll = select.poll() if hasattr(select, "poll") else None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.idle_since = (0.0, 0.0)

    # -- requests ----------------------------------------------------------------------------------

    async def exchange(self, head: bytes, body: bytes) -> Response:
        """Send a request and return the response to it.

        Raises:
            ConnectionBroken: there is none.
            ResponseTooLong: it is longer than ``max_body_bytes``.
        """
        transport, response = self._expect()
        try:
            if len(body) <= _PIECE_BYTES:
                transport.write(head + body)
                self._has_left = True
                return await response
            return await self._exchange_pieces(transport, head, memoryview(body), response)
        except BaseException:
            _leave(response)
            raise

    async def _exchange_pieces(
        self,
        transport: asyncio.Transport,
        head: bytes,
        body: memoryview,
        response: asyncio.Future[Response],
    ) -> Response:
        transport.write(head)
        for start in range(0, len(body), _PIECE_BYTES):
            if self._writable is not None:
                await self._writable.wait()
            if response.done():  # the connection ended, or the service has read enough
                self._keep_alive = False
                return response.result()
            transport.write(body[start : start + _PIECE_BYTES])
        self._has_left = True
        await response
        if transport.get_write_buffer_size():  # it came ahead of the request's end
            self._keep_alive = False
        return response.result()

    async def tunnel(self, request: bytes, tls: ssl.SSLContext, host: str) -> None:
        """Have a proxy connect to *host*, and begin TLS with that.

        Raises:
            NotConnected: the proxy does not.
        """
        try:
            transport, answer = self._expect()
            self._is_tunnelling = True
            transport.write(request)
            response = await answer
        except (ConnectionBroken, ResponseTooLong) as error:
            raise NotConnected(f"the proxy broke off: {error}") from error
        if response.status // 100 != 2:
            raise NotConnected(f"the proxy answered CONNECT with {response.status}")
        if transport.is_closing():
            raise NotConnected("the proxy broke off: the connection was closed")
        loop = asyncio.get_running_loop()
        self._is_tunnelling = False
        self._parser = httptools.HttpResponseParser(self)
        encrypted = await loop.start_tls(transport, self, tls, server_hostname=host)
        if encrypted is None:  # closed meanwhile; asyncio takes that for the handshake's end
            raise NotConnected("the connection was closed")
        self._transport = encrypted

    def _expect(self) -> tuple[asyncio.Transport, asyncio.Future[Response]]:
        """Begin with a request: nothing of a response is there.

        Raises:
            ConnectionBroken: there is no connection any more.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or self.closed.done():
            raise ConnectionBroken("the connection was closed", sent=False)
        self._response = asyncio.get_running_loop().create_future()
        self._has_left = False
        self._begin()
        return transport, self._response

    def _begin(self) -> None:
        self._headers = {}
        self._pieces = []
        self._length = self._head_bytes = 0
        self._in_body = False

    def is_usable(self) -> bool:
        """Whether a request can be sent: not idle for long, not ended, and nothing to read."""
        transport = self._transport
        if transport is None or transport.is_closing() or not self._keep_alive:
            return False
        monotonic, wall_clock = self.idle_since
        if time.monotonic() - monotonic > KEEPALIVE_S:
            return False
        if not -KEEPALIVE_S < time.time() - wall_clock < KEEPALIVE_S:
            return False
        return self._poll is None or not self._poll.poll(0)

    def can_be_kept(self) -> bool:
        """Whether the last response leaves the connection open."""
        transport = self._transport
        return self._keep_alive and transport is not None and not transport.is_closing()

    def abort(self) -> asyncio.Future[None]:
        """Close the connection at once; what is returned is done when it is closed."""
        self._keep_alive = False
        response = self._response
        if response is not None and not response.done():  # what has come of it is not all of it
            broken = ConnectionBroken("the connection was closed", sent=self._has_left)
            response.set_exception(broken)
            self.resume_writing()
        if self._transport is not None:
            self._transport.abort()
        return self.closed

    # -- asyncio.Protocol --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of another class
        if self._poll is not None:
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if exc is None:
            self._end()
        else:  # no end that the other side has meant
            self._fail(str(exc))
        if not self.closed.done():
            self.closed.set_result(None)
        self._forget(self)

    def eof_received(self) -> None:
        """Take the end of what is received for the end of the connection."""
        self._end()

    def pause_writing(self) -> None:
        """Wait."""
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        """Go on."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    def data_received(self, data: bytes) -> None:
        """Read a response, or a part of one."""
        response = self._response
        if response is None or response.done():  # what nobody asked for
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._raise(error.__context__ or error)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._raise(ConnectionBroken(f"no HTTP: {error}", sent=True))
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._raise(ConnectionBroken("no HTTP: endless headers", sent=True))

    def _end(self) -> None:
        """Finish the response that is under way: with what there is, if its end is the end."""
        self._keep_alive = False
        response = self._response
        if response is None or response.done():
            return
        if self._in_body and {"content-length", "transfer-encoding"}.isdisjoint(self._headers):
            self._complete()
        else:
            self._fail("the connection was closed")

    def _fail(self, reason: str) -> None:
        self._raise(ConnectionBroken(reason, sent=self._has_left))

    def _raise(self, error: BaseException) -> None:
        response = self._response
        if response is not None and not response.done():
            response.set_exception(error)
        self.abort()
        self.resume_writing()

    # -- httptools -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a response."""
        self._begin()
        if self._response is None or self._response.done():  # what nobody asked for
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one that comes behind the body says nothing that is asked for."""
        if not self._in_body:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Take what comes now for the body; 1xx has none, and comes before the response."""
        self._in_body = self._parser.get_status_code() >= 200
        if self._is_tunnelling:
            if self._in_body:  # whose end is none: what comes next is not HTTP
                self._complete()
        elif not self._parser.should_keep_alive():
            self._keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._length += len(body)
        if self._length > self._max_body_bytes:
            raise ResponseTooLong(f"the response is longer than {self._max_body_bytes:,} bytes")
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Give the response to who waits for it."""
        if self._in_body:
            self._complete()

    def _complete(self) -> None:
        response = self._response
        if response is None or response.done():
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        response.set_result(Response(self._parser.get_status_code(), self._headers, body))
        self.resume_writing()


def _leave(response: asyncio.Future[Response]) -> None:
    """Let go of a response that nobody waits for any more."""
    if not response.cancel() and not response.cancelled():
        response.exception()  # or asyncio would complain that nobody has seen it


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host, parts.port or _DEFAULT_PORTS[parts.scheme]


def _authority(url: str) -> str:
    """Return a URL's host, and its port if it is not the scheme's own."""
    parts = urlsplit(url)
    host, port = _host_and_port(url)
    return host if port == _DEFAULT_PORTS[parts.scheme] else f"{host}:{port}"


def _proxy_headers(proxy: str | None) -> str:
    parts = urlsplit(proxy or "")
    if parts.username is None:
        return ""
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Proxy-Authorization: Basic {b64encode(user.encode()).decode()}\r\n"
