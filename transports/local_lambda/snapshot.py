"""A SnapStart snapshot: a process that has initialised, of which execution environments are made.

Owns the process that :mod:`.snapstart_runtime` runs in, what is said to it, and the processes that
are its copies. Which environment is made when is decided elsewhere.
Specification: https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transports.local_lambda.cleanup import Cleanup
from transports.local_lambda.configuration import (
    LONG_INIT_TIMEOUT_S,
    FunctionConfiguration,
)
from transports.local_lambda.faults import InitFailure, Outcome
from transports.local_lambda.invocation import Invocation
from transports.local_lambda.log import EnvironmentLog, init_report
from transports.local_lambda.process import OutputPipe, ProcessGroup
from transports.local_lambda.qualifiers import Account
from transports.local_lambda.runtime_api import RuntimeApi, RuntimeConnection
from transports.local_lambda.sandbox import Sandbox

_RUNTIME = Path(__file__).with_name("snapstart_runtime.py")
_PACKET_BYTES = 65_536
_KILL_S = 5.0
_KILLED = -int(signal.SIGKILL)
# What differs between a snapshot's variables and those of an environment made of it.
_OWN_VARIABLES = ("AWS_LAMBDA_RUNTIME_API", "TMPDIR")


class SnapshotFailed(Exception):
    """The init code or a before-snapshot hook failed, or took too long."""

    def __init__(self, failure: InitFailure) -> None:
        super().__init__(failure.error_type or failure.status)
        self.failure = failure


class RestoredGroup:
    """The process group of an execution environment that was made of a snapshot.

    As `ProcessGroup`, which see; but the process is a child of the snapshot's.
    """

    def __init__(self, pid: int, output: OutputPipe, on_exit: Callable[[int], None]) -> None:
        self.pid = pid
        self.alive = True
        self._output = output
        self._on_exit = on_exit

    def terminate(self) -> None:
        """SIGTERM to the leader, so that its hooks run; SIGCONT in case the group is stopped."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            self.signal_group(signal.SIGCONT)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def drain(self) -> None:
        """Take what was written so far, without waiting."""
        self._output.drain()

    def exited(self, returncode: int) -> None:
        """To be called once, when the process has ended."""
        self.alive = False
        self._output.drain()
        self._output.close()
        self._on_exit(returncode)


class Snapshot:
    """An initialised process and its copies.

    Args:
        configuration: the function's.
        version: a number.
    """

    def __init__(self, configuration: FunctionConfiguration, version: str) -> None:
        self.id = uuid.uuid4().hex
        self.log = EnvironmentLog()
        self._configuration = configuration
        self._version = version
        self._loop = asyncio.get_running_loop()
        self._api = RuntimeApi(self)
        self._taken: asyncio.Future[None] = self._loop.create_future()
        self._failure: InitFailure | None = None
        self._process: ProcessGroup | None = None
        self._control: socket.socket | None = None
        self._restoring: dict[str, asyncio.Future[int]] = {}
        self._groups: dict[int, RestoredGroup] = {}
        self._ended_early: dict[int, int] = {}
        self._retiring = False
        self._gone = asyncio.Event()

    # --- the snapshot itself ---

    async def take(self, sandbox: Sandbox, account: Account, cleanup: Cleanup) -> None:
        """Run the init code and the before-snapshot hooks.

        Raises:
            OSError: the interpreter cannot be started.
            SnapshotFailed: they failed.
        """
        self._cleanup = cleanup
        temporary = cleanup.directory / self.id
        temporary.mkdir()
        started = self._loop.time()
        self.log.platform(f"INIT_START Runtime Version: python:{sandbox.python_version}")
        cleanup.begins(self.id)
        variables = sandbox.variables(
            self._configuration,
            account,
            version=self._version,
            environment_id=self.id,
            runtime_api=self._api.listen(),
            temporary=temporary,
        )
        try:
            self._spawn(sandbox, variables)
            async with asyncio.timeout(max(LONG_INIT_TIMEOUT_S, self._configuration.timeout_s)):
                await asyncio.shield(self._taken)
        except TimeoutError:
            self._failure = InitFailure("timeout")
            self.close()
        except BaseException:
            self.close()
            raise
        duration_ms = (self._loop.time() - started) * 1000
        failure = self._failure
        status, error_type = (failure.status, failure.error_type) if failure else ("", "")
        self.log.platform(init_report(duration_ms, "init", status, error_type))
        if failure is not None:
            raise SnapshotFailed(failure)

    def _spawn(self, sandbox: Sandbox, variables: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            self._process = ProcessGroup(
                [
                    str(sandbox.interpreter),
                    str(_RUNTIME),
                    self._configuration.handler,
                    str(theirs.fileno()),
                ],
                environment=variables,
                directory=sandbox.task_root,
                on_output=self.log.write,
                on_exit=self._exited,
                inherit=(theirs.fileno(),),
            )
        self._loop.add_reader(self._control, self._readable)

    @property
    def usable(self) -> bool:
        """Whether environments can be made of it."""
        return self._control is not None

    def retire(self) -> None:
        """Close it when the last environment that was made of it has ended."""
        self._retiring = True
        if not self._groups and not self._restoring:
            self.close()

    def close(self) -> None:
        """End it, and what is left of its environments."""
        if self._process is not None:
            self._process.signal_group(signal.SIGKILL)
        else:
            self._exited(_KILLED)

    async def aclose(self) -> None:
        """Close it and wait until it is gone. Bounded."""
        self.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), _KILL_S)

    # --- the environments made of it ---

    async def restore(
        self,
        environment_id: str,
        variables: Mapping[str, str],
        *,
        on_output: Callable[[bytes], None],
        on_exit: Callable[[int], None],
    ) -> RestoredGroup:
        """Make a copy of the process.

        Args:
            environment_id: names the environment.
            variables: its environment variables.
            on_output: as for `ProcessGroup`.
            on_exit: as for `ProcessGroup`.

        Raises:
            OSError: the snapshot is not there any more.
        """
        if self._control is None:
            raise OSError("the snapshot's process has ended")
        # What the init code left in /tmp is a part of the snapshot.
        mine = self._cleanup.directory / self.id
        shutil.copytree(mine, variables["TMPDIR"], dirs_exist_ok=True, symlinks=True)
        output = OutputPipe(on_output)
        restored: asyncio.Future[int] = self._loop.create_future()
        self._restoring[environment_id] = restored
        own = {name: variables[name] for name in _OWN_VARIABLES}
        message = json.dumps({"restore": environment_id, "variables": own}).encode()
        try:
            socket.send_fds(self._control, [message], [output.write_end])
            output.close_write_end()
            pid = await restored
        except BaseException:
            output.close()
            raise
        finally:
            self._restoring.pop(environment_id, None)
        group = RestoredGroup(pid, output, on_exit)
        if pid in self._ended_early:
            self._loop.call_soon(self._end, group, self._ended_early.pop(pid))
        self._groups[pid] = group
        return group

    def _readable(self) -> None:
        while self._control is not None:
            try:
                packet = self._control.recv(_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._loop.remove_reader(self._control)
                return
            self._hear(json.loads(packet))

    def _hear(self, message: dict[str, Any]) -> None:
        if "snapshot" in message:
            if not self._taken.done():
                self._taken.set_result(None)
        elif "restored" in message:
            waiter = self._restoring.get(message["restored"])
            if waiter is not None and not waiter.done():
                waiter.set_result(message["pid"])
            else:  # nobody waits for it any more
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(message["pid"], signal.SIGKILL)
        elif message["exited"] in self._groups:
            self._end(self._groups[message["exited"]], message["returncode"])
        else:
            # Before the coroutine that waits for it has run, or when nobody waits.
            if self._restoring:
                self._ended_early[message["exited"]] = message["returncode"]
            self._reap(message["exited"])

    def _end(self, group: RestoredGroup, returncode: int) -> None:
        del self._groups[group.pid]
        group.exited(returncode)
        self._reap(group.pid)
        if self._retiring:
            self.retire()

    def _reap(self, pid: int) -> None:
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(json.dumps({"reap": pid}).encode())

    def _exited(self, returncode: int) -> None:
        """Take everything down with the process: nobody could tell how its copies end."""
        if self._control is not None:
            self._readable()
            self._loop.remove_reader(self._control)
            self._control.close()
            self._control = None
        self._api.close()
        if not self._taken.done():
            if self._failure is None:
                self._failure = InitFailure("error", "Runtime.ExitError", returncode=returncode)
            self._taken.set_result(None)
        for waiter in self._restoring.values():
            if not waiter.done():
                waiter.set_exception(OSError("the snapshot's process has ended"))
        for group in list(self._groups.values()):
            group.signal_group(signal.SIGKILL)
            self._end(group, _KILLED)
        if self._process is not None:
            self._cleanup.ended(self.id)
            shutil.rmtree(self._cleanup.directory / self.id, ignore_errors=True)
        self._gone.set()

    # --- the side of the runtime client ---

    async def next_invocation(self, client: RuntimeConnection) -> Invocation | None:
        """Return nothing: a snapshot runs no invocation."""
        return None

    def is_running(self, request_id: str) -> bool:
        """Return False: a snapshot runs no invocation."""
        return False

    def complete(self, request_id: str, outcome: Outcome) -> None:
        """Never called: it runs no invocation."""

    def fail_init(self, payload: bytes, error_type: str) -> None:
        """Note what went wrong; the process exits next."""
        if self._failure is None:
            self._failure = InitFailure("error", error_type, payload)
