"""The process that callers are forked from: everything is imported once, its pages are shared.

Run as ``python -m benchmarks.connections.zygote CHANNEL``. It reads JSON lines from stdin,
``{"first": 0, "count": 10, "over_s": 0.8, "url": …, "queries": 10}``, and forks so many callers,
evenly over so many seconds. It ends with its stdin, or with its parent, and its callers with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import time
from typing import Any

from benchmarks.connections.caller import Order, live
from benchmarks.connections.processes import die_with

# What a transport would import when it is opened.
_WARM = ("transports.direct", "transports.lambda_invoke", "aiobotocore.session", "odm")


def main(channel: str) -> None:
    """Fork as told until stdin ends."""
    die_with(os.getppid())
    for name in _WARM:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    gc.collect()
    gc.freeze()  # a collection would touch the shared pages, and copy them
    for line in sys.stdin.buffer:
        _fork_all(json.loads(line), channel)


def _fork_all(order: dict[str, Any], channel: str) -> None:
    started, count = time.monotonic(), order["count"]
    for index in range(count):
        due = started + order["over_s"] * index / count
        time.sleep(max(0.0, due - time.monotonic()))
        number = order["first"] + index
        _fork(Order(number=number, url=order["url"], queries=order["queries"]), channel)


def _fork(order: Order, channel: str) -> None:
    zygote = os.getpid()
    if os.fork():
        return
    status = 1
    try:
        die_with(zygote)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(sys.stdin.fileno())
        with contextlib.suppress(ConnectionError):
            asyncio.run(live(order, os.getpid(), channel))
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1])
