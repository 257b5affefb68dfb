"""The log of commands: what an application has sent, for a test to look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from transports.fake.values import Document

KEPT_COMMANDS: Final = 10_000

_UNLOGGED: Final = frozenset({"hello", "isMaster", "ismaster"})


@dataclass(frozen=True, slots=True)
class LoggedCommand:
    """One command that reached the fake.

    Attributes:
        name: as it was sent, e.g. ``"find"``.
        namespace: ``database.collection``; ``database`` alone for a command without collection.
        document: the command itself; not to be changed.
    """

    name: str
    namespace: str
    document: Document


class CommandLog:
    """The latest commands, oldest first; handshakes are left out."""

    def __init__(self) -> None:
        self._entries: deque[tuple[str, str, Document]] = deque(maxlen=KEPT_COMMANDS)

    def add(self, name: str, database: str, command: Document) -> None:
        """Add a command."""
        if name not in _UNLOGGED:
            self._entries.append((name, database, command))

    def clear(self) -> None:
        """Forget every command."""
        self._entries.clear()

    def named(self, name: str, namespace: str | None = None) -> list[LoggedCommand]:
        """Return the commands of a name, on one namespace if it is given."""
        return [
            entry
            for entry in self
            if entry.name == name and (namespace is None or entry.namespace == namespace)
        ]

    def __iter__(self) -> Iterator[LoggedCommand]:
        for name, database, command in self._entries:
            collection = command[name] if name != "getMore" else command.get("collection")
            namespace = f"{database}.{collection}" if type(collection) is str else database
            yield LoggedCommand(name, namespace, command)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<CommandLog: {', '.join(name for name, _, _ in self._entries) or 'empty'}>"
