"""One function: its execution environments, who gets which invocation, and its counts.

Owns the choice between a warm environment and a new one, retries of a failed init phase, retiring,
and statistics. Whether an invocation may run at all is :mod:`.concurrency`'s business.
Specification: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transports.errors import MissingExtra
from transports.local_lambda.cleanup import Cleanup
from transports.local_lambda.configuration import FunctionConfiguration
from transports.local_lambda.environment import Environment, State
from transports.local_lambda.faults import (
    InitFailure,
    Outcome,
    OutcomeKind,
    ServiceError,
    not_restored,
)
from transports.local_lambda.invocation import Invocation
from transports.local_lambda.log import EnvironmentLog
from transports.local_lambda.managed import ManagedEnvironment
from transports.local_lambda.qualifiers import Account
from transports.local_lambda.sandbox import Sandbox, prepare
from transports.local_lambda.snapshot import Snapshot, SnapshotFailed

_RETAINED_LOGS = 64
LogSink = Callable[[str, str, bytes], None]
"""Takes the function's name, the environment's id, and what was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionStatistics:
    """Counts since the function was added, in CloudWatch's words.

    ``invocations`` does not count throttles; ``errors`` are function errors of every kind, timeouts
    among them. ``environments`` and ``concurrent_executions`` are of this moment, ``max_`` is the
    highest there was.
    """

    invocations: int = 0
    cold_starts: int = 0
    throttles: int = 0
    errors: int = 0
    timeouts: int = 0
    environments: int = 0
    environments_started: int = 0
    max_environments: int = 0
    concurrent_executions: int = 0
    max_concurrent_executions: int = 0


class Function:
    """A function and the environments that run it."""

    def __init__(
        self,
        configuration: FunctionConfiguration,
        account: Account,
        cleanup: Cleanup,
        log_sink: LogSink | None = None,
    ) -> None:
        self.configuration = configuration
        self.concurrent_executions = 0
        self.max_concurrent_executions = 0
        self.invocations = 0
        self.cold_starts = 0
        self.throttles = 0
        self.errors = 0
        self.timeouts = 0
        self._environments_started = 0
        self._max_environments = 0
        self._account = account
        self._cleanup = cleanup
        self._log_sink = log_sink
        self._environments: dict[str, Environment] = {}
        self._idle: list[Environment] = []  # the most recently used last
        self._ended_logs: deque[tuple[str, EnvironmentLog]] = deque(maxlen=_RETAINED_LOGS)
        self._generation = 0
        self._sandbox: asyncio.Task[Sandbox] | None = None
        self._snapshots: dict[str, asyncio.Task[Snapshot]] = {}
        self._retired_snapshots: list[Snapshot] = []
        self._stopping: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- invocations ---

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run an admitted invocation to its end.

        Raises:
            ServiceError: no environment can be started at all.
        """
        self.invocations += 1
        environment = self._warm(invocation.version)
        if environment is not None:
            outcome = await environment.run(invocation)
        if environment is None or outcome.kind is OutcomeKind.UNDELIVERED:
            invocation.undelivered()
            outcome = await self._invoke_cold(invocation)
        if outcome.is_error:
            self.errors += 1
            self.timeouts += outcome.kind is OutcomeKind.TIMEOUT
        return outcome

    def _warm(self, version: str) -> Environment | None:
        """Choose the most recently used idle environment; else one that has just answered."""
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].version == version:
                return self._idle.pop(index)
        for environment in self._environments.values():
            if environment.version == version and environment.can_be_joined:
                return environment
        return None

    async def _invoke_cold(self, invocation: Invocation) -> Outcome:
        """Start an environment for it.

        An init phase that fails is repeated as a part of the invocation, with the function's
        timeout, as AWS does; the caller hears of the second failure only.
        """
        self.cold_starts += 1
        configuration = self.configuration
        environment = await self._start(invocation.version, "init", configuration.init_limit_s)
        environment.is_expecting = False
        outcome = await environment.run(invocation)
        if outcome.kind is not OutcomeKind.UNDELIVERED:
            return outcome
        if configuration.is_restored(invocation.version):
            raise not_restored(environment.init_failure)
        invocation.undelivered()
        loop = asyncio.get_running_loop()
        invocation.started = loop.time()
        invocation.deadline = invocation.started + configuration.timeout_s
        environment = await self._start(invocation.version, "invoke", configuration.timeout_s)
        environment.is_expecting = False
        outcome = await environment.run(invocation)
        if outcome.kind is OutcomeKind.UNDELIVERED:
            failure = environment.init_failure or InitFailure("error", returncode=-9)
            outcome = failure.outcome(invocation.request_id, configuration.timeout_s)
            environment.report_failed_init(invocation, outcome)
        return outcome

    async def _start(
        self, version: str, phase: Literal["init", "invoke"], init_timeout_s: float
    ) -> Environment:
        if self._closed:  # the environment it was in, or was waiting for, was shut down
            raise ServiceError(503, "ServiceException", "the local Lambda is shutting down")
        configuration = self.configuration
        name = configuration.name
        log_sink = self._log_sink
        managed = configuration.per_execution_environment_max_concurrency is not None
        environment = (ManagedEnvironment if managed else Environment)(
            configuration,
            version,
            EnvironmentLog(),
            phase=phase,
            on_idle=self._idles,
            on_ended=self._ends,
        )
        if log_sink is not None:
            environment.log.sink = functools.partial(log_sink, name, environment.id)
        self._environments[environment.id] = environment
        self._environments_started += 1
        self._max_environments = max(self._max_environments, len(self._environments))
        try:
            sandbox = await self._prepared()
            snapshot = None
            if configuration.is_restored(version):
                snapshot = await self._snapshot(version, sandbox)
            await environment.start(sandbox, self._account, self._cleanup, init_timeout_s, snapshot)
        except SnapshotFailed as error:
            environment.kill()
            raise not_restored(error.failure) from error
        except (OSError, MissingExtra) as error:
            environment.kill()
            raise ServiceError(502, "InvalidRuntimeException", f"{name}: {error}") from error
        except BaseException:
            environment.kill()
            raise
        return environment

    async def _prepared(self) -> Sandbox:
        """Prepare this generation's code and interpreter, once."""
        if self._sandbox is None or (self._sandbox.done() and self._sandbox.exception()):
            self._generation += 1
            directory = self._cleanup.directory / self._code_directory()
            self._sandbox = asyncio.create_task(prepare(self.configuration, directory))
        # One caller's cancellation is not the others'.
        return await asyncio.shield(self._sandbox)

    async def _snapshot(self, version: str, sandbox: Sandbox) -> Snapshot:
        """Take the version's snapshot, once: on AWS when it is published, here when it is needed.

        Raises:
            SnapshotFailed: its init code or a hook failed; the next invocation tries again.
        """
        task = self._snapshots.get(version)
        if task is None or (task.done() and (task.exception() or not task.result().usable)):
            task = asyncio.create_task(self._take_snapshot(version, sandbox))
            self._snapshots[version] = task
        return await asyncio.shield(task)

    async def _take_snapshot(self, version: str, sandbox: Sandbox) -> Snapshot:
        snapshot = Snapshot(self.configuration, version)
        if self._log_sink is not None:
            snapshot.log.sink = functools.partial(
                self._log_sink, self.configuration.name, snapshot.id
            )
        self._ended_logs.append((snapshot.id, snapshot.log))
        await snapshot.take(sandbox, self._account, self._cleanup)
        return snapshot

    def _forget_snapshots(self) -> None:
        for task in self._snapshots.values():
            if not task.done():
                task.cancel()
            elif not task.cancelled() and task.exception() is None:
                task.result().retire()
                self._retired_snapshots.append(task.result())
        self._snapshots = {}

    def _code_directory(self) -> Path:
        return Path("code") / self.configuration.name / str(self._generation)

    # --- environments ---

    def _idles(self, environment: Environment) -> None:
        if environment.retiring:
            self._leave(environment)
            return
        self._idle.append(environment)
        loop = asyncio.get_running_loop()
        environment.idle_timer = loop.call_later(
            environment.configuration.idle_timeout_s, self._stop, environment
        )

    def _ends(self, environment: Environment) -> None:
        if self._environments.pop(environment.id, None) is not None:
            self._ended_logs.append((environment.id, environment.log))
        self._forget_idle(environment)

    def _forget_idle(self, environment: Environment) -> None:
        with contextlib.suppress(ValueError):
            self._idle.remove(environment)

    def _stop(self, environment: Environment) -> None:
        """Shut an idle environment down, in the background."""
        self._forget_idle(environment)
        environment.retiring = True
        task = asyncio.create_task(environment.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def update(self, configuration: FunctionConfiguration, linger_s: float = 0) -> None:
        """Take a new configuration; environments of the old one end after what they run."""
        self.configuration = configuration
        self._sandbox = None
        await self.retire(linger_s)

    async def retire(self, linger_s: float = 0) -> None:
        """Shut down the idle environments and have the others follow when they are done.

        With *linger_s* they stay for so long before that, frozen.
        """
        self._forget_snapshots()
        for environment in list(self._environments.values()):
            if environment.retiring:
                continue
            environment.retiring, environment.linger_s = True, linger_s
            if environment.state is State.IDLE:
                self._leave(environment)
        if self._stopping:
            await asyncio.wait(self._stopping)

    def _leave(self, environment: Environment) -> None:
        """Shut a retiring environment down that is idle; frozen first, if it is to linger."""
        if not environment.linger_s:
            self._stop(environment)
            return
        self._forget_idle(environment)
        if environment.idle_timer is not None:
            environment.idle_timer.cancel()
        environment.freeze()
        loop = asyncio.get_running_loop()
        environment.idle_timer = loop.call_later(environment.linger_s, self._stop, environment)

    async def aclose(self) -> None:
        """Shut every environment down, whatever it does. Bounded."""
        self._closed = True
        if self._sandbox is not None:
            self._sandbox.cancel()
        for environment in list(self._environments.values()):
            self._stop(environment)
        if self._stopping:
            await asyncio.wait(self._stopping)
        self._forget_snapshots()
        await asyncio.gather(*(snapshot.aclose() for snapshot in self._retired_snapshots))

    def kill(self) -> None:
        """SIGKILL to every environment, at once."""
        for environment in list(self._environments.values()):
            environment.kill()

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Those alive, the oldest first."""
        return tuple(self._environments.values())

    # --- to be looked at ---

    def statistics(self) -> FunctionStatistics:
        """Return the counts until now."""
        return FunctionStatistics(
            invocations=self.invocations,
            cold_starts=self.cold_starts,
            throttles=self.throttles,
            errors=self.errors,
            timeouts=self.timeouts,
            environments=len(self._environments),
            environments_started=self._environments_started,
            max_environments=self._max_environments,
            concurrent_executions=self.concurrent_executions,
            max_concurrent_executions=self.max_concurrent_executions,
        )

    def logs(self, environment_id: str | None = None) -> str:
        """Return the log of one environment, or of all, the oldest first.

        Raises:
            KeyError: no such environment, or it ended long ago.
        """
        logs = dict(self._ended_logs)
        logs.update((environment.id, environment.log) for environment in self.environments)
        if environment_id is not None:
            return logs[environment_id].text()
        return "".join(log.text() for log in logs.values())
