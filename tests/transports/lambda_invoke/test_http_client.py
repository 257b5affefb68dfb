"""A POST is sent once, on a connection that is alive; its failure says whether it had left."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import pytest_asyncio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from transports.lambda_invoke import http_client
from transports.lambda_invoke.http_client import (
    ConnectionBroken,
    HttpClient,
    NotConnected,
    Origin,
    Response,
    ResponseTooLong,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Answer = Callable[["Peer"], Awaitable[None]]


@dataclass
class Peer:
    """One connection that a server has accepted."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> tuple[bytes, bytes]:
        head = await self.head()
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
        return head, await self.reader.readexactly(length)

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()


@dataclass
class Service:
    """Answers each connection as *answer* says. Counts connections, and those that have ended."""

    answer: Answer
    heads: list[bytes] = field(default_factory=list)
    accepted: int = 0
    ended: int = 0
    port: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            await self.answer(Peer(reader, writer))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            self.ended += 1
            async with self.changed:
                self.changed.notify_all()

    async def all_ended(self) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.ended == self.accepted)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/invoke?q=1"


class Sending:
    sent = False


Serve = Callable[..., Awaitable[Service]]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(answer: Answer, tls: ssl.SSLContext | None = None) -> Service:
            service = Service(answer)
            server = await asyncio.start_server(service.serve, "127.0.0.1", 0, limit=2**23, ssl=tls)
            service.port = server.sockets[0].getsockname()[1]
            stack.callback(server.close)
            return service

        yield start


@asynccontextmanager
async def client(
    url: str,
    *,
    max_body_bytes: int = 1000,
    trust: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> AsyncIterator[Post]:
    http = HttpClient(
        Origin(url, trust, proxy),
        connect_timeout_s=5,
        max_body_bytes=max_body_bytes,
        user_agent="test/1",
    )
    try:
        yield Post(http)
    finally:
        await http.aclose()


@dataclass
class Post:
    """Posts, bounded in time."""

    http: HttpClient

    async def __call__(self, body: bytes = b"{}", **headers: str) -> Response:
        async with asyncio.timeout(10):
            return await self.http.post(headers, body, Sending())


def always(*pieces: bytes) -> Answer:
    async def answer(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)

    return answer


def once(*pieces: bytes) -> Answer:
    """Answer one request and close."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)

    return answer


# -- requests and responses -----------------------------------------------------------------------


async def test_a_request_is_what_is_posted(serve: Serve) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def answer(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    service = await serve(answer)
    async with client(service.url) as post:
        response = await post(b"payload", Name="value")
    [(head, body)] = seen
    assert head.decode().split("\r\n") == [
        "POST /invoke?q=1 HTTP/1.1",
        f"Host: 127.0.0.1:{service.port}",
        "User-Agent: test/1",
        "Name: value",
        "Content-Length: 7",
        "",
        "",
    ]
    assert body == b"payload"
    assert response == Response(200, {"content-length": "2"}, b"ok")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://lambda.example/x", "lambda.example"),
        ("https://lambda.example:443/x", "lambda.example"),
        ("https://lambda.example:8443/x", "lambda.example:8443"),
        ("http://[::1]:80/x", "[::1]"),
        ("http://[::1]:81/x", "[::1]:81"),
    ],
)
def test_the_host_has_a_port_where_it_is_not_the_schemes(url: str, host: str) -> None:
    assert http_client._authority(url) == host


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
INFORMED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + OK


@pytest.mark.parametrize("raw", [OK, CHUNKED, INFORMED], ids=["length", "chunked", "informed"])
async def test_a_response_may_come_in_any_pieces_on_a_connection_that_is_kept(
    serve: Serve, raw: bytes
) -> None:
    service = await serve(always(*[raw[i : i + 1] for i in range(len(raw))]))
    async with client(service.url) as post:
        for _ in range(3):
            response = await post()
            assert (response.status, response.body) == (200, b"ok")
    assert service.accepted == 1


class Open(asyncio.Transport):
    def is_closing(self) -> bool:
        return False


@given(st.lists(st.integers(0, len(INFORMED)), max_size=6))
async def test_where_a_response_is_cut_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(INFORMED)]
    connection = http_client._Connection(100, lambda _: None)
    connection._transport = Open()
    _, response = connection._expect()
    for start, end in pairwise(edges):
        if start < end:
            connection.data_received(INFORMED[start:end])
    assert await response == Response(200, {"content-length": "2"}, b"ok")


async def test_a_response_without_a_length_ends_with_the_connection(serve: Serve) -> None:
    service = await serve(once(b"HTTP/1.1 502 Bad\r\nServer: x\r\n\r\n", b"so", b"rry"))
    async with client(service.url) as post:
        for _ in range(2):
            response = await post()
            assert (response.status, response.body) == (502, b"sorry")
    assert service.accepted == 2


@pytest.mark.parametrize(
    "raw",
    [
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"1.1", b"1.0"),
        OK + b"HTTP/1.1 200 OK\r\n",
        OK + b"junk",
    ],
    ids=["close", "1.0", "another response", "junk"],
)
async def test_a_connection_is_not_kept_if_its_response_says_so_or_has_more_behind_it(
    serve: Serve, raw: bytes
) -> None:
    service = await serve(always(raw))
    async with client(service.url) as post:
        for expected in (1, 2):
            assert (await post()).body == b"ok"
            assert service.accepted == expected


async def test_what_comes_unasked_is_no_response_to_the_next_request(serve: Serve) -> None:
    came = asyncio.Event()

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.send(OK.replace(b"ok", b"no"))
        came.set()
        await peer.reader.read()

    service = await serve(answer)
    async with client(service.url) as post:
        await post()
        await came.wait()
        assert (await post()).body == b"ok"
    assert service.accepted == 2


async def test_requests_at_the_same_time_have_a_connection_each_and_leave_it_to_others(
    serve: Serve,
) -> None:
    service = await serve(always(OK))
    async with client(service.url) as post:
        await asyncio.gather(*[post() for _ in range(10)])
        assert service.accepted == 10
        await asyncio.gather(*[post() for _ in range(10)])
        assert service.accepted == 10


async def test_a_body_of_megabytes_comes_whole(serve: Serve) -> None:
    body = bytes(range(256)) * 20_000
    seen: list[bytes] = []

    async def answer(peer: Peer) -> None:
        seen.append((await peer.request())[1])
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)

    service = await serve(answer)
    async with client(service.url, max_body_bytes=len(body)) as post:
        assert (await post(body)).body == body
    assert seen == [body]


async def test_a_header_of_two_lines_is_not_sent(serve: Serve) -> None:
    service = await serve(always(OK))
    async with client(service.url) as post:
        with pytest.raises(ValueError, match="Token has more than one line"):
            await post(Token="secret\nX: y")
    assert service.accepted == 0


async def test_what_comes_behind_a_body_is_no_header_of_the_response(serve: Serve) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n"
    service = await serve(always(chunked + b"2;x=y\r\nok\r\n0\r\nA: c\r\nD: e\r\n\r\n"))
    async with client(service.url) as post:
        for _ in range(2):
            response = await post()
            assert response.body == b"ok"
            assert response.headers == {"transfer-encoding": "chunked", "a": "b"}
    assert service.accepted == 1


@pytest.mark.parametrize("size", [2, 3_000_000])
async def test_a_later_request_is_not_answered_by_what_came_before_it(
    serve: Serve, size: int
) -> None:
    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        await peer.request()

    service = await serve(answer)
    async with client(service.url) as post:
        assert (await post()).status == 204
        with pytest.raises(ConnectionBroken) as caught:
            await post(bytes(size))
        assert caught.value.sent
    assert service.accepted == 1


async def test_a_response_without_a_length_that_breaks_off_is_none(serve: Serve) -> None:
    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nso")
        linger = struct.pack("ii", 1, 0)  # so that closing resets
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    service = await serve(answer)
    async with client(service.url) as post:
        with pytest.raises(ConnectionBroken, match="reset") as caught:
            await post()
        assert caught.value.sent


# -- what fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nfoo",
    ],
)
async def test_a_connection_that_ends_early_or_speaks_no_http_has_carried_the_request(
    serve: Serve, raw: bytes
) -> None:
    service = await serve(once(raw))
    async with client(service.url) as post:
        with pytest.raises(ConnectionBroken) as caught:
            await post()
        assert caught.value.sent
        assert service.accepted == 1


async def test_a_request_that_did_not_leave_whole_was_not_sent(serve: Serve) -> None:
    async def answer(peer: Peer) -> None:
        await peer.head()

    service = await serve(answer)
    async with client(service.url) as post:
        with pytest.raises(ConnectionBroken) as caught:
            await post(bytes(50_000_000))
        assert not caught.value.sent


async def test_a_response_that_comes_ahead_of_the_requests_end_is_taken(serve: Serve) -> None:
    refused = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"

    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.send(refused)
        await asyncio.sleep(10)  # reads no more; cancelled with the test's loop

    service = await serve(answer)
    async with client(service.url) as post:
        assert (await post(bytes(50_000_000))).status == 413
        assert not post.http._idle


@pytest.mark.parametrize("raw", [b"X: y\r\n" * 10_000, b"X: " + b"y" * 60_000])
async def test_headers_without_end_are_not_read_on(serve: Serve, raw: bytes) -> None:
    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(raw)

    service = await serve(answer)
    async with client(service.url) as post:
        with pytest.raises(ConnectionBroken, match="endless headers"):
            await post()


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9000", b"A: b", b"Transfer-Encoding: chunked"]
)
async def test_a_body_that_is_too_long_is_not_read_on(serve: Serve, framing: bytes) -> None:
    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        piece = bytes(900)
        while True:
            await peer.send(b"384\r\n" + piece + b"\r\n" if b"chunked" in framing else piece)

    service = await serve(answer)
    async with client(service.url) as post:
        with pytest.raises(ResponseTooLong, match="longer than 1,000 bytes"):
            await post()


async def test_a_cancelled_request_takes_its_connection_along(serve: Serve) -> None:
    """What comes on it next would be the cancelled one's response."""
    arrived = asyncio.Event()

    async def answer(peer: Peer) -> None:
        _, body = await peer.request()
        if body == b"slow":
            arrived.set()
            await peer.reader.read()
        await peer.send(OK)

    service = await serve(answer)
    async with client(service.url) as post:
        slow = asyncio.create_task(post(b"slow"))
        await arrived.wait()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        await service.all_ended()
        assert (await post()).body == b"ok"
        assert service.accepted == 2


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n\r\nso"])
async def test_closing_breaks_off_what_is_under_way(serve: Serve, begun: bytes) -> None:
    arrived = asyncio.Event()

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(begun)
        arrived.set()
        await peer.reader.read()

    service = await serve(answer)
    async with client(service.url) as post:
        under_way = asyncio.create_task(post())
        await arrived.wait()
        await post.http.aclose()
        with pytest.raises(ConnectionBroken) as caught:
            await under_way
        assert caught.value.sent
    await service.all_ended()


async def test_closing_while_it_connects_leaves_no_connection(serve: Serve) -> None:
    service = await serve(always(OK))
    async with client(service.url) as post:
        connecting = asyncio.create_task(post())
        await asyncio.sleep(0)
        await post.http.aclose()
        with pytest.raises(NotConnected, match="closed"):
            await connecting
        with pytest.raises(NotConnected, match="closed"):
            await post()
    await service.all_ended()


async def test_a_long_request_that_is_cancelled_leaves_no_error_behind(serve: Serve) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    arrived, over = asyncio.Event(), asyncio.Event()

    async def answer(peer: Peer) -> None:
        await peer.head()
        arrived.set()
        await over.wait()

    service = await serve(answer)
    async with client(service.url) as post:
        slow = asyncio.create_task(post(bytes(50_000_000)))
        await arrived.wait()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        await asyncio.gather(*[connection.closed for connection in post.http._open])
        over.set()
    await service.all_ended()
    del slow
    gc.collect()
    assert not complaints


# -- connections that are kept --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("monotonic", "wall_clock"), [(13, 13), (0, 13), (0, -3600), (13, 0)], ids=str
)
async def test_a_connection_that_was_idle_for_long_by_either_clock_is_not_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, monotonic: float, wall_clock: float
) -> None:
    service = await serve(always(OK))
    async with client(service.url) as post:
        await post()
        await post()
        assert service.accepted == 1
        [connection] = post.http._idle
        connection.idle_since = (time.monotonic() - monotonic, time.time() - wall_clock)
        await post()
        assert service.accepted == 2


async def test_idle_connections_are_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "KEEPALIVE_S", 0.02)
    service = await serve(always(OK))
    async with client(service.url) as post:
        await asyncio.gather(*[post() for _ in range(3)])
        await service.all_ended()
        assert service.accepted == 3
        assert not post.http._idle


async def test_a_connection_that_the_service_closes_is_forgotten(serve: Serve) -> None:
    service = await serve(once(OK))
    async with client(service.url) as post:
        await post()
        await service.all_ended()
        await asyncio.gather(*[connection.closed for connection in post.http._open])
        assert not post.http._idle


# -- connections that are made --------------------------------------------------------------------


async def test_an_event_loop_of_another_make_will_do(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as uvloop's, which takes fewer arguments."""
    loop = asyncio.get_running_loop()
    connect: Callable[..., Awaitable[object]] = loop.create_connection

    async def fewer(
        protocol: object, host: str, port: int, *, ssl: ssl.SSLContext | None
    ) -> object:
        return await connect(protocol, host, port, ssl=ssl)

    service = await serve(always(OK))
    monkeypatch.setattr(loop, "create_connection", fewer)
    monkeypatch.setattr(asyncio, "BaseEventLoop", type("Another", (), {}))
    async with client(service.url) as post:
        assert (await post()).body == b"ok"


async def test_who_does_not_listen_is_not_connected_to() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        async with client(f"http://127.0.0.1:{port}/") as post:
            with pytest.raises(NotConnected, match=f"127.0.0.1:{port}: "):
                await post()


async def test_a_host_that_is_none_is_not_connected_to() -> None:
    async with client("http://nowhere.invalid/") as post:
        with pytest.raises(NotConnected, match=r"nowhere\.invalid:80: "):
            await post()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def identity(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def encrypted(service: Service) -> str:
    return service.url.replace("http:", "https:")


async def test_tls_is_spoken_with_who_is_trusted(
    serve: Serve, authority: trustme.CA, trust: ssl.SSLContext
) -> None:
    service = await serve(always(OK), tls=identity(authority, "127.0.0.1"))
    async with client(encrypted(service), trust=trust) as post:
        for size in (2, 3_000_000):
            assert (await post(bytes(size))).body == b"ok"
    assert service.accepted == 1


@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", False), ("other.example", True)])
async def test_who_is_not_trusted_is_sent_nothing(
    serve: Serve, authority: trustme.CA, trust: ssl.SSLContext, name: str, trusted: bool
) -> None:
    service = await serve(always(OK), tls=identity(authority, name))
    context = trust if trusted else ssl.create_default_context()
    async with client(encrypted(service), trust=context) as post:
        with pytest.raises(NotConnected, match="certificate verify failed"):
            await post()


async def test_a_handshake_that_takes_too_long_is_no_connection(
    serve: Serve, trust: ssl.SSLContext
) -> None:
    async def silent(peer: Peer) -> None:
        while await peer.reader.read(1000):
            pass

    service = await serve(silent)
    http = HttpClient(
        Origin(encrypted(service), trust),
        connect_timeout_s=0.05,
        max_body_bytes=10,
        user_agent="test/1",
    )
    sending = Sending()
    with pytest.raises(NotConnected, match=r"no connection within 0\.05 s"):
        await http.post({}, b"{}", sending)
    assert not sending.sent
    await service.all_ended()
    await http.aclose()


# -- proxies --------------------------------------------------------------------------------------


def proxy(connects: list[bytes], refusal: bytes = b"") -> Answer:
    """An HTTP proxy that tunnels."""

    async def answer(peer: Peer) -> None:
        connects.append(await peer.head())
        if refusal:
            await peer.send(refusal)
            return
        port = int(connects[-1].partition(b" HTTP")[0].rpartition(b":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await peer.send(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        await asyncio.gather(_pump(peer.reader, writer), _pump(reader, peer.writer))

    return answer


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
async def test_a_proxy_tunnels_tls(
    serve: Serve, authority: trustme.CA, trust: ssl.SSLContext, is_tls: bool
) -> None:
    connects: list[bytes] = []
    identified = identity(authority, "127.0.0.1")
    relay = await serve(proxy(connects), tls=identified if is_tls else None)
    service = await serve(always(OK), tls=identified)
    through = f"http{'s' * is_tls}://user:p%40ss@127.0.0.1:{relay.port}"
    async with client(encrypted(service), trust=trust, proxy=through) as post:
        for _ in range(2):
            assert (await post(bytes(300_000))).body == b"ok"
    [connect] = connects
    assert connect.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % service.port)
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in connect  # user:p@ss
    assert service.accepted == 1


async def test_what_breaks_off_in_a_tunnel_has_no_response(
    serve: Serve, authority: trustme.CA, trust: ssl.SSLContext
) -> None:
    """Not the proxy's, which was to CONNECT."""

    async def answer(peer: Peer) -> None:
        await peer.request()

    identified = identity(authority, "127.0.0.1")
    relay, service = await serve(proxy([])), await serve(answer, tls=identified)
    through = f"http://127.0.0.1:{relay.port}"
    async with client(encrypted(service), trust=trust, proxy=through) as post:
        with pytest.raises(ConnectionBroken) as caught:
            await post()
        assert caught.value.sent


@pytest.mark.parametrize("how", ["cancel", "close", "not trusted"])
async def test_a_handshake_in_a_tunnel_that_comes_to_nothing_leaves_no_connection(
    serve: Serve, authority: trustme.CA, trust: ssl.SSLContext, how: str
) -> None:
    greeted = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.reader.read(1)
        greeted.set()
        await peer.reader.read()

    relay = await serve(proxy([]))
    if how == "not trusted":
        service = await serve(silent, tls=identity(authority, "other.example"))
    else:
        service = await serve(silent)
    through = f"http://127.0.0.1:{relay.port}"
    async with client(encrypted(service), trust=trust, proxy=through) as post:
        connecting = asyncio.create_task(post())
        if how == "not trusted":
            with pytest.raises(NotConnected, match="certificate verify failed"):
                await connecting
        else:
            await greeted.wait()
        if how == "cancel":
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
        async with asyncio.timeout(5):
            await post.http.aclose()
        if how == "close":
            with pytest.raises(NotConnected, match="closed"):
                await connecting
        assert not post.http._open
    await relay.all_ended()


async def test_a_proxy_is_asked_for_a_plain_url_whole(serve: Serve) -> None:
    heads: list[bytes] = []

    async def answer(peer: Peer) -> None:
        heads.append((await peer.request())[0])
        await peer.send(OK)

    relay = await serve(answer)
    url = "http://lambda.example/x?y=z"
    async with client(url, proxy=f"http://user@127.0.0.1:{relay.port}") as post:
        assert (await post()).body == b"ok"
    [head] = heads
    assert head.startswith(b"POST http://lambda.example/x?y=z HTTP/1.1\r\nHost: lambda.example\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjo=\r\n" in head


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (b"HTTP/1.1 407 Who are you\r\nContent-Length: 9\r\n\r\n", "CONNECT with 407"),
        (b"HTTP/1.1", "broke off"),
        (b"SSH-2.0\r\n\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\n\r\nno TLS", "127.0.0.1"),
    ],
)
async def test_a_proxy_that_does_not_tunnel_is_no_connection(
    serve: Serve, trust: ssl.SSLContext, refusal: bytes, reason: str
) -> None:
    relay = await serve(proxy([], refusal))
    url, through = "https://127.0.0.1:1/", f"http://127.0.0.1:{relay.port}"
    async with client(url, trust=trust, proxy=through) as post:
        with pytest.raises(NotConnected, match=reason):
            await post()
        await relay.all_ended()
        await asyncio.gather(*[connection.closed for connection in post.http._open])


def test_a_proxys_password_is_not_shown() -> None:
    assert "secret" not in repr(Origin("https://x/", proxy="http://user:secret@proxy"))
