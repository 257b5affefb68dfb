"""Ten times the documents: how the time grows, read in each way, and whether memory does.

The sizes are a hundredth, a tenth and all of the documents. Times are taken here, in turns; how
much memory streaming takes is asked of a process of its own, which has held nothing before.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from odm.cli.bench.contenders import Contender, RepositoryContender
from odm.cli.bench.result import Result, ScalePoint
from odm.cli.bench.rounds import turned
from odm.cli.bench.settings import Settings
from odm.cli.bench.stage import Stage
from odm.cli.demo.comparable import explain_error
from odm.cli.demo.progress import Reporter

OPERATIONS: dict[str, Callable[[RepositoryContender, int], Awaitable[int]]] = {
    "list": RepositoryContender.read_to,
    "stream": RepositoryContender.stream_to,
    "page": RepositoryContender.page_to,
}
SCALED = ("odm", "lambda", "fake")
"""Those who read ten times the documents."""

_TIMEOUT_S = 120.0


async def run_scale(
    stage: Stage,
    contenders: Sequence[Contender],
    settings: Settings,
    result: Result,
    reporter: Reporter,
) -> None:
    """Have repositories read more and more documents; *result* is filled as it goes."""
    scaled = [
        each for each in contenders if isinstance(each, RepositoryContender) and each.name in SCALED
    ]
    sizes = [settings.documents // divisor for divisor in (100, 10, 1)]
    points = {
        (each.name, operation, size): ScalePoint(
            contender=each.name, operation=operation, documents=size
        )
        for each in scaled
        for operation in OPERATIONS
        for size in sizes
    }
    result.scale += points.values()
    steps = len(points) * settings.scale_rounds
    with reporter.phase("ten times the documents", steps) as phase:
        for contender in scaled:
            await _warm_up(contender, sizes[1])
        for number in range(settings.scale_rounds):
            for size in sizes:
                for contender in turned(scaled, number):
                    for operation in OPERATIONS:
                        phase.step(f"{contender.name}, {operation} of {size:,}")
                        await _read(contender, points[contender.name, operation, size])
    await _measure_memory(stage, points, sizes, reporter)


async def _warm_up(contender: RepositoryContender, size: int) -> None:
    with contextlib.suppress(Exception):  # it will fail again where it counts
        async with asyncio.timeout(_TIMEOUT_S):
            for read in OPERATIONS.values():
                await read(contender, size)


async def _read(contender: RepositoryContender, point: ScalePoint) -> None:
    if point.error is not None:
        return
    gc.collect()
    started = time.perf_counter()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            found = await OPERATIONS[point.operation](contender, point.documents)
    except Exception as error:  # a finding, and the others go on
        point.error = explain_error(error)
        return
    point.durations_ms.append((time.perf_counter() - started) * 1000)
    if found != point.documents:
        point.error = f"returned {found}, not {point.documents}"


async def _measure_memory(
    stage: Stage,
    points: dict[tuple[str, str, int], ScalePoint],
    sizes: Sequence[int],
    reporter: Reporter,
) -> None:
    urls = {"odm": stage.direct, "lambda": stage.function}
    wanted = {
        name: url for name, url in urls.items() if url and (name, "stream", sizes[0]) in points
    }
    with reporter.phase("memory while streaming", len(wanted)) as phase:
        for name, url in wanted.items():
            phase.step(name)
            for size, megabytes in zip(sizes, await _peaks(url, sizes), strict=False):
                points[name, "stream", size].peak_mb = megabytes


async def _peaks(url: str, sizes: Sequence[int]) -> list[float]:
    """Return what streaming so many documents has added to a process's memory; none if it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "odm.cli.bench.stream_process",
        *map(str, sizes),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "ODM_URL": url},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            out, _ = await process.communicate()
        return [float(each) for each in json.loads(out)] if process.returncode == 0 else []
    except TimeoutError:
        return []
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
