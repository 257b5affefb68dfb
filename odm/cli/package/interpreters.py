"""A Python of the bundle's version on this machine: it compiles, and it runs the bundle.

Every use is isolated: no site-packages, no environment variables, no working directory.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.package.target import Target

ISOLATED = ("-I", "-S", "-B")
"""The standard library and nothing else on the path; nothing written."""

_PROBE = "import sys; print(sys.implementation.name, *sys.version_info[:3])"
_PROBE_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An executable and its version, e.g. ``3.12.1``."""

    path: Path
    version: str


def find_interpreter(target: Target, given: Path | None = None) -> Interpreter | None:
    """Return a Python of *target*'s version: *given*, this one, or one on the PATH.

    Raises:
        CommandFailed: *given* is no such Python.
    """
    wanted = target.runtime.value.removeprefix("python")
    if given is not None:
        found = _probe(given)
        if found is None or not found.version.startswith(f"{wanted}."):
            what = f"Python {found.version}" if found else "no CPython that can be run"
            raise CommandFailed(
                f"--python {given}: this is {what}, and {target.runtime} needs Python {wanted}",
                ExitCode.USAGE,
            )
        return found
    for name in (sys.executable, shutil.which(f"python{wanted}")):
        found = _probe(Path(name)) if name else None
        if found is not None and found.version.startswith(f"{wanted}."):
            return found
    return None


def _probe(path: Path) -> Interpreter | None:
    try:
        done = subprocess.run(  # noqa: S603  # a Python of the user's, no shell
            [path, *ISOLATED, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    implementation, *numbers = done.stdout.split() or [""]
    if implementation != "cpython":
        return None
    return Interpreter(path, ".".join(numbers))
