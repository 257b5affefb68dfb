"""What stays different, and why: each with a case that must still differ.

docs/fake.md repeats the reasons under "Known differences"; a test holds the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bson import Decimal128

from tests.transports.fake.differential.cases import COLLECTION, Batch, Document, Probe
from tests.transports.fake.differential.comparison import Verdict

_DECIMAL: Final = re.compile(r'"\$numberDecimal": "(-?[0-9][0-9.E+-]*)"')
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


def _same_but_for_order(operators: set[str], verdict: Verdict) -> bool:
    if verdict.kind != "result":
        return False
    # Python's == on decoded documents knows no order of fields, but does one of documents.
    return bool(json.loads(verdict.fake) == json.loads(verdict.live))


def _same_but_for_details(operators: set[str], verdict: Verdict) -> bool:
    ours, theirs = _without_details(verdict.fake), _without_details(verdict.live)
    return ours is not None and bool(ours == theirs)


def _without_details(reply: str) -> Any:
    if '"errInfo"' not in reply:
        return None
    decoded = json.loads(reply)
    for error in decoded.get("writeErrors", [decoded]):
        error.get("errInfo", {}).pop("details", None)
        error.pop("errmsg", None)
    return decoded


def _same_but_for_last_digits(operators: set[str], verdict: Verdict) -> bool:
    return verdict.kind == "result" and _rounded(verdict.fake) == _rounded(verdict.live)


def _rounded(reply: str) -> str:
    return _DECIMAL.sub(lambda found: f"{Decimal(found[1]):.28e}", reply)


def _validation(validator: Document, document: Document) -> Batch:
    change = {"collMod": COLLECTION, "validator": validator}
    insert = {"insert": COLLECTION, "documents": [document]}
    restore = {"collMod": COLLECTION, "validator": {}}
    probe = Probe((change, insert, restore))
    return Batch("validators", {COLLECTION: []}, (probe,), writes=True)


KNOWN: Final[tuple[Known, ...]] = (
    Known(
        "A field that one stage of a pipeline removes and a later one sets again keeps its old "
        "place on a server; here it comes last.",
        _aggregation([{"_id": 1, "a": 1, "b": 2}], {"$unset": "a"}, {"$set": {"a": 3}}),
        _same_but_for_order,
    ),
    Known(
        "The details in the errInfo of a failed validation are told for simple validators only.",
        _validation({"$or": [{"a": 1}, {"b": 1}]}, {"_id": 1}),
        _same_but_for_details,
    ),
    Known(
        "A server moves a $match ahead of a stage that would fail on a document that it leaves "
        "out; here that stage fails.",
        _aggregation([{"_id": 1, "s": "x"}], {"$set": {"a": {"$abs": "$s"}}}, {"$match": {"b": 1}}),
        lambda operators, verdict: "$match" in operators and verdict.kind == "fails",
    ),
    Known(
        "The last digits of a Decimal128 that a power, a logarithm or a trigonometric function "
        "computes may differ.",
        _aggregation([{"_id": 1}], {"$project": {"r": {"$pow": [Decimal128("2.50"), 2]}}}),
        _same_but_for_last_digits,
    ),
)


def reason_of(operators: tuple[str, ...], verdict: Verdict) -> str | None:
    """Return why a reduced case differs, None if that is not known."""
    for known in KNOWN:
        if known.covers(set(operators), verdict):
            return known.reason
    return None
