"""Bytecode for a bundle: what an execution environment would otherwise compile at every start.

Lambda's ``/var/task`` is read-only, so Python never keeps what it compiles there. The files are
``unchecked-hash``: their sources cannot change under them, and are not read to find out.

Spec: https://docs.python.org/3/reference/import.html#pyc-invalidation
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from odm.cli.failures import CommandFailed
from odm.cli.package.interpreters import ISOLATED, Interpreter

_SCRIPT = Path(__file__).with_name("compile_sources.py")
_TIMEOUT_S = 300


def compile_all(files: Mapping[str, bytes], interpreter: Interpreter) -> dict[str, bytes]:
    """Return the bytecode of every ``.py`` of *files*: path of the ``.pyc`` → contents.

    Raises:
        CommandFailed: one cannot be compiled; the message names it.
    """
    sources = {path: data for path, data in files.items() if path.endswith(".py")}
    with tempfile.TemporaryDirectory(prefix="odm-package-") as directory:
        root = Path(directory)
        for path, data in sources.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        done = subprocess.run(  # noqa: S603  # the chosen interpreter, no shell
            [interpreter.path, *ISOLATED, _SCRIPT, root],
            input=json.dumps(sorted(sources)),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise CommandFailed(f"the bundle does not compile: {done.stderr.strip()[-500:]}")
        compiled: dict[str, str] = json.loads(done.stdout)
        return {target: (root / target).read_bytes() for target in compiled.values()}
