"""Whether ten times the documents cost ten times the time: every path that carries many.

    python -m benchmarks.typed_reads_scaling [--sizes 1000,10000] [--over embedded,fake,lambda]
        [--cpu]

For each size and each place a collection is filled, read, changed and emptied through a repository;
the table shows microseconds for each document, which should be the same in every row. ``page`` is
different: 20 documents out of the middle, which should cost the same whatever lies around them.
``peak`` is what streaming has added to the most memory that the process has held. ``lambda`` is the
local Lambda before a server of its own. Each place and size has a process to itself. Reads and
updates are done three times, and the least counts: on a machine that does other things too, that is
the path's own. ``--cpu`` counts what the process has computed
instead of the time that went by (of ``fake``, its server's part as well).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.typed_reads import Article, Clock, Heading, _content, _drain
from odm import connect
from odm.cli import proxy_function
from odm.cli.bench.lambda_process import Order
from odm.cli.bench.local_lambda import local_lambda
from transports import open_transport

PLACES = ("embedded", "fake", "lambda")
COLUMNS = (
    "insert_many",
    "list",
    "into",
    "async for",
    "stream",
    "page",
    "aggregate",
    "update_many",
    "delete_many",
)
_DATABASE = "scaling"
_PAGES = 50


@asynccontextmanager
async def _url(place: str) -> AsyncIterator[str]:
    if place == "fake":
        yield f"fake:///{_DATABASE}"
        return
    async with open_transport(f"embedded:///{_DATABASE}") as server:
        uri = getattr(server, "uri")  # noqa: B009 - of the embedded transport alone
        if place == "embedded":
            yield f"embedded:///{_DATABASE}"
            return
        order = Order(
            mongodb_uri=uri,
            database=_DATABASE,
            tls=False,
            concurrency=4,
            cold_starts=0,
            scenarios=1,
        )
        async with local_lambda(order) as service:
            yield proxy_function.url(service.endpoint_url, _DATABASE)


async def _timed(
    run: Callable[[], Awaitable[object]], per: int, clock: Clock, times: int = 3
) -> float:
    least = float("inf")
    for _ in range(times):
        gc.collect()
        started = clock()
        found = await run()
        least = min(least, clock() - started)
        del found
    return least / per * 1e6


async def _measure(place: str, size: int, clock: Clock) -> dict[str, Any]:
    async with _url(place) as url, connect(url, models=[Article]) as db:
        articles = db.repository(Article)
        row: dict[str, Any] = {"place": place, "size": size}
        new = [Article(**_content(number)) for number in range(size)]
        row["insert_many"] = await _timed(lambda: articles.add_many(new), size, clock, 1)
        new.clear()
        middle = {"views": {"$gte": size // 2}}
        await articles.collection.create_index("views")
        await articles.find(middle, sort="views").limit(20).to_list()

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        row["stream"] = await _timed(lambda: _drain(articles.stream()), size, clock)
        row["async for"] = await _timed(lambda: _drain(articles.find()), size, clock)
        row["peak_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

        row["list"] = await _timed(lambda: articles.find().to_list(), size, clock)
        row["into"] = await _timed(lambda: articles.find(into=Heading).to_list(), size, clock)

        async def pages() -> None:
            for _ in range(_PAGES):
                await articles.find(middle, sort="views", limit=20).to_list()

        row["page"] = await _timed(pages, 20 * _PAGES, clock)
        group = [{"$group": {"_id": "$title", "n": {"$sum": "$views"}}}]
        row["aggregate"] = await _timed(lambda: articles.aggregate(group), size, clock)
        change = {"$inc": {"score": 1}}
        row["update_many"] = await _timed(
            lambda: articles.update_many({}, changes=change), size, clock
        )
        row["delete_many"] = await _timed(lambda: articles.delete_many({}), size, clock, 1)
        return row


def _show(row: dict[str, Any]) -> None:
    name = f"{row['place']:9}{row['size']:>9,}"
    print(f"{name:20}", *(f"{row[column]:12.1f}" for column in COLUMNS), end="")
    print(f"{row['peak_mb']:10.0f}", flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="Time for each document, by their number.")
    parser.add_argument("--sizes", default="1000,10000,100000", help="numbers of documents")
    parser.add_argument("--over", default=",".join(PLACES), help="of embedded, fake, lambda")
    parser.add_argument("--cpu", action="store_true", help="count computing, not waiting")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        place, size = arguments.one
        clock = time.thread_time if arguments.cpu else time.perf_counter
        print(json.dumps(asyncio.run(_measure(place, int(size), clock))))
        return
    print(f"{'µs a document':20}", *(f"{name:>12}" for name in COLUMNS), f"{'peak MB':>9}")
    for place in arguments.over.split(","):
        for size in arguments.sizes.split(","):
            command = [sys.executable, "-m", "benchmarks.typed_reads_scaling", "--one", place, size]
            command += ["--cpu"] if arguments.cpu else []
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            _show(json.loads(done.stdout))


if __name__ == "__main__":
    main()
