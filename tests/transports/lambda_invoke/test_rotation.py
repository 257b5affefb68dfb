"""A password that is replaced while environments live."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from transports.lambda_invoke.envelope import (
    DescribeItem,
    FailureResult,
    Result,
    decode_response,
    encode_request,
)
from transports.lambda_invoke.function.executor import NotCompleted
from transports.lambda_invoke.function.rotation import REFUSED_CODES, Rotation
from transports.lambda_invoke.function.settings import FunctionSettings

CANARY = "canary0secret"
SECRET = {"ODM_PROXY_MONGODB_URI_SECRET": "db"}
REFUSED = OperationFailure("Authentication failed.", 18, {"codeName": "AuthenticationFailed"})


class Keeper:
    """A secret, and how often it was read."""

    def __init__(self) -> None:
        self.uri = f"mongodb://user:{CANARY}1@host/cms"
        self.reads = 0

    def read(self, reference: str) -> str:
        self.reads += 1
        return self.uri


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    from transports.lambda_invoke.function import references

    made = Keeper()
    monkeypatch.setattr(references, "read_secret", made.read)
    return made


def rotation(environment: dict[str, str], now: list[float]) -> Rotation:
    return Rotation(FunctionSettings.from_environment(environment), environment, lambda: now[0])


def test_a_uri_that_changed_is_read_again(keeper: Keeper) -> None:
    rotated = rotation(SECRET, [100.0])
    keeper.uri = f"mongodb://user:{CANARY}2@host/cms"
    assert rotated.read_again()
    assert rotated.settings.mongodb_uri == keeper.uri


def test_one_that_did_not_change_is_not_read_over_and_over(keeper: Keeper) -> None:
    now = [100.0]
    rotated = rotation(SECRET, now)
    assert [rotated.read_again() for _ in range(3)] == [False] * 3
    assert keeper.reads == 2  # the first at initialisation
    keeper.uri += "2"
    now[0] += 30
    assert rotated.read_again()


def test_a_uri_that_stands_in_the_configuration_does_not_change() -> None:
    assert not rotation({"ODM_PROXY_MONGODB_URI": "mongodb://h/cms"}, [100.0]).read_again()


def test_where_it_cannot_be_read_the_last_one_holds(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rotated = rotation(SECRET, [100.0])
    monkeypatch.undo()
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    with caplog.at_level(logging.WARNING, "odm.proxy"):
        assert not rotated.read_again()
    assert rotated.settings.mongodb_uri == keeper.uri
    assert "was not read again" in caplog.text
    assert CANARY not in caplog.text


@pytest.fixture
def app(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("ODM_PROXY_MONGODB_URI", "mongodb://127.0.0.1:1/cms")
    monkeypatch.setenv("ODM_PROXY_CONNECT_AT_INIT", "false")
    from transports.lambda_invoke.function import app

    made = rotation(SECRET, [100.0])
    monkeypatch.setattr(app, "_rotation", made)
    monkeypatch.setattr(app, "_proxy", app.Proxy(made.settings))
    yield app
    app._proxy.close()


def describe(app: ModuleType) -> Result:
    class Context:
        aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"

        def get_remaining_time_in_millis(self) -> int:
            return 3000

    answer = app.handler(json.loads(encode_request([DescribeItem()])), Context())
    [result] = decode_response(json.dumps(answer).encode(), expected=1).results
    return result


def refuse(*_: Any, **__: Any) -> Any:
    raise NotCompleted("host:27017", REFUSED, ran="no")


def test_refused_credentials_are_read_again_before_the_next_invocation(
    app: ModuleType, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = app._proxy
    monkeypatch.setattr(first._executor, "describe", refuse)
    result = describe(app)
    assert isinstance(result, FailureResult)
    assert (result.code, result.ran) == (18, "no")
    assert result.code in REFUSED_CODES

    describe(app)
    assert app._proxy is first  # the secret is what it was

    monkeypatch.setattr(app, "_rotation", rotation(SECRET, [200.0]))
    keeper.uri = "mongodb://127.0.0.1:1/cms?serverSelectionTimeoutMS=1"
    result = describe(app)
    assert app._proxy is not first
    assert isinstance(result, FailureResult)
    assert result.code not in REFUSED_CODES


def test_a_restored_snapshot_has_the_uri_of_today(app: ModuleType, keeper: Keeper) -> None:
    keeper.uri = "mongodb://127.0.0.1:1/other"
    app._proxy.close()
    app._reopen()
    assert app._rotation.settings.mongodb_uri == keeper.uri
