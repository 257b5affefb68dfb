"""Many cases of one family, counted; what differs is collected, made smaller and grouped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.transports.fake.differential.cases import Batch, as_shell, operators_of
from tests.transports.fake.differential.comparison import Verdict
from tests.transports.fake.differential.families import FAMILIES
from tests.transports.fake.differential.known import reason_of
from tests.transports.fake.differential.running import Pair


@dataclass(slots=True)
class Finding:
    """Cases that differ in the same way, with the smallest of them."""

    family: str
    batch: Batch
    verdict: Verdict
    cases: int = 1

    @property
    def operators(self) -> tuple[str, ...]:
        """The names with a dollar in its commands."""
        commands = [command for probe in self.batch.probes for command in probe.commands]
        return tuple(sorted(operators_of(commands)))

    def __str__(self) -> str:
        return (
            f"{self.family}: {self.verdict.kind}, {self.cases} case(s)\n{as_shell(self.batch)}\n"
            f"  the fake:   {self.verdict.fake}\n  the server: {self.verdict.live}"
        )


@dataclass(slots=True)
class Survey:
    """What became of a family's cases.

    Attributes:
        outcomes: outcome → cases; ``"expected"`` are the differences that `known` explains.
        findings: one for each way of differing.
    """

    family: str
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many there were."""
        return self.outcomes.total()

    def of(self, outcome: str) -> list[Finding]:
        """Return the findings of an outcome."""
        return [finding for finding in self.findings if finding.verdict.outcome == outcome]


def survey(
    pair: Pair,
    family: str,
    *,
    cases: int,
    seed_: int,
    most_findings: int = 200,
    progress: Callable[[Survey], None] | None = None,
) -> Survey:
    """Run about so many cases of a family.

    Args:
        pair: whom to ask.
        family: a key of `FAMILIES`.
        cases: how many; batches are not cut, so it may be a few more.
        seed_: of the generator; the same one gives the same cases.
        most_findings: how many cases that differ are made smaller; the others are counted.
        progress: called after each batch.
    """
    result = Survey(family)
    groups: dict[Any, Finding] = {}
    reduced = 0
    started = time.monotonic()

    def run(batch: Batch) -> None:
        nonlocal reduced
        if result.cases >= cases:
            return
        for index, verdict in enumerate(pair.run(batch)):
            result.outcomes[verdict.outcome] += 1
            if verdict.outcome == "equal":
                continue
            one = Finding(family, batch.one(index), verdict)
            expected = reason_of(one.operators, verdict) is not None
            if not expected and reduced < most_findings:
                reduced += 1
                expected = _add(groups, pair, one)
            if expected:
                result.outcomes[verdict.outcome] -= 1
                result.outcomes["expected"] += 1
        if progress is not None:
            progress(result)

    _each_batch(family, cases, seed_, run)
    result.findings = sorted(groups.values(), key=lambda finding: -finding.cases)
    result.seconds = time.monotonic() - started
    return result


def _add(groups: dict[Any, Finding], pair: Pair, found: Finding) -> bool:
    """Make a case smaller and add it to the findings; tell whether it was expected instead."""
    family, batch = found.family, found.batch
    (verdict,) = pair.run(batch)
    if verdict.outcome == "equal":  # it depends on what ran before it in its batch
        finding = Finding(family, batch, Verdict("different", "alone equal"))
        groups["alone", len(groups)] = finding
        return False
    small, verdict = pair.reduce(batch, verdict)
    finding = Finding(family, small, verdict)
    if reason_of(finding.operators, verdict) is not None:
        return True
    key = (verdict.signature, finding.operators)
    if key in groups:
        groups[key].cases += 1
    else:
        groups[key] = finding
    return False


def _each_batch(family: str, cases: int, seed_: int, run: Callable[[Batch], None]) -> None:
    """Call *run* with the batches of a seed."""
    bounded = settings(
        max_examples=max(cases // 3, 1),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(seed_)(bounded(given(FAMILIES[family]())(run)))()
