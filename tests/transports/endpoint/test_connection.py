"""One client connection, against a backend that does what the test says."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson import Int64

from transports.endpoint import Request, compression, wire
from transports.endpoint import connection as module
from transports.endpoint.connection import READ_AHEAD_BYTES
from transports.errors import CarriageError, ConnectionLost


def op_query(namespace: str, document: dict[str, Any]) -> bytes:
    head = struct.pack("<i", 0) + namespace.encode() + b"\0" + struct.pack("<ii", 0, -1)
    return head + bson.encode(document)


async def op_reply(client: Any) -> tuple[int, dict[str, Any]]:
    _, _, opcode, payload = await client.frame()
    assert opcode == wire.OP_REPLY
    return struct.unpack_from("<i", payload)[0], bson.decode(payload[20:])


async def test_a_command_reaches_the_backend_as_it_is(backend: Any, client: Any) -> None:
    document = bson.encode({"insert": "c", "lsid": {"id": 1}, "$db": "shop"})
    sequence = b"\1" + struct.pack("<i", 4 + 10 + 10) + b"documents\0" + b"\5\0\0\0\0" * 2
    client.send(struct.pack("<I", 1) + b"\0" + document + sequence + b"crc!")
    assert await client.receive() == {"ok": 1.0}
    (request,) = backend.requests
    assert request.message == bytes(4) + b"\0" + document + sequence
    assert (request.name, request.database) == ("insert", "shop")
    assert request.server == "DB1.example:27017"
    assert request.acknowledged


async def test_a_reply_is_the_backend_s_own_bytes(backend: Any, client: Any) -> None:
    reply = bson.encode({"ok": 1.0, "a": Int64(1)}).replace(b"a\0", b"\xff\0")  # not even UTF-8

    async def answer(_request: Request) -> bytes:
        return reply

    backend.answer = answer
    request_id = client.send({"find": "c"})
    _, response_to, opcode, payload = await client.frame()
    assert (response_to, opcode) == (request_id, wire.OP_MSG)
    assert payload == bytes(5) + reply


async def test_members_are_told_apart_by_their_socket(
    endpoint: Any, backend: Any, connect: Any
) -> None:
    second = await connect(endpoint.addresses()["db2.example:27017"])
    hello = await second.command({"hello": 1})
    assert hello["secondary"] is True
    assert hello["me"] == endpoint.addresses()["db2.example:27017"]
    await second.command({"find": "c"})
    assert backend.requests[0].server == "db2.example:27017"


@pytest.mark.parametrize("name", ["hello", "isMaster", "ismaster"])
async def test_the_handshake_is_answered_here(
    endpoint: Any, backend: Any, client: Any, name: str
) -> None:
    first = await client.command({name: 1, "helloOk": True})
    await client.command({"ping": 1})
    second = await client.command({name: 1})
    assert first["helloOk"] is True
    assert first["hosts"] == list(endpoint.addresses().values())
    assert first["connectionId"] == second["connectionId"] == 1
    assert "topologyVersion" not in first
    assert backend.names == ["ping"]
    assert backend.describes == 1


async def test_every_connection_has_its_own_number(connect: Any) -> None:
    numbers = [(await (await connect()).command({"hello": 1}))["connectionId"] for _ in range(3)]
    assert numbers == [1, 2, 3]


async def test_an_awaitable_hello_is_answered_at_once_and_once(client: Any) -> None:
    version = {"processId": bson.ObjectId(), "counter": Int64(0)}
    command = {"hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 600_000}
    client.send(command, flags=wire.EXHAUST_ALLOWED)
    _, _, _, payload = await client.frame()
    assert payload[:4] == bytes(4)  # no moreToCome
    assert "topologyVersion" not in bson.decode(payload[5:])


async def test_the_application_s_name_is_told_with_every_request(backend: Any, client: Any) -> None:
    metadata = {"application": {"name": "shop"}, "driver": {"name": "x", "version": "1"}}
    await client.command({"hello": 1, "client": metadata})
    await client.command({"ping": 1})
    assert backend.requests[0].client.app_name == "shop"
    assert backend.requests[0].client.connection_id == 1
    again = await client.command({"hello": 1, "client": {}})
    assert again["code"] == 186


async def test_a_malformed_handshake_is_an_error(client: Any) -> None:
    command = bson.encode({"hello": 1, "x": "abc", "$db": "admin"})
    client.send(bytes(5) + command.replace(b"\x04\0\0\0abc\0", b"\x04\0\0\0abcd"))
    assert (await client.receive())["code"] == 22
    assert (await client.command({"ping": 1}))["ok"] == 1.0


async def test_old_drivers_shake_hands_by_op_query(backend: Any, client: Any) -> None:
    for document in (
        {"ismaster": 1},
        {"$query": {"isMaster": 1}, "$readPreference": {"mode": "secondary"}},
    ):
        client.send(op_query("admin.$cmd", document), opcode=wire.OP_QUERY)
        flags, reply = await op_reply(client)
        assert flags == 8
        assert reply["ismaster"] is True
    assert backend.requests == []


async def test_metadata_that_is_not_utf8_is_taken(client: Any) -> None:
    document = bson.encode({"ismaster": 1, "client": {"application": {"name": "??"}}})
    payload = op_query("admin.$cmd", {})[:-5] + document.replace(b"??", b"\xff\xfe")
    client.send(payload, opcode=wire.OP_QUERY)
    assert (await op_reply(client))[1]["ok"] == 1.0


@pytest.mark.parametrize(
    ("payload", "opcode", "flags", "code"),
    [
        (op_query("admin.$cmd", {"ping": 1}), wire.OP_QUERY, 8, 352),
        (op_query("admin.$cmd", {}), wire.OP_QUERY, 8, 352),
        (op_query("admin.$cmd", {"$query": {}}), wire.OP_QUERY, 8, 352),
        (op_query("shop.c", {"a": 1}), wire.OP_QUERY, 2, 5739101),
        (bytes(4) + b"a.b\0" + bytes(12), wire.OP_GET_MORE, 2, 5739101),
    ],
)
async def test_other_old_messages_get_an_error(
    client: Any, payload: bytes, opcode: int, flags: int, code: int
) -> None:
    client.send(payload, opcode=opcode)
    got, reply = await op_reply(client)
    assert (got, reply["code"], reply["ok"]) == (flags, code, 0.0)
    assert (await client.command({"ping": 1}))["ok"] == 1.0


async def test_a_compressed_command_is_answered_compressed(backend: Any, client: Any) -> None:
    hello = await client.command({"hello": 1, "compression": ["snappy?", "zlib"]})
    assert hello["compression"] == ["zlib"]
    document = bson.encode({"find": "c", "$db": "shop"})
    message = wire.encode_msg(5, 0, document)
    client.writer.write(wire.compress(message, 2))
    _, response_to, opcode, payload = await client.frame()
    assert (response_to, opcode) == (5, wire.OP_COMPRESSED)
    inner = compression.decompress(payload[9:], 2, struct.unpack_from("<i", payload, 4)[0])
    assert bson.decode(inner[5:]) == {"ok": 1.0}
    assert backend.requests[0].message == bytes(5) + document


@pytest.mark.parametrize(
    "command",
    [
        {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": b"n,,n=u,r=x"},
        {"saslContinue": 1},
        {"authenticate": 1},
        {"logout": 1},
        {"getnonce": 1},
    ],
)
async def test_authentication_is_never_relayed(
    backend: Any, client: Any, command: dict[str, Any]
) -> None:
    assert "ok" in await client.command(command)
    assert backend.requests == []


async def test_a_failure_of_the_carriage_is_a_server_s_error(backend: Any, client: Any) -> None:
    async def answer(_request: Request) -> bytes:
        raise CarriageError(
            "function db-proxy timed out", code=89, code_name="NetworkTimeout", labels=["A"]
        )

    backend.answer = answer
    assert await client.command({"find": "c"}) == {
        "ok": 0.0,
        "errmsg": "function db-proxy timed out",
        "code": 89,
        "codeName": "NetworkTimeout",
        "errorLabels": ["A"],
    }


async def test_a_bug_in_the_backend_is_an_internal_error(
    backend: Any, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(_request: Request) -> bytes:
        raise KeyError("secret")

    backend.answer = answer
    reply = await client.command({"find": "c"})
    assert (reply["code"], reply["codeName"]) == (1, "InternalError")
    assert "KeyError" in reply["errmsg"]
    assert "secret" not in reply["errmsg"]
    assert "KeyError at test_connection.py:" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("reply", [b"", b"\0", bson.encode({"ok": 1.0}) + b"more"])
async def test_a_reply_that_is_no_document_is_an_internal_error(
    backend: Any, client: Any, reply: bytes
) -> None:
    async def answer(_request: Request) -> bytes:
        return reply

    backend.answer = answer
    found = await client.command({"find": "c"})
    assert (found["code"], found["errmsg"]) == (1, "the reply to find is not a BSON document")


async def test_a_connection_broken_off_upstream_is_broken_off_here(
    backend: Any, client: Any, connect: Any
) -> None:
    async def answer(_request: Request) -> bytes:
        raise ConnectionLost("reset", code=6, code_name="HostUnreachable")

    backend.answer = answer
    client.send({"find": "c"})
    assert await client.is_closed()
    assert (await (await connect()).command({"hello": 1}))["ok"] == 1.0
    assert backend.describes == 2


@pytest.mark.parametrize(
    ("reply", "describes"),
    [
        ({"ok": 0.0, "code": 10107}, 2),
        ({"n": 1, "writeConcernError": {"code": 91}, "ok": 1.0}, 2),
        ({"ok": 0.0, "code": 11000}, 1),
    ],
)
async def test_a_state_change_makes_hello_ask(
    backend: Any, client: Any, reply: dict[str, Any], describes: int
) -> None:
    async def answer(_request: Request) -> bytes:
        return bson.encode(reply)

    backend.answer = answer
    assert await client.command({"insert": "c"}) == reply
    await client.command({"hello": 1})
    await client.command({"hello": 1})
    assert backend.describes == describes


async def test_hello_says_why_nothing_can_be_said(backend: Any, client: Any) -> None:
    async def answer(_request: Request) -> bytes:
        raise CarriageError("gone", code=6, code_name="HostUnreachable")

    backend.answer = answer
    await client.command({"ping": 1})
    deployment = backend.deployment
    backend.deployment = CarriageError("no such function", code=7, code_name="HostNotFound")
    for _ in range(2):
        reply = await client.command({"hello": 1})
        assert (reply["ok"], reply["errmsg"]) == (0.0, "no such function")
        assert (reply["code"], reply["codeName"]) == (7, "HostNotFound")
    backend.deployment = deployment
    assert (await client.command({"hello": 1}))["ok"] == 1.0


async def test_an_overload_does_not_take_the_server_down(backend: Any, client: Any) -> None:
    async def answer(_request: Request) -> bytes:
        raise CarriageError(
            "throttled", code=462, code_name="Overloaded", labels=["SystemOverloadedError"]
        )

    backend.answer = answer
    await client.command({"ping": 1})
    await client.command({"hello": 1})
    assert backend.describes == 1


async def test_commands_of_one_client_run_one_after_another(backend: Any, client: Any) -> None:
    running = 0

    async def answer(request: Request) -> bytes:
        nonlocal running
        running += 1
        await asyncio.sleep(0)
        assert running == 1
        running -= 1
        return bson.encode({"ok": 1.0, "was": request.name})

    backend.answer = answer
    names = [f"c{i}" for i in range(50)]
    ids = [client.send({name: 1}) for name in names]
    for name, request_id in zip(names, ids, strict=True):
        _, response_to, _, payload = await client.frame()
        assert response_to == request_id
        assert bson.decode(payload[5:])["was"] == name
    assert backend.names == names


async def test_clients_do_not_wait_for_each_other(backend: Any, connect: Any) -> None:
    one, other = await connect(), await connect()
    release = asyncio.Event()

    async def answer(request: Request) -> bytes:
        if request.name == "getMore":
            await release.wait()
        return bson.encode({"ok": 1.0})

    backend.answer = answer
    one.send({"getMore": Int64(1), "collection": "c"})
    await backend.until(lambda: backend.names == ["getMore"])
    assert (await other.command({"ping": 1}))["ok"] == 1.0
    release.set()
    assert (await one.receive())["ok"] == 1.0


async def test_an_unacknowledged_command_is_not_answered_and_keeps_its_place(
    backend: Any, client: Any
) -> None:
    async def answer(request: Request) -> bytes:
        return b"" if not request.acknowledged else bson.encode({"ok": 1.0})

    backend.answer = answer
    client.send({"insert": "c"}, flags=wire.MORE_TO_COME)
    last = client.send({"find": "c"})
    _, response_to, _, _ = await client.frame()
    assert response_to == last
    assert [r.acknowledged for r in backend.requests] == [False, True]
    assert backend.requests[0].message[:4] == b"\2\0\0\0"


async def test_an_unacknowledged_command_that_fails_is_not_answered_either(
    backend: Any, client: Any
) -> None:
    async def answer(request: Request) -> bytes:
        if not request.acknowledged:
            raise CarriageError("gone", code=6, code_name="HostUnreachable")
        return bson.encode({"ok": 1.0})

    backend.answer = answer
    client.send({"insert": "c"}, flags=wire.MORE_TO_COME)
    client.send({"hello": 1}, flags=wire.MORE_TO_COME)
    client.send(struct.pack("<I", wire.MORE_TO_COME) + b"\0" + bson.encode({"no": "$db"}))
    assert await client.command({"find": "c"}) == {"ok": 1.0}


async def test_malformed_commands_are_errors_and_the_connection_goes_on(
    backend: Any, client: Any
) -> None:
    client.send(bytes(5) + bson.encode({"ping": 1}))
    assert (await client.receive())["code"] == 40571
    client.send(bytes(4))
    assert (await client.receive())["code"] == 40587
    assert (await client.command({"ping": 1}))["ok"] == 1.0
    assert backend.names == ["ping"]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<iiii", 48_000_001, 1, 0, wire.OP_MSG),
        struct.pack("<iiii", 20, 1, 0, 2002),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_not_the_protocol_is_hung_up_on(
    client: Any, connect: Any, data: bytes
) -> None:
    client.writer.write(data)
    assert await client.is_closed()
    assert (await (await connect()).command({"ping": 1}))["ok"] == 1.0


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_client_that_goes_away_ends_its_command(
    backend: Any, client: Any, endpoint: Any, how: str
) -> None:
    backend.answer = backend.never
    client.send({"getMore": Int64(1), "collection": "c"})
    await backend.until(lambda: backend.names == ["getMore"])
    getattr(client, how)()
    await backend.until(lambda: backend.cancelled == ["getMore"])


async def test_what_was_sent_without_asking_for_an_answer_survives_the_client(
    backend: Any, client: Any
) -> None:
    release = asyncio.Event()

    async def answer(request: Request) -> bytes:
        if request.name == "first":
            await release.wait()
        elif request.name == "slow":
            await backend.never(request)
        return b""

    backend.answer = answer
    client.send({"first": 1}, flags=wire.MORE_TO_COME)
    client.send({"second": 1}, flags=wire.MORE_TO_COME)
    client.send({"unheard": 1})
    client.send({"third": 1}, flags=wire.MORE_TO_COME)
    await backend.until(lambda: backend.names == ["first"])
    client.close()
    await client.writer.wait_closed()
    release.set()
    await backend.until(lambda: backend.names == ["first", "second", "third"])
    assert backend.cancelled == []


async def test_unacknowledged_writes_behind_a_cancelled_command_are_carried(
    backend: Any, client: Any
) -> None:
    async def answer(request: Request) -> bytes:
        return b"" if not request.acknowledged else await backend.never(request)

    backend.answer = answer
    client.send({"slow": 1})
    client.send({"insert": 1}, flags=wire.MORE_TO_COME)
    await backend.until(lambda: backend.names == ["slow"])
    client.close()
    await backend.until(lambda: backend.names == ["slow", "insert"])
    assert backend.cancelled == ["slow"]


async def turns_until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until *condition* holds; nothing announces a paused transport."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to pass")


async def test_reading_ahead_is_bounded(backend: Any, client: Any, endpoint: Any) -> None:
    release = asyncio.Event()

    async def answer(_request: Request) -> bytes:
        await release.wait()
        return bson.encode({"ok": 1.0})

    backend.answer = answer
    filler, count = "x" * 100_000, 100
    for _ in range(count):
        client.send({"insert": filler})
    draining = asyncio.create_task(client.writer.drain())
    await backend.until(lambda: len(backend.requests) == 1)
    (connection,) = endpoint.connections
    await turns_until(lambda: not connection._transport.is_reading())
    assert endpoint.statistics().bytes_in < READ_AHEAD_BYTES * 4
    assert not draining.done()
    release.set()
    for _ in range(count):
        assert (await client.receive())["ok"] == 1.0
    await draining


async def test_a_client_that_goes_away_while_it_is_not_read_from_is_noticed(
    backend: Any, client: Any, endpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HANGUP_INTERVAL_S", 0.001)

    async def answer(request: Request) -> bytes:
        return b"" if not request.acknowledged else await backend.never(request)

    backend.answer = answer
    client.send({"slow": 1})
    await backend.until(lambda: backend.names == ["slow"])
    for number in range(5):
        client.send({f"insert{number}": "x" * 70_000}, flags=wire.MORE_TO_COME)
    client.writer.transport.set_write_buffer_limits(0)
    (connection,) = endpoint.connections
    await client.writer.drain()
    await turns_until(lambda: connection._flow.reading_paused)
    assert not backend.cancelled
    client.close()
    await backend.until(lambda: len(backend.requests) == 6)
    assert backend.cancelled == ["slow"]
    assert backend.names[1:] == [f"insert{number}" for number in range(5)]


async def test_a_client_that_does_not_read_gets_nothing_more_run(
    backend: Any, client: Any, endpoint: Any
) -> None:
    big = bson.encode({"ok": 1.0, "filler": bytes(4_000_000)})

    async def answer(_request: Request) -> bytes:
        return big

    backend.answer = answer
    client.writer.transport.pause_reading()
    for _ in range(20):
        client.send({"find": "c"})
    await backend.until(lambda: len(backend.requests) > 0)
    (connection,) = endpoint.connections
    await turns_until(lambda: not connection._flow.writable.is_set())
    assert len(backend.requests) < 3
    client.writer.transport.resume_reading()
    for _ in range(20):
        assert (await client.receive())["ok"] == 1.0


def batches(*cursor_ids: int) -> list[bytes]:
    return [
        bson.encode({"cursor": {"nextBatch": [{"n": n}], "id": Int64(i), "ns": "t.c"}, "ok": 1.0})
        for n, i in enumerate(cursor_ids)
    ]


GET_MORE = {"getMore": Int64(77), "collection": "c", "batchSize": 1}


async def test_an_exhaust_cursor_is_streamed(backend: Any, client: Any) -> None:
    replies = iter(batches(77, 77, 0))

    async def answer(_request: Request) -> bytes:
        return next(replies)

    backend.answer = answer
    expected_response_to = client.send(GET_MORE, flags=wire.EXHAUST_ALLOWED)
    for n, flags in enumerate([wire.MORE_TO_COME, wire.MORE_TO_COME, 0]):
        request_id, response_to, _, payload = await client.frame()
        assert response_to == expected_response_to
        assert struct.unpack_from("<I", payload)[0] == flags
        assert bson.decode(payload[5:])["cursor"]["nextBatch"] == [{"n": n}]
        expected_response_to = request_id
    assert backend.names == ["getMore"] * 3
    assert {r.message for r in backend.requests} == {
        bytes(5) + bson.encode({**GET_MORE, "$db": "test"})
    }


async def test_an_error_ends_an_exhaust_cursor(backend: Any, client: Any) -> None:
    replies = iter([*batches(77), bson.encode({"ok": 0.0, "code": 43})])

    async def answer(_request: Request) -> bytes:
        return next(replies)

    backend.answer = answer
    client.send(GET_MORE, flags=wire.EXHAUST_ALLOWED)
    assert (await client.receive())["ok"] == 1.0
    _, _, _, payload = await client.frame()
    assert payload[:4] == bytes(4)
    assert backend.names == ["getMore"] * 2


async def test_only_get_more_is_streamed(backend: Any, client: Any) -> None:
    async def answer(_request: Request) -> bytes:
        return batches(77)[0]

    backend.answer = answer
    client.send({"find": "c"}, flags=wire.EXHAUST_ALLOWED)
    _, _, _, payload = await client.frame()
    assert payload[:4] == bytes(4)
    await client.command({"ping": 1})
    assert backend.names == ["find", "ping"]


async def test_an_unacknowledged_get_more_is_not_streamed(backend: Any, client: Any) -> None:
    client.send(GET_MORE, flags=wire.EXHAUST_ALLOWED | wire.MORE_TO_COME)
    assert await client.command({"ping": 1}) == {"ok": 1.0}
    assert backend.names == ["getMore", "ping"]


@pytest.mark.parametrize("waiting", [True, False])
async def test_an_exhaust_cursor_is_killed_when_its_client_goes_away(
    backend: Any, client: Any, waiting: bool
) -> None:
    batch = bson.encode({"cursor": {"nextBatch": [bytes(100_000)], "id": Int64(77)}, "ok": 1.0})

    async def answer(request: Request) -> bytes:
        if request.name == "getMore" and waiting and len(backend.requests) > 1:
            await backend.never(request)
        return batch

    backend.answer = answer
    client.send(GET_MORE, flags=wire.EXHAUST_ALLOWED)
    await client.receive()
    await backend.until(lambda: len(backend.requests) > 1)
    client.abort()
    await backend.until(lambda: "killCursors" in backend.names)
    assert backend.names[-1] == "killCursors"
    kill = backend.requests[-1]
    command = bson.decode(kill.message[5:])
    assert command == {"killCursors": "c", "cursors": [77], "$db": "test"}
    assert kill.server == "DB1.example:27017"
    assert kill.database == "test"
