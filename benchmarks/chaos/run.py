"""One run from beginning to end: set the stage, break it, heal it, prove that nothing was lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from benchmarks.chaos.caller import CallerOptions
from benchmarks.chaos.callers import Callers, share_out
from benchmarks.chaos.checker import Violation, check
from benchmarks.chaos.connections import ConnectionWatch
from benchmarks.chaos.faults import Faults
from benchmarks.chaos.final_state import FinalState, read_final_state
from benchmarks.chaos.history import History, read_journals
from benchmarks.chaos.layout import DATABASE, END, PULSE, Layout
from benchmarks.chaos.plan import make_plan
from benchmarks.chaos.report import Report, connection_violations, count_errors, summarise
from benchmarks.chaos.stage import FUNCTION, Stage, StageOptions, open_stage
from benchmarks.chaos.streams import ReaderOptions

_READERS = ("collection", "database", "repository")
_QUIET_S = 60.0
_PULSE_S = 5.0
_ENDED_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What to run; with the same values the same faults are planned and the same choices made.

    Attributes:
        faults: kinds of faults, of `benchmarks.chaos.plan.FAULTS`.
        callers: processes that share the workers; 0 for this one.
        drain_s: how long a worker may take to finish when all is healed: longer than the longest
            operation may.
        sabotage: a defect to plant, see `benchmarks.chaos.sabotage`.
    """

    seed: int
    duration_s: float
    workers: int
    callers: int
    faults: tuple[str, ...]
    stage: StageOptions
    drain_s: float = 200.0
    sabotage: str = ""


Progress = Callable[[str], None]


async def run(
    options: RunOptions, directory: Path, stop: asyncio.Event, progress: Progress
) -> Report:
    """Run and check.

    Args:
        directory: for journals and what callers write to ``stderr``.
        stop: set to end early; what was done until then is checked.
        progress: called with a line now and then.

    Raises:
        TimeoutError: the callers did not start, or it did not become quiet in the end.
        ServerUnreachable: the servers did not start, or did not come back.
    """
    started = time.monotonic()
    layout = Layout.for_workers(options.workers)
    async with open_stage(options.stage) as stage:
        await stage.prepare(layout)
        watch = ConnectionWatch([member.address for member in stage.servers.members])
        callers = Callers(in_process=not options.callers)
        faults = Faults(stage, callers.replace_one)
        async with _background(watch.run()), _background(_pulse(stage)):
            try:
                await _start(callers, options, stage, layout, directory)
                await _strike(options, faults, stop, _teller(progress, started, callers, watch))
                progress("healing")
                await stage.heal()
                progress("waiting for the workers")
                await callers.drain(options.drain_s)
                await stage.quiet(_QUIET_S)
                progress("waiting for the streams")
                state = await _finish(stage, callers)
            finally:
                await callers.kill()
        progress("checking")
        history = read_journals(callers.journals)
        history.problems += callers.problems
        service = stage.service.statistics(FUNCTION)
        return Report(
            options=asdict(options),
            duration_s=round(time.monotonic() - started, 1),
            interrupted=stop.is_set(),
            kinds=summarise(history),
            errors=count_errors(history),
            faults=dict(sorted(faults.happened.items())),
            timeline=sorted(faults.timeline),
            faults_failed=faults.failed,
            stream_events={name: len(events) for name, events in history.streams.items()},
            streams_reopened=history.reopened,
            connections=watch.highest,
            connection_samples=watch.samples,
            ceiling=stage.ceiling,
            service={
                name: getattr(service, name)
                for name in ("invocations", "cold_starts", "throttles", "errors", "timeouts")
            }
            | {"max_environments": service.max_environments},
            violations=_violations(history, state, watch, stage.ceiling),
        )


def _violations(
    history: History, state: FinalState, watch: ConnectionWatch, ceiling: int
) -> list[Violation]:
    return [*check(history, state), *connection_violations(watch.highest, ceiling)]


async def _start(
    callers: Callers, options: RunOptions, stage: Stage, layout: Layout, directory: Path
) -> None:
    names = [f"p{number}" for number in range(options.callers or 1)]
    for number, workers in enumerate(share_out(options.workers, len(names))):
        readers = [
            ReaderOptions(name=f"r{reader}-{over}", over=over, token=stage.token)
            for reader, over in enumerate(_READERS)
            if reader % len(names) == number
        ]
        await callers.start(
            CallerOptions(
                name=names[number],
                url=stage.url,
                journal=str(directory / f"{names[number]}.journal"),
                seed=str(options.seed),
                workers=workers,
                layout=layout,
                readers=tuple(readers),
                sabotage=options.sabotage,
            )
        )
    await callers.all_ready()


async def _strike(
    options: RunOptions, faults: Faults, stop: asyncio.Event, tell: Callable[[], None]
) -> None:
    """Let the faults strike for the time of the run, or until it is stopped."""
    plan = make_plan(options.seed, options.duration_s, options.faults)
    deadline = time.monotonic() + options.duration_s
    striking = asyncio.create_task(faults.run(plan))
    stopping = asyncio.create_task(stop.wait())
    try:
        while (remaining := deadline - time.monotonic()) > 0 and not stop.is_set():
            tell()
            waiting = [stopping] if striking.done() else [stopping, striking]
            await asyncio.wait(
                waiting, timeout=min(remaining, 2.0), return_when=asyncio.FIRST_COMPLETED
            )
        if not stop.is_set():
            await striking  # an election may have delayed the last of them
    finally:
        stopping.cancel()
        striking.cancel()
        await asyncio.wait([striking])
    if not striking.cancelled() and (error := striking.exception()):
        raise error


def _teller(
    progress: Progress, started: float, callers: Callers, watch: ConnectionWatch
) -> Callable[[], None]:
    def tell() -> None:
        counts = callers.counts
        progress(
            f"{time.monotonic() - started:4.0f} s:"
            f" {counts['acknowledged']:,} acknowledged, {counts['failed']:,} failed,"
            f" {counts['unknown']:,} unknown, {counts['events']:,} events,"
            f" {max(watch.now.values(), default=0)} connections"
        )

    return tell


async def _finish(stage: Stage, callers: Callers) -> FinalState:
    """Write the run's last document, see the streams arrive at it, and read what there is."""
    async with stage.direct() as client:
        await client[DATABASE].documents.insert_one({"_id": END, "worker": "run"})
        await callers.ended(_ENDED_S)
        return await read_final_state(client[DATABASE], stage.token)


async def _pulse(stage: Stage) -> None:
    """Insert a document every few seconds, so that a stream that is silent is one that hangs."""
    async with stage.direct() as client:
        for number in itertools.count():
            with contextlib.suppress(PyMongoError):  # perhaps there is no primary
                await client[DATABASE].documents.insert_one(
                    {"_id": f"{PULSE}{number}", "worker": "run"}
                )
            await asyncio.sleep(_PULSE_S)


@contextlib.asynccontextmanager
async def _background(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        raise error
