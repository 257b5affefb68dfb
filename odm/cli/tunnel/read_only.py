"""``--read-only``: a guard before the tunnel that lets pass what a user with the role ``read`` may.

The tables are the function's policy's own: what is known to write there, writes here. Which
databases and collections there are to read is not this guard's: the function's policy and the
server's user say so.
"""

from __future__ import annotations

import json
from dataclasses import fields

from transports.endpoint import Request
from transports.lambda_invoke.function.policy import Policy, Refused
from transports.lambda_invoke.function.policy.rules import Rules, parse

_POLICY = {
    "databases": ["*"],
    "readOnly": True,
    # What a user with the role may run besides, and what shells ask when they connect.
    "commands": {"allow": ["connectionStatus", "dataSize", "dbHash", "whatsmyuri"]},
    "stages": {"allow": ["$indexStats"]},  # Compass counts the use of indexes
    "javaScript": True,  # $where reads
}


class _EveryCollection(Rules):
    """Rules about what is done, not about where."""

    __slots__ = ()

    def allows_database(self, name: str) -> bool:
        return True

    def allows_collection(self, database: str, name: str) -> bool:
        return "\x00" not in name


class ReadOnly:
    """Refuses writes, ``$out`` and ``$merge``, changes of collections and administration."""

    def __init__(self) -> None:
        rules = parse(json.dumps(_POLICY), database="", staging="")
        assert rules is not None
        everywhere = _EveryCollection(**{f.name: getattr(rules, f.name) for f in fields(rules)})
        self._policy = Policy(everywhere, named="the tunnel (--read-only)")

    def refuse(self, request: Request) -> bytes | None:
        """Return a server's own refusal (13, Unauthorized), None for what only reads."""
        try:
            self._policy.check(request.message)
        except Refused as refused:
            return refused.reply()
        return None
