"""A discrete-event simulation: thousands of callers against one function with a ceiling.

Owns the event loop and what callers, their transports and AWS Lambda do in it. It imitates the
product's own rules: how commands come together in batches (docs/performance.md), how throttles
lower the number of invokes in flight (`transports.lambda_invoke.admission`), how long a throttled
invoke waits (`transports.lambda_invoke.throttling`); and AWS's: reserved concurrency, cold starts,
ten requests per second and environment, rounding up of what is billed. Knows no prices. Pure: no
clock, no I/O, random numbers from a seed; the same settings give the same outcome.

Not imitated: how fast AWS adds environments (1,000 in ten seconds for each function), one
session's commands in order, commands that are cut short in a batch, a driver that repeats what has
failed.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from odm.cli.cost.concurrency import REQUESTS_PER_ENVIRONMENT_S
from odm.cli.cost.durations import Duration, makespan
from odm.cli.cost.workload import MAX_BATCH, InvalidWorkload, Workload

QUIET_S = 0.0002
"""How long the turns of the event loop take, after which a busy caller's batch is complete."""

MAX_COMMANDS = 5_000_000
"""How many commands may be simulated: minutes of work, and 80 MB of latencies."""

_BACKOFF_BASE_S = 0.02
_BACKOFF_CAP_S = 1.0
_SAMPLES = 240
_PROGRESS_EVERY = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is simulated.

    Attributes:
        workload: the workload, in its busiest hour.
        seconds: for how long commands come.
        seed: of the random numbers.
        batching: whether commands share invokes.
        patience_s: how long a command waits for its turn (``throttleTimeoutMS``); 0 gives up at
            the first throttle.
        rate_limit: whether AWS's limit of requests per second holds; the local Lambda has none.
        idle_s: after how long an idle environment is gone.
        warm: whether the environments for the mean load are there at the beginning.
        sample: draws a command's time on the server in ms instead of the workload's distribution.
        limit: how many invokes a caller has in flight at most, instead of what it learns.
    """

    workload: Workload
    seconds: float = 60.0
    seed: int = 1
    batching: bool = True
    patience_s: float = 10.0
    rate_limit: bool = True
    idle_s: float = 300.0
    warm: bool = True
    sample: Callable[[Random], float] | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        workload = self.workload
        bursts = workload.burst * math.ceil(self.seconds / workload.burst_every_s)
        commands = workload.peak_rate * self.seconds + bursts
        if commands > MAX_COMMANDS:
            fewer = self.seconds * MAX_COMMANDS / commands
            raise InvalidWorkload(
                f"{self.seconds:g} s are about {commands:,.0f} commands, and {MAX_COMMANDS:,} can "
                f"be simulated: take {max(fewer, 0.1):.3g} s"
            )


def _doubles() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Sample:
    """The function at one moment."""

    second: float
    running: int
    environments: int
    connections: int


@dataclass(slots=True)
class Outcome:
    """What happened; filled while the simulation runs, so that a stopped one has a report too.

    Attributes:
        simulated_s: how far it came.
        commands: that arrived.
        failed: that gave up.
        invokes: that ran.
        throttles: that were turned away.
        rate_throttles: of those, by the limit of requests per second.
        cold_starts: among *invokes*.
        billed_ms: of all invokes, rounded up one by one, init phases included.
        duration_ms: of all invokes, init phases included, not rounded.
        latencies_ms: of commands that were answered, in order of their answers.
        waited_ms: between a command's arrival and the invoke that ran it.
        running_s: for how long so many invokes ran at one time.
        peak_connections: at a server.
        samples: the function over time.
        complete: whether it came to its end.
    """

    simulated_s: float = 0.0
    commands: int = 0
    failed: int = 0
    invokes: int = 0
    throttles: int = 0
    rate_throttles: int = 0
    cold_starts: int = 0
    billed_ms: int = 0
    duration_ms: float = 0.0
    latencies_ms: array[float] = field(default_factory=_doubles)
    waited_ms: array[float] = field(default_factory=_doubles)
    running_s: list[float] = field(default_factory=list)
    peak_connections: int = 0
    samples: list[Sample] = field(default_factory=list)
    complete: bool = False

    @property
    def mean_running(self) -> float:
        """How many invokes ran at one time, on average over time."""
        total = sum(self.running_s)
        weighted = sum(count * seconds for count, seconds in enumerate(self.running_s))
        return weighted / total if total else 0.0

    @property
    def commands_per_invoke(self) -> float:
        """On average, of those that were answered."""
        return len(self.latencies_ms) / self.invokes if self.invokes else 0.0

    @property
    def throttles_per_1000(self) -> float:
        """Throttles for each 1,000 commands."""
        return 1000 * self.throttles / self.commands if self.commands else 0.0

    def running_quantile(self, share: float) -> int:
        """Return how many invokes at one time were not exceeded for *share* of the time."""
        wanted, total = share * sum(self.running_s), 0.0
        for count, seconds in enumerate(self.running_s):
            total += seconds
            if total >= wanted:
                return count
        return max(len(self.running_s) - 1, 0)


@dataclass(slots=True)
class _Caller:
    """One instance of the application: its transport's batch and its admission."""

    pending: deque[float] = field(default_factory=deque)  # arrivals of commands
    waiting: deque[_Invoke] = field(default_factory=deque)  # those to be invoked again
    in_flight: int = 0
    limit: float = math.inf
    turn_ends: bool = False  # whether the end of a turn of its event loop is on its way


@dataclass(slots=True)
class _Invoke:
    """One invoke and the commands it carries."""

    caller: _Caller
    arrivals: list[float]
    attempts: int = 0
    environment: _Environment | None = None


@dataclass(slots=True)
class _Environment:
    """One execution environment."""

    connections: int = 0
    idle_since: float = 0.0
    provisioned: bool = False


class Simulation:
    """Runs a simulation.

    Args:
        settings: what to simulate.

    Example::

        simulation = Simulation(Settings(workload=Workload(rate=500, callers=1000)))
        simulation.run()
        simulation.outcome.throttles_per_1000
    """

    def __init__(self, settings: Settings) -> None:
        workload = settings.workload
        self.outcome = Outcome()
        self._settings = settings
        self._workload = workload
        self._random = Random(settings.seed)  # noqa: S311 - reproducible, not secret
        self._server: Duration = workload.server
        self._start_ms = workload.restore_ms if workload.snap_start else workload.init_ms
        self._way_s = workload.round_trip_ms / 2000
        self._callers: dict[int, _Caller] = {}  # those that have sent something
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], object]] = []
        self._sequence = 0
        self._idle: deque[_Environment] = deque()  # the most recently used last
        self._ready: list[_Environment] = []  # provisioned and idle
        self._running = 0
        self._environments = 0
        self._connections = 0
        self._since = 0.0
        self._tokens = self._most_tokens = workload.reserved * REQUESTS_PER_ENVIRONMENT_S
        self._tokens_at = 0.0
        self._next_sample = 0.0
        self._handled = 0

    def run(self, progress: Callable[[float], None] | None = None) -> Outcome:
        """Run it to its end and return the outcome, which grows meanwhile.

        Args:
            progress: called from time to time with the share that is done.
        """
        self._begin()
        events, seconds = self._events, self._settings.seconds
        try:
            while events:
                at, _, handler, subject = heappop(events)
                self._now = at
                if at >= self._next_sample:
                    self._take_samples()
                handler(subject)
                self._handled += 1
                if progress is not None and self._handled % _PROGRESS_EVERY == 0:
                    progress(min(at / seconds, 1.0))
            self.outcome.complete = True
        finally:
            self._account()
            self.outcome.simulated_s = self._now
        return self.outcome

    def _begin(self) -> None:
        workload = self._workload
        for _ in range(workload.provisioned):
            self._ready.append(_Environment(provisioned=True))
        self._environments = workload.provisioned
        if self._settings.warm:
            each = workload.duration_ms(1) / 1000
            per_invoke = min(workload.gather, MAX_BATCH) if self._settings.batching else 1
            mean = math.ceil(workload.peak_rate / per_invoke * each)
            for _ in range(min(mean, workload.reserved) - workload.provisioned):
                self._idle.append(_Environment(connections=2))
                self._environments += 1
                self._connections += 2
        if workload.peak_rate > 0:
            self._at(self._gap(), self._gather_arrives, None)
        if workload.burst:
            self._at(workload.burst_every_s / 2, self._burst_arrives, None)

    def _at(self, when: float, handler: Callable[..., None], subject: object) -> None:
        self._sequence += 1
        heappush(self._events, (when, self._sequence, handler, subject))

    # --- the application ---

    def _gap(self) -> float:
        return self._random.expovariate(self._workload.peak_rate / self._workload.gather)

    def _gather_arrives(self, _: object) -> None:
        caller = self._caller(int(self._random.random() * self._workload.callers))
        for _ in range(self._workload.gather):
            self._command_arrives(caller)
        following = self._now + self._gap()
        if following < self._settings.seconds:
            self._at(following, self._gather_arrives, None)

    def _burst_arrives(self, _: object) -> None:
        for number in range(self._workload.burst):
            self._command_arrives(self._caller(number % self._workload.callers))
        following = self._now + self._workload.burst_every_s
        if following < self._settings.seconds:
            self._at(following, self._burst_arrives, None)

    def _caller(self, number: int) -> _Caller:
        caller = self._callers.get(number)
        if caller is None:
            limit = self._settings.limit
            caller = self._callers[number] = _Caller(limit=math.inf if limit is None else limit)
        return caller

    # --- a caller's transport ---

    def _command_arrives(self, caller: _Caller) -> None:
        self.outcome.commands += 1
        caller.pending.append(self._now)
        if not self._settings.batching:
            self._send(caller)
        elif not caller.turn_ends:
            caller.turn_ends = True
            # A command of a quiet caller waits for this turn only.
            self._at(self._now + QUIET_S * (caller.in_flight > 0), self._turn_ends, caller)

    def _turn_ends(self, caller: _Caller) -> None:
        caller.turn_ends = False
        self._send(caller)

    def _send(self, caller: _Caller) -> None:
        """Invoke with what waits, as far as the caller's limit allows; the repeated ones first."""
        while caller.in_flight + 1 <= caller.limit:
            if caller.waiting:
                invoke = caller.waiting.popleft()
            elif caller.pending:
                size = min(len(caller.pending), MAX_BATCH) if self._settings.batching else 1
                invoke = _Invoke(caller, [caller.pending.popleft() for _ in range(size)])
            else:
                return
            if self._gave_up(invoke):
                continue
            caller.in_flight += 1
            self._at(self._now + self._way_s, self._reaches_lambda, invoke)

    def _gave_up(self, invoke: _Invoke) -> bool:
        """Take out the commands whose patience is at its end; return whether none is left."""
        earliest = self._now - self._settings.patience_s
        kept = [arrival for arrival in invoke.arrivals if arrival >= earliest]
        self.outcome.failed += len(invoke.arrivals) - len(kept)
        invoke.arrivals = kept
        return not kept

    def _throttled(self, invoke: _Invoke) -> None:
        caller = invoke.caller
        if self._settings.limit is None:
            caller.limit = max(1, caller.in_flight - 1)
        caller.in_flight -= 1
        delay = self._random.uniform(0, min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2**invoke.attempts))
        invoke.attempts += 1
        latest = self._now + delay - self._settings.patience_s
        kept = [arrival for arrival in invoke.arrivals if arrival >= latest]
        self.outcome.failed += len(invoke.arrivals) - len(kept)
        invoke.arrivals = kept
        if kept:
            self._at(self._now + delay, self._again, invoke)
        self._send(caller)

    def _again(self, invoke: _Invoke) -> None:
        invoke.caller.waiting.appendleft(invoke)
        self._send(invoke.caller)

    def _answered(self, invoke: _Invoke) -> None:
        caller, outcome = invoke.caller, self.outcome
        for arrival in invoke.arrivals:
            outcome.latencies_ms.append((self._now - arrival) * 1000)
        if caller.limit != math.inf and self._settings.limit is None:
            caller.limit += 1 / caller.limit
        caller.in_flight -= 1
        # What collects while a turn lasts goes at its end; what waited for a place goes now.
        if caller.waiting or not caller.turn_ends:
            self._send(caller)

    # --- AWS Lambda ---

    def _reaches_lambda(self, invoke: _Invoke) -> None:
        if self._running >= self._workload.reserved or not self._within_rate():
            self.outcome.throttles += 1
            self._at(self._now + self._way_s, self._throttled, invoke)
            return
        self._account()
        self._running += 1
        environment, is_cold = self._environment()
        invoke.environment = environment
        duration_ms = self._duration_ms(len(invoke.arrivals))
        at_a_time = min(len(invoke.arrivals), self._workload.pool)
        self._connect(environment, at_a_time + 1)  # and the monitor's
        outcome = self.outcome
        outcome.invokes += 1
        outcome.cold_starts += is_cold
        for arrival in invoke.arrivals:
            outcome.waited_ms.append((self._now - self._way_s - arrival) * 1000)
        billed_ms = math.ceil(duration_ms)
        if is_cold:
            billed_ms = math.ceil(duration_ms + self._start_ms)
            duration_ms += self._start_ms
        outcome.billed_ms += billed_ms
        outcome.duration_ms += duration_ms
        self._at(self._now + duration_ms / 1000, self._done, invoke)

    def _done(self, invoke: _Invoke) -> None:
        self._account()
        self._running -= 1
        environment = invoke.environment
        assert environment is not None
        if environment.provisioned:
            self._ready.append(environment)
        else:
            environment.idle_since = self._now
            self._idle.append(environment)
        self._at(self._now + self._way_s, self._answered, invoke)

    def _within_rate(self) -> bool:
        """Take one of the tokens that come at ten a second and environment, if there is one."""
        if not self._settings.rate_limit:
            return True
        refill = (self._now - self._tokens_at) * self._most_tokens
        self._tokens = min(self._tokens + refill, self._most_tokens)
        self._tokens_at = self._now
        if self._tokens < 1:
            self.outcome.rate_throttles += 1
            return False
        self._tokens -= 1
        return True

    def _environment(self) -> tuple[_Environment, bool]:
        """Return an environment, and whether it is new: the one used last, as AWS chooses."""
        while self._idle and self._idle[0].idle_since < self._now - self._settings.idle_s:
            gone = self._idle.popleft()
            self._environments -= 1
            self._connections -= gone.connections
        if self._ready:
            return self._ready.pop(), False
        if self._idle:
            return self._idle.pop(), False
        self._environments += 1
        return _Environment(), True

    def _connect(self, environment: _Environment, connections: int) -> None:
        if connections > environment.connections:
            self._connections += connections - environment.connections
            environment.connections = connections
            self.outcome.peak_connections = max(self.outcome.peak_connections, self._connections)

    def _duration_ms(self, commands: int) -> float:
        draw, workload = self._settings.sample or self._server.sample, self._workload
        if commands == 1:
            return workload.overhead_ms + workload.network_ms + draw(self._random)
        durations = [draw(self._random) for _ in range(commands)]
        return workload.overhead_ms + makespan(durations, workload.network_ms, workload.pool)

    # --- what is told of it ---

    def _account(self) -> None:
        """Add the time since the last change to the number of invokes that were running."""
        running_s = self.outcome.running_s
        while len(running_s) <= self._running:
            running_s.append(0.0)
        running_s[self._running] += self._now - self._since
        self._since = self._now

    def _take_samples(self) -> None:
        step = max(self._settings.seconds / _SAMPLES, 1e-6)
        while self._next_sample <= self._now:
            self.outcome.samples.append(
                Sample(self._next_sample, self._running, self._environments, self._connections)
            )
            self._next_sample += step
