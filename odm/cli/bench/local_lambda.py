"""Starting the run's local Lambda, and hearing of its cold starts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from odm.cli.bench.lambda_process import Order
from odm.cli.failures import CommandFailed
from transports.errors import MissingExtra

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 15.0
_REPORT_TIMEOUT_S = 5.0


@dataclass(slots=True)
class LocalService:
    """The local Lambda of a run: where it is, and the REPORT numbers of functions' cold starts.

    Attributes:
        endpoint_url: where it is.
        ca_bundle: the file with the certificate to trust; None without TLS.
    """

    endpoint_url: str
    ca_bundle: str | None
    _reports: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def cold_start(self, function: str) -> dict[str, Any] | None:
        """Return the REPORT numbers of *function*'s first cold start; None if none comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REPORT_TIMEOUT_S), self._heard:
                await self._heard.wait_for(lambda: self._reports[function])
                return self._reports[function][0]
        return None

    async def listen(self, stdout: asyncio.StreamReader) -> None:
        """Take the process's reports until it ends."""
        while line := await stdout.readline():
            report = json.loads(line)
            async with self._heard:
                self._reports[report["function"]].append(report)
                self._heard.notify_all()


@asynccontextmanager
async def local_lambda(order: Order) -> AsyncIterator[LocalService]:
    """Serve *order* while the block runs.

    Raises:
        MissingExtra: a package of the local Lambda's is not installed.
        CommandFailed: it did not start.
    """
    _require_packages(order)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "odm.cli.bench.lambda_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process, which ends that one
    )
    assert process.stdin is not None
    assert process.stdout is not None
    listening: asyncio.Task[None] | None = None
    try:
        process.stdin.write(order.line())
        async with asyncio.timeout(_START_TIMEOUT_S):
            first = await process.stdout.readline()
        if not first:
            raise CommandFailed("the local Lambda did not start")
        started = json.loads(first)
        service = LocalService(started["endpoint"], started["ca_bundle"])
        listening = asyncio.create_task(service.listen(process.stdout))
        yield service
    except TimeoutError as error:
        raise CommandFailed("the local Lambda did not start in time") from error
    finally:
        await _stop(process, listening)


def _require_packages(order: Order) -> None:
    """Say here what the process could not: nobody reads its stderr."""
    for package in ("aiohttp", "awslambdaric", *(["trustme"] if order.tls else [])):
        if find_spec(package) is None:
            raise MissingExtra("the local Lambda of odm bench", package, "local")


async def _stop(process: asyncio.subprocess.Process, listening: asyncio.Task[None] | None) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        if listening is not None:
            listening.cancel()
