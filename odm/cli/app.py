"""The commands, gathered. A command's module is imported here; what it works with, when it runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import version
from typing import Annotated

import typer

from odm.cli.bench.command import bench_command
from odm.cli.console import Console
from odm.cli.cost.command import cost_command
from odm.cli.demo.command import demo_command
from odm.cli.doctor.command import doctor_command
from odm.cli.failures import EXIT_CODES_HELP, describe, exit_code
from odm.cli.lifecycle import Stopped
from odm.cli.local import local_command
from odm.cli.package.command import package_command
from odm.cli.ping import ping_command
from odm.cli.tunnel.command import tunnel_command
from odm.cli.version import version_command


class LogLevel(StrEnum):
    """The levels of Python's logging."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _app() -> typer.Typer:
    app = typer.Typer(
        name="odm",
        help="Typed MongoDB documents over any transport: "
        "direct, AWS Lambda, or in memory, chosen by a URL.",
        epilog=EXIT_CODES_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # In a pipe, help is plain text without frames.
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
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


def run_app(arguments: Sequence[str] | None) -> int:
    """Run one command; return its exit code.

    Errors that a user can understand are told in a line; a defect of ours keeps its traceback.
    """
    try:
        _app()(args=None if arguments is None else list(arguments), prog_name="odm")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Stopped as stop:
        return stop.exit_code
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        Console().error(describe(error))
        return code
    return 0
