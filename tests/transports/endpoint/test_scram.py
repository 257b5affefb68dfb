"""The server's side of SCRAM-SHA-256."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.endpoint.scram import (
    AuthenticationFailed,
    Conversation,
    Credential,
    Verifier,
    saslprep,
)

CREDENTIAL = Credential(username="us,er=", password="pencil")


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier(CREDENTIAL, iterations=4096)


def client_final(
    server_first: bytes, first_bare: str, password: str, binding: str = "biws"
) -> tuple[bytes, bytes]:
    """Return a client's last message, and the signature that it expects."""
    attributes = dict(part.split("=", 1) for part in server_first.decode().split(","))
    salted = hashlib.pbkdf2_hmac(
        "sha256", password.encode(), base64.b64decode(attributes["s"]), int(attributes["i"])
    )
    without_proof = f"c={binding},r={attributes['r']}"
    message = f"{first_bare},{server_first.decode()},{without_proof}".encode()
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
    final = f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
    return final, b"v=" + base64.b64encode(server_signature)


def test_the_example_of_rfc_7677() -> None:
    verifier = Verifier(Credential(username="user", password="pencil"), iterations=4096)
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", salt, 4096)
    verifier.salt = salt
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    verifier.stored_key = hashlib.sha256(client_key).digest()
    verifier.server_key = hmac.digest(salted, b"Server Key", "sha256")
    server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    conversation = Conversation(verifier, "admin", server_nonce)
    assert conversation.start(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert conversation.finish(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    ) == (b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize("gs2", ["n", "y"])
def test_who_knows_the_password_is_let_in(verifier: Verifier, gs2: str) -> None:
    conversation = Conversation(verifier, "admin")
    bare = "n=us=2Cer=3D,r=abcdef"
    binding = base64.b64encode(f"{gs2},,".encode()).decode()
    first = conversation.start(f"{gs2},,{bare}".encode())
    final, signature = client_final(first, bare, "pencil", binding)
    assert conversation.finish(final) == signature


@pytest.mark.parametrize(
    ("source", "bare", "password"),
    [
        ("admin", "n=us=2Cer=3D,r=abcdef", "Pencil"),
        ("admin", "n=somebody,r=abcdef", "pencil"),
        ("other", "n=us=2Cer=3D,r=abcdef", "pencil"),
    ],
)
def test_who_does_not_is_refused_at_the_end(
    verifier: Verifier, source: str, bare: str, password: str
) -> None:
    conversation = Conversation(verifier, source)
    first = conversation.start(b"n,," + bare.encode())
    final, _ = client_final(first, bare, password)
    with pytest.raises(AuthenticationFailed):
        conversation.finish(final)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,,n=u",
        b"n,,n=u,r=",
        b"n,,r=abc,n=u",
        b"n,a=other,n=us=2Cer=3D,r=abc",
        b"p=tls-unique,,n=us=2Cer=3D,r=abc",
        b"n,,m=ext,n=u,r=abc",
        b"\xff\xfe",
    ],
)
def test_malformed_first_messages_are_refused(verifier: Verifier, message: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        Conversation(verifier, "admin").start(message)


def changed(final: bytes, change: str) -> bytes:
    before, _, proof = final.rpartition(b",p=")
    return {
        "no proof": before,
        "empty proof": before + b",p=",
        "short proof": before + b",p=" + base64.b64encode(b"abc"),
        "proof that is not base64": before + b",p=!!!!",
        "another nonce": before + b"x,p=" + proof,
        "another binding": b"c=eSws" + before[6:] + b",p=" + proof,
        "an extension": before + b",m=1,p=" + proof,
        "not UTF-8": b"\xff" + final,
    }[change]


@pytest.mark.parametrize(
    "change",
    [
        "no proof",
        "empty proof",
        "short proof",
        "proof that is not base64",
        "another nonce",
        "another binding",
        "an extension",
        "not UTF-8",
    ],
)
def test_malformed_last_messages_are_refused(verifier: Verifier, change: str) -> None:
    conversation = Conversation(verifier, "admin")
    bare = "n=us=2Cer=3D,r=abcdef"
    final, _ = client_final(conversation.start(b"n,," + bare.encode()), bare, "pencil")
    with pytest.raises(AuthenticationFailed):
        conversation.finish(changed(final, change))


@given(st.binary(max_size=60))
def test_garbage_is_refused(garbage: bytes) -> None:
    verifier = Verifier(CREDENTIAL, iterations=1)
    conversation = Conversation(verifier, "admin")
    with pytest.raises(AuthenticationFailed):
        conversation.start(garbage)
    with pytest.raises(AuthenticationFailed):
        conversation.finish(garbage)


@pytest.mark.parametrize(
    ("password", "prepared"),
    # RFC 4013, section 3
    [("I\u00adX", "IX"), ("user", "user"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_passwords_are_prepared(password: str, prepared: str) -> None:
    assert saslprep(password) == prepared


@pytest.mark.parametrize("password", ["\u0007", "\u0627\u0031", "\u0221"])
def test_prohibited_characters_are_refused(password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        saslprep(password)


def test_a_credential_does_not_show_its_password() -> None:
    assert "pencil" not in repr(CREDENTIAL)


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("x", "")])
def test_an_empty_credential_is_refused(username: str, password: str) -> None:
    with pytest.raises(ValueError, match="neither empty"):
        Credential(username=username, password=password)


def test_credentials_for_one_time_differ() -> None:
    assert Credential.random().password != Credential.random().password
