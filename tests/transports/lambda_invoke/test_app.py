from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import bson
import pytest

from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    DeferredResult,
    DescribeItem,
    FailureResult,
    Item,
    MembersResult,
    ReplyResult,
    Response,
    Result,
    decode_response,
    encode_request,
)
from transports.lambda_invoke.function import workers
from transports.lambda_invoke.function.settings import ConfigurationError, FunctionSettings

Call = Callable[[Sequence[Item]], Response]


class Context:
    """What the runtime passes beside the event."""

    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"

    def __init__(self, remaining_ms: int = 3000) -> None:
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@pytest.fixture
def app(mongod_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("ODM_PROXY_MONGODB_URI", mongod_uri)
    from transports.lambda_invoke.function import app

    # The module keeps one proxy a process, as it must; a test brings its own.
    proxy = app.Proxy(FunctionSettings(mongodb_uri=mongod_uri, policy="unrestricted"))
    monkeypatch.setattr(app, "_proxy", proxy)
    yield app
    proxy.close()


@pytest.fixture
def call(app: ModuleType) -> Call:
    def invoke(items: Sequence[Item]) -> Response:
        result = app.handler(json.loads(encode_request(items)), Context())
        return decode_response(json.dumps(result).encode(), expected=len(items))

    return invoke


def command(server: str, **fields: Any) -> CommandItem:
    return CommandItem(server, Body(bytes(5) + bson.encode({**fields, "$db": "app"})))


def server_of(call: Call) -> str:
    [result] = call([DescribeItem()]).results
    assert isinstance(result, MembersResult)
    return result.members[0][0]


def test_only_the_first_invocation_is_a_cold_start(call: Call) -> None:
    first, second = call([DescribeItem()]), call([DescribeItem()])
    assert (first.function.cold_start, second.function.cold_start) == (True, False)
    assert first.function.environment == second.function.environment
    assert first.function.timeout_ms == 3000


def test_one_invocation_carries_many_commands_each_answered_by_itself(call: Call) -> None:
    server = server_of(call)
    results = call(
        [command(server, ping=i) for i in range(1, 9)]
        + [command(server, nonsense=1), command("127.0.0.1:1", ping=1)]
    ).results
    replies = [bson.decode(r.reply.data) for r in results if isinstance(r, ReplyResult)]
    assert [reply["ok"] for reply in replies] == [1.0] * 8 + [0.0]
    assert isinstance(results[-1], FailureResult)
    assert (results[-1].code, results[-1].ran) == (6, "no")


def test_an_event_that_is_no_envelope_is_refused_in_words(app: ModuleType) -> None:
    assert "no envelope" in app.handler({"Records": []}, Context())["refusal"]


def test_a_failure_inside_tells_its_type_and_nothing_else(
    app: ModuleType, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> bytes:
        raise RuntimeError("secret contents")

    monkeypatch.setattr(app._proxy._executor, "run_many", fail)
    [result] = call([command("h:1", ping=1)]).results
    assert isinstance(result, FailureResult)
    assert result.message == "the function failed: RuntimeError"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "set the environment variable ODM_PROXY_MONGODB_URI"),
        ({"ODM_PROXY_MONGODB_URI": "mongodb://h", "ODM_PROXY_MAX_POOL_SIZE": "0"}, "above 0"),
        ({"ODM_PROXY_MONGODB_URI": "mongodb://h", "ODM_PROXY_MAX_IDLE_TIME_MS": "1m"}, "'1m'"),
        ({"ODM_PROXY_MONGODB_URI": "mongodb://h", "ODM_PROXY_STAGING": "x"}, "database.collection"),
    ],
)
def test_wrong_configuration_says_what_to_set(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FunctionSettings.from_environment(environment)
    assert words in str(caught.value)


def test_the_uri_is_never_shown() -> None:
    settings = FunctionSettings.from_environment(
        {"ODM_PROXY_MONGODB_URI": "mongodb://user:secret@h/"}
    )
    assert "secret" not in repr(settings)
    assert settings.max_idle_time_ms == 60_000


def in_batch(app: ModuleType, items: Sequence[Item], within_ms: int) -> Sequence[Result]:
    event = json.loads(encode_request(items, within_ms=within_ms))
    payload = json.dumps(app.handler(event, Context(10_000))).encode()
    return decode_response(payload, expected=len(items)).results


def test_what_is_not_begun_within_the_bound_is_deferred(app: ModuleType, call: Call) -> None:
    address = server_of(call)
    # Far apart: on a busy machine the last of those that begin takes its time.
    slow = {"$where": "sleep(2000) || true"}
    items = [command(address, find="one", filter=slow, limit=1, singleBatch=True) for _ in range(6)]
    call([command(address, insert="one", documents=[{}])])
    results = in_batch(app, items, 1_000)
    begun = [isinstance(result, ReplyResult) for result in results]
    assert begun == [True] * 4 + [False] * 2  # as many as there are connections
    assert set(results[4:]) == {DeferredResult()}
    call([command(address, drop="one")])


@pytest.mark.parametrize(("memory_mb", "most"), [(128, 3), (256, 4), (512, 5), (10_240, 8)])
def test_no_more_commands_are_sent_together_than_memory_holds_replies(
    app: ModuleType, mongod_uri: str, monkeypatch: pytest.MonkeyPatch, memory_mb: int, most: int
) -> None:
    settings = FunctionSettings(mongodb_uri=mongod_uri, policy="unrestricted", memory_mb=memory_mb)
    proxy = app.Proxy(settings)
    sent: list[int] = []

    def run_many(server: str, messages: Sequence[bytes], *, timeout_s: float) -> list[bytes]:
        sent.append(len(messages))
        return [bson.encode({"ok": 1.0})] * len(messages)

    monkeypatch.setattr(app, "_proxy", proxy)
    monkeypatch.setattr(workers, "_FAST_S", 60.0)  # as if all were
    monkeypatch.setattr(proxy._executor, "run_many", run_many)
    in_batch(app, [command("h:1", ping=1)] * 100, 60_000)
    assert max(sent) == most
    proxy.close()


def test_a_batch_is_answered_in_its_order_each_by_itself(app: ModuleType, call: Call) -> None:
    address = server_of(call)
    items: list[Item] = [
        command(address, aggregate=1, pipeline=[{"$documents": [{"n": i}]}], cursor={})
        for i in range(60)
    ]
    items[7] = command(address, nonsense=1)
    items[8] = DescribeItem()
    items[9] = command("nowhere:1", ping=1)
    results = in_batch(app, items, 60_000)
    for index, result in enumerate(results):
        if index == 8:
            assert isinstance(result, MembersResult)
        elif index == 9:
            assert isinstance(result, FailureResult)
        else:
            assert isinstance(result, ReplyResult)
            answer = bson.decode(result.reply.data)
            if index == 7:
                assert answer["codeName"] == "CommandNotFound"
            else:
                assert answer["cursor"]["firstBatch"] == [{"n": index}]


def test_a_bound_that_is_no_number_is_refused(app: ModuleType) -> None:
    event = json.loads(encode_request([DescribeItem()])) | {"within_ms": "soon"}
    assert "within_ms" in app.handler(event, Context())["refusal"]
