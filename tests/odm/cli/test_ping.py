from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

OdmHere = Callable[..., Any]

UNREACHABLE = "mongodb://user:secret@127.0.0.1:9/x?serverSelectionTimeoutMS=200"


def test_ping_tells_what_answered(odm_here: OdmHere, mongod_uri: str) -> None:
    ran = odm_here("ping", mongod_uri, "--count", "2")
    assert ran.code == 0
    assert "replica set 'rs0'" in ran.out
    assert "median of 2 pings" in ran.out
    assert ran.err == ""


def test_ping_in_json_tells_the_same(odm_here: OdmHere, mongod_uri: str) -> None:
    ran = odm_here("ping", mongod_uri, "--json", "-c", "1")
    document = json.loads(ran.out)
    assert document["ok"] is True
    assert document["transport"] == "direct"
    assert document["server"]["topology"] == "replica set"
    assert document["latency_ms"]["count"] == 1
    assert document["function"] is None


def test_ping_takes_the_url_from_the_environment(
    odm_here: OdmHere, mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODM_URL", mongod_uri)
    assert odm_here("ping", "-c", "1").code == 0


def test_who_does_not_answer_is_exit_code_3_and_no_secret_is_told(odm_here: OdmHere) -> None:
    ran = odm_here("ping", UNREACHABLE)
    assert ran.code == 3
    assert ran.err.startswith("odm: ")
    assert "secret" not in ran.err
    assert "Traceback" not in ran.err


def test_who_does_not_answer_is_told_in_json_too(odm_here: OdmHere) -> None:
    ran = odm_here("ping", UNREACHABLE, "--json")
    assert ran.code == 3
    document = json.loads(ran.out)
    assert document["ok"] is False
    assert document["error"]["type"] == "ServerUnreachable"
    assert "secret" not in ran.out + ran.err
