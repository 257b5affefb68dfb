"""The connection that a function makes while it initialises: there, or missed by nobody."""

from __future__ import annotations

import json
import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo import MongoClient

from transports.lambda_invoke.envelope import DescribeItem, encode_request
from transports.lambda_invoke.function import lifecycle
from transports.lambda_invoke.function.executor import Executor, NotCompleted
from transports.lambda_invoke.function.settings import ConfigurationError, FunctionSettings


def test_it_is_waited_for() -> None:
    done = []
    lifecycle.connect_ahead(lambda: done.append(threading.current_thread()))
    assert done
    assert done != [threading.current_thread()]


def test_what_fails_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def connect() -> None:
        raise OSError("mongodb://user:secret@h/ is not there")

    with caplog.at_level(logging.WARNING, "odm.proxy"):
        lifecycle.connect_ahead(connect)
    [record] = caplog.records
    assert record.getMessage().startswith("not connected at init: ")
    assert "is not there" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_what_takes_long_goes_on_without_being_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_CONNECT_S", 0.01)
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def connect() -> None:
        begun.set()
        may_end.wait(10)
        ended.set()

    lifecycle.connect_ahead(connect)
    assert begun.wait(10)
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(10)


def test_a_snapshot_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "AWS_LAMBDA_INITIALIZATION_TYPE"
    for kind, expected in {"snap-start": True, "on-demand": False}.items():
        monkeypatch.setenv(name, kind)
        assert lifecycle.is_for_a_snapshot() is expected
    monkeypatch.delenv(name)
    assert not lifecycle.is_for_a_snapshot()


def test_one_connection_is_made_and_the_first_command_finds_it(mongod_uri: str) -> None:
    name = "connect-ahead"
    separator = "&" if "?" in mongod_uri else "?"
    executor = Executor(
        FunctionSettings(mongodb_uri=f"{mongod_uri}{separator}appName={name}"), "1.0"
    )
    try:
        executor.connect()
        before = connections(mongod_uri, name)
        server, _ = executor.describe(timeout_s=5)[0]
        assert connections(mongod_uri, name) == before
        assert server
    finally:
        executor.close()


def connections(uri: str, app_name: str) -> set[str]:
    """The other ends of a client's connections, its monitor's among them."""
    with MongoClient[dict[str, Any]](uri) as client:
        pipeline: list[dict[str, Any]] = [
            {"$currentOp": {"allUsers": True, "idleConnections": True}},
            {"$match": {"appName": app_name}},
        ]
        found = {entry["client"] for entry in client.admin.aggregate(pipeline)}
    assert found
    return found


def test_a_server_that_is_not_there_is_named() -> None:
    settings = FunctionSettings(
        mongodb_uri="mongodb://127.0.0.1:9", server_selection_timeout_ms=100
    )
    executor = Executor(settings, "1.0")
    try:
        with pytest.raises(NotCompleted, match=r"127\.0\.0\.1:9"):
            executor.connect()
    finally:
        executor.close()


@pytest.mark.parametrize(("text", "expected"), [("", True), ("TRUE", True), ("false", False)])
def test_it_can_be_left_to_the_first_command(text: str, expected: bool) -> None:
    settings = FunctionSettings.from_environment(
        {"ODM_PROXY_MONGODB_URI": "mongodb://h", "ODM_PROXY_CONNECT_AT_INIT": text}
    )
    assert settings.connect_at_init is expected


def test_another_word_is_refused() -> None:
    environment = {"ODM_PROXY_MONGODB_URI": "mongodb://h", "ODM_PROXY_CONNECT_AT_INIT": "no"}
    with pytest.raises(ConfigurationError, match="true or false, not 'no'"):
        FunctionSettings.from_environment(environment)


@pytest.mark.parametrize(("waited_s", "renewed"), [(1.0, 0), (3600.0, 1)])
def test_an_environment_provisioned_long_ago_does_not_trust_its_connection(
    mongod_uri: str, monkeypatch: pytest.MonkeyPatch, waited_s: float, renewed: int
) -> None:
    monkeypatch.setenv("ODM_PROXY_MONGODB_URI", mongod_uri)
    from transports.lambda_invoke.function import app

    now = 0.0
    proxy = app.Proxy(FunctionSettings(mongodb_uri=mongod_uri))
    try:
        monkeypatch.setattr(
            proxy, "_pauses", lifecycle.Pauses(60.0, wall=lambda: now, monotonic=lambda: now)
        )
        renewals: list[None] = []
        monkeypatch.setattr(proxy._executor, "renew_connections", lambda: renewals.append(None))
        proxy.connect()
        now = waited_s
        context = SimpleNamespace(
            aws_request_id="x",
            invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:p",
            get_remaining_time_in_millis=lambda: 3000,
        )
        proxy.handle(json.loads(encode_request([DescribeItem()])), context)
        assert len(renewals) == renewed
    finally:
        proxy.close()
