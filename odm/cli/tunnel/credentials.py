"""The user and password that a tunnel's clients need, where its user chooses them.

A password comes from the environment, a file or a prompt: the arguments of a process are read by
every user of the machine.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from odm.cli.console import Console
from odm.cli.failures import CommandFailed, ExitCode

if TYPE_CHECKING:
    from transports.endpoint import Credential

VARIABLE = "ODM_TUNNEL_PASSWORD"


def chosen_credential(
    user: str | None, password_file: Path | None, console: Console
) -> Credential | None:
    """Return the credential of ``--user``, None where nobody chose one.

    Raises:
        CommandFailed: there is no password, or it is not one.
    """
    if user is None:
        if password_file is not None:
            raise CommandFailed("--password-file needs --user NAME", ExitCode.USAGE)
        return None
    from transports.endpoint import Credential
    from transports.endpoint.scram import saslprep

    password = _password(user, password_file, console)
    try:
        # Who writes the URI by hand has a database in it, and no authSource.
        credential = Credential(username=user, password=password, source=None)
        saslprep(password)
    except ValueError as error:
        raise CommandFailed(f"--user: {error}", ExitCode.USAGE) from None
    return credential


def _password(user: str, password_file: Path | None, console: Console) -> str:
    if password_file is not None:
        return _read(password_file, console)
    if given := os.environ.get(VARIABLE):
        return given
    if not sys.stdin.isatty():
        raise CommandFailed(
            f"--user {user} needs a password: set {VARIABLE}, or give --password-file PATH",
            ExitCode.USAGE,
        )
    password: str = typer.prompt(
        f"Password that clients of the tunnel need for {user}", hide_input=True, err=True
    )
    return password


def _read(path: Path, console: Console) -> str:
    """Return the first line of a file, or of stdin for ``-``."""
    if str(path) == "-":
        return sys.stdin.readline().rstrip("\r\n")
    try:
        with path.open(encoding="utf-8") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & (
                stat.S_IRGRP | stat.S_IROTH
            ):
                console.note(f"others can read {path}: chmod 600 {path}", style="yellow")
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise CommandFailed(f"--password-file {path}: {reason}", ExitCode.USAGE) from error
