"""What stays different, and why: each with a case that must still differ.

docs/fake.md repeats the reasons under "Known differences"; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.transports.fake.differential.cases import COLLECTION, Batch, Document, Probe
from tests.transports.fake.differential.comparison import Verdict

Covers = Callable[[set[str], Verdict], bool]


@dataclass(frozen=True, slots=True)
class Known:
    """One expected difference.

    Attributes:
        reason: as docs/fake.md has it.
        case: one that differs so.
        covers: whether a reduced case, given its operators and its verdict, is of this kind.
    """

    reason: str
    case: Batch
    covers: Covers


def _aggregation(documents: list[Document], *stages: Document) -> Batch:
    command = {"aggregate": COLLECTION, "pipeline": list(stages), "cursor": {}}
    return Batch("stages", {COLLECTION: documents}, (Probe((command,)),))


def _sorted_text(text: str) -> str:
    return "".join(sorted(text))


def _same_but_for_order(operators: set[str], verdict: Verdict) -> bool:
    return verdict.kind == "result" and _sorted_text(verdict.fake) == _sorted_text(verdict.live)


def _one(*names: str) -> Covers:
    wanted = set(names)

    def covers(operators: set[str], verdict: Verdict) -> bool:
        return bool(operators & wanted) and verdict.kind == "result"

    return covers


KNOWN: Final[tuple[Known, ...]] = (
    Known(
        "A field that one stage of a pipeline removes and a later one sets again keeps its old "
        "place on a server; here it comes last.",
        _aggregation([{"_id": 1, "a": 1, "b": 2}], {"$unset": "a"}, {"$set": {"a": 3}}),
        _same_but_for_order,
    ),
)


def reason_of(operators: tuple[str, ...], verdict: Verdict) -> str | None:
    """Return why a reduced case differs, None if that is not known."""
    for known in KNOWN:
        if known.covers(set(operators), verdict):
            return known.reason
    return None
