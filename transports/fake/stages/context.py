"""What stages are compiled with and run with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transports.fake.collation import Collation
from transports.fake.expressions import Expression, compile_expression
from transports.fake.expressions.scope import Variables
from transports.fake.stages.environment import Environment
from transports.fake.values import Document


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a pipeline: where other collections come from, and the variables' values."""

    env: Environment
    variables: Variables

    def binding(self, values: Variables) -> Run:
        """Return the run of a sub-pipeline that sees more variables."""
        return Run(self.env, {**self.variables, **values})


Stage = Callable[[Iterable[Document], Run], Iterable[Document]]
CompiledStages = Callable[[Iterable[Document], Run], Iterator[Document]]


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage is compiled with.

    Attributes:
        compiler: compiles the stages of a sub-pipeline in a context.
        names: variables that are defined.
        collation: how strings compare.
        database: the database of the command, if known.
        pushed_down: the stage is among those at the start that a server's other engine runs; a
            ``$lookup`` there puts its field last even if there was one of the name.
        slots: the server's other engine runs the stage's expressions.
        inside: the stage whose sub-pipeline this is: ``$facet``, ``$lookup``, ``$unionWith``.
        keeps_metadata: documents carry what ``$meta`` asks for.
    """

    compiler: Callable[[Sequence[Any], Context], CompiledStages]
    names: frozenset[str] = frozenset()
    collation: Collation | None = None
    database: str | None = None
    inside: str | None = None
    pushed_down: bool = False
    slots: bool = False
    keeps_metadata: bool = False

    def expression(self, expression: Any, *, current: bool = False) -> Expression:
        """Compile an expression in this context."""
        return compile_expression(
            expression,
            variables=self.names,
            collation=self.collation,
            current=current,
            slots=self.slots,
        )

    def nested(self, inside: str, names: Iterable[str] = ()) -> Context:
        """Return the context of a sub-pipeline."""
        return replace(
            self, names=self.names.union(names), inside=inside, pushed_down=False, slots=False
        )

    def stages(self, pipeline: Any) -> CompiledStages:
        """Compile a sub-pipeline in this context."""
        return self.compiler(pipeline, self)


CompileStage = Callable[[Any, Context], Stage]
