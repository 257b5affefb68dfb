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
    CommandFailure,
)
from transports.fake.expressions.scope import Variables
from transports.fake.stages.context import Context, Run, Stage
from transports.fake.values import Document, bson_type, equal

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
        for name in spec:
            if name not in ("db", "coll", "timeseries"):
                raise CommandFailure(40415, f"BSON field '$out.{name}' is an unknown field.")
        for name in ("db", "coll"):
            if name not in spec:
                raise CommandFailure(
                    40414, f"BSON field '$out.{name}' is missing but a required field"
                )
    elif type(spec) is not str:
        raise CommandFailure(
            16990, f"$out only supports a string or object argument, but found {bson_type(spec)[1]}"
        )
    database, collection = target_of("$out", spec)

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        run.env.write_out(database or run.env.database, collection, documents)
        return iter(())

    return run


def merge(spec: Any, context: Context) -> Stage:
    """``$merge``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/merge/."""
    given = {"into": spec} if type(spec) is str else spec
    if type(given) is not dict:
        raise CommandFailure(
            51182, f"$merge only supports a string or object argument, not {bson_type(spec)[1]}"
        )
    for name in given:
        if name not in ("into", "on", "let", "whenMatched", "whenNotMatched"):
            raise CommandFailure(40415, f"BSON field '$merge.{name}' is an unknown field.")
    if "into" not in given:
        raise CommandFailure(40414, "BSON field '$merge.into' is missing but a required field")
    if type(given["into"]) not in (str, dict):
        raise CommandFailure(
            51178,
            f"$merge 'into' field  must be either a string or an object, but found {bson_type(given['into'])[1]}",
        )
    database, collection = target_of("$merge", given)
    if not collection:
        raise CommandFailure(51178, "$merge 'into' field must specify a 'coll' that is not empty")
    on = _on(given.get("on", "_id"))
    not_matched = given.get("whenNotMatched", "insert")
    if not_matched not in _NOT_MATCHED:
        raise CommandFailure(
            2,
            f"Enumeration value '{not_matched}' for field '$merge.whenNotMatched' is not a valid value.",
        )
    matched = _when_matched(given, context)

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        pairs = (
            (document, _decision(document, matched, not_matched, run)) for document in documents
        )
        run.env.merge(database or run.env.database, collection, on, pairs)
        return iter(())

    return run


def _on(given: Any) -> tuple[str, ...]:
    fields = [given] if type(given) is str else given
    if type(fields) is not list:
        raise CommandFailure(
            51186,
            f"$merge 'on' field  must be either a string or an array of strings, but found {bson_type(given)[1]}",
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
    if len(set(fields)) != len(fields):
        raise CommandFailure(31465, "Found a duplicate field in the $merge 'on' array")
    return tuple(fields)


Matched = Callable[[Document, Document, Run], Document | None]


def _when_matched(given: Document, context: Context) -> Matched:
    mode = given.get("whenMatched", "merge")
    if type(mode) is list:
        return _pipeline_mode(mode, given, context)
    if mode not in _MATCHED:
        raise CommandFailure(
            2, f"Enumeration value '{mode}' for field '$merge.whenMatched' is not a valid value."
        )
    if "let" in given:
        raise CommandFailure(51199, f"Cannot use 'let' variables with 'whenMatched: {mode}' mode")

    def decide(stored: Document, document: Document, run: Run) -> Document | None:
        if mode == "replace":
            return _same_id(stored, {"_id": stored["_id"], **document})
        if mode == "merge":
            return _same_id(stored, {**stored, **document})
        if mode == "fail":
            raise CommandFailure(
                11000,
                "$merge with whenMatched: fail found an existing document with the same values for the 'on' fields",
            )
        return None

    return decide


def _same_id(stored: Document, new: Document) -> Document:
    if not equal(stored["_id"], new["_id"]):
        raise CommandFailure(
            IMMUTABLE_FIELD,
            "$merge failed to update the matching document, did you attempt to modify the _id or the "
            "shard key? :: caused by :: Performing an update on the path '_id' would modify the "
            "immutable field '_id'",
        )
    return new


def _pipeline_mode(pipeline: list[Any], given: Document, context: Context) -> Matched:
    let = given.get("let", {"new": "$$ROOT"})
    if type(let) is not dict:
        raise CommandFailure(FAILED_TO_PARSE, "$merge 'let' must be an object")
    if "new" in let and let["new"] != "$$ROOT":
        raise CommandFailure(
            51273,
            "'let' may not define a value for the reserved 'new' variable other than '$$ROOT'",
        )
    values = {name: context.expression(value) for name, value in {**let, "new": "$$ROOT"}.items()}
    stages = context.nested("$merge", values).stages(pipeline)

    def decide(stored: Document, document: Document, run: Run) -> Document | None:
        bound: Variables = {name: value(document, run.variables) for name, value in values.items()}
        changed = next(iter(stages([stored], run.binding(bound))))
        return _same_id(stored, {"_id": stored["_id"], **changed})

    return decide


def _decision(document: Document, matched: Matched, not_matched: str, run: Run) -> Decide:
    def decide(stored: Document | None) -> Document | None:
        if stored is not None:
            return matched(stored, document, run)
        if not_matched == "insert":
            return document
        if not_matched == "fail":
            raise CommandFailure(
                NO_MATCHING_DOCUMENT,
                "$merge could not find a matching document in the target collection for at least "
                "one document in the source collection",
            )
        return None

    return decide
