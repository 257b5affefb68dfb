"""A real run on the local Lambda, and what odm cost says of it.

The log of the local Lambda is the judge: its REPORT lines say how many invocations there were and
what was billed. Read here by other means than the product's, they are compared with what odm cost
reads from the same log, from the callers' statistics, and with what it predicts.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from transports import open_transport
from transports.local_lambda import FunctionConfiguration, LocalLambda

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[4]
SINGLES, GATHERS, GATHER = 100, 10, 20


@dataclass(slots=True)
class Run:
    """One run: its log, its statistics, and what the gathers alone did."""

    log: str
    statistics: dict[str, Any]
    seconds: float
    gather_invokes: int


class Log:
    """Collects the local Lambda's log."""

    def __init__(self) -> None:
        self._written = bytearray()
        self._changed = asyncio.Event()

    def write(self, function: str, environment: str, data: bytes) -> None:
        self._written += data
        self._changed.set()

    async def with_reports(self, count: int) -> str:
        """Return the log as soon as *count* invocations are reported in it."""
        async with asyncio.timeout(30):
            while (text := self._written.decode()).count("REPORT RequestId") < count:
                self._changed.clear()
                await self._changed.wait()
        return text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(mongod_uri: str) -> AsyncIterator[Run]:
    log = Log()
    function = FunctionConfiguration(
        name="db-proxy",
        handler="transports.lambda_invoke.function.app.handler",
        code=(ROOT,),
        environment={"ODM_PROXY_MONGODB_URI": mongod_uri, "ODM_PROXY_POLICY": "unrestricted"},
        memory_size_mb=512,
        timeout_s=10,
        reserved_concurrency=8,
    )
    loop = asyncio.get_running_loop()
    async with LocalLambda([function], log_sink=log.write) as service:
        url = f"lambda://db-proxy/cost_run?endpoint={service.endpoint_url}"
        async with open_transport(url) as transport:
            started = loop.time()
            things = transport.database.things
            await things.insert_many([{"_id": number} for number in range(GATHER)])
            for number in range(SINGLES):
                await things.find_one({"_id": number % GATHER})
            # The driver's first gathers open its connections, one after the other.
            for _ in range(3):
                await asyncio.gather(*(things.find_one({"_id": n}) for n in range(GATHER)))
            before = transport.statistics().invokes
            for _ in range(GATHERS):
                await asyncio.gather(*(things.find_one({"_id": n}) for n in range(GATHER)))
            statistics = transport.statistics()
            text = await log.with_reports(statistics.invokes)
            seconds = loop.time() - started
            yield Run(text, asdict(statistics), seconds, statistics.invokes - before)
            await transport.client.drop_database("cost_run")


def reported(log: str) -> list[tuple[float, int, float]]:
    """Duration, billed duration and init duration of each REPORT line."""
    found = []
    for line in log.splitlines():
        if line.startswith("REPORT"):
            told = dict(re.findall(r"\t([A-Z][A-Za-z ]+): ([\d.]+) (?:ms|MB)", line))
            duration = re.search(r"(?<!Billed )Duration: ([\d.]+)", line)
            assert duration is not None
            init = float(told.get("Init Duration", 0))
            found.append((float(duration[1]), int(told["Billed Duration"]), init))
    return found


async def test_a_log_is_read_as_it_was_billed(run: Run, odm_here: Any, tmp_path: Path) -> None:
    path = tmp_path / "function.log"
    path.write_text(run.log)
    ran = odm_here("cost", "--log", str(path), "--over", f"{run.seconds}", "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    truth = reported(run.log)
    measured = document["measured"]
    assert measured["invocations"] == len(truth) >= run.statistics["invokes"]
    assert measured["billed_ms"] == sum(billed for _, billed, _ in truth)
    assert measured["cold_starts"] == sum(init > 0 for _, _, init in truth)
    assert measured["memory_mb"] == 512
    assert measured["gb_seconds"] == pytest.approx(measured["billed_ms"] / 1000 / 2)
    # A month of that: as many invocations a second, and as much billed for each that was warm.
    [batches] = [way for way in document["ways"] if way["way"] == "batches"]
    per_s = batches["invokes"] / (730 * 3600)
    assert per_s == pytest.approx(len(truth) / run.seconds, rel=0.02)
    warm = measured["warm_billed_ms"] / len(truth)
    cold = batches["cold_starts"] / batches["invokes"] * document["workload"]["init_ms"]
    assert batches["billed_ms_per_invoke"] == pytest.approx(warm + cold, rel=0.01)


async def test_the_callers_statistics_say_the_same(run: Run, odm_here: Any, tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps(run.statistics))
    given = ("--statistics", str(path), "--over", f"{run.seconds}")
    ran = odm_here("cost", *given, "--json")
    assert ran.code == 0, ran.err
    measured = json.loads(ran.out)["measured"]
    own = [json.loads(line) for line in run.log.splitlines() if '"Commands"' in line]
    own = own[: run.statistics["invokes"]]
    invocations = measured["invocations"]
    assert invocations == len(own) == run.statistics["invokes"]
    assert measured["cold_starts"] == sum(line["ColdStarts"] for line in own)
    # Listing the servers is an invocation without a command; a hello is relayed as one.
    assert measured["commands"] == pytest.approx(sum(line["Commands"] for line in own), abs=5)
    # What the callers know is the handler's time. To it come half a millisecond for the runtime
    # and half of one for rounding up; what the runtime really takes, the machine decides.
    handler_ms = sum(line["Duration"] for line in own)
    assert measured["warm_billed_ms"] == pytest.approx(handler_ms + invocations, rel=0.001)
    # Each is rounded up by half of one on average, and by one at most.
    init_ms = sum(line.get("InitDuration", 0) for line in own)
    assert measured["init_ms"] == pytest.approx(init_ms, abs=invocations / 2 + 1)
    assert measured["billed_ms"] == pytest.approx(measured["warm_billed_ms"] + measured["init_ms"])
    warm = sum(math.ceil(duration) for duration, _, _ in reported(run.log)[:invocations])
    assert handler_ms < warm


async def test_gathers_travel_in_as_many_invokes_as_predicted(run: Run, odm_here: Any) -> None:
    ran = odm_here("cost", "--gather", str(GATHER), "--json")
    [batches] = [way for way in json.loads(ran.out)["ways"] if way["way"] == "batches"]
    predicted = GATHERS * GATHER / batches["commands_per_invoke"]
    assert predicted == GATHERS
    # A turn of the event loop may end before all of a gather is written.
    assert predicted <= run.gather_invokes <= 2 * predicted
