"""The commands, gathered. A command's module is imported here; what it works with, when it runs."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from odm.cli.bench.command import bench_command
from odm.cli.console import Console
from odm.cli.cost.command import cost_command
from odm.cli.demo.command import demo_command
from odm.cli.doctor.command import doctor_command
from odm.cli.failures import EXIT_CODES_HELP, ExitCode, describe, exit_code, failure_document
from odm.cli.help import teach
from odm.cli.lifecycle import Stopped
from odm.cli.local import local_command
from odm.cli.package.command import package_command
from odm.cli.ping import ping_command
from odm.cli.tunnel.command import tunnel_command
from odm.cli.usage import explain
from odm.cli.version import version_command


class LogLevel(StrEnum):
    """The levels of Python's logging."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_WIDTH_FOR_FRAMES = 80


def _has_room_for_frames() -> bool:
    return sys.stdout.isatty() and shutil.get_terminal_size().columns >= _WIDTH_FOR_FRAMES


def _app() -> typer.Typer:
    app = typer.Typer(
        name="odm",
        help="Typed MongoDB documents over any transport: "
        "direct, AWS Lambda, or in memory, chosen by a URL.",
        epilog=EXIT_CODES_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # In a pipe, and where frames leave no room for words, help is plain text.
        rich_markup_mode="rich" if _has_room_for_frames() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for name, command in (
        ("bench", bench_command),
        ("cost", cost_command),
        ("demo", demo_command),
        ("doctor", doctor_command),
        ("local", local_command),
        ("package", package_command),
        ("ping", ping_command),
        ("tunnel", tunnel_command),
        ("version", version_command),
    ):
        app.command(name, epilog=EXIT_CODES_HELP)(command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        Console().line(f"odm {version('odm-transports')}")
        raise typer.Exit


def _global_options(
    log_level: Annotated[
        LogLevel | None,
        typer.Option(help="Write the log records of this level and above to stderr."),
    ] = None,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_show_version,
            help="Show odm's version and exit.",
        ),
    ] = False,
) -> None:
    if log_level is not None:
        logging.basicConfig(
            level=log_level.value.upper(),
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            stream=sys.stderr,
            force=True,
        )


# typer ≥ 0.26 has a parser of its own, earlier ones use the package click: both derive this.
_UsageError: type[Any] = next(
    each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException"
)


def run_app(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code.

    Errors that a user can understand are told in a line, with ``--json`` in a document on stdout,
    too; a defect of ours keeps its traceback.
    """
    Console.document_written = False
    try:
        _invoke(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except typer.Exit as stop:
        return stop.exit_code
    except Stopped as stop:
        return stop.exit_code
    except typer.Abort:  # Ctrl-C or Ctrl-D at a prompt
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.BROKEN_PIPE
    except _UsageError as error:
        return _tell_usage(error, arguments)
    except Exception as error:
        code = exit_code(error)
        if code is None:
            return _tell_defect(error, arguments)
        return _tell(type(error).__name__, describe(error), code, arguments)
    return ExitCode.OK


def _invoke(arguments: Sequence[str]) -> None:
    app = _app()
    if "_ODM_COMPLETE" in os.environ:  # a shell asks what could come next
        app(args=list(arguments), prog_name="odm")
    command = typer.main.get_command(app)
    teach(command, rich=app.rich_markup_mode is not None)
    # Not app(): it would tell errors in a way of its own, and end the process.
    with command.make_context("odm", list(arguments)) as context:
        command.invoke(context)


def _tell(name: str, message: str, code: int, arguments: Sequence[str]) -> int:
    """Say in a line what went wrong; with ``--json`` also in a document, if there is none yet."""
    try:
        Console().error(message)
        if "--json" in arguments and not Console.document_written:
            Console(json_output=True).event(failure_document(name, message, code))
    except OSError as error:  # stderr or stdout is what went wrong
        return exit_code(error) or code
    return code


def _tell_usage(error: Any, arguments: Sequence[str]) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return ExitCode.USAGE
    message = explain(error, typer.main.get_command(_app()), arguments)
    return _tell("UsageError", message, ExitCode.USAGE, arguments)


def _tell_defect(error: Exception, arguments: Sequence[str]) -> int:
    traceback.print_exc()
    message = f"a defect of odm: {type(error).__name__}; please report it, with odm version"
    return _tell("Defect", message, ExitCode.DEFECT, arguments)
