"""What ``odm local --bundle`` takes: a zip of ``odm package`` for this machine and Python."""

from __future__ import annotations

import re
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from odm.cli import proxy_function
from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.package.target import Target, this_architecture, this_runtime

_EXTENSION = "bson/_cbson"
"""A part of PyMongo that is written in C. Without it PyMongo works, many times slower."""
_BUILT_FOR = re.compile(r"\.cpython-3(?P<minor>\d+)-(?P<machine>\w+)-linux")
_ARCHITECTURES = {"aarch64": "arm64"}  # what AWS calls it


def policy_of(bundle: Path) -> str | None:
    """Return the policy in *bundle*, None without one.

    Raises:
        CommandFailed: it is no bundle, or not one for this machine.
    """
    try:
        policy = proxy_function.policy_of_bundle(bundle)
    except ValueError as error:
        raise CommandFailed(f"--bundle: {error}", ExitCode.USAGE) from error
    with zipfile.ZipFile(bundle) as archive:
        built_for = _built_for_another(archive.namelist())
    if built_for is not None:
        here = Target(this_architecture(), this_runtime())
        output = bundle.with_name(f"{bundle.stem}-local.zip").name
        raise CommandFailed(
            f"--bundle: {str(bundle)!r} is for {built_for}, and this is {here}, where PyMongo "
            "would run without its C parts; build one for here: odm package "
            f"--architecture {here.architecture} --runtime {here.runtime} --output {output}",
            ExitCode.USAGE,
        )
    return policy


def _built_for_another(names: list[str]) -> str | None:
    """Return what the extension modules are for, if it is not this Python on this machine."""
    extensions = [name for name in names if name.startswith(f"{_EXTENSION}.")]
    if any(f"{_EXTENSION}{suffix}" in extensions for suffix in EXTENSION_SUFFIXES):
        return None
    for name in extensions:
        if found := _BUILT_FOR.search(name):
            machine = found["machine"]
            return f"python3.{found['minor']} on {_ARCHITECTURES.get(machine, machine)}"
    return "no Python in particular"
