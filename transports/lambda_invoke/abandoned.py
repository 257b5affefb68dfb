"""Operations whose client has gone: ended on the server, as a server ends them itself.

A server notices that a connection has closed and interrupts what it runs for it. Here its
connection is the function's, which stays; so the caller says what to end (`CancelItem`), by session
and by the moment: what that session began later is another operation, and left alone.

What is short ends by itself sooner than it could be ended, so an operation is looked for when it
would have been running for `LONG_S`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from transports.endpoint.backend import Request
from transports.lambda_invoke.envelope import CancelItem, Item
from transports.lambda_invoke.failures import section_zero

LONG_S = 0.5
"""An operation that has run for so long is worth an invoke to end it."""

_CLOSE_S = 2.0
# A clock here and a clock there. The session of an operation outside a transaction goes back to the
# driver's pool, and what it begins next must not be taken for what was abandoned.
_CLOCK_SKEW_MS = 250.0

_log = logging.getLogger("odm.lambda")


class AbandonedOperations:
    """Ends them in the background.

    Args:
        send: carries items to the function.
    """

    def __init__(self, send: Callable[[Sequence[Item], None], Awaitable[Any]]) -> None:
        self._send = send
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, request: Request, started: float) -> None:
        """Take note that nobody waits for *request* any more, sent at *started* (epoch, s)."""
        age_s = max(time.time() - started, 0)
        item = _cancel_item(request, age_s * 1000)
        if item is None:
            return
        task = asyncio.get_running_loop().create_task(self._end(item, LONG_S - age_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, item: CancelItem, delay_s: float) -> None:
        try:
            await asyncio.sleep(max(delay_s, 0))
            await self._send([item], None)
        except Exception as error:  # nobody waits for the answer; the server's limits remain
            _log.warning("an abandoned operation could not be ended: %s", error)

    async def aclose(self) -> None:
        """Wait, bounded, for what is under way."""
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=_CLOSE_S)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)


def _cancel_item(request: Request, age_ms: float) -> CancelItem | None:
    try:
        command = section_zero(request.message)
    except (ValueError, BSONError):
        return None
    lsid = command.get("lsid")
    if not isinstance(lsid, RawBSONDocument):
        return None
    # Nothing follows in a transaction but its end, which waits for the statement: locks with it.
    in_transaction = command.get("autocommit") is False
    skew_ms = min(_CLOCK_SKEW_MS, age_ms / 2) if in_transaction else _CLOCK_SKEW_MS
    if age_ms <= skew_ms:
        return None
    return CancelItem(request.server, bytes(lsid.raw), int(time.time() * 1000 - skew_ms))
