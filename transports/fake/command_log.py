"""The log of commands: what an application has sent, for a test to look at and to assert on."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, overload

from transports.fake.bson_text import render
from transports.fake.commands.registry import COMMANDS
from transports.fake.values import Document

KEPT_COMMANDS: Final = 10_000

UNLOGGED: Final = frozenset({"hello", "isMaster", "ismaster"})
# What a driver adds to every command: of no interest where a command is shown.
_DRIVERS_OWN: Final = frozenset(
    {
        "$clusterTime",
        "$db",
        "$readPreference",
        "autocommit",
        "lsid",
        "startTransaction",
        "txnNumber",
    }
)
_BY_METHOD: Final[Mapping[str, str]] = {
    "aggregate_raw_batches": "aggregate",
    "bulk_write": "insert, update or delete",
    "count_documents": "aggregate",
    "create_index": "createIndexes",
    "delete_many": "delete",
    "delete_one": "delete",
    "drop_index": "dropIndexes",
    "estimated_document_count": "count",
    "find_one": "find",
    "find_one_and_delete": "findAndModify",
    "find_one_and_replace": "findAndModify",
    "find_one_and_update": "findAndModify",
    "insert_many": "insert",
    "insert_one": "insert",
    "replace_one": "update",
    "update_many": "update",
    "update_one": "update",
    "watch": "aggregate",
}
_SHOWN_COMMANDS: Final = 20
_SHOWN_CHARACTERS: Final = 300

Condition = Callable[["LoggedCommand"], bool]


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

    @classmethod
    def of(cls, name: str, database: str, command: Document) -> LoggedCommand:
        """Return a command as the log shows it."""
        collection: Any = command[name] if name != "getMore" else command.get("collection")
        namespace = f"{database}.{collection}" if type(collection) is str else database
        return cls(name, namespace, command)

    def __str__(self) -> str:
        shown = {
            key: value
            for key, value in self.document.items()
            if key not in _DRIVERS_OWN and key != self.name
        }
        text = f"{self.name} {self.namespace} {render(shown)}"
        return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


class CommandLog(Sequence[LoggedCommand]):
    """The latest commands, oldest first; handshakes are left out.

    It is a sequence: ``len(log)``, ``log[-1].document["filter"]``, ``for command in log``.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[str, str, Document]] = deque(maxlen=KEPT_COMMANDS)
        self._paused = 0

    def add(self, name: str, database: str, command: Document) -> None:
        """Add a command."""
        if name not in UNLOGGED and not self._paused:
            self._entries.append((name, database, command))

    def clear(self) -> None:
        """Forget every command."""
        self._entries.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Log nothing meanwhile: for what a test does to prepare itself."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def filter(
        self,
        name: str | None = None,
        namespace: str | None = None,
        where: Condition | None = None,
    ) -> list[LoggedCommand]:
        """Return the commands that meet every condition given.

        Args:
            name: the command's name, e.g. ``"update"``.
            namespace: ``"database.collection"``; ``".collection"`` for any database,
                ``"database."`` for any collection.
            where: takes a `LoggedCommand`.

        Raises:
            ValueError: no command has such a name, or no namespace; a test that asserts that it
                was not sent could not fail.
        """
        if name is not None and all(name != logged for logged, _, _ in self._entries):
            require_command(name)
        if namespace is not None:
            require_namespace(namespace)
        return [
            entry
            for entry in self
            if (name is None or entry.name == name)
            and (namespace is None or matches_namespace(entry.namespace, namespace))
            and (where is None or where(entry))
        ]

    def assert_sent(
        self,
        name: str,
        namespace: str | None = None,
        where: Condition | None = None,
        *,
        times: int | None = None,
    ) -> list[LoggedCommand]:
        """Fail unless such a command was sent, *times* times if that is given; return them.

        Raises:
            AssertionError: with the commands that were sent instead.
            ValueError: as of `filter`.
        """
        __tracebackhide__ = True
        found = self.filter(name, namespace, where)
        if times is None and not found:
            raise AssertionError(self._complaint(f"no {_described(name, namespace, where)}"))
        if times is not None and len(found) != times:
            raise AssertionError(
                self._complaint(
                    f"{len(found)} instead of {times} × {_described(name, namespace, where)}"
                )
            )
        return found

    def assert_not_sent(
        self,
        name: str | None = None,
        namespace: str | None = None,
        where: Condition | None = None,
    ) -> None:
        """Fail if such a command was sent; without arguments, if any was.

        Raises:
            AssertionError: with the commands that were sent.
            ValueError: as of `filter`.
        """
        __tracebackhide__ = True
        found = self.filter(name, namespace, where)
        if found:
            raise AssertionError(
                self._complaint(f"{len(found)} × {_described(name, namespace, where)}")
            )

    def _complaint(self, what: str) -> str:
        return f"{what} reached the fake. It received {self.describe()}"

    def describe(self) -> str:
        """Return the latest commands as text, one a line."""
        if not self._entries:
            return "no command."
        latest = list(self)[-_SHOWN_COMMANDS:]
        more = len(self) - len(latest)
        lines = [f"({more} earlier)"] if more else []
        return "\n  ".join([f"{len(self)}:", *lines, *map(str, latest)])

    @overload
    def __getitem__(self, place: int) -> LoggedCommand: ...
    @overload
    def __getitem__(self, place: slice) -> list[LoggedCommand]: ...
    def __getitem__(self, place: int | slice) -> LoggedCommand | list[LoggedCommand]:
        if isinstance(place, slice):
            return list(self)[place]
        return LoggedCommand.of(*self._entries[place])

    def __iter__(self) -> Iterator[LoggedCommand]:
        for entry in list(self._entries):
            yield LoggedCommand.of(*entry)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<CommandLog: {', '.join(name for name, _, _ in self._entries) or 'empty'}>"


def matches_namespace(namespace: str, wanted: str) -> bool:
    """Tell whether a namespace is meant by a pattern: see `CommandLog.filter`."""
    if wanted.startswith("."):
        return namespace.partition(".")[2] == wanted[1:]
    if wanted.endswith("."):
        return namespace.partition(".")[0] == wanted[:-1]
    return namespace == wanted


def require_command(name: str) -> str:
    """Return the command's name as the table of commands has it.

    Raises:
        ValueError: there is none of this name; with the one that may be meant.
    """
    spec = COMMANDS.get(name)
    if spec is not None:
        return spec.name
    if name in _BY_METHOD:
        raise ValueError(
            f"{name!r} is a method of the driver; the command it sends is {_BY_METHOD[name]}"
        )
    close = difflib.get_close_matches(name, COMMANDS, 1)
    raise ValueError(f"{name!r} is no command{f'; do you mean {close[0]!r}?' if close else ''}")


def require_namespace(wanted: str) -> None:
    """Refuse what names neither a collection nor a database.

    Raises:
        ValueError: with what to write.
    """
    if "." not in wanted:
        raise ValueError(
            f"{wanted!r} is no namespace: write '.{wanted}' for a collection of any database,"
            f" or '{wanted}.' for a database"
        )


def _described(name: str | None, namespace: str | None, where: Condition | None) -> str:
    words = [repr(name) if name else "command"]
    if namespace:
        words.append(f"on {namespace!r}")
    if where is not None:
        words.append("that meets the condition")
    return " ".join(words)
