"""Batches on both sides, and cases made smaller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.transports.fake.differential.cases import COLLECTION, OTHER, Batch, Document, Probe
from tests.transports.fake.differential.comparison import Verdict, compare
from tests.transports.fake.differential.sides import Side

DATABASE = "differential"
_MOST_TRIES = 400
_SIMPLE: Sequence[Any] = (1, "a", None, [], {})


class Pair:
    """A fake and a server that are asked the same.

    Args:
        fake: one side.
        live: the other.
        database: where; the collections that cases use are dropped there.
    """

    def __init__(self, fake: Side, live: Side, database: str = DATABASE) -> None:
        self.fake = fake
        self.live = live
        self.database = database
        self._clean = False

    def run(self, batch: Batch) -> list[Verdict]:
        """Ask both sides every probe of a batch."""
        commands: list[Document] = []
        if batch.before or not self._clean:
            for name in (COLLECTION, OTHER):
                commands += [{"drop": name}, {"create": name}]
        self._clean = not batch.before
        fresh = len(commands)
        commands += batch.before
        spans = []
        if not batch.writes:
            commands += _loads(batch.documents)
        before = len(commands)
        for probe in batch.probes:
            if batch.writes:
                commands += _loads(batch.documents)
            start = len(commands)
            commands += probe.commands
            if batch.writes:
                commands += ({"find": name} for name in batch.documents)
            spans.append((start, len(commands)))
        commands = [{**command, "$db": self.database} for command in commands]
        ours, theirs = self.fake.ask(commands), self.live.ask(commands)
        loading = compare(Probe(()), ours[fresh:before], theirs[fresh:before])
        if loading.outcome != "equal":
            return [loading] * len(batch.probes)
        return [
            compare(probe, ours[start:end], theirs[start:end])
            for probe, (start, end) in zip(batch.probes, spans, strict=True)
        ]

    def reduce(self, batch: Batch, verdict: Verdict) -> tuple[Batch, Verdict]:
        """Return a smaller batch of one probe that differs in the same way."""
        best = verdict
        tries = 0
        progress = True
        while progress and tries < _MOST_TRIES:
            progress = False
            for smaller in _smaller(batch):
                tries += 1
                if tries >= _MOST_TRIES:
                    break
                (found,) = self.run(smaller)
                if found.signature == verdict.signature:
                    batch, best, progress = smaller, found, True
                    break
        return batch, best


def _loads(documents: dict[str, list[Document]]) -> Iterator[Document]:
    for name, wanted in documents.items():
        yield {"delete": name, "deletes": [{"q": {}, "limit": 0}], "writeConcern": {"w": 1}}
        if wanted:
            yield {"insert": name, "documents": wanted, "writeConcern": {"w": 1}}


def _smaller(batch: Batch) -> Iterator[Batch]:
    """Yield batches with a little less in them, the largest steps first."""
    for name, documents in batch.documents.items():
        for index, document in enumerate(documents):
            before, after = documents[:index], documents[index + 1 :]
            yield replace(batch, documents={**batch.documents, name: before + after})
            for less in _less(document, keep_ids=True):
                smaller = [*before, less, *after]
                yield replace(batch, documents={**batch.documents, name: smaller})
    for index in range(len(batch.before)):
        yield replace(batch, before=batch.before[:index] + batch.before[index + 1 :])
    (probe,) = batch.probes
    for index, command in enumerate(probe.commands):
        if len(probe.commands) > 1:
            rest = probe.commands[:index] + probe.commands[index + 1 :]
            yield replace(batch, probes=(replace(probe, commands=rest),))
        head, *_ = command
        for less in _less(command):
            if next(iter(less), None) == head and less[head] == command[head]:
                changed = (*probe.commands[:index], less, *probe.commands[index + 1 :])
                yield replace(batch, probes=(replace(probe, commands=changed),))


def _less(value: Any, *, keep_ids: bool = False) -> Iterator[Any]:
    """Yield values with a part removed, put in the place of its parent, or made simple."""
    if isinstance(value, dict):
        yield from _less_of(value, list(value), keep_ids)
    elif isinstance(value, list):
        yield from _less_of(value, range(len(value)), keep_ids)
    elif not any(value is simple for simple in _SIMPLE[:2]) and not isinstance(value, bool | None):
        yield from _SIMPLE[:2]


def _less_of(value: Any, keys: Sequence[Any], keep_ids: bool) -> Iterator[Any]:
    for key in keys:
        if not (keep_ids and key == "_id"):
            yield _without(value, key)
    for key in keys:
        if keep_ids and key == "_id":
            continue
        member = value[key]
        if isinstance(member, dict | list):
            for inner in member.values() if isinstance(member, dict) else member:
                yield _with(value, key, inner)
        for less in _less(member, keep_ids=keep_ids):
            yield _with(value, key, less)


def _without(value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        return {name: v for name, v in value.items() if name != key}
    return value[:key] + value[key + 1 :]


def _with(value: Any, key: Any, member: Any) -> Any:
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[key] = member
    return changed
