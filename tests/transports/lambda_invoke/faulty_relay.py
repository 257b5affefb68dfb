"""A relay between an AWS SDK and a Lambda service that fails as it is told to.

It takes HTTP requests apart, so that a fault can be laid on the invoke of one command, before the
function has it or after it has answered.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from base64 import b64decode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from transports.endpoint.elements import elements


@dataclass
class Exchange:
    """One HTTP request, and the ways to answer it."""

    head: bytes
    body: bytes
    upstream: tuple[str, int]
    writer: asyncio.StreamWriter
    release: asyncio.Event
    keep_alive: bool = True

    @property
    def command(self) -> str:
        """The name of the command in it; the item's kind where it carries none."""
        try:
            item = json.loads(self.body)["items"][0]
            if item["kind"] != "command" or "message" not in item or "encoding" in item:
                return str(item["kind"])
            return next(elements(b64decode(item["message"]), 5)).name.decode()
        except (ValueError, KeyError, IndexError):
            return ""

    async def forward(self) -> tuple[bytes, bytes]:
        """Have the service answer; return head and body of its response."""
        reader, writer = await asyncio.open_connection(*self.upstream)
        try:
            writer.write(self.head + self.body)
            head = await reader.readuntil(b"\r\n\r\n")
            return head, await reader.readexactly(_content_length(head))
        finally:
            writer.close()

    async def respond(self, head: bytes, body: bytes) -> None:
        """Send a response as it is, whatever its length says."""
        self.writer.write(head + body)
        await self.writer.drain()

    async def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Send a response of one's own."""
        lines = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.respond("\r\n".join(lines).encode() + b"\r\n\r\n", body)

    def reset(self) -> None:
        """Break the connection off with a RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.keep_alive = False
        self.writer.close()

    async def hold(self) -> None:
        """Say nothing until the test is over."""
        await self.release.wait()
        self.close()


Fault = Callable[[Exchange], Awaitable[None]]


@dataclass
class FaultyRelay:
    """Relays to *upstream*, an ``http://host:port``. An asynchronous context manager."""

    upstream: str
    invokes: Counter[str] = field(default_factory=Counter)
    """Requests by the name of their command."""
    connections: int = 0
    _faults: list[tuple[str, Fault]] = field(default_factory=list)
    _release: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _port: int = 0
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def on(self, command: str, fault: Fault, times: int = 1) -> None:
        """Lay *fault* on the next *times* invokes of *command*; ``""`` is any."""
        self._faults += [(command, fault)] * times

    def heal(self) -> None:
        """Forget the faults that have not come to pass."""
        self._faults.clear()

    @property
    def url(self) -> str:
        """What to give an SDK as its endpoint."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.leave()

    async def idle(self) -> None:
        """Wait until no connection is open."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def leave(self) -> None:
        """Close every connection and listen no more."""
        assert self._server is not None
        self._release.set()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Having left, have the kernel drop every SYN to its port: listen, with a full backlog."""
        with ExitStack() as stack:
            listening = stack.enter_context(socket.socket())
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", self._port))
            listening.listen(0)
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listening.getsockname())
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        host, port = urlsplit(self.upstream).hostname, urlsplit(self.upstream).port
        assert host is not None
        assert port is not None
        try:
            keep_alive = True
            while keep_alive:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_content_length(head))
                exchange = Exchange(head, body, (host, port), writer, self._release)
                self.invokes[exchange.command] += 1
                await self._fault(exchange.command)(exchange)
                keep_alive = exchange.keep_alive
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # the relay is closed
        finally:
            writer.close()

    def _fault(self, command: str) -> Fault:
        for index, (name, fault) in enumerate(self._faults):
            if name in ("", command):
                del self._faults[index]
                return fault
        return relayed


async def relayed(exchange: Exchange) -> None:
    """No fault."""
    await exchange.respond(*await exchange.forward())


async def reset_before(exchange: Exchange) -> None:
    """The function never hears of it."""
    exchange.reset()


async def reset_after(exchange: Exchange) -> None:
    """The function has run; its answer is lost."""
    await exchange.forward()
    exchange.reset()


async def reset_amid(exchange: Exchange) -> None:
    """The function has run; the connection breaks in the middle of its answer."""
    head, body = await exchange.forward()
    await exchange.respond(head, body[: len(body) // 2])
    exchange.reset()


async def cut_short(exchange: Exchange) -> None:
    """The function has run; the answer ends before it is whole."""
    head, body = await exchange.forward()
    await exchange.respond(head, body[: len(body) // 2])
    exchange.close()


async def closed_after(exchange: Exchange) -> None:
    """The connection is closed in place of an answer."""
    await exchange.forward()
    exchange.close()


async def silent(exchange: Exchange) -> None:
    """Neither the function nor the caller hears of it."""
    await exchange.hold()


async def silent_after(exchange: Exchange) -> None:
    """The function has run; nobody says so."""
    await exchange.forward()
    await exchange.hold()


async def throttled(exchange: Exchange) -> None:
    """As AWS does."""
    body = (
        b'{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'
    )
    await exchange.answer(429, body, x_amzn_ErrorType="TooManyRequestsException")


def refused(status: int, error_type: str, message: str = "no") -> Fault:
    """An error of the service itself."""

    async def fault(exchange: Exchange) -> None:
        body = json.dumps({"message": message, "Message": message}).encode()
        await exchange.answer(status, body, x_amzn_ErrorType=error_type)

    return fault


def answered(body: bytes, status: int = 200, **headers: str) -> Fault:
    """A response that comes from somewhere else."""

    async def fault(exchange: Exchange) -> None:
        await exchange.answer(status, body, **headers)

    return fault


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
