"""Thirty invocations, the cold one first, as the article of 2020 shows them; and cold starts.

A cold start needs a function that nobody has invoked: the run's local Lambda serves some for just
that. What a caller waits for is measured here; the function's part of it its REPORT line tells.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from odm.cli import proxy_function
from odm.cli.bench import contenders
from odm.cli.bench.contenders import Contender
from odm.cli.bench.lambda_process import PROXY_2020, cold_name
from odm.cli.bench.local_lambda import LocalService
from odm.cli.bench.result import ColdStart, Result, Trace
from odm.cli.bench.settings import Settings
from odm.cli.bench.stage import Stage
from odm.cli.demo.comparable import explain_error
from odm.cli.demo.progress import Reporter

OpenTo = Callable[[str], AbstractAsyncContextManager[Contender]]
"""Opens a contender to the function of a name."""


async def run_traces(stage: Stage, settings: Settings, result: Result, reporter: Reporter) -> None:
    """Trace what invokes a function of its own on the local Lambda."""
    local = stage.local
    if local is None:
        result.skipped["trace"] = "cold starts are made on the local Lambda"
        return

    def over_lambda(function: str) -> AbstractAsyncContextManager[Contender]:
        return contenders.driver("lambda", "", stage.function_named(function))

    def of_2020(function: str) -> AbstractAsyncContextManager[Contender]:
        return stage.proxy_2020(settings, function)

    kinds: dict[str, tuple[str, OpenTo]] = {
        "lambda": (proxy_function.NAME, over_lambda),
        "proxy-2020": (PROXY_2020, of_2020),
    }
    wanted = {name: kind for name, kind in kinds.items() if settings.takes(name)}
    traces = {name: Trace(contender=name) for name in wanted}
    result.traces += traces.values()
    steps = len(wanted) * settings.cold_starts
    with reporter.phase(f"{settings.trace_length} invocations, the first one cold", steps) as phase:
        for number in range(settings.cold_starts):
            for name, (function, open_to) in wanted.items():
                phase.step(f"{name}, cold start {number + 1}")
                length = settings.trace_length if number == 0 else 1
                await _guarded(
                    _trace(open_to, local, cold_name(function, number), traces[name], length),
                    traces[name],
                )


async def _guarded(tracing: Awaitable[None], trace: Trace) -> None:
    try:
        await tracing
    except Exception as error:  # a finding, and the others go on
        trace.error = explain_error(error)


async def _trace(
    open_to: OpenTo, local: LocalService, function: str, trace: Trace, length: int
) -> None:
    """Invoke a function that nobody has invoked; opening is part of what its first caller waits."""
    durations = []
    started = time.perf_counter()
    async with open_to(function) as contender:
        for number in range(length):
            await contender.read(number)
            now = time.perf_counter()
            durations.append((now - started) * 1000)
            started = now
    report = await local.cold_start(function) or {}
    trace.cold_starts.append(
        ColdStart(
            total_ms=durations[0],
            init_ms=report.get("init_ms"),
            handler_ms=report.get("duration_ms"),
        )
    )
    if not trace.durations_ms:
        trace.durations_ms = durations
