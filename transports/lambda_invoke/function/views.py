"""The definitions of views, for a policy that restricts collections or stages.

Asked of the server that the command is for, and remembered for a few seconds: a view that somebody
changes on another way is read by its old definition for no longer than that.

Source: https://www.mongodb.com/docs/manual/reference/command/listCollections/
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import bson
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS

from transports.lambda_invoke.function.executor import Executor, NotCompleted

REMEMBERED_S = 5.0
MAX_REMEMBERED = 1000
MAX_REMEMBERED_BYTES = 1_000_000
"""Of definitions: one may have 16 MB, and whoever may create views creates as many as they like."""

_Name = tuple[str, str]


@dataclass(slots=True)
class ViewCatalog:
    """Definitions that one process of the function has met."""

    executor: Executor
    remembered: dict[_Name, tuple[float, bytes | None]] = field(default_factory=dict)
    remembered_bytes: int = 0

    def at(self, server: str, timeout_s: float) -> ViewsAt:
        """Return the views as *server* knows them, for no longer than *timeout_s* in all."""
        return ViewsAt(self, server, time.monotonic() + timeout_s)

    def remember(self, name: _Name, definition: bytes | None) -> None:
        """Keep what was found, in bounded memory."""
        size = len(definition or b"")
        full = self.remembered_bytes + size > MAX_REMEMBERED_BYTES
        if full or len(self.remembered) >= MAX_REMEMBERED:
            self.remembered.clear()
            self.remembered_bytes = 0
        if size <= MAX_REMEMBERED_BYTES:
            self.remembered[name] = (time.monotonic() + REMEMBERED_S, definition)
            self.remembered_bytes += size


@dataclass(frozen=True, slots=True)
class ViewsAt:
    """`policy.Views` of one server, for the time of one command."""

    catalog: ViewCatalog
    server: str
    deadline: float

    def definition(self, database: str, collection: str) -> bytes | None:
        """Return a view's options as BSON (``viewOn``, ``pipeline``), None for no view.

        Raises:
            NotCompleted: the server was not reached.
            LookupError: it does not say.
        """
        name = (database, collection)
        known = self.catalog.remembered.get(name)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        found = self._ask(database, collection)
        self.catalog.remember(name, found)
        return found

    def _ask(self, database: str, collection: str) -> bytes | None:
        command = {
            "listCollections": 1,
            "filter": {"name": collection, "type": "view"},
            "$db": database,
            "$readPreference": {"mode": "secondaryPreferred"},
        }
        message = bytes(5) + bson.encode(command)
        remaining = max(self.deadline - time.monotonic(), 0.001)
        try:
            answer = self.catalog.executor.run(self.server, message, timeout_s=remaining)
        except NotCompleted as error:  # whatever became of the question, the command did not run
            raise NotCompleted(error.server, error.error, ran="no") from error
        reply = bson.decode(answer, DEFAULT_RAW_BSON_OPTIONS)
        if reply["ok"] != 1:
            raise LookupError(f"{self.server} does not say whether {collection} is a view")
        for found in reply["cursor"]["firstBatch"]:
            return bytes(found["options"].raw)
        return None
