"""The arrows of docs/architecture.md, read from the source's import statements."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("odm", "transports", "models")
AWS = {"aiobotocore", "boto3", "botocore"}
CLI = {"typer", "rich", "click"}
SIBLINGS = ("direct", "motor", "embedded", "fake", "lambda_invoke", "local_lambda", "endpoint")
SHARED = ("base", "url", "errors")
# What may use the endpoint's and the process handling's modules, besides themselves.
ALLOWED = {
    ("fake", "endpoint"),
    ("lambda_invoke", "endpoint"),
}
SANS_IO = ("wire", "replies", "elements", "handshake", "scram", "backend", "compression")
NO_IO = {
    "asyncio",
    "socket",
    "selectors",
    "ssl",
    "threading",
    "subprocess",
    "http",
    "urllib.request",
}


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text(), str(path))
    return found


def imports(tree: ast.Module, *, everywhere: bool = True) -> Iterator[str]:
    """The dotted names a module imports; with everywhere=False only those at import time."""
    for node in _statements(tree, everywhere):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statements(node: ast.AST, everywhere: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not everywhere and (
            isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or _type_checking(child)
        ):
            continue
        yield child
        yield from _statements(child, everywhere)


def _type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def users_of(names: set[str], *, outside: str) -> list[str]:
    return [
        module
        for module, tree in modules().items()
        if not (module == outside or module.startswith(outside + "."))
        and any(name.split(".")[0] in names for name in imports(tree))
    ]


@pytest.mark.parametrize(
    ("package", "above"),
    [
        ("transports", {"odm", "models", "beanie", "pydantic", "pydantic_settings"}),
        ("odm", {"models"}),
    ],
)
def test_a_package_knows_nothing_of_those_above_it(package: str, above: set[str]) -> None:
    offenders = {
        module: sorted({name for name in imports(tree) if name.split(".")[0] in above})
        for module, tree in modules().items()
        # The demo shows the reference domain; it is imported when the command runs.
        if module.split(".")[0] == package and not module.startswith("odm.cli.")
    }
    assert {module: names for module, names in offenders.items() if names} == {}


def test_transports_do_not_import_their_siblings() -> None:
    offenders = []
    for module, tree in modules().items():
        parts = module.split(".")
        if parts[0] != "transports" or len(parts) < 2 or parts[1] not in SIBLINGS:
            continue
        for name in imports(tree):
            other = name.split(".")
            if (
                other[0] == "transports"
                and len(other) > 1
                and other[1] in SIBLINGS
                and other[1] != parts[1]
                and (parts[1], other[1]) not in ALLOWED
            ):
                offenders.append(f"{module} → {name}")
    assert offenders == []


def test_the_framing_does_no_io() -> None:
    for name in SANS_IO:
        tree = modules()[f"transports.endpoint.{name}"]
        assert NO_IO.isdisjoint(imports(tree)), name


def test_the_function_imports_little() -> None:
    code = (
        "import os, sys\n"
        "os.environ['ODM_PROXY_MONGODB_URI'] = 'mongodb://localhost:1/'\n"
        "import transports.lambda_invoke.function.app\n"
        "print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))\n"
        "print(' '.join(n for n in sys.modules if n.startswith('transports')))\n"
    )
    loaded, ours = _run(code)
    heavy = {"beanie", "pydantic", "motor", "aiohttp", "odm", "models"} | AWS | CLI
    assert heavy.isdisjoint(loaded.split())
    allowed = (
        "transports.errors",
        "transports.url",
        "transports.lambda_invoke.bodies",
        "transports.lambda_invoke.edits",
        "transports.lambda_invoke.envelope",
        "transports.lambda_invoke.function",
    )
    assert [
        name
        for name in ours.split()
        if name not in ("transports", "transports.lambda_invoke") and not name.startswith(allowed)
    ] == []


def test_aws_clients_live_in_lambda_invoke() -> None:
    offenders = users_of(AWS, outside="transports.lambda_invoke")
    assert [module for module in offenders if not module.startswith("odm.cli.")] == []


def test_typer_and_rich_live_in_the_command_line() -> None:
    assert users_of(CLI, outside="odm.cli") == []


def test_nothing_imports_the_command_line() -> None:
    for module, tree in modules().items():
        if not module.startswith("odm.cli"):
            assert not any(name.startswith("odm.cli") for name in imports(tree)), module


def test_import_odm_is_light() -> None:
    [loaded] = _run("import sys, odm; print(' '.join(sys.modules))")
    names = set(loaded.split())
    tops = {name.split(".")[0] for name in names}
    assert (AWS | CLI | {"motor", "aiohttp", "models"}).isdisjoint(tops)
    assert not any(
        name.startswith(("transports.fake", "transports.lambda_invoke")) for name in names
    )


def _run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.splitlines()


def test_there_is_no_import_cycle() -> None:
    known = modules()
    graph: dict[str, set[str]] = {}
    for module, tree in known.items():
        targets = set()
        for name in imports(tree, everywhere=False):
            if name in known and name != module and not module.startswith(name + "."):
                targets.add(name)
        graph[module] = targets

    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail[trail.index(module) :], module))
        if module in done:
            return
        for target in sorted(graph[module]):
            visit(target, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [m for m in modules() if drawers & set(m.split("."))] == []
