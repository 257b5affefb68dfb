"""Documents one after the other: a cursor that is asked for a batch of them at a time.

The server's own batches, after the first, are 16 MB, which are a multiple of that once decoded: to
hold no more than `BATCH` documents, a stream says so. And to ask PyMongo's cursor for one document
costs as much as to decode it, so a stream asks for what the cursor has got.

This module knows neither models nor connections.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

from pymongo.cursor_shared import CursorType

BATCH = 1000
"""Documents in a batch, where nobody says otherwise; a batch has 16 MB at most in any case."""

LIST_BATCH = 10_000
"""Documents of a list that are asked for at a time. By default the server sends 101 first, so that
each list of some more would take two commands."""


class LongLists:
    """Which lists are long: more than `LIST_BATCH` documents, or 100,000, or all there are.

    These are fetched as BSON, lest the garbage collector go through them while they come. Others
    would take an eighth longer by that. Where nobody says how many it may be, it is taken to be
    as many as it was the last time.
    """

    def __init__(self) -> None:
        self._models: weakref.WeakSet[type] = weakref.WeakSet()

    def expected(self, model: type, limit: int) -> bool:
        """Whether a list of a model's documents will be long; a *limit* of 0 is none."""
        return limit > LIST_BATCH if limit else model in self._models

    def learn(self, model: type, length: int) -> None:
        """Remember the length of a list that had no limit."""
        if (length > LIST_BATCH) is not (model in self._models):
            (self._models.add if length > LIST_BATCH else self._models.discard)(model)


class RawStream:
    """What a cursor finds, not yet parsed.

    Args:
        cursor: of the driver's, not iterated over yet.
        options: those that it was made with.

    Attributes:
        ready: what has been fetched and not yet been taken.
    """

    __slots__ = ("_chunk", "_cursor", "_is_tailable", "ready")

    def __init__(self, cursor: Any, options: Mapping[str, Any]) -> None:
        self.ready: deque[Any] = deque()
        self._cursor = cursor
        # Such a cursor waits for more than there is; nobody should wait for a batch to be full.
        self._is_tailable = options.get("cursor_type", CursorType.NON_TAILABLE) not in (
            CursorType.NON_TAILABLE,
            CursorType.EXHAUST,
        )
        self._chunk = options.get("batch_size") or options.get("batchSize") or 0
        if not self._chunk and not self._is_tailable:
            self._chunk = BATCH
            cursor.batch_size(BATCH)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Return the next document.

        Raises:
            StopAsyncIteration: there is none.
        """
        if not self.ready:
            if self._is_tailable:
                return await anext(self._cursor)
            self.ready.extend(await self._cursor.to_list(self._chunk))
            if not self.ready:
                raise StopAsyncIteration
        return self.ready.popleft()

    async def aclose(self) -> None:
        """Close the cursor."""
        await self._cursor.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        # A copied query begins anew, as a copied cursor of the driver's does.
        return None
