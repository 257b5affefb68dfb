"""Stages that write: ``$out`` and ``$merge``.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/out/ and
https://www.mongodb.com/docs/manual/reference/operator/aggregation/merge/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from transports.fake.errors import (
    FAILED_TO_PARSE,
    IMMUTABLE_FIELD,
    TYPE_MISMATCH,
    CommandFailure,
)
from transports.fake.expressions.names import check_path
from transports.fake.expressions.scope import Variables
from transports.fake.stages.context import Context, Run, Stage
from transports.fake.stages.options import ANY, check_collection, checked_options
from transports.fake.values import MISSING, Document, bson_type, equal

Decide = Callable[[Document | None], Document | None]
_MATCHED: Final = ("replace", "keepExisting", "merge", "fail")
_NOT_MATCHED: Final = ("insert", "discard", "fail")
NO_MATCHING_DOCUMENT: Final = 13113


def target_of(name: str, spec: Any) -> tuple[str | None, str]:
    """Return ``(database or None, collection)`` that a ``$out`` or ``$merge`` writes to."""
    given = spec
    if name == "$merge" and type(spec) is dict:
        given = spec.get("into", spec)
    if type(given) is str:
        return None, given
    if type(given) is dict:
        return given.get("db"), given.get("coll", "")
    return None, ""


def out(spec: Any, context: Context) -> Stage:
    """``$out``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/out/."""
    if type(spec) is dict:
        if spec.keys() != {"db", "coll"}:
            raise CommandFailure(
                16994,
                "If an object is passed to $out it must have exactly 2 fields: 'db' and 'coll'",
            )
    elif type(spec) is not str:
        raise CommandFailure(
            16990, f"$out only supports a string or object argument, but found {bson_type(spec)[1]}"
        )
    for name in ("db", "coll") if type(spec) is dict else ():
        if type(spec[name]) is not str:
            raise CommandFailure(
                13111, f"wrong type for field ({name}) {bson_type(spec[name])[1]} != string"
            )
    database, collection = target_of("$out", spec)
    check_collection(collection, f"Invalid $out target namespace, {database or context.database}.")
    if "$" in collection:
        raise CommandFailure(
            20, f"error with target namespace: Invalid collection name: {collection}"
        )

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        run.env.write_out(database or run.env.database, collection, documents)
        return iter(())

    return run


def merge(spec: Any, context: Context) -> Stage:
    """``$merge``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/merge/."""
    given = {"into": spec} if type(spec) is str else spec
    if type(given) is not dict:
        raise CommandFailure(
            TYPE_MISMATCH,
            f"$merge only supports a string or object argument, not {bson_type(spec)[1]}",
        )
    given = checked_options(
        "$merge",
        given,
        {"into": ANY, "on": ANY, "let": "object", "whenMatched": ANY, "whenNotMatched": "string"},
        ("into",),
    )
    if type(given["into"]) not in (str, dict):
        raise CommandFailure(
            51178,
            "$merge 'into' field  must be either a string or an object, but found "
            f"{bson_type(given['into'])[1]}",
        )
    if given["into"] == "" and type(spec) is dict:
        raise CommandFailure(5786800, "$merge 'into' field cannot be an empty string")
    if type(given["into"]) is dict:
        given["into"] = checked_options("into", given["into"], {"db": "string", "coll": "string"})
        if not given["into"].get("coll"):
            raise CommandFailure(
                5786801,
                "$merge 'into' field must specify a 'coll' that is not empty, null or undefined",
            )
    database, collection = target_of("$merge", given)
    check_collection(
        collection, f"Invalid $merge target namespace: '{database or context.database}.'"
    )
    on = _on(given.get("on", "_id"))
    not_matched = given.get("whenNotMatched", "insert")
    if not_matched not in _NOT_MATCHED:
        raise CommandFailure(
            2,
            f"Enumeration value '{not_matched}' for field '$merge.whenNotMatched' is not a "
            "valid value.",
        )
    matched = _when_matched(given, context)
    merges = given.get("whenMatched", "merge") == "merge"
    if given.get("whenMatched") in ("keepExisting", "fail") and not_matched != "insert":
        raise CommandFailure(
            51181,
            "Combination of $merge modes 'whenMatched: "
            f"{given['whenMatched']}' and 'whenNotMatched: {not_matched}' is not supported",
        )

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        pairs = (
            (document, _decision(document, matched, not_matched, merges, run))
            for document in documents
        )
        run.env.merge(database or run.env.database, collection, on, pairs)
        return iter(())

    return run


def _on(given: Any) -> tuple[str, ...]:
    fields = [given] if type(given) is str else given
    if type(fields) is not list:
        raise CommandFailure(
            51186,
            "$merge 'on' field  must be either a string or an array of strings, but found "
            f"{bson_type(given)[1]}",
        )
    if not fields:
        raise CommandFailure(
            51187, "If explicitly specifying $merge 'on', must include at least one field"
        )
    for field in fields:
        if type(field) is not str:
            raise CommandFailure(
                51134,
                f"$merge 'on' array elements must be strings, but found {bson_type(field)[1]}",
            )
        check_path(field)
    if len(set(fields)) != len(fields):
        raise CommandFailure(31465, "Found a duplicate field in the $merge 'on' array")
    return tuple(fields)


# Also asked when nothing is stored, for what a server checks before it looks.
Matched = Callable[[Document | None, Document, Run], Document | None]


def _when_matched(given: Document, context: Context) -> Matched:
    mode = given.get("whenMatched", "merge")
    if type(mode) is list:
        return _pipeline_mode(mode, given, context)
    if type(mode) is not str:
        raise CommandFailure(
            51191,
            "$merge 'whenMatched' field  must be either a string or an array, but found "
            f"{bson_type(mode)[1]}",
        )
    if mode not in _MATCHED:
        raise CommandFailure(
            2, f"Enumeration value '{mode}' for field '$merge.whenMatched' is not a valid value."
        )
    if "let" in given:
        raise CommandFailure(51199, f"Cannot use 'let' variables with 'whenMatched: {mode}' mode")

    def decide(stored: Document | None, document: Document, run: Run) -> Document | None:
        if stored is None:
            return None
        if mode == "replace":
            return _same_id(stored, {"_id": stored["_id"], **document})
        if mode == "merge":
            return _same_id(stored, {**stored, **_in_order(document)})
        if mode == "fail":
            raise CommandFailure(
                11000,
                "$merge with whenMatched: fail found an existing document with the same values "
                "for the 'on' fields",
            )
        return None

    return decide


def _in_order(document: Document) -> Document:
    """Return a document as ``$set`` adds its fields: ``_id`` first, then by name."""
    rest = {name: document[name] for name in sorted(document) if name != "_id"}
    return {"_id": document["_id"], **rest} if "_id" in document else rest


def _same_id(stored: Document, new: Document) -> Document:
    if not equal(stored["_id"], new["_id"]):
        raise CommandFailure(
            IMMUTABLE_FIELD,
            "$merge failed to update the matching document, did you attempt to modify the _id "
            "or the "
            "shard key? :: caused by :: Performing an update on the path '_id' would modify the "
            "immutable field '_id'",
        )
    return new


def _pipeline_mode(pipeline: list[Any], given: Document, context: Context) -> Matched:
    let = given.get("let", {"new": "$$ROOT"})
    # Without a "let" there is $$new; with one there is only what it defines.
    if type(let) is not dict:
        raise CommandFailure(FAILED_TO_PARSE, "$merge 'let' must be an object")
    if "new" in let and let["new"] != "$$ROOT":
        raise CommandFailure(
            51273,
            "'let' may not define a value for the reserved 'new' variable other than '$$ROOT'",
        )
    values = {name: context.expression(value) for name, value in let.items()}
    stages = context.nested("$merge", values).stages(pipeline)

    def decide(stored: Document | None, document: Document, run: Run) -> Document | None:
        bound: Variables = {name: value(document, run.variables) for name, value in values.items()}
        for name, value in bound.items():
            if value is MISSING:
                raise CommandFailure(17276, f"Use of undefined variable: {name}")
        if stored is None:
            return None
        changed = next(iter(stages([stored], run.binding(bound))))
        return _same_id(stored, {"_id": stored["_id"], **changed})

    return decide


def _decision(
    document: Document, matched: Matched, not_matched: str, merges: bool, run: Run
) -> Decide:
    def decide(stored: Document | None) -> Document | None:
        new = matched(stored, document, run)
        if stored is not None:
            return new
        if not_matched == "insert":
            return _in_order(document) if merges else document
        if not_matched == "fail":
            raise CommandFailure(
                NO_MATCHING_DOCUMENT,
                "$merge could not find a matching document in the target collection for at least "
                "one document in the source collection",
            )
        return None

    return decide
