"""``scripts/chaos``: the command line of the chaos run."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chaos.plan import FAULTS, choose_faults
from benchmarks.chaos.report import Report, as_text
from benchmarks.chaos.run import RunOptions, run
from benchmarks.chaos.sabotage import DEFECTS
from benchmarks.chaos.stage import StageOptions
from transports.errors import MissingExtra, ServerUnreachable

_DEFAULT_PIPED_EVERY = 5


def _parser() -> argparse.ArgumentParser:
    faults = "\n".join(f"  {name:<22}{kind.words}" for name, kind in FAULTS.items())
    defects = "\n".join(
        f"  {name:<22}{(plant.__doc__ or '').strip()}" for name, plant in DEFECTS.items()
    )
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description=(
            "Many callers write over lambda:// while environments, network and servers fail;\n"
            "then a checker proves that what was acknowledged is there exactly once.\n"
            "Exit code 0: nothing was violated; 1: something was; 2: it could not be run."
        ),
        epilog=f"faults (or what they begin with: kill, network):\n{faults}\n\n"
        f"defects, each of which must end the run red:\n{defects}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration", type=float, default=60.0, metavar="S", help="seconds (60)")
    parser.add_argument("--workers", type=int, default=40, help="at one time (40)")
    parser.add_argument(
        "--callers", type=int, default=4, help="processes that share them (4); 0: this one"
    )
    parser.add_argument(
        "--members", type=int, choices=(1, 3), default=3, help="of the replica set (3)"
    )
    parser.add_argument("--concurrency", type=int, default=8, help="reserved concurrency (8)")
    parser.add_argument(
        "--faults", default="", metavar="A,B,…", help="only these; none for no fault at all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument("--journals", type=Path, metavar="DIR", help="keep the journals there")
    parser.add_argument("--sabotage", choices=DEFECTS, default="", help="plant a defect")
    return parser


def _options(given: argparse.Namespace) -> RunOptions:
    names = [name for name in given.faults.split(",") if name]
    faults = () if names == ["none"] else choose_faults(names or FAULTS, given.members)
    if not given.callers:
        faults = tuple(kind for kind in faults if kind != "caller-kill")
    if given.duration <= 0 or given.workers < 1 or given.callers < 0 or given.concurrency < 1:
        raise ValueError("--duration, --workers and --concurrency must be above 0")
    return RunOptions(
        seed=given.seed,
        duration_s=given.duration,
        workers=given.workers,
        callers=given.callers,
        faults=faults,
        stage=StageOptions(members=given.members, reserved_concurrency=given.concurrency),
        sabotage=given.sabotage,
    )


class _Progress:
    """One line that is written over on a terminal; now and then a line elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._count = 0

    def __call__(self, text: str) -> None:
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            if self._count % _DEFAULT_PIPED_EVERY == 0 or not text.startswith(" "):
                print(text, file=sys.stderr, flush=True)
            self._count += 1

    def end(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


async def _run(options: RunOptions, directory: Path, progress: _Progress) -> Report:
    """Run until the end, or until Ctrl-C; a second one only cleans up."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    whole = asyncio.current_task()
    assert whole is not None

    def interrupt() -> None:
        if stop.is_set():
            whole.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    return await run(options, directory, stop, progress)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, return the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        options = _options(given)
    except ValueError as error:
        parser.error(str(error))
    progress = _Progress()
    try:
        with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
            directory = given.journals or Path(temporary)
            directory.mkdir(parents=True, exist_ok=True)
            report = asyncio.run(_run(options, directory, progress))
    except asyncio.CancelledError:
        progress.end()
        print("interrupted twice: nothing was checked", file=sys.stderr)
    except (MissingExtra, ServerUnreachable, TimeoutError) as error:
        print(f"the run could not be made: {error!r}", file=sys.stderr)
    else:
        progress.end()
        print(as_text(report))
        if given.json is not None:
            document = json.dumps(report.to_document(), indent=1)
            given.json.write_text(document + "\n", encoding="utf-8")
        return 0 if report.passed else 1
    return 2


if __name__ == "__main__":
    sys.exit(main())
