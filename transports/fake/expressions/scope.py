"""What compiling an expression hands around: the scope, constants, and ways to build operators.

An operator is a function ``(operand, scope) -> Expression``. The builders here (`fixed`,
`variadic`, …) make one from a function of evaluated arguments; operators that decide themselves
what is evaluated, and when, are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from transports.fake.collation import Collation
from transports.fake.errors import FAILED_TO_PARSE, CommandFailure
from transports.fake.values import MISSING, Document

Variables = dict[str, Any]
Expression = Callable[[Document, Variables], Any]


class Constant:
    """An expression whose value is known: what folding looks for."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, document: Document, variables: Variables) -> Any:
        """Return the value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression stands.

    Attributes:
        compiler: compiles any expression in a scope.
        names: the user's variables that are defined here.
        collation: how strings compare.
        current: the path's root has been rebound (``$$CURRENT`` is a variable of its own).
        slots: whether the server's other engine runs it, see `slot_engine`.
    """

    compiler: Callable[[Any, Scope], Expression]
    names: frozenset[str] = frozenset()
    collation: Collation | None = None
    current: bool = False
    slots: bool = False

    def compile(self, expression: Any) -> Expression:
        """Compile an operand in this scope."""
        return self.compiler(expression, self)

    def binding(self, *names: str) -> Scope:
        """Return the scope inside an operator that defines variables."""
        return Scope(
            self.compiler,
            self.names.union(names),
            self.collation,
            self.current or "CURRENT" in names,
            self.slots,
        )


Operator = Callable[[Any, Scope], Expression]


def is_nullish(value: Any) -> bool:
    """Tell whether a value is null or missing."""
    return value is None or value is MISSING


def arguments(operand: Any) -> list[Any]:
    """Return the operands of an operator: a list's members, or the one thing given."""
    return operand if type(operand) is list else [operand]


def check_count(name: str, given: int, least: int, most: int | None) -> None:
    """Raise what the server raises for a wrong number of operands."""
    if least == most and given != least:
        raise CommandFailure(
            16020, f"Expression {name} takes exactly {least} arguments. {given} were passed in."
        )
    if given < least or (most is not None and given > most):
        raise CommandFailure(
            28667,
            f"Expression {name} takes at least {least} arguments, and at most {most}, "
            f"but {given} were passed in.",
        )


_failures: ContextVar[list[CommandFailure] | None] = ContextVar("failures", default=None)


@contextmanager
def folding(*, fails: bool = True) -> Iterator[None]:
    """Compile a whole request, whose text is checked before its constant expressions are folded.

    Without it, an expression of constants that fails does so where it is compiled. Requests nest:
    the outermost fails.

    Args:
        fails: False where the server folds nothing (the pipeline of an update): then such an
            expression fails when it is evaluated.
    """
    if fails and _failures.get() is not None:
        yield
        return
    failures: list[CommandFailure] = []
    token = _failures.set(failures)
    try:
        yield
    finally:
        _failures.reset(token)
    if fails and failures:
        raise failures[0]


def folded(expression: Expression, parts: list[Expression]) -> Expression:
    """Return a constant instead if everything it is made of is constant."""
    if all(type(part) is Constant for part in parts):
        try:
            return Constant(expression({}, {}))
        except CommandFailure as failure:
            failures = _failures.get()
            if failures is None:
                failure.folding = True
                raise
            failures.append(failure)
            return _failing(failure)
    return expression


def refuse_constant(failure: CommandFailure) -> None:
    """Fail a request for a constant that the server looks at when it optimizes."""
    failures = _failures.get()
    if failures is None:
        failure.folding = True
        raise failure
    failures.append(failure)


def constants_last(parts: list[Expression], join: Callable[[list[Any]], Any]) -> list[Expression]:
    """Return a commutative operator's operands in the server's order: its constants as one, last.

    Args:
        parts: as they are written.
        join: the operator, on constants.
    """
    constants = [part for part in parts if type(part) is Constant]
    if not constants or len(constants) == len(parts):
        return parts
    last: list[Expression] = [*constants]
    if len(constants) > 1:
        last = [folded(lambda document, variables: join([c.value for c in constants]), last)]
    return [*(part for part in parts if type(part) is not Constant), *last]


def _failing(failure: CommandFailure) -> Expression:
    def fail(document: Document, variables: Variables) -> Any:
        raise CommandFailure(failure.code, failure.message)

    return fail


def compile_unneeded(operand: Any, scope: Scope) -> Expression | None:
    """Compile an expression that is never evaluated: its constants may fail, its text may not."""
    failures = _failures.get()
    before = 0 if failures is None else len(failures)
    try:
        compiled = scope.compile(operand)
    except CommandFailure as failure:
        if not failure.folding:
            raise
        return None
    if failures is not None:
        del failures[before:]
    return compiled


def fixed(name: str, function: Callable[..., Any], least: int, most: int | None = None) -> Operator:
    """Make an operator from a function that takes its operands as arguments.

    Args:
        name: as in the filter, e.g. ``"$abs"``.
        function: takes ``least`` to ``most`` values.
        least: fewest operands.
        most: most operands; the same as ``least`` if not given.
    """
    most = least if most is None else most

    def operator(operand: Any, scope: Scope) -> Expression:
        given = arguments(operand)
        parts = [scope.compile(argument) for argument in given]
        check_count(name, len(given), least, most)
        return folded(_apply(function, parts), parts)

    operator.__doc__ = function.__doc__
    return operator


def _apply(function: Callable[..., Any], parts: list[Expression]) -> Expression:
    if len(parts) == 1:
        only = parts[0]
        return lambda document, variables: function(only(document, variables))
    if len(parts) == 2:
        left, right = parts
        return lambda document, variables: function(
            left(document, variables), right(document, variables)
        )
    return lambda document, variables: function(*[part(document, variables) for part in parts])


def _folded_call(
    function: Callable[[Iterable[Any]], Any], constants: list[Expression]
) -> Expression:
    return folded(
        lambda document, variables: function([part(document, variables) for part in constants]),
        constants,
    )


def variadic(function: Callable[[Iterable[Any]], Any], *, commutative: bool = False) -> Operator:
    """Make an operator from a function of all its operands' values.

    The function gets them one by one: what follows a null that decides the result is not
    evaluated. The constants of a ``commutative`` operator come last and as one value, as the
    server optimizes.
    """

    def operator(operand: Any, scope: Scope) -> Expression:
        parts = [scope.compile(argument) for argument in arguments(operand)]
        if commutative:
            constants: list[Expression] = [part for part in parts if type(part) is Constant]
            parts = [part for part in parts if type(part) is not Constant]
            if len(constants) > 1 and parts:
                constants = [_folded_call(function, constants)]
            parts += constants
        return folded(
            lambda document, variables: function(part(document, variables) for part in parts),
            parts,
        )

    operator.__doc__ = function.__doc__
    return operator


def named_arguments(
    name: str,
    operand: Any,
    required: Mapping[str, int],
    optional: tuple[str, ...] = (),
    *,
    not_an_object: int = FAILED_TO_PARSE,
    unknown: int = FAILED_TO_PARSE,
) -> Document:
    """Check the document of an operator with named arguments.

    Args:
        name: the operator.
        operand: what it was given.
        required: argument → the code raised when it is absent.
        optional: the other arguments.
        not_an_object: the code raised when the operand is no document.
        unknown: the code raised for an argument the operator does not have.
    """
    if type(operand) is not dict:
        raise CommandFailure(not_an_object, f"{name} only supports an object as its argument")
    for argument in operand:
        if argument not in required and argument not in optional:
            raise CommandFailure(unknown, f"Unrecognized argument to {name}: {argument}")
    for argument, code in required.items():
        if argument not in operand:
            raise CommandFailure(code, f"Missing '{argument}' parameter to {name}")
    checked: Document = operand
    return checked


def named(
    name: str,
    function: Callable[..., Any],
    required: Mapping[str, int],
    optional: tuple[str, ...] = (),
    *,
    not_an_object: int = FAILED_TO_PARSE,
    unknown: int = FAILED_TO_PARSE,
) -> Operator:
    """Make an operator from a function whose keyword arguments are its named arguments.

    Absent optional arguments are left to the function's defaults.
    """

    def operator(operand: Any, scope: Scope) -> Expression:
        given = named_arguments(
            name, operand, required, optional, not_an_object=not_an_object, unknown=unknown
        )
        parts = {argument: scope.compile(value) for argument, value in given.items()}
        return folded(
            lambda document, variables: function(
                **{argument: part(document, variables) for argument, part in parts.items()}
            ),
            list(parts.values()),
        )

    operator.__doc__ = function.__doc__
    return operator
