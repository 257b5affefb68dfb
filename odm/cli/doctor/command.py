"""``odm doctor``: what of a deployment follows the best practices, and what does not."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Annotated

import typer

from odm.cli import lifecycle
from odm.cli.console import Console
from odm.cli.doctor.examination import Examination
from odm.cli.failures import CommandFailed, ExitCode, describe, exit_code
from odm.cli.options import JsonOption, QuietOption, UrlArgument
from transports.url import parse_url


def _list_rules(wanted: bool) -> None:
    if wanted:
        from odm.cli.doctor.rules.catalogue import RULES

        Console().pairs([(rule.id, f"{rule.title} ({rule.source})") for rule in RULES])
        raise typer.Exit


def doctor_command(
    url: UrlArgument,
    fix: Annotated[
        bool, typer.Option("--fix", help="Print the exact changes; nothing is carried out.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 for warnings, too.")
    ] = False,
    no_connect: Annotated[
        bool,
        typer.Option(
            "--no-connect", help="Ask AWS only: no invoke, no connection to MongoDB, no DNS."
        ),
    ] = False,
    caller: Annotated[
        str | None,
        typer.Option(
            metavar="FUNCTION",
            help="The Lambda function that the application is: its environment and time-out "
            "are looked at, not this process's.",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--code",
            metavar="PATH",
            help="The application's source: handlers that make a client in each invocation are "
            "found in it.",
        ),
    ] = None,
    connection_limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Connections that one server accepts, where serverStatus may not be asked "
            "(Atlas M10: 1500).",
        ),
    ] = None,
    read_uri: Annotated[
        bool,
        typer.Option(
            "--read-uri",
            help="Read the function's MongoDB URI where it is kept in a secret or a parameter; it "
            "is never printed with its credentials.",
        ),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="How long opening the URL may take.")
    ] = 35.0,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    list_rules: Annotated[
        bool,
        typer.Option(
            "--rules", is_eager=True, callback=_list_rules, help="List the rules and exit."
        ),
    ] = False,
) -> None:
    """Hold a deployment against the best practices: its URL, environment, function and server.

    Each rule is told with its source: ok, warning, problem, or why it could not be looked at. A
    problem is exit code 1. AWS is asked with the permissions of this process, for reading only; a
    denied call is a rule not looked at. docs/doctor.md has every rule.

    Examples:
    odm doctor 'lambda://db-proxy:live/cms?region=eu-central-1' --fix

    odm doctor 'lambda://db-proxy:live/cms' --caller my-api --no-connect --json
    """
    console = Console(json_output=json_output, quiet=quiet)
    parsed = parse_url(url)
    what = Examination(
        url=parsed,
        environment=os.environ,
        caller=caller,
        connect=not no_connect,
        timeout_s=timeout,
        connection_limit=connection_limit,
        read_uri=read_uri,
        code=source,
        today=datetime.datetime.now(datetime.UTC).date(),
    )
    try:
        code = lifecycle.run(_doctor(what, console, fix=fix, strict=strict))
    except Exception as error:
        if not json_output or exit_code(error) is None:
            raise
        message = {"type": type(error).__name__, "message": describe(error)}
        console.document({"ok": False, "url": parsed.redacted, "error": message})
        raise CommandFailed(describe(error), exit_code(error) or ExitCode.UNAVAILABLE) from error
    if code is not ExitCode.OK:
        raise typer.Exit(code)


async def _doctor(what: Examination, console: Console, *, fix: bool, strict: bool) -> ExitCode:
    from odm.cli.doctor.facts import Kind
    from odm.cli.doctor.inspect_url import kind_of

    url = what.url
    if kind_of(url) is Kind.LOCAL:
        console.line(f"{url.redacted} is of this machine alone: there is little to inspect")
        console.document({"ok": True, "exit_code": 0, "url": url.redacted, "findings": []})
        return ExitCode.OK

    from odm.cli.doctor import report
    from odm.cli.doctor.examine import examine
    from odm.cli.doctor.rule import judge
    from odm.cli.doctor.rules.catalogue import RULES

    facts = await examine(what, lambda step: console.note(f"looking at {step}"))
    findings = judge(RULES, facts)
    code = report.exit_code(facts, findings, strict=strict)
    console.document(report.document(facts, findings, code))
    report.write(console, facts, findings, fix=fix)
    return code
