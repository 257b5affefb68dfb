"""What the callers did and were told: a journal on disk, and what is read back from it.

A caller writes a line *before* it starts an operation and one *after* it knows the outcome, each
with one ``write``: what stands in the file survives ``kill -9`` of the caller. An operation without
a second line has an unknown outcome. Knows nothing of MongoDB.

An operation declares its *effects*, which is all that the checker needs to know of it:

=============  ===================================================================================
``counters``   ids of counters that it increments, noting itself in their ``applied``
``documents``  ids of documents that it inserts
``deletes``    id of a document of its own, known to be there, that it deletes
``group``      number of a group of counters, all incremented by one ``update_many``
``transfer``   ``{"source", "target", "amount"}``: in one transaction, with a ledger entry
``mark``       ``{"id", "value"}``: raises the value (``$max``) of the worker's own mark
``read``       ``{"id", "at_least", "at_most"}``: what reading a mark may find
``ordered``    true: the effects happen in the order counters[0], documents, counters[1], …
=============  ===================================================================================
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

Outcome = Literal["acknowledged", "failed", "unknown"]
"""``failed``: the application was told, or may conclude, that nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a worker, and what became of it."""

    id: str
    kind: str
    worker: str
    started: float
    effects: Mapping[str, Any]
    outcome: Outcome = "unknown"
    ended: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    hung: bool = False
    unexpected: bool = False

    @property
    def latency_s(self) -> float | None:
        """Seconds from start to end; None if it has no end."""
        return None if self.ended is None else self.ended - self.started


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One event of a change stream: its resume token, what happened, and to which document."""

    token: str
    operation: str
    collection: str
    id: str


@dataclass(slots=True, kw_only=True)
class History:
    """Everything that all callers wrote down."""

    operations: dict[str, Operation] = field(default_factory=dict)
    streams: dict[str, list[StreamEvent]] = field(default_factory=dict)
    collections: dict[str, list[str]] = field(default_factory=dict)
    reopened: int = 0
    problems: list[str] = field(default_factory=list)


class Journal:
    """One caller's file. Used by one process; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.counts = {"acknowledged": 0, "failed": 0, "unknown": 0, "events": 0}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def _write(self, **line: Any) -> None:
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def begin(self, operation: str, kind: str, worker: str, effects: Mapping[str, Any]) -> None:
        """Note that an operation is about to be started."""
        self._write(
            do="begin", id=operation, kind=kind, worker=worker, at=time.time(), effects=effects
        )

    def end(
        self,
        operation: str,
        outcome: Outcome,
        *,
        result: Mapping[str, Any] | None = None,
        error: str = "",
        hung: bool = False,
        unexpected: bool = False,
    ) -> None:
        """Note what became of it."""
        self.counts[outcome] += 1
        self._write(
            do="end",
            id=operation,
            at=time.time(),
            outcome=outcome,
            result=dict(result or {}),
            error=error,
            hung=hung,
            unexpected=unexpected,
        )

    def watches(self, reader: str, collections: Iterable[str]) -> None:
        """Note that a stream over *collections* is opened, or opened again."""
        self._write(do="watches", reader=reader, collections=list(collections))

    def event(self, reader: str, event: StreamEvent) -> None:
        """Note that a reader was given an event."""
        self.counts["events"] += 1
        self._write(
            do="event",
            reader=reader,
            token=event.token,
            operation=event.operation,
            collection=event.collection,
            id=event.id,
        )

    def problem(self, text: str) -> None:
        """Note something that should not have happened."""
        self._write(do="problem", text=text)


def read_journals(paths: Iterable[Path]) -> History:
    """Read the journals of all callers, in the order in which the callers were started.

    Raises:
        ValueError: a line that is not the last of its file is damaged.
    """
    history = History()
    for path in paths:
        lines = path.read_bytes().split(b"\n")
        lines.pop()  # nothing, or what a killed caller did not finish writing
        for line in lines:
            _take(history, json.loads(line))
    return history


def _take(history: History, line: dict[str, Any]) -> None:
    match line.pop("do"):
        case "begin":
            operation = Operation(started=line.pop("at"), **line)
            history.operations[operation.id] = operation
        case "end":
            begun = history.operations[line["id"]]
            history.operations[begun.id] = Operation(
                id=begun.id,
                kind=begun.kind,
                worker=begun.worker,
                started=begun.started,
                effects=begun.effects,
                outcome=line["outcome"],
                ended=line["at"],
                result=line["result"],
                error=line["error"],
                hung=line["hung"],
                unexpected=line["unexpected"],
            )
        case "watches":
            reader = line["reader"]
            history.reopened += reader in history.streams
            history.streams.setdefault(reader, [])
            history.collections[reader] = line["collections"]
        case "event":
            history.streams[line.pop("reader")].append(StreamEvent(**line))
        case "problem":
            history.problems.append(line["text"])
