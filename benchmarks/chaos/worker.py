"""One worker: an endless loop of operations, each chosen by its seed, noted, bounded, judged.

Knows the journal and the kinds of operations; knows nothing of faults.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from benchmarks.chaos.history import Journal
from benchmarks.chaos.layout import Layout
from benchmarks.chaos.outcomes import describe, is_unexpected, outcome_of
from odm import Connection

if TYPE_CHECKING:
    from benchmarks.chaos.operations import Kind

_THINK_S = 0.02


class Worker:
    """What the kinds of operations need to know of who runs them.

    Args:
        name: unique over the run; a part of every id that the worker makes.
        connection: open, over the transport under test.
        journal: the caller's.
        layout: what there is to write to.
        seed: of all choices.
        dump: called before an operation that hangs is cancelled, to write down the stacks.
    """

    def __init__(
        self,
        name: str,
        connection: Connection,
        journal: Journal,
        layout: Layout,
        seed: str,
        dump: Callable[[str], None],
    ) -> None:
        self.name = name
        self.connection = connection
        self.layout = layout
        self.random = random.Random(seed)
        self.session: AsyncClientSession | None = None
        self.own: list[str] = []
        """Documents that it inserted, was told so, and has not deleted."""
        self.marked = 0
        """The highest value that its own mark is known to have."""
        self.marking = 0
        """The highest value that its own mark may have."""
        self._journal = journal
        self._dump = dump
        self._count = 0

    async def run(self, kinds: Sequence[Kind], stop: asyncio.Event) -> None:
        """Run operations until *stop* is set; the one under way is finished."""
        weights = [kind.weight for kind in kinds]
        async with self.connection.client.start_session(causal_consistency=True) as self.session:
            while not stop.is_set():
                [kind] = self.random.choices(kinds, weights)
                if kind.possible(self):
                    await asyncio.gather(*(self._do(kind) for _ in range(kind.times)))
                await asyncio.sleep(self.random.uniform(0, _THINK_S))

    async def _do(self, kind: Kind) -> None:
        self._count += 1
        operation = f"{self.name}.{self._count}"
        effects = kind.choose(self, operation)
        self._journal.begin(operation, kind.name, self.name, effects)
        loop = asyncio.get_running_loop()
        dump = loop.call_later(kind.limit_s - 1, self._dump, f"{operation} ({kind.name}) hangs")
        try:
            async with asyncio.timeout(kind.limit_s) as limit:
                result = await kind.run(self, operation, effects)
        except PyMongoError as error:
            self._journal.end(
                operation,
                "unknown"
                if kind.compound
                else outcome_of(error, in_transaction=kind.in_transaction),
                error=describe(error),
                unexpected=is_unexpected(error),
            )
        except TimeoutError as error:
            hung = limit.expired()
            self._journal.end(
                operation, "unknown", error=describe(error), hung=hung, unexpected=not hung
            )
        except Exception as error:
            self._journal.end(
                operation, "unknown", error=describe(error), unexpected=is_unexpected(error)
            )
        else:
            kind.done(self, effects, result)
            self._journal.end(operation, "acknowledged", result=result)
        finally:
            dump.cancel()
