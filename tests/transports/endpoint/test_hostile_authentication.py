"""Attempts to get past the endpoint's authentication, or to learn from it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.endpoint import Endpoint, wire
from transports.endpoint.authentication import COMMANDS, Authentication
from transports.endpoint.scram import ITERATIONS, Credential, Verifier

CREDENTIAL = Credential(username="user", password="pencil")
VERIFIER = Verifier(CREDENTIAL, iterations=4096)
Connect = Callable[..., Awaitable[Any]]


class ScramClient:
    """The client's side, one message at a time, for whoever sends them out of order."""

    def __init__(
        self, password: str = "pencil", username: str = "user", nonce: str = "abc"
    ) -> None:
        self.password, self.bare = password, f"n={username},r={nonce}"

    def start(self, **fields: Any) -> dict[str, Any]:
        payload = b"n,," + self.bare.encode()
        return {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": payload, **fields}

    def proof(self, server_first: bytes, conversation_id: Any = 1) -> dict[str, Any]:
        first = dict(part.split("=", 1) for part in server_first.decode().split(","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password.encode(), base64.b64decode(first["s"]), int(first["i"])
        )
        without_proof = f"c=biws,r={first['r']}"
        message = f"{self.bare},{server_first.decode()},{without_proof}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        payload = f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
        return {"saslContinue": 1, "conversationId": conversation_id, "payload": payload}


EMPTY = {"saslContinue": 1, "conversationId": 1, "payload": b""}


@pytest.fixture
def guarded() -> Authentication:
    return Authentication(VERIFIER)


@pytest.fixture
async def client(backend: Any, connect: Connect) -> AsyncIterator[Any]:
    async with Endpoint(backend, credential=CREDENTIAL) as endpoint:
        endpoint.verifier = VERIFIER
        client = await connect(next(iter(endpoint.addresses().values())))
        yield client
        client.abort()


async def authenticate(client: Any, **options: Any) -> dict[str, Any]:
    who = ScramClient(**options)
    reply = await client.command(who.start(options={"skipEmptyExchange": True}), database="admin")
    answer: dict[str, Any] = await client.command(who.proof(reply["payload"]), database="admin")
    return answer


FOR_EVERYBODY = {"hello", "isMaster", "ismaster", *COMMANDS}
COMMAND_NAMES = [
    *("ping", "find", "insert", "update", "delete", "findAndModify", "aggregate", "count"),
    *("distinct", "getMore", "killCursors", "listDatabases", "listCollections", "listIndexes"),
    *("createIndexes", "create", "drop", "dropDatabase", "buildInfo", "serverStatus", "whatsmyuri"),
    *("connectionStatus", "getParameter", "hostInfo", "endSessions", "startSession", "explain"),
    *("commitTransaction", "abortTransaction", "usersInfo", "createUser", "replSetGetStatus"),
    *("Hello", "HELLO", "isMASTER", "saslstart", "helloOk", "", "$hello", "hello "),
]


@pytest.mark.parametrize("name", COMMAND_NAMES)
async def test_before_authentication_every_command_is_refused(
    backend: Any, client: Any, name: str
) -> None:
    reply = await client.command({name: 1})
    assert (reply["ok"], reply["code"], reply["codeName"]) == (0.0, 13, "Unauthorized")
    client.send({name: 1}, flags=wire.MORE_TO_COME)
    client.send({name: 1}, flags=wire.EXHAUST_ALLOWED)
    assert (await client.receive())["code"] == 13
    assert backend.requests == []


@pytest.mark.parametrize("name", sorted(FOR_EVERYBODY))
async def test_what_is_answered_before_authentication_never_reaches_the_backend(
    backend: Any, client: Any, name: str
) -> None:
    reply = await client.command({name: 1, "find": "c", "aggregate": "c"}, database="admin")
    assert reply.get("code") != 13
    assert (await client.command({"find": "c"}))["code"] == 13
    assert backend.requests == []


async def test_a_command_hidden_behind_an_allowed_one_is_not_run(backend: Any, client: Any) -> None:
    first = bson.encode({"hello": 1, "$db": "admin"})
    second = bson.encode({"find": "c", "$db": "admin"})
    client.send(bytes(4) + b"\0" + first + b"\0" + second)  # two bodies
    assert (await client.receive())["code"] == 40430
    head = bytes(4) + b"admin.$cmd\0" + bytes(8)
    client.send(head + bson.encode({"$query": {"find": "c"}, "hello": 1}), opcode=wire.OP_QUERY)
    _, _, opcode, payload = await client.frame()
    assert (opcode, bson.decode(payload[20:])["code"]) == (wire.OP_REPLY, 352)
    assert backend.requests == []


async def test_who_knows_the_password_is_let_in(backend: Any, client: Any) -> None:
    assert (await authenticate(client))["done"] is True
    assert await client.command({"find": "c"}) == {"ok": 1.0}


@pytest.mark.parametrize(
    "options",
    [
        {"password": "Pencil"},
        {"password": ""},
        {"username": "root"},
        {"username": ""},
        {"username": "user\0"},
        {"username": "USER"},
    ],
)
async def test_who_does_not_is_told_the_same_whatever_is_wrong(
    backend: Any, client: Any, options: dict[str, str]
) -> None:
    reply = await authenticate(client, **options)
    assert reply == {
        "ok": 0.0,
        "errmsg": "Authentication failed.",
        "code": 18,
        "codeName": "AuthenticationFailed",
    }
    assert (await client.command({"find": "c"}))["code"] == 13


def test_an_unknown_user_sees_what_the_known_one_sees(guarded: Authentication) -> None:
    known = guarded.run("saslStart", ScramClient().start(), "admin")
    unknown = guarded.run("saslStart", ScramClient(username="nobody").start(), "admin")
    again = guarded.run("saslStart", ScramClient(username="nobody").start(), "admin")
    for reply in (known, unknown, again):
        nonce, salt, iterations = reply["payload"].split(b",")
        assert nonce.startswith(b"r=abc")
        assert salt == b"s=" + base64.b64encode(VERIFIER.salt)
        assert iterations == b"i=4096"
    assert len({reply["payload"] for reply in (known, unknown, again)}) == 3, "nonces are fresh"


def test_iterations_and_nonces_are_those_of_a_server(guarded: Authentication) -> None:
    assert ITERATIONS >= 15_000
    payload = guarded.run("saslStart", ScramClient().start(), "admin")["payload"]
    nonce = payload.split(b",")[0].removeprefix(b"r=abc")
    assert len(base64.b64decode(nonce)) == 24


def test_a_proof_cannot_be_replayed(guarded: Authentication) -> None:
    client = ScramClient()
    skip = {"skipEmptyExchange": True}
    first = guarded.run("saslStart", client.start(options=skip), "admin")["payload"]
    proof = client.proof(first)
    assert guarded.run("saslContinue", proof, "admin")["done"] is True
    assert guarded.run("saslContinue", proof, "admin")["code"] == 17
    for _ in range(2):
        other = Authentication(VERIFIER)
        other.run("saslStart", client.start(options=skip), "admin")
        assert other.run("saslContinue", proof, "admin")["code"] == 18
        assert not other.authenticated


@pytest.mark.parametrize("conversation_id", [0, 2, -1, "1", None, b"1", {}, [1]])
def test_a_conversation_of_another_number_is_none(
    guarded: Authentication, conversation_id: object
) -> None:
    client = ScramClient()
    first = guarded.run("saslStart", client.start(), "admin")["payload"]
    reply = guarded.run("saslContinue", client.proof(first, conversation_id), "admin")
    assert reply["code"] == 17
    assert guarded.run("saslContinue", client.proof(first), "admin")["code"] == 17, "it is over"
    assert not guarded.authenticated


@pytest.mark.parametrize(
    "mechanism",
    ["SCRAM-SHA-1", "PLAIN", "MONGODB-CR", "MONGODB-X509", "MONGODB-OIDC", "", "scram-sha-256", 1],
)
def test_a_weaker_mechanism_is_not_to_be_had(guarded: Authentication, mechanism: object) -> None:
    reply = guarded.run("saslStart", ScramClient().start(mechanism=mechanism), "admin")
    assert reply["ok"] == 0.0
    assert guarded.run("saslContinue", EMPTY, "admin")["code"] == 17


def test_a_downgrade_in_the_middle_ends_the_conversation(guarded: Authentication) -> None:
    client = ScramClient()
    first = guarded.run("saslStart", client.start(), "admin")["payload"]
    guarded.run("saslStart", client.start(mechanism="PLAIN"), "admin")
    assert guarded.run("saslContinue", client.proof(first), "admin")["code"] == 17


def test_the_acknowledgement_alone_proves_nothing(guarded: Authentication) -> None:
    """`_proved` of one conversation must not be inherited by the next."""
    client = ScramClient()
    first = guarded.run("saslStart", client.start(), "admin")["payload"]
    assert guarded.run("saslContinue", client.proof(first), "admin")["done"] is False
    assert not guarded.authenticated
    guarded.run("saslStart", ScramClient(username="root").start(), "admin")
    assert guarded.run("saslContinue", EMPTY, "admin")["code"] == 18
    assert not guarded.authenticated


def test_nothing_is_left_after_logout(guarded: Authentication) -> None:
    client = ScramClient()
    first = guarded.run("saslStart", client.start(), "admin")["payload"]
    guarded.run("saslContinue", client.proof(first), "admin")
    guarded.run("logout", {}, "admin")
    assert guarded.run("saslContinue", EMPTY, "admin")["code"] == 17
    assert not guarded.authenticated


async def test_a_connection_that_has_logged_out_is_let_in_no_more(
    backend: Any, client: Any
) -> None:
    await authenticate(client)
    assert await client.command({"logout": 1}) == {"ok": 1.0}
    assert (await client.command({"find": "c"}))["code"] == 13
    await authenticate(client)
    assert await client.command({"find": "c"}) == {"ok": 1.0}
    assert backend.names == ["find"]


async def test_one_connection_s_authentication_is_its_own(
    backend: Any, client: Any, connect: Connect
) -> None:
    await authenticate(client)
    other = await connect(client.writer.get_extra_info("peername"))
    assert (await other.command({"find": "c"}))["code"] == 13
    other.abort()


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5), st.binary(max_size=40)
)
steps = st.one_of(
    st.tuples(st.sampled_from(sorted(COMMANDS)), st.dictionaries(st.text(max_size=9), anything)),
    st.builds(
        lambda fields: ("saslStart", ScramClient().start(**fields)),
        st.fixed_dictionaries(
            {},
            optional={
                "mechanism": anything,
                "payload": anything,
                "options": st.just({"skipEmptyExchange": True}),
            },
        ),
    ),
    st.just(("saslContinue", EMPTY)),
    st.builds(
        lambda payload, number: (
            "saslContinue",
            {"saslContinue": 1, "conversationId": number, "payload": payload},
        ),
        st.one_of(anything, st.just(b"c=biws,r=abc,p=AAAA"), st.just(b"c=biws,r=abc,p=")),
        st.one_of(st.just(1), anything),
    ),
)


@settings(max_examples=300)
@given(st.lists(steps, max_size=8))
def test_no_order_of_messages_lets_in_who_does_not_know_the_password(
    messages: list[tuple[str, dict[str, Any]]],
) -> None:
    guarded = Authentication(VERIFIER)
    for name, command in messages:
        reply = guarded.run(name, command, "admin")
        assert bson.encode(reply)
        guarded.speculate({"speculativeAuthenticate": command})
        assert not guarded.authenticated
