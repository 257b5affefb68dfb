"""The callers of a run as this process knows them: each by its channel and its pidfd.

Signals go through pidfds: a process id may have been given to somebody else meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.connections.processes import silence

_START_TIMEOUT_S = 600.0
_PAGE_TIMEOUT_S = 600.0
_EVENT_LIMIT = 1 << 20


@dataclass(slots=True)
class Member:
    """A caller: how to talk to it, and what it has told."""

    number: int
    pid: int
    pidfd: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    invokes: int = 0
    throttles: int = 0

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)


@dataclass(slots=True)
class Tally:
    """What callers have told: latencies in ms, errors by their words, silent ones."""

    durations_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class Fleet:
    """Starts callers and tells them what to do; made by `open_fleet`."""

    def __init__(self, zygote: asyncio.subprocess.Process) -> None:
        self._zygote = zygote
        self._arrivals: dict[int, asyncio.Future[Member]] = {}
        self._members: list[Member] = []
        self._started = 0
        self.tally = Tally()

    @property
    def members(self) -> tuple[Member, ...]:
        """All callers that were ever started."""
        return tuple(self._members)

    @property
    def invokes(self) -> int:
        """Invokes of all callers."""
        return sum(member.invokes for member in self._members)

    @property
    def throttles(self) -> int:
        """Throttles of all callers."""
        return sum(member.throttles for member in self._members)

    async def start(self, count: int, url: str, *, over_s: float, queries: int) -> list[Member]:
        """Fork *count* callers evenly over *over_s* seconds; wait for the answers of each.

        Raises:
            TimeoutError: one did not come to life.
        """
        loop = asyncio.get_running_loop()
        first, self._started = self._started, self._started + count
        numbers = range(first, self._started)
        self._arrivals.update((number, loop.create_future()) for number in numbers)
        order = {
            "first": first,
            "count": count,
            "over_s": over_s,
            "url": url,
            "queries": queries,
        }
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps(order).encode() + b"\n")

        async def arrives(number: int) -> Member:
            member = await self._arrivals[number]
            await self._take_page(member, queries)
            return member

        async with asyncio.timeout(over_s + _START_TIMEOUT_S):
            return list(await asyncio.gather(*map(arrives, numbers)))

    async def pages(self, members: Iterable[Member], queries: int) -> None:
        """Have *members* send so many queries each, all at one time, and wait for the answers."""

        async def page(member: Member) -> None:
            member.writer.write(b"%d\n" % queries)
            await self._take_page(member, queries)

        await asyncio.gather(*map(page, members))

    async def _take_page(self, member: Member, queries: int) -> None:
        line = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_PAGE_TIMEOUT_S):
                line = await member.reader.readline()
        if not line:
            self.tally.errors["the caller did not answer"] += queries
            return
        told: dict[str, Any] = json.loads(line)
        self.tally.durations_ms += told["ms"]
        self.tally.errors.update(told["errors"])
        member.invokes, member.throttles = told["invokes"], told["throttles"]

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a caller's channel."""
        told = json.loads(await reader.readline())
        pid = told["pid"]
        member = Member(told["number"], pid, os.pidfd_open(pid), reader, writer)
        self._members.append(member)
        self._arrivals.pop(member.number).set_result(member)

    async def aclose(self) -> None:
        """End the zygote, and all callers with it."""
        assert self._zygote.stdin is not None
        for member in self._members:
            member.signal(signal.SIGKILL)
            member.writer.close()
            os.close(member.pidfd)
        self._zygote.stdin.close()
        if self._zygote.returncode is None:
            self._zygote.kill()  # between two forks too: its children end with it
        await self._zygote.wait()


def freeze(members: Iterable[Member]) -> None:
    """Stop them as AWS Lambda does between invocations."""
    for member in members:
        member.signal(signal.SIGSTOP)


def kill(members: Iterable[Member]) -> None:
    """SIGKILL: they close nothing, but this machine's kernel does it for them, at once."""
    for member in members:
        member.signal(signal.SIGKILL)


def vanish(members: Iterable[Member], port: int) -> set[str]:
    """End them as a microVM ends: the server at *port* hears nothing.

    Returns the connections that it keeps, by their addresses.

    Raises:
        PermissionError: not allowed, see `silence`.
    """
    left: set[str] = set()
    for member in members:
        member.signal(signal.SIGSTOP)
        left |= silence(member.pid, port)
        member.signal(signal.SIGKILL)
    return left


@asynccontextmanager
async def open_fleet(directory: Path) -> AsyncIterator[Fleet]:
    """Start a zygote; what it and its callers leave behind is below *directory*."""
    channel = directory / "callers.sock"
    fleet: Fleet | None = None
    # A server first: the zygote's callers connect to it.
    waiting: asyncio.Future[Fleet] = asyncio.get_running_loop().create_future()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (await waiting).connected(reader, writer)

    server = await asyncio.start_unix_server(
        connected, path=channel, limit=_EVENT_LIMIT, backlog=1024
    )
    try:
        zygote = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.connections.zygote",
            str(channel),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env={**os.environ, **_AS_ON_LAMBDA, "TMPDIR": str(directory)},
            start_new_session=True,  # Ctrl-C is for this process, which ends that one
        )
        fleet = Fleet(zygote)
        waiting.set_result(fleet)
        yield fleet
    finally:
        server.close()
        if fleet is not None:
            await fleet.aclose()


_AS_ON_LAMBDA = {
    # The driver then polls: one monitor connection instead of two.
    "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
    "AWS_LAMBDA_FUNCTION_NAME": "caller",
}
