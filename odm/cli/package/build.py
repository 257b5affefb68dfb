"""A bundle, from its parts to its archive. What is in it is checked elsewhere (`check`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.package.archive import write_archive
from odm.cli.package.bytecode import compile_all
from odm.cli.package.contents import Distribution, find_in, needed
from odm.cli.package.imports import closure
from odm.cli.package.interpreters import Interpreter
from odm.cli.package.own import own_distribution
from odm.cli.package.target import Target
from odm.cli.package.wheels import AWS_AUTH, Wanted, fetch, normalised
from odm.cli.proxy_function import HANDLER


@dataclass(frozen=True)
class Bundle:
    """What is uploaded, and what it is made of.

    Attributes:
        target: where it runs.
        distributions: what is in it, without bytecode.
        bytecode: path → contents; empty where no interpreter of the target's version was found.
        compiled_by: that interpreter.
        has_policy: whether a policy's file is in it.
    """

    target: Target
    distributions: Sequence[Distribution]
    bytecode: dict[str, bytes] = field(repr=False)
    compiled_by: Interpreter | None
    has_policy: bool

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Path, with slashes → contents."""
        files = dict(self.bytecode)
        for each in self.distributions:
            files |= each.files
        return files

    @cached_property
    def archive(self) -> bytes:
        """The ``.zip``."""
        return write_archive(self.files)

    @property
    def unpacked_bytes(self) -> int:
        """What it takes of Lambda's 250 MB."""
        return sum(map(len, self.files.values()))

    @property
    def has_aws_auth(self) -> bool:
        """Whether MONGODB-AWS works with what the runtime brings."""
        return any(normalised(each.name) == AWS_AUTH for each in self.distributions)


def build(
    target: Target,
    wanted: Wanted,
    *,
    interpreter: Interpreter | None,
    policy: bytes | None = None,
) -> Bundle:
    """Gather the files and compile them.

    Args:
        target: where it is to run.
        wanted: what of others, from where.
        interpreter: of the target's version; without it there is no bytecode.
        policy: the contents of the policy's file.

    Raises:
        CommandFailed: something is not to be had, or does not compile.
    """
    distributions = [own_distribution(policy), *fetch(wanted, target)]
    every = {path: data for each in distributions for path, data in each.files.items()}
    if sum(len(each.files) for each in distributions) != len(every):
        raise CommandFailed("two distributions have a file of the same name", ExitCode.CHECK_FAILED)
    packages = _packages(every)
    others = (needed(each, packages, target) for each in distributions[1:])
    bundle = [distributions[0], *others]
    sources = {path: data for each in bundle for path, data in each.files.items()}
    return Bundle(
        target=target,
        distributions=bundle,
        bytecode=compile_all(sources, interpreter) if interpreter else {},
        compiled_by=interpreter,
        has_policy=policy is not None,
    )


def read_policy(path: Path) -> bytes:
    """Return a policy's file, if it is one.

    Raises:
        CommandFailed: it cannot be read, or the function would not start with it.
    """
    from transports.lambda_invoke.function.policy import Policy, PolicyError

    try:
        data = path.read_bytes()
        # The URI, whose database it may mean, is not known yet.
        Policy.from_text(data.decode("utf-8"), mongodb_uri="mongodb://host/database")
    except OSError as error:
        raise CommandFailed(f"--policy {path}: {error.strerror}", ExitCode.USAGE) from error
    except (UnicodeDecodeError, PolicyError) as error:
        raise CommandFailed(f"--policy {path}: {error}", ExitCode.USAGE) from error
    return data


def _packages(files: dict[str, bytes]) -> set[str]:
    """Return the top-level packages that the handler imports, at start or later."""
    app = HANDLER.rpartition(".")[0]
    return {name.partition(".")[0] for name in closure(app, find_in(files))}
