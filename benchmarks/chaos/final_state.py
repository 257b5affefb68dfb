"""What the server has in the end, asked directly: the evidence that the checker judges by.

Includes the server's own account of what happened, a change stream over the whole run, read once
from beginning to end with nothing failing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

from benchmarks.chaos.history import StreamEvent
from benchmarks.chaos.layout import END, WATCHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """A counter or an account: its number, and who changed it, in order."""

    value: int
    applied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalState:
    """The database after the run.

    Attributes:
        counters: by id.
        groups: by number, the counters that one ``update_many`` raises, by id.
        documents: ids of all that was inserted and not deleted.
        accounts: by id.
        transfers: the ledger: id → ``{"source", "target", "amount"}``.
        marks: by worker.
        events: all changes of the watched collections, in order; the last is that of `END`.
    """

    counters: Mapping[str, Tally] = field(default_factory=dict)
    groups: Mapping[int, Mapping[str, Tally]] = field(default_factory=dict)
    documents: frozenset[str] = frozenset()
    accounts: Mapping[str, Tally] = field(default_factory=dict)
    transfers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    marks: Mapping[str, int] = field(default_factory=dict)
    events: tuple[StreamEvent, ...] = ()


async def read_final_state(database: AsyncDatabase[dict[str, Any]], token: str) -> FinalState:
    """Read it.

    Args:
        database: over a direct connection.
        token: ``_data`` of the token that the run began with.
    """
    majority = database.with_options(read_concern=ReadConcern("majority"))
    counters: dict[str, Tally] = {}
    documents: set[str] = set()
    async for found in majority.counters.find({}):
        if "applied" in found:
            counters[found["_id"]] = _tally(found, "n")
        else:  # inserted by an ordered bulk
            documents.add(found["_id"])
    groups: dict[int, dict[str, Tally]] = {}
    async for found in majority.groups.find({}):
        groups.setdefault(found["group"], {})[found["_id"]] = _tally(found, "n")
    async for found in majority.documents.find({}):
        documents.add(found["_id"])
    accounts = {each["_id"]: _tally(each, "balance") async for each in majority.accounts.find({})}
    transfers = {each["_id"]: each async for each in majority.transfers.find({})}
    marks = {each["_id"]: each["value"] async for each in majority.marks.find({})}
    return FinalState(
        counters=counters,
        groups=groups,
        documents=frozenset(documents - {END}),
        accounts=accounts,
        transfers=transfers,
        marks=marks,
        events=await _events(database, token),
    )


def _tally(document: Mapping[str, Any], field_name: str) -> Tally:
    return Tally(value=document[field_name], applied=tuple(document["applied"]))


async def _events(database: AsyncDatabase[dict[str, Any]], token: str) -> tuple[StreamEvent, ...]:
    events = []
    pipeline = [{"$match": {"ns.coll": {"$in": list(WATCHED)}}}]
    async with await database.watch(pipeline, resume_after={"_data": token}) as stream:
        async for change in stream:
            event = StreamEvent(
                token=change["_id"]["_data"],
                operation=change["operationType"],
                collection=change["ns"]["coll"],
                id=change["documentKey"]["_id"],
            )
            events.append(event)
            if event.id == END:
                break
    return tuple(events)
