"""The schedule of faults: a pure function of the seed.

Faults of one *lane* follow each other, those of different lanes overlap. A lane deals its kinds
like cards, so that a short run has seen each of them once before any comes again.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

ENVIRONMENTS, NETWORK, SERVERS, CALLERS = "environments", "network", "servers", "callers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: what, when, for how long.

    Attributes:
        kind: a key of `FAULTS`.
        at_s: seconds after the start of the run.
        lasts_s: how long it is left in place, where that means something.
        seed: of choices that are made when it happens (which environment?).
    """

    kind: str
    at_s: float
    lasts_s: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """A kind of fault.

    Attributes:
        shortest_s: the least that one lasts, and so on.
        members: how many the replica set must have.
        once: dealt once in a run: nothing much is done while it lasts.
    """

    lane: str
    shortest_s: float = 0.0
    longest_s: float = 0.0
    members: int = 1
    once: bool = False
    words: str


FAULTS: Mapping[str, FaultKind] = MappingProxyType(
    {
        "kill-idle": FaultKind(lane=ENVIRONMENTS, words="kill -9 of idle execution environments"),
        "kill-busy": FaultKind(lane=ENVIRONMENTS, words="kill -9 of one that runs a command"),
        "kill-all": FaultKind(lane=ENVIRONMENTS, words="kill -9 of all of them"),
        "freeze": FaultKind(
            lane=ENVIRONMENTS, shortest_s=0.2, longest_s=2.0, words="freeze one and thaw it"
        ),
        "freeze-long": FaultKind(
            lane=ENVIRONMENTS,
            shortest_s=6.0,
            longest_s=8.0,
            once=True,
            words="freeze one for longer than the function's time-out",
        ),
        "throttle": FaultKind(
            lane=ENVIRONMENTS,
            shortest_s=0.5,
            longest_s=2.0,
            words="reserved concurrency of 1 for a while",
        ),
        "throttle-all": FaultKind(
            lane=ENVIRONMENTS,
            shortest_s=0.3,
            longest_s=1.5,
            words="reserved concurrency of 0 for a while",
        ),
        "throttle-long": FaultKind(
            lane=ENVIRONMENTS,
            shortest_s=11.0,
            longest_s=12.0,
            once=True,
            words="reserved concurrency of 0 until callers give up",
        ),
        "deploy": FaultKind(lane=ENVIRONMENTS, words="deploy the function anew"),
        "network-reset": FaultKind(lane=NETWORK, words="reset all connections to the service"),
        "network-lost-request": FaultKind(
            lane=NETWORK, words="reset connections instead of carrying requests"
        ),
        "network-lost-reply": FaultKind(
            lane=NETWORK, words="reset connections instead of carrying replies: applied, unheard"
        ),
        "network-slow": FaultKind(
            lane=NETWORK, shortest_s=0.5, longest_s=2.0, words="delay what is sent by 10 to 300 ms"
        ),
        "network-refuse": FaultKind(
            lane=NETWORK, shortest_s=0.1, longest_s=0.6, words="refuse connections to the service"
        ),
        "latency": FaultKind(
            lane=SERVERS, shortest_s=1.0, longest_s=3.0, words="commands wait before they run"
        ),
        "disconnect": FaultKind(
            lane=SERVERS, shortest_s=0.5, longest_s=2.0, words="the server closes connections"
        ),
        "kill-before": FaultKind(
            lane=SERVERS,
            shortest_s=0.3,
            longest_s=0.8,
            words="kill -9 of environments whose writes have arrived and wait",
        ),
        "kill-after": FaultKind(
            lane=SERVERS,
            shortest_s=0.3,
            longest_s=0.8,
            words="kill -9 of environments whose writes are applied and not answered",
        ),
        "write-error": FaultKind(
            lane=SERVERS,
            shortest_s=0.3,
            longest_s=1.0,
            words="writes applied and answered with a retryable error",
        ),
        "primary-kill": FaultKind(
            lane=SERVERS, shortest_s=0.3, longest_s=2.5, words="kill -9 of the primary, restart"
        ),
        "primary-freeze": FaultKind(
            lane=SERVERS, shortest_s=0.5, longest_s=3.5, words="freeze the primary and thaw it"
        ),
        "secondary-kill": FaultKind(
            lane=SERVERS,
            shortest_s=0.3,
            longest_s=2.5,
            members=3,
            words="kill -9 of a secondary, restart",
        ),
        "step-down": FaultKind(lane=SERVERS, words="the primary steps down"),
        "caller-kill": FaultKind(
            lane=CALLERS, words="kill -9 of a caller process; another takes its place"
        ),
    }
)
"""Every kind of fault."""

# From the end of one to the beginning of the next, on average, in seconds.
_PAUSES = {ENVIRONMENTS: 1.5, NETWORK: 2.0, SERVERS: 2.5, CALLERS: 12.0}


def choose_faults(names: Iterable[str], members: int) -> tuple[str, ...]:
    """Return the kinds that *names* mean: kinds, or what they begin with (``kill``, ``network``).

    Raises:
        ValueError: one means nothing.
    """
    chosen: set[str] = set()
    for name in names:
        meant = {kind for kind in FAULTS if kind == name or kind.startswith(f"{name}-")}
        if not meant:
            raise ValueError(f"no fault {name!r}; there are {', '.join(FAULTS)}")
        chosen |= meant
    return tuple(kind for kind in FAULTS if kind in chosen and FAULTS[kind].members <= members)


def make_plan(seed: int, duration_s: float, kinds: Iterable[str]) -> tuple[Fault, ...]:
    """Return the faults of a run, in the order of their time."""
    plan: list[Fault] = []
    by_lane: dict[str, list[str]] = {}
    for kind in kinds:
        by_lane.setdefault(FAULTS[kind].lane, []).append(kind)
    for lane, of_lane in sorted(by_lane.items()):
        plan += _make_lane(random.Random(f"{seed}/{lane}"), duration_s, lane, of_lane)
    return tuple(sorted(plan, key=lambda fault: (fault.at_s, fault.kind)))


def _make_lane(
    choices: random.Random, duration_s: float, lane: str, kinds: list[str]
) -> list[Fault]:
    faults: list[Fault] = []
    deck: list[str] = []
    pause = min(_PAUSES[lane], duration_s / (len(kinds) + 1))
    at_s = choices.uniform(0.5, 1.0) * pause
    while True:
        if not deck:
            again = kinds if not faults else [kind for kind in kinds if not FAULTS[kind].once]
            deck = choices.sample(again, len(again))
        if not deck:
            return faults
        kind = FAULTS[deck[-1]]
        lasts_s = choices.uniform(kind.shortest_s, kind.longest_s)
        if at_s + lasts_s > duration_s:
            return faults
        faults.append(
            Fault(kind=deck.pop(), at_s=at_s, lasts_s=lasts_s, seed=choices.randrange(2**32))
        )
        at_s += lasts_s + choices.uniform(0.3, 1.7) * pause
