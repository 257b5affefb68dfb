"""What the processes of the cold-start benchmark find around them: a Python, and what they need.

A development installation imports slower than what is deployed: PyMongo takes up `cryptography`
where it finds it, botocore `awscrt`. So each process has an interpreter without packages, and a
directory with links to those that it needs, their bytecode included, as a layer or a bundle made
with ``.pyc`` has it.
"""

from __future__ import annotations

import re
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import odm
import transports

FUNCTION = ("pymongo", "awslambdaric")
"""What a DB proxy function's process imports besides ours; the runtime client is of Lambda's."""
CALLER = ("beanie", "pymongo", "pydantic", "pydantic-settings", "aiobotocore", "httptools")
"""What a caller over ``lambda://`` imports besides ours."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python for processes, and the directories that it imports from."""

    interpreter: Path
    path: tuple[Path, ...]


def make(directory: Path, names: Iterable[str], *, ours: bool = True) -> Environment:
    """Make an environment below *directory*, which has to be there, of the installed packages.

    Args:
        directory: an empty one.
        names: distributions; what they require is linked too, as far as it is installed.
        ours: whether `odm` and `transports` are.
    """
    interpreter = directory / "python"
    venv.create(interpreter, with_pip=False, symlinks=True)
    packages = directory / "packages"
    packages.mkdir()
    for each in closure(names):
        _link(each, packages)
    if ours:
        _link(distribution("odm-transports"), packages)  # its metadata: it tells its release
        for package in (odm, transports):
            source = Path(package.__file__ or "").parent
            if not (packages / source.name).exists():
                (packages / source.name).symlink_to(source)
    return Environment(interpreter / "bin" / "python", (packages,))


def closure(names: Iterable[str]) -> list[Distribution]:
    """Return the installed distributions of *names*, and of what they require without extras."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = _normalised(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # of another platform or Python
            continue
        for requirement in found[name].requires or ():
            text, _, marker = requirement.partition(";")
            required = _NAME.match(text)
            if required and "extra" not in marker:
                waiting.append(required[0])
    return list(found.values())


def _link(each: Distribution, directory: Path) -> None:
    tops = {file.parts[0] for file in each.files or () if file.parts[0] not in ("..", "bin")}
    for top in tops - {"__pycache__"}:
        source, target = Path(str(each.locate_file(top))), directory / top
        if source.exists() and not target.exists():
            target.symlink_to(source)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
