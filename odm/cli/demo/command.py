"""``odm demo``: the same repository script over every transport, and whether they agree."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from odm.cli import lifecycle
from odm.cli.console import Console
from odm.cli.demo.places import Place, Places, Skipped, TransportName
from odm.cli.demo.progress import Reporter
from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.options import URL_EXAMPLES, JsonOption, QuietOption

if TYPE_CHECKING:
    from odm.cli.demo.report import Report


def demo_command(
    url: Annotated[
        list[str] | None,
        typer.Option(
            "--url",
            "-u",
            metavar="URL",
            help="A real deployment or function instead of the built-in one; may be repeated. "
            f"{URL_EXAMPLES}.",
        ),
    ] = None,
    transport: Annotated[
        list[TransportName] | None,
        typer.Option("--transport", "-t", help="Only this transport; may be repeated."),
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", "-n", min=1, help="How often each read is timed.")
    ] = 10,
    pages: Annotated[int, typer.Option(min=30, help="How many pages the CMS is seeded with.")] = 50,
    concurrency: Annotated[
        int, typer.Option(min=1, help="The local Lambda's reserved concurrency.")
    ] = 3,
    details: Annotated[
        bool, typer.Option("--details", help="Also show the median of every operation.")
    ] = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run one script over every transport and compare.

    The script works through the repositories of a small CMS, over direct, motor, lambda and fake in
    turn. The demo starts a private mongod and a local Lambda in front of it, and leaves nothing
    behind. With --url it uses a database of its own there, odm_demo_<random>, and drops it in the
    end. What cannot run on this machine is skipped, with the reason.

    Exit code 0: all transports agree; 1: they do not.

    Example: odm demo --url mongodb://localhost:27017 --details
    """
    _find_models()
    console = Console(json_output=json_output, quiet=quiet)
    report = lifecycle.run(
        _demo(url or [], transport, repeat, pages, concurrency, Reporter(console))
    )
    report.show(console, details=details)
    console.document(report.document())
    if not report.agree:
        raise typer.Exit(ExitCode.CHECK_FAILED)
    if transport and report.skipped:
        raise typer.Exit(ExitCode.UNAVAILABLE)


async def _demo(
    urls: list[str],
    transports: list[TransportName] | None,
    repeat: int,
    pages: int,
    concurrency: int,
    reporter: Reporter,
) -> Report:
    # Beanie and the models take half a second to import: not before they are needed.
    from odm.cli.demo.report import Report
    from odm.cli.demo.turns import Settings, take_turns

    async with AsyncExitStack() as stack:
        places = Places(stack, urls, concurrency=concurrency, reporter=reporter)
        # Sorted by declaration: the transport of a real server is the reference of the others.
        names = [name for name in TransportName if not transports or name in transports]
        found = await places.find(names)
        skipped = [place for place in found if isinstance(place, Skipped)]
        runnable = [place for place in found if isinstance(place, Place)]
        if not runnable:
            reasons = "; ".join(f"{each.label}: {each.reason}" for each in skipped)
            raise CommandFailed(f"nothing to run: {reasons or 'give its --url as well'}")
        turns = await take_turns(runnable, Settings(repeat=repeat, pages=pages), reporter)
        return Report(turns=turns, skipped=skipped)


def _find_models() -> None:
    """Make the checkout's ``models`` importable.

    Raises:
        CommandFailed: this is no checkout; the wheel does not ship the reference domain.
    """
    here = Path.cwd()
    for root in (None, Path(__file__).resolve().parents[3], here, *here.parents):
        if root is not None:
            if not (root / "models" / "seed.py").is_file():
                continue
            sys.path.insert(0, str(root))
        spec = find_spec("models")
        if spec is not None and spec.origin and Path(spec.origin).with_name("seed.py").is_file():
            return
    raise CommandFailed(
        "the demo runs on the documents in 'models/', which are not part of the installed package: "
        "clone the project and run scripts/demo there"
    )
