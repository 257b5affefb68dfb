"""The callers as the run sees them: processes that can be killed, or tasks where it is one process.

Owns starting, telling, killing, replacing and ending them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.chaos.caller import Caller, CallerOptions
from benchmarks.chaos.history import read_journals

READY_S = 60.0
_KILLED_S = 5.0


class RunningCaller(Protocol):
    """A caller that has been started."""

    options: CallerOptions
    ready: asyncio.Event
    drained: asyncio.Event
    counts: dict[str, int]

    def drain(self) -> None:
        """Tell it to finish what its workers are doing."""

    async def ended(self) -> int:
        """Wait for its end; 0 if it ended well."""

    async def kill(self) -> None:
        """End it at once."""


class CallerProcess:
    """A caller in a process of its own. Make it with `start`."""

    def __init__(self, options: CallerOptions, process: asyncio.subprocess.Process) -> None:
        self.options = options
        self.ready = asyncio.Event()
        self.drained = asyncio.Event()
        self.counts: dict[str, int] = {}
        self._process = process
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, options: CallerOptions) -> CallerProcess:
        """Start it; its ``stderr`` goes to a file beside its journal."""
        with Path(options.journal).with_suffix(".stderr").open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "benchmarks.chaos.caller"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is the run's to handle
            )
        caller = cls(options, process)
        caller._write(options.to_json())
        return caller

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            with contextlib.suppress(ValueError):  # killed in the middle of a line
                _heard(self, json.loads(line))

    def drain(self) -> None:
        self._write("drain")

    async def ended(self) -> int:
        await asyncio.shield(self._listening)
        return await self._process.wait()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self.ended()


class CallerTask:
    """A caller in the run's own process and event loop."""

    def __init__(self, options: CallerOptions) -> None:
        self.options = options
        self.ready = asyncio.Event()
        self.drained = asyncio.Event()
        self.counts: dict[str, int] = {}
        self._caller = Caller(options, self._tell)
        self._task = asyncio.create_task(self._caller.run())

    def _tell(self, what: str, details: dict[str, Any]) -> None:
        _heard(self, {"what": what, **details})

    def drain(self) -> None:
        self._caller.draining.set()

    async def ended(self) -> int:
        await asyncio.shield(self._task)
        return 0

    async def kill(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task], timeout=_KILLED_S)
        if self._task.done() and not self._task.cancelled():
            self._task.exception()


def _heard(caller: RunningCaller, message: dict[str, Any]) -> None:
    match message.pop("what"):
        case "ready":
            caller.ready.set()
        case "progress":
            caller.counts = message
        case "drained":
            caller.drained.set()


class Callers:
    """All of them, and those that took the place of killed ones."""

    def __init__(self, *, in_process: bool) -> None:
        self._in_process = in_process
        self._running: list[RunningCaller] = []
        self._counts_of_killed: Counter[str] = Counter()
        self._draining = False
        self.journals: list[Path] = []
        self.problems: list[str] = []

    @property
    def counts(self) -> Counter[str]:
        """Outcomes so far, by kind."""
        counts = Counter(self._counts_of_killed)
        for caller in self._running:
            counts.update(caller.counts)
        return counts

    async def start(self, options: CallerOptions) -> None:
        """Start one."""
        journal = Path(options.journal)
        # It may be killed before it writes anything.
        await asyncio.to_thread(journal.touch)
        self.journals.append(journal)
        self._running.append(
            CallerTask(options) if self._in_process else await CallerProcess.start(options)
        )

    async def all_ready(self) -> None:
        """Wait until each has its connection.

        Raises:
            TimeoutError: one has none after a minute.
        """
        await self._each("it had no connection", READY_S, lambda caller: caller.ready)
        if self.problems:
            raise TimeoutError("; ".join(self.problems))

    async def replace_one(self, choices: random.Random) -> int:
        """Kill one that works and start its successor, which follows the same streams."""
        working = [caller for caller in self._running if caller.ready.is_set()]
        if not working or self._draining:
            return 0
        victim = choices.choice(working)
        await victim.kill()
        self._running.remove(victim)
        self._counts_of_killed.update(victim.counts)
        await self.start(self._successor(victim.options))
        return 1

    def _successor(self, killed: CallerOptions) -> CallerOptions:
        name, _, generation = killed.name.partition("'")
        name = f"{name}'{int(generation or 0) + 1}"
        # What a reader has noted, it has processed: it goes on behind that.
        streams = read_journals(self.journals).streams
        readers = tuple(
            replace(reader, token=streams[reader.name][-1].token)
            if streams.get(reader.name)
            else reader
            for reader in killed.readers
        )
        journal = Path(killed.journal).with_name(f"{name}.journal")
        return replace(killed, name=name, readers=readers, journal=str(journal))

    async def drain(self, timeout_s: float) -> None:
        """Have all workers finish; who does not in time is a problem."""
        self._draining = True
        for caller in self._running:
            caller.drain()
        await self._each("its workers did not finish", timeout_s, lambda caller: caller.drained)

    async def ended(self, timeout_s: float) -> None:
        """Wait until all have ended; who does not in time is a problem, and is killed."""
        await self._each("its streams did not come to the end", timeout_s)

    async def _each(
        self,
        failing: str,
        timeout_s: float,
        until: Callable[[RunningCaller], asyncio.Event] | None = None,
    ) -> None:
        """Wait for an event of each caller, or for its end."""

        async def wait(caller: RunningCaller) -> None:
            ending = asyncio.ensure_future(caller.ended())
            waiting = {ending}
            if until is not None:
                waiting.add(asyncio.ensure_future(_wait(until(caller))))
            done, pending = await asyncio.wait(
                waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            for each in pending:
                each.cancel()
            name = caller.options.name
            if not done:
                self.problems.append(f"hang: caller {name}: {failing} in {timeout_s:.0f} s")
                await caller.kill()
            elif ending in done and (ending.exception() or ending.result()):
                what = ending.exception() or f"exit code {ending.result()}"
                self.problems.append(f"caller {name} ended by itself: {what!r}"[:500])
                self._running.remove(caller)

        await asyncio.gather(*map(wait, list(self._running)))

    async def kill(self) -> None:
        """End all at once. Idempotent."""
        running, self._running = self._running, []
        await asyncio.gather(*(caller.kill() for caller in running))


async def _wait(event: asyncio.Event) -> int:
    await event.wait()
    return 0


def share_out(total: int, parts: int) -> Sequence[int]:
    """Divide *total* into *parts* as equal as can be."""
    return [total // parts + (number < total % parts) for number in range(parts)]
