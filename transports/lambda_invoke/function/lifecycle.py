"""The lives of an execution environment: the beginning, snapshots, thaws, and the end.

Owns what AWS Lambda does to the function's process between invocations, and when: it says *that*
connections are to be closed or made anew, never how. Knows nothing of envelopes and commands.

Spec: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html,
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from types import FrameType

from bson.objectid import ObjectId

from transports.url import redact

# Lambda gives the runtime 300 ms beside external extensions, 500 ms beside internal ones. A process
# that ends closes its sockets whatever became of close(), so ending in time comes first.
_SHUTDOWN_S = 0.2
# Some round trips, a computation and the look-up of a name, and nine tenths of 10 s to spare.
_CONNECT_S = 1.0
_CLOCK_STOOD_STILL_S = 1.0
_DRIVER_THREADS = "pymongo"
_JOIN_S = 1.0
_MAX_COUNTER = 0xFFFFFF

_log = logging.getLogger("odm.proxy")


def connect_ahead(connect: Callable[[], None]) -> None:
    """Call *connect* while the environment initialises, which has a whole processor then.

    An invocation of a function of 128 MB has a fourteenth, and TLS and SCRAM are computing. What
    fails, or takes long, ends no initialisation: Lambda gives it 10 s, and a server that cannot be
    reached is for the first command to tell. It goes on meanwhile.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib
    """

    def quietly() -> None:
        try:
            connect()
        except Exception as error:  # of the driver, the name service, the credentials' provider
            _log.warning("not connected at init: %s", redact(str(error)))

    # In a thread of its own: no option of the driver's bounds the look-up of a name.
    connecting = threading.Thread(target=quietly, name="odm-connect", daemon=True)
    connecting.start()
    connecting.join(_CONNECT_S)


def is_for_a_snapshot() -> bool:
    """Whether what is being initialised will be a SnapStart snapshot, and hold no connection."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def close_at_shutdown(close: Callable[[], None]) -> None:
    """Call *close* when Lambda shuts the environment down, and end the process.

    Lambda sends SIGTERM only to functions that have an extension, and Python 3.11's runtime client
    waits for events where no handler can run: without it, connections end with the microVM, and the
    server learns of that by TCP keep-alive.
    """

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one changes nothing
        # In a thread of its own: the signal may have come while this one held a lock of the pool
        # that closing takes, and endSessions waits for a server that may not answer.
        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(_SHUTDOWN_S)
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit(), which waits for the threads that run commands.
        os._exit(0)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)


def around_snapshots(close: Callable[[], None], reopen: Callable[[], None]) -> None:
    """Call *close* before a SnapStart snapshot, and *reopen* in every environment made of it.

    Between the two no thread of the driver's may live, nor any of its sockets: all the environments
    would have the same ones. Without SnapStart, or without AWS's runtime, nothing is called.
    """
    try:
        # Part of AWS's runtimes from Python 3.12; the bundle does not bring it.
        from snapshot_restore_py import (  # type: ignore[import-untyped]  # it has no annotations
            register_after_restore,
            register_before_snapshot,
        )
    except ImportError:
        return

    def before_snapshot() -> None:
        close()
        _join_driver_threads()

    def after_restore() -> None:
        renew_identity()
        reopen()

    register_before_snapshot(before_snapshot)
    register_after_restore(after_restore)


def renew_identity() -> None:
    """Draw anew what a snapshot copied and its copies must not share.

    The environments of one snapshot have the same process id, so the guards that notice a ``fork``
    notice nothing: two of them would give the same `ObjectId` to different documents.
    ``os.urandom``, and so ``uuid4`` and nonces, is the kernel's and differs.
    """
    random.seed()
    with ObjectId._inc_lock:
        ObjectId._inc = SystemRandom().randint(0, _MAX_COUNTER)
        # Not os.getpid(): _random() draws new bytes when it finds that the process has changed.
        ObjectId._pid = -1


def _join_driver_threads() -> None:
    deadline = time.monotonic() + _JOIN_S
    for thread in threading.enumerate():
        if thread.name.startswith(_DRIVER_THREADS):
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                _log.warning("%s goes on into the snapshot", thread.name)


class Pauses:
    """Notices that the environment stood still for long between two invocations.

    The driver finds idle connections that the server has closed by its own clock. A microVM that
    was frozen may have had no clock meanwhile, and a firewall that forgets a connection sends
    nothing; so the wall's clock is asked as well.

    Args:
        max_idle_s: after so long nothing that was left open is to be trusted; None: for ever.
        wall: seconds, of the world.
        monotonic: seconds, of this machine; may stand still with it.
    """

    def __init__(
        self,
        max_idle_s: float | None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_idle_s = max_idle_s
        self._wall = wall
        self._monotonic = monotonic
        self._since: tuple[float, float] | None = None

    def begin(self) -> None:
        """To be called at the end of an invocation: Lambda may freeze the environment now."""
        self._since = self._wall(), self._monotonic()

    def end(self) -> bool:
        """To be called at the start of an invocation.

        Returns:
            Whether connections left open by the one before are too old to be used.
        """
        since, self._since = self._since, None
        if since is None:
            return False
        wall_s, monotonic_s = self._wall() - since[0], self._monotonic() - since[1]
        if wall_s - monotonic_s > _CLOCK_STOOD_STILL_S:
            return True
        return self._max_idle_s is not None and max(wall_s, monotonic_s) > self._max_idle_s


def process_start() -> float:
    """Return when this process was started, by the monotonic clock; now, where nobody says so.

    What comes before the first line of ours is runtime and interpreter, which AWS bills, too.

    Source: proc_pid_stat(5), field 22.
    """
    now = time.monotonic()
    try:
        fields = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return now - max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)
    except (OSError, ValueError, IndexError):
        return now
