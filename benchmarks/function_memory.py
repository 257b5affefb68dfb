"""What the DB proxy function's process holds of memory: at rest, and under load.

A real process of the official runtime client, with the function's bundle and nothing else to
import, in front of a private ``mongod``; one event after the other, as Lambda gives them. 128 MB is
the least that a function can have; the runtime's own part of it is in these figures, for they are
of the whole process.

    python -m benchmarks.function_memory
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import bson
from bson import Binary

from odm.cli.bench.cold_environments import FUNCTION, make
from odm.cli.bench.function_process import PROGRAMS, FunctionProcess, function_process
from transports import Transport, open_transport
from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    FailureResult,
    decode_response,
    encode_request,
)
from transports.url import parse_url

DATABASE = "memory"
SMALL = 10_000
LARGE = 40
LARGE_BYTES = 100_000
HUGE_BYTES = 16 * 2**20 - 100
BATCH = 20


def _command(server: str, **fields: Any) -> CommandItem:
    session = {"id": Binary(uuid4().bytes, 4)}
    message = bson.encode({**fields, "lsid": session, "$db": DATABASE})
    return CommandItem(server, Body(bytes(5) + message))


def _read(server: str, number: int) -> CommandItem:
    query = {"_id": number % SMALL}
    return _command(server, find="small", filter=query, limit=1, singleBatch=True)


def _list(server: str, collection: str) -> CommandItem:
    return _command(server, find=collection, filter={}, batchSize=1_000_000)


def _events(server: str) -> Iterator[tuple[str, list[list[CommandItem]]]]:
    yield "initialised, connected", []
    yield "1 point read", [[_read(server, 0)]]
    yield "1,000 point reads", [[_read(server, number)] for number in range(1000)]
    batches = [[_read(server, number + i) for i in range(BATCH)] for number in range(200)]
    yield f"200 batches of {BATCH} point reads", batches
    yield "20 lists of 10,000 documents, 2.5 MB", [[_list(server, "small")]] * 20
    yield "20 lists of 4 MB, incompressible", [[_list(server, "large")]] * 20
    yield "10 batches of 4 such lists", [[_list(server, "large")] * 4] * 10
    yield "5 documents of 16 MB", [[_list(server, "huge")]] * 5
    yield "a batch of 4 of them", [[_list(server, "huge")] * 4]
    yield "1,000 point reads again", [[_read(server, number)] for number in range(1000)]


async def _fill(transport: Transport) -> str:
    database = transport.client[DATABASE]
    await database.small.insert_many([_small(number) for number in range(SMALL)])
    await database.large.insert_many(
        [{"_id": number, "data": os.urandom(LARGE_BYTES)} for number in range(LARGE)]
    )
    await database.huge.insert_one({"_id": 0, "data": os.urandom(HUGE_BYTES)})
    hello = await transport.client.admin.command("hello")
    host, port = await transport.client.address or ("localhost", 27017)
    return str(hello.get("me", f"{host}:{port}"))


def _small(number: int) -> dict[str, Any]:
    text = f"document {number} of a collection that is read again and again"
    return {"_id": number, "title": text, "tags": ["a", "b", "c"], "views": number, "body": text}


@asynccontextmanager
async def _function(uri: str) -> AsyncIterator[FunctionProcess]:
    with TemporaryDirectory() as directory:
        environment = await asyncio.to_thread(make, Path(directory), FUNCTION)
        asked = asyncio.Event()
        async with function_process(
            environment,
            {
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
                "ODM_PROXY_MONGODB_URI": uri,
                "ODM_PROXY_POLICY": '{"databases": ["*"]}',
            },
            handler="transports.lambda_invoke.function.app.handler",
            path=(PROGRAMS,),
            on_initialised=lambda pid: asked.set(),
        ) as process:
            await asked.wait()
            yield process


async def _measure(url: str) -> None:
    async with open_transport(url) as transport:
        server = await _fill(transport)
        uri = getattr(transport, "uri", parse_url(url).raw)
        async with _function(uri) as process:
            print(f"{'after':44}{'now MB':>8}{'at most MB':>12}{'reply MB':>10}")
            for title, events in _events(server):
                largest = 0
                for items in events:
                    within_ms = 10_000 if len(items) > 1 else None  # as callers say it of a batch
                    reply = await process.invoke(encode_request(items, within_ms=within_ms))
                    largest = max(largest, len(reply))
                    for result in decode_response(reply, expected=len(items)).results:
                        if isinstance(result, FailureResult):
                            raise SystemExit(f"{title}: {result}")
                now, most = process.memory_mb()
                print(f"{title:44}{now:8.1f}{most:12.1f}{largest / 1e6:10.2f}")


if __name__ == "__main__":
    asyncio.run(_measure(sys.argv[1] if sys.argv[1:] else "embedded:///memory"))
