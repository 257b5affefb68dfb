"""What goes into a bundle: distributions, and which of their files.

A distribution is what `importlib.metadata` calls so: PyMongo, or this project itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from odm.cli.package.imports import Source
from odm.cli.package.target import Target

_COMPILED = (".pyc", ".pyo")
_NOT_RUN = (".pyi", ".typed", ".c", ".h", ".pyx", ".pxd")
_CPYTHON = re.compile(r"\.cpython-3(\d+)-[^/]*\.so$")
# What importlib.metadata, PyMongo and vulnerability scanners read, and the licences, which have to
# travel with the code. RECORD, INSTALLER, direct_url.json, … speak of another place.
_METADATA = ("METADATA", "licenses/", "LICENSE", "LICENCE", "NOTICE", "COPYING", "THIRD-PARTY")


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution's files.

    Attributes:
        name: as its metadata has it.
        version: its version.
        files: path below the bundle's root, with slashes → contents.
    """

    name: str
    version: str
    files: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Bytes, unpacked."""
        return sum(map(len, self.files.values()))


def find_in(files: Mapping[str, bytes]) -> Callable[[str], Source | None]:
    """Return what finds a module's source among *files*, for `imports.closure`."""

    def find(module: str) -> Source | None:
        path = module.replace(".", "/")
        for candidate, is_package in ((f"{path}/__init__.py", True), (f"{path}.py", False)):
            if (data := files.get(candidate)) is not None:
                return data, is_package
        return None

    return find


def needed(distribution: Distribution, packages: set[str], target: Target) -> Distribution:
    """Return *distribution* without what never runs, reduced to these top-level *packages*.

    Packages stay whole: extension modules and plug-ins import by names that no source shows.
    """
    files = {
        path: data
        for path, data in distribution.files.items()
        if _is_needed(path, packages) and not _never_runs(path, target)
    }
    return Distribution(distribution.name, distribution.version, files)


def _is_needed(path: str, packages: set[str]) -> bool:
    top, _, rest = path.partition("/")
    if top.endswith(".dist-info"):
        return rest.startswith(_METADATA)
    return top.removesuffix(".py") in packages


def _never_runs(path: str, target: Target) -> bool:
    if path.endswith((*_COMPILED, *_NOT_RUN)):
        return True
    # Some of PyMongo's wheels carry the extension modules of other Pythons, too.
    version = _CPYTHON.search(path)
    return version is not None and int(version[1]) != target.runtime.minor
