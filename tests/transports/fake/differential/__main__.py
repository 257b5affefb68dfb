"""``scripts/fake-differential``: many cases on a fake and on a server, and what differs.

Exit code 1 if anything differs silently or crashes; refusals are only counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.transports.fake.differential.cases import as_shell
from tests.transports.fake.differential.families import FAMILIES
from tests.transports.fake.differential.running import Pair
from tests.transports.fake.differential.sides import Fake, live
from tests.transports.fake.differential.survey import Survey, survey
from transports.mongod import MongodOptions, ReplicaSet

_OUTCOMES = ("equal", "refused", "expected", "different")


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.uri is not None:
        try:
            with MongoClient[dict[str, Any]](options.uri, serverSelectionTimeoutMS=3000) as client:
                client.admin.command("ping")
        except PyMongoError as error:
            parser.error(f"--uri: no server answers there: {str(error)[:300]}")
    families = options.family or list(FAMILIES)
    share = max(options.examples // len(families), 1)
    surveys = []
    with _server(options.uri) as uri, live(uri) as server:
        for number, family in enumerate(families):
            pair = Pair(Fake(), server, f"differential_{family}")
            done = survey(
                pair,
                family,
                cases=share,
                seed_=options.seed * 1000 + number if options.family is None else options.seed,
                most_findings=options.findings,
                progress=_progress if sys.stderr.isatty() else None,
            )
            surveys.append(done)
            server.ask([{"dropDatabase": 1, "$db": pair.database}])
            print(_row(done), file=sys.stderr, flush=True)
    _print(surveys, options.seed)
    if options.json:
        options.json.write_text(json.dumps(_as_json(surveys), indent=1, ensure_ascii=False))
    return 1 if any(done.outcomes["different"] for done in surveys) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/fake-differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the generator; default 0")
    parser.add_argument("--examples", type=int, default=20_000, help="how many cases in all")
    parser.add_argument("--family", action="append", choices=list(FAMILIES), help="default: all")
    parser.add_argument("--findings", type=int, default=100, help="cases to make smaller a family")
    parser.add_argument("--uri", help="a server to ask; default: a private mongod")
    parser.add_argument("--json", type=Path, help="a file to write everything to")
    return parser


@contextmanager
def _server(uri: str | None) -> Iterator[str]:
    if uri is not None:
        yield uri
        return
    with ReplicaSet(MongodOptions(test_commands=True)) as replica_set:
        yield replica_set.uri


def _progress(done: Survey) -> None:
    print(f"\r{_row(done)}", end="", file=sys.stderr, flush=True)


def _row(done: Survey) -> str:
    counts = done.outcomes
    return (
        f"{done.family:<14}{done.cases:>8}{counts['equal']:>8}{counts['refused']:>9}"
        f"{counts['expected']:>10}{counts['different']:>11}{done.seconds:>9.1f}"
    )


def _print(surveys: list[Survey], seed: int) -> None:
    for outcome in ("refused", "different"):
        for done in surveys:
            for finding in done.of(outcome):
                print(f"\n[{outcome}] {' '.join(finding.operators) or '(no operator)'}\n{finding}")
    print(f"\nseed {seed}")
    print(
        f"{'family':<14}{'cases':>8}{'equal':>8}{'refused':>9}{'expected':>10}{'different':>11}{'seconds':>9}"
    )
    for done in surveys:
        print(_row(done))


def _as_json(surveys: list[Survey]) -> list[object]:
    return [
        {
            "family": done.family,
            "cases": done.cases,
            **{
                outcome: done.outcomes[outcome]
                for outcome in ("equal", "refused", "expected", "different")
            },
            "findings": [
                {
                    "outcome": finding.verdict.outcome,
                    "kind": finding.verdict.kind,
                    "cases": finding.cases,
                    "operators": finding.operators,
                    "commands": as_shell(finding.batch),
                    "fake": finding.verdict.fake,
                    "server": finding.verdict.live,
                }
                for finding in done.findings
            ],
        }
        for done in surveys
    ]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped: nothing more was compared", file=sys.stderr)
        sys.exit(130)
