"""Who is at the other end: the endpoint's own answers to the authentication commands.

One `Authentication` belongs to one client connection. Without a credential it answers as a server
answers somebody it does not know. These commands are never relayed: upstream connections are
shared, and the function authenticates them itself.

Spec: https://github.com/mongodb/specifications/blob/master/source/auth/auth.md
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from transports.endpoint.handshake import Reply, error_reply, shown
from transports.endpoint.scram import MECHANISM, AuthenticationFailed, Conversation, Verifier

COMMANDS = frozenset({"saslStart", "saslContinue", "authenticate", "logout", "getnonce"})

_CONVERSATION_ID = 1


class Authentication:
    """The authentication state of one connection.

    Attributes:
        authenticated: whether commands may be run. True from the start without a verifier.
    """

    __slots__ = ("_conversation", "_proved", "_skip_empty", "_verifier", "authenticated")

    def __init__(self, verifier: Verifier | None) -> None:
        self._verifier = verifier
        self._conversation: Conversation | None = None
        self._proved = False
        self._skip_empty = False
        self.authenticated = verifier is None

    @property
    def mechanisms(self) -> Sequence[str]:
        """``["SCRAM-SHA-256"]``: what ``saslSupportedMechs`` is told, whoever is asked about."""
        return [MECHANISM] if self._verifier is not None else []

    def run(self, name: str, command: Mapping[str, Any], database: str) -> Reply:
        """Answer one of `COMMANDS`."""
        if name == "saslStart":
            return self._sasl_start(command, database)
        if name == "saslContinue":
            return self._sasl_continue(command)
        if name == "logout":
            self._conversation = None
            self.authenticated = self._verifier is None
            return {"ok": 1.0}
        if name == "getnonce":
            return {"nonce": secrets.token_hex(8), "ok": 1.0}
        return error_reply(
            18, "AuthenticationFailed", "No verified subject name available from client"
        )

    def speculate(self, command: Mapping[str, Any]) -> Reply | None:
        """Answer ``speculativeAuthenticate`` of a handshake, None for what leads nowhere."""
        sasl = command.get("speculativeAuthenticate")
        if not isinstance(sasl, Mapping) or "saslStart" not in sasl:
            return None
        database = sasl.get("db")
        reply = self._sasl_start(sasl, database if isinstance(database, str) else "admin")
        if not reply.pop("ok"):
            return None
        return reply

    def _sasl_start(self, command: Mapping[str, Any], database: str) -> Reply:
        self._conversation = None
        mechanism, payload = command.get("mechanism"), command.get("payload")
        if mechanism not in (MECHANISM, "SCRAM-SHA-1"):
            return error_reply(
                334,
                "MechanismUnavailable",
                f"Received authentication for mechanism {shown(mechanism)} which is not enabled",
            )
        if self._verifier is None or mechanism != MECHANISM or not isinstance(payload, bytes):
            return _failed()
        conversation = Conversation(self._verifier, database)
        try:
            server_first = conversation.start(payload)
        except AuthenticationFailed:
            return _failed()
        options = command.get("options")
        skip = options.get("skipEmptyExchange") if isinstance(options, Mapping) else False
        self._skip_empty = skip is True
        self._proved = False
        self._conversation = conversation
        return _step(server_first, done=False)

    def _sasl_continue(self, command: Mapping[str, Any]) -> Reply:
        conversation, payload = self._conversation, command.get("payload")
        if conversation is None:
            return error_reply(17, "ProtocolError", "No SASL session state found")
        if command.get("conversationId") != _CONVERSATION_ID:
            self._conversation = None
            message = "sasl: Mismatched conversation id"
            return error_reply(17, "ProtocolError", message)
        if self._proved:
            self._conversation = None
            self.authenticated = True
            return _step(b"", done=True)
        self._conversation = None
        if not isinstance(payload, bytes):
            return _failed()
        try:
            server_final = conversation.finish(payload)
        except AuthenticationFailed:
            return _failed()
        if self._skip_empty:
            self.authenticated = True
        else:
            # The client has yet to acknowledge the server's signature with an empty message.
            self._proved, self._conversation = True, conversation
        return _step(server_final, done=self._skip_empty)


def _step(payload: bytes, *, done: bool) -> Reply:
    return {"conversationId": _CONVERSATION_ID, "done": done, "payload": payload, "ok": 1.0}


def _failed() -> Reply:
    return error_reply(18, "AuthenticationFailed", "Authentication failed.")


def unauthorized(name: str) -> Reply:
    """Return what a server says to a command before its client has authenticated."""
    return error_reply(13, "Unauthorized", f"command {name} requires authentication")
