"""What a client was seen to do: command and pool events, kept, waited for and compared.

Spec: unified test format, "expectedEvent"
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import monitoring

from tests.spec.unified.matcher import Lookup, Mismatch, match

# Their commands and replies are redacted, and nearly every test ignores them.
SENSITIVE = frozenset(
    {
        "authenticate",
        "saslStart",
        "saslContinue",
        "getnonce",
        "createUser",
        "updateUser",
        "copydbgetnonce",
        "copydbsaslstart",
        "copydb",
    }
)
_HANDSHAKES = frozenset({"hello", "ismaster", "isMaster"})


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name in the tests, ``command`` or ``cmap``, and the driver's own object."""

    name: str
    kind: str
    raw: Any


class EventLog(monitoring.CommandListener, monitoring.ConnectionPoolListener):
    """The events of one client that its test observes."""

    def __init__(
        self,
        observed: Sequence[str],
        ignored_commands: Sequence[str] = (),
        observe_sensitive: bool = False,
    ) -> None:
        self.events: list[Event] = []
        self._observed = frozenset(observed)
        self._ignored = {"configureFailPoint", *ignored_commands}
        self._observe_sensitive = observe_sensitive
        self._arrived = asyncio.Event()

    async def wait_for(self, expected: Mapping[str, Any], count: int, entities: Lookup) -> None:
        """Wait, at most 10 s, until *count* events match."""

        async with asyncio.timeout(10):
            while self.count(expected, entities) < count:
                self._arrived.clear()
                await self._arrived.wait()

    def count(self, expected: Mapping[str, Any], entities: Lookup) -> int:
        """How many of the events so far match."""
        return sum(_matches(expected, event, entities) for event in self.events)

    def started_commands(self) -> list[Mapping[str, Any]]:
        """The commands sent so far, in order."""
        return [event.raw.command for event in self.events if event.name == "commandStartedEvent"]

    def _add(self, name: str, kind: str, raw: Any) -> None:
        if name not in self._observed:
            return
        self.events.append(Event(name, kind, raw))
        self._arrived.set()

    def _add_command(self, name: str, event: Any, command: Mapping[str, Any] | None = None) -> None:
        if event.command_name in self._ignored:
            return
        redacted = command is not None and not command
        sensitive = event.command_name in SENSITIVE or (
            event.command_name in _HANDSHAKES and redacted
        )
        if not sensitive or self._observe_sensitive:
            self._add(name, "command", event)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self._add_command("commandStartedEvent", event, event.command)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._add_command("commandSucceededEvent", event, event.reply)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._add_command("commandFailedEvent", event)

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        self._add("poolCreatedEvent", "cmap", event)

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        self._add("poolReadyEvent", "cmap", event)

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        self._add("poolClearedEvent", "cmap", event)

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        self._add("poolClosedEvent", "cmap", event)

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        self._add("connectionCreatedEvent", "cmap", event)

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        self._add("connectionReadyEvent", "cmap", event)

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        self._add("connectionClosedEvent", "cmap", event)

    def connection_check_out_started(
        self, event: monitoring.ConnectionCheckOutStartedEvent
    ) -> None:
        self._add("connectionCheckOutStartedEvent", "cmap", event)

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        self._add("connectionCheckOutFailedEvent", "cmap", event)

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        self._add("connectionCheckedOutEvent", "cmap", event)

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        self._add("connectionCheckedInEvent", "cmap", event)


def match_events(expectation: Mapping[str, Any], log: EventLog, entities: Lookup) -> None:
    """Compare a client's events with one entry of ``expectEvents``.

    Raises:
        Mismatch: an event is missing, too many, or not as expected.
    """
    kind = expectation.get("eventType", "command")
    actual = [event for event in log.events if event.kind == kind]
    expected = expectation["events"]
    extra_allowed = expectation.get("ignoreExtraEvents", False)
    if len(actual) < len(expected) or (len(actual) > len(expected) and not extra_allowed):
        raise Mismatch(
            f"expected {len(expected)} {kind} events, got {len(actual)}: "
            + ", ".join(_described(event) for event in actual)
        )
    for number, (wanted, event) in enumerate(zip(expected, actual, strict=False)):
        match_event(wanted, event, entities, f"event {number}")


def match_event(expected: Mapping[str, Any], event: Event, entities: Lookup, path: str) -> None:
    """Compare one event with ``{"commandStartedEvent": {…}}``.

    Raises:
        Mismatch: it is another event, or one of its fields differs.
    """
    ((name, fields),) = expected.items()
    if event.name != name:
        raise Mismatch(f"{path}: expected {name}, got {_described(event)}")
    for field, value in fields.items():
        where = f"{path} {_described(event)}.{field}"
        match(value, _FIELDS[field](event.raw), entities, path=where)


def _matches(expected: Mapping[str, Any], event: Event, entities: Lookup) -> bool:
    try:
        match_event(expected, event, entities, "")
    except Mismatch:
        return False
    return True


def _described(event: Event) -> str:
    return f"{event.name}({getattr(event.raw, 'command_name', '')})"


_FIELDS: Mapping[str, Any] = {
    "command": lambda event: event.command,
    "reply": lambda event: event.reply,
    "commandName": lambda event: event.command_name,
    "databaseName": lambda event: event.database_name,
    "hasServiceId": lambda event: event.service_id is not None,
    "hasServerConnectionId": lambda event: event.server_connection_id is not None,
    "reason": lambda event: event.reason,
    "interruptInUseConnections": lambda event: event.interrupt_connections,
}
