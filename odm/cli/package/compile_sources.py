"""Run by the interpreter of a bundle's version, alone: compiles sources to bytecode.

``python compile_sources.py ROOT`` reads a JSON list of paths below ROOT from stdin, writes their
``.pyc`` files, and prints a JSON object: source → bytecode. It imports nothing of this project.

The same sources give the same bytes: the marshal format's version 2 marks no object that is shared,
which the later ones do by how often the compiler happens to refer to it.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import sys
from pathlib import Path

_MARSHAL_VERSION = 2
_UNCHECKED_HASH = (0b01).to_bytes(4, "little")


def compile_source(root: Path, path: str) -> str:
    """Compile one source; return the path of its bytecode."""
    source = (root / path).read_bytes()
    # The import system replaces this name by the file's own.
    code = compile(source, path, "exec", dont_inherit=True)
    cached = importlib.util.cache_from_source(path)
    target = root / cached
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(
        importlib.util.MAGIC_NUMBER
        + _UNCHECKED_HASH
        + importlib.util.source_hash(source)
        + marshal.dumps(code, _MARSHAL_VERSION)
    )
    return cached


def main() -> None:
    """Compile what stdin lists."""
    root = Path(sys.argv[1])
    print(json.dumps({path: compile_source(root, path) for path in json.load(sys.stdin)}))  # noqa: T201 - read by the parent


if __name__ == "__main__":
    main()
