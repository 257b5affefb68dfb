"""Run by an interpreter of a bundle's version, alone: invokes the bundle's handler.

``python serve_events.py ROOT HANDLER`` reads events from stdin, one JSON value a line, and answers
each with the line of what the handler of the bundle below ROOT returns. At stdin's end it prints a
line about itself (`report` has its shape). It imports nothing of this project but what the bundle
holds; ROOT is all that is added to the path.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

_TIMEOUT_MS = 10_000


class Context:
    """Lambda's context, as far as the handler uses it."""

    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """As if every invocation had just begun."""
        return _TIMEOUT_MS


def _stray(root: Path) -> list[str]:
    """Return the modules that come neither from the bundle nor from the standard library."""
    allowed = (str(root), *map(str, map(Path, _STANDARD_LIBRARY)))
    return sorted(
        name
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and (origin := getattr(module, "__file__", None))
        and not str(Path(origin)).startswith(allowed)
    )


def _compiled_anew(root: Path) -> list[str]:
    """Return the bundle's modules whose bytecode this interpreter did not take."""
    return sorted(name for name, module in list(sys.modules.items()) if _is_slow(module, root))


def _is_slow(module: ModuleType, root: Path) -> bool:
    origin, cached = getattr(module, "__file__", None), getattr(module, "__cached__", None)
    if not origin or not cached or not origin.startswith(str(root)) or not origin.endswith(".py"):
        return False
    path = Path(cached)
    return not path.exists() or path.read_bytes()[:4] != importlib.util.MAGIC_NUMBER


def report(root: Path, import_ms: float) -> dict[str, Any]:
    """Return how the bundle was loaded.

    ::

        {"import_ms": 180.0, "stray": ["module", …], "compiled_anew": [], "c_extensions": true}
    """
    import_module("dns.resolver")  # PyMongo does for a mongodb+srv:// URI
    bson, pymongo = import_module("bson"), import_module("pymongo")
    return {
        "import_ms": import_ms,
        "stray": _stray(root),
        "compiled_anew": _compiled_anew(root),
        "c_extensions": bson.has_c() and pymongo.has_c(),
    }


def main() -> None:
    """Invoke the handler with what comes."""
    root, handler_name = Path(sys.argv[1]), sys.argv[2]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the function logs to stdout
    sys.path.insert(0, str(root))
    module_name, _, function = handler_name.rpartition(".")
    started = time.perf_counter()
    handler = getattr(import_module(module_name), function)
    import_ms = round((time.perf_counter() - started) * 1000, 1)
    for line in sys.stdin:
        print(json.dumps(handler(json.loads(line), Context())), file=answers, flush=True)
    print(json.dumps(report(root, import_ms)), file=answers, flush=True)


_STANDARD_LIBRARY = [path for path in sys.path if path]

if __name__ == "__main__":
    main()
