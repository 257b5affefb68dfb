"""What a refused command is told: the words and the code of a server's own authorization."""

from __future__ import annotations

import bson

UNAUTHORIZED = 13
"""``Unauthorized`` in the server's list of error codes."""

_SHOWN = 80


class Refused(Exception):
    """A command is not to be sent.

    Attributes:
        message: in the server's style, with the rule that refused it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def reply(self) -> bytes:
        """Return the server's reply to such a command: BSON, without any error label."""
        return bson.encode(
            {
                "ok": 0.0,
                "errmsg": self.message,
                "code": UNAUTHORIZED,
                "codeName": "Unauthorized",
            }
        )


class Violation(Exception):
    """A rule refuses; the argument says which, as the end of a sentence about the policy."""


def shown(name: bytes | str) -> str:
    """Return a caller's *name* so that it can stand in a message or a log line."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    text = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text[:_SHOWN])
    return text + "…" if len(name) > _SHOWN else text
