"""The fake against a real server on this machine, under one and the same client.

    python -m benchmarks.fake [--rounds 15] [--json FILE]

Both are asked in turn within each round, so that whatever else the machine does falls on both; the
table shows medians, the spread between the quartiles, and the ratio fake : server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from transports.base import Transport
from transports.registry import open_transport

DOCUMENTS = 10_000
Collection = AsyncCollection[dict[str, Any]]
Workload = Callable[[Collection], Awaitable[object]]


@dataclass(frozen=True)
class Case:
    """One workload: what it is called, how often it runs in a sample, and what it does."""

    name: str
    repeat: int
    run: Workload


async def _insert(collection: Collection) -> None:
    await collection.insert_one({"n": -1, "group": "new"})


async def _update(collection: Collection) -> None:
    await collection.update_one({"_id": 77}, {"$inc": {"count": 1}})


async def _group(collection: Collection) -> None:
    pipeline = [{"$group": {"_id": "$group", "sum": {"$sum": "$n"}, "count": {"$sum": 1}}}]
    await (await collection.aggregate(pipeline)).to_list()


async def _page(collection: Collection) -> None:
    await collection.find({"group": "g7"}).sort("n", -1).limit(20).to_list()


CASES = (
    Case("find_one by _id", 100, lambda c: c.find_one({"_id": 5_000})),
    Case("find_one by an indexed field", 100, lambda c: c.find_one({"n": 5_000})),
    Case("insert_one", 100, _insert),
    Case("update_one by _id", 100, _update),
    Case(
        "find by an indexed field, 100 of 10,000", 20, lambda c: c.find({"group": "g7"}).to_list()
    ),
    Case("the same, sorted, a page of 20", 20, _page),
    Case(
        "find by a range of an index, 100", 20, lambda c: c.find({"n": {"$gte": 9_900}}).to_list()
    ),
    Case("find without an index, 1 of 10,000", 1, lambda c: c.find({"text": "t 77"}).to_list()),
    Case("find all 10,000", 1, lambda c: c.find().to_list()),
    Case("count_documents without an index", 1, lambda c: c.count_documents({"text": "t 77"})),
    Case("$group over 10,000", 1, _group),
    Case("update_many, 10,000", 1, lambda c: c.update_many({}, {"$inc": {"count": 1}})),
)


async def _prepare(transport: Transport) -> Collection:
    collection = transport.client["bench"]["things"]
    await collection.create_index("n")
    await collection.create_index("group")
    await collection.insert_many(
        [
            {
                "_id": n,
                "n": n,
                "group": f"g{n % 100}",
                "text": f"t {n}",
                "tags": ["a", "b"],
                "count": 0,
            }
            for n in range(DOCUMENTS)
        ]
    )
    return collection


async def _sample(case: Case, collection: Collection) -> float:
    started = time.perf_counter()
    for _ in range(case.repeat):
        await case.run(collection)
    return (time.perf_counter() - started) / case.repeat * 1000


async def _measure(rounds: int) -> list[dict[str, Any]]:
    rows = []
    async with (
        open_transport("fake:///bench") as fake,
        open_transport("embedded:///bench") as server,
    ):
        sides = {"fake": await _prepare(fake), "server": await _prepare(server)}
        for number, case in enumerate(CASES, 1):
            print(f"\r{number}/{len(CASES)} {case.name:50}", end="", file=sys.stderr)
            samples: dict[str, list[float]] = {"fake": [], "server": []}
            for turn in range(rounds + 1):
                for side, collection in sides.items():
                    taken = await _sample(case, collection)
                    if turn:  # the first is the warm-up
                        samples[side].append(taken)
            summaries = {side: _summary(s) for side, s in samples.items()}
            ratio = summaries["fake"]["median_ms"] / summaries["server"]["median_ms"]
            rows.append({"case": case.name, **summaries, "ratio": ratio})
    print(file=sys.stderr)
    return rows


def _summary(samples: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(samples, n=4)
    return {"median_ms": median, "low_ms": low, "high_ms": high}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="The fake against a real server, side by side.")
    parser.add_argument("--rounds", type=int, default=15, help="samples of each case and side")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("--rounds must be at least 2")
    rows = asyncio.run(_measure(arguments.rounds))
    print(f"{'milliseconds, median (quartiles)':42}{'fake':>22}{'server':>22}{'ratio':>8}")
    for row in rows:
        cells = [
            f"{row[side]['median_ms']:.3f} ({row[side]['low_ms']:.3f}–{row[side]['high_ms']:.3f})"
            for side in ("fake", "server")
        ]
        print(f"{row['case']:42}{cells[0]:>22}{cells[1]:>22}{row['ratio']:>8.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
