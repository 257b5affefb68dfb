"""The local Lambda of a run, in a process of its own: it does not share the callers' event loop.

Run as ``python -m odm.cli.bench.lambda_process``; reads one JSON line from stdin, `Order`, and
writes JSON lines to stdout: first ``{"endpoint": …, "ca_bundle": …}``, then for every cold start
its REPORT line's numbers, ``{"function": …, "duration_ms": …, "init_ms": …}``. It ends when stdin
does.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from odm.cli import proxy_function
from odm.cli.bench import functions
from transports.local_lambda import FunctionConfiguration, LocalLambda
from transports.local_lambda.serve import serve

PROXY_2020 = "proxy-2020"

_DURATION = re.compile(r"(?<!Billed )(?<!Init )(?<!Restore )Duration: (?P<ms>[\d.]+) ms")
_INIT = re.compile(r"Init Duration: (?P<ms>[\d.]+) ms")
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be served.

    Attributes:
        mongodb_uri: what the functions connect to.
        database: the one that the function of 2020 has in its configuration.
        concurrency: reserved concurrency of each function.
        cold_starts: how many further functions of each kind there are, each for one cold start.
        scenarios: how many further DB proxy functions there are, each for callers of its own.
        tls: whether by HTTPS.
    """

    mongodb_uri: str
    database: str
    concurrency: int
    cold_starts: int
    scenarios: int
    tls: bool

    def line(self) -> bytes:
        """Return it as the line that the process reads."""
        return json.dumps(asdict(self)).encode() + b"\n"


def cold_name(name: str, number: int) -> str:
    """Return the name of the function that *name*'s *number*-th cold start is measured with."""
    return f"{name}-cold-{number}"


def scenario_name(number: int) -> str:
    """Return the name of the DB proxy function that the *number*-th scenario's callers share."""
    return f"{proxy_function.NAME}-callers-{number}"


def configurations(order: Order) -> Iterator[FunctionConfiguration]:
    """Return the functions of *order*."""
    from odm.cli.bench.functions.protocol_2020 import DATABASE_VARIABLE, URI_VARIABLE

    proxy = proxy_function.configuration(
        order.mongodb_uri,
        concurrency=order.concurrency,
        timeout_s=_TIMEOUT_S,
        policy=proxy_function.EVERY_DATABASE,
    )
    of_2020 = FunctionConfiguration(
        name=PROXY_2020,
        handler="protocol_2020.handler",
        code=(Path(functions.__file__ or "").parent,),
        environment={URI_VARIABLE: order.mongodb_uri, DATABASE_VARIABLE: order.database},
        memory_size_mb=proxy.memory_size_mb,
        timeout_s=_TIMEOUT_S,
        reserved_concurrency=order.concurrency,
    )
    for number in range(order.scenarios):
        yield replace(proxy, name=scenario_name(number))
    for function in (proxy, of_2020):
        yield function
        for number in range(order.cold_starts):
            yield replace(
                function, name=cold_name(function.name, number), reserved_concurrency=None
            )


class Reports:
    """Takes what functions log, in whatever pieces, and gives the numbers of REPORT lines."""

    def __init__(self) -> None:
        self._unfinished: dict[tuple[str, str], bytes] = {}

    def take(self, function: str, environment: str, data: bytes) -> list[dict[str, Any]]:
        """Return what *data* completes."""
        *lines, rest = (self._unfinished.pop((function, environment), b"") + data).split(b"\n")
        if rest:
            self._unfinished[function, environment] = rest
        found = []
        for line in lines:
            text = line.decode(errors="replace")
            if text.startswith("REPORT ") and (duration := _DURATION.search(text)):
                init = _INIT.search(text)
                found.append(
                    {
                        "function": function,
                        "duration_ms": float(duration["ms"]),
                        "init_ms": float(init["ms"]) if init else None,
                    }
                )
        return found


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


async def _serve(order: Order) -> None:
    reports = Reports()

    def log(function: str, environment: str, data: bytes) -> None:
        for report in reports.take(function, environment, data):
            if report["init_ms"] is not None:  # the others' number is large, and nobody asks
                _say(report)

    async def ready(service: LocalLambda) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), _end)
        ca_bundle = str(service.ca_bundle) if service.ca_bundle is not None else None
        _say({"endpoint": service.endpoint_url, "ca_bundle": ca_bundle})

    await serve(
        configurations(order),
        on_ready=ready,
        log_sink=log,
        region=proxy_function.REGION,
        tls=order.tls,
    )


def _end() -> None:
    """Whoever asked for the service has closed its end, or is gone."""
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    asyncio.run(_serve(Order(**json.loads(sys.stdin.buffer.readline()))))
