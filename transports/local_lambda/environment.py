"""One execution environment: a process, its Runtime API, and what it is doing now.

Owns the life of one environment and the invocation in it: init, idle, busy, finishing, ended. One
invocation at a time. Every way out (an answer, the deadline, the process's end) completes the
invocation exactly once, so that none can hang. Which environment gets which invocation is decided
elsewhere. Specification: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from transports.local_lambda.cleanup import Cleanup
from transports.local_lambda.configuration import FunctionConfiguration
from transports.local_lambda.faults import (
    InitFailure,
    Outcome,
    OutcomeKind,
    exit_reason,
    exited,
    timed_out,
)
from transports.local_lambda.invocation import Invocation
from transports.local_lambda.log import (
    MAX_LOG_BYTES,
    EnvironmentLog,
    Report,
    init_report,
    timestamp,
)
from transports.local_lambda.process import ProcessGroup, resident_mb
from transports.local_lambda.qualifiers import Account
from transports.local_lambda.runtime_api import RuntimeApi, RuntimeConnection
from transports.local_lambda.sandbox import Sandbox
from transports.local_lambda.snapshot import Snapshot

SHUTDOWN_GRACE_S = 0.5
"""From SIGTERM to SIGKILL."""
_WAKE_S = 0.05
_KILL_S = 5.0
# What the runtime client says when it is told that there is no further event, which AWS never
# tells it: no business of the function's log.
_WOKEN = re.compile(
    rb"^\[ERROR\] \[\d+\] LAMBDA_RUNTIME Failed to get next[^\n]*\n"
    rb"|^Traceback \(most recent call last\):\n(?:[ ][^\n]*\n)+RuntimeError: Failed to get next\n",
    re.MULTILINE,
)


class State(Enum):
    """What an environment is doing."""

    INIT = "init"
    IDLE = "idle"
    BUSY = "busy"
    FINISHING = "finishing"
    """It has answered and has not asked for the next event yet."""
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentDescription:
    """An execution environment at one moment; ``invocations`` counts those it has completed."""

    id: str
    pid: int
    state: str
    invocations: int
    version: str
    frozen: bool
    memory_used_mb: int


class Processes(Protocol):
    """A process that leads a group: spawned, or made of a snapshot."""

    pid: int

    @property
    def alive(self) -> bool: ...  # noqa: D102 - as ProcessGroup has them, these four
    def terminate(self) -> None: ...  # noqa: D102
    def signal_group(self, number: signal.Signals) -> None: ...  # noqa: D102
    def drain(self) -> None: ...  # noqa: D102


class Environment:
    """An execution environment.

    Args:
        configuration: the function's, as it was when the environment was started.
        version: ``$LATEST`` or a number.
        phase: of what its init is a part: ``init``, or ``invoke`` if it repeats a failed one.
        log: takes what the function writes.
        on_idle: called when it can take an invocation.
        on_ended: called once, when its process group is gone.
    """

    def __init__(
        self,
        configuration: FunctionConfiguration,
        version: str,
        log: EnvironmentLog,
        *,
        phase: Literal["init", "invoke"],
        on_idle: Callable[[Environment], None],
        on_ended: Callable[[Environment], None],
    ) -> None:
        self.id = uuid.uuid4().hex
        self.configuration = configuration
        self.version = version
        self.log = log
        self.state = State.INIT
        self.retiring = False
        self.linger_s = 0.0  # between its last invocation and its shutdown, once it is retiring
        self.is_expecting = True  # the invocation that it is started for
        self.invocations = 0
        self.init_failure: InitFailure | None = None
        self.idle_timer: asyncio.TimerHandle | None = None
        self._phase = phase
        self._on_idle = on_idle
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._api = RuntimeApi(self)
        self._process: Processes | None = None
        self._restored = False
        self._cleanup: Cleanup | None = None
        self._current: Invocation | None = None
        self._pending: Invocation | None = None
        self._timed_out: Invocation | None = None
        self._next: asyncio.Future[Invocation | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_words: bytearray | None = None
        self._frozen = False
        self._memory_used_mb = 0
        self._started = self._loop.time()
        self._init_duration_ms: float | None = None

    # --- life ---

    async def start(
        self,
        sandbox: Sandbox,
        account: Account,
        cleanup: Cleanup,
        init_timeout_s: float,
        snapshot: Snapshot | None = None,
    ) -> None:
        """Spawn the process, or restore it; init ends when it asks for its first event.

        Raises:
            OSError: the interpreter cannot be started, or the snapshot is gone.
        """
        self._cleanup = cleanup
        if self.state is State.ENDED:  # killed before it began
            return
        temporary = cleanup.directory / self.id
        self._restored = snapshot is not None
        try:
            temporary.mkdir()
            self._started = self._loop.time()
            word = "RESTORE_START" if self._restored else "INIT_START"
            self.log.platform(f"{word} Runtime Version: python:{sandbox.python_version}")
            cleanup.begins(self.id)
            variables = sandbox.variables(
                self.configuration,
                account,
                version=self.version,
                environment_id=self.id,
                runtime_api=self._api.listen(),
                temporary=temporary,
            )
            self._timer = self._loop.call_later(init_timeout_s, self._init_expired)
            if snapshot is None:
                self._process = ProcessGroup(
                    [str(sandbox.interpreter), "-m", "awslambdaric", self.configuration.handler],
                    environment=variables,
                    directory=sandbox.task_root,
                    on_output=self._write,
                    on_exit=self._exited,
                )
            else:
                self._process = await snapshot.restore(
                    self.id, variables, on_output=self._write, on_exit=self._exited
                )
        except OSError:
            self._end()
            raise
        if self._is_ended():  # killed while it was being restored
            self._process.signal_group(signal.SIGKILL)

    def _is_ended(self) -> bool:
        return self.state is State.ENDED

    async def stop(self) -> None:
        """End it as AWS does: SIGTERM, and SIGKILL after half a second. Bounded.

        Without an extension there is no SIGTERM.
        """
        if self._process is None:
            self._end()
            return
        if not self.configuration.has_extension:
            await self.killed()
            return
        if self.state is not State.ENDED:
            self.state = State.STOPPING
            self._process.terminate()
            # A process without a hook has ended by now. One with a hook can be blocked in the
            # runtime client's C code, where Python runs no signal handler: answering its call
            # for the next event brings it back.
            if not await self._has_ended(_WAKE_S):
                self._last_words = bytearray()
                self._wake(None)
                if not await self._has_ended(SHUTDOWN_GRACE_S - _WAKE_S):
                    self.kill()
        await self._has_ended(_KILL_S)

    def kill(self) -> None:
        """SIGKILL to the whole process group."""
        if self._process is None:
            self._end()
        else:
            self._process.signal_group(signal.SIGKILL)

    async def killed(self) -> None:
        """Kill it and wait until it is gone."""
        self.kill()
        await self._has_ended(_KILL_S)

    def freeze(self) -> None:
        """SIGSTOP to the whole process group; if it is finishing, as soon as it is idle.

        Stopped any earlier, it would not be there to take the event that is meant to be stuck.
        """
        self._frozen = True
        if self._process is not None and self.state is not State.FINISHING:
            self._process.signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT to the whole process group."""
        self._frozen = False
        if self._process is not None:
            self._process.signal_group(signal.SIGCONT)

    def check_memory(self) -> None:
        """Kill it if its process is larger than the function's memory."""
        if self._measure_memory() > self.configuration.memory_size_mb:
            self.kill()

    def describe(self) -> EnvironmentDescription:
        """Describe what it is and does now."""
        return EnvironmentDescription(
            id=self.id,
            pid=self._process.pid if self._process is not None else 0,
            state=self.state.value,
            invocations=self.invocations,
            version=self.version,
            frozen=self._frozen,
            memory_used_mb=self._memory_used_mb,
        )

    # --- the side of the service ---

    @property
    def takes_invocations(self) -> bool:
        """Whether :meth:`run` can be called: it is idle, or about to be and not spoken for."""
        if self.retiring or self._pending is not None:
            return False
        return self.state in (State.INIT, State.IDLE, State.FINISHING)

    @property
    def can_be_joined(self) -> bool:
        """Whether it takes an invocation though it is not idle: it has just answered."""
        return self.state is State.FINISHING and self.takes_invocations

    async def run(self, invocation: Invocation) -> Outcome:
        """Run an invocation, now or as soon as the process asks for it.

        Returns the outcome; ``UNDELIVERED`` if the environment ended before it took the event.
        """
        if self.state is State.IDLE:
            self._deliver(invocation)
            self._wake(invocation)
        elif self.state is State.ENDED:
            return Outcome(OutcomeKind.UNDELIVERED)
        else:
            self._pending = invocation
        return await invocation.outcome

    # --- the side of the runtime client ---

    async def next_invocation(self, client: RuntimeConnection) -> Invocation | None:
        """End the init phase, or the last invocation, and wait for an event."""
        if self.state in (State.STOPPING, State.ENDED) or self._current is not None:
            return None
        self._cancel_timer()
        if self._init_duration_ms is None:
            self._init_duration_ms = (self._loop.time() - self._started) * 1000
        if self._frozen and self._process is not None:
            self._process.signal_group(signal.SIGSTOP)
        if self._pending is not None:
            invocation, self._pending = self._pending, None
            self._deliver(invocation)
            return invocation
        self._wake(None)  # a call that was given up
        self._next = self._loop.create_future()
        self.state = State.IDLE
        waiter = self._next
        self._on_idle(self)
        return await waiter

    def is_running(self, request_id: str) -> bool:
        """Whether this invocation runs here."""
        current = self._current
        return (
            current is not None
            and current.request_id == request_id
            and current is not self._timed_out  # an answer in the instant of the deadline is late
        )

    def complete(self, request_id: str, outcome: Outcome) -> None:
        """End the running invocation; the environment is free when it asks for the next."""
        invocation = self._current
        assert invocation is not None
        self._current = None
        if self.state is State.BUSY:
            self.state = State.FINISHING
        self._answer(invocation, outcome)

    def fail_init(self, payload: bytes, error_type: str) -> None:
        """Note that the handler could not be loaded; the process exits next."""
        if self.init_failure is None:
            self.init_failure = InitFailure("error", error_type, payload)

    def report_failed_init(self, invocation: Invocation, outcome: Outcome) -> None:
        """Write the log lines of an invocation that got no further than the init phase."""
        invocation.log_offset = 0
        self.log.platform(f"START RequestId: {invocation.request_id} Version: {self.version}")
        self._report(invocation, outcome)

    # --- inside ---

    def _deliver(self, invocation: Invocation) -> None:
        remaining = self._begin(invocation)
        self._current = invocation
        if self.idle_timer is not None:
            self.idle_timer.cancel()
        self._timer = self._loop.call_later(remaining, self._expired)

    def _begin(self, invocation: Invocation) -> float:
        """Note that an invocation runs from now on; return how many seconds it has."""
        now = self._loop.time()
        if invocation.deadline is None:
            invocation.deadline = now + self.configuration.timeout_s
        remaining = invocation.deadline - now
        invocation.deadline_epoch_ms = int((time.time() + remaining) * 1000)
        invocation.started = now
        invocation.log_offset = self.log.offset
        self.log.platform(f"START RequestId: {invocation.request_id} Version: {self.version}")
        self.state = State.BUSY
        return remaining

    def _write(self, data: bytes) -> None:
        if self._last_words is None:
            self.log.write(data)
        elif len(self._last_words) < MAX_LOG_BYTES:
            self._last_words += data

    def _wake(self, invocation: Invocation | None) -> None:
        waiter, self._next = self._next, None
        if waiter is not None and not waiter.done():
            waiter.set_result(invocation)

    def _expired(self) -> None:
        """Enforce the deadline; after an answer, too, if it does not come back for more.

        The caller hears of it when the processes are gone: what follows may rely on that.
        """
        self._timed_out = self._current
        self.kill()

    def _init_expired(self) -> None:
        self.init_failure = InitFailure("timeout")
        self.kill()

    def _exited(self, returncode: int) -> None:
        if self._current is not None and self._current is self._timed_out:
            timeout_s = self.configuration.timeout_s
            request_id = self._current.request_id
            self.complete(request_id, timed_out(request_id, timeout_s))
        elif self._current is not None:
            invocation = self._current
            self.log.platform(
                f"RequestId: {invocation.request_id} Error: {exit_reason(returncode)}\n"
                "Runtime.ExitError"
            )
            self.complete(invocation.request_id, exited(invocation.request_id, returncode))
        elif self._init_duration_ms is None:
            self._init_exited(returncode)
        self._end()

    def _init_exited(self, returncode: int) -> None:
        """Note that its process has ended before it asked for an event."""
        failure = self.init_failure
        if failure is None:
            failure = InitFailure("error", "Runtime.ExitError", returncode=returncode)
            self.init_failure = failure
        duration_ms = (self._loop.time() - self._started) * 1000
        self.log.platform(init_report(duration_ms, self._phase, failure.status, failure.error_type))

    def _end(self) -> None:
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        if self._last_words is not None:
            self.log.write(_WOKEN.sub(b"", self._last_words))
        self._cancel_timer()
        if self.idle_timer is not None:
            self.idle_timer.cancel()
        self._wake(None)
        self._api.close()
        pending, self._pending = self._pending, None
        if pending is not None and not pending.outcome.done():
            pending.outcome.set_result(Outcome(OutcomeKind.UNDELIVERED))
        if self._cleanup is not None:
            self._cleanup.ended(self.id)
            shutil.rmtree(self._cleanup.directory / self.id, ignore_errors=True)
        self._ended.set()
        self._on_ended(self)

    def _answer(self, invocation: Invocation, outcome: Outcome) -> None:
        """Note that an invocation has ended, and tell its caller."""
        self._report(invocation, outcome)
        self.invocations += 1
        if not invocation.outcome.done():
            invocation.outcome.set_result(outcome)

    def _report(self, invocation: Invocation, outcome: Outcome) -> None:
        """Write the function's last output, then the platform's lines."""
        if self._process is not None:
            self._process.drain()
        request_id = invocation.request_id
        status = error_type = ""
        if outcome.kind is OutcomeKind.TIMEOUT:
            status = "timeout"
            seconds = f"{self.configuration.timeout_s:.2f} seconds"
            self.log.platform(f"{timestamp()} {request_id} Task timed out after {seconds}\n")
        elif outcome.is_error:
            status, error_type = "error", outcome.error_type
        self.log.platform(f"END RequestId: {request_id}")
        first = self.invocations == 0 and self._phase == "init"
        report = Report(
            request_id=request_id,
            duration_ms=(self._loop.time() - invocation.started) * 1000,
            memory_size_mb=self.configuration.memory_size_mb,
            max_memory_used_mb=self._measure_memory(),
            init_duration_ms=self._init_duration_ms if first and not self._restored else None,
            restore_duration_ms=self._init_duration_ms if first and self._restored else None,
            status=status,
            error_type=error_type,
        )
        self.log.platform(str(report))
        if invocation.want_log:
            invocation.log_tail = self.log.since(invocation.log_offset)

    def _measure_memory(self) -> int:
        """Return the most that was seen, in MB."""
        if self._process is not None and self._process.alive:
            self._memory_used_mb = max(self._memory_used_mb, resident_mb(self._process.pid))
        return self._memory_used_mb

    async def _has_ended(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._ended.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
