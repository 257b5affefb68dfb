"""From an expression to a function of a document.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from transports.fake.values import Document

Variables = dict[str, Any]
Expression = Callable[[Document, Variables], Any]


def compile_expression(expression: Any, *, variables: Iterable[str] = ()) -> Expression:
    """Compile an expression into ``f(document, variables)``.

    The result is a value or `MISSING`. ``variables`` holds ``NOW`` and the user's names (no
    dollars); their names must be known when compiling.

    Raises:
        CommandFailure: 168 for an unknown operator, 17276 for an undefined variable, …
    """
    raise NotImplementedError
