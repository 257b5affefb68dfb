"""The server's side of SCRAM-SHA-256, for endpoints that other users of the machine could reach.

Pure computation: messages in, messages out. It knows one user.

Spec: RFC 5802, RFC 7677, RFC 4013 (SASLprep);
https://github.com/mongodb/specifications/blob/master/source/auth/auth.md#scram-sha-256
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from dataclasses import dataclass, field

MECHANISM = "SCRAM-SHA-256"
ITERATIONS = 15_000
"""MongoDB's default for SCRAM-SHA-256; drivers refuse fewer than 4,096."""


class AuthenticationFailed(Exception):
    """The client did not prove that it knows the password. Says nothing more, on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The user and password that an endpoint asks for.

    Attributes:
        username: not empty.
        password: not empty; normalised by SASLprep as drivers do.
        source: the database that the client authenticates against (``authSource``); None for
            any: drivers take that of the URI's path where it names none.
    """

    username: str
    password: str = field(repr=False)
    source: str | None = "admin"

    def __post_init__(self) -> None:
        if not self.username or not self.password:
            raise ValueError("a credential needs a username and a password, neither empty")

    @classmethod
    def random(cls) -> Credential:
        """Return a credential for one time, of 256 random bits."""
        return cls(username="odm", password=secrets.token_urlsafe(32))


def saslprep(text: str) -> str:
    """Prepare a password as RFC 4013 says.

    Raises:
        ValueError: it holds a character that passwords may not have.
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_a1,
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if any(table(c) for c in prepared for table in prohibited):
        raise ValueError("the password holds a character that SASLprep (RFC 4013) prohibits")
    if any(stringprep.in_table_d1(c) for c in prepared) and (
        any(stringprep.in_table_d2(c) for c in prepared)
        or not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1]))
    ):
        raise ValueError("the password mixes directions of writing (RFC 3454, section 6)")
    return prepared


class Verifier:
    """What a server keeps of a credential: salted keys, not the password."""

    def __init__(self, credential: Credential, iterations: int = ITERATIONS) -> None:
        self.username = credential.username
        self.source = credential.source
        self.iterations = iterations
        self.salt = secrets.token_bytes(28)
        salted = hashlib.pbkdf2_hmac(
            "sha256", saslprep(credential.password).encode(), self.salt, iterations
        )
        self.stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
        self.server_key = _hmac(salted, b"Server Key")

    def knows(self, username: str, source: str) -> bool:
        """Whether *username* of the database *source* is the user."""
        same_name = hmac.compare_digest(username.encode(), self.username.encode())
        return same_name and self.source in (None, source)


class Conversation:
    """One authentication: `start`, then `finish`, once each.

    An unknown user is led through the same messages as the known one and fails in the end.
    """

    def __init__(self, verifier: Verifier, source: str, server_nonce: str | None = None) -> None:
        self._verifier = verifier
        self._source = source
        self._server_nonce = server_nonce or base64.b64encode(secrets.token_bytes(24)).decode()
        self._known = False
        self._gs2_header = self._nonce = self._auth_message = ""

    def start(self, client_first: bytes) -> bytes:
        """Take ``n,,n=user,r=nonce``, return ``r=…,s=…,i=…``.

        Raises:
            AuthenticationFailed: the message is malformed, or asks for channel binding.
        """
        message = _decode(client_first)
        parts = message.split(",", 2)
        if len(parts) != 3 or parts[0] not in ("n", "y") or parts[1]:
            raise AuthenticationFailed
        bare = parts[2]
        attributes = bare.split(",")
        if len(attributes) < 2 or attributes[0][:2] != "n=" or attributes[1][:2] != "r=":
            raise AuthenticationFailed
        client_nonce = attributes[1][2:]
        if not client_nonce:
            raise AuthenticationFailed
        username = attributes[0][2:].replace("=2C", ",").replace("=3D", "=")
        self._known = self._verifier.knows(username, self._source)
        self._gs2_header = f"{parts[0]},,"
        self._nonce = client_nonce + self._server_nonce
        salt = base64.b64encode(self._verifier.salt).decode()
        server_first = f"r={self._nonce},s={salt},i={self._verifier.iterations}"
        self._auth_message = f"{bare},{server_first}"
        return server_first.encode()

    def finish(self, client_final: bytes) -> bytes:
        """Take ``c=biws,r=nonce,p=proof``, return ``v=signature``.

        Raises:
            AuthenticationFailed: the proof does not hold.
        """
        without_proof, separator, proof_text = _decode(client_final).rpartition(",p=")
        binding = base64.b64encode(self._gs2_header.encode()).decode()
        if not separator or without_proof != f"c={binding},r={self._nonce}":
            raise AuthenticationFailed
        try:
            proof = base64.b64decode(proof_text, validate=True)
        except (binascii.Error, ValueError):
            raise AuthenticationFailed from None
        auth_message = f"{self._auth_message},{without_proof}".encode()
        signature = _hmac(self._verifier.stored_key, auth_message)
        if len(proof) != len(signature):
            raise AuthenticationFailed
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        stored_key = hashlib.sha256(client_key).digest()
        if not (hmac.compare_digest(stored_key, self._verifier.stored_key) and self._known):
            raise AuthenticationFailed
        verification = base64.b64encode(_hmac(self._verifier.server_key, auth_message))
        return b"v=" + verification


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _decode(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise AuthenticationFailed from None
