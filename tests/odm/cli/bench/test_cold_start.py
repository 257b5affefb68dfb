"""Cold starts: what is made of the times, and real processes. No duration is asserted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from odm.cli.bench.cold_environments import FUNCTION, closure, make
from odm.cli.bench.cold_result import CALLER_PHASES, FUNCTION_PHASES, ColdProcess
from odm.cli.bench.cold_start import caller_phases, function_phases
from odm.cli.bench.function_process import PROGRAMS, function_process
from odm.cli.bench.slow_cpu import slow_cpu
from transports.lambda_invoke.envelope import DescribeItem, decode_response, encode_request

MS = 1_000_000
# What every start notes, in ms; the process was made at 100.
NOTED = {
    "interpreter": 110,
    "runtime client": 130,
    "driver": 200,
    "modules": 220,
    "initialised": 240,
    "event": 251,
    "answered": 260,
}
PROCESS: Any = SimpleNamespace(
    spawned=100 * MS, asked=242 * MS, delivered=250 * MS, replied=262 * MS
)


def noted(**more: int) -> list[tuple[str, int]]:
    times = sorted((NOTED | more).items(), key=lambda each: each[1])
    return [(name, when * MS) for name, when in times]


def test_phases_of_a_function_that_connects_at_init() -> None:
    stamps = noted(searching=222, found=224, connecting=225, authenticating=228, connected=236)
    phases, connection = function_phases(PROCESS, stamps)
    assert tuple(phases) == FUNCTION_PHASES
    assert connection == {"finding the server": 3, "TCP, TLS, hello, key": 3, "authentication": 8}
    assert (phases["client"], phases["connection at init"]) == (6, 14)
    assert (phases["connection in the invocation"], phases["command"]) == (0, 9)
    # Waiting for an event, from 242 to 250, is nobody's.
    assert sum(phases.values()) == 262 - 100 - 8


def test_phases_of_a_function_that_connects_late_and_without_credentials() -> None:
    phases, connection = function_phases(
        PROCESS, noted(searching=252, found=254, connecting=255, connected=258)
    )
    assert connection["authentication"] == 0
    assert (phases["client"], phases["connection at init"]) == (20, 0)
    assert (phases["connection in the invocation"], phases["command"]) == (6, 3)


def test_a_caller_that_connects_directly_has_no_aws_client() -> None:
    stamps = [(name, (index + 2) * MS) for index, name in enumerate(CALLER_PHASES)]
    assert caller_phases(MS, stamps) == dict.fromkeys(CALLER_PHASES, 1)
    direct = [(name, when) for name, when in stamps if name != "AWS client"]
    assert caller_phases(MS, direct)["AWS client"] == 0
    assert sum(caller_phases(MS, direct).values()) == len(CALLER_PHASES)


def test_the_total_is_of_whole_starts() -> None:
    process = ColdProcess(kind="caller", name="x")
    assert process.total is None
    for driver, command in ((10.0, 1.0), (20.0, 5.0), (60.0, 2.0)):
        process.add({"driver": driver, "command": command}, {})
    assert process.totals_ms == [11.0, 25.0, 62.0]
    assert process.medians() == {"driver": 20.0, "command": 2.0}
    assert process.document()["total_summary_ms"]["median"] == 25.0


def test_what_a_distribution_requires_is_linked_too() -> None:
    names = {each.metadata["Name"].lower() for each in closure(["PyMongo", "no-such-thing"])}
    assert names == {"pymongo", "dnspython"}


@pytest.mark.parametrize("version", [1, 2])
def test_a_slow_processor_is_a_control_group(tmp_path: Path, version: int) -> None:
    (tmp_path / "cpu").mkdir()
    if version == 2:
        (tmp_path / "cgroup.controllers").write_text("cpu")
    with slow_cpu(128, tmp_path) as slow:
        assert slow is not None
        slow.put(4711)
        [group] = (tmp_path if version == 2 else tmp_path / "cpu").glob("odm-bench-*")
        assert (group / "cgroup.procs").read_text() == "4711"
        name = "cpu.max" if version == 2 else "cpu.cfs_quota_us"
        assert (group / name).read_text().split()[0] == "1447"  # of 20,000 µs
        for file in group.iterdir():  # a kernel's go with their directory
            file.unlink()
    assert not group.exists()


def test_without_the_right_there_is_no_slow_processor(tmp_path: Path) -> None:
    with slow_cpu(128, tmp_path / "none") as slow:
        assert slow is None


@pytest.mark.parametrize("ahead", ["true", "false"])
async def test_a_process_notes_its_way_to_the_first_reply(
    tmp_path: Path, mongod_uri: str, ahead: str
) -> None:
    bundle = await asyncio.to_thread(make, tmp_path, FUNCTION)
    variables = {
        "ODM_BENCH_HANDLER": "wrapped.handler",
        "ODM_BENCH_IMPORTS": "transports.lambda_invoke.function.policy",
        "ODM_PROXY_MONGODB_URI": mongod_uri,
        "ODM_PROXY_CONNECT_AT_INIT": ahead,
    }
    (tmp_path / "wrapped.py").write_text(
        "from transports.lambda_invoke.function.app import handler as answer\n"
        "import sys\n"
        "def handler(event, context):\n"
        "    unwanted = {'cryptography', 'aiohttp', 'pydantic'} & set(sys.modules)\n"
        "    return {'unwanted': sorted(unwanted), **answer(event, context)}\n"
    )
    initialised: list[int] = []
    async with function_process(
        bundle, variables, path=(PROGRAMS, tmp_path), on_initialised=initialised.append
    ) as process:
        reply = json.loads(await process.invoke(encode_request([DescribeItem()])))
        again = json.loads(await process.invoke(encode_request([DescribeItem()])))
        assert process.process is not None
        assert initialised == [process.process.pid]
        now, most = process.memory_mb()
    assert 0 < now <= most
    phases, connection = function_phases(process, reply["stamps"])
    assert all(value >= 0 for value in connection.values())
    assert bool(phases["connection at init"]) is (ahead == "true")
    assert bool(phases["connection in the invocation"]) is (ahead == "false")
    assert reply["response"].pop("unwanted") == []
    answer = decode_response(json.dumps(reply["response"]).encode(), expected=1)
    assert answer.function.cold_start
    assert again["response"]["function"]["cold_start"] is False


async def test_a_server_that_is_not_there_ends_no_initialisation(tmp_path: Path) -> None:
    bundle = await asyncio.to_thread(make, tmp_path, FUNCTION)
    variables = {
        "ODM_PROXY_MONGODB_URI": "mongodb://127.0.0.1:9",
        "ODM_PROXY_SERVER_SELECTION_TIMEOUT_MS": "200",
    }
    handler = "transports.lambda_invoke.function.app.handler"
    async with function_process(bundle, variables, handler=handler, path=(PROGRAMS,)) as process:
        reply = await process.invoke(encode_request([DescribeItem()]))
    assert b"127.0.0.1:9" in reply


async def test_a_process_that_cannot_initialise_says_why(tmp_path: Path) -> None:
    bundle = await asyncio.to_thread(make, tmp_path, FUNCTION)
    handler = "transports.lambda_invoke.function.app.handler"
    async with function_process(bundle, {}, handler=handler, path=(PROGRAMS,)) as process:
        with pytest.raises(RuntimeError, match="ODM_PROXY_MONGODB_URI"):
            await process.invoke(b"{}")
