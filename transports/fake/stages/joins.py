"""Stages that bring in other documents: ``$lookup``, ``$graphLookup``, ``$unionWith``, ``$facet``.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/lookup/
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from bson import Int64

from transports.fake.collation import Collation
from transports.fake.errors import FAILED_TO_PARSE, CommandFailure
from transports.fake.expressions.names import check_path, check_variable_name
from transports.fake.expressions.numbers import as_long, to_float
from transports.fake.matcher import compile_filter
from transports.fake.paths import Parts, all_values, put, split
from transports.fake.stages.context import Context, Run, Stage
from transports.fake.stages.options import check_collection, checked_options
from transports.fake.stages.streams import require_object
from transports.fake.values import MISSING, NUMBER_TYPES, Document, bson_type, hash_key


class JoinIndex:
    """The documents of a collection by the values at one path, as an equality finds them."""

    def __init__(
        self, documents: Iterable[Document], parts: Parts, collation: Collation | None
    ) -> None:
        self.documents = list(documents)
        self._collation = collation
        self._positions: dict[Hashable, list[int]] = {}
        for position, document in enumerate(self.documents):
            values = all_values(document, parts, True)
            for key in {self._key(value) for value in values}:
                self._positions.setdefault(key, []).append(position)

    def _key(self, value: Any) -> Hashable:
        return None if value is MISSING else hash_key(value, self._collation)

    def positions(self, values: Iterable[Any]) -> list[int]:
        """Return where documents with any of the values are, ascending."""
        found: set[int] = set()
        for value in values:
            found.update(self._positions.get(self._key(value), ()))
        return sorted(found)

    def find(self, values: Iterable[Any]) -> list[Document]:
        """Return the documents with any of the values, in the collection's order."""
        return [self.documents[position] for position in self.positions(values)]


def _local_values(document: Document, parts: Parts) -> list[Any]:
    """Return the values that a local field looks for; null if there is none."""
    found: list[Any] = []
    for value in all_values(document, parts, False):
        if type(value) is list:
            found += value
        elif value is not MISSING:
            found.append(value)
    return found or [None]


def _namespace(name: str, given: Any, context: Context) -> tuple[str | None, str]:
    if type(given) is dict:
        for option in given:
            if option not in ("db", "coll"):
                raise CommandFailure(40415, f"BSON field 'from.{option}' is an unknown field.")
        if not given.get("coll"):
            raise CommandFailure(
                FAILED_TO_PARSE,
                f"{name} with syntax {{from: {{db:<>, coll:<>}},..}} is not supported for db: "
                f"{given.get('db', '')} and coll: ",
            )
        return given.get("db"), given["coll"]
    if type(given) is not str:
        raise CommandFailure(
            FAILED_TO_PARSE,
            f"{name} argument 'from: {given!r}' must be a string, is type {bson_type(given)[1]}",
        )
    check_collection(given, "Invalid namespace specified")
    return None, given


def lookup(spec: Any, context: Context) -> Stage:
    """``$lookup``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/lookup/."""
    given = require_object("the $lookup stage", spec)
    for name in given:
        if name not in ("from", "localField", "foreignField", "as", "let", "pipeline"):
            raise CommandFailure(FAILED_TO_PARSE, f"unknown argument to $lookup: {name}")
    _check_strings(given)
    if "as" not in given:
        raise CommandFailure(FAILED_TO_PARSE, "must specify 'as' field for a $lookup")
    if "pipeline" not in given:
        if "let" in given:
            raise CommandFailure(
                FAILED_TO_PARSE, "$lookup with a 'let' argument must also specify 'pipeline'"
            )
        if "localField" not in given or "foreignField" not in given:
            raise CommandFailure(
                FAILED_TO_PARSE,
                "$lookup requires either 'pipeline' or both 'localField' and 'foreignField' to "
                "be specified",
            )
    elif ("localField" in given) != ("foreignField" in given):
        raise CommandFailure(
            FAILED_TO_PARSE,
            "$lookup requires both or neither of 'localField' and 'foreignField' to be specified",
        )
    target = _lookup_source(given, context)
    as_parts = check_path(given["as"])
    joined = _joined(given, context, target)
    appends = context.pushed_down and "pipeline" not in given

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        find = joined(run)
        for document in documents:
            found = find(document)
            if appends and as_parts[0] in document:
                document = {**document}
                document[as_parts[0]] = document.pop(as_parts[0])
            yield put(document, as_parts, found)

    return run


def _check_strings(given: Document) -> None:
    for name in ("localField", "foreignField", "as"):
        if name in given:
            if given[name] == "":
                raise CommandFailure(
                    FAILED_TO_PARSE, f"$lookup argument '{name}' must not be empty"
                )
            if type(given[name]) is not str:
                raise CommandFailure(
                    FAILED_TO_PARSE,
                    f"$lookup argument '{name}: {given[name]!r}' must be a string, found type "
                    f"{bson_type(given[name])[1]}",
                )
            check_path(given[name])


def _lookup_source(given: Document, context: Context) -> tuple[str | None, str] | None:
    """Return the namespace that is joined; None if the pipeline makes its own documents."""
    if "from" in given:
        return _namespace("$lookup", given["from"], context)
    pipeline = given.get("pipeline")
    if type(pipeline) is list and pipeline and "$documents" in pipeline[0]:
        return None
    raise CommandFailure(FAILED_TO_PARSE, "must specify 'from' field for a $lookup")


def _read(target: tuple[str | None, str] | None, run: Run) -> Iterable[Document]:
    if target is None:
        return ()
    return run.env.read(target[0] or run.env.database, target[1])


def _joined(
    given: Document, context: Context, target: tuple[str | None, str] | None
) -> Callable[[Run], Callable[[Document], list[Document]]]:
    local = split(given["localField"]) if "localField" in given else None
    foreign = split(given["foreignField"]) if "foreignField" in given else None
    variables = _let(given.get("let", {}), context)
    inner = context.nested("$lookup", variables)
    pipeline = inner.stages(given["pipeline"]) if "pipeline" in given else None

    def start(run: Run) -> Callable[[Document], list[Document]]:
        source = list(_read(target, run))
        index = JoinIndex(source, foreign, context.collation) if foreign else None
        once: list[list[Document]] = []

        def find(document: Document) -> list[Document]:
            found = source
            if index is not None and local is not None:
                found = index.find(_local_values(document, local))
            if pipeline is None:
                return found
            if not variables and index is None:
                # Nothing differs from document to document: the result is kept.
                if not once:
                    once.append(list(pipeline(source, run)))
                return once[0]
            values = {name: value(document, run.variables) for name, value in variables.items()}
            return list(pipeline(found, run.binding(values)))

        return find

    return start


def _let(given: Any, context: Context) -> dict[str, Callable[[Document, Any], Any]]:
    if type(given) is not dict:
        raise CommandFailure(
            FAILED_TO_PARSE,
            f"$lookup argument 'let: {given!r}' must be an object, is type {bson_type(given)[1]}",
        )
    for name in given:
        check_variable_name(name)
    return {name: context.expression(value) for name, value in given.items()}


def graph_lookup(spec: Any, context: Context) -> Stage:
    """``$graphLookup``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/graphLookup/."""
    given = require_object("the $graphLookup stage", spec)
    required = ("from", "startWith", "connectFromField", "connectToField", "as")
    if "from" not in given:
        raise CommandFailure(
            FAILED_TO_PARSE, "missing 'from' option to $graphLookup stage specification"
        )
    for name in given:
        if name not in (*required, "maxDepth", "depthField", "restrictSearchWithMatch"):
            raise CommandFailure(40104, f"Unknown argument to $graphLookup: {name}")
    for name in required:
        if name not in given:
            raise _incomplete()
    for name in ("as", "connectFromField", "connectToField", "depthField"):
        if type(given.get(name)) is dict:
            raise CommandFailure(13111, f"wrong type for field ({name}) object != string")
        if name in given and type(given[name]) is not str:
            raise CommandFailure(
                40103, f"expected string as argument for {name}, found: {given[name]!r}"
            )
    if not all(given[name] for name in ("as", "connectFromField", "connectToField")):
        raise _incomplete()
    most = _max_depth(given)
    restrict = given.get("restrictSearchWithMatch", {})
    if type(restrict) is not dict:
        raise CommandFailure(40185, "restrictSearchWithMatch must be an object, found {restrict!r}")
    matches = compile_filter(restrict, collation=context.collation, names=context.names).predicate
    target = _namespace("$graphLookup", given["from"], context)
    start_with = context.expression(given["startWith"])
    connect_from = check_path(given["connectFromField"])
    connect_to = check_path(given["connectToField"])
    as_parts = check_path(given["as"])
    depth_parts = check_path(given["depthField"]) if "depthField" in given else None

    def search(index: JoinIndex, document: Document, run: Run) -> list[Document]:
        start = start_with(document, run.variables)
        frontier = start if type(start) is list else [] if start is MISSING else [start]
        depth, seen, found = 0, set[int](), list[Document]()
        while frontier and (most is None or depth <= most):
            reached: list[Any] = []
            for position in index.positions(frontier):
                candidate = index.documents[position]
                if position in seen or not matches(candidate, run.variables):
                    continue
                seen.add(position)
                found.append(
                    candidate if depth_parts is None else put(candidate, depth_parts, Int64(depth))
                )
                reached += _connections(candidate, connect_from)
            frontier, depth = reached, depth + 1
        return found

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        index = JoinIndex(_read(target, run), connect_to, context.collation)
        for document in documents:
            yield put(document, as_parts, search(index, document, run))

    return run


def _incomplete() -> CommandFailure:
    return CommandFailure(
        40105,
        "$graphLookup requires 'from', 'as', 'startWith', 'connectFromField', and "
        "'connectToField' to be specified.",
    )


def _connections(document: Document, parts: Parts) -> list[Any]:
    found: list[Any] = []
    for value in all_values(document, parts, False):
        if type(value) is list:
            found += value
        elif value is not MISSING:
            found.append(value)
    return found


def _max_depth(given: Document) -> int | None:
    if "maxDepth" not in given:
        return None
    if type(given["maxDepth"]) not in NUMBER_TYPES:
        raise CommandFailure(
            40100, f"maxDepth must be numeric, found type: {bson_type(given['maxDepth'])[1]}"
        )
    depth = as_long(given["maxDepth"])
    if depth < 0:
        raise CommandFailure(40101, f"maxDepth requires a nonnegative argument, found: {depth}")
    if float(depth) != to_float(given["maxDepth"]):
        raise CommandFailure(40102, f"maxDepth could not be represented as a long long: {depth}")
    return depth


def union_with(spec: Any, context: Context) -> Stage:
    """``$unionWith``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/unionWith/."""
    if type(spec) not in (str, dict):
        raise CommandFailure(
            FAILED_TO_PARSE,
            "the $unionWith stage specification must be an object or string, but found "
            + bson_type(spec)[1],
        )
    options = {"coll": spec} if type(spec) is str else spec
    options = checked_options("$unionWith", options, {"coll": "string", "pipeline": "array"})
    pipeline = [stage for stage in options.get("pipeline", []) if stage is not None]
    collection = options.get("coll")
    if collection is None and not (pipeline and "$documents" in pipeline[0]):
        raise CommandFailure(
            FAILED_TO_PARSE,
            "$unionWith stage without explicit collection must have a pipeline with $documents as "
            "first stage",
        )
    if collection is not None:
        check_collection(
            collection, f"Namespace {context.database}. is not a valid collection name"
        )
    stages = context.nested("$unionWith").stages(pipeline)

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        yield from documents
        target = None if collection is None else (None, collection)
        yield from stages(_read(target, run), run)

    return run


def facet(spec: Any, context: Context) -> Stage:
    """``$facet``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/facet/."""
    if type(spec) is not dict or not spec:
        raise CommandFailure(40169, "the $facet specification must be a non-empty object")
    inner = context.nested("$facet")
    facets = {}
    for name, pipeline in spec.items():
        if not name or "." in name or name.startswith("$"):
            check_path(name)
            raise CommandFailure(16412, "FieldPath field names may not contain '.'.")
        if type(pipeline) is not list:
            raise CommandFailure(
                40170,
                f"arguments to $facet must be arrays, {name} is type {bson_type(pipeline)[1]}",
            )
        if any(type(stage) is not dict or not stage for stage in pipeline):
            raise CommandFailure(
                40171,
                f"elements of arrays in $facet spec must be non-empty objects, {name} argument "
                "contained an element that is not",
            )
        facets[name] = inner.stages(pipeline)

    def run(documents: Iterable[Document], run: Run) -> Iterator[Document]:
        everything = list(documents)
        yield {name: list(stages(everything, run)) for name, stages in facets.items()}

    return run
