"""The server's own count of its connections, ten times a second, in a thread.

``serverStatus().connections`` each time; every fifth time also who holds them, by ``appName``, from
``$currentOp``. A thread of its own: hundreds of callers keep the event loop busy.

Source: https://www.mongodb.com/docs/manual/reference/command/serverStatus/#connections
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import pymongo
from pymongo.errors import PyMongoError

from odm.cli.bench.connections import CONNECTIONS_COMMAND

SAMPLER = "odm-connections-sampler"
"""The ``appName`` of the sampler's own connections."""

EVERY_S = 0.1
_NAMES_EVERY = 5
_BY_NAME: list[dict[str, Any]] = [
    {"$currentOp": {"allUsers": True, "idleConnections": True}},
    {"$match": {"connectionId": {"$exists": True}, "appName": {"$exists": True}}},
    {"$group": {"_id": {"name": "$appName", "connection": "$connectionId"}}},
    {"$group": {"_id": "$_id.name", "count": {"$sum": 1}}},
]
_CLIENTS: list[dict[str, Any]] = [
    {"$currentOp": {"allUsers": True, "idleConnections": True}},
    {"$match": {"client": {"$exists": True}}},
    {"$project": {"client": 1}},
]
_OWN: list[dict[str, Any]] = [
    {"$currentOp": {"allUsers": True, "idleConnections": True}},
    {"$match": {"connectionId": {"$exists": True}, "appName": SAMPLER}},
    {"$group": {"_id": "$connectionId"}},
]
_OWN_CONNECTIONS = 2  # it polls: one monitor
_ALONE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The server at one moment: connections above those of before, the sampler's left out.

    Attributes:
        second: since the sampler began.
        current: open.
        created: since the sampler began.
        names: open by ``appName``; empty where it was not asked.
    """

    second: float
    current: int
    created: int
    names: Mapping[str, int] = field(default_factory=dict)


class Sampler:
    """Samples while it is entered.

    Args:
        address: of the server.
    """

    def __init__(self, address: str) -> None:
        self._client = pymongo.MongoClient[dict[str, Any]](
            address,
            directConnection=True,
            appName=SAMPLER,
            maxPoolSize=1,
            serverMonitoringMode="poll",
            serverSelectionTimeoutMS=5_000,
            socketTimeoutMS=20_000,
        )
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=SAMPLER, daemon=True)
        self._started = 0.0
        self._before = (0, 0)
        self.samples: list[Sample] = []
        self.missed = 0

    def __enter__(self) -> Self:
        # Those of whoever prepared the server are still being closed, and must not count as before.
        until = time.monotonic() + _ALONE_S
        while not self._is_alone():
            if time.monotonic() > until:
                self._client.close()
                raise TimeoutError("the server has connections before there are callers")
            time.sleep(0.05)
        self._before = self._ask()
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self._client.close()

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._started

    def look(self, *, names: bool = False) -> Sample:
        """Ask the server now; not kept as a sample."""
        second = self.now
        current, created = self._ask()
        return Sample(
            second=second,
            current=current - self._before[0],
            created=created - self._before[1],
            names=self._ask_names() if names else {},
        )

    def run(self, command: Mapping[str, Any]) -> None:
        """Run a command on ``admin``."""
        self._client.admin.command(dict(command))

    def clients(self) -> set[str]:
        """Return the addresses at the other ends of all connections."""
        return {str(each["client"]) for each in self._client.admin.aggregate(_CLIENTS)}

    def _is_alone(self) -> bool:
        """Whether nobody else is connected, and both its own connections are there."""
        current, _ = self._ask()
        own = self._client.admin.aggregate(_OWN)
        return current == _OWN_CONNECTIONS == len(list(own))

    def _run(self) -> None:
        count = 0
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due = max(due + EVERY_S, time.monotonic())
            try:
                self.samples.append(self.look(names=count % _NAMES_EVERY == 0))
            except PyMongoError:
                self.missed += 1
            count += 1

    def _ask(self) -> tuple[int, int]:
        found = self._client.admin.command(CONNECTIONS_COMMAND)["connections"]
        return int(found["current"]), int(found["totalCreated"])

    def _ask_names(self) -> dict[str, int]:
        found = self._client.admin.aggregate(_BY_NAME)
        return {str(each["_id"]): each["count"] for each in found if each["_id"] != SAMPLER}
