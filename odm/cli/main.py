"""The entry point: from ``odm …`` to a command and an exit code.

Only the standard library is imported before the command line's own packages are known to be there.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; see `odm.cli.failures`.

    Args:
        arguments: what stands after ``odm``; None takes it from the process, which then is ours:
            Ctrl-C ends it without a traceback, while it imports and while it exits, too.
    """
    ours = arguments is None
    if ours:
        _interrupt_by_default(True)
    _open_streams()
    _be_quiet()
    try:
        from odm.cli.app import run_app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("typer", "rich"):
            raise
        from transports.errors import MissingExtra

        _complain(str(MissingExtra("the command 'odm'", package, "cli")))
        return 3
    except KeyboardInterrupt:
        return 130
    if ours:
        _interrupt_by_default(False)
    try:
        code = run_app(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:  # before a command's event loop runs, or after
        code = 130
    if code == 141:
        # `odm … | head`: nobody reads any more. What Python would flush at exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if ours:
        _interrupt_by_default(True)
        code = _flushed(code)
    return code


def _open_streams() -> None:
    """Give a process that was started with closed streams (``>&-``) some that lead nowhere.

    What it opens next would take their numbers, and get what is written to them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - open for good


def _interrupt_by_default(wanted: bool) -> None:
    """Let Ctrl-C end the process at once, or raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as `nohup` and shells ask for
        signal.signal(signal.SIGINT, signal.SIG_DFL if wanted else signal.default_int_handler)


def _flushed(code: int) -> int:
    """Write what is left in stdout's buffer, and return the exit code: 3 if there is no room."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 3
    return code


def _be_quiet() -> None:
    """Keep warnings and log records of libraries out of a command's output.

    ``odm --log-level`` and ``python -W`` bring them back.
    """
    if not sys.warnoptions:
        import warnings

        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):  # a character that a terminal lacks ends no command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    import logging  # here, like the others: until `main` runs, Ctrl-C shows a traceback

    logging.getLogger().addHandler(logging.NullHandler())


def _complain(message: str) -> None:
    sys.stderr.write(f"odm: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
