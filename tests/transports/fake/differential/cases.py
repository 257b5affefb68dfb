"""What a case is: documents, and commands that a fake and a server are asked about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bson import json_util

Document = dict[str, Any]

COLLECTION = "c"
OTHER = "d"

_SHELL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    datetime_representation=json_util.DatetimeRepresentation.NUMBERLONG,
)


@dataclass(frozen=True, slots=True)
class Probe:
    """Commands that are one case.

    Attributes:
        commands: in order; the replies to all of them count.
        ordered: whether the order of the documents in a reply counts.
        as_sets: whether the order of arrays in documents does not.
    """

    commands: tuple[Document, ...]
    ordered: bool = True
    as_sets: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Cases that share their documents.

    Attributes:
        family: of which kind they are.
        documents: collection → what it has when a probe is asked.
        probes: the cases.
        before: commands that run once, when the collections are empty (indexes, options).
        writes: whether each probe finds the documents anew, and what is stored after it counts.
    """

    family: str
    documents: dict[str, list[Document]]
    probes: tuple[Probe, ...]
    before: tuple[Document, ...] = field(default=())
    writes: bool = False

    def one(self, index: int) -> Batch:
        """Return one probe as a batch of its own."""
        return replace(self, probes=(self.probes[index],))


def operators_of(value: Any) -> set[str]:
    """Return every name with a dollar that a command mentions."""
    if isinstance(value, dict):
        own = {name for name in value if name.startswith("$")}
        return own.union(*(operators_of(member) for member in value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return set().union(*(operators_of(member) for member in value))
    return set()


def text(value: Any) -> str:
    """Return a value as Extended JSON that tells all types apart."""
    return json_util.dumps(value, json_options=_SHELL, ensure_ascii=False)


def as_shell(batch: Batch) -> str:
    """Return a batch as one would type it into mongosh."""
    lines = [f"db.runCommand(EJSON.parse({text(command)!r}))" for command in batch.before]
    for name, documents in batch.documents.items():
        lines.append(f"db.{name}.insertMany(EJSON.parse({text(documents)!r}))")
    asked = [command for probe in batch.probes for command in probe.commands]
    lines += [f"db.runCommand(EJSON.parse({text(command)!r}))" for command in asked]
    return "\n".join(lines)
