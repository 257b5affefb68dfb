"""How many connections of the function each server sees, looked at all the time.

Counted by the server itself, by the name that the function's client gives: `$currentOp`, idle
connections included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from benchmarks.chaos.stage import APP_NAME, PROXY_APP_NAME

_EVERY_S = 0.2
_PIPELINE: list[dict[str, Any]] = [
    {"$currentOp": {"allUsers": True, "idleConnections": True}},
    {"$match": {"appName": PROXY_APP_NAME, "connectionId": {"$exists": True}}},
    {"$group": {"_id": "$connectionId"}},
    {"$count": "connections"},
]


class ConnectionWatch:
    """Samples until it is cancelled.

    Args:
        addresses: of the servers.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self.now = dict.fromkeys(addresses, 0)
        self.highest = dict.fromkeys(addresses, 0)
        self.samples = 0

    async def run(self) -> None:
        """Sample every server five times a second; one that does not answer is passed over."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            for address in self._addresses:
                client = AsyncMongoClient[dict[str, Any]](
                    address,
                    directConnection=True,
                    appName=APP_NAME,
                    serverSelectionTimeoutMS=500,
                    socketTimeoutMS=1000,
                )
                await stack.enter_async_context(client)
                tasks.create_task(self._sample(address, client))

    async def _sample(self, address: str, client: AsyncMongoClient[dict[str, Any]]) -> None:
        while True:
            try:
                found = await (await client.admin.aggregate(_PIPELINE)).to_list()
            except PyMongoError:
                self.now[address] = 0  # killed or frozen
            else:
                count = found[0]["connections"] if found else 0
                self.now[address] = count
                self.highest[address] = max(self.highest[address], count)
                self.samples += 1
            await asyncio.sleep(_EVERY_S)
