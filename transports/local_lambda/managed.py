"""An execution environment of Lambda Managed Instances: several processes, one invocation in each.

Owns what differs from an environment with one invocation at a time: the runtime client spawns a
process for each concurrent invocation, all of which talk to one Runtime API and share ``/tmp`` and
the memory limit. A time-out stops nothing, and an environment goes on without a process that ended.
Specification:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-execution-environment.html and
https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-python-runtime.html.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from transports.local_lambda.environment import Environment, State
from transports.local_lambda.faults import Outcome, OutcomeKind, exited, timed_out
from transports.local_lambda.invocation import Invocation
from transports.local_lambda.process import group_mb
from transports.local_lambda.runtime_api import RuntimeConnection


class ManagedEnvironment(Environment):
    """An execution environment with several processes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        processes = self.configuration.per_execution_environment_max_concurrency
        assert processes is not None
        self._processes_left = processes
        self._running: dict[str, Invocation] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._assigned: deque[Invocation] = deque()
        self._waiting: dict[RuntimeConnection, asyncio.Future[Invocation | None]] = {}
        # What each process was given and has not come back from, and what of it has timed out.
        self._holds: dict[RuntimeConnection, str] = {}
        self._late: set[str] = set()

    # --- the side of the service ---

    @property
    def takes_invocations(self) -> bool:
        """Whether a process is free, or will be when it has started."""
        if self.retiring or self.state in (State.STOPPING, State.ENDED):
            return False
        # Not those that have answered: they are about to ask for more.
        busy = len(self._running) + len(self._late)
        return busy + len(self._assigned) + self.is_expecting < self._processes_left

    @property
    def can_be_joined(self) -> bool:
        """Whether it takes an invocation beside those it runs."""
        return self.takes_invocations

    async def run(self, invocation: Invocation) -> Outcome:
        """Run an invocation in a free process, or in the next that asks."""
        if self.state is State.ENDED:
            return Outcome(OutcomeKind.UNDELIVERED)
        if self.idle_timer is not None:
            self.idle_timer.cancel()
        self._assigned.append(invocation)
        self._hand_out()
        return await invocation.outcome

    def check_memory(self) -> None:
        """Kill it if its processes are larger than the function's memory; look for dead ones."""
        super().check_memory()
        self._look_for_dead()

    # --- the side of the runtime client ---

    async def next_invocation(self, client: RuntimeConnection) -> Invocation | None:
        """Wait for an event for the process that asks."""
        if self.state in (State.STOPPING, State.ENDED):
            return None
        self._cancel_timer()  # init is complete when one process asks
        if self._init_duration_ms is None:
            self._init_duration_ms = (self._loop.time() - self._started) * 1000
        self._late.discard(self._holds.pop(client, ""))
        waiter: asyncio.Future[Invocation | None] = self._loop.create_future()
        self._waiting[client] = waiter
        self._hand_out()
        self._settle()
        return await waiter

    def is_running(self, request_id: str) -> bool:
        """Whether it runs here and has not timed out."""
        return request_id in self._running

    def complete(self, request_id: str, outcome: Outcome) -> None:
        """End one invocation."""
        invocation = self._running.pop(request_id)
        self._timers.pop(request_id).cancel()
        self._answer(invocation, outcome)

    # --- inside ---

    def _hand_out(self) -> None:
        """Give what is assigned to the processes that wait."""
        self._look_for_dead()
        while self._assigned and self._waiting:
            client = next(iter(self._waiting))
            waiter = self._waiting.pop(client)
            if waiter.done():
                continue
            invocation = self._assigned.popleft()
            self._holds[client] = invocation.request_id
            self._deliver(invocation)
            waiter.set_result(invocation)

    def _deliver(self, invocation: Invocation) -> None:
        remaining = self._begin(invocation)
        request_id = invocation.request_id
        self._running[request_id] = invocation
        self._timers[request_id] = self._loop.call_later(remaining, self._overdue, request_id)

    def _overdue(self, request_id: str) -> None:
        """Tell the caller; the code goes on, and its process is busy until it comes back."""
        self._late.add(request_id)
        self.complete(request_id, timed_out(request_id, self.configuration.timeout_s))

    def _settle(self) -> None:
        """Become idle if nothing runs."""
        if self._holds or self._assigned or self.state not in (State.INIT, State.BUSY):
            return
        self.state = State.IDLE
        self._on_idle(self)

    def _look_for_dead(self) -> None:
        """Count off the processes whose connection has ended: so they have, too."""
        if self.state in (State.STOPPING, State.ENDED):
            return
        for client in [c for c in (*self._waiting, *self._holds) if c.is_closing()]:
            self._processes_left -= 1
            self._waiting.pop(client, None)
            request_id = self._holds.pop(client, "")
            self._late.discard(request_id)
            if request_id in self._running:
                self.log.platform(f"RequestId: {request_id} Error: Runtime.ExitError")
                self.complete(request_id, exited(request_id, 0))
            self._settle()
        if self._processes_left <= 0:
            self.kill()

    def _exited(self, returncode: int) -> None:
        for request_id in list(self._running):
            self.complete(request_id, exited(request_id, returncode))
        if self._init_duration_ms is None:
            self._init_exited(returncode)
        self._end()

    def _wake(self, invocation: Invocation | None) -> None:
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            if not waiter.done():
                waiter.set_result(invocation)

    def _end(self) -> None:
        super()._end()
        assigned, self._assigned = self._assigned, deque()
        for invocation in assigned:
            if not invocation.outcome.done():
                invocation.outcome.set_result(Outcome(OutcomeKind.UNDELIVERED))

    def _measure_memory(self) -> int:
        if self._process is not None and self._process.alive:
            self._memory_used_mb = max(self._memory_used_mb, group_mb(self._process.pid))
        return self._memory_used_mb
