"""The two that are asked: a fake, and a real server; commands in, replies out, as BSON.

The driver is left out on purpose: it would rewrite commands (sessions, ``_id``) and replies.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import bson
from pymongo.uri_parser import parse_uri

from transports.fake.server import DEFECT, FakeServer
from transports.fake.wire import CODEC, decode_message, encode_message

Document = dict[str, Any]
_CHUNK = 16
# A server that cuts a string between bytes of a character answers with what is no UTF-8.
_READING = CODEC.with_options(unicode_decode_error_handler="replace")
CRASH = -1
"""The ``code`` of a reply that stands for an exception inside the fake."""


class Side(Protocol):
    """Somebody who answers commands."""

    def ask(self, commands: Sequence[Document]) -> list[Document]:
        """Return the replies to the commands, in order."""
        ...


class Fake:
    """A fresh fake, through the bytes of the wire."""

    def __init__(self) -> None:
        self.server = FakeServer()

    def ask(self, commands: Sequence[Document]) -> list[Document]:
        """Return the replies; an exception is a reply with the code `CRASH`."""
        return [self._ask(command) for command in commands]

    def _ask(self, command: Document) -> Document:
        running = self.server.run_encoded(decode_message(encode_message(command)))
        try:
            running.send(None)
        except StopIteration as end:
            reply: dict[str, Any] = bson.decode(end.value, _READING)
            if DEFECT in reply.get("errmsg", ""):
                reply["code"] = CRASH
            return reply
        except Exception as error:  # the crash is the finding
            return {"ok": 0.0, "code": CRASH, "errmsg": f"{type(error).__name__}: {error}"}
        running.close()
        raise AssertionError(f"the fake waits for something to answer {command}")


class Live:
    """A server behind a socket; several commands are on their way at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb")

    def ask(self, commands: Sequence[Document]) -> list[Document]:
        """Return the replies."""
        replies = []
        for start in range(0, len(commands), _CHUNK):
            chunk = commands[start : start + _CHUNK]
            self._connection.sendall(b"".join(_message(command) for command in chunk))
            replies += [self._receive() for _ in chunk]
        return replies

    def _receive(self) -> Document:
        (length,) = struct.unpack("<i", self._stream.read(16)[:4])
        return bson.decode(self._stream.read(length - 16)[5:], _READING)

    def close(self) -> None:
        """Close the stream; the socket is its opener's."""
        self._stream.close()


def _message(command: Document) -> bytes:
    body = encode_message(command)
    return struct.pack("<iiii", 16 + len(body), 1, 0, 2013) + body


@contextmanager
def live(uri: str) -> Iterator[Live]:
    """Yield the first server of a URI."""
    host, port = parse_uri(uri)["nodelist"][0]
    if port is None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(host)
    else:
        connection = socket.create_connection((host, port))
    with connection:
        side = Live(connection)
        try:
            yield side
        finally:
            side.close()
