"""Cold starts by phase: real processes, from their start to the first reply, one after the other.

A function's process runs the official runtime client and gets one event, a point read; with its
connection made at init, and made by the first invocation; with a whole processor, and with the
one fourteenth of 128 MB once it is initialised. A caller's process opens a connection with two
models and reads one document, directly and through a function that is warm.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from odm.cli.bench import cold_environments, documents, functions
from odm.cli.bench.cold_environments import Environment
from odm.cli.bench.cold_result import CALLER_PHASES, CONNECTION_STEPS, ColdProcess
from odm.cli.bench.function_process import PROGRAMS, FunctionProcess, function_process
from odm.cli.bench.functions import protocol_2020
from odm.cli.bench.invokers import encoded, read_command
from odm.cli.bench.result import Result
from odm.cli.bench.settings import Settings
from odm.cli.bench.slow_cpu import SlowCpu, slow_cpu
from odm.cli.bench.stage import Stage
from odm.cli.demo.comparable import explain_error
from odm.cli.demo.progress import Reporter
from odm.cli.proxy_function import EVERY_DATABASE
from transports import open_transport
from transports.url import parse_url

SMALLEST_MB = 128
_MODULES = " ".join(
    f"transports.lambda_invoke.function.{name}"
    for name in ("executor", "lifecycle", "policy", "settings", "staging", "views")
)
_APP = "transports.lambda_invoke.function.app.handler"
_CALLER_TIMEOUT_S = 60.0

Stamps = Sequence[tuple[str, int]]
Start = Callable[[], Awaitable[tuple[dict[str, float], dict[str, float]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    """One kind of function's process.

    Attributes:
        payload: of the event.
        variables: of the function.
        answers: what a reply that is an answer contains.
    """

    payload: bytes
    variables: Mapping[str, str]
    answers: bytes


async def run_cold_starts(
    stage: Stage, settings: Settings, result: Result, reporter: Reporter
) -> None:
    """Start processes of each kind in turns."""
    if stage.direct is None or stage.function is None:
        result.skipped["cold"] = "needs a mongodb:// URL and a function in front of it"
        return
    with TemporaryDirectory(prefix="odm-bench-") as directory, slow_cpu(SMALLEST_MB) as slow:
        if slow is None:
            result.skipped["cold, 128 MB"] = "a processor can be slowed down by root on Linux only"
        starts = await _starts(stage.direct, stage.function, Path(directory), slow)
        result.cold += [process for process, _ in starts]
        steps = (settings.cold_processes + 1) * len(starts)
        with reporter.phase(f"{settings.cold_processes} cold starts of each kind", steps) as phase:
            for number in range(-1, settings.cold_processes):
                for process, start in starts:
                    phase.step(f"{process.kind} {process.name}, {number + 1}")
                    if process.error is None:
                        # The first one leaves bytecode and warm files behind, and is not counted.
                        await _guarded(start, process, counts=number >= 0)


async def _guarded(start: Start, process: ColdProcess, *, counts: bool) -> None:
    try:
        phases, connection = await start()
    except Exception as error:  # a finding, and the others go on
        process.error = explain_error(error)
    else:
        if counts:
            process.add(phases, connection)


async def _starts(
    direct: str, function: str, directory: Path, slow: SlowCpu | None
) -> list[tuple[ColdProcess, Start]]:
    for name in ("function", "caller"):
        (directory / name).mkdir()
    bundle = await asyncio.to_thread(
        cold_environments.make, directory / "function", cold_environments.FUNCTION
    )
    application = await asyncio.to_thread(
        cold_environments.make, directory / "caller", cold_environments.CALLER
    )
    found: list[tuple[ColdProcess, Start]] = []
    for memory, put in {"": None, f", {SMALLEST_MB} MB": slow.put if slow else None}.items():
        if memory and put is None:
            continue
        for name, each in (await _functions(direct)).items():
            process = ColdProcess(kind="function", name=name + memory)
            found.append((process, _function_start(bundle, each, put)))
    for name, url in {"direct": direct, "lambda": function}.items():
        process = ColdProcess(kind="caller", name=name)
        found.append((process, _caller_start(application, url)))
    return found


async def _functions(direct: str) -> dict[str, _Function]:
    async with open_transport(direct) as transport:
        hello = await transport.client.admin.command("hello")
        host, port = await transport.client.address or ("localhost", 27017)
    database = parse_url(direct).database
    ours = _Function(
        payload=encoded(hello.get("me", f"{host}:{port}"), database, read_command(1)),
        variables={
            "ODM_BENCH_HANDLER": _APP,
            "ODM_BENCH_IMPORTS": _MODULES,
            "ODM_PROXY_MONGODB_URI": direct,
            "ODM_PROXY_POLICY": EVERY_DATABASE,
        },
        answers=b'"reply"',
    )
    query = protocol_2020.encode_request(documents.ARTICLES, "findOne", read_command(1)["filter"])
    of_2020 = _Function(
        payload=json.dumps(query).encode(),
        variables={
            "ODM_BENCH_HANDLER": "protocol_2020.handler",
            "ODM_BENCH_IMPORTS": "protocol_2020",
            protocol_2020.URI_VARIABLE: direct,
            protocol_2020.DATABASE_VARIABLE: database,
        },
        answers=documents.title(1).encode(),
    )
    late = _Function(
        payload=ours.payload,
        variables={**ours.variables, "ODM_PROXY_CONNECT_AT_INIT": "false"},
        answers=ours.answers,
    )
    return {"lambda": ours, "lambda, connects late": late, "proxy-2020": of_2020}


def _function_start(
    bundle: Environment, each: _Function, put: Callable[[int], None] | None
) -> Start:
    async def start() -> tuple[dict[str, float], dict[str, float]]:
        async with function_process(
            bundle,
            each.variables,
            path=(PROGRAMS, Path(functions.__file__ or "").parent),
            on_initialised=put or (lambda pid: None),
        ) as process:
            reply = await process.invoke(each.payload)
            if each.answers not in reply:
                raise RuntimeError(f"the function answered {reply[:200]!r}")
            return function_phases(process, json.loads(reply)["stamps"])

    return start


def function_phases(
    process: FunctionProcess, stamps: Stamps
) -> tuple[dict[str, float], dict[str, float]]:
    """Return a start's phases, and the steps of its connection, in ms.

    Args:
        process: when it was started, asked, and had its event and replied.
        stamps: what it noted, in the order of time.
    """
    first: dict[str, int] = {}
    for name, when in stamps:
        first.setdefault(name, when)
    at_init = first.get("connected", first["answered"]) <= first["initialised"]
    steps = _connection(first)
    connection = sum(steps.values())
    ended = {
        "interpreter": first["interpreter"] - process.spawned,
        "runtime client": first["runtime client"] - first["interpreter"],
        "driver": first["driver"] - first["runtime client"],
        "our modules": first["modules"] - first["driver"],
        "client": first["initialised"] - first["modules"] - connection * at_init,
        "connection at init": connection * at_init,
        "event": process.asked - first["initialised"] + first["event"] - process.delivered,
        "connection in the invocation": connection * (not at_init),
        "command": first["answered"] - first["event"] - connection * (not at_init),
        "reply": process.replied - first["answered"],
    }
    return _ms(ended), _ms(steps)


def _connection(first: Mapping[str, int]) -> dict[str, int]:
    """Return the steps of the first connection that carries commands, in ns."""
    if "connected" not in first:
        return {}
    authenticating = first.get("authenticating", first["connected"])
    bounds = (
        min(first.get("searching", first["connecting"]), first["connecting"]),
        first["connecting"],
        authenticating,
        first["connected"],
    )
    spans = (end - begin for begin, end in pairwise(bounds))
    return dict(zip(CONNECTION_STEPS, spans, strict=True))


def _caller_start(application: Environment, url: str) -> Start:
    async def start() -> tuple[dict[str, float], dict[str, float]]:
        variables = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG") or name.startswith("AWS_")
        }
        path = os.pathsep.join(map(str, application.path))
        started = time.monotonic_ns()
        process = await asyncio.create_subprocess_exec(
            str(application.interpreter),
            str(PROGRAMS / "caller.py"),
            env={**variables, "ODM_URL": url, "PYTHONPATH": path},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_CALLER_TIMEOUT_S):
                told, errors = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise RuntimeError(errors.decode(errors="replace")[-500:])
        return caller_phases(started, json.loads(told)), {}

    return start


def caller_phases(started: int, stamps: Stamps) -> dict[str, float]:
    """Return a start's phases in ms.

    Args:
        started: when the process was made.
        stamps: what it noted, in the order of time.
    """
    found = dict.fromkeys(CALLER_PHASES, 0)
    for name, when in stamps:
        found[name] = when - started
        started = when
    return _ms(found)


def _ms(spans: Mapping[str, int]) -> dict[str, float]:
    return {name: span / 1e6 for name, span in spans.items()}
