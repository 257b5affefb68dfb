"""A run: its cases one after the other, then the simulation; stops early when it is told to."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import pymongo

from benchmarks.connections.beyond import beyond
from benchmarks.connections.experiments import REAL, Scene, gather_counts
from benchmarks.connections.result import LAMBDA, WAYS, Case, Result
from benchmarks.connections.settings import Settings
from benchmarks.connections.stage import open_stage
from odm.cli.demo.comparable import explain_error

NO_KEEPALIVE = "tcp_keepalive_time is the machine's: nobody waits for it (see --keepalive)"


def cases(settings: Settings) -> Iterator[Case]:
    """Return the cases of a run, in order, nothing seen yet."""
    for experiment in settings.experiments:
        if experiment not in REAL:
            continue
        several = experiment in ("installation", "callers")
        for count in settings.callers if several else (settings.replaced,):
            for way in (LAMBDA,) if experiment == "redeploy-proxy" else WAYS:
                yield Case(experiment=experiment, way=way, callers=count)


async def run(settings: Settings, result: Result, say: Callable[[str], None]) -> None:
    """Fill *result*; what is there is valid after a cancellation, too.

    Raises:
        MissingExtra: there is no ``mongod``, or no runtime client.
        ServerUnreachable: the ``mongod`` did not start.
    """
    result.settings = asdict(settings)
    result.machine = machine()
    if "zombies" in settings.experiments and not settings.keepalive_s:
        result.skipped["how long zombies are kept"] = NO_KEEPALIVE
    for case in cases(settings):
        result.cases.append(case)
        await _play(case, settings, say)
    if "beyond" in settings.experiments:
        say("beyond: simulating")
        for simulated in beyond(result, settings):
            result.simulated.append(simulated)
            await asyncio.sleep(0)  # Ctrl-C
    result.complete = True


async def _play(case: Case, settings: Settings, say: Callable[[str], None]) -> None:
    say(f"{case.title}, {case.way}: starting the server")
    async with open_stage(settings, case.way) as stage:
        scene = Scene(stage, case, say)
        try:
            await REAL[case.experiment](scene)
            case.complete = True
        except PermissionError as error:
            case.failures.append(f"not allowed to end connections silently: {error}")
        except Exception as error:  # a finding, and the rest goes on
            case.failures.append(explain_error(error))
        finally:
            gather_counts(scene)


def machine() -> dict[str, object]:
    """Return where this runs and how busy that is."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processors": os.cpu_count(),
        "memory_gib": round(pages * page / 2**30),
        "load_1_5_15_min": [round(each, 1) for each in os.getloadavg()],
        "python": platform.python_version(),
        "pymongo": pymongo.version,
        "system": f"{platform.system()} {platform.release()}",
    }
