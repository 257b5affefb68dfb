"""What follows in a transaction waits for what came before it, though nobody else does any more.

A client that goes away in the middle of a transaction's statement ends the transaction next, over
another connection. Directly both reach the same server in their order. Here each has an invoke of
its own, and the first may wait for an execution environment to start while the second finds one
idle: the end would come first, to nothing, and then the statement begin a transaction that holds
its locks until the server's own limit, a minute. So such a statement is not cancelled but left to
itself (what runs for long is ended on the server, `lambda_invoke.abandoned`), and what follows in
its session waits for it. For an end nobody waits: a driver repeats it at once, and one that comes
after another does no harm.

Spec: https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from transports.endpoint.backend import Request
from transports.endpoint.elements import DOCUMENT, MalformedDocument, find
from transports.lambda_invoke.edits import SECTION

WAIT_S = 30.0
"""How long what follows waits at most."""

_ENDS = frozenset({"abortTransaction", "commitTransaction"})
_IN_TRANSACTION = b"\x08autocommit\x00\x00"


class Transactions:
    """Keeps the order of commands in transactions. Belongs to one event loop."""

    def __init__(self) -> None:
        self._left: dict[bytes, asyncio.Task[bytes]] = {}

    async def run(self, request: Request, call: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """Return what *call* returns, which carries *request*."""
        session = _session(request.message)
        if session is None:
            return await call()
        before = self._left.get(session)
        if before is not None:
            await asyncio.wait([before], timeout=WAIT_S)
        if request.name in _ENDS:
            return await call()
        task = asyncio.get_running_loop().create_task(call())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                self._left[session] = task
                task.add_done_callback(lambda done: self._forget(session, done))
            raise

    def _forget(self, session: bytes, done: asyncio.Task[bytes]) -> None:
        if self._left.get(session) is done:
            del self._left[session]
        if not done.cancelled():
            done.exception()  # nobody waits for it

    async def aclose(self) -> None:
        """Give up what was left to itself."""
        left = list(self._left.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _session(message: bytes) -> bytes | None:
    """Return the ``lsid`` of a command in a transaction, None of any other."""
    if message[4:SECTION] != b"\x00":
        return None
    end = SECTION + int.from_bytes(message[SECTION : SECTION + 4], "little")
    if message.find(_IN_TRANSACTION, SECTION, end) < 0:  # nearly always
        return None
    try:
        lsid = find(message, b"lsid", SECTION)
    except MalformedDocument:
        return None
    if lsid is None or lsid.type != DOCUMENT:
        return None
    return message[lsid.start : lsid.end]
