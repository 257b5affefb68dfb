"""Views: a stored pipeline over another collection, resolved when it is read.

Spec: https://www.mongodb.com/docs/manual/core/views/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from transports.fake.errors import CommandFailure
from transports.fake.pipeline import compile_pipeline
from transports.fake.storage import Collection, CollectionView
from transports.fake.values import Document

if TYPE_CHECKING:
    from transports.fake.operation import Operation

MAX_DEPTH: Final = 20
_TOO_DEEP: Final = 165


def resolve(
    operation: Operation, database: str, name: str
) -> tuple[CollectionView | None, str, list[Document]]:
    """Follow a view to the collection it reads; return that, its name and the whole pipeline.

    Raises:
        CommandFailure: 165 for views on views without end.
    """
    pipeline: list[Document] = []
    for _ in range(MAX_DEPTH + 1):
        view = operation.find(name, database)
        if view is None or not view.collection.is_view:
            return view, name, pipeline
        options = view.collection.options
        pipeline = [*options.get("pipeline", []), *pipeline]
        name = options["viewOn"]
    raise CommandFailure(
        _TOO_DEEP, f"View depth too deep or view cycle detected; maximum depth is {MAX_DEPTH}"
    )


def find_as_pipeline(command: Document) -> list[Document]:
    """Return the stages that say the same as a ``find``."""
    stages: list[Document] = []
    if command.get("filter"):
        stages.append({"$match": command["filter"]})
    if command.get("sort"):
        stages.append({"$sort": command["sort"]})
    if command.get("skip"):
        stages.append({"$skip": command["skip"]})
    if command.get("limit"):
        stages.append({"$limit": command["limit"]})
    if command.get("projection"):
        stages.append({"$project": command["projection"]})
    return stages


def run_on_view(
    operation: Operation, view: Collection, stages: list[Document], size: int
) -> Document:
    """Run stages on a view and return the reply with the first batch."""
    from transports.fake.aggregation import run_pipeline

    close = bool(operation.command.get("singleBatch"))
    return run_pipeline(operation, view.name, stages, size, close=close)


def read_view(operation: Operation, view: Collection, stages: list[Document]) -> list[Document]:
    """Return all documents of stages on a view."""
    from transports.fake.aggregation import pipeline_documents

    return list(pipeline_documents(operation, view.name, stages))


def check_definition(namespace: str, pipeline: Any) -> None:
    """Refuse a view's pipeline that writes or means nothing.

    Raises:
        CommandFailure: 167 OptionNotSupportedOnView, or what compiling the pipeline raises.
    """
    for place, stage in enumerate(pipeline):
        for name in ("$out", "$merge"):
            if type(stage) is dict and name in stage:
                raise CommandFailure(
                    167,
                    f"Invalid pipeline for view {namespace} :: caused by :: The aggregation stage "
                    f"{name} in location {place} of the pipeline cannot be used in the view "
                    f"definition of {namespace} because it writes to disk",
                )
    compile_pipeline(pipeline)
