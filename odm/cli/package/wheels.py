"""The distributions of others: fetched as wheels by pip, or taken from this environment.

pip resolves and chooses: it knows platform tags, indexes, credentials and caches. This module says
which target, and reads what comes.

Spec: https://pip.pypa.io/en/stable/cli/pip_download/,
https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.package.contents import Distribution
from odm.cli.package.target import Target

PYMONGO = ("pymongo", "dnspython")
"""The driver, and what it looks up mongodb+srv:// names with."""

AWS_AUTH = "pymongo-auth-aws"
"""MONGODB-AWS. The boto3 that it imports is part of AWS's runtimes."""

# What PyMongo's extra "aws" says, which would bring boto3; and what the executor is tested with.
_RANGES = {AWS_AUTH: ">=1.3,<2", "pymongo": ">=4.13,<5"}
_FETCH_TIMEOUT_S = 300
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)")
_URL = re.compile(r"\b\w+://\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which distributions, of which versions, from where.

    Attributes:
        aws_auth: with what MONGODB-AWS needs.
        pins: normalised name → version; for others the version that is installed here, else the
            newest that fits.
        wheel_dir: take wheels from this directory only, none from an index.
        installed: take the files that are installed in this environment.
    """

    aws_auth: bool = True
    pins: Mapping[str, str]
    wheel_dir: Path | None = None
    installed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The distributions' names."""
        return (*PYMONGO, AWS_AUTH) if self.aws_auth else PYMONGO


def read_pins(texts: Sequence[str]) -> dict[str, str]:
    """Return the pins in ``NAME==VERSION`` texts.

    Raises:
        CommandFailed: one is written otherwise.
    """
    pins = {}
    for text in texts:
        found = _PIN.fullmatch(text)
        if found is None:
            raise CommandFailed(
                f"--pin {text!r}: write --pin NAME==VERSION, e.g. pymongo==4.13.0", ExitCode.USAGE
            )
        name = normalised(found[1])
        if name not in (*PYMONGO, AWS_AUTH):
            raise CommandFailed(
                f"--pin {text!r}: a bundle has {', '.join(PYMONGO)} and {AWS_AUTH}", ExitCode.USAGE
            )
        pins[name] = found[2]
    return pins


def fetch(wanted: Wanted, target: Target) -> list[Distribution]:
    """Return the distributions, in the order of their names.

    Raises:
        CommandFailed: one is not to be had for *target*; with what to do.
    """
    if wanted.installed:
        return sorted((_installed(name, wanted) for name in wanted.names), key=_by_name)
    with tempfile.TemporaryDirectory(prefix="odm-package-") as directory:
        into = Path(directory)
        _download(wanted, target, into)
        return sorted(map(_read_wheel, into.glob("*.whl")), key=_by_name)


def normalised(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _by_name(found: Distribution) -> str:
    return normalised(found.name)


def _download(wanted: Wanted, target: Target, into: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise CommandFailed(
            "wheels are fetched by pip, which is not installed here: python -m ensurepip; "
            "or --installed takes what this environment has"
        )
    options = ["--only-binary=:all:", "--dest", str(into), *_tags(target)]
    if wanted.wheel_dir is not None:
        options += ["--no-index", "--find-links", str(wanted.wheel_dir)]
    _pip([*options, *(_requirement(name, wanted) for name in PYMONGO)], target)
    if wanted.aws_auth:  # without boto3 and what it needs: 17 MB zipped, which the runtime has
        _pip([*options, "--no-deps", _requirement(AWS_AUTH, wanted)], target)


def _requirement(name: str, wanted: Wanted) -> str:
    """Return what pip is asked for.

    Where nothing else is said, that is the version that is installed here: what an application is
    tested with. A directory of wheels says it.
    """
    pinned = wanted.pins.get(name)
    if pinned is None and wanted.wheel_dir is None:
        pinned = _version(name)
    return f"{name}=={pinned}" if pinned else name + _RANGES.get(name, "")


def _tags(target: Target) -> list[str]:
    """Return pip's options for the wheels that run on *target*, whatever runs here."""
    tags = ["--implementation", "cp", "--python-version", f"3.{target.runtime.minor}"]
    for name in target.platforms:
        tags += ["--platform", name]
    for abi in target.abis:
        tags += ["--abi", abi]
    return tags


def _pip(arguments: list[str], target: Target) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter's pip, no shell
            [*command, "--no-input", *arguments],
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"pip fetched no wheels in {_FETCH_TIMEOUT_S} s") from error
    if done.returncode:
        raise CommandFailed(f"pip finds no wheels for {target}: {_reason(done.stderr)}")


def _reason(stderr: str) -> str:
    """Return what pip complains of, without addresses, which may hold credentials."""
    errors = [line[7:] for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return _URL.sub("…", " ".join(errors) or stderr.strip()[-500:] or "it does not say why")


def _version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def _read_wheel(path: Path) -> Distribution:
    with zipfile.ZipFile(path) as wheel:
        files = {info.filename: wheel.read(info) for info in wheel.infolist() if not info.is_dir()}
    [about] = [name for name in files if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
    headers = HeaderParser().parsestr(files[about].decode())
    return Distribution(headers["Name"], headers["Version"], files)


def _installed(name: str, wanted: Wanted) -> Distribution:
    try:
        found = distribution(name)
    except PackageNotFoundError as error:
        raise CommandFailed(
            f"--installed: {name} is not installed here: pip install {name}"
            + (", or --no-aws-auth" if name == AWS_AUTH else "")
        ) from error
    pinned = wanted.pins.get(normalised(name), found.version)
    if pinned != found.version:
        raise CommandFailed(
            f"--installed: {name} {found.version} is installed, and --pin asks for {pinned}",
            ExitCode.USAGE,
        )
    files = {
        path.as_posix(): Path(str(path.locate())).read_bytes()
        for path in found.files or ()
        if ".." not in path.parts and path.suffix != ".pyc"
    }
    if not files:
        raise CommandFailed(f"--installed: the files of {name} are not listed: reinstall it")
    return Distribution(name, found.version, files)
