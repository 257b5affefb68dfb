"""What is asked of Linux: to end with the parent, and to vanish without a word.

Spec: prctl(2) PR_SET_PDEATHSIG, pidfd_getfd(2), tcp(7) TCP_REPAIR.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SYS_PIDFD_GETFD = 438  # the same on every architecture
_TCP_REPAIR = 19

_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Have this process killed when *parent* ends, which may be before this call.

    A process that is stopped (SIGSTOP) is killed all the same.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def silence(pid: int, port: int) -> set[str]:
    """Have a stopped process's connections to *port* end without FIN or RST when it is killed.

    As the connections of a microVM that is gone: the other side hears nothing. Here the kernel is
    still there, and answers the other side's first keep-alive probe that it knows nothing of it.
    Needs CAP_NET_ADMIN over the network namespace.

    Returns:
        Their addresses as the other side names them, ``"127.0.0.1:40000"``.

    Raises:
        PermissionError: not allowed.
    """
    silenced: set[str] = set()
    pidfd = os.pidfd_open(pid)
    try:
        for name in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(name.readlink()).startswith("socket:"):
                    silenced |= _silence(pidfd, int(name.name), port)
    finally:
        os.close(pidfd)
    return silenced


def _silence(pidfd: int, number: int, port: int) -> set[str]:
    copy = _libc.syscall(_SYS_PIDFD_GETFD, pidfd, number, 0)
    if copy < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    with socket.socket(fileno=copy) as connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return set()
        try:
            if connection.getpeername()[1] != port:
                return set()
        except OSError:  # it listens, or is no longer connected
            return set()
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        host, own = connection.getsockname()[:2]
        return {f"{host}:{own}"}


def proportional_mb(pid: int) -> float:
    """Return the memory of a process in MB; pages that several share count in parts. 0: unknown."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
