"""The endpoint's life: where it listens, whom it lets in, how it ends."""

from __future__ import annotations

import asyncio
import gc
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import bson
import pytest
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import NotPrimaryError, OperationFailure, ServerSelectionTimeoutError

from transports.endpoint import (
    Credential,
    Deployment,
    Endpoint,
    EndpointStatistics,
    ListenError,
    Member,
    Request,
    wire,
)
from transports.endpoint import server as module
from transports.errors import CarriageError, ConnectionLost, TransportClosed

Client = AsyncMongoClient[dict[str, Any]]

STANDALONE = {
    "isWritablePrimary": True,
    "minWireVersion": 0,
    "maxWireVersion": 17,
    "maxBsonObjectSize": 16777216,
    "maxMessageSizeBytes": 48000000,
    "maxWriteBatchSize": 100000,
    "ok": 1.0,
}
MONGOS = {**STANDALONE, "msg": "isdbgrid"}


def sockets_of(endpoint: Endpoint) -> list[Path]:
    return [Path(address) for address in endpoint.addresses().values()]


async def test_a_replica_set_is_what_it_stands_for(endpoint: Any, backend: Any) -> None:
    paths = sockets_of(endpoint)
    assert endpoint.uri == (
        "mongodb://"
        + ",".join(str(path).replace("/", "%2F") for path in paths)
        + "/?replicaSet=rs0"
    )
    async with Client(endpoint.uri) as client:
        await client.admin.command("ping")
        assert (await client.primary or [])[0] == str(paths[0])
        assert {host for host, _ in client.nodes} == {str(path) for path in paths}
        await client.shop.command("count", "c", read_preference=ReadPreference.SECONDARY)
    servers = {request.name: request.server for request in backend.requests}
    assert servers["ping"] == "DB1.example:27017"
    assert servers["count"] == "db2.example:27017"


async def test_a_standalone_is_connected_to_directly(backend: Any) -> None:
    backend.deployment = Deployment(members=(Member(address="h:1", hello=STANDALONE),))
    async with Endpoint(backend) as endpoint:
        assert endpoint.uri.endswith("m0.sock/?directConnection=true")
        async with Client(endpoint.uri) as client:
            assert await client.admin.command("ping") == {"ok": 1.0}
            assert client.topology_description.topology_type_name == "Single"


@pytest.mark.parametrize("count", [1, 3])
async def test_every_mongos_is_a_seed(backend: Any, count: int) -> None:
    backend.deployment = Deployment(
        members=tuple(Member(address=f"h{i}:1", hello=MONGOS) for i in range(count))
    )
    async with Endpoint(backend) as endpoint:
        assert endpoint.uri.count(".sock") == count
        async with Client(endpoint.uri) as client:
            await client.admin.command("ping")
            assert client.topology_description.topology_type_name == "Sharded"


async def test_sockets_are_private_and_leave_nothing_behind(endpoint: Any) -> None:
    paths = sockets_of(endpoint)
    directory = paths[0].parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    await endpoint.aclose()
    assert not directory.exists()


async def test_over_tcp_the_primary_gets_the_port(backend: Any, members: Any) -> None:
    deployment = Deployment(members=tuple(reversed(members("db1:1", "db2:1"))))
    backend.deployment = deployment
    async with Endpoint(backend, listen="127.0.0.1:0") as endpoint:
        first, _ = endpoint.addresses().values()
        assert endpoint.addresses()["db1:1"] == first
        port = int(first.rpartition(":")[2])
        with pytest.raises(ListenError, match=str(port)):
            await Endpoint(backend, listen=f"127.0.0.1:{port}").start()
        async with Client(endpoint.uri) as client:
            assert await client.admin.command("ping") == {"ok": 1.0}


async def test_without_unix_sockets_a_credential_for_one_time_is_asked_for(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transports.endpoint.listeners.HAS_UNIX_SOCKETS", False)
    async with Endpoint(backend) as endpoint:
        assert "mongodb://odm:" in endpoint.uri
        assert "@127.0.0.1:" in endpoint.uri
        secret = unquote(endpoint.uri.partition("odm:")[2].partition("@")[0])
        assert secret not in repr(endpoint)
        async with Client(endpoint.uri) as client:
            assert await client.admin.command("ping") == {"ok": 1.0}
        stranger = endpoint.addresses()["db1.example:27017"]
        async with Client(stranger, directConnection=True) as client:
            with pytest.raises(OperationFailure) as caught:
                await client.admin.command("ping")
            assert caught.value.code == 13


CREDENTIAL = Credential(username="us@er", password="pa:ss/wörd", source="users")


async def test_who_knows_the_credential_is_let_in(backend: Any) -> None:
    async with Endpoint(backend, credential=CREDENTIAL) as endpoint:
        async with Client(endpoint.uri) as client:
            assert await client.admin.command("ping") == {"ok": 1.0}
        wrong = endpoint.uri.replace("pa%3Ass", "other")
        async with Client(wrong) as client:
            with pytest.raises(OperationFailure) as caught:
                await client.admin.command("ping")
            assert caught.value.code == 18
        assert "w%C3%B6rd" in endpoint.uri
        assert "wörd" not in repr(endpoint)
    assert backend.names.count("ping") == 1


async def test_mechanisms_are_negotiated(backend: Any) -> None:
    async with Endpoint(backend, credential=CREDENTIAL) as endpoint:
        negotiating = endpoint.uri.replace("&authMechanism=SCRAM-SHA-256", "")
        async with Client(negotiating) as client:
            assert await client.admin.command("ping") == {"ok": 1.0}


async def test_before_authentication_messages_are_short(backend: Any) -> None:
    async with Endpoint(backend, credential=CREDENTIAL) as endpoint:
        reader, writer = await asyncio.open_unix_connection(sockets_of(endpoint)[0])
        writer.write((1_000_000).to_bytes(4, "little"))
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        async with Client(endpoint.uri) as client:
            await client.shop.command({"insert": "c", "documents": [{"x": "x" * 1_000_000}]})


@pytest.mark.parametrize("listen", ["0.0.0.0:27018", "10.1.2.3:27018"])
def test_other_machines_need_a_credential(backend: Any, listen: str) -> None:
    with pytest.raises(ValueError, match="give a credential"):
        Endpoint(backend, listen=listen)
    Endpoint(backend, listen=listen, credential=CREDENTIAL)


async def test_a_deployment_that_cannot_be_described_leaves_nothing_open(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.deployment = CarriageError("no such function", code=6, code_name="HostUnreachable")
    endpoint = Endpoint(backend)
    with pytest.raises(CarriageError, match="no such function"):
        await endpoint.start()
    assert repr(endpoint) == "<Endpoint (closed)>"
    await endpoint.aclose()


async def test_a_deployment_of_which_nobody_answers_cannot_be_played(backend: Any) -> None:
    down = {"ok": 0.0, "errmsg": "connection refused", "code": 6, "codeName": "HostUnreachable"}
    backend.deployment = Deployment(members=(Member(address="h:1", hello=down),))
    with pytest.raises(CarriageError, match="connection refused"):
        await Endpoint(backend).start()
    backend.deployment = Deployment(members=())
    with pytest.raises(CarriageError, match="no member"):
        await Endpoint(backend).start()


async def test_an_endpoint_is_started_once(endpoint: Any) -> None:
    with pytest.raises(TransportClosed):
        await endpoint.start()
    await endpoint.aclose()
    with pytest.raises(TransportClosed):
        await endpoint.start()


async def test_there_is_no_address_before_and_after(backend: Any) -> None:
    endpoint = Endpoint(backend)
    with pytest.raises(TransportClosed, match="has no address"):
        _ = endpoint.uri
    await endpoint.start()
    assert endpoint.uri
    await endpoint.aclose()
    with pytest.raises(TransportClosed):
        _ = endpoint.uri


async def test_members_that_come_and_go_are_followed(
    endpoint: Any, backend: Any, members: Any
) -> None:
    (first, second) = sockets_of(endpoint)
    async with Client(endpoint.uri, heartbeatFrequencyMS=500) as client:
        await client.admin.command("ping")
        backend.deployment = Deployment(members=tuple(members("DB1.example:27017", "db3:1")))

        async def fail(_request: Request) -> bytes:
            raise CarriageError("election", code=189, code_name="PrimarySteppedDown")

        backend.answer = fail
        with pytest.raises(NotPrimaryError):
            await client.admin.command("ping")
        backend.answer = backend.say_ok
        await client.admin.command("ping")
        assert list(endpoint.addresses()) == ["db1.example:27017", "db3:1"]
        third = sockets_of(endpoint)[1]
        assert third.name == "m2.sock"
        assert (first.exists(), second.exists(), third.exists()) == (True, False, True)
        assert (await client.primary or [])[0] == str(first)


async def test_the_driver_s_error_carries_the_reason(endpoint: Any, backend: Any) -> None:
    endpoint.topology.doubt()
    backend.deployment = CarriageError(
        "function db-proxy is throttled", code=6, code_name="HostUnreachable"
    )
    async with Client(endpoint.uri, serverSelectionTimeoutMS=50) as client:
        with pytest.raises(ServerSelectionTimeoutError, match="db-proxy is throttled"):
            await client.admin.command("ping")


async def test_a_member_that_is_down_says_so(
    endpoint: Any, backend: Any, connect: Any, members: Any
) -> None:
    primary, secondary = members("DB1.example:27017", "db2.example:27017")
    down = {"ok": 0.0, "errmsg": "db2 is down", "code": 6, "codeName": "HostUnreachable"}
    backend.deployment = Deployment(
        members=(primary, Member(address=secondary.address, hello=down))
    )
    endpoint.topology.doubt()
    one, other = [await connect(address) for address in endpoint.addresses().values()]
    assert (await one.command({"hello": 1}))["ok"] == 1.0
    assert await other.command({"hello": 1}) == down


@pytest.mark.parametrize("starting", [False, True])
async def test_no_connection_is_made_to_a_member_that_recovers(
    endpoint: Any, backend: Any, connect: Any, members: Any, starting: bool
) -> None:
    """A driver would take the member for one without sessions, on this connection for good."""
    primary, secondary = members("DB1.example:27017", "db2.example:27017")
    hello = {**primary.hello, "isWritablePrimary": False}
    if starting:
        hello = {"ok": 1.0, "isWritablePrimary": False, "isreplicaset": True, "maxWireVersion": 17}
    recovering = Member(address=primary.address, hello=hello)
    backend.deployment = Deployment(members=(recovering, secondary))
    endpoint.topology.doubt()
    one, other = [await connect(address) for address in endpoint.addresses().values()]
    handshake = {"hello": 1, "client": {"driver": {"name": "d", "version": "1"}}}
    refused = await one.command(handshake)
    assert (refused["code"], refused.get("errorLabels")) == (13436, None)
    assert (await one.command({"hello": 1}))["ok"] == 1.0, "who is connected is told as it is"
    assert (await other.command(handshake))["ok"] == 1.0


async def test_the_age_of_a_description_can_be_bounded(backend: Any, connect: Any) -> None:
    async with Endpoint(backend, deployment_max_age_s=0) as endpoint:
        client = await connect(next(iter(endpoint.addresses().values())))
        before = backend.describes
        for _ in range(3):
            await client.command({"hello": 1})
        assert backend.describes == before + 3


async def test_hello_can_be_asked_of_the_server_itself(
    backend: Any, connect: Any, members: Any
) -> None:
    hello = dict(members("DB1.example:27017", "db2.example:27017")[0].hello)

    async def answer(_request: Request) -> bytes:
        return bson.encode({**hello, "setVersion": len(backend.requests)})

    backend.answer = answer
    async with Endpoint(backend, relay_hello=True) as endpoint:
        client = await connect(next(iter(endpoint.addresses().values())))
        metadata = {"application": {"name": "shop"}, "driver": {"name": "x", "version": "1"}}
        first = await client.command({"hello": 1, "client": metadata, "compression": ["zlib"]})
        second = await client.command({"hello": 1, "comment": "again"})
        assert (first["setVersion"], second["setVersion"]) == (1, 2)
        assert first["me"] == next(iter(endpoint.addresses().values()))
        assert first["compression"] == ["zlib"]
        sent = [bson.decode(request.message[5:]) for request in backend.requests]
        assert sent == [
            {"hello": 1, "$db": "admin"},
            {"hello": 1, "comment": "again", "$db": "admin"},
        ]
        assert backend.requests[0].client.app_name == "shop"
        assert endpoint.statistics().commands == 0

        async def fail(_request: Request) -> bytes:
            raise CarriageError("no route", code=7, code_name="HostNotFound")

        backend.answer = fail
        assert (await client.command({"hello": 1}))["errmsg"] == "no route"

        async def break_off(_request: Request) -> bytes:
            raise ConnectionLost("reset", code=6, code_name="HostUnreachable")

        backend.answer = break_off
        client.send({"hello": 1})
        assert await client.is_closed()


async def test_it_counts(endpoint: Any, connect: Any) -> None:
    assert endpoint.statistics() == EndpointStatistics()
    client = await connect()
    await client.command({"hello": 1})
    await client.command({"ping": 1})
    found = endpoint.statistics()
    assert (found.clients, found.connections, found.commands) == (1, 1, 1)
    assert found.bytes_in > 0
    assert found.bytes_out > found.bytes_in
    await endpoint.aclose()
    assert endpoint.statistics().clients == 0


async def test_closing_ends_clients_and_what_they_run(
    endpoint: Any, backend: Any, connect: Any
) -> None:
    clients = [await connect() for _ in range(20)]
    backend.answer = backend.never
    for client in clients:
        client.send({"find": "c"})
    idle = await connect()
    await backend.until(lambda: len(backend.requests) == 20)
    await endpoint.aclose()
    assert len(backend.cancelled) == 20
    assert endpoint.statistics().clients == 0
    for client in [*clients, idle]:
        assert await client.is_closed()


async def test_closing_twice_at_once_waits_for_the_same_end(endpoint: Any) -> None:
    await asyncio.gather(endpoint.aclose(), endpoint.aclose())
    await endpoint.aclose()
    assert repr(endpoint).endswith("(closed)>")


async def test_closing_carries_unacknowledged_writes_first(
    endpoint: Any, backend: Any, connect: Any
) -> None:
    client = await connect()
    done: list[str] = []

    async def answer(request: Request) -> bytes:
        for _ in range(20):
            await asyncio.sleep(0)
        done.append(request.name)
        return b""

    backend.answer = answer
    for i in range(10):
        client.send({f"insert{i}": "x" * 100_000}, flags=wire.MORE_TO_COME)
    client.writer.transport.set_write_buffer_limits(0)
    await client.writer.drain()
    client.close()
    await endpoint.aclose()
    assert done == [f"insert{i}" for i in range(10)]


async def test_closing_does_not_wait_for_ever(
    endpoint: Any, backend: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", 0.01)
    client = await connect()
    backend.answer = backend.never
    client.send({"insert": "c"}, flags=wire.MORE_TO_COME)
    await backend.until(lambda: backend.names == ["insert"])
    await endpoint.aclose()
    assert backend.cancelled == ["insert"]


async def test_closing_that_is_cancelled_still_closes(
    endpoint: Any, backend: Any, connect: Any
) -> None:
    directory = sockets_of(endpoint)[0].parent
    client = await connect()
    backend.answer = backend.never
    client.send({"insert": "c"}, flags=wire.MORE_TO_COME)
    await backend.until(lambda: backend.names == ["insert"])
    closing = asyncio.create_task(endpoint.aclose())
    await asyncio.sleep(0)
    assert not endpoint.is_open
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await backend.until(lambda: backend.cancelled == ["insert"])
    assert not directory.exists()
    assert await client.is_closed()
    await endpoint.aclose()


async def test_closing_does_not_wait_for_a_description(
    endpoint: Any, backend: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", 600)
    client = await connect()
    asked = asyncio.Event()

    async def describe() -> Deployment:
        asked.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    backend.describe = describe
    endpoint.topology.doubt()
    client.send({"hello": 1})
    await asked.wait()
    async with asyncio.timeout(30):
        await endpoint.aclose()
    assert await client.is_closed()


async def test_closing_while_it_starts_says_so(backend: Any) -> None:
    endpoint = Endpoint(backend)
    asked = asyncio.Event()

    async def describe() -> Deployment:
        asked.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    backend.describe = describe
    starting = asyncio.create_task(endpoint.start())
    await asked.wait()
    await endpoint.aclose()
    with pytest.raises(CarriageError, match="is closing"):
        await starting


async def test_starting_that_is_cancelled_leaves_nothing_open(backend: Any) -> None:
    asked = asyncio.Event()

    async def describe() -> Deployment:
        asked.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    backend.describe = describe
    endpoint = Endpoint(backend)
    starting = asyncio.create_task(endpoint.start())
    await asked.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert repr(endpoint) == "<Endpoint (closed)>"


async def test_an_endpoint_that_is_forgotten_warns(backend: Any) -> None:
    forgotten = [Endpoint(backend)]
    forgotten[0]._state = "open"

    def forget() -> None:
        forgotten.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="never closed"):
        forget()


async def test_the_representation_shows_where_and_no_secret(backend: Any) -> None:
    async with Endpoint(backend, credential=CREDENTIAL, listen="127.0.0.1:0") as endpoint:
        assert "127.0.0.1:" in repr(endpoint)
        assert "open" in repr(endpoint)
        assert "us@er" not in repr(endpoint)


async def test_a_new_member_without_a_place_to_listen_is_an_error_of_hello(
    endpoint: Any,
    backend: Any,
    connect: Any,
    members: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = await connect()

    def bind() -> Callable[[], None]:
        raise ListenError("no descriptors left")

    monkeypatch.setattr(endpoint._addresses, "bind", bind)
    names = ("DB1.example:27017", "db2.example:27017", "db3:1")
    backend.deployment = Deployment(members=tuple(members(*names)))
    endpoint.topology.doubt()
    reply = await client.command({"hello": 1})
    assert (reply["ok"], reply["code"]) == (0.0, 6)
    assert "no descriptors left" in reply["errmsg"]
