"""One execution environment's processes: a process group, its output, its end.

Owns spawning, signals, reading what is written, and learning of the end exactly once. Knows nothing
of Lambda. The group outlives no leader: what the leader left behind is killed before it is reaped,
while its process id, which names the group, cannot yet belong to anyone else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_READ_BYTES = 65_536
# One turn of the event loop reads so much at most: a function that writes without end is slowed
# down by its full pipe, not allowed to starve the others.
_READS_PER_TURN = 16


class OutputPipe:
    """What processes write to stdout and stderr, read on the event loop.

    Args:
        on_output: takes what was written.
    """

    def __init__(self, on_output: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._reading = True
        self._loop.add_reader(self._read_end, self._readable)

    def close_write_end(self) -> None:
        """To be called when the processes have it."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Read no more."""
        self.close_write_end()
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)

    def drain(self) -> None:
        """Take what was written so far, without waiting."""
        while self._reading and self._read_once():
            pass

    def _readable(self) -> None:
        for _ in range(_READS_PER_TURN):
            if not self._read_once():
                break

    def _read_once(self) -> bool:
        try:
            data = os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._on_output(data)
        return len(data) == _READ_BYTES


class ProcessGroup:
    """A process that leads a session and group of its own.

    Start it on the event loop's thread.

    Args:
        arguments: program and arguments.
        environment: the complete environment; nothing is inherited.
        directory: the working directory.
        on_output: takes what the group wrote to stdout and stderr.
        on_exit: takes the leader's return code, negative for a signal; called once, after the last
            output, on the event loop.
        inherit: file descriptors that it has besides.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        on_output: Callable[[bytes], None],
        on_exit: Callable[[int], None],
        inherit: Sequence[int] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_exit = on_exit
        self._output = OutputPipe(on_output)
        try:
            self._popen = subprocess.Popen(  # noqa: S603  # the configured interpreter, no shell
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=self._output.write_end,
                stderr=self._output.write_end,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
                pass_fds=inherit,
            )
        except BaseException:
            self._output.close()
            raise
        self._output.close_write_end()
        self.pid = self._popen.pid
        self._alive = True
        self._pidfd = self._watch()

    @property
    def alive(self) -> bool:
        """False once ``on_exit`` is due or was called."""
        return self._alive

    def terminate(self) -> None:
        """SIGTERM to the leader, so that its hooks run; SIGCONT in case the group is stopped."""
        if self._alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            self.signal_group(signal.SIGCONT)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group."""
        if self._alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def drain(self) -> None:
        """Take what was written so far, without waiting."""
        self._output.drain()

    def _watch(self) -> int | None:
        """Have ``_exited`` called at the leader's end: by pidfd, or by a thread where none is."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            threading.Thread(target=self._wait_in_thread, daemon=True).start()
            return None
        self._loop.add_reader(pidfd, self._exited)
        return pidfd

    def _wait_in_thread(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._exited)

    def _exited(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self.signal_group(signal.SIGKILL)
        self._alive = False
        self._output.drain()
        self._output.close()
        # At once: the leader has ended, this only takes its status.
        self._on_exit(self._popen.wait())


def resident_mb(pid: int) -> int:
    """Return the process's resident memory in MB, rounded up; 0 where it cannot be told."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return -(-pages * _PAGE_BYTES // 1_048_576)


def group_mb(pid: int) -> int:
    """Return what a process and its children hold in MB, rounded up.

    Shared pages, which forked processes have many of, count once in all.
    """
    with contextlib.suppress(OSError, ValueError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return -(-sum(map(_proportional_kb, (str(pid), *children))) // 1024)
    return resident_mb(pid)


def _proportional_kb(pid: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
