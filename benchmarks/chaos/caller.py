"""A caller: one application process with its workers and readers, over one connection.

``python -m benchmarks.chaos.caller`` reads its options as one line of JSON from stdin, then waits
there for ``drain``; it tells on stdout, a line of JSON each, that it is ready, how far it is, and
that its workers are done. It ends when its readers are at the end of the run, or at once when stdin
is closed: its parent has gone. It may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos import sabotage
from benchmarks.chaos.history import Journal
from benchmarks.chaos.layout import MODELS, Layout
from benchmarks.chaos.operations import KINDS
from benchmarks.chaos.outcomes import is_unexpected
from benchmarks.chaos.streams import Reader, ReaderOptions
from benchmarks.chaos.worker import Worker
from odm import Connection, connect
from transports.errors import TransportError

_HEARTBEAT_S = 1.0
_BLOCKED_S = 30.0
_OPEN_ATTEMPTS = 20

Tell = Callable[[str, dict[str, Any]], None]
"""Takes what happened (``ready``, ``progress``, ``drained``) and details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerOptions:
    """What a caller is told.

    Attributes:
        name: unique over the run, also among the callers that take a killed one's place.
        url: a transport URL.
        journal: path of its journal; stacks of what hangs go beside it.
        seed: of its workers' choices.
        sabotage: name of a defect to plant, empty for none; see `benchmarks.chaos.sabotage`.
    """

    name: str
    url: str
    journal: str
    seed: str
    workers: int
    layout: Layout
    readers: tuple[ReaderOptions, ...] = ()
    sabotage: str = ""

    def to_json(self) -> str:
        """Return one line that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CallerOptions:
        """Read what `to_json` wrote."""
        options = json.loads(text)
        options["layout"] = Layout(**options["layout"])
        options["readers"] = tuple(ReaderOptions(**each) for each in options["readers"])
        return cls(**options)


class Caller:
    """The process's work, without the process: a run within one process uses it, too."""

    def __init__(self, options: CallerOptions, tell: Tell) -> None:
        self._options = options
        self._tell = tell
        self._stacks = Path(options.journal).with_suffix(".stacks")
        self.draining = asyncio.Event()

    async def run(self) -> None:
        """Work until `draining` is set, then follow the streams to the end of the run."""
        options = self._options
        with Journal(Path(options.journal)) as journal, sabotage.planted(options.sabotage):
            connection = await self._connected(journal)
            async with connection, asyncio.TaskGroup() as tasks:
                self._tell("ready", {})
                heart = tasks.create_task(self._beat(journal))
                for reader in options.readers:
                    tasks.create_task(Reader(reader, connection, journal, self._dump).run())
                await self._work(connection, journal)
                heart.cancel()
                self._tell("progress", dict(journal.counts))
                self._tell("drained", {})

    async def _connected(self, journal: Journal) -> Connection:
        """Open the connection; whatever is broken just then, soon it is not."""
        for _ in range(_OPEN_ATTEMPTS):
            connection = connect(self._options.url, models=MODELS, create_indexes=False)
            try:
                return await connection.open()
            except Exception as error:
                if not isinstance(error, TransportError) and is_unexpected(error):
                    journal.problem(f"opening failed with a foreign error: {error!r}"[:500])
            await asyncio.sleep(0.2)
        raise SystemExit(f"{self._options.name}: no connection after {_OPEN_ATTEMPTS} attempts")

    async def _work(self, connection: Connection, journal: Journal) -> None:
        options = self._options
        async with asyncio.TaskGroup() as tasks:
            for number in range(options.workers):
                name = f"{options.name}-w{number}"
                worker = Worker(
                    name, connection, journal, options.layout, f"{options.seed}/{name}", self._dump
                )
                tasks.create_task(worker.run(KINDS, self.draining), name=name)

    async def _beat(self, journal: Journal) -> None:
        """Tell how far it is; and have the stacks written should the event loop stand still."""
        with self._stacks.open("a") as file:
            try:
                while True:
                    faulthandler.dump_traceback_later(_BLOCKED_S, file=file)
                    self._tell("progress", dict(journal.counts))
                    await asyncio.sleep(_HEARTBEAT_S)
            finally:
                faulthandler.cancel_dump_traceback_later()

    def _dump(self, why: str) -> None:
        text = io.StringIO()
        text.write(f"--- {why}\n")
        for task in asyncio.all_tasks():
            task.print_stack(file=text)
        with self._stacks.open("a") as file:
            file.write(text.getvalue())


def _tell(what: str, details: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps({"what": what, **details}), flush=True)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    caller = Caller(CallerOptions.from_json((await commands.readline()).decode()), _tell)

    async def obey() -> None:
        while line := await commands.readline():
            if line.strip() == b"drain":
                caller.draining.set()
        os._exit(3)  # the parent has gone: nobody is there to be told anything

    obeying = asyncio.create_task(obey())
    try:
        await caller.run()
    finally:
        obeying.cancel()


if __name__ == "__main__":
    asyncio.run(_main())
