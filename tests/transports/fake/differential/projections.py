"""Projections, sorts, skips and limits of ``find``."""

from __future__ import annotations

from typing import Any, Final

from tests.transports.fake.differential.cases import COLLECTION, Batch, Document, Probe
from tests.transports.fake.differential.chooser import Chooser
from tests.transports.fake.differential.expressions import any_expression
from tests.transports.fake.differential.filters import COLLATIONS, condition, filter_, simple_filter
from tests.transports.fake.differential.vocabulary import documents, path, value

_PATHS: Final = (
    *("a", "a", "b", "b", "c", "x", "_id"),
    *("a.b", "a.0", "a.b.c", "b.a", "c.a", "c.b", "a.a", "b.b", "a.c"),
)
_SHOWN: Final[tuple[Any, ...]] = (1, 1, 1, True, 1.0, 2, -1)
_HIDDEN: Final[tuple[Any, ...]] = (0, 0, False, 0.0, -0.0)


def _slice(c: Chooser) -> Any:
    if c.chance(60):
        return c.mostly((0, 1, 2, -1, -2, 5, 1.0), (1.5, "a", None))
    return [c.pick((0, 1, -1, -5, 2)), c.mostly((1, 2, 5), (0, -1))]


def projection(c: Chooser) -> Document:
    """A projection: inclusion, exclusion, or a wrong mixture; with operators."""
    shown = c.pick((_SHOWN, _SHOWN, _HIDDEN))
    made: Document = {}
    for _ in range(c.number(1, 3)):
        kind = c.number(0, 99)
        key = c.pick(_PATHS) if c.chance(97) else path(c)
        if c.chance(60) and any(_collide(key, other) for other in made):
            continue
        if kind < 72:
            made[key] = c.pick(shown)
        elif kind < 78:
            made[key] = {"$slice": _slice(c)}
        elif kind < 84:
            made[c.pick(("a", "b", "c"))] = {"$elemMatch": _element(c)}
        elif kind < 92:
            made[key] = any_expression(c, 1)
        elif kind < 96:
            made[key] = {c.pick(("a", "b", "x")): c.pick(shown)}
        elif kind < 99:
            made[c.pick(("a.$", "b.$", "a.b.$"))] = 1
        else:
            made[key] = value(c, 1)
    if c.chance(25):
        made["_id"] = c.pick((0, 1))
    return made


def _collide(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _element(c: Chooser) -> Document:
    if c.chance(50):
        return filter_(c, 0)
    return {c.pick(("$gt", "$gte", "$lt", "$eq", "$ne", "$exists")): c.pick((1, 2, "a", None))}


def sort(c: Chooser) -> Document:
    """A sort; its caller adds ``_id`` where ties would leave the order open."""
    made: Document = {}
    for _ in range(c.number(1, 2)):
        made[c.pick(_PATHS) if c.chance(96) else path(c)] = (
            c.pick((1, 1, -1, -1, 1.0)) if c.chance(97) else value(c, 1)
        )
    return made


def _find_probe(c: Chooser) -> Probe:
    command: Document = {"find": COLLECTION}
    if c.chance(45):
        command["filter"] = simple_filter(c)
    kind = c.number(0, 9)
    if kind < 7:
        command["projection"] = projection(c)
        if any(name.endswith(".$") for name in command["projection"]):
            command["filter"] = {c.pick(("a", "b")): condition(c)}
    if kind > 4:
        command["sort"] = {**sort(c), "_id": c.pick((1, -1))}
    if c.chance(15):
        command["skip"] = c.mostly((0, 1, 2, 9), (-1,))
    if c.chance(15):
        command["limit"] = c.mostly((0, 1, 2, 9), (-1,))
    if c.chance(10):
        command["batchSize"] = c.mostly((0, 1, 2, 100), (-1,))
        command["singleBatch"] = True
    if c.chance(4):
        command["collation"] = c.pick(COLLATIONS)
    return Probe((command,))


def find_batch(c: Chooser) -> Batch:
    """``find`` with projections, sorts, skips and limits."""
    made = documents(c, 2, 5)
    return Batch("projections and sorts", {COLLECTION: made}, tuple(c.some(_find_probe, 8, 8)))
