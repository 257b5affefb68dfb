"""One caller: an execution environment of an application's function, as a process of its own.

It opens its transport with its first queries, as a handler does, and keeps it. Told to, it sends
queries gathered (a page), and answers with their latencies and errors. Nobody tells it to close.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from odm.cli.demo.comparable import explain_error
from transports import Transport, open_transport

COLLECTION = "articles"
_LONGEST_ERROR = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller is to be.

    Attributes:
        number: its own among all callers of a run.
        url: how it reaches the database.
        queries: how many it sends as soon as it lives.
    """

    number: int
    url: str
    queries: int


class Caller:
    """A caller's life."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._transport: Transport | None = None

    async def page(self, queries: int) -> dict[str, Any]:
        """Send *queries* at one time and tell of them.

        Returns:
            ``{"ms": […], "errors": {"text": 1}, "invokes": 1, "throttles": 0}``, the last two
            counted since the caller began.
        """
        started = time.perf_counter()
        durations: list[float] = []
        errors: Counter[str] = Counter()
        try:
            if self._transport is None:
                self._transport = await open_transport(self._url).open()
        except Exception as error:  # each of its queries fails with it
            errors[explain_error(error)[:_LONGEST_ERROR]] += queries
            return {"ms": durations, "errors": errors, "invokes": 0, "throttles": 0}
        collection = self._transport.database[COLLECTION]

        async def query(number: int) -> None:
            try:
                await collection.find_one({"_id": number})
            except Exception as error:
                errors[explain_error(error)[:_LONGEST_ERROR]] += 1
            else:
                durations.append(round((time.perf_counter() - started) * 1000, 3))

        await asyncio.gather(*map(query, range(queries)))
        counts = self._transport.statistics()
        throttles = counts.details.get("throttles", 0)
        return {
            "ms": durations,
            "errors": errors,
            "invokes": counts.invokes,
            "throttles": throttles,
        }


async def live(order: Order, pid: int, channel: str) -> None:
    """Be a caller until the other end of *channel*, a unix socket's path, closes."""
    reader, writer = await asyncio.open_unix_connection(channel)
    caller = Caller(order.url)

    def say(document: dict[str, Any]) -> None:
        writer.write(json.dumps(document).encode() + b"\n")

    say({"number": order.number, "pid": pid})
    say(await caller.page(order.queries))
    while line := await reader.readline():
        say(await caller.page(int(line)))
