"""A small history that is consistent with a final state, and ways to spoil either."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.chaos.checker import Violation, check
from benchmarks.chaos.final_state import FinalState, Tally
from benchmarks.chaos.history import History, Operation, StreamEvent


class Run:
    """What callers wrote down and what the server has, both to be changed by a test."""

    def __init__(self) -> None:
        self.history = History()
        self.state = FinalState()

    def did(
        self,
        kind: str,
        effects: Mapping[str, Any],
        outcome: Any = "acknowledged",
        **fields: Any,
    ) -> str:
        """Note an operation; its id is its kind's name."""
        self.history.operations[kind] = Operation(
            id=kind,
            kind=kind,
            worker="w",
            started=1.0,
            ended=2.0,
            effects=effects,
            outcome=outcome,
            **fields,
        )
        return kind

    def has(self, **parts: Any) -> None:
        """Replace parts of the final state."""
        self.state = replace(self.state, **parts)

    def violations(self) -> list[Violation]:
        return check(self.history, self.state)

    def kinds(self) -> set[str]:
        """The kinds of violations that the checker finds."""
        return {violation.kind for violation in self.violations()}


def _event(id: str, operation: str = "insert", collection: str = "documents") -> StreamEvent:
    return StreamEvent(token=f"{id}/{operation}", operation=operation, collection=collection, id=id)


@pytest.fixture
def event() -> Callable[..., StreamEvent]:
    """Make an event from a document's id; its token is as unique."""
    return _event


@pytest.fixture
def run() -> Run:
    """A consistent run with one operation of each kind, all acknowledged; ``run.kinds()`` is empty.

    Two counters, a group of four, two accounts, a document that stays and one that was deleted.
    """
    made = Run()
    made.did("increment", {"counters": ["c0"]}, result={"modified": 1})
    made.did("find and increment", {"counters": ["c0"]}, result={"n": 2})
    made.did(
        "bulk",
        {"ordered": True, "counters": ["c0", "c1"], "documents": ["bulk"]},
        result={"modified": 1, "inserted": 1},
    )
    made.did("insert", {"documents": ["insert"]})
    made.did("insert many", {"documents": ["m0", "m1"]}, result={"inserted": 2})
    made.did("delete", {"deletes": "m1"}, result={"deleted": 1})
    made.did("update many", {"group": 0}, result={"modified": 4})
    transfer = {"source": "a0", "target": "a1", "amount": 5}
    made.did("transfer", {"transfer": transfer})
    made.did("mark", {"mark": {"id": "w", "value": 3}})
    made.did("read", {"read": {"id": "w", "at_least": 2, "at_most": 3}}, result={"read": 3})
    made.has(
        counters={
            "c0": Tally(value=3, applied=("increment", "find and increment", "bulk")),
            "c1": Tally(value=1, applied=("bulk",)),
        },
        groups={0: {f"g{number}": Tally(value=1, applied=("update many",)) for number in range(4)}},
        documents=frozenset({"bulk", "insert", "m0"}),
        accounts={
            "a0": Tally(value=995, applied=("transfer",)),
            "a1": Tally(value=1005, applied=("transfer",)),
        },
        transfers={"transfer": transfer},
        marks={"w": 3},
        events=(
            _event("insert"),
            _event("m0"),
            _event("m1"),
            _event("transfer", collection="transfers"),
            _event("m1", "delete"),
        ),
    )
    made.history.collections["reader"] = ["documents"]
    made.history.streams["reader"] = [
        each for each in made.state.events if each.collection == "documents"
    ]
    return made
