"""The endpoint's ``hello``, made of the real server's."""

from __future__ import annotations

import datetime
from typing import Any

import bson
import pytest

from transports.endpoint.backend import Member
from transports.endpoint.handshake import (
    CODEC_OPTIONS,
    HelloContext,
    app_name,
    check_hello,
    error_reply,
    hello_reply,
    unsupported_opcode,
    unsupported_query,
)

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
PRIMARY: dict[str, Any] = {
    "topologyVersion": {"processId": bson.ObjectId(), "counter": bson.Int64(6)},
    "hosts": ["DB1:27017", "db2:27017", "db9:27017"],
    "passives": ["db3:27017"],
    "arbiters": ["db4:27017"],
    "setName": "rs0",
    "setVersion": 3,
    "isWritablePrimary": True,
    "secondary": False,
    "primary": "DB1:27017",
    "me": "DB1:27017",
    "electionId": bson.ObjectId("7fffffff0000000000000001"),
    "lastWrite": {"lastWriteDate": NOW},
    "tags": {"region": "eu"},
    "maxBsonObjectSize": 16777216,
    "maxMessageSizeBytes": 48000000,
    "maxWriteBatchSize": 100000,
    "localTime": NOW - datetime.timedelta(days=1),
    "logicalSessionTimeoutMinutes": 30,
    "connectionId": 999,
    "minWireVersion": 0,
    "maxWireVersion": 17,
    "readOnly": False,
    "compression": ["snappy"],
    "ok": 1.0,
    "operationTime": bson.Timestamp(1, 1),
}
ADDRESSES = {
    "db1:27017": "/s/m0.sock",
    "db2:27017": "/s/m1.sock",
    "db3:27017": "/s/m2.sock",
    "db4:27017": "/s/m3.sock",
}
MEMBER = Member(address="DB1:27017", hello=PRIMARY)


def context(**changes: Any) -> HelloContext:
    defaults: dict[str, Any] = {"addresses": ADDRESSES, "connection_id": 5, "now": NOW}
    return HelloContext(**(defaults | changes))


def reply_to(command: dict[str, Any], name: str = "hello", **changes: Any) -> dict[str, Any]:
    return hello_reply(command, MEMBER, context(**changes), name=name)


def test_addresses_are_those_of_the_endpoint() -> None:
    reply = reply_to({"hello": 1})
    assert reply["hosts"] == ["/s/m0.sock", "/s/m1.sock"]  # db9 has no listener
    assert reply["passives"] == ["/s/m2.sock"]
    assert reply["arbiters"] == ["/s/m3.sock"]
    assert (reply["me"], reply["primary"]) == ("/s/m0.sock", "/s/m0.sock")


def test_a_primary_that_has_no_listener_is_not_named() -> None:
    hello = {**PRIMARY, "primary": "db9:27017"}
    reply = hello_reply({}, Member(address="db2:27017", hello=hello), context(), name="hello")
    assert "primary" not in reply
    assert reply["me"] == "/s/m1.sock"


def test_what_the_server_says_of_itself_is_repeated() -> None:
    reply = reply_to({"hello": 1})
    for field in ("setName", "setVersion", "electionId", "lastWrite", "tags", "readOnly"):
        assert reply[field] == PRIMARY[field]
    for field in ("maxBsonObjectSize", "maxMessageSizeBytes", "maxWriteBatchSize"):
        assert reply[field] == PRIMARY[field]
    assert (reply["minWireVersion"], reply["maxWireVersion"]) == (0, 17)
    assert reply["logicalSessionTimeoutMinutes"] == 30


def test_what_belongs_to_one_connection_is_new() -> None:
    reply = reply_to({"hello": 1})
    assert reply["connectionId"] == 5
    assert reply["localTime"] == NOW
    for field in ("topologyVersion", "compression", "helloOk", "operationTime", "$clusterTime"):
        assert field not in reply


@pytest.mark.parametrize(
    ("name", "field", "other"),
    [
        ("hello", "isWritablePrimary", "ismaster"),
        ("isMaster", "ismaster", "isWritablePrimary"),
        ("ismaster", "ismaster", "isWritablePrimary"),
    ],
)
@pytest.mark.parametrize("told", ["isWritablePrimary", "ismaster"])
def test_the_primary_is_called_as_asked(name: str, field: str, other: str, told: str) -> None:
    hello = {k: v for k, v in PRIMARY.items() if k != "isWritablePrimary"} | {told: True}
    member = Member(address="db1:27017", hello=hello)
    reply = hello_reply({name: 1}, member, context(), name=name)
    assert reply[field] is True
    assert other not in reply


def test_hello_ok_only_if_offered() -> None:
    assert reply_to({"isMaster": 1, "helloOk": True}, "isMaster")["helloOk"] is True
    assert "helloOk" not in reply_to({"isMaster": 1, "helloOk": False}, "isMaster")


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [
        (["snappy", "zlib", "zstd", "zlib"], ["zlib", "zstd"]),
        (["zstd", "zlib"], ["zstd", "zlib"]),
        (["snappy"], None),
        ([5], None),
        ("zlib", None),
        (None, None),
    ],
)
def test_compressors_are_what_both_can_do(asked: object, agreed: object) -> None:
    reply = reply_to({"hello": 1, "compression": asked}, compressors=("zlib", "zstd"))
    assert reply.get("compression") == agreed


def test_mechanisms_are_told_alike_for_whoever_is_asked_about() -> None:
    mechanisms = ["SCRAM-SHA-256"]
    for asked, told in [("admin.me", mechanisms), ("admin.you", mechanisms), (5, None)]:
        reply = reply_to({"hello": 1, "saslSupportedMechs": asked}, mechanisms=mechanisms)
        assert reply.get("saslSupportedMechs") == told


def test_the_newest_times_are_told() -> None:
    cluster_time = {"clusterTime": bson.Timestamp(9, 1), "signature": {}}
    reply = reply_to({"hello": 1}, cluster_time=cluster_time, operation_time=bson.Timestamp(9, 0))
    assert reply["$clusterTime"] == cluster_time
    assert reply["operationTime"] == bson.Timestamp(9, 0)


def test_a_standalone_and_a_mongos_are_what_they_are() -> None:
    for own in ({"msg": "isdbgrid"}, {}):
        hello = {"isWritablePrimary": True, "maxWireVersion": 17, "ok": 1.0, **own}
        reply = hello_reply({}, Member(address="db1:27017", hello=hello), context(), name="hello")
        assert set(reply) == {*hello, "localTime", "connectionId"}


def test_a_member_that_could_not_be_asked_answers_with_its_error() -> None:
    error = {"ok": 0.0, "errmsg": "no route", "code": 7, "codeName": "HostNotFound"}
    member = Member(address="db1:27017", hello=error)
    assert hello_reply({}, member, context(), name="hello") == error
    bare = hello_reply({}, Member(address="db1:27017", hello={}), context(), name="hello")
    assert (bare["ok"], bare["code"]) == (0.0, 6)
    assert "db1:27017" in bare["errmsg"]


VERSION = {"processId": bson.ObjectId(), "counter": bson.Int64(0)}


@pytest.mark.parametrize(
    ("command", "name", "code"),
    [
        ({"apiVersion": "2"}, "hello", 322),
        ({"apiVersion": 1}, "hello", 322),
        ({"apiVersion": "1", "apiStrict": True}, "isMaster", 323),
        ({"topologyVersion": VERSION}, "hello", 31368),
        ({"maxAwaitTimeMS": 100}, "hello", 31368),
        ({"client": 5}, "hello", 14),
        ({"client": {"application": {"name": "x" * 129}}}, "hello", 184),
    ],
)
def test_handshakes_that_a_server_refuses(command: dict[str, Any], name: str, code: int) -> None:
    reply = check_hello(command, name)
    assert reply is not None
    assert (reply["ok"], reply["code"]) == (0.0, code)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ({}, "isMaster"),
        ({"apiVersion": "1", "apiStrict": True}, "hello"),
        ({"topologyVersion": VERSION, "maxAwaitTimeMS": 100}, "hello"),
        ({"client": {"driver": {"name": "x"}}, "unknown": 1}, "hello"),
        ({"client": {"application": {"name": "x" * 128}}}, "hello"),
    ],
)
def test_handshakes_that_a_server_takes(command: dict[str, Any], name: str) -> None:
    assert check_hello(command, name) is None


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ({}, None),
        ({"client": 5}, None),
        ({"client": {"application": 5}}, None),
        ({"client": {"application": {"name": 5}}}, None),
        ({"client": {"application": {"name": "shop"}}}, "shop"),
    ],
)
def test_the_name_of_the_application_is_found(command: dict[str, Any], name: object) -> None:
    assert app_name(command) == name


def test_metadata_may_hold_what_is_not_utf8() -> None:
    encoded = bson.encode({"client": {"application": {"name": "a??"}}})
    command = bson.decode(encoded.replace(b"a??", b"a\xff\xfe"), CODEC_OPTIONS)
    assert app_name(command) == "a\ufffd\ufffd"


def test_errors_are_shaped_as_a_server_shapes_them() -> None:
    assert error_reply(6, "HostUnreachable", "why", ["A"]) == {
        "ok": 0.0,
        "errmsg": "why",
        "code": 6,
        "codeName": "HostUnreachable",
        "errorLabels": ["A"],
    }
    assert "errorLabels" not in error_reply(6, "HostUnreachable", "why")
    assert unsupported_query("find")["code"] == 352
    assert unsupported_opcode("OP_QUERY")["$err"].startswith("OP_QUERY is no longer supported")
