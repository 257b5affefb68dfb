"""A function's process under the official runtime client, with its Runtime API in this one.

What `transports.local_lambda` does for a whole service, for one process and with nothing between:
when it is started, when it asks for its first event, and when its reply is here, is known to the
microsecond. Times are of the system's monotonic clock, in ns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from odm.cli.bench.cold_environments import Environment
from odm.cli.bench.functions import cold
from transports.local_lambda.faults import Outcome
from transports.local_lambda.invocation import Invocation
from transports.local_lambda.runtime_api import RuntimeApi, RuntimeConnection

PROGRAMS = Path(cold.__file__).parent
_ARN = "arn:aws:lambda:us-east-1:123456789012:function:odm-bench"
_TIMEOUT_S = 60.0


class FunctionProcess:
    """One execution environment: give it events, read its clock and its memory.

    Args:
        on_initialised: called with the process id when it first asks for an event.

    Attributes:
        spawned: when its process was made.
        asked: when it asked for its first event: its initialisation has ended.
        delivered: when the last event was on its way.
        replied: when the last reply was here.
    """

    def __init__(self, on_initialised: Callable[[int], None]) -> None:
        self._on_initialised = on_initialised
        self._events: asyncio.Queue[Invocation] = asyncio.Queue()
        self._running: Invocation | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.process: asyncio.subprocess.Process | None = None
        self.spawned = self.asked = self.delivered = self.replied = 0

    async def invoke(self, payload: bytes) -> bytes:
        """Return the reply's payload.

        Raises:
            RuntimeError: the initialisation failed, or the process ended.
            TimeoutError: nothing came.
        """
        assert self.process is not None
        invocation = Invocation(str(uuid4()), payload, _ARN, "$LATEST")
        invocation.deadline_epoch_ms = int((time.time() + _TIMEOUT_S) * 1000)
        await self._events.put(invocation)
        end = asyncio.ensure_future(self.process.wait())
        try:
            waited: set[asyncio.Future[Any]] = {end, invocation.outcome, self._failed}
            await asyncio.wait(
                waited,
                timeout=_TIMEOUT_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            end.cancel()
        if self._failed.done():
            self._failed.result()
        if not invocation.outcome.done():
            raise RuntimeError("the function's process ended, or does not answer")
        return invocation.outcome.result().payload

    def memory_mb(self) -> tuple[float, float]:
        """Return what the process has of memory, and the most it had, in MB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        found = {name: value for name, _, value in (line.partition(":") for line in status)}
        return tuple(int(found[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]  # two

    async def next_invocation(self, client: RuntimeConnection) -> Invocation | None:
        """Give the next event; of `RuntimeClientPeer`, as what follows."""
        if not self.asked:
            self.asked = time.monotonic_ns()
            assert self.process is not None
            self._on_initialised(self.process.pid)
        self._running = await self._events.get()
        self.delivered = time.monotonic_ns()
        return self._running

    def is_running(self, request_id: str) -> bool:
        """Whether this is the event under way."""
        return self._running is not None and self._running.request_id == request_id

    def complete(self, request_id: str, outcome: Outcome) -> None:
        """Take the reply."""
        self.replied = time.monotonic_ns()
        assert self._running is not None
        self._running.outcome.set_result(outcome)
        self._running = None

    def fail_init(self, payload: bytes, error_type: str) -> None:
        """Take what the initialisation failed of."""
        if not self._failed.done():
            self._failed.set_exception(RuntimeError(payload.decode(errors="replace")))


@asynccontextmanager
async def function_process(
    environment: Environment,
    variables: Mapping[str, str],
    *,
    handler: str = "handler.handler",
    path: tuple[Path, ...] = (),
    on_initialised: Callable[[int], None] = lambda pid: None,
) -> AsyncIterator[FunctionProcess]:
    """Start a process; it is killed in the end, as Lambda does.

    Args:
        environment: what it imports from.
        variables: of the function.
        handler: what `functions.cold.launch` gives to the runtime client.
        path: further directories to import from.
        on_initialised: see `FunctionProcess`.
    """
    function = FunctionProcess(on_initialised)
    api = RuntimeApi(function)
    everything: dict[str, Any] = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "en_US.UTF-8",
        "PYTHONPATH": os.pathsep.join(map(str, (*path, *environment.path))),
        "ODM_BENCH_LAUNCHES": handler,
        "AWS_LAMBDA_RUNTIME_API": api.listen(),
        "AWS_LAMBDA_FUNCTION_NAME": "odm-bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "AWS_REGION": "us-east-1",
        **variables,
    }
    try:
        function.spawned = time.monotonic_ns()
        function.process = await asyncio.create_subprocess_exec(
            str(environment.interpreter),
            str(PROGRAMS / "launch.py"),
            env=everything,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        yield function
    finally:
        if function.process is not None:
            with contextlib.suppress(ProcessLookupError):
                function.process.kill()
            await function.process.wait()
        api.close()
