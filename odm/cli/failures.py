"""How a command ends: the exit codes, and which error means which.

=====  ==========================================================================
0      done
1      a check that the command makes failed: transports that disagree, for example
2      wrong usage: an unknown option, a URL that cannot be understood
3      what is needed is not there: an unreachable server, a missing package
130    stopped with Ctrl-C (143: with SIGTERM, 129: the terminal went away)
=====  ==========================================================================
"""

from __future__ import annotations

from enum import IntEnum

from pymongo.errors import PyMongoError

from odm.errors import InvalidConfiguration
from transports.errors import InvalidURL, TransportError
from transports.url import redact


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERRUPTED = 130


EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 a check failed; 2 wrong usage or URL; "
    "3 server unreachable or package missing; 130 stopped with Ctrl-C."
)


class CommandFailed(Exception):
    """A command cannot go on for a reason that its user can understand and change.

    Args:
        message: what is wrong and what to do instead.
        code: the exit code.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.UNAVAILABLE) -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: BaseException) -> ExitCode | None:
    """Return the exit code for *error*, None if it is a defect of ours."""
    match error:
        case CommandFailed():
            return error.code
        case InvalidURL():
            return ExitCode.USAGE
        case InvalidConfiguration():
            return ExitCode.USAGE
        case TransportError() | PyMongoError():
            return ExitCode.UNAVAILABLE
    return None


def describe(error: BaseException) -> str:
    """Return *error* in words, on as few lines as it has, without credentials."""
    return redact(str(error).strip()) or type(error).__name__
