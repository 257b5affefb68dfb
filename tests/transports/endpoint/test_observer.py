from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import bson
import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from transports.endpoint import Credential, Endpoint, FinishedCommand, Listening, Request
from transports.endpoint.backend import Client, Deployment
from transports.endpoint.replies import ReplyFailure, read_failure
from transports.errors import CarriageError, ConnectionLost


class Notes:
    """An observer that writes down what it is told, and whom tests can wait for."""

    def __init__(self) -> None:
        self.addresses: list[Mapping[str, str]] = []
        self.opened: dict[int, str] = {}
        self.drivers: dict[int, tuple[str | None, str]] = {}
        self.refused: list[str] = []
        self.closed: list[int] = []
        self.commands: list[FinishedCommand] = []
        self._changed = asyncio.Event()

    def listening(self, addresses: Mapping[str, str]) -> None:
        self.addresses.append(dict(addresses))

    def connection_opened(self, connection_id: int, peer: str) -> None:
        self.opened[connection_id] = peer

    def client_known(self, client: Client, driver: str) -> None:
        self.drivers[client.connection_id] = (client.app_name, driver)

    def connection_refused(self, connection_id: int, reason: str) -> None:
        self.refused.append(reason)
        self._changed.set()

    def connection_closed(self, connection_id: int) -> None:
        self.closed.append(connection_id)
        self._changed.set()

    def command_finished(self, command: FinishedCommand) -> None:
        self.commands.append(command)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
async def endpoint(backend: Any, notes: Notes) -> AsyncIterator[Endpoint]:
    """In the place of the conftest's: the same, watched."""
    async with Endpoint(backend, listen=Listening(observer=notes)) as endpoint:
        yield endpoint


async def test_a_command_is_told_by_its_names_and_numbers(client: Any, notes: Notes) -> None:
    await client.command({"find": "pages", "filter": {"secret": "hunter2"}}, database="cms")
    [command] = notes.commands
    assert (command.name, command.database, command.collection) == ("find", "cms", "pages")
    assert command.server == "DB1.example:27017"
    assert command.failure is None
    assert command.duration_s > 0
    assert command.request_bytes > 50
    assert command.reply_bytes == len(bson.encode({"ok": 1.0}))
    assert "hunter2" not in repr(command)


@pytest.mark.parametrize(
    ("command", "collection"),
    [
        ({"ping": 1}, None),
        ({"aggregate": 1, "pipeline": []}, None),
        ({"getMore": bson.Int64(7), "collection": "pages"}, "pages"),
        ({"aggregate": "pages", "pipeline": []}, "pages"),
        ({"createUser": "ann"}, None),
        ({"logMessage": "secret", "collection": "pages"}, None),
    ],
)
async def test_the_collection_is_what_the_command_names(
    client: Any, notes: Notes, command: dict[str, Any], collection: str | None
) -> None:
    await client.command(command)
    assert notes.commands[-1].collection == collection


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ({"ok": 1.0}, None),
        (
            {"ok": 0.0, "errmsg": "x", "code": 59, "codeName": "CommandNotFound"},
            (59, "CommandNotF"),
        ),
        ({"ok": 0}, (0, "")),
        ({"n": 0, "writeErrors": [{"index": 0, "code": 11000}], "ok": 1.0}, (11000, "")),
        (
            {"writeConcernError": {"code": 100, "codeName": "UnsatisfiableWC"}, "ok": 1},
            (100, "Unsat"),
        ),
    ],
)
def test_a_failure_is_read_in_a_reply(
    reply: dict[str, Any], failure: tuple[int, str] | None
) -> None:
    read = read_failure(bson.encode(reply))
    if failure is None:
        assert read is None
    else:
        assert read is not None
        assert read.code == failure[0]
        assert read.code_name.startswith(failure[1])


async def test_a_failure_of_the_carriage_has_its_code(
    backend: Any, client: Any, notes: Notes
) -> None:
    async def fail(_request: Request) -> bytes:
        raise CarriageError("no route", code=6, code_name="HostUnreachable")

    backend.answer = fail
    await client.command({"ping": 1})
    assert notes.commands[-1].failure == ReplyFailure(6, "HostUnreachable")


async def test_a_broken_connection_is_told_before_the_client_is_gone(
    backend: Any, client: Any, notes: Notes
) -> None:
    async def fail(_request: Request) -> bytes:
        raise ConnectionLost("broke", code=6, code_name="HostUnreachable")

    backend.answer = fail
    client.send({"ping": 1})
    assert await client.is_closed()
    await notes.until(lambda: notes.closed == [1])
    assert notes.commands[-1].failure == ReplyFailure(6, "HostUnreachable")


async def test_a_client_that_leaves_ends_its_command_and_its_connection(
    backend: Any, client: Any, notes: Notes
) -> None:
    backend.answer = backend.never
    client.send({"find": "pages"})
    await backend.until(lambda: backend.names == ["find"])
    client.abort()
    await notes.until(lambda: notes.closed == [1])
    assert notes.commands[-1].failure == ReplyFailure(279, "ClientDisconnect")


async def test_clients_are_told_by_their_process_and_their_names(
    endpoint: Endpoint, notes: Notes
) -> None:
    async with AsyncMongoClient[dict[str, Any]](endpoint.uri, appname="shell") as client:
        await client.admin.command("ping")
    assert set(notes.opened.values()) <= {f"pid {os.getpid()}", "local"}
    assert all(name == "shell" for name, _ in notes.drivers.values())
    assert all(driver.startswith("PyMongo") for _, driver in notes.drivers.values())
    await notes.until(lambda: sorted(notes.closed) == sorted(notes.opened))
    assert {command.client.app_name for command in notes.commands} == {"shell"}


async def test_members_that_come_and_go_are_told(
    backend: Any, members: Any, endpoint: Endpoint, notes: Notes, client: Any
) -> None:
    assert notes.addresses == [endpoint.addresses()]
    backend.deployment = Deployment(members=tuple(members("DB1.example:27017", "db9.example:1")))
    endpoint.topology.doubt()
    await client.command({"hello": 1})
    assert notes.addresses[-1] == endpoint.addresses()
    assert "db9.example:1" in notes.addresses[-1]


async def test_a_wrong_password_is_told_without_it(backend: Any, notes: Notes) -> None:
    listening = Listening(
        address="127.0.0.1:0",
        credential=Credential(username="ann", password="right"),
        observer=notes,
    )
    async with Endpoint(backend, listen=listening) as endpoint:
        uri = endpoint.uri.replace("right", "wr0ng")
        async with AsyncMongoClient[dict[str, Any]](uri) as client:
            with pytest.raises(OperationFailure, match="Authentication failed"):
                await client.admin.command("ping")
    assert notes.refused[0] == "Authentication failed. (AuthenticationFailed)"
    assert notes.commands == []


@pytest.mark.parametrize("source", ["admin", "cms"])
async def test_a_user_of_any_database_may_come_by_any(backend: Any, source: str) -> None:
    credential = Credential(username="ann", password="right", source=None)
    listening = Listening(address="127.0.0.1:0", credential=credential)
    async with Endpoint(backend, listen=listening) as endpoint:
        uri = endpoint.uri.replace("authSource=admin", f"authSource={source}")
        async with AsyncMongoClient[dict[str, Any]](uri) as client:
            assert (await client.admin.command("ping"))["ok"]


async def test_a_client_without_a_user_is_told(backend: Any, notes: Notes) -> None:
    listening = Listening(address="127.0.0.1:0", observer=notes)
    async with Endpoint(backend, listen=listening) as endpoint:
        [address] = [a for m, a in endpoint.addresses().items() if m.startswith("db1")]
        uri = f"mongodb://{address}/?directConnection=true"
        async with AsyncMongoClient[dict[str, Any]](uri) as client:
            with pytest.raises(OperationFailure, match="requires authentication"):
                await client.admin.command("ping")
    assert "it sends commands without a user and password" in notes.refused


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)), "TLS"),
        (b"GET / HTTP/1.1\r\nHost: localhost:27018\r\n\r\n", "HTTP"),
        (b"\xff" * 16, "a header announces -1 bytes"),
    ],
)
async def test_what_a_client_speaks_instead_is_told(
    client: Any, notes: Notes, beginning: bytes, words: str
) -> None:
    client.writer.write(beginning)
    assert await client.is_closed()
    await notes.until(lambda: notes.closed == [1])
    [reason] = notes.refused
    assert words in reason


async def test_who_opens_an_endpoint_may_limit_the_age_of_its_description(backend: Any) -> None:
    async with Endpoint(backend, listen=Listening(deployment_max_age_s=0)) as endpoint:
        before = backend.describes
        async with AsyncMongoClient[dict[str, Any]](endpoint.uri) as client:
            await client.admin.command("ping")
        assert backend.describes > before


async def test_a_client_too_many_is_told(endpoint: Endpoint, connect: Any, notes: Notes) -> None:
    endpoint.max_clients = 1
    await (await connect()).command({"ping": 1})
    assert await (await connect()).is_closed()
    assert notes.refused == ["too many connections"]
    assert list(notes.opened) == [1]


async def test_what_a_guard_refuses_is_not_carried_where_no_reply_is_expected(
    backend: Any, connect: Any, endpoint: Endpoint
) -> None:
    class NoWrites:
        def refuse(self, request: Request) -> bytes | None:
            return bson.encode({"ok": 0.0}) if request.name == "insert" else None

    endpoint.guard = NoWrites()
    client = await connect()
    client.send({"insert": "pages", "documents": [{}]}, flags=2)
    assert await client.command({"ping": 1}) == {"ok": 1.0}  # the one reply
    assert backend.names == ["ping"]


async def test_a_guard_refuses_before_anything_is_carried(backend: Any, notes: Notes) -> None:
    class NoDrops:
        def refuse(self, request: Request) -> bytes | None:
            if request.name != "drop":
                return None
            return bson.encode({"ok": 0.0, "errmsg": "no", "code": 13, "codeName": "Unauthorized"})

    async with (
        Endpoint(backend, listen=Listening(guard=NoDrops(), observer=notes)) as endpoint,
        AsyncMongoClient[dict[str, Any]](endpoint.uri) as client,
    ):
        await client.admin.command("ping")
        with pytest.raises(OperationFailure, match="no") as caught:
            await client.cms.command("drop", "pages")
    assert caught.value.code == 13
    assert "drop" not in backend.names
    assert [c.failure for c in notes.commands if c.name == "drop"] == [
        ReplyFailure(13, "Unauthorized")
    ]
