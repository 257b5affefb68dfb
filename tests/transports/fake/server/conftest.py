"""Conversations with a server: commands and the replies that mongod 6.0.5 gave, replayed.

``conversations/<name>.json`` is a list of ``{"database", "command", "reply"}``. What differs from
run to run stands there as a name (``"<ObjectId>"``); what a command takes from an earlier reply
as ``{"$reply": [step, …path]}``, a session as ``{"$session": n}``. With ``FAKE_ORACLE`` set to
the URL of a mongod with test commands the replies are recorded anew::

    FAKE_ORACLE=mongodb://127.0.0.1:27017 pytest tests/transports/fake/server/test_conversations.py
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, DatetimeMS, Int64, ObjectId, json_util
from bson.binary import UuidRepresentation
from bson.timestamp import Timestamp
from pymongo.uri_parser import parse_uri

from transports.fake.server import FakeServer
from transports.fake.wire import CODEC, decode_message, encode_message

CANONICAL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_representation=json_util.DatetimeRepresentation.NUMBERLONG,
)
VARIABLE_FIELDS = {"$clusterTime", "operationTime", "opTime", "wallTime", "topologyVersion"}
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RECENT_S = 1_700_000_000
DATABASES = {"admin", "config", "local", "t", "t2"}
CONVERSATIONS = Path(__file__).parent / "conversations"
Document = dict[str, Any]
Ask = Callable[[Document], Document]


def comparable(value: Any, name: str = "") -> Any:
    """Return a reply with everything that differs from run to run replaced by a name."""
    if isinstance(value, dict):
        if value.keys() - VARIABLE_FIELDS == {
            "count",
            "ok",
        }:  # how often a failpoint has ever fired
            value = {**value, "count": "<count>"}
        return {k: comparable(v, k) for k, v in value.items() if k not in VARIABLE_FIELDS}
    if isinstance(value, list):
        if name == "databases":  # a live server may be shared with other tests
            value = [v for v in value if v.get("name") in DATABASES]
        return [comparable(v, name) for v in value]
    if isinstance(value, ObjectId):
        return "<ObjectId>"
    if isinstance(value, Timestamp) and value.time > RECENT_S:
        return "<timestamp>"
    if isinstance(value, DatetimeMS) and int(value) > RECENT_S * 1000:
        return "<date>"
    if isinstance(value, Binary) and value.subtype == 4:
        return "<UUID>"
    if isinstance(value, Int64) and value > 1 << 40:
        return "<cursor>"
    if isinstance(value, str):
        return _comparable_text(value, name)
    return value


def _comparable_text(text: str, name: str) -> str:
    if name == "_data":
        return "<token>"
    text = UUID_TEXT.sub("<UUID>", text)
    text = re.sub(r"ObjectId\('[0-9a-f]{24}'\)", "<ObjectId>", text)
    text = re.sub(r"Timestamp\(\d{10}, \d+\)", "<timestamp>", text)
    return re.sub(r"\d{13,}", "<cursor>", text)


def filled_in(value: Any, replies: list[Document], sessions: list[Document]) -> Any:
    """Return a command with what it takes from earlier replies."""
    if isinstance(value, dict):
        if "$reply" in value:
            step, *path = value["$reply"]
            found: Any = replies[step]
            for part in path:
                found = found[part]
            return found
        if "$session" in value:
            return sessions[value["$session"]]
        return {k: filled_in(v, replies, sessions) for k, v in value.items()}
    if isinstance(value, list):
        return [filled_in(v, replies, sessions) for v in value]
    return value


def replay(conversation: list[Document], ask: Ask) -> list[Document]:
    """Say a conversation's commands and return the replies, comparable."""
    sessions = [{"id": Binary.from_uuid(uuid.uuid4())} for _ in range(3)]
    replies: list[Document] = []
    for step in conversation:
        command = filled_in(step["command"], replies, sessions)
        replies.append(ask({**command, "$db": step["database"]}))
    return [comparable(reply) for reply in replies]


def load(path: Path) -> list[Document]:
    """Return a conversation from its file."""
    steps: list[Document] = bson.decode(
        bson.encode({"steps": json_util.loads(path.read_text(), json_options=CANONICAL)}), CODEC
    )["steps"]
    return steps


def save(path: Path, conversation: list[Document]) -> None:
    """Write a conversation to its file, one step per line."""
    lines = [shown(step) for step in conversation]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


class Conversation:
    """One recorded conversation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps = load(path)

    @property
    def recorded(self) -> list[Any]:
        """The replies as they were recorded."""
        return [step["reply"] for step in self.steps]

    def with_fake(self) -> list[Any]:
        """Return a fresh fake's replies."""
        with ask_fake() as ask:
            return replay(self.steps, ask)

    def with_server(self, uri: str) -> list[Any]:
        """Return a real server's replies."""
        with ask_live(uri) as ask:
            return replay(self.steps, ask)

    def record(self, replies: list[Any]) -> None:
        """Write the file anew with these replies."""
        for step, reply in zip(self.steps, replies, strict=True):
            step["reply"] = reply
        save(self.path, self.steps)

    def differences(self, replies: list[Any], expected: list[Any]) -> list[str]:
        """Return a line for each step whose replies differ in value, type or order of fields."""
        found = []
        for number, (step, reply, wanted) in enumerate(
            zip(self.steps, replies, expected, strict=True)
        ):
            got, want = shown(reply), shown(wanted)
            if got != want:
                found.append(f"{number}: {shown(step['command'])}\n  {got}\n  not\n  {want}")
        return found


def shown(value: Any) -> str:
    """Return a value as one line that tells types and the order of fields apart."""
    return json_util.dumps(value, json_options=CANONICAL)


@contextmanager
def ask_fake() -> Iterator[Ask]:
    """Yield a function that asks a fresh fake, through the bytes of the wire."""
    server, loop = FakeServer(), asyncio.new_event_loop()

    def ask(command: Document) -> Document:
        encoded = server.run_encoded(decode_message(encode_message(command)))
        return bson.decode(loop.run_until_complete(encoded), CODEC)

    try:
        yield ask
    finally:
        loop.close()


@contextmanager
def ask_live(uri: str) -> Iterator[Ask]:
    """Yield a function that asks a real server with the driver out of the way."""
    host, port = parse_uri(uri)["nodelist"][0]
    if port is None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(host)
    else:
        connection = socket.create_connection((host, port))

    def receive(count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += connection.recv(count - len(data))
        return data

    def ask(command: Document) -> Document:
        message = encode_message(command)
        connection.sendall(struct.pack("<iiii", 16 + len(message), 1, 0, 2013) + message)
        (length,) = struct.unpack("<i", receive(16)[:4])
        return bson.decode(receive(length - 16)[5:], CODEC)

    with connection:
        for database in ("t", "t2"):
            ask({"dropDatabase": 1, "$db": database})
        yield ask
        for database in ("t", "t2"):
            ask({"dropDatabase": 1, "$db": database})


@pytest.fixture
def clock() -> list[int]:
    """A clock that a test moves: its one element is the time in milliseconds."""
    return [1_800_000_000_000]


@pytest.fixture
def server(clock: list[int]) -> FakeServer:
    """A fake on that clock."""
    return FakeServer(now_ms=lambda: clock[0])


@pytest.fixture
def run(server: FakeServer) -> Callable[..., Awaitable[Document]]:
    """Run a command on the database ``t``; fail the test if it fails and was not expected to."""

    async def run(command: Document, database: str = "t", *, fails: int = 0) -> Document:
        reply = await server.run({**command, "$db": database})
        assert reply.get("code", 0) == fails, reply
        return reply

    return run


@pytest.fixture
def conversation(request: pytest.FixtureRequest) -> Conversation:
    """The conversation that a test is parametrized with, by name."""
    return Conversation(CONVERSATIONS / f"{request.param}.json")
