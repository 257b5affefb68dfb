"""What the server sees while many callers live: its connections over time, direct and by function.

Two experiments of the article of 2020 with real processes. An *installation* is eight callers in a
moment (four applications, two functions each). *Many callers* are as many as the settings say. All
of them start at once, send a few queries at the same time, and stay, as execution environments do;
then they are gone without a word. ``benchmarks/connections`` goes further: hundreds of callers,
redeployments, zombies.

Source: https://www.mongodb.com/docs/manual/reference/command/serverStatus/#connections
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

from odm.cli.bench.lambda_process import scenario_name
from odm.cli.bench.result import ConnectionCurve, Result
from odm.cli.bench.settings import Settings
from odm.cli.bench.stage import Stage
from odm.cli.demo.comparable import explain_error
from odm.cli.demo.progress import Reporter
from transports import Transport, open_transport

INSTALLATION = 8
_QUERIES = 4
_INTERVAL_S = 0.05
_STAY_S = 1.0
_GONE_S = 1.0
_ANSWER_TIMEOUT_S = 120.0
# What is left out is not computed: the question costs the server less.
_LEFT_OUT = (
    "asserts extra_info flowControl locks metrics mirroredReads network opcounters repl tcmalloc "
    "transactions wiredTiger"
)
CONNECTIONS_COMMAND: dict[str, Any] = {"serverStatus": 1, **dict.fromkeys(_LEFT_OUT.split(), 0)}
"""``serverStatus`` with its ``connections`` and little else."""


async def run_connections(
    stage: Stage, settings: Settings, result: Result, reporter: Reporter
) -> None:
    """Let callers come and go, directly and through the function, and watch the server."""
    direct, function = stage.direct, stage.function
    if direct is None or function is None:
        result.skipped["connections"] = "needs a mongodb:// URL and a function in front of it"
        return
    burst = min(INSTALLATION, settings.callers)
    scenarios = {f"installation burst, {burst} callers": burst}
    if settings.callers > INSTALLATION:
        scenarios[f"{settings.callers} callers at once"] = settings.callers
    async with open_transport(direct) as observer:
        for number, (scenario, callers) in enumerate(scenarios.items()):
            if stage.local is not None:
                function = stage.function_named(scenario_name(number))
            for way, url in (("direct", direct), ("lambda", function)):
                curve = ConnectionCurve(scenario=scenario, way=way, callers=callers)
                result.connections.append(curve)
                with reporter.phase(f"{scenario}, {way}"):
                    try:
                        await _watch(observer, url, curve)
                    except Exception as error:  # a finding, and the rest goes on
                        curve.error = explain_error(error)


async def _watch(observer: Transport, url: str, curve: ConnectionCurve) -> None:
    await asyncio.sleep(_INTERVAL_S)
    before, created = await _ask(observer)
    started = time.perf_counter()
    sampling = asyncio.create_task(_sample(observer, curve, before, started))
    try:
        async with _callers(url, curve.callers) as processes:
            answers = await asyncio.gather(*map(_answered, processes))
            curve.answered = sum(answers)
            await asyncio.sleep(_STAY_S)
        await asyncio.sleep(_GONE_S)
        curve.created = (await _ask(observer))[1] - created
        if curve.answered < curve.callers:
            curve.error = f"{curve.callers - curve.answered} callers had no answer"
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling


async def _sample(observer: Transport, curve: ConnectionCurve, before: int, started: float) -> None:
    while True:
        current, _ = await _ask(observer)
        curve.samples.append((time.perf_counter() - started, current - before))
        await asyncio.sleep(_INTERVAL_S)


async def _ask(observer: Transport) -> tuple[int, int]:
    reply = await observer.client.admin.command(CONNECTIONS_COMMAND)
    return int(reply["connections"]["current"]), int(reply["connections"]["totalCreated"])


@asynccontextmanager
async def _callers(url: str, count: int) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    processes: list[asyncio.subprocess.Process] = []
    # Who is killed leaves the directory of its endpoint's socket behind.
    with TemporaryDirectory(prefix="odm-bench-") as directory:
        try:
            for _ in range(count):
                processes.append(await _caller(url, directory))  # noqa: PERF401 - so none is lost
            yield processes
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
            await asyncio.gather(*(process.wait() for process in processes))


async def _caller(url: str, directory: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "odm.cli.bench.caller",
        str(_QUERIES),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "ODM_URL": url, "TMPDIR": directory},
        start_new_session=True,
    )


async def _answered(process: asyncio.subprocess.Process) -> bool:
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            return bool(await process.stdout.readline())
    return False
