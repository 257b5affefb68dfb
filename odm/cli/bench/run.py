"""A run from beginning to end: the stage, the contenders, and each part in turn."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

from pymongo.errors import PyMongoError

from odm.cli.bench.cold_start import run_cold_starts
from odm.cli.bench.connections import run_connections
from odm.cli.bench.contenders import Contender
from odm.cli.bench.load import run_load
from odm.cli.bench.result import Result
from odm.cli.bench.rounds import run_workloads
from odm.cli.bench.scale import run_scale
from odm.cli.bench.settings import Settings
from odm.cli.bench.stage import Stage, open_stage
from odm.cli.bench.trace import run_traces
from odm.cli.demo.progress import Reporter
from odm.cli.failures import CommandFailed, ExitCode, describe
from transports import InvalidURL, TransportError, open_transport


async def run_bench(
    urls: Sequence[str],
    variants: Sequence[str],
    settings: Settings,
    result: Result,
    reporter: Reporter,
) -> None:
    """Run everything that *settings* wants; *result* is filled as it goes.

    Raises:
        CommandFailed: there is nobody to compare.
        TransportError: what was given by URL cannot be reached.
    """
    result.settings = settings.document()
    result.machine = _machine()
    async with open_stage(urls, variants, settings, reporter) as stage:
        result.tls = stage.tls
        result.machine["mongodb"] = await _server(stage)
        async with AsyncExitStack() as stack:
            contenders = await _open(stage, settings, result, stack, reporter)
            # Now that the caller has imported what it needs: the cold start is the function's.
            if settings.wants("trace"):
                await run_traces(stage, settings, result, reporter)
            await run_workloads(contenders, settings, result, reporter)
            if settings.wants("scale"):
                await run_scale(stage, contenders, settings, result, reporter)
            if settings.wants("load"):
                await run_load(contenders, settings, result, reporter)
        if settings.wants("cold"):
            await run_cold_starts(stage, settings, result, reporter)
        if settings.wants("connections"):
            await run_connections(stage, settings, result, reporter)
    result.machine["load_average_after"] = _load_average()
    result.complete = True


async def _open(
    stage: Stage, settings: Settings, result: Result, stack: AsyncExitStack, reporter: Reporter
) -> list[Contender]:
    opened = []
    entries = list(stage.entries(settings))
    unknown = {each for each in settings.contenders if each not in {e.name for e in entries}}
    if unknown:
        raise CommandFailed(
            f"no contender {', '.join(sorted(unknown))}: there are "
            f"{', '.join(each.name for each in entries)}",
            ExitCode.USAGE,
        )
    with reporter.phase("opening the contenders", len(entries)) as phase:
        for entry in entries:
            if not settings.takes(entry.name):
                continue
            phase.step(entry.name)
            try:
                contender = await stack.enter_async_context(entry.open())
            except InvalidURL:  # of --variant: not something that is missing here
                raise
            except (TransportError, PyMongoError) as error:
                result.skipped[entry.name] = describe(error).splitlines()[0]
                continue
            opened.append(contender)
            result.contenders[entry.name] = entry.title
    if not opened:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in result.skipped.items())
        raise CommandFailed(f"nobody to compare: {reasons}")
    return opened


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "pymongo": version("pymongo"),
        "beanie": version("beanie"),
        "odm": version("odm-transports"),
        "load_average_before": _load_average(),
    }


def _load_average() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:  # not every system has one
        return None


async def _server(stage: Stage) -> str | None:
    url = stage.direct or stage.function
    if url is None:
        return None
    async with open_transport(url) as transport:
        return str((await transport.client.admin.command("buildInfo"))["version"])
