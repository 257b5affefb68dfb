"""Updates: operators, modifiers, positions, arrayFilters, replacements, pipelines, upserts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bson import Int64

from tests.transports.fake.differential.cases import COLLECTION, Batch, Document, Probe
from tests.transports.fake.differential.chooser import Chooser
from tests.transports.fake.differential.expressions import any_expression
from tests.transports.fake.differential.filters import (
    about,
    condition,
    filter_,
    operators,
    simple_filter,
)
from tests.transports.fake.differential.projections import projection, sort
from tests.transports.fake.differential.vocabulary import (
    documents,
    embedded,
    number,
    operand,
    path,
    stored,
    value,
)

Make = Callable[[Chooser], Any]

_PATHS: Final = (
    *("a", "a", "a", "b", "b", "c", "x"),
    *(
        "a.b",
        "a.0",
        "a.b.c",
        "a.0.b",
        "b.a",
        "b.0",
        "c.a",
        "c.b",
        "a.1",
        "a.x",
        "a.3",
        "b.b",
        "a.a",
    ),
)
_POSITIONAL: Final = (
    *("a.$", "a.$[]", "a.$[e]", "b.$", "b.$[]", "a.$[].b", "a.$[e].b", "a.$.b", "a.b.$[]"),
    *("a.$[].b.$[e]", "c.$[e].a", "a.$[f]", "b.$[e].b"),
)
_ODD: Final = (
    "",
    "_id",
    "_id.a",
    "$a",
    "a.$b",
    "a..b",
    "a.",
    "$",
    "$[]",
    "a.$.b.$",
    "a.00",
    "a.-1",
)


def update_path(c: Chooser) -> str:
    """The path of an update, seldom an odd one."""
    kind = c.number(0, 99)
    if kind < 55:
        return c.pick(_PATHS)
    if kind < 78 and c.places:
        return c.pick(c.places)[0]
    return c.pick(_POSITIONAL) if kind < 98 else c.pick(_ODD)


_SORTS: Final[tuple[Any, ...]] = (
    *(1, -1, 1.0, {"a": 1}, {"b": -1}, {"a.b": 1, "c": -1}, {"a.0": 1}),
)


def _each(c: Chooser) -> Any:
    if c.chance(40):
        return operand(c)
    made: Document = {"$each": c.some(operand, 0, 3)}
    if c.chance(40):
        made["$slice"] = c.mostly((0, 1, 2, -1, -2, 10, 1.0), (1.5, "a", None))
    if c.chance(40):
        made["$position"] = c.mostly((0, 1, -1, 5, -9, 1.0), (1.5, "a"))
    if c.chance(40):
        made["$sort"] = c.mostly(_SORTS, (0, {}, "a", {"a": 2}))
    if c.chance(2):
        made[c.pick(("$foo", "a"))] = 1
    return made


def _set_each(c: Chooser) -> Any:
    if c.chance(50):
        return operand(c)
    made: Document = {"$each": c.some(operand, 0, 4) if c.chance(97) else value(c, 1)}
    if c.chance(2):
        made["$slice"] = 1
    return made


def _pull(c: Chooser) -> Any:
    kind = c.number(0, 9)
    if kind < 4:
        return operand(c)
    return operators(c) if kind < 7 else filter_(c, 1)


_INTEGERS: Final[tuple[Any, ...]] = (0, 1, 2, 5, -1, 255, Int64(3), Int64(2**40))
_OPERATORS: Final[dict[str, Make]] = {
    "$set": operand,
    "$unset": lambda c: c.pick(("", 1, None)),
    "$inc": number,
    "$mul": number,
    "$min": operand,
    "$max": operand,
    "$rename": lambda c: c.pick(_PATHS) if c.chance(90) else update_path(c),
    "$setOnInsert": operand,
    "$currentDate": lambda c: c.pick((True, {"$type": "date"}, {"$type": "timestamp"}, False)),
    "$push": _each,
    "$addToSet": _set_each,
    "$pop": lambda c: c.mostly((1, -1, 1.0, -1.0), (0, 2, "a", True)),
    "$pull": _pull,
    "$pullAll": lambda c: c.some(operand, 0, 3),
    "$bit": lambda c: {c.mostly(("and", "or", "xor"), ("x",)): c.mostly(_INTEGERS, (1.0, "a"))},
}
_NAMES: Final = (*_OPERATORS, "$set", "$push", "$inc", "$addToSet", "$pull")


def operator_update(c: Chooser) -> Document:
    """``{"$set": {…}, …}``."""
    made: Document = {}
    for _ in range(1 if c.chance(80) else 2):
        operator = c.pick(_NAMES)
        fields = {}
        for _ in range(1 if c.chance(85) else 2):
            fields[update_path(c)] = value(c, 1) if c.chance(2) else _OPERATORS[operator](c)
        made[operator] = fields if c.chance(99) else c.pick(({}, value(c, 1)))
    if c.chance(1):
        made[c.pick(("$foo", "a", "$pushAll"))] = {"a": 1}
    return made


def array_filters(c: Chooser, mentioned: str) -> list[Any] | None:
    """What the identifiers in an update stand for, seldom wrong."""
    wanted = [name for name in ("e", "f") if f"$[{name}]" in mentioned]
    if c.chance(4):
        wanted.append(c.pick(("e", "f", "E", "g")))
    if not wanted:
        return None
    made: list[Any] = []
    for name in wanted:
        kind = c.number(0, 9)
        if kind < 5:
            made.append({name: condition(c)})
        elif kind < 8:
            made.append({f"{name}.{c.pick(('a', 'b', 'c'))}": condition(c)})
        elif kind < 9:
            made.append({"$or": [{name: condition(c)}, {f"{name}.a": condition(c)}]})
        else:
            made.append({f"{name}.a": condition(c), f"{name}.b": condition(c)})
    if c.chance(2):
        made.append(c.pick(({}, {"$and": []}, {"e": 1, "f": 1}, 1)))
    return made


_STAGES: Final[dict[str, Make]] = {
    "$set": lambda c: {c.pick(_PATHS): any_expression(c, 1) for _ in range(c.number(1, 2))},
    "$addFields": lambda c: {c.pick(_PATHS): any_expression(c, 1)},
    "$unset": lambda c: c.pick(("a", "b", ["a", "b.a"], "a.b", "_id", ["a", "a.b"], 1, [])),
    "$project": lambda c: projection(c),
    "$replaceWith": lambda c: c.pick(("$a", "$b", "$$ROOT", {"x": "$a"}, {"_id": 9}, "a")),
    "$replaceRoot": lambda c: {"newRoot": c.pick(("$a", {"x": "$b", "_id": "$_id"}, "$$ROOT"))},
}


def pipeline_update(c: Chooser) -> list[Document]:
    """A pipeline as an update."""
    made = []
    for _ in range(c.number(1, 2)):
        stage = c.pick(tuple(_STAGES))
        made.append({stage: _STAGES[stage](c)})
    if c.chance(2):
        made.append(c.pick(({"$match": {}}, {"$limit": 1}, {"$foo": 1})))
    return made


def any_update(c: Chooser) -> Any:
    """Operators mostly; also replacements and pipelines."""
    kind = c.number(0, 99)
    if kind < 78:
        return operator_update(c)
    if kind < 88:
        return stored(c, c.pick((1, 1.0, 9))) if c.chance(30) else embedded(c, 2)
    return pipeline_update(c)


def _statement(c: Chooser, *, upsert: int) -> Document:
    update = any_update(c)
    made: Document = {"q": simple_filter(c), "u": update}
    if "$." in str(update) or ".$'" in str(update):
        made["q"] = _array_filter(c)
        if c.chance(15):
            made["q"]["b"] = condition(c)
    if c.chance(upsert):
        made["upsert"] = True
        made["q"] = upsert_filter(c)
    if c.chance(30):
        made["multi"] = True
    filters = array_filters(c, str(update))
    if filters is not None:
        made["arrayFilters"] = filters
    return made


def _array_filter(c: Chooser) -> Document:
    """A filter that tells a position in an array."""
    places = [place for place in c.places if place[0].split(".")[0] in ("a", "b")]
    if places and c.chance(80):
        place, found = c.pick(places)
        return {place: about(c, found)}
    return {c.pick(("a", "b", "a.b")): condition(c)}


def upsert_filter(c: Chooser) -> Document:
    """A filter that matches little and seeds a document."""
    made: Document = {}
    for _ in range(c.number(0, 2)):
        kind = c.number(0, 9)
        if kind < 5:
            made[path(c)] = operand(c)
        elif kind < 7:
            made[path(c)] = {"$eq": operand(c)}
        elif kind < 8:
            made[path(c)] = {c.pick(("$in", "$all")): c.some(operand, 0, 2)}
        else:
            made[c.pick(("$and", "$or"))] = [upsert_filter(c) or {"a": 9}]
    if c.chance(60):
        made["_id"] = c.pick((77, 78.0, "k", {"a": 1}, {"$gt": 100}, {"$in": [88]}))
    return made


def _update_probe(c: Chooser) -> Probe:
    statement = _statement(c, upsert=0)
    return Probe(({"update": COLLECTION, "updates": [statement], "writeConcern": {"w": 1}},))


def update_batch(c: Chooser) -> Batch:
    """One update statement each."""
    made = documents(c, 1, 3)
    return Batch("updates", {COLLECTION: made}, tuple(c.some(_update_probe, 8, 8)), writes=True)


def _upsert_probe(c: Chooser) -> Probe:
    statement = _statement(c, upsert=100)
    return Probe(({"update": COLLECTION, "updates": [statement], "writeConcern": {"w": 1}},))


def _find_and_modify_probe(c: Chooser) -> Probe:
    command: Document = {"findAndModify": COLLECTION}
    if c.chance(90):
        command["query"] = simple_filter(c)
    if c.chance(60):
        command["sort"] = {**sort(c), "_id": c.pick((1, -1))}
    if c.chance(20):
        command["remove"] = True
    if "remove" not in command or c.chance(3):
        update = any_update(c)
        command["update"] = update
        filters = array_filters(c, str(update))
        if filters is not None:
            command["arrayFilters"] = filters
    if c.chance(45):
        command["new"] = True
    if c.chance(25):
        command["upsert"] = True
    if c.chance(40):
        command["fields"] = projection(c)
    return Probe(({**command, "writeConcern": {"w": 1}},))


def upsert_batch(c: Chooser) -> Batch:
    """Upserts and ``findAndModify``."""
    made = documents(c, 0, 3)
    probe = _upsert_probe if c.chance(40) else _find_and_modify_probe
    return Batch("upserts", {COLLECTION: made}, tuple(c.some(probe, 8, 8)), writes=True)


def _write(c: Chooser) -> Document:
    kind = c.number(0, 2)
    ordered = {} if c.chance(40) else {"ordered": c.chance(50)}
    if kind == 0:
        made = [stored(c, c.pick((1, 2, 7, 7.0, 8, "k", None))) for _ in range(c.number(1, 4))]
        return {"insert": COLLECTION, "documents": made, **ordered}
    if kind == 1:
        statements = [_statement(c, upsert=20) for _ in range(c.number(1, 4))]
        return {"update": COLLECTION, "updates": statements, **ordered}
    deletes = [{"q": simple_filter(c), "limit": c.pick((0, 1))} for _ in range(c.number(1, 3))]
    if c.chance(4):
        deletes.append({"q": {}, "limit": c.pick((2, -1, 1.5))})
    return {"delete": COLLECTION, "deletes": deletes, **ordered}


def bulk_batch(c: Chooser) -> Batch:
    """Commands of many inserts, updates and deletes, some of which fail."""
    made = documents(c, 0, 3)
    probes = [Probe(({**_write(c), "writeConcern": {"w": 1}},)) for _ in range(6)]
    return Batch("bulk writes", {COLLECTION: made}, tuple(probes), writes=True)
