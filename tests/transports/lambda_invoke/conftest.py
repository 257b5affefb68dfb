"""The DB proxy function on a local Lambda in front of the session's mongod."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from tests.transports.lambda_invoke.faulty_relay import FaultyRelay
from transports.local_lambda import FunctionConfiguration, LocalLambda
from transports.mongod import MongodOptions, ReplicaSet, missing_mongod_reason

ROOT = Path(__file__).parents[3]
_ESTABLISHED = "01"  # in /proc/net/tcp


@pytest.fixture(scope="session")
def proxy_configuration(mongod_uri: str) -> FunctionConfiguration:
    return FunctionConfiguration(
        name="db-proxy",
        handler="transports.lambda_invoke.function.app.handler",
        code=(ROOT,),
        # The tests reach for what an application may not: failpoints, the staging collection.
        environment={"ODM_PROXY_MONGODB_URI": mongod_uri, "ODM_PROXY_POLICY": "unrestricted"},
        memory_size_mb=256,
        timeout_s=10,
        reserved_concurrency=4,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local_lambda(proxy_configuration: FunctionConfiguration) -> AsyncIterator[LocalLambda]:
    async with LocalLambda([proxy_configuration]) as service:
        yield service


@pytest.fixture(scope="session")
def three_members() -> Iterator[ReplicaSet]:
    """A replica set of three, none of which takes the primary's place back by itself.

    Shared: who kills, stops or steps down a member makes it whole again.
    """
    if reason := missing_mongod_reason():
        pytest.skip(reason)
    options = MongodOptions(members=3, test_commands=True, cache_gb=0.25)
    with ReplicaSet(options) as replica_set:
        with MongoClient[dict[str, Any]](replica_set.uri) as client:
            configuration = client.admin.command("replSetGetConfig")["config"]
            configuration["version"] += 1
            for member in configuration["members"]:
                member["priority"] = 1
                member["tags"] = {"name": f"member{member['_id']}"}
            client.admin.command({"replSetReconfig": configuration})
        yield replica_set


@dataclass(slots=True)
class ConnectionCounts:
    """What `connection_ceiling` has counted: the most connections at one time, server by server."""

    samples: int = 0
    highest: dict[str, int] = field(default_factory=dict)


class ConnectionCeiling(Protocol):
    """See `connection_ceiling`."""

    def __call__(
        self, uri: str, app_name: str, *, ceiling: int
    ) -> AbstractAsyncContextManager[ConnectionCounts]: ...


@pytest.fixture
def connection_ceiling() -> ConnectionCeiling:
    """An async context manager: no server sees more than *ceiling* connections of *app_name*.

    Each member of *uri* is asked all the time, over a connection of its own, for everybody's
    connections. It fails at its end, naming the server, or if it saw no connection at all. Give
    the function an ``appName`` in its URI: others share the server. The ceiling of a function is
    its reserved concurrency x (``maxPoolSize`` + 1): on Lambda PyMongo polls, so each server has
    one monitor connection; with ``serverMonitoringMode=stream`` it would be two.

    A server may list connections of a process that was killed for some milliseconds more. Those
    whose other end is no longer there, as the kernel says, hold no place and are not counted.
    """
    return _connection_ceiling


@asynccontextmanager
async def _connection_ceiling(
    uri: str, app_name: str, *, ceiling: int
) -> AsyncIterator[ConnectionCounts]:
    counts = ConnectionCounts()
    stop = threading.Event()
    addresses = parse_uri(uri)["nodelist"]
    threads = [
        asyncio.create_task(asyncio.to_thread(_sample, address, app_name, ceiling, counts, stop))
        for address in addresses
    ]
    try:
        yield counts
    finally:
        stop.set()
        await asyncio.gather(*threads)
    assert counts.samples, "no server was asked"
    assert any(counts.highest.values()), f"no connection of {app_name!r} was seen"
    assert max(counts.highest.values()) <= ceiling, f"{counts.highest} of at most {ceiling} each"


def _sample(
    address: tuple[str, int],
    app_name: str,
    ceiling: int,
    counts: ConnectionCounts,
    stop: threading.Event,
) -> None:
    host, port = address
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleConnections": True}},
        {"$match": {"appName": app_name}},
        {"$group": {"_id": "$client"}},
    ]
    name = f"{host}:{port}"
    with MongoClient[dict[str, Any]](
        host, port, directConnection=True, socketTimeoutMS=2000, serverSelectionTimeoutMS=100
    ) as client:
        while not stop.wait(0.01):
            with contextlib.suppress(PyMongoError):  # it is down just now, and sees nobody
                clients = [c["_id"] for c in client.admin.aggregate(pipeline)]
                if len(clients) > ceiling:
                    clients = _with_another_end(clients, port)
                counts.highest[name] = max(counts.highest.get(name, 0), len(clients))
                counts.samples += 1


def _with_another_end(clients: list[str], port: int) -> list[str]:
    """Return those of *clients* (``"127.0.0.1:49152"``) that are connected to *port* still."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        return clients
    connected = set()
    for line in table.read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if int(remote.partition(":")[2], 16) == port and state == _ESTABLISHED:
            connected.add(int(local.partition(":")[2], 16))
    return [c for c in clients if int(c.rpartition(":")[2]) in connected]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(local_lambda: LocalLambda) -> AsyncIterator[FaultyRelay]:
    """A relay in front of the local Lambda, which fails as a test tells it to."""
    async with FaultyRelay(local_lambda.endpoint_url) as opened:
        yield opened
