"""``odm bench``: what a command costs over every transport, and what many cost together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from odm.cli import lifecycle
from odm.cli.bench.settings import PARTS, Settings
from odm.cli.console import Console
from odm.cli.demo.progress import Reporter
from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.options import JsonOption, QuietOption

if TYPE_CHECKING:
    from odm.cli.bench.result import Result


def bench_command(
    url: Annotated[
        list[str] | None,
        typer.Option(
            "--url",
            "-u",
            metavar="URL",
            help="A real deployment (mongodb://…), a real function (lambda://…), or fake:///…, "
            "instead of a private mongod and a local Lambda; may be repeated.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="Only read, write, list, scan, aggregate, page, sequence, gather, scale, "
            "load, trace, cold or connections; may be repeated.",
        ),
    ] = None,
    contender: Annotated[
        list[str] | None,
        typer.Option(
            "--contender",
            "-c",
            metavar="NAME",
            help="Only driver, driver+pydantic, beanie, odm, motor, lambda-driver, lambda, "
            "lambda-single, invoke, post, proxy-2020 or fake; may be repeated.",
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=OPTION=VALUE",
            help="Also the function with other options in its URL, e.g. "
            "patient=throttleTimeoutMS=60000; may be repeated.",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", "-n", min=1, help="Each contender's turns in a workload.")
    ] = 7,
    documents: Annotated[int, typer.Option(min=100, help="How many documents there are.")] = 10_000,
    concurrency: Annotated[
        int, typer.Option(min=1, help="The local Lambda's reserved concurrency.")
    ] = 8,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls/--no-tls",
            help="Reach the local Lambda by TLS, as AWS Lambda can be reached only; or by plain "
            "HTTP.",
        ),
    ] = True,
    callers: Annotated[int, typer.Option(min=1, help="How many processes connect at once.")] = 32,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer of everything.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="Also write a report with plots, in one file."
        ),
    ] = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure what commands cost, side by side: drivers, Beanie, repositories, and Lambda.

    All contenders take turns in one run, on the same documents; medians and quartiles are told.
    The bench starts a private mongod and a local Lambda in front of it and leaves nothing behind.
    Stopped with Ctrl-C it reports what it has.

    Exit code 0: all could be measured; 1: some contender failed.

    Example: odm bench --quick --html bench.html
    """
    settings = Settings(
        rounds=rounds,
        documents=documents,
        ceiling=concurrency,
        tls=tls,
        callers=callers,
        only=tuple(only or ()),
        contenders=tuple(contender or ()),
    )
    _check(settings, html)
    console = Console(json_output=json_output, quiet=quiet)
    failed = _bench(
        url or [], variant or [], settings.quick() if quick else settings, html, console
    )
    if failed:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _check(settings: Settings, html: Path | None) -> None:
    from odm.cli.bench.workloads import WORKLOADS

    known = [*(each.name for each in WORKLOADS), *PARTS]
    for part in settings.only:
        if part not in known:
            raise CommandFailed(f"--only {part!r}: write one of {', '.join(known)}", ExitCode.USAGE)
    if html is not None and not html.absolute().parent.is_dir():
        raise CommandFailed(
            f"--html {str(html)!r}: there is no directory of that name", ExitCode.USAGE
        )


def _bench(
    urls: list[str], variants: list[str], settings: Settings, html: Path | None, console: Console
) -> bool:
    # Beanie takes half a second to import: not before it is needed.
    from odm.cli.bench.result import Result
    from odm.cli.bench.run import run_bench

    result = Result()
    try:
        lifecycle.run(run_bench(urls, variants, settings, result, Reporter(console)))
    except lifecycle.Stopped:
        _tell(result, html, console)
        raise
    _tell(result, html, console)
    return bool(result.errors)


def _tell(result: Result, html: Path | None, console: Console) -> None:
    from odm.cli.bench.page import page
    from odm.cli.bench.table import show

    show(result, console)
    console.document(result.document())
    if html is not None:
        html.write_text(page(result), encoding="utf-8")
        console.note(f"report: {html}")
