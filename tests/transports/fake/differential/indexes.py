"""Indexes: their specifications, what a unique one refuses, and queries through them."""

from __future__ import annotations

from typing import Any, Final

from tests.transports.fake.differential.cases import COLLECTION, Batch, Document, Probe
from tests.transports.fake.differential.chooser import Chooser
from tests.transports.fake.differential.filters import condition, filter_, simple_filter
from tests.transports.fake.differential.updates import any_update, array_filters
from tests.transports.fake.differential.vocabulary import PATHS, documents, stored, value

_KEYS: Final = ("a", "b", "a.b", "c", "_id", "b.a", "a.b.c")


def _pattern(c: Chooser) -> Document:
    pattern: Document = {c.pick(_KEYS): c.pick((1, 1, -1)) for _ in range(c.number(1, 2))}
    if c.chance(3):
        pattern[c.pick(("", "a.", "$a", "a", ".b", "$**"))] = c.pick(
            (1, 0, "x", True, "hashed", {})
        )
    return pattern


def _partial(c: Chooser) -> Document:
    kind = c.number(0, 9)
    if kind < 4:
        return {c.pick(_KEYS): {"$exists": True}}
    if kind < 8:
        return {
            c.pick(_KEYS): {c.pick(("$gt", "$gte", "$lt", "$eq", "$type")): c.pick((1, 2, "a"))}
        }
    return filter_(c, 1)


def index(c: Chooser, number: int) -> Document:
    """The specification of an index."""
    made: Document = {"key": _pattern(c), "name": f"i{number}"}
    if c.chance(60):
        made["unique"] = c.pick((True, True, True, False, 1, "x")) if c.chance(10) else True
    if c.chance(20):
        made["sparse"] = True
    elif c.chance(20):
        made["partialFilterExpression"] = _partial(c)
    if c.chance(8):
        made["collation"] = {"locale": "en", "strength": c.pick((1, 2))}
    if c.chance(3):
        made[c.pick(("foo", "expireAfterSeconds", "hidden", "background", "v"))] = value(c, 1)
    return made


def _create(c: Chooser, count: int) -> Document:
    return {
        "createIndexes": COLLECTION,
        "indexes": [index(c, number) for number in range(count)],
        "writeConcern": {"w": 1},
    }


def _probe(c: Chooser) -> Probe:
    kind = c.number(0, 9)
    if kind < 4:
        made = [stored(c, c.pick((1, 6, 7, 8, 9, 10))) for _ in range(c.number(1, 3))]
        command: Document = {"insert": COLLECTION, "documents": made, "ordered": c.chance(50)}
    elif kind < 7:
        update = any_update(c)
        query = {"_id": c.number(1, 4)} if c.chance(70) else simple_filter(c)
        statement = {"q": query, "u": update, "upsert": c.chance(20)}
        if "_id" not in query:
            statement["multi"] = not isinstance(update, dict) or any(n[:1] == "$" for n in update)
        filters = array_filters(c, str(update))
        if filters is not None:
            statement["arrayFilters"] = filters
        command = {"update": COLLECTION, "updates": [statement]}
    else:
        query = {c.pick(PATHS): condition(c)} if c.chance(60) else filter_(c, 1)
        find: Document = {"find": COLLECTION, "filter": query}
        if c.chance(40):
            find["sort"] = {c.pick(_KEYS): c.pick((1, -1)), "_id": 1}
        return Probe((find,), ordered="sort" in find)
    return Probe(({**command, "writeConcern": {"w": 1}},), ordered=False)


def index_batch(c: Chooser) -> Batch:
    """Writes and queries on a collection with indexes."""
    made = documents(c, 1, 4)
    before = (_create(c, c.number(1, 2)),)
    return Batch("indexes", {COLLECTION: made}, tuple(c.some(_probe, 8, 8)), before, writes=True)


_VALIDATORS: Final[tuple[Any, ...]] = (
    {"a": {"$exists": True}},
    {"a": {"$type": "number"}},
    {"$jsonSchema": {"required": ["a"]}},
    {"$or": [{"a": 1}, {"b": {"$gte": 1}}]},
)


def build_batch(c: Chooser) -> Batch:
    """Indexes built over documents, and what ``listIndexes`` then says; validators."""
    made = documents(c, 1, 4)
    probes = []
    for _ in range(3):
        drop: Document = {"dropIndexes": COLLECTION, "index": "*"}
        create = _create(c, c.number(1, 2))
        probes.append(Probe((create, {"listIndexes": COLLECTION, "cursor": {}}, drop)))
    return Batch("index builds", {COLLECTION: made}, tuple(probes), writes=True)


def validator_batch(c: Chooser) -> Batch:
    """Writes to a collection with a validator."""
    made = documents(c, 1, 3)
    validator = c.pick(_VALIDATORS) if c.chance(70) else filter_(c, 1)
    change: Document = {"collMod": COLLECTION, "validator": validator}
    if c.chance(40):
        change["validationLevel"] = c.pick(("moderate", "strict", "off"))
    if c.chance(30):
        change["validationAction"] = c.pick(("warn", "error"))
    probes = []
    for _ in range(6):
        if c.chance(50):
            command: Document = {"insert": COLLECTION, "documents": [stored(c, 9)]}
        else:
            statement = {"q": {"_id": c.number(1, 3)}, "u": any_update(c)}
            command = {"update": COLLECTION, "updates": [statement]}
        probes.append(Probe((change, {**command, "writeConcern": {"w": 1}}, _NO_VALIDATOR)))
    return Batch("validators", {COLLECTION: made}, tuple(probes), writes=True)


_NO_VALIDATOR: Final[Document] = {
    "collMod": COLLECTION,
    "validator": {},
    "validationLevel": "strict",
    "validationAction": "error",
}
