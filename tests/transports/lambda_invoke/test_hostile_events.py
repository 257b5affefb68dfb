"""Crafted events at the DB proxy function: clean replies, and a pool that goes on working."""

from __future__ import annotations

import json
import logging
import socket
import struct
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from uuid import uuid4

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transports.lambda_invoke.bodies import MAX_BODY_BYTES, Body
from transports.lambda_invoke.envelope import (
    CancelItem,
    CommandItem,
    DescribeItem,
    FailureResult,
    FetchItem,
    Item,
    MembersResult,
    ReplyResult,
    Response,
    StageItem,
    decode_response,
    encode_request,
)
from transports.lambda_invoke.function.settings import FunctionSettings

Call = Callable[..., Response]
INT32 = struct.Struct("<i")


class Context:
    """What the runtime passes beside the event."""

    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"

    def __init__(self, remaining_ms: int = 3000) -> None:
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@pytest.fixture(
    scope="module", params=['{"databases": ["test"]}', "unrestricted"], ids=["policy", "none"]
)
def app(mongod_uri: str, request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The handler with a pool of one connection: what breaks it would be seen by the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODM_PROXY_MONGODB_URI", mongod_uri)
        from transports.lambda_invoke.function import app

        made = FunctionSettings(
            mongodb_uri=mongod_uri,
            max_pool_size=1,
            policy=request.param,
            staging="hostile.staging",  # what is staged here and never fetched is nobody else's
        )
        proxy = app.Proxy(made)
        patch.setattr(app, "_proxy", proxy)
        yield app
        proxy.close()


@pytest.fixture(scope="module")
def call(app: ModuleType) -> Call:
    def invoke(*items: Item, remaining_ms: int = 3000) -> Response:
        event = json.loads(encode_request(items))
        result = app.handler(event, Context(remaining_ms))
        payload = json.dumps(result).encode()
        assert b"Traceback" not in payload
        assert b".py" not in payload
        return decode_response(payload, expected=len(items))

    return invoke


@pytest.fixture(scope="module")
def server(call: Call) -> str:
    (result,) = call(DescribeItem()).results
    assert isinstance(result, MembersResult)
    return result.members[0][0]


def command(server: str, message: bytes) -> CommandItem:
    return CommandItem(server, Body(message))


def op_msg(document: dict[str, Any]) -> bytes:
    return bytes(5) + bson.encode({**document, "$db": "test"})


def works(call: Call, server: str) -> bool:
    (result,) = call(command(server, op_msg({"ping": 1}))).results
    assert isinstance(result, ReplyResult), result
    return bool(bson.decode(result.reply.data)["ok"] == 1.0)


FIND = op_msg({"find": "c", "filter": {"a": {"b": [1, 2, "x"]}}})
INSERT = bytes(5) + bson.encode({"insert": "c", "$db": "test"})
SEQUENCE = b"\1" + INT32.pack(4 + 10 + 5) + b"documents\0" + bson.encode({})


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    message = bytearray(draw(st.sampled_from([FIND, INSERT + SEQUENCE, op_msg({"ping": 1})])))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(message) - 1))
        how = draw(st.sampled_from(["byte", "length", "cut", "more"]))
        if how == "byte":
            message[place] = draw(st.integers(0, 255))
        elif how == "length":
            value = draw(st.sampled_from([-(2**31), -1, 0, 4, 5, 16, 2**24, 2**31 - 1]))
            message[place : place + 4] = INT32.pack(value)
        elif how == "cut":
            del message[max(place, 10) :]
        else:
            message += draw(st.binary(min_size=1, max_size=20))
    return bytes(message)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(damaged())
def test_garbage_inside_a_message_disturbs_no_other_command(
    call: Call, server: str, message: bytes
) -> None:
    (result,) = call(command(server, message.ljust(10, b"\0"))).results
    assert isinstance(result, ReplyResult | FailureResult)
    assert works(call, server)


@pytest.mark.parametrize(
    "message",
    [
        bytes(10),
        bytes(4) + b"\0" + INT32.pack(2**31 - 1) + b"\0",
        bytes(4) + b"\0" + INT32.pack(-1) + b"\0",
        bytes(4) + b"\0" + INT32.pack(0) + b"\0",
        bytes(5) + bson.encode({"ping": 1}),
        op_msg({"ping": 1}) * 2,
        op_msg({"ping": 1}) + b"crc!",
        b"\x01\0\0\0" + op_msg({"ping": 1})[4:] + b"crc!",
        b"\x02\0\0\0" + op_msg({"ping": 1})[4:],
        b"\0\0\1\0" + op_msg({"ping": 1})[4:],
        b"\xff\xff\xff\xff" + op_msg({"ping": 1})[4:],
        INSERT + b"\1" + INT32.pack(2**30) + b"documents\0",
        INSERT + b"\1" + INT32.pack(3) + b"documents\0",
        INSERT + b"\2" + bson.encode({}),
        struct.pack("<iiii", 16, 1, 0, 2013) * 4,  # a message in the message
    ],
    ids=range(15),
)
def test_lengths_that_lie_cost_one_command(call: Call, server: str, message: bytes) -> None:
    (result,) = call(command(server, message)).results
    if isinstance(result, FailureResult):
        assert result.code in (6, 17)
    assert works(call, server)


@pytest.mark.parametrize("size", range(10))
def test_a_message_too_short_for_its_header_is_never_sent(
    call: Call, server: str, size: int
) -> None:
    """It would leave bytes on the connection that the next command begins with."""
    packed = Body(zlib.compress(bytes(size)), "zlib")
    (result,) = call(CommandItem(server, packed)).results
    assert isinstance(result, FailureResult)
    assert (result.code, result.ran) == (17, "no")
    assert works(call, server)


@pytest.mark.parametrize("size", [0, 9])
def test_nor_one_that_was_staged(call: Call, server: str, size: int) -> None:
    identifier = uuid4().hex
    results = call(StageItem(identifier, 0, bytes(size))).results
    assert results == (ReplyResult(Body()),)
    (result,) = call(CommandItem(server, Body(b"", "", identifier, 1))).results
    assert isinstance(result, FailureResult)
    assert result.code == 17


@pytest.mark.parametrize("depth", [150, 300, 20_000])
def test_nesting_as_deep_as_may_be_is_answered(call: Call, server: str, depth: int) -> None:
    deep = b"\x05\0\0\0\0"
    for _ in range(depth):
        deep = INT32.pack(len(deep) + 8) + b"\x03a\0" + deep + b"\0"
    content = b"\x02find\0" + INT32.pack(2) + b"c\0" + b"\x03filter\0" + deep
    content += b"\x02$db\0" + INT32.pack(5) + b"test\0"
    message = bytes(5) + INT32.pack(len(content) + 5) + content + b"\0"
    (result,) = call(command(server, message)).results
    assert isinstance(result, ReplyResult | FailureResult)
    assert works(call, server)


# -- where a command may go ------------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    """A server that is no member of the deployment."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0)
        yield listening


def test_a_server_that_is_no_member_is_never_connected_to(
    call: Call, server: str, stranger: socket.socket
) -> None:
    port = stranger.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::ffff:127.0.0.1]:{port}"):
        for item in (command(address, FIND), CancelItem(address, lsid(uuid4()), 1)):
            (result,) = call(item, remaining_ms=400).results
            assert isinstance(result, FailureResult)
            assert (result.code, result.ran) == (6, "no")
    with pytest.raises(BlockingIOError):
        stranger.accept()
    assert works(call, server)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254:80",
        "/var/run/docker.sock",
        "/tmp/mongodb-27017.sock",
        "h",
        ":",
        ":1",
        "h:" + "9" * 200,
        "h:٣",
        "\0",
        "mongodb://user:password@h:1",
        "h:1\nHost: x",
        "[::1",
    ],
)
def test_an_address_of_any_shape_is_no_member(call: Call, server: str, address: str) -> None:
    (result,) = call(command(address, FIND), remaining_ms=300).results
    assert isinstance(result, FailureResult)
    assert (result.code, result.ran) == (6, "no")
    assert "password" not in result.message
    assert works(call, server)


# -- what may be ended -----------------------------------------------------------------------


def lsid(identifier: Any) -> bytes:
    value = bson.Binary.from_uuid(identifier) if hasattr(identifier, "bytes") else identifier
    return bson.encode({"id": value})


@pytest.mark.parametrize(
    "session",
    [
        b"",
        b"\xff" * 20,
        bson.encode({}),
        lsid({"$exists": True}),
        lsid({"$ne": None}),
        lsid(bson.Regex("")),
        lsid(None),
        lsid(5),
        lsid(b"x" * 16),
        lsid([bson.Binary(bytes(16), 4)]),
    ],
    ids=range(10),
)
def test_nothing_but_one_session_s_operations_is_ended(
    call: Call, server: str, session: bytes, app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(app._proxy._executor, "cancel", lambda *given, **_: sent.append(given))
    call(CancelItem(server, session, 2**53))
    assert sent == []


# -- how much may be held --------------------------------------------------------------------


def test_what_unpacks_to_48_mb_travels_alone(app: ModuleType, server: str) -> None:
    bomb = Body(zlib.compress(bytes(MAX_BODY_BYTES + 1), 9), "zlib")
    for other in (CommandItem(server, bomb), DescribeItem()):
        event = json.loads(encode_request([CommandItem(server, bomb), other]))
        assert "travels alone" in app.handler(event, Context())["refusal"]


def test_a_bomb_is_one_clean_error(call: Call, server: str) -> None:
    bomb = Body(zlib.compress(bytes(MAX_BODY_BYTES + 1), 9), "zlib")
    (result,) = call(CommandItem(server, bomb)).results
    assert isinstance(result, FailureResult)
    assert (result.code, result.ran) == (17, "no")


@pytest.mark.parametrize("name", [b"find", b"update"])
def test_millions_of_fields_are_not_remembered(
    call: Call, server: str, app: ModuleType, name: bytes
) -> None:
    """Three bytes each in the message, hundreds in a list of where they lie."""
    fields = b"\x0aa\0" * 2_000_000
    content = b"\x02" + name + b"\0" + INT32.pack(2) + b"c\0" + fields
    content += b"\x02$db\0" + INT32.pack(5) + b"test\0"
    message = bytes(5) + INT32.pack(len(content) + 5) + content + b"\0"
    documents = b"\5\0\0\0\0" * 1_000_000
    update = bytes(5) + bson.encode({"update": "c", "$db": "test"})
    update += b"\1" + INT32.pack(4 + 8 + len(documents)) + b"updates\0" + documents
    (result,) = call(CommandItem(server, Body(zlib.compress(message), "zlib"))).results
    assert isinstance(result, ReplyResult)
    assert bson.decode(result.reply.data)["ok"] == 0.0
    tracemalloc.start()
    try:
        (result,) = call(CommandItem(server, Body(zlib.compress(update), "zlib"))).results
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(result, ReplyResult)
    assert bson.decode(result.reply.data)["ok"] == 0.0
    assert peak < 60_000_000


def test_parts_of_one_envelope_s_fetches_are_bounded(call: Call, server: str) -> None:
    identifier = uuid4().hex
    call(StageItem(identifier, 0, bytes(4_500_000)))
    results = call(*[FetchItem(identifier, 0)] * 40, remaining_ms=20_000).results
    refused = [result for result in results if isinstance(result, FailureResult)]
    assert len(refused) == 40 - MAX_BODY_BYTES // 4_500_000
    assert {result.message for result in refused} == {"too many parts for one invoke"}


# -- what is said ----------------------------------------------------------------------------


@pytest.mark.parametrize("event", [None, [], {}, "x", {"Records": []}, {"odm": [[]]}, {"odm": 99}])
def test_an_event_of_any_kind_is_refused_in_words(app: ModuleType, event: Any) -> None:
    said = app.handler(event, Context())
    assert set(said) == {"odm", "refusal"}
    assert len(said["refusal"]) < 300


def test_a_thousand_items_of_garbage_are_answered_in_time(call: Call, server: str) -> None:
    results = call(*[command(server, b"\xff" * 40)] * 1000, remaining_ms=10_000).results
    assert {type(result) for result in results} <= {FailureResult, ReplyResult}
    assert works(call, server)


@pytest.mark.parametrize("kind", ["command", "cancel"])
def test_what_has_not_begun_when_the_time_is_up_is_answered(
    call: Call, server: str, kind: str
) -> None:
    """Each server that nobody knows is waited for; Lambda would kill the environment meanwhile."""
    items: list[Item] = [
        command(f"unknown{i}:1", FIND)
        if kind == "command"
        else CancelItem(f"unknown{i}:1", lsid(uuid4()), 0)
        for i in range(1000)
    ]
    *_, last = call(*items, remaining_ms=300).results
    assert last == FailureResult(
        89, "NetworkTimeout", "the function's time was up before it came to this", "no"
    )
    assert works(call, server)


def test_an_unexpected_error_is_logged_without_its_words(
    call: Call,
    server: str,
    app: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    def fail(*_: object, **__: object) -> list[bytes]:
        raise ValueError("canary-of-a-document")

    with monkeypatch.context() as patch:
        patch.setattr(app._proxy._executor, "run_many", fail)
        (result,) = call(command(server, op_msg({"ping": "canary-of-a-document"}))).results
    assert isinstance(result, FailureResult)
    assert "canary" not in result.message
    assert "ValueError at test_hostile_events.py:" in caplog.text
    assert "canary" not in caplog.text


def test_base64_of_garbage_is_refused_whole(app: ModuleType, server: str) -> None:
    """One bad item refuses the envelope: nothing of it has run."""
    good = {"kind": "command", "server": server, "message": b64encode(FIND).decode(), "ack": True}
    said = app.handler({"odm": 1, "items": [good, {**good, "message": "%%%"}]}, Context())
    assert "items[1].message is not base64" in said["refusal"]
