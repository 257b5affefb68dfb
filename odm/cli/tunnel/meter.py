"""What has gone through a tunnel, counted: clients, commands, errors, latencies, rates.

It knows no terminal and no transport, and its clock is given to it. Names come from clients, so
there is a limit to how many of them are told apart.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from odm.cli.tunnel.latencies import Latencies
from transports.endpoint import FinishedCommand
from transports.endpoint.replies import ReplyFailure

RATE_WINDOW_S = 10
"""The seconds that a rate is of."""

MAX_NAMES = 200
"""Commands told apart by name; there are some 150, and a client may make up others."""

OTHERS = "(others)"

_MAY_WAIT = frozenset({"getMore"})  # for data to come: that is no latency


@dataclass(frozen=True, slots=True)
class Who:
    """A client as far as it can be told: connections of one process mostly have one of these.

    Attributes:
        name: its application's name, or that of its driver.
        driver: name and version.
        origin: its host, or its process where it came through a socket.
    """

    name: str
    driver: str
    origin: str

    def __str__(self) -> str:
        driver = f" ({self.driver})" if self.driver and self.driver != self.name else ""
        return f"{self.name}{driver} from {self.origin}"


class Rate:
    """Events a second, of the last `RATE_WINDOW_S`."""

    __slots__ = ("_clock", "_seconds", "_started")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self._seconds: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOW_S + 1)

    def add(self) -> None:
        """Count one now."""
        now = int(self._clock())
        if self._seconds and self._seconds[-1][0] == now:
            self._seconds[-1] = (now, self._seconds[-1][1] + 1)
        else:
            self._seconds.append((now, 1))

    def per_second(self) -> float:
        """Return the rate now."""
        now = self._clock()
        recent = sum(number for second, number in self._seconds if second > now - RATE_WINDOW_S)
        return recent / min(RATE_WINDOW_S, max(1.0, now - self._started))


@dataclass(slots=True)
class Tally:
    """What became of commands: of one name, or of one client."""

    rate: Rate
    count: int = 0
    errors: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, command: FinishedCommand) -> None:
        """Count a command."""
        self.count += 1
        self.errors += command.failure is not None
        self.latencies.add(command.duration_s)
        self.rate.add()


@dataclass(slots=True)
class _Connection:
    origin: str
    who: Who | None = None


class Meter:
    """Counts.

    Attributes:
        commands: by name.
        total: of all commands; its latencies leave out those that may wait for data.
        failures: how often which.
        refused: clients that failed to authenticate or made no sense, by reason.
        request_bytes: received in commands.
        reply_bytes: sent in replies.
        seen: every client there has been (the first `MAX_NAMES`).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._connections: dict[int, _Connection] = {}
        self._clients: dict[Who, Tally] = {}
        self._open: Counter[Who] = Counter()
        self.commands: dict[str, Tally] = {}
        self.total = self._tally()
        self.failures: Counter[ReplyFailure] = Counter()
        self.refused: Counter[str] = Counter()
        self.request_bytes = 0
        self.reply_bytes = 0
        self.seen: set[Who] = set()

    @property
    def duration_s(self) -> float:
        """Seconds since it began to count."""
        return self._clock() - self._started

    # -- what happens ------------------------------------------------------------------------

    def opened(self, connection_id: int, peer: str) -> None:
        """Count a connection of *peer*: ``"127.0.0.1:50914"`` or ``"pid 4711"``."""
        origin = peer if peer.startswith("pid ") else peer.rpartition(":")[0] or peer
        self._connections[connection_id] = _Connection(origin)

    def known(self, connection_id: int, app_name: str | None, driver: str) -> Who | None:
        """Note whose connection it is; return the client if it was not there before."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return None
        new = Who(app_name or driver or "unnamed", driver, connection.origin)
        connection.who = new
        self._open[new] += 1
        self._clients.setdefault(new, self._tally())
        if len(self.seen) < MAX_NAMES:
            self.seen.add(new)
        return new if self._open[new] == 1 else None

    def closed(self, connection_id: int) -> Who | None:
        """Count the end of a connection; return the client if this was its last one."""
        connection = self._connections.pop(connection_id, None)
        who = connection.who if connection is not None else None
        if who is None:
            return None
        self._open[who] -= 1
        if self._open[who]:
            return None
        del self._open[who], self._clients[who]
        return who

    def turned_away(self, connection_id: int, reason: str) -> str:
        """Count a client that failed to authenticate, or made no sense; return who it was."""
        self.refused[reason if len(self.refused) < MAX_NAMES else OTHERS] += 1
        connection = self._connections.get(connection_id)
        if connection is None:
            return ""
        return str(connection.who) if connection.who is not None else connection.origin

    def finished(self, command: FinishedCommand) -> Who | None:
        """Count a command; return whose it was."""
        name = command.name
        if name not in self.commands:
            name = name if len(self.commands) < MAX_NAMES else OTHERS
            self.commands.setdefault(name, self._tally())
        self.commands[name].add(command)
        self._count(command)
        connection = self._connections.get(command.client.connection_id)
        who = connection.who if connection is not None else None
        if who is not None and who in self._clients:
            self._clients[who].add(command)
        return who

    def _count(self, command: FinishedCommand) -> None:
        self.total.count += 1
        self.total.rate.add()
        if command.name not in _MAY_WAIT:
            self.total.latencies.add(command.duration_s)
        self.request_bytes += command.request_bytes
        self.reply_bytes += command.reply_bytes
        if command.failure is not None:
            self.total.errors += 1
            known = command.failure in self.failures or len(self.failures) < MAX_NAMES
            self.failures[command.failure if known else ReplyFailure(0, OTHERS)] += 1

    # -- what is so now ----------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def clients(self) -> list[tuple[Who, int, Tally]]:
        """Return who is connected now, over how many connections, and what they did."""
        return [(who, self._open[who], tally) for who, tally in self._clients.items()]

    def by_count(self) -> list[tuple[str, Tally]]:
        """Return the commands' names and tallies, the most frequent first."""
        return sorted(self.commands.items(), key=lambda item: (-item[1].count, item[0]))

    def _tally(self) -> Tally:
        return Tally(Rate(self._clock))
