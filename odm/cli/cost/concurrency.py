"""How many invocations run at a time, and how often there is no place for one. Pure functions.

Little's law gives the mean: arrivals per second times seconds each. Where arrivals are Poisson and
nothing is turned away (M/G/∞) the number at a time is Poisson too, whatever the distribution of
the durations. Against a ceiling, the share turned away is Erlang's B (M/G/c/c), insensitive as
well. If callers wait instead, as they do behind an admission limit, Erlang's C says how many wait
and for how long, for exponential durations.

Commands that are sent together arrive together: their number at a time varies more than a Poisson
number. By how much is the *peakedness*, variance over mean; Hayward's approximation divides load
and ceiling by it.

Sources: J. D. C. Little, A Proof for the Queuing Formula L = λW (1961); A. A. Fredericks,
Congestion in Blocking Systems: A Simple Approximation Technique (1980), for Hayward's
approximation; https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html, which gives
Little's law as the formula for a function's concurrency.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

REQUESTS_PER_ENVIRONMENT_S = 10.0
"""Each execution environment may serve so many synchronous requests per second, however short they
are: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""

_MAX_CEILING = 100_000


def poisson(mean: float, count: int) -> float:
    """Return the probability of exactly *count* where *mean* are expected."""
    if mean <= 0:
        return 1.0 if count == 0 else 0.0
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))


def poisson_quantile(mean: float, share: float) -> int:
    """Return the least number that is not exceeded with a probability of *share*."""
    if not 0 < share < 1:
        raise ValueError(f"a share is between 0 and 1, not {share}")
    count = max(0, int(mean - 12 * math.sqrt(mean) - 12))  # below is less than 1e-30
    total = 0.0
    while True:
        total += poisson(mean, count)
        if total >= share or count > mean + 60 * math.sqrt(mean) + 60:
            return count
        count += 1


def erlang_b(ceiling: int, load: float) -> float:
    """Return the share of arrivals that find all of *ceiling* places taken and go away.

    Args:
        ceiling: places.
        load: arrivals per second times seconds each, in erlangs.
    """
    if load <= 0:
        return 0.0
    blocked = 1.0
    for places in range(1, ceiling + 1):
        blocked = load * blocked / (places + load * blocked)
    return blocked


def erlang_c(ceiling: int, load: float) -> float:
    """Return the share of arrivals that have to wait, where they do; 1 under too much load."""
    if load >= ceiling:
        return 1.0
    blocked = erlang_b(ceiling, load)
    return blocked / (1 - load / ceiling * (1 - blocked))


def mean_wait(ceiling: int, load: float, duration_ms: float) -> float:
    """Return how long an arrival waits on average, in ms; infinite where the load is too much."""
    if load >= ceiling:
        return math.inf
    return erlang_c(ceiling, load) * duration_ms / (ceiling - load)


def peakedness(together: float, overlap: float) -> float:
    """Return variance over mean of the number at a time where *together* arrive at once.

    Args:
        together: how many arrive at once.
        overlap: `Duration.overlap`: for how much of their time two of them run together.
    """
    return 1 + (together - 1) * overlap


def turned_away(ceiling: float, load: float, peak: float = 1.0) -> float:
    """Return the share of arrivals that find no place, by Hayward for a *peak* above 1."""
    places, erlangs = ceiling / peak, load / peak
    below = math.floor(places)
    less = erlang_b(below, erlangs)
    if places == below or less <= 0:
        return less
    more = erlang_b(below + 1, erlangs)
    if more <= 0:
        return less
    # Between whole numbers of places Erlang's B falls about geometrically.
    return math.exp(math.log(less) + (math.log(more) - math.log(less)) * (places - below))


def needed(load: float, target: float, peak: float = 1.0) -> int:
    """Return the least ceiling at which no larger share than *target* is turned away.

    Raises:
        ValueError: no ceiling that AWS grants is enough.
    """
    low, high = 0, max(8, math.ceil(load + 20 * math.sqrt(load * peak) + 20 * peak))
    if high > _MAX_CEILING:
        raise ValueError(f"{load:,.0f} invocations at a time are more than one function can have")
    while turned_away(high, load, peak) > target:
        high *= 2
    while low + 1 < high:
        middle = (low + high) // 2
        if turned_away(middle, load, peak) > target:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """What a stream of invocations needs, and what it meets under a ceiling.

    Attributes:
        invokes_per_s: in the busiest hour.
        duration_ms: of one, on average; cold starts included.
        mean: at a time, by Little's law.
        p50, p95, p99, p999: not exceeded at so much of the time.
        peakedness: variance over mean; 1 for single commands.
        reserved: the ceiling.
        throttled: the share of invokes turned away at once at that ceiling, before repetitions.
        waiting: the share that waits where callers wait for their turn (Erlang's C).
        wait_ms: how long an invoke waits then, on average; None without end.
        needed: the ceiling at which *target* is kept.
        needed_for_rate: the ceiling that AWS's limit of requests per second asks for.
        target: the share that may be turned away.
    """

    invokes_per_s: float
    duration_ms: float
    mean: float
    p50: int
    p95: int
    p99: int
    p999: int
    peakedness: float
    reserved: int
    throttled: float
    waiting: float
    wait_ms: float | None
    needed: int
    needed_for_rate: int
    target: float

    @property
    def fits(self) -> bool:
        """Whether the reserved concurrency is enough for the load and for its rate."""
        return self.throttled <= self.target and self.needed_for_rate <= self.reserved

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        } | {"fits": self.fits}


def concurrency(
    *,
    invokes_per_s: float,
    duration_ms: float,
    together: float,
    overlap: float,
    reserved: int,
    target: float,
) -> Concurrency:
    """Return what a stream of invocations needs.

    Args:
        invokes_per_s: invocations per second.
        duration_ms: of one, on average.
        together: how many arrive at once.
        overlap: for how much of their time those run together.
        reserved: the ceiling.
        target: the share that may be turned away.
    """
    load = invokes_per_s * duration_ms / 1000
    peak = peakedness(together, overlap)

    def quantile(share: float) -> int:
        return math.ceil(peak * poisson_quantile(load / peak, share) - 1e-9)

    wait = mean_wait(reserved, load, duration_ms)
    return Concurrency(
        invokes_per_s=invokes_per_s,
        duration_ms=duration_ms,
        mean=load,
        p50=quantile(0.5),
        p95=quantile(0.95),
        p99=quantile(0.99),
        p999=quantile(0.999),
        peakedness=peak,
        reserved=reserved,
        throttled=turned_away(reserved, load, peak),
        waiting=erlang_c(reserved, load),
        wait_ms=None if math.isinf(wait) else wait,
        needed=needed(load, target, peak),
        needed_for_rate=math.ceil(invokes_per_s / REQUESTS_PER_ENVIRONMENT_S - 1e-9),
        target=target,
    )
