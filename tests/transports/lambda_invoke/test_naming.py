from __future__ import annotations

from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.endpoint.observer import collection_of
from transports.endpoint.wire import Message
from transports.lambda_invoke.function.naming import UNKNOWN, Named, read_named, server_error
from transports.lambda_invoke.function.policy.commands import ALIASES, COMMANDS

FLAGS = bytes(4)


def body(document: dict[str, Any]) -> bytes:
    return b"\x00" + bson.encode(document)


def sequence(name: str, *documents: dict[str, Any]) -> bytes:
    content = name.encode() + b"\x00" + b"".join(bson.encode(each) for each in documents)
    return b"\x01" + (len(content) + 4).to_bytes(4, "little") + content


@pytest.mark.parametrize(
    ("command", "name", "namespace"),
    [
        ({"find": "pages", "filter": {"secret": "s"}}, "find", "cms.pages"),
        ({"insert": "pages", "documents": [{"a": 1}]}, "insert", "cms.pages"),
        ({"findandmodify": "pages"}, "findandmodify", "cms.pages"),
        ({"aggregate": "pages", "pipeline": []}, "aggregate", "cms.pages"),
        ({"aggregate": 1, "pipeline": [{"$currentOp": {}}]}, "aggregate", "cms"),
        ({"getMore": bson.Int64(7), "collection": "pages"}, "getMore", "cms.pages"),
        ({"killCursors": "pages", "cursors": [bson.Int64(7)]}, "killCursors", "cms.pages"),
        ({"explain": {"find": "pages"}, "verbosity": "queryPlanner"}, "explain", "cms.pages"),
        ({"explain": {"explain": {"find": "pages"}}}, "explain", "cms"),
        ({"explain": {}}, "explain", "cms"),
        ({"ping": 1}, "ping", "cms"),
        ({"commitTransaction": 1}, "commitTransaction", "cms"),
        # The first value of these is no collection.
        ({"createUser": "alice", "pwd": "secret"}, "createUser", "cms"),
        ({"getLog": "global"}, "getLog", "cms"),
        # What no server is called by may be anything.
        ({"my secret": 1}, UNKNOWN, "cms"),
        ({"x" * 41: 1}, UNKNOWN, "cms"),
        ({"näme": 1}, UNKNOWN, "cms"),
    ],
)
def test_a_command_is_named_and_its_namespace(
    command: dict[str, Any], name: str, namespace: str
) -> None:
    named = read_named(FLAGS + body({**command, "$db": "cms"}))
    assert named[:2] == (name, namespace)


@pytest.mark.parametrize("name", sorted({*COMMANDS, *ALIASES}))
def test_an_endpoint_knows_the_same_collections(name: str) -> None:
    """It has a list of its own, for it knows nothing of the policy."""
    message = FLAGS + body({name: "pages", "collection": "pages", "$db": "cms"})
    observed = collection_of(Message(request_id=1, body=message, name=name, database="cms"))
    assert read_named(message).namespace == ("cms" if observed is None else f"cms.{observed}")


def test_a_database_named_inside_a_document_is_not_the_commands() -> None:
    reference = {"$ref": "other", "$id": 1, "$db": "secret"}
    named = read_named(FLAGS + body({"find": "pages", "filter": {"of": reference}, "$db": "cms"}))
    assert named.namespace == "cms.pages"


def test_section_0_is_found_wherever_it_is() -> None:
    documents = sequence("documents", {"comment": "of a document"})
    insert = body({"insert": "pages", "$db": "cms"})
    first, last = read_named(FLAGS + insert + documents), read_named(FLAGS + documents + insert)
    assert first == Named("insert", "cms.pages", 5)
    assert last == Named("insert", "cms.pages", 5 + len(documents))


@pytest.mark.parametrize("value", ["mine", {"a": 1}, None])
def test_a_comment_of_its_own_is_seen(value: Any) -> None:
    assert read_named(FLAGS + body({"ping": 1, "comment": value, "$db": "cms"})).has_comment


def test_names_are_cut_where_a_server_would_refuse_them() -> None:
    named = read_named(FLAGS + body({"find": "c" * 1000, "$db": "d" * 1000}))
    assert len(named.namespace) <= 63 + 1 + 255


@given(st.binary(max_size=80))
def test_any_bytes_have_a_name(message: bytes) -> None:
    assert read_named(message).name == UNKNOWN or read_named(message).start > 0


@given(st.data())
def test_a_message_with_any_wrong_byte_has_a_name(data: st.DataObject) -> None:
    message = bytearray(FLAGS + body({"explain": {"find": "p", "filter": {"a": 1}}, "$db": "cms"}))
    message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read_named(message), Named)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"ok": 1.0}, None),
        ({"ok": 1}, None),
        ({"n": 1, "ok": True}, None),
        ({"ok": 0.0, "code": 59, "codeName": "CommandNotFound"}, (59, "CommandNotFound")),
        ({"ok": 0, "errmsg": "without a code"}, (0, "")),
        ({"errmsg": "without ok"}, (0, "")),
        (
            {"n": 1, "writeErrors": [{"index": 1, "code": 11000, "errmsg": "s"}], "ok": 1.0},
            (11000, ""),
        ),
        (
            {"writeConcernError": {"code": 64, "codeName": "WriteConcernFailed"}, "ok": 1.0},
            (64, "WriteConcernFailed"),
        ),
        ({"ok": 1.0, "cursor": {"firstBatch": [{"writeErrors": [{"code": 1}]}]}}, None),
    ],
)
def test_the_error_in_a_reply_is_its_code(
    reply: dict[str, Any], error: tuple[int, str] | None
) -> None:
    assert server_error(bson.encode(reply)) == error


def test_no_reply_has_no_error_and_a_broken_one_has() -> None:
    assert server_error(b"") is None
    assert server_error(b"\x07\x00\x00\x00") == (0, "InvalidBSON")


@given(st.data())
def test_a_reply_with_any_wrong_byte_is_read(data: st.DataObject) -> None:
    reply = bytearray(bson.encode({"ok": 1.0, "writeErrors": [{"code": 1, "codeName": "x"}]}))
    reply[data.draw(st.integers(0, len(reply) - 1))] = data.draw(st.integers(0, 255))
    error = server_error(bytes(reply))
    assert error is None or isinstance(error.code, int)
