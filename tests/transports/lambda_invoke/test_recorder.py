"""What the function tells of its invocations, with a real server behind it."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    DescribeItem,
    Item,
    Response,
    decode_response,
    encode_request,
)
from transports.lambda_invoke.function.settings import FunctionSettings

REQUEST_ID = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
XRAY = "1-5759e988-bd862e3fe1be46a994272793"


class Context:
    aws_request_id = REQUEST_ID

    def get_remaining_time_in_millis(self) -> int:
        return 3000


class Function:
    """The handler's proxy, and what it wrote to stdout."""

    def __init__(self, uri: str, capsys: pytest.CaptureFixture[str], **settings: Any) -> None:
        from transports.lambda_invoke.function.app import Proxy

        settings = {"policy": "unrestricted", **settings}
        self.proxy = Proxy(FunctionSettings(mongodb_uri=uri, **settings))
        self._capsys = capsys
        self.server = ""
        [result] = self.call(DescribeItem()).results
        self.server = result.members[0][0]  # type: ignore[union-attr]  # DescribeItem's
        self.first: dict[str, Any] = next(iter(self.lines()), {})

    def handle(self, event: Any) -> Any:
        return json.loads(json.dumps(self.proxy.handle(event, Context())))

    def call(self, *items: Item, within_ms: int | None = None) -> Response:
        result = self.handle(json.loads(encode_request(items, within_ms=within_ms)))
        return decode_response(json.dumps(result).encode(), expected=len(items))

    def command(self, document: dict[str, Any], **fields: Any) -> CommandItem:
        message = bytes(5) + bson.encode({**document, "$db": "recorded"})
        return CommandItem(self.server, Body(message), **fields)

    def run(self, document: dict[str, Any], **fields: Any) -> Any:
        self.call(self.command(document, **fields))
        [line] = self.lines()
        return line

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.text().splitlines()]

    def text(self) -> str:
        return self._capsys.readouterr().out


Open = Callable[..., Function]


@pytest.fixture
def function(
    mongod_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Open]:
    monkeypatch.setenv("ODM_PROXY_MONGODB_URI", mongod_uri)
    monkeypatch.setenv("ODM_PROXY_CONNECT_AT_INIT", "false")  # of the module's own proxy
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    opened = []

    def open_function(**settings: Any) -> Function:
        opened.append(Function(settings.pop("uri", mongod_uri), capsys, **settings))
        return opened[-1]

    yield open_function
    for each in opened:
        each.proxy.close()


def test_an_invocation_is_one_line(function: Open) -> None:
    function_ = function()
    line = function_.run(
        {"find": "pages", "filter": {"_id": 1}}, caller="cms-api", trace=TRACEPARENT
    )
    assert (line["requestId"], line["caller"], line["trace"]) == (REQUEST_ID, "cms-api", TRACE)
    assert (line["Commands"], line["Errors"], line["ColdStarts"]) == (1, 0, 0)
    [said] = line["by_command"]
    assert (said["name"], said["namespace"]) == ("find", "recorded.pages")
    assert said["server"] == function_.server
    assert 0 < said["duration_ms"] <= line["Duration"]
    assert said["bytes_in"] == line["BytesIn"] > 0
    assert said["bytes_out"] == line["BytesOut"] > 0


def test_the_first_line_tells_the_initialisation(function: Open) -> None:
    opened = function()
    assert opened.first["ColdStarts"] == 1
    assert opened.first["InitDuration"] > 0
    assert "InitDuration" not in opened.run({"find": "pages"})


SECRETS = ("hunter2", "s3cr3t-comment", "s3cr3t-value", "s3cr3t-user")


def test_contents_are_never_written(function: Open, caplog: pytest.LogCaptureFixture) -> None:
    opened = function(metrics_namespace="ODM/Proxy")
    secret = {"password": SECRETS[0], SECRETS[2]: SECRETS[2]}
    commands: list[dict[str, Any]] = [
        {"insert": "pages", "documents": [{"_id": SECRETS[0], **secret}]},
        {"insert": "pages", "documents": [{"_id": SECRETS[0], **secret}]},  # E11000 quotes it
        {"find": "pages", "filter": secret, "comment": SECRETS[1]},
        {"find": "pages", "filter": {"$where": f"'{SECRETS[2]}' +"}},  # its error quotes it
        {"aggregate": "pages", "pipeline": [{"$match": secret}], "cursor": {}},
        {"update": "pages", "updates": [{"q": secret, "u": {"$set": secret}}]},
        {"explain": {"find": "pages", "filter": secret}},
        {"createUser": SECRETS[3], "pwd": SECRETS[0], "roles": ["nonsense"]},
        {SECRETS[2]: 1},
        {"find": "pages", "let": {"$" + SECRETS[2]: 1}},
    ]
    items = [opened.command(command) for command in commands]
    malformed = bytearray(items[2].message.data)
    malformed[9] = 0x77
    for item in (*items, CommandItem(opened.server, Body(bytes(malformed)))):
        opened.call(item)
    packed = Body(zlib.compress(items[0].message.data), "zlib")
    opened.call(CommandItem(opened.server, packed))
    opened.call(CommandItem("127.0.0.1:1", items[0].message))
    opened.call(*items)
    opened.handle({"odm": 1, "items": [{"kind": SECRETS[2]}]})
    opened.handle({SECRETS[0]: SECRETS[2]})
    written = opened.text()
    assert len(written.splitlines()) == len(items) + 6
    for secret_text in SECRETS:
        assert secret_text not in written + caplog.text


def test_each_outcome_is_told(function: Open) -> None:
    opened = function(policy='{"databases": ["recorded"], "readOnly": true}')
    [refused] = opened.run({"insert": "pages", "documents": [{}]})["by_command"]
    assert (refused["refused"], refused["ran"]) == (True, "no")
    opened = function()
    line = opened.run({"nonsense": 1})
    [unknown] = line["by_command"]
    assert (unknown["name"], unknown["code"]) == ("nonsense", 59)
    assert (unknown["code_name"], line["level"]) == ("CommandNotFound", "WARN")
    opened.run({"drop": "pages"})
    opened.run({"insert": "pages", "documents": [{"_id": 1}]})
    [duplicate] = opened.run({"insert": "pages", "documents": [{"_id": 1}]})["by_command"]
    assert duplicate["code"] == 11000
    opened.server = "127.0.0.1:1"
    line = opened.run({"find": "pages"})
    [failed] = line["by_command"]
    assert (failed["failure"], failed["ran"]) == ("ServerSelectionTimeoutError", "no")
    assert (line["Errors"], line["level"]) == (1, "ERROR")


def test_a_batch_is_one_line(function: Open) -> None:
    opened = function()
    items = [opened.command({"find": "pages", "filter": {"_id": i}}) for i in range(100)]
    opened.call(*items, opened.command({"nonsense": 1}), DescribeItem())
    [line] = opened.lines()
    assert (line["Commands"], line["Errors"]) == (101, 1)
    assert [(each["name"], each["count"]) for each in line["by_command"]] == [
        ("nonsense", 1),
        ("find", 100),
    ]


def test_what_a_batch_did_not_come_to_is_counted(function: Open) -> None:
    opened = function(max_pool_size=1)
    slow = {"find": "pages", "filter": {"$where": "sleep(30) || true"}}
    opened.call(opened.command({"insert": "pages", "documents": [{}]}))
    opened.lines()
    opened.call(*[opened.command(slow) for _ in range(3)], within_ms=1)
    [line] = opened.lines()
    assert line["Deferred"] > 0
    assert line["Commands"] + line["Deferred"] == 3
    assert line["Errors"] == 0


def test_an_event_that_is_no_envelope_is_told(function: Open) -> None:
    opened = function()
    opened.handle({"Records": []})
    [line] = opened.lines()
    assert (line["refusal"], line["Errors"], line["Commands"]) == (True, 1, 0)


def test_a_trace_of_aws_stands_in_for_the_callers(
    function: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = function()
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={XRAY};Parent=53995c3f42cd8ad8;Sampled=1")
    line = opened.run({"find": "pages"})
    assert (line["xray"], line["trace"]) == (XRAY, "5759e988bd862e3fe1be46a994272793")
    line = opened.run({"find": "pages"}, trace=TRACEPARENT)
    assert (line["xray"], line["trace"]) == (XRAY, TRACE)
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "nonsense")
    assert "xray" not in opened.run({"find": "pages"})


def test_nothing_is_written_where_nothing_is_wanted(function: Open) -> None:
    opened = function(log_invocations=False)
    opened.call(opened.command({"find": "pages"}))
    assert opened.text() == ""


def test_metrics_come_without_the_log(function: Open) -> None:
    opened = function(log_invocations=False, metrics_namespace="ODM/Proxy")
    opened.call(opened.command({"find": "pages"}))
    [line] = opened.lines()
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "ODM/Proxy"
    assert "by_command" not in line


def test_a_line_that_cannot_be_written_costs_no_reply(
    function: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = function()

    class Broken:
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken())
        response = opened.call(opened.command({"find": "pages"}))
    assert len(response.results) == 1
    assert "BrokenPipeError" in caplog.text


@pytest.fixture
def profiled(mongod_uri: str) -> Iterator[Callable[[], list[Any]]]:
    """What the server's profiler has seen of the database ``recorded``, in order."""
    with MongoClient[dict[str, Any]](mongod_uri) as client:
        client.recorded.command({"profile": 0})
        client.recorded.drop_collection("system.profile")
        client.recorded.command({"profile": 2})
        seen = client.recorded["system.profile"]
        yield lambda: list(seen.find({"ns": "recorded.pages"}).sort("ts"))
        client.recorded.command({"profile": 0})
        client.drop_database("recorded")


COMMENT = {"odm": {"invoke": REQUEST_ID, "caller": "cms-api", "trace": TRACE}}


def test_the_server_knows_invoke_caller_and_trace(
    function: Open, profiled: Callable[[], list[Any]]
) -> None:
    opened = function()
    for document in (
        {"insert": "pages", "documents": [{"_id": i} for i in range(3)]},
        {"find": "pages", "batchSize": 2},
        {"find": "pages", "comment": "mine"},
    ):
        opened.run(document, caller="cms-api", trace=TRACEPARENT)
    insert, find, own = profiled()
    assert insert["command"]["comment"] == find["command"]["comment"] == COMMENT
    assert own["command"]["comment"] == "mine"


def test_a_slow_query_in_the_servers_log_names_invoke_and_caller(
    function: Open, mongod_uri: str
) -> None:
    opened = function()
    slow = {"$where": "sleep(120) || true"}
    opened.run({"insert": "pages", "documents": [{"_id": 1}]})
    several: list[dict[str, Any]] = [
        {"find": "pages", "filter": slow},
        {"update": "pages", "updates": [{"q": slow, "u": {"$set": {"n": 1}}}]},
    ]
    for document in several:
        opened.run(document, caller="cms-api", trace=TRACEPARENT)
    with MongoClient[dict[str, Any]](mongod_uri) as client:
        written = map(json.loads, client.admin.command({"getLog": "global"})["log"])
        slow_queries = [line["attr"] for line in written if line["msg"] == "Slow query"]
        client.drop_database("recorded")
    commands = [
        each["command"]
        for each in slow_queries
        if each["type"] == "command" and each["ns"] in ("recorded.pages", "recorded.$cmd")
    ]
    assert [next(iter(each)) for each in commands if each["comment"] == COMMENT] == [
        "find",
        "update",
    ]


def test_a_cursors_later_batches_have_the_comment_of_its_command(
    function: Open, profiled: Callable[[], list[Any]]
) -> None:
    opened = function()
    opened.run({"insert": "pages", "documents": [{"_id": i} for i in range(3)]})
    find = opened.command({"find": "pages", "batchSize": 2}, caller="cms-api", trace=TRACEPARENT)
    [result] = opened.call(find).results
    opened.lines()
    cursor = bson.decode(result.reply.data)["cursor"]["id"]  # type: ignore[union-attr]  # it ran
    opened.run({"getMore": bson.Int64(cursor), "collection": "pages"}, caller="another")
    [get_more] = [seen for seen in profiled() if seen["op"] == "getmore"]
    assert get_more["originatingCommand"]["comment"] == COMMENT
    assert get_more["command"]["comment"] == COMMENT


def test_no_comment_where_none_is_wanted_or_the_policy_refuses(
    function: Open, profiled: Callable[[], list[Any]]
) -> None:
    function(comment=False).run({"find": "pages"})
    function(policy='{"databases": ["other"]}').run({"find": "pages"})
    [seen] = profiled()
    assert "comment" not in seen["command"]


def test_what_the_policy_lowers_gets_its_comment_too(
    function: Open, profiled: Callable[[], list[Any]]
) -> None:
    opened = function(policy='{"databases": ["recorded"], "maxTimeMS": 500}')
    opened.run({"find": "pages"}, caller="cms-api", trace=TRACEPARENT)
    [seen] = profiled()
    assert (seen["command"]["comment"], seen["command"]["maxTimeMS"]) == (COMMENT, 500)
