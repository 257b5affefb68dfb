"""The mixed load: so many workers at the same time, for a while; what they got done."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from odm.cli.bench.contenders import Contender
from odm.cli.bench.result import LoadPoint, Result
from odm.cli.bench.rounds import turned
from odm.cli.bench.settings import Settings
from odm.cli.bench.workloads import GATHERED, mixed
from odm.cli.demo.comparable import explain_error
from odm.cli.demo.progress import Reporter

NOT_LOADED = frozenset({"post", "lambda-driver", "driver+pydantic"})
"""Those of whom the workloads tell enough."""

_PATIENCE_S = 60.0


async def run_load(
    contenders: Sequence[Contender], settings: Settings, result: Result, reporter: Reporter
) -> None:
    """Put the load on each contender in turn, at each concurrency."""
    loaded = [each for each in contenders if each.name not in NOT_LOADED]
    await _warm_up(loaded, reporter)
    steps = len(settings.levels) * len(loaded) * settings.load_rounds
    with reporter.phase("mixed load", steps) as phase:
        for level in settings.levels:
            points = {
                each.name: LoadPoint(contender=each.name, concurrency=level) for each in loaded
            }
            result.load += points.values()
            for number in range(settings.load_rounds):
                for contender in turned(loaded, number):
                    phase.step(f"{contender.name}, {level} at a time")
                    point = points[contender.name]
                    if point.error is None:
                        await _put(contender, point, settings.load_s)


async def _warm_up(contenders: Sequence[Contender], reporter: Reporter) -> None:
    """Have every execution environment started that the reserved concurrency allows."""
    with reporter.phase("mixed load, warm-up", len(contenders)) as phase:
        for contender in contenders:
            phase.step(contender.name)
            with contextlib.suppress(Exception):  # it will fail again where it counts
                async with asyncio.timeout(_PATIENCE_S):
                    await contender.gather(GATHERED)


async def _put(contender: Contender, point: LoadPoint, seconds: float) -> None:
    before, done, failed = contender.invokes(), 0, 0
    numbers = iter(range(1_000_000_000))
    started = time.perf_counter()
    deadline = started + seconds

    async def work() -> None:
        nonlocal done, failed
        while (begun := time.perf_counter()) < deadline:
            try:
                await mixed(contender, next(numbers))
            except Exception as error:  # under load some may fail: counted, and one is told
                failed += 1
                point.error = point.error or explain_error(error)
                return
            done += 1
            point.durations_ms.append((time.perf_counter() - begun) * 1000)

    try:
        async with asyncio.timeout(seconds + _PATIENCE_S):
            await asyncio.gather(*(work() for _ in range(point.concurrency)))
    except TimeoutError:
        point.error = f"operations took longer than {_PATIENCE_S:.0f} s"
    # Until the last one's answer: those begun before the deadline count as a whole.
    elapsed = time.perf_counter() - started
    point.operations += done
    point.errors += failed
    point.invokes += contender.invokes() - before
    if done:
        point.per_second.append(done / elapsed)
