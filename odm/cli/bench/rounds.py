"""The workloads: every contender in turn within each round, so that all meet the same machine.

What the machine does besides falls on all of them; the order turns by one from round to round.
Before the first round each contender does the workload once or twice: that is warm-up, and its
result is checked.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from typing import TypeVar

from odm.cli.bench.contenders import Contender
from odm.cli.bench.result import Result, Series
from odm.cli.bench.settings import Settings
from odm.cli.bench.workloads import WORKLOADS, Workload
from odm.cli.demo.comparable import explain_error
from odm.cli.demo.progress import Reporter

_TIMEOUT_S = 120.0
C = TypeVar("C", bound=Contender)


async def run_workloads(
    contenders: Sequence[Contender], settings: Settings, result: Result, reporter: Reporter
) -> None:
    """Run what is wanted of the workloads; *result* is filled as it goes."""
    for workload in WORKLOADS:
        if not settings.wants(workload.name):
            continue
        result.titles[workload.name] = workload.title
        by_name = {each.name: Series() for each in contenders}
        result.workloads[workload.name] = by_name
        with reporter.phase(workload.title, len(contenders) * (settings.rounds + 1)) as phase:
            for contender in contenders:
                phase.step(f"{contender.name}, warm-up")
                await _warm_up(contender, workload, settings, by_name[contender.name])
            for number in range(settings.rounds):
                for contender in turned(contenders, number):
                    phase.step(f"{contender.name}, round {number + 1}")
                    await _turn(contender, workload, settings, number, by_name[contender.name])


def turned(contenders: Sequence[C], by: int) -> list[C]:
    """Return *contenders* beginning with another one each time."""
    at = by % len(contenders) if contenders else 0
    return [*contenders[at:], *contenders[:at]]


async def _warm_up(
    contender: Contender, workload: Workload, settings: Settings, series: Series
) -> None:
    expected = workload.expected(settings.documents)
    try:
        for number in range(min(workload.repeat, 2)):  # a long one is warm after one
            async with asyncio.timeout(_TIMEOUT_S):
                started = time.perf_counter()
                found = await workload.run(contender, 0)
                elapsed_ms = (time.perf_counter() - started) * 1000
            if number == 0:
                series.first_ms = elapsed_ms
            if found != expected:
                series.error = f"returned {found!r}, not {expected!r}"
                return
    except Exception as error:  # a contender that cannot do it is a finding
        series.error = explain_error(error)


async def _turn(
    contender: Contender, workload: Workload, settings: Settings, number: int, series: Series
) -> None:
    if series.error is not None:
        return
    repeat = max(workload.repeat // settings.divisor, 1)
    # Each pays for its own garbage: without this, collecting 10,000 documents of the one before.
    gc.collect()
    before = contender.invokes()
    durations = []
    computed = time.process_time()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            for each in range(number * repeat, (number + 1) * repeat):
                started = time.perf_counter()
                await workload.run(contender, each)
                durations.append((time.perf_counter() - started) * 1000)
    except Exception as error:
        series.error = explain_error(error)
    series.take(durations)
    series.cpu_ms += (time.process_time() - computed) * 1000
    series.invokes += contender.invokes() - before
