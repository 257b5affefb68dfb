"""Pipelines of one to four stages, over documents of known types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.transports.fake.differential.cases import COLLECTION, OTHER, Batch, Document, Probe
from tests.transports.fake.differential.chooser import Chooser
from tests.transports.fake.differential.expressions import any_expression, typed_document
from tests.transports.fake.differential.filters import filter_
from tests.transports.fake.differential.projections import projection, sort
from tests.transports.fake.differential.vocabulary import look, stored, value

Make = Callable[[Chooser], Any]

_FIELDS: Final = ("n", "m", "i", "s", "d", "l", "o", "v", "b", "o.n", "k", "k.k", "p")
_PATHS: Final = tuple("$" + name for name in (*_FIELDS, "i", "j", "b", "i", "missing"))


def _path(c: Chooser) -> str:
    return c.pick(_PATHS)


def _operand(c: Chooser) -> Any:
    return _path(c) if c.chance(75) else any_expression(c, 1)


def _key(c: Chooser) -> Any:
    kind = c.number(0, 9)
    if kind < 6:
        return c.pick(("$i", "$j", "$b", "$s", "$n", "$v"))
    if kind < 8:
        return c.pick((None, 1, {"x": "$i", "y": "$b"}, {"x": "$missing"}, {}))
    return any_expression(c, 1)


def _by(c: Chooser) -> Document:
    return {c.pick(("i", "n", "s", "v")): c.pick((1, -1)), "_id": 1}


def _count_of(c: Chooser) -> Any:
    return c.mostly((1, 2, 3, 10, 2.0), (0, -1, 1.5, "a"))


_ACCUMULATORS: Final[dict[str, Make]] = {
    "$sum": _operand,
    "$avg": _operand,
    "$min": _operand,
    "$max": _operand,
    "$first": _operand,
    "$last": _operand,
    "$push": _operand,
    "$addToSet": _operand,
    "$stdDevPop": _operand,
    "$stdDevSamp": _operand,
    "$mergeObjects": lambda c: c.pick(("$o", "$q", "$$ROOT", "$v")),
    "$count": lambda c: {} if c.chance(95) else 1,
    "$firstN": lambda c: {"input": _operand(c), "n": _count_of(c)},
    "$lastN": lambda c: {"input": _operand(c), "n": _count_of(c)},
    "$maxN": lambda c: {"input": _operand(c), "n": _count_of(c)},
    "$minN": lambda c: {"input": _operand(c), "n": _count_of(c)},
    "$top": lambda c: {"output": _operand(c), "sortBy": _by(c)},
    "$bottom": lambda c: {"output": _operand(c), "sortBy": _by(c)},
    "$topN": lambda c: {"output": _operand(c), "sortBy": _by(c), "n": _count_of(c)},
    "$bottomN": lambda c: {"output": _operand(c), "sortBy": _by(c), "n": _count_of(c)},
}
_ACCUMULATOR_NAMES: Final = tuple(_ACCUMULATORS)


def _accumulators(c: Chooser) -> Document:
    made: Document = {}
    for name in ("x", "y")[: c.number(0, 2)]:
        operator = c.pick(_ACCUMULATOR_NAMES)
        made[name] = {operator: _ACCUMULATORS[operator](c) if c.chance(97) else value(c, 1)}
    return made


def _group(c: Chooser) -> Document:
    made = {"_id": _key(c), **_accumulators(c)}
    if c.chance(2):
        made.pop("_id")
    return made


def _bucket(c: Chooser) -> Document:
    boundaries = c.mostly(
        ([0, 1, 3], [-10, 0, 2, 100], [-5, 0.5, 9], ["a", "b", "z"]), ([0, "a"], [2, 1], [1], [])
    )
    made: Document = {
        "groupBy": c.mostly(("$i", "$n", "$s", "$j"), ("i", 1, {"$add": ["$i", 1]})),
        "boundaries": boundaries,
    }
    if c.chance(80):
        made["default"] = c.mostly(("other", -100, None), (1,))
    if c.chance(60):
        made["output"] = _accumulators(c)
    return made


def _bucket_auto(c: Chooser) -> Document:
    made: Document = {
        "groupBy": c.pick(("$i", "$n", "$j", "$s", "$v", "$_id")),
        "buckets": c.mostly((1, 2, 3, 10, 2.0), (0, 1.5, "a")),
    }
    if c.chance(40):
        made["output"] = _accumulators(c)
    if c.chance(15):
        made["granularity"] = c.mostly(("R5", "POWERSOF2", "1-2-5", "E6"), ("x",))
    return made


def _unwind(c: Chooser) -> Any:
    path = c.mostly(("$l", "$k", "$p", "$v", "$o", "$missing", "$k.v"), ("l", "$", ""))
    if c.chance(40):
        return path
    made: Document = {"path": path}
    if c.chance(50):
        made["preserveNullAndEmptyArrays"] = c.chance(70)
    if c.chance(50):
        made["includeArrayIndex"] = c.mostly(("x", "l", "o.i", "k.x"), ("$x", ""))
    return made


def _lookup(c: Chooser) -> Document:
    made: Document = {"from": OTHER, "as": c.mostly(("r", "r", "o.r", "l"), ("$r",))}
    if c.chance(75):
        made["localField"] = c.pick((*_FIELDS, "_id", "missing"))
        made["foreignField"] = c.pick(("a", "b", "a.b", "_id", "missing"))
    if "localField" not in made or c.chance(30):
        made["let"] = {"x": _operand(c)}
        made["pipeline"] = c.pick(
            (
                [{"$match": {"$expr": {"$eq": ["$a", "$$x"]}}}],
                [{"$match": {"_id": 1}}, {"$project": {"a": 1, "y": "$$x"}}],
                [],
                [{"$group": {"_id": None, "n": {"$sum": 1}, "x": {"$first": "$$x"}}}],
                [{"$limit": 1}],
            )
        )
    return made


def _graph_lookup(c: Chooser) -> Document:
    made: Document = {
        "from": OTHER,
        "startWith": c.pick(("$i", "$p", "$s", "$v")),
        "connectFromField": c.pick(("a", "b", "_id")),
        "connectToField": c.pick(("_id", "a", "b")),
        "as": "r",
    }
    if c.chance(40):
        made["maxDepth"] = c.mostly((0, 1, 2), (-1, 1.5))
    if c.chance(30):
        made["depthField"] = "depth"
    if c.chance(30):
        made["restrictSearchWithMatch"] = filter_(c, 0)
    return made


_WINDOWED: Final[dict[str, Make]] = {
    **{
        name: _ACCUMULATORS[name]
        for name in ("$sum", "$avg", "$min", "$max", "$first", "$last", "$push", "$addToSet")
    },
    "$count": lambda c: {},
    "$rank": lambda c: {},
    "$denseRank": lambda c: {},
    "$documentNumber": lambda c: {},
    "$shift": lambda c: {
        "output": _operand(c),
        "by": c.pick((1, -1, 0, 2)),
        "default": c.pick((0, None)),
    },
    "$locf": _operand,
    "$linearFill": lambda c: c.pick(("$n", "$i", "$p")),
    "$expMovingAvg": lambda c: {"input": c.pick(("$i", "$n")), "N": c.pick((1, 2, 3))},
    "$derivative": lambda c: {"input": c.pick(("$i", "$n"))},
    "$integral": lambda c: {"input": c.pick(("$i", "$n"))},
    "$covariancePop": lambda c: ["$i", c.pick(("$j", "$n"))],
    "$covarianceSamp": lambda c: ["$i", c.pick(("$j", "$n"))],
    "$stdDevPop": lambda c: c.pick(("$i", "$n")),
    "$stdDevSamp": lambda c: c.pick(("$i", "$n")),
    "$topN": _ACCUMULATORS["$topN"],
    "$maxN": _ACCUMULATORS["$maxN"],
    "$firstN": _ACCUMULATORS["$firstN"],
}
_WHOLE: Final = frozenset({"$rank", "$denseRank", "$documentNumber", "$shift", "$locf"})


def _window(c: Chooser) -> Document:
    bound = c.mostly(
        (
            ["unbounded", "current"],
            ["unbounded", "unbounded"],
            [-1, 1],
            [0, 0],
            ["current", 1],
            [-1, "current"],
        ),
        ([1, -1], [1], "current"),
    )
    return {"documents": bound} if c.chance(80) else {"range": bound}


def _set_window_fields(c: Chooser) -> Document:
    operator = c.pick(tuple(_WINDOWED))
    output: Document = {operator: _WINDOWED[operator](c)}
    if c.chance(15 if operator in _WHOLE else 75):
        output["window"] = _window(c)
    made: Document = {"output": {c.pick(("w", "o.w", "n")): output}}
    if c.chance(50):
        made["partitionBy"] = c.pick(("$b", "$i", "$missing", {"$mod": ["$_id", 2]}, "$l"))
    if c.chance(92):
        made["sortBy"] = c.pick(({"_id": 1}, {"i": 1, "_id": 1}, {"_id": -1}, {"_id": 1}, {"i": 1}))
    return made


_PARTITIONS: Final[tuple[Document, ...]] = (
    {"partitionBy": "$b"},
    {"partitionBy": {"x": "$i"}},
    {"partitionByFields": ["b"]},
)


def _fill(c: Chooser) -> Document:
    method = c.mostly(
        ({"method": "locf"}, {"method": "linear"}, {"value": 9}, {"value": "$i"}), ({}, {"x": 1})
    )
    made: Document = {"output": {c.pick(("n", "missing", "v", "i")): method}, "sortBy": {"_id": 1}}
    if c.chance(30):
        key, by = c.pick(
            (("partitionBy", "$b"), ("partitionBy", {"x": "$i"}), ("partitionByFields", ["b"]))
        )
        made[key] = by
    return made


def _densify(c: Chooser) -> Document:
    bounds = c.mostly(("full", "partition", [0, 4], [-1, 3]), ([4, 0], "x"))
    made: Document = {
        "field": c.pick(("_id", "_id", "i", "o.i")),
        "range": {"step": c.mostly((1, 2, 0.5), (0, -1)), "bounds": bounds},
    }
    if bounds == "partition" or c.chance(20):
        made["partitionByFields"] = c.pick((["b"], ["i", "b"], []))
    return made


def _facet(c: Chooser) -> Document:
    return {
        name: [pick_stage(c, _IN_FACET) for _ in range(c.number(0, 2))]
        for name in ("x", "y")[: c.number(1, 2)]
    }


def _redact(c: Chooser) -> Any:
    return c.pick(
        (
            "$$KEEP",
            "$$PRUNE",
            {"$cond": [{"$eq": ["$n", 1]}, "$$PRUNE", "$$DESCEND"]},
            {"$cond": [{"$gt": ["$a", 1]}, "$$KEEP", "$$DESCEND"]},
            {"$cond": ["$b", "$$DESCEND", "$$PRUNE"]},
        )
    )


def _set(c: Chooser) -> Document:
    paths = ("n", "x", "o.n", "o.x", "l.a", "k.v", "x.y", "v.a", "_id")
    return {c.pick(paths): any_expression(c, 1) for _ in range(c.number(1, 2))}


def _project(c: Chooser) -> Document:
    if c.chance(30):
        return projection(c)
    shown = c.pick((1, 1, 0))
    made: Document = {c.pick((*_FIELDS, "k.v", "l.a", "_id")): shown for _ in range(c.number(1, 3))}
    if c.chance(60) and shown:
        made["x"] = any_expression(c, 1)
    return made


_ORDERED: Final[dict[str, Make]] = {
    "$match": lambda c: filter_(c, 1) if c.chance(40) else {c.pick(_FIELDS): {"$exists": True}},
    "$project": _project,
    "$set": _set,
    "$addFields": _set,
    "$unset": lambda c: c.mostly(("n", ["n", "o.n"], "k.v", "_id"), (["o", "o.n"], [], 1, "$n")),
    "$unwind": _unwind,
    "$replaceRoot": lambda c: {
        "newRoot": c.pick(("$o", "$q", {"x": "$n"}, "$v", {"$mergeObjects": ["$o", "$q"]}))
    },
    "$replaceWith": lambda c: c.pick(("$o", {"x": "$n"}, "$v")),
    "$sort": lambda c: (
        {**sort(c), "_id": 1} if c.chance(50) else {c.pick(_FIELDS): c.pick((1, -1)), "_id": 1}
    ),
    "$limit": lambda c: c.mostly((1, 2, 3, 2.0), (0, -1, 1.5, "a")),
    "$skip": lambda c: c.mostly((0, 1, 2, 1.0), (-1, 1.5)),
    "$lookup": _lookup,
    "$graphLookup": _graph_lookup,
    "$redact": _redact,
    "$setWindowFields": _set_window_fields,
    "$fill": _fill,
    "$densify": _densify,
    "$unionWith": lambda c: c.pick((OTHER, {"coll": OTHER, "pipeline": [{"$match": {"a": 1}}]})),
}
_UNORDERED: Final[dict[str, Make]] = {
    "$group": _group,
    "$bucket": _bucket,
    "$bucketAuto": _bucket_auto,
    "$sortByCount": lambda c: c.mostly(("$i", "$b", "$s", "$v"), ("s", 1)),
    "$count": lambda c: c.mostly(("n", "count"), ("", "$n", "a.b", 1)),
    "$facet": _facet,
}
_STAGES: Final = _ORDERED | _UNORDERED
_NAMES: Final = (*_ORDERED, *_UNORDERED, "$group", "$group", "$group", "$set", "$unwind", "$lookup")
_IN_FACET: Final = (*(n for n in _ORDERED if n not in ("$graphLookup",)), "$count", "$bucketAuto")
_AFTER: Final = ("$match", "$project", "$set", "$unset", "$unwind")


def pick_stage(c: Chooser, names: tuple[str, ...] = _NAMES) -> Document:
    """One stage."""
    name = c.pick(names)
    if c.chance(1):
        return c.pick(({"$foo": 1}, {name: value(c, 1)}, {"a": 1}, {"$match": {}, "$limit": 1}))
    return {name: _STAGES[name](c) if c.chance(98) else value(c, 1)}


def pipeline(c: Chooser) -> list[Document]:
    """Stages; what follows one that leaves the order open does not depend on it."""
    made: list[Document] = []
    unordered = False
    for _ in range(c.number(1, 3)):
        stage = pick_stage(c, _AFTER if unordered else _NAMES)
        if made and "$match" in stage and c.chance(80):  # the server would move it to the front
            stage = {"$limit": 2} if not unordered else {"$set": {"x": 1}}
        unordered = unordered or next(iter(stage), "") in _UNORDERED
        made.append(stage)
    return made


def _probe(c: Chooser) -> Probe:
    stages = pipeline(c)
    first = next((i for i, stage in enumerate(stages) if stage.keys() & _UNORDERED.keys()), None)
    shown = repr(stages)
    as_sets = any(name in shown for name in ("$addToSet", "$graphLookup", "$setUnion", "$setI"))
    command: Document = {"aggregate": COLLECTION, "pipeline": stages, "cursor": {}}
    return Probe((command,), ordered=first is None, as_sets=as_sets or "$bucketAuto" in shown)


def stage_batch(c: Chooser) -> Batch:
    """Pipelines over two collections."""
    c.typed = True
    made = [typed_document(c, id_) for id_ in range(1, c.number(2, 4) + 1)]
    others = [stored(c, id_) for id_ in range(1, c.number(1, 3) + 1)]
    for document in made:
        look(c, document, "")
    batch = {COLLECTION: made, OTHER: others}
    return Batch("stages", batch, tuple(c.some(_probe, 8, 8)))
