"""The filter of a partial index: which operators it may have, and how it is refused.

Spec: https://www.mongodb.com/docs/manual/core/index-partial/
"""

from __future__ import annotations

from typing import Any, Final

from bson import Regex

from transports.fake.bson_text import render, render_document
from transports.fake.errors import CANNOT_CREATE_INDEX, TYPE_MISMATCH, CommandFailure
from transports.fake.values import Document, bson_type

_PARTIAL_OPERATORS: Final = frozenset(
    {"$eq", "$exists", "$gt", "$gte", "$lt", "$lte", "$type", "$in", "$and", "$or", "$geoWithin"}
)


def refused(spec: Document, reason: str, code: int = CANNOT_CREATE_INDEX) -> CommandFailure:
    """Return the server's error about an index specification."""
    return CommandFailure(
        code, f"Error in specification {render_document(spec)} :: caused by :: {reason}"
    )


def check_partial(spec: Document) -> None:
    """Refuse a ``partialFilterExpression`` that an index cannot have."""
    expression = spec.get("partialFilterExpression")
    if expression is None:
        return
    if type(expression) is not dict:
        raise refused(
            spec,
            "The field 'partialFilterExpression' must be an object, but got "
            f"{bson_type(expression)[1]}",
            TYPE_MISMATCH,
        )
    if spec.get("sparse"):
        raise refused({**spec, "v": 2}, 'cannot mix "partialFilterExpression" and "sparse" options')
    operator = _unsupported_operator(expression)
    if operator is not None:
        raise refused({**spec, "v": 2}, f"Expression not supported in partial index: {operator}\n")


def _unsupported_operator(expression: Any) -> str | None:
    if type(expression) is dict:
        for name, value in expression.items():
            if name == "$comment":
                continue
            if type(value) is Regex and not name.startswith("$"):
                return f"{name} regex {render(value)}"
            if name == "$all" and type(value) is list:
                found = _unsupported_all(value)
                if found is not None:
                    return found
                continue
            if name.startswith("$") and name not in _PARTIAL_OPERATORS:
                return str(name)
            if name == "$exists" and not value:
                return "$not\n    $exists"
            found = _unsupported_operator(value) if name not in ("$eq", "$in") else None
            if found is not None:
                return found
    elif type(expression) is list:
        for element in expression:
            found = _unsupported_operator(element)
            if found is not None:
                return found
    return None


def _unsupported_all(values: list[Any]) -> str | None:
    """Look at the ``$and`` of equalities that an ``$all`` is short for."""
    if not values:
        return "$alwaysFalse"
    for value in values:
        if type(value) is Regex:
            return f"regex {render(value)}"
        if type(value) is dict and "$elemMatch" in value:
            return "$elemMatch"
    return None
