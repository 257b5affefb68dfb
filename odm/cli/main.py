"""The entry point: from ``odm …`` to a command and an exit code.

Only the standard library is imported before the command line's own packages are known to be there.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from transports.errors import MissingExtra


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; see `odm.cli.failures`.

    Args:
        arguments: what stands after ``odm``; None takes it from the process.
    """
    _be_quiet()
    try:
        from odm.cli.app import run_app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("typer", "rich"):
            raise
        _complain(str(MissingExtra("the command 'odm'", package, "cli")))
        return 3
    except KeyboardInterrupt:
        return 130
    try:
        return run_app(arguments)
    except KeyboardInterrupt:  # before a command's event loop runs, or after
        return 130
    except BrokenPipeError:
        # `odm … | head`: nobody reads any more. What Python would flush at exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _be_quiet() -> None:
    """Keep warnings and log records of libraries out of a command's output.

    ``odm --log-level`` and ``python -W`` bring them back.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):  # a character that a terminal lacks ends no command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logging.getLogger().addHandler(logging.NullHandler())


def _complain(message: str) -> None:
    sys.stderr.write(f"odm: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
