"""Clients that break the protocol, never finish, never read: everybody else is served on."""

from __future__ import annotations

import asyncio
import itertools
import logging
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.endpoint import Deployment, Endpoint, Member, Request, wire
from transports.endpoint import connection as module
from transports.endpoint import server as server_module
from transports.endpoint.scram import Credential
from transports.errors import CarriageError

CREDENTIAL = Credential(username="user", password="pencil")
INT32 = struct.Struct("<i")
Connect = Callable[..., Awaitable[Any]]


class Complaints(logging.Handler):
    """What was logged above DEBUG with a traceback, or told to the loop's exception handler."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or (record.levelno > logging.DEBUG and record.exc_info):
            self.heard.append(self.format(record))

    def hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.heard.append(repr(context))


@pytest.fixture
async def complaints() -> AsyncIterator[list[str]]:
    """Fails the test if anything is complained about."""
    handler = Complaints()
    logging.getLogger().addHandler(handler)
    asyncio.get_running_loop().set_exception_handler(handler.hear)
    yield handler.heard
    await asyncio.sleep(0)
    logging.getLogger().removeHandler(handler)
    assert handler.heard == []


pytestmark = pytest.mark.usefixtures("complaints")


@pytest.fixture
async def guarded(backend: Any) -> AsyncIterator[Endpoint]:
    async with Endpoint(backend, credential=CREDENTIAL) as endpoint:
        yield endpoint


async def turns_until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until *condition* holds: nothing announces it."""
    for _ in range(200_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to pass")


def frame(opcode: int, payload: bytes) -> bytes:
    return struct.pack("<iiii", 16 + len(payload), 7, 0, opcode) + payload


def msg(document: dict[str, Any] | bytes, flags: int = 0) -> bytes:
    raw = document if isinstance(document, bytes) else bson.encode(document)
    return frame(wire.OP_MSG, struct.pack("<IB", flags, 0) + raw)


def nested(depth: int) -> bytes:
    """BSON ``{"a": {"a": {…}}}``, which a codec may not be able to follow."""
    document = b"\x05\0\0\0\0"
    for _ in range(depth):
        document = INT32.pack(len(document) + 8) + b"\x03a\0" + document + b"\0"
    return document


def with_field(name: bytes, value: bytes, command: bytes = b"hello") -> bytes:
    """The BSON of ``{command: 1, name: <nested document>, "$db": "admin"}``."""
    content = b"\x10" + command + b"\0" + INT32.pack(1) + b"\x03" + name + b"\0" + value
    content += b"\x02$db\0" + INT32.pack(6) + b"admin\0"
    return INT32.pack(len(content) + 5) + content + b"\0"


MALFORMED = {
    "a lying string": b"\x16\0\0\0\x10hello\0\1\0\0\0\x02s\0\xff\xff\xff\x7fx\0",
    "a document that does not end": bson.encode({"hello": 1, "$db": "admin"})[:-1] + b"\1",
}


class Quiet:
    """The least backend there is, for what makes an endpoint of its own for each example."""

    async def describe(self) -> Deployment:
        hello = {"ok": 1.0, "isWritablePrimary": True, "maxWireVersion": 17, "minWireVersion": 0}
        return Deployment(members=(Member(address="db:1", hello=hello),))

    async def run(self, request: Request) -> bytes:
        return bson.encode({"ok": 1.0})


async def served_while_attacked(data: bytes, credential: Credential | None) -> None:
    handler = Complaints()
    asyncio.get_running_loop().set_exception_handler(handler.hear)
    logging.getLogger("transports").addHandler(handler)
    try:
        async with Endpoint(Quiet(), credential=credential) as endpoint, asyncio.timeout(20):
            (address,) = endpoint.addresses().values()
            reader, writer = await asyncio.open_unix_connection(address)
            writer.write(data)
            writer.write_eof()
            said = await reader.read()  # to the end: it does hang up
            assert len(said) < 20_000
            writer.close()
            reader, writer = await asyncio.open_unix_connection(address)
            writer.write(msg({"hello": 1, "$db": "admin"}))
            assert INT32.unpack(await reader.readexactly(4))[0] > 100, "others are served"
            writer.close()
    finally:
        logging.getLogger("transports").removeHandler(handler)
    assert handler.heard == []


def commands() -> st.SearchStrategy[bytes]:
    """Whole messages of commands that the endpoint answers itself, with values of any kind."""
    values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats()
        | st.text(max_size=5)
        | st.binary(max_size=9)
        | st.sampled_from(["SCRAM-SHA-256", b"n,,n=user,r=abc", 1, "admin.user", "1"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["application", "name", "saslStart", "db", "x"]), inner
            )
        ),
        max_leaves=6,
    )
    names = ["hello", "isMaster", "ismaster", "saslStart", "saslContinue", "authenticate", "logout"]
    fields = [
        *("helloOk", "compression", "client", "saslSupportedMechs", "speculativeAuthenticate"),
        *("apiVersion", "apiStrict", "maxAwaitTimeMS", "topologyVersion", "mechanism", "payload"),
        *("conversationId", "options"),
    ]
    document = st.tuples(
        st.sampled_from(names), st.dictionaries(st.sampled_from(fields), values, max_size=5)
    ).map(lambda drawn: {drawn[0]: 1, **drawn[1], "$db": "admin"})
    return document.map(msg)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(st.lists(commands(), min_size=1, max_size=4).map(b"".join), st.binary(max_size=90)),
    st.sampled_from([None, CREDENTIAL]),
)
def test_nothing_that_a_client_says_disturbs_others(
    data: bytes, credential: Credential | None
) -> None:
    asyncio.run(served_while_attacked(data, credential))


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_malformed_handshake_is_answered(connect: Connect, what: str) -> None:
    client = await connect()
    client.send(bytes(5) + MALFORMED[what])
    assert (await client.receive())["code"] in (22, 40571)
    assert (await client.command({"hello": 1}))["ok"] == 1.0


@pytest.mark.parametrize("depth", [200, 900, 5000])
@pytest.mark.parametrize(
    ("command", "name"),
    [
        (b"hello", b"apiVersion"),
        (b"hello", b"client"),
        (b"hello", b"compression"),
        (b"isMaster", b"speculativeAuthenticate"),
        (b"saslStart", b"mechanism"),
        (b"saslContinue", b"conversationId"),
    ],
)
async def test_a_handshake_nested_deeply_is_answered(
    guarded: Endpoint, connect: Connect, depth: int, command: bytes, name: bytes
) -> None:
    client = await connect(next(iter(guarded.addresses().values())))
    client.send(bytes(5) + with_field(name, nested(depth), command))
    reply = await client.receive()
    assert len(reply.get("errmsg", "")) < 200
    assert (await client.command({"hello": 1}))["ok"] == 1.0


async def test_a_name_that_breaks_lines_breaks_no_log(
    backend: Any, client: Any, caplog: pytest.LogCaptureFixture, complaints: list[str]
) -> None:
    async def answer(_request: Request) -> bytes:
        return b"\xff"

    backend.answer = answer
    assert (await client.command({"find\nERROR forged": 1}))["code"] == 1
    assert "\nERROR forged" not in "".join(record.getMessage() for record in caplog.records)
    complaints.clear()  # the reply that is no document is one


async def test_a_get_more_malformed_behind_its_database_is_survived(
    backend: Any, client: Any, endpoint: Endpoint
) -> None:
    good = bson.encode({"getMore": bson.Int64(7), "$db": "test"})
    broken = INT32.pack(len(good) + 3) + good[4:-1] + b"\x99x\0" + b"\0"
    batch = bson.encode({"cursor": {"id": bson.Int64(7), "nextBatch": []}, "ok": 1.0})

    async def answer(request: Request) -> bytes:
        return batch if len(backend.requests) == 1 else await backend.never(request)

    backend.answer = answer
    client.writer.write(msg(broken, wire.EXHAUST_ALLOWED))
    await backend.until(lambda: len(backend.requests) == 2)
    client.abort()
    await backend.until(lambda: backend.cancelled == ["getMore"])
    await turns_until(lambda: not endpoint.connections)


async def test_words_that_bson_cannot_hold_still_reach_the_driver(
    backend: Any, client: Any
) -> None:
    async def answer(_request: Request) -> bytes:
        raise CarriageError("half a pair: \ud83d" + "x" * 100_000, code=6, code_name="\udc00")

    backend.answer = answer
    reply = await client.command({"find": "c"})
    assert reply["errmsg"].startswith("half a pair: ?")
    assert len(reply["errmsg"]) == 10_000


# -- clients that are slow, or many ----------------------------------------------------------


@pytest.mark.parametrize("begun", [b"", b"\x00\x10", msg({"hello": 1, "$db": "admin"})[:-1]])
async def test_who_does_not_finish_a_message_is_hung_up_on(
    guarded: Endpoint, connect: Connect, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(module, "UNAUTHENTICATED_MESSAGE_S", 0.01)
    address = next(iter(guarded.addresses().values()))
    slow = await connect(address)
    slow.writer.write(begun)
    assert await slow.is_closed()


async def test_the_rest_of_a_message_does_not_come_byte_by_byte(
    guarded: Endpoint, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNAUTHENTICATED_MESSAGE_S", 0.05)
    slow = await connect(next(iter(guarded.addresses().values())))
    closed = asyncio.create_task(slow.is_closed())
    for byte in itertools.chain.from_iterable(itertools.repeat(b"\x00\x01\x00\x00", 1000)):
        slow.writer.write(bytes([byte]))
        await asyncio.wait([closed], timeout=0.005)
        if closed.done():
            break
    assert await closed


async def test_a_monitor_may_wait_between_its_messages(
    guarded: Endpoint, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = await connect(next(iter(guarded.addresses().values())))
    assert (await monitor.command({"hello": 1}))["ok"] == 1.0
    (connection,) = guarded.connections
    await turns_until(lambda: connection._arrival is not None)
    assert connection._flow.deadline is None
    assert (await monitor.command({"hello": 1}))["ok"] == 1.0


@pytest.mark.parametrize("size", [64 * 1024 + 1, 48_000_000])
async def test_before_authentication_nothing_long_is_kept(
    guarded: Endpoint, connect: Connect, size: int
) -> None:
    client = await connect(next(iter(guarded.addresses().values())))
    client.writer.write(struct.pack("<iiii", size, 1, 0, wire.OP_MSG))
    assert await client.is_closed()


async def test_before_authentication_nothing_long_is_unpacked(
    guarded: Endpoint, connect: Connect
) -> None:
    client = await connect(next(iter(guarded.addresses().values())))
    payload = bytes(40_000_000)
    head = struct.pack("<iiB", wire.OP_MSG, len(payload), 2)
    client.writer.write(frame(wire.OP_COMPRESSED, head + zlib.compress(payload, 9)))
    assert await client.is_closed()


async def test_before_authentication_little_is_read_ahead(
    guarded: Endpoint, connect: Connect, backend: Any
) -> None:
    """Replies are not read: what else is sent stays where it is, in the client's own memory."""
    client = await connect(next(iter(guarded.addresses().values())))
    client.writer.transport.pause_reading()
    flood = msg({"hello": 1, "$db": "admin"}) * 1000
    for _ in range(400):
        client.writer.write(flood)
    await turns_until(lambda: bool(guarded.connections))
    (connection,) = guarded.connections
    await turns_until(lambda: connection._flow.reading_paused)
    before = guarded.statistics().bytes_in
    for _ in range(1000):
        await asyncio.sleep(0)
    held = connection._decoder.buffered_bytes, connection._transport.get_write_buffer_size()
    client.abort()
    assert guarded.statistics().bytes_in == before
    assert max(held) < 600_000
    await turns_until(lambda: not guarded.connections)


async def test_who_has_yet_to_authenticate_is_one_of_few(
    guarded: Endpoint, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNAUTHENTICATED", 3)
    address = next(iter(guarded.addresses().values()))
    let_in = [await connect(address) for _ in range(3)]
    for client in let_in:
        assert (await client.command({"hello": 1}))["ok"] == 1.0
    assert await (await connect(address)).is_closed()
    assert guarded.statistics().refused == 1
    let_in.pop().close()
    await turns_until(lambda: len(guarded.connections) == 2)
    assert (await (await connect(address)).command({"hello": 1}))["ok"] == 1.0


async def test_there_are_never_more_clients_than_files(
    endpoint: Endpoint, connect: Connect
) -> None:
    endpoint.max_clients = 50
    clients = [await connect() for _ in range(200)]
    await turns_until(lambda: endpoint.statistics().refused == 150)
    assert endpoint.statistics().clients == 50
    for client in clients:
        client.abort()
    await turns_until(lambda: not endpoint.connections)
    assert (await (await connect()).command({"ping": 1}))["ok"] == 1.0


def test_the_ceiling_of_clients_leaves_files_to_the_application(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resource = pytest.importorskip("resource")
    for allowed, ceiling in [(1024, 512), (10, 16), (-1, 65_536), (10**6, 65_536)]:
        monkeypatch.setattr(resource, "getrlimit", lambda _, allowed=allowed: (allowed, allowed))
        assert server_module._max_clients() == ceiling


async def test_hundreds_of_clients_that_never_read_hold_little(
    backend: Any, endpoint: Endpoint, connect: Connect
) -> None:
    """Bounded by what one may hold: a reply, and what is read ahead."""

    async def answer(_request: Request) -> bytes:
        return reply

    reply = bson.encode({"ok": 1.0, "filler": bytes(100_000)})
    backend.answer = answer
    clients = [await connect() for _ in range(200)]
    for client in clients:
        client.writer.transport.pause_reading()
        for _ in range(50):
            client.writer.write(msg({"find": "c", "$db": "t"}))
    await turns_until(
        lambda: sum(not c._flow.writable.is_set() for c in endpoint.connections) == 200
    )
    held = sum(
        c._transport.get_write_buffer_size() + c._decoder.buffered_bytes
        for c in endpoint.connections
    )
    assert held < 200 * 2 * len(reply)
    for client in clients:
        client.abort()
    await turns_until(lambda: not endpoint.connections)


# -- a backend that is hostile ---------------------------------------------------------------

ODD_HELLOS: list[dict[str, Any]] = [
    {"hosts": 5},
    {"hosts": ["a:1", 5]},
    {"primary": {"x": 1}},
    {"setName": 5},
    {"maxWireVersion": "seventeen"},
    {"ok": 0.0, "errorLabels": 5},
    {"ok": 0.0, "code": "six"},
    {"ok": 0.0, "errmsg": ["no"]},
    {"ok": "yes"},
]


@pytest.mark.parametrize("odd", ODD_HELLOS)
async def test_a_hello_of_odd_types_is_a_member_that_could_not_be_asked(
    backend: Any, endpoint: Endpoint, client: Any, members: Any, odd: dict[str, Any]
) -> None:
    first, second = members("DB1.example:27017", "db2.example:27017")
    broken = Member(address=first.address, hello={**first.hello, **odd})
    backend.deployment = Deployment(members=(broken, second))
    endpoint.topology.doubt()
    reply = await client.command({"hello": 1})
    assert (reply["ok"], reply["code"]) == (0.0, 17)
    assert "malformed" in reply["errmsg"]


@pytest.mark.parametrize("odd", ODD_HELLOS)
async def test_a_deployment_of_odd_types_alone_is_refused_at_the_start(
    backend: Any, members: Any, odd: dict[str, Any]
) -> None:
    (only,) = members("db:1")
    backend.deployment = Deployment(members=(Member(address="db:1", hello={**only.hello, **odd}),))
    with pytest.raises(CarriageError, match="malformed"):
        await Endpoint(backend).start()


DEEP = nested(5000)


@pytest.mark.parametrize("reply", [b"", b"\xff" * 40, DEEP, bson.encode({"ok": 1})[:-1]])
async def test_a_relayed_hello_that_is_no_document_is_an_error(
    backend: Any, connect: Connect, reply: bytes
) -> None:
    async def answer(_request: Request) -> bytes:
        return reply

    backend.answer = answer
    async with Endpoint(backend, relay_hello=True) as endpoint:
        client = await connect(next(iter(endpoint.addresses().values())))
        answered = await client.command({"hello": 1})
        assert answered["ok"] == 0.0
        # Some releases of Python from 3.12 on read the deep document, which is then no hello.
        readable = reply == DEEP and sys.version_info >= (3, 12)
        assert answered["code"] in ({6, 17} if readable else {17})


async def test_a_cluster_time_that_cannot_be_read_is_not_repeated(
    backend: Any, client: Any
) -> None:
    time = b"\x11clusterTime\0" + struct.pack("<Q", 2**40) + b"\x02s\0\xff\0\0\0x\0"
    time = INT32.pack(len(time) + 5) + time + b"\0"
    content = b"\x03$clusterTime\0" + time + b"\x01ok\0" + struct.pack("<d", 1)
    reply = INT32.pack(len(content) + 5) + content + b"\0"

    async def answer(_request: Request) -> bytes:
        return reply

    backend.answer = answer
    client.send({"ping": 1})
    await client.frame()
    assert (await client.command({"hello": 1}))["ok"] == 1.0


@pytest.mark.parametrize("reply", [b"", b"\0", b"\xff" * 100, bson.encode({"ok": 1}) + b"x"])
async def test_a_reply_that_is_no_document_is_an_error(
    backend: Any, client: Any, complaints: list[str], reply: bytes
) -> None:
    async def answer(_request: Request) -> bytes:
        return reply

    backend.answer = answer
    assert (await client.command({"find": "c"}))["code"] == 1
    assert len(complaints) == 1
    complaints.clear()
