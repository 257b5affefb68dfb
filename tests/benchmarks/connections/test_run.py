"""A tiny run with real parts, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from benchmarks.connections.fleet import freeze, open_fleet
from benchmarks.connections.result import Case, Result
from benchmarks.connections.run import cases, run
from benchmarks.connections.settings import Settings
from transports.mongod import missing_mongod_reason

ROOT = Path(__file__).parents[3]

needs_mongod = pytest.mark.skipif(
    missing_mongod_reason() is not None, reason=missing_mongod_reason() or ""
)


def tiny(*experiments: str) -> Settings:
    return Settings(
        experiments=experiments,
        callers=(2,),
        replaced=2,
        simulated=(50,),
        queries=3,
        reserved=2,
        pool=2,
        hold_s=0.1,
        linger_s=0.1,
    )


def has_ended(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


Gone = Callable[[list[int]], Awaitable[None]]


@pytest.fixture
def gone() -> Gone:
    """Wait until processes have ended."""

    async def wait(pids: list[int]) -> None:
        async with asyncio.timeout(20):
            while not all(map(has_ended, pids)):  # noqa: ASYNC110 - not our children: no event
                await asyncio.sleep(0.01)

    return wait


def test_every_experiment_has_its_cases() -> None:
    planned = [(case.experiment, case.way, case.callers) for case in cases(Settings())]
    assert planned[:2] == [("installation", "direct", 8), ("installation", "lambda", 8)]
    assert ("redeploy-proxy", "lambda", 100) in planned
    assert ("redeploy-proxy", "direct", 100) not in planned


def test_what_is_no_experiment_is_refused() -> None:
    with pytest.raises(ValueError, match="no experiment 'instalation': there are installation"):
        Settings(experiments=("instalation",))


@needs_mongod
async def test_callers_of_the_proxy_stay_below_its_ceiling() -> None:
    result = Result(settings={})
    said: list[str] = []
    await run(tiny("redeploy", "beyond"), result, said.append)
    found: dict[tuple[str, str], Case] = {
        (each.experiment, each.way): each for each in result.cases
    }
    assert result.violations() == []
    assert result.complete
    assert all(case.complete and not case.errors for case in result.cases)
    direct, proxied = found["redeploy", "direct"], found["redeploy", "lambda"]
    assert min(direct.created.values()) >= 2 * 2, "two callers, a monitor and a connection each"
    assert set(proxied.created.values()) == {0}
    assert 0 < proxied.peak <= 2 * 3 < direct.peak
    assert proxied.invokes > 0
    assert len(proxied.durations_ms) >= 2 * 3 * 3
    assert [each.callers for each in result.simulated] == [50]
    assert any("deployment 2" in words for words in said)


@needs_mongod
async def test_an_interrupted_run_keeps_what_it_has() -> None:
    result = Result(settings={})
    begun = asyncio.Event()

    def say(text: str) -> None:
        if "all are frozen" in text:
            begun.set()

    running = asyncio.create_task(run(tiny("installation"), result, say))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not result.complete
    assert len(result.cases) == 1
    assert result.cases[0].durations_ms
    assert not result.cases[0].complete


async def test_callers_that_are_frozen_end_with_their_fleet(tmp_path: Path, gone: Gone) -> None:
    async with open_fleet(tmp_path) as fleet:
        members = await fleet.start(2, "fake:///connections", over_s=0, queries=1)
        freeze(members[:1])
        assert not fleet.tally.errors
        assert len(fleet.tally.durations_ms) == 2
    await gone([member.pid for member in members])


async def test_callers_end_when_the_run_is_killed(tmp_path: Path, gone: Gone) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from benchmarks.connections.fleet import freeze, open_fleet\n"
        "async def main():\n"
        "    async with open_fleet(pathlib.Path(sys.argv[1])) as fleet:\n"
        "        found = await fleet.start(2, 'fake:///connections', over_s=0, queries=1)\n"
        "        freeze(found[:1])\n"
        "        print(*(member.pid for member in found), flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path)), stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        pids = [int(each) for each in (await process.stdout.readline()).split()]
    assert len(pids) == 2
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    await gone(pids)
