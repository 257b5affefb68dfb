"""How many connections a MongoDB server sees while a transport works.

Read from ``serverStatus`` on a connection of its own, which is there before counting begins.
Source: https://www.mongodb.com/docs/manual/reference/command/serverStatus/#connections
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

_APP_NAME = "odm-demo-observer"
_INTERVAL_S = 0.05
_SETTLE_S = 1.0
# Everything that is left out is not computed: the question costs the server less.
_QUESTION = {
    "serverStatus": 1,
    **dict.fromkeys(
        ("asserts", "extra_info", "locks", "metrics", "network", "opcounters", "repl"), 0
    ),
    **dict.fromkeys(("tcmalloc", "transactions", "wiredTiger", "flowControl", "mirroredReads"), 0),
}


@dataclass(slots=True)
class ConnectionCount:
    """What one transport's turn looked like from the server.

    Attributes:
        peak: connections open at the same time, those of before the turn left out.
        opened: connections made, closed ones included.
    """

    peak: int = 0
    opened: int = 0


class Observer:
    """Watches one server's connections."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]]) -> None:
        self._client = client
        self._settled: int | None = None

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[ConnectionCount | None]:
        """Count while the block runs. None where the server does not tell (no privilege)."""
        try:
            current, created = await self._settle()
        except PyMongoError:
            yield None
            return
        count = ConnectionCount()
        sampling = asyncio.create_task(self._sample(count, current, created))
        try:
            yield count
        finally:
            sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError, PyMongoError):
                await sampling
            with contextlib.suppress(PyMongoError):
                await self._note(count, current, created)

    async def _settle(self) -> tuple[int, int]:
        """Wait, bounded, until those who left have been noticed."""
        deadline = asyncio.get_running_loop().time() + _SETTLE_S
        current, created = await self._ask()
        if self._settled is None:
            self._settled = current
        while current > self._settled and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_INTERVAL_S)
            current, created = await self._ask()
        self._settled = current
        return current, created

    async def _sample(self, count: ConnectionCount, current: int, created: int) -> None:
        while True:
            await self._note(count, current, created)
            await asyncio.sleep(_INTERVAL_S)

    async def _note(self, count: ConnectionCount, current: int, created: int) -> None:
        now, made = await self._ask()
        count.peak = max(count.peak, now - current)
        count.opened = made - created

    async def _ask(self) -> tuple[int, int]:
        reply = await self._client.admin.command(_QUESTION)
        connections = reply["connections"]
        return int(connections["current"]), int(connections["totalCreated"])


@asynccontextmanager
async def observe(uri: str) -> AsyncIterator[Observer]:
    """Observe the server under a ``mongodb://`` URI."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        uri, appName=_APP_NAME, maxPoolSize=1, serverSelectionTimeoutMS=5_000
    )
    try:
        yield Observer(client)
    finally:
        await client.close()
