from __future__ import annotations

import importlib.util

import pytest

from odm.cli.failures import CommandFailed
from odm.cli.package.bytecode import compile_all
from odm.cli.package.interpreters import Interpreter

SOURCES = {
    "pkg/__init__.py": b"",
    "pkg/m.py": b"def f(x):\n    return x in {'p', 'q', 'r', 's'} or x in {b'p', b'q', None}\n",
    "pkg/data.txt": b"",
}


def test_every_source_is_compiled_to_bytecode_that_nobody_checks_again(
    interpreter: Interpreter,
) -> None:
    compiled = compile_all(SOURCES, interpreter)
    assert sorted(compiled) == sorted(
        importlib.util.cache_from_source(path) for path in SOURCES if path.endswith(".py")
    )
    for data in compiled.values():
        assert data[:4] == importlib.util.MAGIC_NUMBER
        assert data[4:8] == b"\x01\x00\x00\x00"  # hash-based, unchecked


def test_the_same_sources_give_the_same_bytecode(interpreter: Interpreter) -> None:
    # Each process has another seed for its hashes, and so another order of its sets.
    assert compile_all(SOURCES, interpreter) == compile_all(SOURCES, interpreter)


def test_bytecode_names_no_directory_of_this_machine(interpreter: Interpreter) -> None:
    for data in compile_all(SOURCES, interpreter).values():
        assert b"/tmp" not in data
        assert b"odm-package-" not in data


def test_a_source_that_does_not_compile_is_named(interpreter: Interpreter) -> None:
    with pytest.raises(CommandFailed, match=r"pkg/broken\.py"):
        compile_all({"pkg/broken.py": b"def\n"}, interpreter)
