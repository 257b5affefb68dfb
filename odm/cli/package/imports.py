"""What Python sources import, read and not run: which modules a module needs.

Knows nothing of files: modules come as their dotted names and sources.

Spec: https://docs.python.org/3/reference/import.html
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

Source = tuple[bytes, bool]
"""A module's source, and whether it is a package's ``__init__``."""


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One name that a module imports.

    Attributes:
        name: absolute and dotted.
        certainly_module: False for the ``b`` of ``from a import b``, which may be an attribute.
        required: it is imported whenever the module is, and a failure is the module's own.
    """

    name: str
    certainly_module: bool
    required: bool


@lru_cache(maxsize=1024)
def imports(module: str, source: bytes, is_package: bool) -> frozenset[Import]:
    """Return what *module* imports at run time, in functions too; not what type checkers read.

    Raises:
        SyntaxError: it is not this Python's.
    """
    package = module if is_package else module.rpartition(".")[0]
    found = set()
    for node, required in _import_statements(ast.parse(source).body, required=True):
        if isinstance(node, ast.Import):
            found |= {Import(alias.name, True, required) for alias in node.names}
            continue
        base = _absolute(package, node.level, node.module)
        found.add(Import(base, True, required))
        found |= {Import(f"{base}.{alias.name}", False, required) for alias in node.names}
    return frozenset(found)


def closure(
    root: str, find: Callable[[str], Source | None], *, required: bool = False
) -> dict[str, Source]:
    """Return *root* and every module that it imports, directly or not, as far as *find* knows them.

    Args:
        root: a module's name.
        find: gives a module's source, None for one that is somebody else's.
        required: follow only what is always imported, not what functions and conditions import.

    Raises:
        LookupError: *root* is not found.
    """
    found: dict[str, Source] = {}
    waiting = [root]
    while waiting:
        for name in with_parents(waiting.pop()):
            if name in found:
                continue
            source = find(name)
            if source is None:
                break  # of what is not there, nothing below is
            found[name] = source
            waiting += sorted(
                each.name for each in imports(name, *source) if each.required or not required
            )
    if root not in found:
        raise LookupError(root)
    return found


def with_parents(name: str) -> list[str]:
    """Return the packages around a module, outermost first, and the module: the order of import."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _absolute(package: str, level: int, module: str | None) -> str:
    if not level:
        return module or ""
    around = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*around, *([module] if module else [])])


_Found = tuple[ast.Import | ast.ImportFrom, bool]


def _import_statements(body: Iterable[ast.AST], *, required: bool) -> Iterator[_Found]:
    for node in body:
        match node:
            case ast.Import() | ast.ImportFrom():
                yield node, required
            case ast.If(test=test) if _is_type_checking(test):
                yield from _import_statements(node.orelse, required=required)
            case ast.If() | ast.Try() | ast.FunctionDef() | ast.AsyncFunctionDef():
                # A condition may be false, a failure caught, a function never called.
                yield from _import_statements(ast.iter_child_nodes(node), required=False)
            case _:
                yield from _import_statements(ast.iter_child_nodes(node), required=required)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"
