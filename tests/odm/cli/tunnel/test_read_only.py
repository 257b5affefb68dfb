from __future__ import annotations

from typing import Any

import bson
import pytest

from odm.cli.tunnel.read_only import ReadOnly
from transports.endpoint import Request
from transports.lambda_invoke.function.policy.commands import COMMANDS


@pytest.fixture(scope="module")
def guard() -> ReadOnly:
    return ReadOnly()


def refusal(guard: ReadOnly, command: dict[str, Any], database: str = "cms") -> str | None:
    """The words with which a command is refused, None for one that passes."""
    message = bytes(5) + bson.encode({**command, "$db": database})
    request = Request(server="db:1", message=message, name=next(iter(command)), database=database)
    reply = guard.refuse(request)
    if reply is None:
        return None
    document = bson.decode(reply)
    assert (document["ok"], document["code"], document["codeName"]) == (0.0, 13, "Unauthorized")
    assert "errorLabels" not in document
    words: str = document["errmsg"]
    assert words.startswith("not authorized")
    return words


SESSION = {"lsid": {"id": bson.Binary(bytes(16), 4)}}


@pytest.mark.parametrize(
    ("command", "database"),
    [
        ({"find": "pages", "filter": {"$where": "this.n"}, **SESSION}, "cms"),
        ({"find": "oplog.rs"}, "local"),
        ({"find": "system.buckets.weather"}, "cms"),
        ({"find": "collections"}, "config"),
        (
            {"aggregate": "pages", "pipeline": [{"$match": {}}, {"$lookup": {}}], "cursor": {}},
            "cms",
        ),
        ({"aggregate": "pages", "pipeline": [{"$changeStream": {}}], "cursor": {}}, "cms"),
        ({"aggregate": "pages", "pipeline": [{"$indexStats": {}}], "cursor": {}}, "cms"),
        ({"getMore": bson.Int64(1), "collection": "pages"}, "cms"),
        ({"killCursors": "pages", "cursors": [bson.Int64(1)]}, "cms"),
        ({"listDatabases": 1}, "admin"),
        ({"listCollections": 1, "cursor": {}}, "cms"),
        ({"listIndexes": "pages", "cursor": {}}, "cms"),
        ({"count": "pages"}, "cms"),
        ({"distinct": "pages", "key": "n"}, "cms"),
        ({"collStats": "pages"}, "cms"),
        ({"dbStats": 1}, "cms"),
        ({"dbHash": 1}, "cms"),
        ({"explain": {"find": "pages"}}, "cms"),
        ({"mapReduce": "pages", "map": "", "reduce": "", "out": {"inline": 1}}, "cms"),
        ({"ping": 1}, "admin"),
        ({"buildInfo": 1}, "admin"),
        ({"connectionStatus": 1}, "admin"),
        ({"endSessions": [SESSION["lsid"]]}, "admin"),
        (
            {"commitTransaction": 1, **SESSION, "txnNumber": bson.Int64(1), "autocommit": False},
            "admin",
        ),
    ],
)
def test_reading_passes(guard: ReadOnly, command: dict[str, Any], database: str) -> None:
    assert refusal(guard, command, database) is None


@pytest.mark.parametrize(
    "command",
    [
        {"insert": "pages", "documents": [{}]},
        {"update": "pages", "updates": [{"q": {}, "u": {"$set": {"n": 1}}}]},
        {"delete": "pages", "deletes": [{"q": {}, "limit": 0}]},
        {"findAndModify": "pages", "query": {}, "remove": True},
        {"findandmodify": "pages", "query": {}, "remove": True},
        {"aggregate": "pages", "pipeline": [{"$out": "other"}], "cursor": {}},
        {"aggregate": "pages", "pipeline": [{"$merge": {"into": "other"}}], "cursor": {}},
        {"explain": {"update": "pages", "updates": [{"q": {}, "u": {}}]}},
        {"mapReduce": "pages", "map": "", "reduce": "", "out": "other"},
        {"create": "pages"},
        {"createIndexes": "pages", "indexes": [{"key": {"n": 1}, "name": "n"}]},
        {"dropIndexes": "pages", "index": "n"},
        {"drop": "pages"},
        {"dropDatabase": 1},
        {"collMod": "pages"},
        {"renameCollection": "cms.pages", "to": "cms.other"},
        {"createUser": "ann", "pwd": "x", "roles": []},
        {"setParameter": 1, "logLevel": 1},
        {"shutdown": 1},
        {"killOp": 1, "op": 7},
        {"killAllSessions": []},
        {"replSetStepDown": 60},
        {"compact": "pages"},
        {"validate": "pages"},
        {"configureFailPoint": "failCommand", "mode": "off"},
        {"aggregate": 1, "pipeline": [{"$currentOp": {}}], "cursor": {}},
        {"neverHeardOf": 1},
    ],
)
def test_writing_and_administration_are_refused(guard: ReadOnly, command: dict[str, Any]) -> None:
    words = refusal(guard, command, "admin" if "renameCollection" in command else "cms")
    assert words is not None
    assert "the tunnel (--read-only)" in words
    assert "ODM_PROXY_POLICY" not in words


def test_every_command_that_is_known_to_write_is_refused(guard: ReadOnly) -> None:
    writing = [name for name, command in COMMANDS.items() if command.writes]
    assert len(writing) > 10
    assert [name for name in writing if refusal(guard, {name: "pages"}) is None] == []


def test_a_message_that_could_be_read_in_two_ways_is_refused(guard: ReadOnly) -> None:
    find = bson.encode({"find": "pages", "$db": "cms"})
    twice = find[4:-1] * 2
    document = (len(twice) + 5).to_bytes(4, "little") + twice + b"\0"
    request = Request(server="db:1", message=bytes(5) + document, name="find", database="cms")
    assert guard.refuse(request) is not None
