"""Aggregation pipelines: a list of stages, compiled once, run over a source of documents.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation-pipeline/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from transports.fake import metadata
from transports.fake.collation import Collation
from transports.fake.errors import (
    FAILED_TO_PARSE,
    INVALID_NAMESPACE,
    TYPE_MISMATCH,
    CommandFailure,
    unsupported,
)
from transports.fake.expressions import slot_engine
from transports.fake.expressions.scope import folding
from transports.fake.matcher import Matcher
from transports.fake.stages.context import CompiledStages, Context, Run, Stage
from transports.fake.stages.environment import Environment
from transports.fake.stages.fields import flag, is_flag
from transports.fake.stages.output import target_of
from transports.fake.stages.streams import compile_match
from transports.fake.stages.table import SOURCES, STAGES, UNSUPPORTED
from transports.fake.values import Document

__all__ = ["Environment", "Pipeline", "compile_pipeline"]

_WRITERS: Final = ("$out", "$merge")
_NOT_IN: Final = {
    "$facet": frozenset({"$facet", "$out", "$merge", "$documents", *SOURCES}),
    "$lookup": frozenset({"$out", "$merge"}),
    "$unionWith": frozenset({"$out", "$merge"}),
}


def _always(spec: Any) -> bool:
    return True


def _bucket_runs(spec: Any) -> bool:
    if type(spec) is not dict:
        return False
    return slot_engine.runs(spec.get("groupBy")) and slot_engine.runs_accumulators(
        spec.get("output", {})
    )


# Stages that the server's other engine runs at the start of a pipeline, and of which kind.
_PUSHED_DOWN: Final[Mapping[str, Callable[[Any], bool]]] = {
    "$match": lambda spec: type(spec) is not dict or "$jsonSchema" not in spec,
    "$sort": _always,
    "$limit": _always,
    "$skip": _always,
    "$project": lambda spec: (
        type(spec) is dict
        and not any(is_flag(v) and not flag(v) for v in spec.values())
        and slot_engine.runs({name: v for name, v in spec.items() if not is_flag(v)})
    ),
    "$group": slot_engine.runs_group,
    "$bucket": _bucket_runs,
    "$sortByCount": slot_engine.runs,
    "$lookup": lambda spec: not (type(spec) is dict and "pipeline" in spec),
}
_GROUPS: Final = ("$group", "$bucket", "$sortByCount")
_METADATA: Final = defaultdict(
    frozenset[str],
    {
        "$text": frozenset({"textScore"}),
        "$geoNear": frozenset({"geoNearDistance", "geoNearPoint"}),
    },
)
_NESTING_CODE: Final = {"$facet": 40600, "$lookup": 51047, "$unionWith": 31441}


class Pipeline:
    """A compiled pipeline.

    Attributes:
        leading_filter: the filter of a first ``$match``, for its `Matcher.index_bounds`; None
            without one.
        reads_source: False if the first stage makes its own documents (``$documents``, …).
        writes: ``(stage, database | None, collection)`` of a last ``$out`` or ``$merge``.
        searches_text: its source is what the first filter's ``$text`` finds, already filtered.
        keeps_metadata: its documents carry what ``$meta`` asks for.
    """

    def __init__(self, pipeline: Sequence[Mapping[str, Any]], context: Context) -> None:
        first = pipeline[0] if pipeline and type(pipeline[0]) is dict else {}
        self.leading_filter: Matcher | None = (
            compile_match(first["$match"], context) if "$match" in first else None
        )
        self.searches_text = self.leading_filter is not None and bool(self.leading_filter.text)
        asked = metadata.kinds_in(pipeline)
        available = _METADATA["$text" if self.searches_text else next(iter(first), "")]
        self.keeps_metadata = not asked.isdisjoint(available)
        context = replace(context, keeps_metadata=self.keeps_metadata)
        self._stages = compile_stages(pipeline, context, done=int(self.searches_text))
        metadata.check_available(asked, available)
        self.reads_source = not (first.keys() & SOURCES or "$documents" in first)
        self._makes_documents = "$documents" in first
        self.writes: tuple[str, str | None, str] | None = None
        last = dict(pipeline[-1]) if pipeline else {}
        for name in _WRITERS:
            if name in last:
                self.writes = (name, *target_of(name, last[name]))

    def run(self, source: Iterable[Document], env: Environment) -> Iterator[Document]:
        """Run over the source; documents of the source are never changed.

        A last ``$out`` or ``$merge`` writes when this is called and yields nothing.
        """
        if self._makes_documents and env.collection:
            raise CommandFailure(
                INVALID_NAMESPACE,
                "'$documents' can only be run with database-level aggregate",
            )
        documents = self._stages(source, Run(env, {"NOW": env.now, **env.variables}))
        return metadata.stripped(documents) if self.keeps_metadata else documents


def compile_pipeline(
    pipeline: Sequence[Mapping[str, Any]],
    *,
    collation: Collation | None = None,
    variables: Iterable[str] = (),
    database: str | None = None,
) -> Pipeline:
    """Compile a pipeline.

    Args:
        pipeline: the stages.
        collation: how strings compare, for every stage.
        variables: names of the command's ``let``; their values come with `Environment`.
        database: where it runs; ``"admin"`` and database-level pipelines allow other stages.

    Raises:
        CommandFailure: as a server refuses it (40324 for an unknown stage, …).
    """
    context = Context(compile_stages, frozenset(variables), collation, database)
    with folding():
        return Pipeline(pipeline, context)


def compile_stages(pipeline: Sequence[Any], context: Context, *, done: int = 0) -> CompiledStages:
    """Compile the stages of a pipeline or sub-pipeline into one function.

    Args:
        pipeline: the stages.
        context: what they are compiled with.
        done: how many of them the source has taken care of.
    """
    if type(pipeline) is not list:
        raise CommandFailure(TYPE_MISMATCH, "'pipeline' option must be specified as an array")
    if {"$match": {}} in pipeline[:1] and "$geoNear" in dict(*pipeline[1:2]):
        pipeline = pipeline[1:]  # as the server's optimizer does
    stages = []
    pushed_down = context.inside is None
    for given in pipeline:
        _check_name(given)
    for position, given in enumerate(pipeline):
        name, spec = next(iter(given.items()))
        _check_place(name, spec, position, len(pipeline), context)
        pushed_down = pushed_down and name in _PUSHED_DOWN and _PUSHED_DOWN[name](spec)
        here = pushed_down and not _unwinds_next(pipeline, position)
        slots = pushed_down and name in _GROUPS
        stages.append(_stage(name, spec, replace(context, pushed_down=here, slots=slots)))

    del stages[:done]

    def run(source: Iterable[Document], run: Run) -> Iterator[Document]:
        documents = source
        for stage in stages:
            documents = stage(documents, run)
        return iter(documents)

    return run


def _check_name(stage: Any) -> None:
    """Refuse what is no stage at all: the server looks at all names first."""
    if type(stage) is not dict:
        raise CommandFailure(
            TYPE_MISMATCH, "Each element of the 'pipeline' array must be an object"
        )
    if len(stage) != 1:
        raise CommandFailure(
            40323, "A pipeline stage specification object must contain exactly one field."
        )
    name = next(iter(stage))
    if not name:
        raise CommandFailure(FAILED_TO_PARSE, "A pipeline stage needs a name")
    if name not in STAGES and name not in SOURCES and name not in UNSUPPORTED:
        raise CommandFailure(40324, f"Unrecognized pipeline stage name: '{name}'")


def _unwinds_next(pipeline: Sequence[Any], position: int) -> bool:
    following = pipeline[position + 1 : position + 2]
    return bool(following) and type(following[0]) is dict and "$unwind" in following[0]


def _top_level(query: Any) -> set[str]:
    """Return the names in a filter's conjunction."""
    if type(query) is not dict:
        return set()
    names = set(query)
    for logical in ("$and", "$or"):
        for member in query.get(logical) or ():
            names |= _top_level(member)
    return names


def _check_place(name: str, spec: Any, position: int, length: int, context: Context) -> None:
    if context.inside is not None and name in _NOT_IN.get(context.inside, ()):
        raise CommandFailure(
            _NESTING_CODE[context.inside],
            f"{name} is not allowed to be used within a {context.inside} stage",
        )
    if name == "$match" and position and "$text" in _top_level(spec):
        raise CommandFailure(17313, "$match with $text is only allowed as the first pipeline stage")
    if name in _WRITERS and position != length - 1:
        raise CommandFailure(40601, f"{name} can only be the final stage in the pipeline")
    if name == "$geoNear" and position:
        raise CommandFailure(
            40603, "$geoNear is only valid as the first stage in an optimized pipeline"
        )
    if (name in SOURCES or name == "$documents") and position:
        raise CommandFailure(40602, f"{name} is only valid as the first stage in a pipeline.")


def _stage(name: str, spec: Any, context: Context) -> Stage:
    compile_named = STAGES.get(name)
    if compile_named is not None:
        stage = compile_named(spec, context)
        if name in _WRITERS and context.keeps_metadata:
            return lambda documents, run: stage(metadata.stripped(documents), run)
        return stage
    if name in SOURCES:
        return lambda documents, run: run.env.source(name, spec)
    raise unsupported(f"the aggregation stage {name}")
