"""The fields of requests and responses: how they are read, and how large they may be.

What arrives is JSON that anybody may have written, so each field is checked as it is read. All that
is here in ``read_…`` takes a JSON object, the field's name, and what an error calls the object.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

from transports.lambda_invoke.bodies import MAX_PARTS, Body, Encoding

VERSION = 1
"""The envelope's version; it changes when an old reader would misunderstand a new writer."""

MAX_PAYLOAD_BYTES = 6_291_456
"""Largest payload of a synchronous invoke, each way."""

MAX_ADDRESS_CHARS = 300
"""Longest address of a server: a host's name has 253 characters, a socket's path 107."""

MAX_TEXT_CHARS = 10_000
"""Longest text: words about a failure."""

MAX_INTEGER = 2**53
"""JSON's numbers are exact to here."""

_IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,64}")


class EnvelopeError(ValueError):
    """The bytes are no envelope of this version; the message says what is wrong with them."""


def check_version(document: Any, what: str) -> None:
    """Check that *document* is an envelope of this release's version; errors call it *what*.

    Raises:
        EnvelopeError: it is none.
    """
    if not isinstance(document, dict) or "odm" not in document:
        raise EnvelopeError(
            f"{what} is no envelope of odm-transports: is this the DB proxy function, and is the "
            "caller a lambda:// transport?"
        )
    version = document["odm"]
    if version != VERSION or isinstance(version, bool):
        raise EnvelopeError(
            f"{what} is an envelope of version {shown(version)}; this release speaks version "
            f"{VERSION}: deploy the same release of odm-transports on both sides"
        )


def read_field(document: Any, name: str, kind: type[Any], where: str) -> Any:
    """Return a field of a kind.

    Raises:
        EnvelopeError: it is missing or of another kind; likewise all that follow.
    """
    value = document.get(name) if isinstance(document, dict) else None
    # bool is an int in Python, but true is no number in JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise EnvelopeError(f"{where}.{name} is missing or not a {kind.__name__}")
    return value


def read_text(document: Any, name: str, where: str) -> str:
    """Return a text, no longer than `MAX_TEXT_CHARS` and such as UTF-8 can hold."""
    text: str = read_field(document, name, str, where)
    # JSON may hold half of a surrogate pair, which BSON and UTF-8 cannot.
    return text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode()


def read_number(document: Any, name: str, where: str) -> float:
    """Return a number from 0 to `MAX_INTEGER`."""
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise EnvelopeError(f"{where}.{name} is missing or not a number")
    if not 0 <= value <= MAX_INTEGER:  # nor is NaN
        raise EnvelopeError(f"{where}.{name} is {shown(value)}: expected 0 or more")
    return float(value)


def read_bytes(document: Any, name: str, where: str) -> bytes:
    """Return the bytes of a text in base64."""
    text: str = read_field(document, name, str, where)
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise EnvelopeError(f"{where}.{name} is not base64: {error}") from None


def to_base64(data: bytes) -> str:
    """Return what `read_bytes` reads."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def read_identifier(document: Any, name: str, where: str) -> str:
    """Return the identifier of something staged."""
    identifier: str = read_field(document, name, str, where)
    if not _IDENTIFIER.fullmatch(identifier):
        raise EnvelopeError(f"{where}.{name} is not an identifier of 1 to 64 letters and digits")
    return identifier


def read_address(document: Any, name: str, where: str) -> str:
    """Return a server's address."""
    address = read_text(document, name, where)
    if not 1 <= len(address) <= MAX_ADDRESS_CHARS:
        raise EnvelopeError(
            f"{where}.{name} is not an address of 1 to {MAX_ADDRESS_CHARS} characters"
        )
    return address


def body_to_json(name: str, body: Body) -> dict[str, Any]:
    """Return the fields that say *body*: its bytes under *name*, or where they are staged."""
    where: dict[str, Any] = (
        {"staged": body.staged, "parts": body.parts}
        if body.staged
        else {name: to_base64(body.data)}
    )
    return {**where, "encoding": body.encoding} if body.encoding else where


def body_from_json(document: Any, name: str, where: str) -> Body:
    """Return the body that `body_to_json` has written."""
    encoding: Encoding = ""
    if "encoding" in document:
        if read_field(document, "encoding", str, where) != "zlib":
            raise EnvelopeError(f"{where}.encoding is not zlib")
        encoding = "zlib"
    if "staged" in document:
        parts = read_field(document, "parts", int, where)
        if not 1 <= parts <= MAX_PARTS:
            raise EnvelopeError(f"{where}.parts is {shown(parts)}: expected 1 to {MAX_PARTS}")
        return Body(b"", encoding, read_identifier(document, "staged", where), parts)
    return Body(read_bytes(document, name, where), encoding)


def shown(value: Any) -> str:
    """Return what a message repeats of a value that it does not expect: a short one, or its type.

    It may be as long as an invoke, or nested more deeply than Python can print it.
    """
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, bool | float | None) or (isinstance(value, int) and abs(value) < 2**64):
        return repr(value)
    return f"a value of type {type(value).__name__}"
