from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any
from uuid import uuid4

import bson
import pytest
from bson.binary import Binary, UuidRepresentation
from pymongo import MongoClient

from transports.lambda_invoke.function.executor import (
    Executor,
    NotCompleted,
    format_address,
    frames,
    parse_address,
)
from transports.lambda_invoke.function.settings import ConfigurationError, FunctionSettings
from transports.mongod import ReplicaSet

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def executor(mongod_uri: str) -> Iterator[Executor]:
    made = Executor(FunctionSettings(mongodb_uri=mongod_uri), "0.0.0")
    yield made
    made.close()


@pytest.fixture
def address(executor: Executor) -> str:
    [(address, _)] = executor.describe(timeout_s=5)
    return address


@pytest.fixture
def run(executor: Executor, address: str) -> Run:
    def send(command: dict[str, Any], database: str = "executor", **options: Any) -> dict[str, Any]:
        reply = executor.run(address, message(command, database), timeout_s=5, **options)
        return bson.decode(reply) if reply else {}

    return send


def message(command: dict[str, Any], database: str = "executor") -> bytes:
    return bytes(5) + bson.encode({**command, "$db": database})


def test_describe_gives_the_servers_own_hello(executor: Executor) -> None:
    [(address, hello)] = executor.describe(timeout_s=5)
    reply = bson.decode(hello)
    assert reply["isWritablePrimary"] is True
    assert reply["me"] == address
    assert reply["maxMessageSizeBytes"] == 48_000_000


def test_a_reply_comes_back_as_the_server_gave_it(run: Run) -> None:
    reply = run({"ping": 1}, "admin")
    assert reply["ok"] == 1.0
    assert "$clusterTime" in reply


def test_an_error_of_the_server_is_a_reply(run: Run) -> None:
    reply = run({"nonsense": 1})
    assert (reply["ok"], reply["code"], reply["codeName"]) == (0.0, 59, "CommandNotFound")


def test_a_document_sequence_is_sent_as_it_is(run: Run, executor: Executor, address: str) -> None:
    name = uuid4().hex
    sequence = b"documents\x00" + bson.encode({"_id": 1}) + bson.encode({"_id": 2})
    body = message({"insert": name}) + b"\x01" + (len(sequence) + 4).to_bytes(4, "little")
    reply = bson.decode(executor.run(address, body + sequence, timeout_s=5))
    assert reply["n"] == 2


def test_the_session_and_number_of_the_caller_are_kept(run: Run) -> None:
    lsid = {"id": Binary.from_uuid(uuid4(), UuidRepresentation.STANDARD)}
    write = {
        "update": uuid4().hex,
        "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}, "upsert": True}],
        "lsid": lsid,
        "txnNumber": bson.Int64(1),
    }
    first, second = run(write), run(write)
    assert first["n"] == second["n"] == 1
    assert second["retriedStmtIds"] == [0]


def test_an_unacknowledged_write_has_happened_when_it_returns(run: Run) -> None:
    name = uuid4().hex
    for number in range(100):
        write = {"insert": name, "documents": [{"_id": number}], "writeConcern": {"w": 0}}
        assert run(write, acknowledged=False) == {}
        assert run({"count": name})["n"] == number + 1


def test_an_unacknowledged_write_that_fails_says_nothing(run: Run) -> None:
    write = {"insert": "", "documents": [{}], "writeConcern": {"w": 0}}
    assert run(write, acknowledged=False) == {}


def test_a_server_that_is_not_there_is_named_and_nothing_ran(executor: Executor) -> None:
    with pytest.raises(NotCompleted) as caught:
        executor.run("127.0.0.1:1", message({"ping": 1}), timeout_s=0.2)
    assert caught.value.ran == "no"
    assert "127.0.0.1:1" in str(caught.value)


def test_a_deadline_gives_the_connection_up_with_the_outcome_unknown(
    run: Run, executor: Executor, address: str
) -> None:
    name = uuid4().hex
    run({"insert": name, "documents": [{"_id": 1}]})
    slow = {"find": name, "filter": {"$where": "sleep(5000) || true"}}
    with pytest.raises(NotCompleted) as caught:
        executor.run(address, message(slow), timeout_s=0.2)
    assert caught.value.ran == "unknown"
    assert run({"ping": 1})["ok"] == 1.0


def test_cancel_ends_what_a_session_is_running(
    run: Run, executor: Executor, address: str, mongod_uri: str
) -> None:
    name = uuid4().hex
    lsid = {"id": Binary.from_uuid(uuid4(), UuidRepresentation.STANDARD)}
    run({"insert": name, "documents": [{"_id": 1}]})
    slow = {"find": name, "filter": {"$where": "sleep(60000) || true"}, "lsid": lsid}
    replies: list[dict[str, Any]] = []
    thread = Thread(
        target=lambda: replies.append(
            bson.decode(executor.run(address, message(slow), timeout_s=30))
        )
    )
    thread.start()
    encoded = bson.encode(lsid)
    with MongoClient[dict[str, Any]](mongod_uri) as client:
        running: list[dict[str, Any]] = [
            {"$currentOp": {}},
            {"$match": {"lsid.id": lsid["id"]}},
        ]
        while not list(client.admin.aggregate(running)):
            assert thread.is_alive()
    assert executor.cancel(address, encoded, 0, timeout_s=5) == 0, "younger than the moment given"
    now_ms = int(time.time() * 1000)
    assert executor.cancel(address, encoded, now_ms + 1000, timeout_s=5) == 1
    thread.join(10)
    assert replies[0]["codeName"] == "Interrupted"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("db.example:27018", ("db.example", 27018)),
        ("[::1]:27017", ("::1", 27017)),
        ("/tmp/mongodb-27017.sock", ("/tmp/mongodb-27017.sock", None)),
    ],
)
def test_an_address_survives_the_journey(text: str, address: tuple[str, int | None]) -> None:
    assert parse_address(text) == address
    assert format_address(address) == text


@pytest.mark.parametrize("size", [10, 100_000])
def test_the_frame_clears_every_flag(size: int) -> None:
    body = b"\x03\x00\x01\x00" + message({"ping": "x" * size})[4:]
    framed = b"".join(frames([body], [7]))
    assert int.from_bytes(framed[:4], "little") == len(framed)
    assert framed[4:8] == b"\x07\x00\x00\x00"
    assert framed[16:20] == bytes(4)
    assert framed[20:] == body[4:]


def test_an_option_of_the_uri_wins(mongod_uri: str) -> None:
    separator = "&" if "?" in mongod_uri else "/?"
    settings = FunctionSettings(mongodb_uri=f"{mongod_uri}{separator}maxPoolSize=9")
    executor = Executor(settings, "0.0.0")
    try:
        options = executor._client.options.pool_options
        assert options.max_pool_size == 9
        assert options.max_idle_time_seconds == 60
    finally:
        executor.close()


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://user:half/secret@h/cms",
        "mongodb://user:half/secret@h:27017/?tls=true",
        "mongodb://us@er:secret@h/cms",
        "mongodb://user:secret%zz@h/cms",
        "mongodb://user:secret@h:port/cms",
        "mongodb+srv://user:secret@h.example.net:1/cms",
    ],
)
def test_a_wrong_uri_is_not_quoted(uri: str) -> None:
    """An error of the initialisation is every caller's to read, with what led to it."""
    with pytest.raises(ConfigurationError, match="escape") as caught:
        Executor(FunctionSettings(mongodb_uri=uri), "0.0.0")
    assert "secret" not in "".join(traceback.format_exception(caught.value))


# --- servers that do not answer ---


@pytest.fixture
def members(three_members: ReplicaSet) -> Iterator[ReplicaSet]:
    yield three_members
    for member in three_members.members:
        if member.pid is None:
            three_members.restart(member)
        member.resume()
    three_members.wait_until_complete()


@pytest.fixture
def executor_of_three(three_members: ReplicaSet) -> Iterator[Executor]:
    settings = FunctionSettings(mongodb_uri=three_members.uri, server_selection_timeout_ms=20_000)
    made = Executor(settings, "0.0.0")
    yield made
    made.close()


def test_a_killed_server_is_not_waited_for(
    executor_of_three: Executor, members: ReplicaSet
) -> None:
    """The caller's driver looks for another; here it would hold a place of the function's."""
    primary = members.wait_for_primary()
    find = message({"find": "things"})
    assert bson.decode(executor_of_three.run(primary.address, find, timeout_s=20))["ok"] == 1
    primary.kill()
    with ThreadPoolExecutor() as threads:
        for _ in range(3):
            running = threads.submit(executor_of_three.run, primary.address, find, timeout_s=20)
            with pytest.raises(NotCompleted):
                running.result(timeout=15)
    described = {a: bson.decode(h) for a, h in executor_of_three.describe(timeout_s=20)}
    assert described[primary.address]["ok"] == 0


def test_a_silent_server_holds_up_neither_a_description_nor_a_new_connection(
    executor_of_three: Executor, members: ReplicaSet
) -> None:
    executor_of_three.describe(timeout_s=5)
    primary = members.wait_for_primary()
    secondary = next(m for m in members.members if m is not primary)
    secondary.pause()
    described = {a: bson.decode(h) for a, h in executor_of_three.describe(timeout_s=5)}
    assert described[primary.address]["isWritablePrimary"] is True
    assert described[secondary.address]["code"] == 6
    executor_of_three.renew_connections()
    with pytest.raises(NotCompleted) as caught:
        executor_of_three.run(secondary.address, message({"find": "things"}), timeout_s=1)
    assert caught.value.ran == "no"
