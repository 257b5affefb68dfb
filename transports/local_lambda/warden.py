"""The warden: a process that outlives the local Lambda just long enough to clean up after it.

Run as a script, with the standard library alone. Told on stdin which execution environments begin
and end; at the end of stdin, which is the server's end however it came, ``kill -9`` included, it
kills what is left of them and removes the server's temporary directory.

An environment's processes are found by its id in their environment variables, which a child
inherits even where it has left the process group.

Lines: ``+ <id>`` before an environment is spawned, ``- <id>`` when it has ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

_POLL_S = 0.5  # a process forked by the server may hold our stdin open: look at the parent, too
_SWEEP_S = 5.0
_CLEAN_SWEEPS = 3


def main(directory: str, server_pid: int) -> None:
    """Watch until the server is gone, then sweep."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    alive: set[bytes] = set()
    buffer = b""
    while True:
        readable, _, _ = select.select([0], [], [], _POLL_S)
        if not readable:
            if os.getppid() != server_pid:
                break
            continue
        data = os.read(0, 65_536)
        if not data:
            break
        *lines, buffer = (buffer + data).split(b"\n")
        ended = _note(lines, alive)
        if ended:
            _kill_all(ended)
    _sweep(alive)
    shutil.rmtree(directory, ignore_errors=True)


def _note(lines: list[bytes], alive: set[bytes]) -> set[bytes]:
    """Update ``alive``; returns the environments that ended."""
    ended = set()
    for line in lines:
        sign, _, environment_id = line.partition(b" ")
        if sign == b"+":
            alive.add(environment_id)
        else:
            alive.discard(environment_id)
            ended.add(environment_id)
    return ended


def _sweep(alive: set[bytes]) -> None:
    """Kill until several looks in a row find nothing: a process may be forking meanwhile."""
    clean = 0
    until = time.monotonic() + _SWEEP_S
    while alive and clean < _CLEAN_SWEEPS and time.monotonic() < until:
        clean = 0 if _kill_all(alive) else clean + 1
        time.sleep(0.01)


def _kill_all(environment_ids: set[bytes]) -> int:
    """Kill every process of these environments; returns how many there were."""
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            variables = (entry / "environ").read_bytes()
            if any(environment_id in variables for environment_id in environment_ids):
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
    return killed


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
