"""Readers of change streams that never give up: each goes on behind the last token that it has.

What a reader is given it notes in the journal at once; that is its processing. The driver resumes
by itself where it may; where its error comes through, and where the caller was killed, the reader
opens the stream anew with ``resume_after``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from pymongo.errors import PyMongoError

from benchmarks.chaos.history import Journal, StreamEvent
from benchmarks.chaos.layout import END, WATCHED, Entry
from benchmarks.chaos.outcomes import describe, is_unexpected
from odm import Connection

SILENCE_S = 60.0
"""A reader that hears nothing for so long, not even that there is nothing, hangs."""

_AWAIT_MS = 200
_PAUSE_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderOptions:
    """A reader: what it is called, what it watches and how, and where it begins.

    Attributes:
        over: ``collection`` or ``database`` (the driver's `watch`), or ``repository``.
        token: ``_data`` of the token to go on behind.
    """

    name: str
    over: str
    token: str

    @property
    def collections(self) -> tuple[str, ...]:
        """What it watches."""
        return WATCHED if self.over == "database" else ("documents",)


class Reader:
    """Follows one stream to the end of the run."""

    def __init__(
        self,
        options: ReaderOptions,
        connection: Connection,
        journal: Journal,
        dump: Callable[[str], None],
    ) -> None:
        self._options = options
        self._connection = connection
        self._journal = journal
        self._dump = dump
        self._token: Mapping[str, Any] = {"_data": options.token}

    async def run(self) -> None:
        """Return when the run's last document was delivered."""
        name = self._options.name
        while True:
            self._journal.watches(name, self._options.collections)
            try:
                async with AsyncExitStack() as stack:
                    follow = (
                        self._repository if self._options.over == "repository" else self._driver
                    )
                    await follow(stack)
                    return
            except PyMongoError as error:
                if is_unexpected(error):
                    self._journal.problem(f"the stream of {name} failed: {describe(error)}")
            except TimeoutError:
                self._journal.problem(f"hang: {name} heard nothing for {SILENCE_S:.0f} s")
            await asyncio.sleep(random.uniform(0, _PAUSE_S))

    async def _driver(self, stack: AsyncExitStack) -> None:
        database = self._connection.database
        if self._options.over == "database":
            pipeline = [{"$match": {"ns.coll": {"$in": list(WATCHED)}}}]
            watch: Any = database.watch(
                pipeline, resume_after=self._token, max_await_time_ms=_AWAIT_MS
            )
        else:
            watch = database.documents.watch(resume_after=self._token, max_await_time_ms=_AWAIT_MS)
        stream = await stack.enter_async_context(await self._in_time(watch))
        while True:
            change = await self._in_time(stream.try_next())
            if change is None:
                self._token = stream.resume_token or self._token
                continue
            self._token = change["_id"]
            self._note(change["operationType"], change["ns"]["coll"], change["documentKey"]["_id"])
            if change["documentKey"]["_id"] == END:
                return

    async def _repository(self, stack: AsyncExitStack) -> None:
        watch = self._connection.repository(Entry).watch(resume_after=self._token)
        changes = await self._in_time(stack.enter_async_context(watch))
        while True:
            change = await self._in_time(anext(changes))
            self._token = change.resume_token
            self._note(change.operation, "documents", change.id)
            if change.id == END:
                return

    def _note(self, operation: str, collection: str, document: str) -> None:
        event = StreamEvent(
            token=self._token["_data"], operation=operation, collection=collection, id=document
        )
        self._journal.event(self._options.name, event)

    async def _in_time(self, awaitable: Any) -> Any:
        name = self._options.name
        loop = asyncio.get_running_loop()
        dump = loop.call_later(SILENCE_S - 1, self._dump, f"the stream of {name} hangs")
        try:
            async with asyncio.timeout(SILENCE_S):
                return await awaitable
        finally:
            dump.cancel()
