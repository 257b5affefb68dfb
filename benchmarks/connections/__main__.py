"""``python -m benchmarks.connections``: the command line."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.connections.report import as_text, page
from benchmarks.connections.result import Result
from benchmarks.connections.run import run
from benchmarks.connections.settings import EXPERIMENTS, Settings
from transports.errors import MissingExtra, ServerUnreachable

_DEFAULTS = Settings()
_INSIDE = "ODM_CONNECTIONS_KEEPALIVE"
# A network namespace of its own has a keep-alive of its own, and the right to end connections
# without a word: without being root, and without a trace on the machine.
_SCRIPT = 'ip link set lo up && echo "$0" > /proc/sys/net/ipv4/tcp_keepalive_time && exec "$@"'
_UNSHARE = ("unshare", "--map-root-user", "--net", "--", "sh", "-c", _SCRIPT)
_INTERRUPTED = 130


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(",") if each)


def _parser() -> argparse.ArgumentParser:
    experiments = "\n".join(f"  {name:<16}{words}" for name, words in EXPERIMENTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.connections",
        description=(
            "What the server sees of many callers over time: real processes, directly and\n"
            "through the DB proxy function, then simulated ones. Tables on stdout.\n"
            "Exit code 0: nothing over its ceiling, reserved concurrency x (pool + 1 monitor);\n"
            "1: something was; 2: it could not be run; 130: interrupted."
        ),
        epilog=f"experiments:\n{experiments}\n\n"
        "example: python -m benchmarks.connections --callers 30,100 --html connections.html",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    defaults = ",".join(map(str, _DEFAULTS.callers))
    add("--only", default="", metavar="A,B,…", help="only these experiments")
    add("--callers", default=defaults, metavar="N,…", help=f"how many, in turn ({defaults})")
    add(
        "--replaced",
        type=int,
        default=_DEFAULTS.replaced,
        metavar="N",
        help="callers in redeployments and among zombies, up to three times as many processes"
        f" ({_DEFAULTS.replaced})",
    )
    add("--queries", type=int, default=_DEFAULTS.queries, help="of a page (10)")
    add("--reserved", type=int, default=_DEFAULTS.reserved, help="reserved concurrency (15)")
    add("--pool", type=int, default=_DEFAULTS.pool, help="of the function (4)")
    add(
        "--keepalive",
        type=int,
        default=15,
        metavar="S",
        help="tcp_keepalive_time for zombies, in a network namespace of its own (15);"
        " 0: in the machine's, and nobody waits",
    )
    add("--json", type=Path, metavar="FILE", help="write everything there")
    add("--html", type=Path, metavar="FILE", help="write a page with plots there")
    return parser


def _settings(given: argparse.Namespace, keepalive_s: int) -> Settings:
    names = tuple(name for name in given.only.split(",") if name)
    return Settings(
        experiments=names or tuple(EXPERIMENTS),
        callers=_numbers(given.callers),
        replaced=given.replaced,
        queries=given.queries,
        reserved=given.reserved,
        pool=given.pool,
        keepalive_s=keepalive_s,
    )


def _enter_namespace(keepalive_s: int, arguments: Sequence[str]) -> None:
    """Become this command in a network namespace of its own; return where there can be none."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return
    tried = subprocess.run([*_UNSHARE, str(keepalive_s), "true"], check=False, capture_output=True)
    if tried.returncode:
        return
    os.environ[_INSIDE] = str(keepalive_s)
    again = (sys.executable, "-m", "benchmarks.connections", *arguments)
    os.execvp(_UNSHARE[0], [*_UNSHARE, str(keepalive_s), *again])


class _Progress:
    """One line that is written over on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


async def _run(settings: Settings, result: Result, progress: _Progress) -> None:
    """Run until the end or the first signal: what there is by then is in *result*."""
    running = asyncio.create_task(run(settings, result, progress))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    await asyncio.wait([running])
    if not running.cancelled():
        running.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the tables, return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        settings = _settings(given, int(os.environ.get(_INSIDE, "0")))
    except ValueError as error:
        parser.error(str(error))
    if "zombies" in settings.experiments and given.keepalive and not settings.keepalive_s:
        _enter_namespace(given.keepalive, arguments)
    result, progress = Result(settings={}), _Progress()
    try:
        asyncio.run(_run(settings, result, progress))
    except (MissingExtra, ServerUnreachable, OSError) as error:
        progress.end()
        print(f"the run could not be made: {error}", file=sys.stderr)
        return 2
    progress.end()
    print(as_text(result))
    if given.json is not None:
        given.json.write_text(json.dumps(result.document()) + "\n", encoding="utf-8")
    if given.html is not None:
        given.html.write_text(page(result), encoding="utf-8")
    if result.violations():
        return 1
    return 0 if result.complete else _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
