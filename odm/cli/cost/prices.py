"""What AWS and MongoDB Atlas charge: data with a date and a source, and the arithmetic of a bill.

``prices.json`` beside this module holds the prices; ``--prices FILE`` replaces them by another file
of the same form::

    {"currency": "USD",
     "sources": {"lambda": {"url": "https://…", "as_of": "2026-09-19", "note": "…"}},
     "tiers": {"source": "…", "x86_64": [[6e9, 0.9], [15e9, 0.8]], "arm64": […]},
     "free_tier": {"source": "…", "requests": 1000000, "gb_seconds": 400000},
     "prices": [{"region": "us-east-1", "item": "duration", "architecture": "x86_64",
                 "usd": "0.0000166667", "unit": "GB-second", "source": "lambda"}, …],
     "clusters": [{"name": "M30", "connections": 3000, "limit_source": "…",
                   "usd_per_hour": "0.54", "source": "…"}, …]}

A price that is not there is not invented: its line of the bill says so and its sum is not counted.
Items are named in `ITEMS`. Specification: https://aws.amazon.com/lambda/pricing/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARCHITECTURES = ("x86_64", "arm64")

ITEMS = {
    "request": "one invocation",
    "duration": "on demand, per GB-second, by architecture",
    "provisioned": "provisioned concurrency kept ready, per GB-second, by architecture",
    "provisioned_duration": "invocations on provisioned concurrency, per GB-second, likewise",
    "snapshot_cached": "SnapStart: a version's snapshot kept, per GB-second",
    "snapshot_restored": "SnapStart: memory restored, per GB",
    "between_zones": "data between Availability Zones, per GB and direction",
    "nat_gateway": "data through a NAT gateway, per GB",
    "vpc_endpoint": "data through an interface endpoint, per GB",
    "vpc_endpoint_hour": "an interface endpoint in one Availability Zone, per hour",
}

_BUILT_IN = Path(__file__).with_name("prices.json")


class InvalidPrices(ValueError):
    """A file of prices is not of the form that is documented above; the message says where."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a price is from."""

    url: str
    as_of: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """A price in US dollars per unit."""

    usd: float
    unit: str
    source: Source


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster tier: how many connections a node takes, and its price where it is known."""

    name: str
    connections: int
    usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is billed, in a month.

    Attributes:
        requests: invocations.
        gb_seconds: duration on demand.
        provisioned_gb_seconds: provisioned concurrency, used or not.
        provisioned_duration_gb_seconds: duration on provisioned concurrency.
        snapshot_gb_seconds: SnapStart's snapshots kept.
        restored_gb: SnapStart's memory restored.
        other: further items by name of `ITEMS`, and how much of each.
    """

    requests: float
    gb_seconds: float
    provisioned_gb_seconds: float = 0.0
    provisioned_duration_gb_seconds: float = 0.0
    snapshot_gb_seconds: float = 0.0
    restored_gb: float = 0.0
    other: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a bill: *billed* of *quantity* at *price*; without a price, ``usd`` is None."""

    item: str
    quantity: float
    billed: float
    price: Price | None
    usd: float | None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "item": self.item,
            "quantity": round(self.quantity, 3),
            "billed": round(self.billed, 3),
            "unit": self.price.unit if self.price else None,
            "usd_per_unit": self.price.usd if self.price else None,
            "usd": None if self.usd is None else round(self.usd, 4),
        }


@dataclass(frozen=True, slots=True)
class Bill:
    """The lines of a month."""

    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """The sum of what has a price."""
        return sum(line.usd for line in self.lines if line.usd is not None)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The items that would cost something, whose price is not known."""
        return tuple(line.item for line in self.lines if line.usd is None)

    def of(self, *items: str) -> float:
        """Return the sum of these items."""
        return sum(line.usd or 0.0 for line in self.lines if line.item in items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """A set of prices.

    Attributes:
        rows: by item, region and architecture (``""`` where it makes no difference).
        tiers: by architecture, from how many GB-seconds a month on which factor holds.
        free_requests, free_gb_seconds: the free tier of a month.
        clusters: the smallest first.
        tier_source, free_source: where those are from.
    """

    rows: Mapping[tuple[str, str, str], Price]
    tiers: Mapping[str, tuple[tuple[float, float], ...]]
    free_requests: float
    free_gb_seconds: float
    clusters: tuple[Cluster, ...]
    tier_source: Source
    free_source: Source

    @property
    def regions(self) -> list[str]:
        """The regions that have a price for requests."""
        return sorted({region for item, region, _ in self.rows if item == "request"})

    def get(self, item: str, region: str, architecture: str = "") -> Price | None:
        """Return a price, None if it is not known."""
        by_architecture = self.rows.get((item, region, architecture))
        return by_architecture or self.rows.get((item, region, ""))

    def bill(self, usage: Usage, region: str, architecture: str, *, free_tier: bool) -> Bill:
        """Return what *usage* costs in a month.

        Args:
            usage: what was used.
            region: where.
            architecture: ``x86_64`` or ``arm64``.
            free_tier: whether this function has the account's free tier to itself.
        """
        free_requests = self.free_requests if free_tier else 0.0
        free_gb_seconds = self.free_gb_seconds if free_tier else 0.0
        lines = [
            self._line("request", usage.requests, region, architecture, free_requests),
            self._duration(usage.gb_seconds, region, architecture, free_gb_seconds),
        ]
        for item, quantity in (
            ("provisioned", usage.provisioned_gb_seconds),
            ("provisioned_duration", usage.provisioned_duration_gb_seconds),
            ("snapshot_cached", usage.snapshot_gb_seconds),
            ("snapshot_restored", usage.restored_gb),
            *usage.other.items(),
        ):
            if quantity > 0:
                lines.append(self._line(item, quantity, region, architecture))
        return Bill(tuple(lines))

    def _line(
        self, item: str, quantity: float, region: str, architecture: str, free: float = 0.0
    ) -> Line:
        price = self.get(item, region, architecture)
        billed = max(quantity - free, 0.0)
        return Line(item, quantity, billed, price, billed * price.usd if price else None)

    def _duration(self, quantity: float, region: str, architecture: str, free: float) -> Line:
        line = self._line("duration", quantity, region, architecture, free)
        if line.price is None:
            return line
        tiers = [(0.0, 1.0), *self.tiers.get(architecture, ())]
        ends = [start for start, _ in tiers[1:]] + [float("inf")]
        usd = sum(
            max(min(line.billed, end) - start, 0.0) * factor * line.price.usd
            for (start, factor), end in zip(tiers, ends, strict=True)
        )
        return Line(line.item, line.quantity, line.billed, line.price, usd)


def load_prices(path: Path | None = None) -> Prices:
    """Return the prices of a file; without one, those that come with the command.

    Raises:
        InvalidPrices: the file cannot be read or is not of that form.
    """
    path = path or _BUILT_IN
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidPrices(f"{path}: {error}") from error
    try:
        return _prices(document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidPrices(f"{path}: not a file of prices: {what}") from error


def _prices(document: Mapping[str, Any]) -> Prices:
    sources = {
        name: Source(str(each["url"]), str(each["as_of"]), str(each.get("note", "")))
        for name, each in document["sources"].items()
    }
    return Prices(
        rows=dict(_rows(document["prices"], sources)),
        tiers={
            name: tuple((float(start), float(factor)) for start, factor in document["tiers"][name])
            for name in ARCHITECTURES
        },
        free_requests=float(document["free_tier"]["requests"]),
        free_gb_seconds=float(document["free_tier"]["gb_seconds"]),
        clusters=tuple(
            sorted(
                (
                    Cluster(
                        str(each["name"]),
                        int(each["connections"]),
                        float(each["usd_per_hour"]) if "usd_per_hour" in each else None,
                    )
                    for each in document.get("clusters", ())
                ),
                key=lambda cluster: cluster.connections,
            )
        ),
        tier_source=sources[document["tiers"]["source"]],
        free_source=sources[document["free_tier"]["source"]],
    )


def _rows(
    rows: Iterable[Mapping[str, Any]], sources: Mapping[str, Source]
) -> Iterable[tuple[tuple[str, str, str], Price]]:
    for row in rows:
        if row["item"] not in ITEMS:
            raise ValueError(f"no item {row['item']!r}: there are {', '.join(ITEMS)}")
        key = (row["item"], row["region"], row.get("architecture", ""))
        yield key, Price(float(row["usd"]), str(row["unit"]), sources[row["source"]])
