"""One caller among many: what a function of an application does of the database, as a process.

Run as ``python -m odm.cli.bench.caller QUERIES`` with the URL in ``ODM_URL``. It opens the
transport, sends some queries, writes a line, and then stays, like an execution environment that is
kept for the next invocation, with its connections open. When stdin ends it is gone, and closes
nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys

from transports import open_transport

_COLLECTION = "odm_bench_articles"


async def _call(url: str, queries: int) -> None:
    async with open_transport(url) as transport:
        articles = transport.database[_COLLECTION]
        await asyncio.gather(*(articles.find_one({"views": each}) for each in range(queries)))
        sys.stdout.write("answered\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.buffer.read)
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(_call(os.environ["ODM_URL"], int(sys.argv[1])))
