"""This project's part of a bundle: the modules that the handler imports, and who they are.

They are found by reading imports, from wherever this installation has them: a checkout, an
installed wheel.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import transports
from odm.cli.failures import CommandFailed
from odm.cli.package.contents import Distribution
from odm.cli.package.imports import Source, closure
from odm.cli.proxy_function import HANDLER, POLICY_FILE

NAME = "odm-transports"

_PACKAGE = "transports"
_METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def own_distribution(policy: bytes | None = None) -> Distribution:
    """Return the function's own modules, with metadata that `importlib.metadata` can read.

    The metadata is made, not copied: that of an editable installation names this machine.

    Args:
        policy: the contents of the policy's file.

    Raises:
        CommandFailed: this installation is not complete.
    """
    app = HANDLER.rpartition(".")[0]
    try:
        modules = closure(app, _source)
    except LookupError as error:
        raise CommandFailed(f"this installation of {NAME} has no {app}: install it anew") from error
    version = own_version()
    about = f"{NAME.replace('-', '_')}-{version}.dist-info"
    files = {_path(name, is_package): source for name, (source, is_package) in modules.items()}
    files[f"{about}/METADATA"] = _METADATA.format(name=NAME, version=version).encode()
    if licence := _licence():
        files[f"{about}/licenses/LICENSE"] = licence
    if policy is not None:
        files[POLICY_FILE] = policy
    return Distribution(NAME, version, files)


def own_version() -> str:
    """Return this release: as installed, else as the checkout's ``pyproject.toml`` says.

    Raises:
        CommandFailed: neither says.
    """
    try:
        return distribution(NAME).version
    except PackageNotFoundError:
        pass
    try:
        project = tomllib.loads((_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] == NAME:
            return str(project["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        pass
    raise CommandFailed(f"the version of {NAME} is not known here: install it, pip install {NAME}")


def _root() -> Path:
    return Path(transports.__file__).parent.parent


def _source(name: str) -> Source | None:
    if name.partition(".")[0] != _PACKAGE:
        return None
    for is_package in (True, False):
        path = _root() / _path(name, is_package)
        if path.is_file():
            return path.read_bytes(), is_package
    return None


def _path(name: str, is_package: bool) -> str:
    return name.replace(".", "/") + ("/__init__.py" if is_package else ".py")


def _licence() -> bytes | None:
    """Return the licence's text: from the checkout, or from the installed metadata."""
    try:
        checkout = _root() / "LICENSE"
        if checkout.is_file() and (_root() / "pyproject.toml").is_file():
            return checkout.read_bytes()
        installed = distribution(NAME).read_text("licenses/LICENSE")
    except PackageNotFoundError:
        return None
    return installed.encode() if installed else None
