"""The tunnel's observer: counts in a `Meter`, and keeps what happened until it is written.

A client waits while an observer is told something; so nothing is written here, and what is not
fetched in time is dropped and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from odm.cli.tunnel.meter import Meter, Who
from transports.endpoint import FinishedCommand
from transports.endpoint.backend import Client

MAX_WAITING = 10_000
"""Events that wait to be written."""

Event = dict[str, Any]


class Watch:
    """An `Observer` of an endpoint.

    Args:
        log_commands: whether each command is an event, too.

    Attributes:
        meter: what it counts.
        dropped: events that nobody fetched in time.
    """

    def __init__(self, *, log_commands: bool = False) -> None:
        self.meter = Meter()
        self.dropped = 0
        self._log_commands = log_commands
        self._events: deque[Event] = deque()
        self._happened = asyncio.Event()
        self._addresses: dict[str, str] = {}

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where the members are reached, by member."""
        return self._addresses

    def take(self) -> list[Event]:
        """Return the events since it was last called: documents with ``event`` and ``time``."""
        events = list(self._events)
        self._events.clear()
        self._happened.clear()
        return events

    async def wait(self, timeout_s: float) -> None:
        """Wait until there are events, *timeout_s* at most."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._happened.wait()
        except TimeoutError:
            return

    # -- what the endpoint calls -------------------------------------------------------------

    def listening(self, addresses: Mapping[str, str]) -> None:
        """Note where the members are reached; a change is an event."""
        changed = bool(self._addresses) and dict(addresses) != self._addresses
        self._addresses = dict(addresses)
        if changed:
            self._add("members", members=self._addresses)

    def connection_opened(self, connection_id: int, peer: str) -> None:
        """Count it; who it is, its handshake will tell."""
        self.meter.opened(connection_id, peer)

    def client_known(self, client: Client, driver: str) -> None:
        """Note whose connection it is; a client's first one is an event."""
        who = self.meter.known(client.connection_id, client.app_name, driver)
        if who is not None:
            self._add("connected", **_described(who))

    def connection_refused(self, connection_id: int, reason: str) -> None:
        """Count it; the first for each reason is an event, drivers try again and again."""
        new = reason not in self.meter.refused
        client = self.meter.turned_away(connection_id, reason)
        if new:
            self._add("refused", reason=reason, client=client)

    def connection_closed(self, connection_id: int) -> None:
        """Note its end; the end of a client's last one is an event."""
        who = self.meter.closed(connection_id)
        if who is not None:
            self._add("disconnected", **_described(who))

    def command_finished(self, command: FinishedCommand) -> None:
        """Count it; an event where that was asked for."""
        who = self.meter.finished(command)
        if not self._log_commands:
            return
        namespace = ".".join(filter(None, (command.database, command.collection)))
        event = {
            "command": command.name,
            "namespace": namespace,
            "duration_ms": round(command.duration_s * 1000, 3),
            "request_bytes": command.request_bytes,
            "reply_bytes": command.reply_bytes,
            "client": who.name if who is not None else "",
        }
        if command.failure is not None:
            event |= {"code": command.failure.code, "code_name": command.failure.code_name}
        self._add("command", **event)

    def _add(self, event: str, **fields: Any) -> None:
        if len(self._events) >= MAX_WAITING:
            self.dropped += 1
            return
        self._events.append(
            {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields}
        )
        self._happened.set()


def _described(who: Who) -> dict[str, str]:
    return {"client": who.name, "driver": who.driver, "from": who.origin}
