"""An application's source, read for one thing: clients that are made anew in each invocation.

It is parsed and never imported. What is seen is what stands in one module: a handler (a function of
an event and a context), the functions of the module that it calls, and the clients that they make.
A client that is kept (in a ``global``, or by a function that is cached) is made once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from odm.cli.doctor.facts import Unseen

_CLIENTS = (
    "MongoClient",
    "AsyncMongoClient",
    "MotorClient",
    "AsyncIOMotorClient",
    "open_transport",
)
_CONNECT = "connect"  # odm's; many others have one
_CACHES = ("cache", "lru_cache", "alru_cache", "cached")
_MOST_FILES = 2000
_NOT_OURS = ("site-packages", "node_modules", "__pycache__", "tests")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def clients_made_again(path: Path) -> tuple[str, ...] | Unseen:
    """Return where under *path* invocations make clients: ``"app.py:12: MongoClient"``."""
    if not path.exists():
        return Unseen(f"there is no {str(path)!r} to look at (--code)")
    files = [path] if path.is_file() else sorted(_sources(path))
    if not files or len(files) > _MOST_FILES:
        return Unseen(f"{str(path)!r} has {len(files):,} Python files: name the application's own")
    found: list[str] = []
    root = path.parent if path.is_file() else path
    for file in files:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue  # for another Python, or none
        named = file.relative_to(root)
        found += [f"{named}:{line}: {name}" for line, name in _in_module(tree)]
    return tuple(found)


def _sources(root: Path) -> Iterator[Path]:
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).parts
        if not any(part in _NOT_OURS or part.startswith(".") for part in parts):
            yield path


def _in_module(tree: ast.Module) -> Iterator[tuple[int, str]]:
    functions = {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    odm_connect = _imports_connect(tree)
    reached = [name for name, node in functions.items() if _is_handler(node)]
    for name in reached:  # it grows while functions are found that are called
        function = functions[name]
        if _is_cached(function):
            continue
        kept = _kept(function)
        for call in _calls(function):
            called = _name(call.func)
            if isinstance(call.func, ast.Name) and called in functions and called not in reached:
                reached.append(called)
            is_client = called in _CLIENTS or (called == _CONNECT and odm_connect)
            if is_client and call not in kept:
                yield call.lineno, called


def _is_handler(function: Function) -> bool:
    names = [argument.arg.strip("_") for argument in function.args.args]
    return len(names) == 2 and names[0] == "event" and names[1] in ("context", "ctx")


def _is_cached(function: Function) -> bool:
    decorators = (
        node.func if isinstance(node, ast.Call) else node for node in function.decorator_list
    )
    return any(_name(node) in _CACHES for node in decorators)


def _calls(function: Function) -> list[ast.Call]:
    """Return the calls in the function's body; decorators run once, when it is defined."""
    return [
        node
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
    ]


def _kept(function: Function) -> list[ast.expr]:
    """Return the values that the function assigns to names of its module."""
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    names = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id in names for target in node.targets)
    ]


def _imports_connect(tree: ast.Module) -> bool:
    return any(
        (isinstance(node, ast.ImportFrom) and node.module == "odm")
        or (isinstance(node, ast.Import) and any(each.name == "odm" for each in node.names))
        for node in ast.walk(tree)
    )


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
