"""Aggregation pipelines: a list of stages, compiled once, run over a source of documents.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation-pipeline/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from transports.fake.collation import Collation
from transports.fake.matcher import Matcher
from transports.fake.stages.environment import Environment
from transports.fake.values import Document

__all__ = ["Environment", "Pipeline", "compile_pipeline"]


class Pipeline:
    """A compiled pipeline.

    Attributes:
        leading_filter: the filter of a first ``$match``, for an index lookup; None without one.
        reads_source: False if the first stage makes its own documents (``$documents``, …).
        writes: ``(stage, database | None, collection)`` of a last ``$out`` or ``$merge``.
    """

    leading_filter: Matcher | None
    reads_source: bool
    writes: tuple[str, str | None, str] | None

    def run(self, source: Iterable[Document], env: Environment) -> Iterator[Document]:
        """Run over the source; documents of the source are never changed."""
        raise NotImplementedError


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
    raise NotImplementedError
