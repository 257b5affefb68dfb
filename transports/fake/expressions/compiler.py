"""From an expression to a function of a document.

The operators are in the tables of the neighbouring modules, put together in `operators`.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from transports.fake.collation import Collation
from transports.fake.errors import (
    FAILED_TO_PARSE,
    INVALID_PIPELINE_OPERATOR,
    CommandFailure,
    unsupported,
)
from transports.fake.expressions.names import check_path
from transports.fake.expressions.operators import OPERATORS, UNSUPPORTED
from transports.fake.expressions.scope import Constant, Expression, Scope, Variables
from transports.fake.expressions.slot_engine import with_codes
from transports.fake.paths import Parts, expression_value
from transports.fake.values import MISSING, Document

_SYSTEM: Final = frozenset({"NOW", "CLUSTER_TIME", "USER_ROLES", "SEARCH_META"})
_REDACT: Final = {"DESCEND": "descend", "PRUNE": "prune", "KEEP": "keep"}


def compile_expression(
    expression: Any,
    *,
    variables: Iterable[str] = (),
    collation: Collation | None = None,
    current: bool = False,
    slots: bool = False,
) -> Expression:
    """Compile an expression into ``f(document, variables)``.

    The result is a value or `MISSING`. ``variables`` holds ``NOW`` and the user's names (no
    dollars); their names must be known when compiling. With ``current``, field paths start at
    the variable ``CURRENT`` instead of the document; with ``slots``, it fails with the codes of the
    server's other engine.

    Raises:
        CommandFailure: 168 for an unknown operator, 17276 for an undefined variable, …
    """
    scope = Scope(compile_in, frozenset(variables), collation, current, slots)
    return compile_in(expression, scope)


def compile_in(expression: Any, scope: Scope) -> Expression:
    """Compile an expression in a scope."""
    kind = type(expression)
    if kind is str:
        if expression.startswith("$"):
            return compile_path(expression, scope)
    elif kind is dict:
        return _document(expression, scope)
    elif kind is list:
        return _array(expression, scope)
    return Constant(expression)


def compile_path(expression: str, scope: Scope) -> Expression:
    """Compile ``"$a.b"`` or ``"$$name.a.b"``."""
    if expression.startswith("$$"):
        name, _, rest = expression[2:].partition(".")
        return _variable(name, check_path(rest) if _ else (), scope)
    if expression == "$":
        raise CommandFailure(16872, "'$' by itself is not a valid FieldPath")
    parts = check_path(expression[1:])
    if scope.current:
        return _variable("CURRENT", parts, scope)
    return _field(parts)


def _field(parts: Parts) -> Expression:
    if len(parts) == 1:
        name = parts[0]
        return lambda document, variables: document.get(name, MISSING)
    if len(parts) == 2:
        return _nested_field(parts)
    return lambda document, variables: expression_value(document, parts)


def _nested_field(parts: Parts) -> Expression:
    outer, inner = parts

    def field(document: Document, variables: Variables) -> Any:
        value = document.get(outer, MISSING)
        if type(value) is dict:
            return value.get(inner, MISSING)
        return expression_value(value, parts[1:])

    return field


def _variable(name: str, parts: Parts, scope: Scope) -> Expression:
    if name == "ROOT" or (name == "CURRENT" and not scope.current):
        if parts:
            return _field(parts)
        return lambda document, variables: document
    if name == "REMOVE":
        return Constant(MISSING)
    if name in _REDACT:
        return Constant(_REDACT[name])
    if name not in scope.names and name != "CURRENT" and name not in _SYSTEM:
        if not name:
            raise CommandFailure(FAILED_TO_PARSE, "empty variable names are not allowed")
        raise CommandFailure(17276, f"Use of undefined variable: {name}")
    if name in ("USER_ROLES", "SEARCH_META"):
        raise unsupported(f"the variable $${name}")
    if not parts:
        return lambda document, variables: variables.get(name, MISSING)
    return lambda document, variables: expression_value(variables.get(name, MISSING), parts)


def _document(expression: Document, scope: Scope) -> Expression:
    first = next(iter(expression), "")
    if first.startswith("$"):
        if len(expression) != 1:
            raise CommandFailure(
                15983,
                "an object representing an expression must have exactly one field: "
                f"{{ {', '.join(expression)} }}",
            )
        return compile_operator(first, expression[first], scope)
    members: dict[str, Expression] = {}
    for name, value in expression.items():
        if name.startswith("$"):
            raise CommandFailure(
                16410,
                f"FieldPath field names may not start with '$'. Consider using $getField: {name}",
            )
        if "." in name:
            raise CommandFailure(
                16412,
                f"FieldPath field names may not contain '.'. Consider using $getField: {name}",
            )
        if not name:
            raise CommandFailure(15998, "FieldPath field names may not be empty strings.")
        members[name] = compile_in(value, scope)
    if all(type(member) is Constant for member in members.values()):
        return Constant(_build(members, {}, {}))
    return lambda document, variables: _build(members, document, variables)


def _build(members: dict[str, Expression], document: Document, variables: Variables) -> Document:
    built = {}
    for name, member in members.items():
        value = member(document, variables)
        if value is not MISSING:
            built[name] = value
    return built


def compile_operator(name: str, operand: Any, scope: Scope) -> Expression:
    """Compile ``{name: operand}``."""
    operator = OPERATORS.get(name)
    if operator is None:
        if name in UNSUPPORTED:
            raise unsupported(f"the expression {name}")
        raise CommandFailure(INVALID_PIPELINE_OPERATOR, f"Unrecognized expression '{name}'")
    compiled = operator(operand, scope)
    return with_codes(name, compiled) if scope.slots else compiled


def _array(expression: list[Any], scope: Scope) -> Expression:
    members = [compile_in(member, scope) for member in expression]

    def build(document: Document, variables: Variables) -> list[Any]:
        values = [member(document, variables) for member in members]
        return [None if value is MISSING else value for value in values]

    if all(type(member) is Constant for member in members):
        return Constant(build({}, {}))
    return build
