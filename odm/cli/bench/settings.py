"""How a run is made: sizes, counts, and what takes part."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

PARTS = ("scale", "load", "trace", "cold", "connections")
"""What is measured besides the workloads, by the names that ``--only`` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a run is made.

    Attributes:
        rounds: each contender's turns in each workload.
        documents: how many articles there are.
        ceiling: reserved concurrency of each function on the local Lambda.
        tls: whether the local Lambda is reached by TLS, as AWS Lambda is.
        levels: concurrencies of the mixed load.
        load_s: seconds of it, for each contender at each concurrency in each round.
        load_rounds: its rounds.
        trace_length: invocations in a trace.
        scale_rounds: times that each size is read.
        cold_starts: cold starts of each function.
        cold_processes: process starts of each kind, by phase.
        callers: processes that connect at once.
        only: workloads and `PARTS` to measure; empty for all.
        contenders: names of those that take part; empty for all.
        divisor: by how much a workload's repetitions in a round are fewer.
    """

    rounds: int = 7
    documents: int = 10_000
    ceiling: int = 8
    tls: bool = True
    levels: tuple[int, ...] = (1, 4, 16, 64, 200)
    load_s: float = 1.0
    load_rounds: int = 3
    trace_length: int = 30
    scale_rounds: int = 5
    cold_starts: int = 5
    cold_processes: int = 20
    callers: int = 32
    only: tuple[str, ...] = ()
    contenders: tuple[str, ...] = ()
    divisor: int = 1

    def quick(self) -> Settings:
        """Return those of a short run: a minute or so."""
        return replace(
            self,
            rounds=min(self.rounds, 2),
            documents=min(self.documents, 5_000),
            levels=(1, 16),
            load_s=0.3,
            load_rounds=1,
            scale_rounds=1,
            cold_starts=1,
            cold_processes=1,
            callers=min(self.callers, 4),
            divisor=4,
        )

    def wants(self, part: str) -> bool:
        """Whether a workload or part is to be measured."""
        return not self.only or part in self.only

    def takes(self, contender: str) -> bool:
        """Whether a contender takes part; a variant does with what it is a variant of."""
        return not self.contenders or contender.partition(":")[0] in self.contenders

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)
