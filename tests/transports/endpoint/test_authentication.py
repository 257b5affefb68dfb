"""The endpoint's own answers to the authentication commands."""

from __future__ import annotations

from typing import Any

import pytest

from transports.endpoint.authentication import Authentication
from transports.endpoint.scram import Credential, Verifier

START: dict[str, Any] = {
    "saslStart": 1,
    "mechanism": "SCRAM-SHA-256",
    "payload": b"n,,n=user,r=abcdef",
    "options": {"skipEmptyExchange": True},
}


@pytest.fixture
def guarded() -> Authentication:
    return Authentication(Verifier(Credential(username="user", password="pencil"), iterations=1))


@pytest.fixture
def open_() -> Authentication:
    return Authentication(None)


def code(reply: dict[str, Any]) -> tuple[int, str]:
    return reply["code"], reply["codeName"]


def test_without_a_credential_everybody_is_in(open_: Authentication) -> None:
    assert open_.authenticated
    assert open_.mechanisms == []


def test_without_a_credential_nobody_is_known(open_: Authentication) -> None:
    reply = open_.run("saslStart", START, "admin")
    assert code(reply) == (18, "AuthenticationFailed")
    assert open_.authenticated


def test_a_mechanism_that_is_not_offered_is_refused(guarded: Authentication) -> None:
    for mechanism in ("PLAIN", "GSSAPI", None):
        reply = guarded.run("saslStart", {**START, "mechanism": mechanism}, "$external")
        assert code(reply) == (334, "MechanismUnavailable")
    reply = guarded.run("saslStart", {**START, "mechanism": "SCRAM-SHA-1"}, "admin")
    assert code(reply) == (18, "AuthenticationFailed")


def test_the_mechanism_is_told(guarded: Authentication) -> None:
    assert guarded.mechanisms == ["SCRAM-SHA-256"]


def test_a_conversation_begins(guarded: Authentication) -> None:
    reply = guarded.run("saslStart", START, "admin")
    assert (reply["ok"], reply["done"], reply["conversationId"]) == (1.0, False, 1)
    assert reply["payload"].startswith(b"r=abcdef")
    assert not guarded.authenticated


def test_a_wrong_proof_is_refused_and_ends_the_conversation(guarded: Authentication) -> None:
    guarded.run("saslStart", START, "admin")
    proof = {"saslContinue": 1, "conversationId": 1, "payload": b"c=biws,r=x,p=AAAA"}
    assert code(guarded.run("saslContinue", proof, "admin")) == (18, "AuthenticationFailed")
    assert code(guarded.run("saslContinue", proof, "admin")) == (17, "ProtocolError")
    assert not guarded.authenticated


@pytest.mark.parametrize("payload", [None, "text", 5])
def test_a_payload_of_another_type_is_refused(guarded: Authentication, payload: object) -> None:
    reply = guarded.run("saslStart", {**START, "payload": payload}, "admin")
    assert code(reply) == (18, "AuthenticationFailed")
    guarded.run("saslStart", START, "admin")
    proof = {"saslContinue": 1, "conversationId": 1, "payload": payload}
    assert code(guarded.run("saslContinue", proof, "admin")) == (18, "AuthenticationFailed")


def test_an_empty_message_before_the_proof_proves_nothing(guarded: Authentication) -> None:
    guarded.run("saslStart", {**START, "options": {}}, "admin")
    empty = {"saslContinue": 1, "conversationId": 1, "payload": b""}
    assert code(guarded.run("saslContinue", empty, "admin")) == (18, "AuthenticationFailed")
    assert code(guarded.run("saslContinue", empty, "admin")) == (17, "ProtocolError")
    assert not guarded.authenticated


def test_a_conversation_out_of_place_is_refused(guarded: Authentication) -> None:
    proof = {"saslContinue": 1, "conversationId": 1, "payload": b""}
    assert code(guarded.run("saslContinue", proof, "admin")) == (17, "ProtocolError")
    guarded.run("saslStart", START, "admin")
    reply = guarded.run("saslContinue", {**proof, "conversationId": 2}, "admin")
    assert code(reply) == (17, "ProtocolError")


def test_certificates_are_not_asked_for(open_: Authentication) -> None:
    reply = open_.run("authenticate", {"mechanism": "MONGODB-X509"}, "$external")
    assert code(reply) == (18, "AuthenticationFailed")


def test_logout_and_getnonce_are_answered(guarded: Authentication) -> None:
    assert guarded.run("logout", {}, "admin") == {"ok": 1.0}
    first, second = (guarded.run("getnonce", {}, "admin") for _ in range(2))
    assert first["nonce"] != second["nonce"]


@pytest.mark.parametrize(
    "speculation",
    [None, 5, {}, {"saslStart": 1}, {**START, "mechanism": "PLAIN"}, {**START, "payload": b"?"}],
)
def test_speculation_that_leads_nowhere_is_ignored(
    guarded: Authentication, speculation: object
) -> None:
    assert guarded.speculate({"speculativeAuthenticate": speculation}) is None


def test_speculation_begins_a_conversation(guarded: Authentication) -> None:
    reply = guarded.speculate({"speculativeAuthenticate": {**START, "db": "admin"}})
    assert reply is not None
    assert set(reply) == {"conversationId", "done", "payload"}
