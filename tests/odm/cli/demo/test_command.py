"""The demo as its users run it: a process of its own, with everything real."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pymongo
import pytest

from odm.cli.demo import command
from odm.cli.demo.turns import OPERATIONS

SMALL = ("--repeat", "1", "--pages", "30")


def test_every_transport_agrees_and_nothing_is_left_behind(watched: Any, mongod: None) -> None:
    watched.start("demo", "--json", *SMALL)
    ran = watched.finish()
    assert ran.code == 0, ran.out + ran.err
    report = json.loads(ran.out)
    assert report["ok"] is True
    assert report["skipped"] == []
    by_name = {each["transport"]: each for each in report["transports"]}
    assert list(by_name) == ["direct", "motor", "lambda", "fake"]
    assert {each["operations"] for each in by_name.values()} == {len(OPERATIONS)}
    assert by_name["lambda"]["invocations"] > len(OPERATIONS)
    assert 1 <= by_name["lambda"]["cold_starts"] <= 3
    assert by_name["direct"]["connections"]["peak"] > by_name["lambda"]["connections"]["peak"]
    assert by_name["fake"]["connections"] is None
    for line in ran.err.splitlines():  # progress and nothing else: no log record, no warning
        assert line.startswith(("starting a ", *(f"{name}, " for name in by_name))), line
    assert watched.left_behind() == []


def test_the_table_is_shown_and_quiet_is_quiet(watched: Any) -> None:
    watched.start("demo", "--transport", "fake", "--quiet", *SMALL)
    ran = watched.finish()
    assert ran.code == 0, ran.out + ran.err
    assert ran.err == ""
    head, row, *_ = ran.out.splitlines()
    assert head.split()[:2] == ["transport", "operations"]
    assert row.split()[:2] == ["fake", str(len(OPERATIONS))]
    assert ran.out.endswith("nothing to compare with.\n")


@pytest.mark.parametrize(
    ("number", "code", "moment"),
    [
        (signal.SIGINT, 130, "starting a private mongod …"),
        (signal.SIGTERM, 143, "direct, "),
        (signal.SIGINT, 130, "lambda, "),
    ],
)
def test_stopped_in_the_middle_nothing_is_left_behind(
    watched: Any, mongod: None, number: signal.Signals, code: int, moment: str
) -> None:
    watched.start("demo", *SMALL)
    watched.wait_for(moment)
    watched.signal(number)
    ran = watched.finish()
    assert ran.code == code
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert watched.left_behind() == []


def test_a_given_deployment_is_used_and_left_as_it_was(watched: Any, mongod_uri: str) -> None:
    watched.start("demo", "--url", mongod_uri, "-t", "direct", "-t", "motor", "--json", *SMALL)
    ran = watched.finish()
    assert ran.code == 0, ran.out + ran.err
    assert len(json.loads(ran.out)["transports"]) == 2
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(mongod_uri) as client:
        assert [name for name in client.list_database_names() if "odm_demo" in name] == []


def test_a_given_deployment_that_is_not_there_is_exit_code_3(watched: Any) -> None:
    url = "mongodb://user:secret@127.0.0.1:9/?serverSelectionTimeoutMS=200"
    watched.start("demo", "--url", url, "--transport", "direct", *SMALL)
    ran = watched.finish()
    assert ran.code == 3
    assert "odm: " in ran.err
    assert "secret" not in ran.out + ran.err
    assert "Traceback" not in ran.err
    assert watched.left_behind() == []


def test_without_the_checkout_it_says_where_the_demo_is(
    odm_here: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    ran = odm_here("demo")
    assert ran.code == 3
    assert "run scripts/demo there" in ran.err
    assert ran.out == ""


def test_what_cannot_run_here_is_skipped_and_said(watched: Any) -> None:
    watched.start("demo", *SMALL, environment={"MONGOD": "/nowhere/mongod"})
    ran = watched.finish()
    assert ran.code == 0, ran.out + ran.err
    for name in ("direct", "motor", "lambda"):
        assert f"{name}: skipped: " in ran.out


def test_a_transport_that_was_asked_for_and_cannot_run_is_exit_code_3(watched: Any) -> None:
    watched.start("demo", "-t", "direct", *SMALL, environment={"MONGOD": "/nowhere/mongod"})
    ran = watched.finish()
    assert ran.code == 3
    assert "/nowhere/mongod" in ran.err
