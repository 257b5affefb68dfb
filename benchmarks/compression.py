"""Whether bodies that fit into an invoke should be compressed, too: by size, both ways.

zlib level 1 against bytes as they are, for documents of words, numbers and identifiers and for
bytes that do not shrink. Two things are measured, in turns:

- the processor's time on either side: zlib, base64, JSON;
- a request over the local Lambda (``ping`` with a ``comment`` of that size), as its caller waits
  for it. There the wire is memory: what compression costs is seen, and what it saves is not.

From the first follows the bandwidth below which compression pays, for a function with a whole
processor (1,769 MB) and with AWS's share of it for less memory: the bits that it saves on the wire,
divided by what it takes in time.

    python -m benchmarks.compression [--rounds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any
from uuid import uuid4

import aiohttp
import bson
from bson import Binary, ObjectId

from odm.cli import proxy_function
from odm.cli.bench.lambda_process import Order
from odm.cli.bench.local_lambda import local_lambda
from transports import open_transport
from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    DescribeItem,
    MembersResult,
    ReplyResult,
    decode_response,
    encode_request,
)

SIZES = (1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000, 4_000_000)
MEMORIES_MB = (128, 512, 1769)
_WHOLE_CPU_MB = 1769  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
_LEVEL = 1
_TEXT = (
    "the of and to in is that for it as was with be by on not he his but at are this have from or "
    "had an they which one you were all her she there would their we him been has when who will no "
    "more if out so up said what its about than into them can only other time new some could these "
    "harbour city market bridge article station museum river council school street festival"
)
_WORDS = _TEXT.split()

Post = Callable[[bytes], Awaitable[bytes]]


def documents(size: int) -> bytes:
    """Return BSON of about *size* bytes, as applications store it."""
    rng, found, length = random.Random(size), [], 0
    while length < size:
        found.append(
            {
                "_id": ObjectId(rng.randbytes(12)),
                "title": " ".join(rng.choices(_WORDS, k=5)),
                "body": " ".join(rng.choices(_WORDS, k=rng.randrange(10, 60))),
                "views": rng.randrange(100_000),
                "rating": rng.random() * 5,
                "published": rng.random() < 0.5,
                "tags": rng.choices(_WORDS, k=3),
                "author": {"name": f"Author {rng.randrange(500)}", "key": rng.randbytes(8).hex()},
            }
        )
        length += len(bson.encode(found[-1]))
    return bson.encode({"documents": found})[:size]


KINDS: dict[str, Callable[[int], bytes]] = {"documents": documents, "random": os.urandom}


def _timed(run: Callable[[], Any], seconds: float = 0.02) -> float:
    """Return the processor's ms for *run*, the median of repetitions of some ms."""
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < deadline:
        started = time.process_time()
        run()
        times.append((time.process_time() - started) * 1000)
    return median(times)


def sides(data: bytes) -> dict[str, float]:
    """Return ms of the sender and of the receiver of *data*, as it is and compressed."""
    compressed = zlib.compress(data, _LEVEL)

    def pack(body: bytes) -> str:
        return json.dumps({"reply": b64encode(body).decode("ascii")})

    def unpack(text: str) -> bytes:
        return b64decode(json.loads(text)["reply"])

    plain, packed = pack(data), pack(compressed)
    return {
        "share": len(compressed) / len(data),
        "saved_bytes": float(len(plain) - len(packed)),
        "send": _timed(lambda: pack(data)),
        "receive": _timed(lambda: unpack(plain)),
        "send_zlib": _timed(lambda: pack(zlib.compress(data, _LEVEL))),
        "receive_zlib": _timed(lambda: zlib.decompress(unpack(packed))),
    }


def break_even_mbit_s(found: dict[str, float], memory_mb: int, *, is_reply: bool) -> float:
    """Return the bandwidth below which compression saves time; infinite if it always does.

    Args:
        found: of `sides`.
        memory_mb: the function's.
        is_reply: whether the function compresses, else the caller, with a processor to itself.
    """
    slower = max(1.0, _WHOLE_CPU_MB / memory_mb)
    send, receive = (slower, 1.0) if is_reply else (1.0, slower)
    cost_ms = send * (found["send_zlib"] - found["send"])
    cost_ms += receive * (found["receive_zlib"] - found["receive"])
    if found["saved_bytes"] <= 0:
        return 0.0
    return found["saved_bytes"] * 8 / cost_ms / 1000 if cost_ms > 0 else float("inf")


def _show_sides() -> None:
    print("Processor's ms; Mbit/s below which zlib pays (reply: the function compresses)")
    columns = ("to %", "send", "zlib", "receive", "zlib")
    ways = [f"{way} {memory}" for way in ("request", "reply") for memory in MEMORIES_MB]
    print(f"{'':22}", *(f"{name:>8}" for name in columns), *(f"{name:>13}" for name in ways))
    for kind, make in KINDS.items():
        for size in SIZES:
            found = sides(make(size))
            numbers = [found[name] for name in ("send", "send_zlib", "receive", "receive_zlib")]
            pays = [
                break_even_mbit_s(found, memory, is_reply=is_reply)
                for is_reply in (False, True)
                for memory in MEMORIES_MB
            ]
            print(
                f"{kind:10}{size:>12,}",
                f"{found['share'] * 100:8.0f}",
                *(f"{each:8.3f}" for each in numbers),
                *(f"{each:13,.0f}" for each in pays),
                flush=True,
            )


async def _show_requests(post: Post, rounds: int) -> None:
    server = await _server(post)
    print("\nA request over the local Lambda, ms (medians, in turns)")
    print(f"{'':22} {'as it is':>10} {'zlib':>10} {'difference':>12}")
    for kind, make in KINDS.items():
        for size in SIZES:
            message = _message(make(size))
            times: dict[str, list[float]] = {"": [], "zlib": []}
            for number in range(rounds + 2):
                for encoding in sorted(times, reverse=number % 2 == 1):
                    taken = await _request(post, server, message, encoding)
                    if number >= 2:
                        times[encoding].append(taken)
            plain, compressed = median(times[""]), median(times["zlib"])
            row = f"{plain:10.2f} {compressed:10.2f} {compressed - plain:12.2f}"
            print(f"{kind:10}{size:>12,} {row}", flush=True)


def _message(data: bytes) -> bytes:
    session = {"id": Binary(uuid4().bytes, 4)}
    command = {"ping": 1, "comment": Binary(data), "lsid": session, "$db": "compression"}
    return bytes(5) + bson.encode(command)


async def _request(post: Post, server: str, message: bytes, encoding: str) -> float:
    started = time.perf_counter()
    body = Body(zlib.compress(message, _LEVEL), "zlib") if encoding else Body(message)
    payload = await post(encode_request([CommandItem(server, body)]))
    [result] = decode_response(payload, expected=1).results
    taken = (time.perf_counter() - started) * 1000
    assert isinstance(result, ReplyResult), result
    return taken


async def _server(post: Post) -> str:
    [members] = decode_response(await post(encode_request([DescribeItem()])), expected=1).results
    assert isinstance(members, MembersResult), members
    return members.members[0][0]


async def _run(rounds: int) -> None:
    _show_sides()
    async with open_transport("embedded:///compression") as mongod:
        order = Order(
            mongodb_uri=getattr(mongod, "uri"),  # noqa: B009 - of the embedded transport alone
            database="compression",
            concurrency=1,
            cold_starts=0,
            scenarios=0,
            tls=False,
        )
        async with local_lambda(order) as service, aiohttp.ClientSession() as session:
            url = f"{service.endpoint_url}/2015-03-31/functions/{proxy_function.NAME}/invocations"

            async def post(payload: bytes) -> bytes:
                async with session.post(url, data=payload) as response:
                    return await response.read()

            await _show_requests(post, rounds)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="Whether bodies should be compressed, by size.")
    parser.add_argument("--rounds", type=int, default=30, help="requests of each kind and size")
    asyncio.run(_run(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
