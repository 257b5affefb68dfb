"""What an application asks of its database, and what the function in between is like.

A workload is told by options, by a JSON or TOML file whose keys are the fields below, or by what
was measured (`odm.cli.cost.measured`). Nothing here knows prices.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from odm.cli.cost.durations import Duration, mean_billed, mean_makespan
from odm.cli.cost.prices import ARCHITECTURES

MONTH_S = 730 * 3600.0
"""A month: a twelfth of 8,760 hours, as AWS's own calculator counts."""

PROFILES = {
    "flat": (1.0,) * 24,
    "office": (
        *(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 8.0, 16.0, 22.0, 24.0, 23.0),
        *(19.0, 21.0, 23.0, 22.0, 19.0, 13.0, 8.0, 5.0, 4.0, 3.0, 2.0, 1.0),
    ),
    "evening": (
        *(5.0, 3.0, 2.0, 1.0, 1.0, 2.0, 4.0, 7.0, 9.0, 9.0, 9.0, 10.0),
        *(11.0, 10.0, 9.0, 9.0, 11.0, 14.0, 18.0, 22.0, 24.0, 22.0, 16.0, 9.0),
    ),
}
"""How a day's load is spread over its hours; only the ratios matter."""

MAX_BATCH = 100
"""How many commands share one invoke at most."""

CALLERS_THROUGH = ("public", "nat_gateway", "vpc_endpoint")
"""How callers reach AWS Lambda: not from a VPC, through a NAT gateway, an interface endpoint."""

_MEMORY_MB = (128, 10_240)
_LARGEST_DELAY_MS = 900_000.0


class InvalidWorkload(ValueError):
    """A workload makes no sense; the message says which field, and what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A workload. Durations are milliseconds, sizes bytes, rates per second.

    Attributes:
        rate: commands per second, as a mean over the day, without bursts.
        profile: the weight of each hour of the day.
        burst: commands that all come at once, on top, spread evenly over the callers.
        burst_every_s: how often.
        gather: how many commands a caller sends at once (``asyncio.gather``, a page).
        callers: instances of the application that run at one time.
        caller_pool: connections each may open to a server without the proxy (``maxPoolSize``).
        caller_memory_mb: the callers' memory if they are Lambda functions and pay while they
            wait; 0 if not.
        server_ms: one command on the server.
        network_ms: one round trip between the function and the server.
        spread: the standard deviation of *server_ms*, divided by its mean.
        overhead_ms: the function's own time for an invocation, the runtime's included.
        round_trip_ms: caller to function and back, which the function is not billed for.
        bytes_in, bytes_out: of a command, to the server and back.
        commands_per_invoke: as measured; 0 to derive it from *gather*.
        billed_ms_per_invoke: as measured; 0 to derive it.
        cold_start_share: of invocations, as measured; negative to derive it from
            *environment_life_s*.
        init_ms: a cold start's init phase.
        restore_ms: the same from a SnapStart snapshot.
        environment_life_s: how long an execution environment lives.
        memory_mb: the function's memory.
        architecture: ``x86_64`` or ``arm64``.
        reserved: its reserved concurrency.
        pool: its ``ODM_PROXY_MAX_POOL_SIZE``.
        provisioned: provisioned concurrency.
        snap_start: whether environments are restored from a snapshot.
        servers: members of the replica set.
        between_zones: the share of bytes between function and server that cross an Availability
            Zone.
        callers_through: how callers reach AWS Lambda: one of `CALLERS_THROUGH`.
    """

    rate: float = 100.0
    profile: tuple[float, ...] = PROFILES["flat"]
    burst: int = 0
    burst_every_s: float = 60.0
    gather: int = 1
    callers: int = 100
    caller_pool: int = 100
    caller_memory_mb: int = 0
    server_ms: float = 1.0
    network_ms: float = 1.0
    spread: float = 0.5
    overhead_ms: float = 1.0
    round_trip_ms: float = 5.0
    bytes_in: float = 300.0
    bytes_out: float = 1_000.0
    commands_per_invoke: float = 0.0
    billed_ms_per_invoke: float = 0.0
    cold_start_share: float = -1.0
    init_ms: float = 400.0
    restore_ms: float = 200.0
    environment_life_s: float = 7_200.0
    memory_mb: int = 256
    architecture: str = "x86_64"
    reserved: int = 15
    pool: int = 4
    provisioned: int = 0
    snap_start: bool = False
    servers: int = 3
    between_zones: float = 0.67
    callers_through: str = "public"

    def __post_init__(self) -> None:
        for name in ("server_ms", "network_ms", "overhead_ms", "round_trip_ms", "init_ms"):
            _between(self, name, 0, _LARGEST_DELAY_MS)
        for name in ("bytes_in", "bytes_out", "caller_memory_mb", "provisioned"):
            _between(self, name, 0, 1e12)
        _between(self, "burst", 0, 1_000_000)
        for name in ("gather", "callers", "caller_pool", "reserved", "pool", "servers"):
            _between(self, name, 1, 1_000_000)
        _between(self, "rate", 0, 1e9)
        _between(self, "restore_ms", 0, _LARGEST_DELAY_MS)
        _between(self, "burst_every_s", 1e-3, MONTH_S)
        _between(self, "environment_life_s", 1, MONTH_S)
        _between(self, "spread", 0, 20)
        _between(self, "between_zones", 0, 1)
        _between(self, "cold_start_share", -1, 1)
        _between(self, "memory_mb", *_MEMORY_MB)
        if self.rate == 0 and self.burst == 0:
            raise InvalidWorkload("rate is 0 and there is no burst: nothing is asked for")
        if self.server_ms + self.network_ms + self.overhead_ms == 0:
            raise InvalidWorkload("server_ms, network_ms and overhead_ms are 0: it takes no time")
        if self.architecture not in ARCHITECTURES:
            raise InvalidWorkload(
                f"architecture {self.architecture!r}: write {' or '.join(ARCHITECTURES)}"
            )
        if self.callers_through not in CALLERS_THROUGH:
            raise InvalidWorkload(
                f"callers_through {self.callers_through!r}: write {', '.join(CALLERS_THROUGH)}"
            )
        if len(self.profile) != 24 or min(self.profile) < 0 or not sum(self.profile):
            raise InvalidWorkload(
                f"profile: {len(self.profile)} weights; write 24, one an hour, none of them "
                f"negative and not all 0, or one of {', '.join(PROFILES)}"
            )
        if self.commands_per_invoke and self.commands_per_invoke < 1:
            raise InvalidWorkload("commands_per_invoke is less than 1: an invoke carries one")
        if self.provisioned > self.reserved:
            raise InvalidWorkload(
                f"provisioned {self.provisioned} is more than the reserved concurrency, "
                f"{self.reserved}: AWS refuses that"
            )
        if self.provisioned and self.snap_start:
            raise InvalidWorkload("snap_start and provisioned: AWS allows one of them")

    @property
    def mean_rate(self) -> float:
        """Commands per second over a day, bursts included."""
        return self.rate + self.burst / self.burst_every_s * (self.burst > 0)

    @property
    def commands_per_month(self) -> float:
        """Commands in `MONTH_S`."""
        return self.mean_rate * MONTH_S

    @property
    def hourly_rates(self) -> tuple[float, ...]:
        """Commands per second in each hour of the day, without bursts."""
        mean = sum(self.profile) / len(self.profile)
        return tuple(self.rate * weight / mean for weight in self.profile)

    @property
    def peak_rate(self) -> float:
        """Commands per second in the busiest hour, without bursts."""
        return max(self.hourly_rates)

    @property
    def server(self) -> Duration:
        """How long one command takes on the server."""
        return Duration(self.server_ms, self.spread)

    @property
    def overlap(self) -> float:
        """Of two invocations of one command that began together, how much they overlap."""
        constant_ms = self.overhead_ms + self.network_ms
        varying_ms = self.server_ms * self.server.overlap
        return (constant_ms + varying_ms) / (constant_ms + self.server_ms)

    def invokes_of_gather(self, *, batching: bool) -> list[int]:
        """Return how many commands each invoke of one gather carries.

        What comes in one turn of the caller's event loop goes together.
        """
        return _batches(self.gather) if batching else [1] * self.gather

    def invokes_of_burst(self, *, batching: bool) -> list[int]:
        """Return how many commands each invoke of one burst carries, over all callers."""
        if not batching:
            return [1] * self.burst
        each, more = divmod(self.burst, self.callers)
        fewer = self.callers - more if each else 0
        return _batches(each) * fewer + _batches(each + 1) * more

    def duration_ms(self, size: int) -> float:
        """Return how long an invocation of *size* commands takes in the function, on average."""
        together = mean_makespan(self.server, self.network_ms, size, self.pool)
        return self.overhead_ms + together

    def billed_ms(self, size: int) -> float:
        """Return what is billed on average for *size* commands, cold starts apart."""
        return mean_billed(self.server, self.network_ms, size, self.pool, self.overhead_ms)

    def document(self) -> dict[str, Any]:
        """Return it for JSON; the same keys are read from a file."""
        return asdict(self) | {"profile": list(self.profile)}


def _batches(commands: int) -> list[int]:
    """Return the batches that so many commands of one caller make, all at once."""
    full, rest = divmod(commands, MAX_BATCH)
    return [MAX_BATCH] * full + [rest] * (rest > 0)


def _between(workload: Workload, name: str, low: float, high: float) -> None:
    value = getattr(workload, name)
    if not low <= value <= high:
        raise InvalidWorkload(f"{name} is {value:g}: it is between {low:g} and {high:.10g}")


def parse_profile(text: str) -> tuple[float, ...]:
    """Return the profile that a word or 24 numbers name.

    Raises:
        InvalidWorkload: it is neither.
    """
    if text in PROFILES:
        return PROFILES[text]
    try:
        return tuple(float(each) for each in text.split(","))
    except ValueError:
        raise InvalidWorkload(
            f"profile {text!r}: write one of {', '.join(PROFILES)}, or 24 numbers with commas"
        ) from None


def parse_burst(text: str) -> dict[str, float]:
    """Return the fields that ``200@60`` (commands, every so many seconds) stands for.

    Raises:
        InvalidWorkload: it is not of that form.
    """
    size, _, every = text.partition("@")
    try:
        return {"burst": int(size), "burst_every_s": float(every)}
    except ValueError:
        raise InvalidWorkload(
            f"burst {text!r}: write how many commands and every how many seconds, e.g. 200@60"
        ) from None


def read_workload(path: Path) -> dict[str, Any]:
    """Return the fields that a JSON or TOML file gives.

    Raises:
        InvalidWorkload: it cannot be read, or has a field that there is not.
    """
    try:
        text = path.read_text(encoding="utf-8")
        given = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise InvalidWorkload(f"{path}: {what}") from error
    if not isinstance(given, dict):
        raise InvalidWorkload(f"{path}: not an object of fields but a {type(given).__name__}")
    return {name: _value(path, name, value) for name, value in given.items()}


def make_workload(*given: Mapping[str, Any]) -> Workload:
    """Return the workload of these fields; later ones win.

    Raises:
        InvalidWorkload: a value makes no sense.
    """
    merged: dict[str, Any] = {}
    for each in given:
        merged.update(each)
    return Workload(**merged)


def _value(path: Path, name: str, value: Any) -> Any:
    types = get_type_hints(Workload)
    if name not in types:
        known = ", ".join(field.name for field in fields(Workload))
        raise InvalidWorkload(f"{path}: no field {name!r}: there are {known}")
    if name == "profile":
        if isinstance(value, str):
            return parse_profile(value)
        if isinstance(value, list) and all(_is_number(each) for each in value):
            return tuple(float(each) for each in value)
        raise InvalidWorkload(f"{path}: profile: a list of 24 numbers, or {', '.join(PROFILES)}")
    wanted = types[name]
    if wanted is float and _is_number(value):
        return float(value)
    if type(value) is wanted:
        return value
    raise InvalidWorkload(f"{path}: {name} is {value!r}: it is to be of type {wanted.__name__}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
