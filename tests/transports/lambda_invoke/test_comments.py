from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.lambda_invoke.edits import with_fields
from transports.lambda_invoke.function import comments
from transports.lambda_invoke.function.comments import (
    MAX_MESSAGE_BYTES,
    comment,
    takes_comment,
)
from transports.lambda_invoke.function.executor import Executor
from transports.lambda_invoke.function.naming import read_named
from transports.lambda_invoke.function.policy.message import read
from transports.lambda_invoke.function.settings import FunctionSettings

ELEMENT = comment("request-1", "cms-api", "a" * 32)
ADDED = {"odm": {"invoke": "request-1", "caller": "cms-api", "trace": "a" * 32}}


def op_msg(document: dict[str, Any]) -> bytes:
    return bytes(5) + bson.encode({**document, "$db": "cms"})


def sequence(name: str, *documents: dict[str, Any]) -> bytes:
    content = name.encode() + b"\x00" + b"".join(bson.encode(each) for each in documents)
    return b"\x01" + (len(content) + 4).to_bytes(4, "little") + content


values = st.recursive(
    st.integers(-(2**31), 2**31) | st.text() | st.booleans() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0")), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["filter", "lsid", "limit", "hint"]), values))
def test_only_the_comment_is_added(fields: dict[str, Any]) -> None:
    message = op_msg({"find": "pages", **fields})
    for data in (message, bytearray(message)):
        longer = bytes(with_fields(data, 5, ELEMENT))
        assert bson.decode(longer[5:]) == {**bson.decode(message[5:]), "comment": ADDED}
        assert longer[5:].startswith(message[9:-1], 4)


@pytest.mark.parametrize("first", [True, False])
def test_document_sequences_stay_as_they_are(first: bool) -> None:
    documents = sequence("documents", {"_id": 1}, {"_id": 2})
    insert = bson.encode({"insert": "pages", "$db": "cms"})
    sections = [b"\x00" + insert, documents]
    message = bytes(4) + b"".join(sections if first else sections[::-1])
    longer = with_fields(message, read_named(message).start, ELEMENT)
    command = read(longer)
    assert longer[slice(*command.sequences[b"documents"])] == documents[4 + 11 :]
    assert list(command.fields) == [b"insert", b"$db", b"comment"]


def test_what_is_not_known_is_left_out() -> None:
    document = bson.decode(with_fields(op_msg({"ping": 1}), 5, comment("r", "", ""))[5:])
    assert document["comment"] == {"odm": {"invoke": "r"}}


@pytest.mark.parametrize(
    "document",
    [
        {"find": "pages", "comment": "mine"},
        {"find": "pages", "comment": None},
        {"getMore": bson.Int64(1), "collection": "pages"},
        {"killCursors": "pages", "cursors": []},
        {"hello": 1},
        {"isMaster": 1},
        {"ping": 1},
        {"endSessions": []},
        {"saslStart": 1},
        {"createUser": "alice"},
        {"somethingNew": 1},
        {"insert": "pages", "documents": [{"a": "x" * MAX_MESSAGE_BYTES}]},
    ],
)
def test_these_get_no_comment(document: dict[str, Any]) -> None:
    message = op_msg(document)
    assert not takes_comment(read_named(message), message)


def test_what_cannot_be_read_gets_no_comment() -> None:
    message = op_msg({"find": "pages"})[:-1]
    assert not takes_comment(read_named(message), message)


Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run(mongod_uri: str) -> Iterator[Run]:
    """Send a command with a comment added to it, as the function does."""
    executor = Executor(FunctionSettings(mongodb_uri=mongod_uri), "0.1.0")
    [(server, _)] = executor.describe(timeout_s=5)

    def send(document: dict[str, Any], database: str = "comments") -> dict[str, Any]:
        message = bytes(5) + bson.encode({**document, "$db": database})
        assert takes_comment(read_named(message), message), document
        reply = executor.run(server, with_fields(message, 5, ELEMENT), timeout_s=5)
        return bson.decode(reply)

    executor.client.comments.drop_collection("pages")
    executor.client.comments.pages.insert_one({"_id": 1, "n": 1})
    yield send
    executor.client.drop_database("comments")
    executor.close()


ONE: dict[str, dict[str, Any]] = {
    "create": {"create": "made"},
    "collMod": {"collMod": "pages", "validationLevel": "moderate"},
    "insert": {"insert": "pages", "documents": [{}]},
    "update": {"update": "pages", "updates": [{"q": {}, "u": {"$set": {"n": 2}}}]},
    "delete": {"delete": "made", "deletes": [{"q": {}, "limit": 0}]},
    "find": {"find": "pages", "filter": {"n": 1}},
    "aggregate": {"aggregate": "pages", "pipeline": [], "cursor": {}},
    "count": {"count": "pages"},
    "distinct": {"distinct": "pages", "key": "n"},
    "findAndModify": {"findAndModify": "pages", "query": {}, "update": {"$set": {"n": 3}}},
    "findandmodify": {"findandmodify": "pages", "query": {"n": 0}, "remove": True},
    "explain": {"explain": {"find": "pages"}, "verbosity": "queryPlanner"},
    "mapReduce": {
        "mapReduce": "pages",
        "map": "function () { emit(1, 1) }",
        "reduce": "function () { return 1 }",
        "out": {"inline": 1},
    },
    "mapreduce": {
        "mapreduce": "pages",
        "map": "function () { emit(1, 1) }",
        "reduce": "function () { return 1 }",
        "out": {"inline": 1},
    },
    "collStats": {"collStats": "pages"},
    "collstats": {"collstats": "pages"},
    "dbStats": {"dbStats": 1},
    "dbstats": {"dbstats": 1},
    "listCollections": {"listCollections": 1},
    "listIndexes": {"listIndexes": "pages"},
    "createIndexes": {"createIndexes": "pages", "indexes": [{"key": {"n": 1}, "name": "n_1"}]},
    "dropIndexes": {"dropIndexes": "pages", "index": "n_1"},
    "deleteIndexes": {"deleteIndexes": "pages", "index": "*"},
    "drop": {"drop": "made"},
}
ON_ADMIN: dict[str, dict[str, Any]] = {
    "listDatabases": {"listDatabases": 1},
    "renameCollection": {"renameCollection": "comments.pages", "to": "comments.renamed"},
}
LAST: dict[str, dict[str, Any]] = {"dropDatabase": {"dropDatabase": 1}}
TRANSACTIONS = {"commitTransaction", "abortTransaction"}
# Of a later server than the tests': MongoDB 8.0.
NOT_HERE = {"bulkWrite"}


def test_a_server_takes_a_comment_with_every_command_that_gets_one(run: Run) -> None:
    for database, several in (("comments", ONE), ("admin", ON_ADMIN), ("comments", LAST)):
        for document in several.values():
            reply = run(document, database)
            assert reply["ok"] == 1.0, reply
    assert {*ONE, *ON_ADMIN, *LAST, *TRANSACTIONS} == comments._WITH - NOT_HERE


@pytest.mark.parametrize("end", sorted(TRANSACTIONS))
def test_a_server_takes_it_in_transactions(run: Run, end: str) -> None:
    session = {"id": bson.Binary(uuid4().bytes, 4)}
    of_transaction = {"lsid": session, "txnNumber": bson.Int64(1), "autocommit": False}
    begin = {**of_transaction, "startTransaction": True}
    assert run({"insert": "pages", "documents": [{}], **begin})["ok"] == 1.0
    assert run({end: 1, **of_transaction}, "admin")["ok"] == 1.0


def test_a_retried_write_is_known_again_with_another_comment(run: Run) -> None:
    write = {"lsid": {"id": bson.Binary(uuid4().bytes, 4)}, "txnNumber": bson.Int64(1)}
    insert = {"insert": "pages", "documents": [{"_id": "once"}], **write}
    assert run(insert)["n"] == 1
    again = run({**insert, "$readPreference": {"mode": "primary"}})
    assert (again["n"], again["retriedStmtIds"]) == (1, [0])


def test_a_server_in_strict_mode_takes_it(run: Run) -> None:
    strict = {"apiVersion": "1", "apiStrict": True, "apiDeprecationErrors": True}
    assert run({"find": "pages", **strict})["ok"] == 1.0
    assert run({"insert": "pages", "documents": [{}], **strict})["ok"] == 1.0
    assert run({"collStats": "pages", **strict})["codeName"] == "APIStrictError"
