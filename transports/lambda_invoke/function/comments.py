"""The comment by which a command is found again: in the server's log, profiler and ``$currentOp``.

A command that has no comment gets ``{"odm": {"invoke": …, "caller": …, "trace": …}}``: the request
id of the invocation that sent it, the application's name, the id of its trace. Bytes are added to
section 0; nothing is decoded. A server takes a comment with every command since MongoDB 4.4. It
does not tell commands apart by it: the plan cache leaves it out, and ``$queryStats`` keeps its
type only.

Commands of the handshake and of sessions get none, and none that the policy does not know. Nor does
``getMore``: it has the comment of the command that opened its cursor.

Source: https://www.mongodb.com/docs/manual/reference/command/find/ (comment)
"""

from __future__ import annotations

import bson

from transports.lambda_invoke.function.naming import Named
from transports.lambda_invoke.function.policy.commands import ALIASES, COMMANDS, Target
from transports.lambda_invoke.function.policy.message import Data

MAX_MESSAGE_BYTES = 2**20
"""A longer message gets no comment: it would be copied for it, and may have no room for it."""

_WITHOUT = {"getMore", "killCursors"} | {
    name for name in COMMANDS if name.lower().endswith(("searchindex", "searchindexes"))
}
_WITH = frozenset(
    name
    for name in (*COMMANDS, *ALIASES)
    if COMMANDS[ALIASES.get(name, name)].target is not Target.NOTHING and name not in _WITHOUT
) | {"commitTransaction", "abortTransaction"}


def comment(invoke: str, caller: str, trace_id: str) -> bytes:
    """Return the BSON element; what is ``""`` is left out."""
    said = {"invoke": invoke, "caller": caller, "trace": trace_id}
    inner = {name: value for name, value in said.items() if value}
    return bson.encode({"comment": {"odm": inner}})[4:-1]


def takes_comment(named: Named, message: Data) -> bool:
    """Whether a comment may be added to *message*, whose names are *named*."""
    return (
        named.start > 0
        and not named.has_comment
        and named.name in _WITH
        and len(message) <= MAX_MESSAGE_BYTES
    )
