"""The runtime of a SnapStart function: initialised once, then copied for each environment.

Run as a script by the function's interpreter, with the standard library and ``awslambdaric`` alone.
It is AWS's runtime client, which calls the hooks of ``snapshot_restore_py``, up to one point: where
it would wait for the snapshot to be restored, it serves requests of the local Lambda instead, each
of which forks a copy of the process. A copy talks to the Runtime API of its own environment, runs
the after-restore hooks and serves. What started it stays as it is, and runs no invocation.

A fork stands for the restored microVM as far as memory goes: what was drawn, cached or opened
before the snapshot is the same in all copies, the state of `random` included, which Python would
draw anew. It differs in three things: threads do not survive it, the process id is another, and
hooks of `os.register_at_fork` run.

Messages are JSON, one a packet. From the local Lambda: ``{"restore": id, "variables": {…}}`` with
the file descriptor for the output; ``{"reap": pid}``. To it: ``{"snapshot": true}``,
``{"restored": id, "pid": n}``, ``{"exited": pid, "returncode": n}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import sys
import threading
from typing import Any, NoReturn

_PACKET_BYTES = 65_536
# The runtime client's part in C reads the address of the Runtime API once, when it is loaded. So
# the process that is copied has no such part, and each copy loads it.
_NATIVE = "runtime_client"


class _Snapshot:
    """The process that is copied."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, int] = {}  # pidfd → pid

    def serve(self) -> None:
        """Make copies until the local Lambda hangs up; returns in a copy only."""
        self._name_lost_threads()
        state = random.getstate()
        self._tell(snapshot=True)
        while True:
            poll = select.poll()
            for descriptor in (self._control.fileno(), *self._children):
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll():
                if descriptor != self._control.fileno():
                    self._ended(descriptor)
                elif self._requested():
                    random.setstate(state)
                    return

    def _requested(self) -> bool:
        """Do what is asked; returns whether this is a copy."""
        packet, descriptors, _, _ = socket.recv_fds(self._control, _PACKET_BYTES, 1)
        if not packet:
            _leave()
        message = json.loads(packet)
        if "reap" in message:
            os.waitpid(message["reap"], 0)
            return False
        pid = os.fork()
        if pid == 0:
            self._become(message, descriptors[0])
            return True
        os.close(descriptors[0])
        self._children[os.pidfd_open(pid)] = pid
        return False

    def _become(self, message: dict[str, Any], output: int) -> None:
        """Be the process of an execution environment."""
        os.setsid()
        for pidfd in self._children:
            os.close(pidfd)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.environ.update(message["variables"])
        if "tempfile" in sys.modules:  # it remembers where TMPDIR was
            sys.modules["tempfile"].tempdir = None  # type: ignore[attr-defined]  # a module
        self._tell(restored=message["restore"], pid=os.getpid())
        self._control.close()

    def _ended(self, pidfd: int) -> None:
        """Tell how a copy ended. It stays a zombie, and its id its own, until it is known there."""
        pid = self._children.pop(pidfd)
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.close(pidfd)
        assert result is not None
        with contextlib.suppress(ProcessLookupError):  # it ended before it had a group
            os.killpg(pid, signal.SIGKILL)
        normal = result.si_code == os.CLD_EXITED
        self._tell(exited=pid, returncode=result.si_status if normal else -result.si_status)

    def _name_lost_threads(self) -> None:
        names = [t.name for t in threading.enumerate() if t is not threading.current_thread()]
        if names:
            sys.stdout.write(
                f"local Lambda: {', '.join(names)}: threads end with this snapshot, on AWS they "
                "live on in every environment made of it\n"
            )
            sys.stdout.flush()

    def _tell(self, **message: object) -> None:
        self._control.send(json.dumps(message).encode())


def _leave() -> NoReturn:
    os._exit(0)  # a snapshot has no shutdown phase: no hook runs


def main(handler: str, control_fd: int) -> None:
    """Run the function: this process up to the snapshot, its copies from there on."""
    # As `python -m` has it: the function's code, not the directory of this script.
    sys.path[0] = os.getcwd()  # noqa: PTH109 - a string, as all the others in it
    sys.modules[_NATIVE] = None  # type: ignore[assignment]  # the documented way to hide a module
    from awslambdaric import bootstrap, lambda_runtime_client
    from awslambdaric.lambda_config import LambdaConfigProvider

    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)

    class Client(lambda_runtime_client.LambdaRuntimeClient):  # type: ignore[misc]  # untyped
        """AWS's, whose wait for the restore is where copies are made."""

        def restore_next(self) -> None:
            _Snapshot(control).serve()
            del sys.modules[_NATIVE]
            self.lambda_runtime_address = os.environ["AWS_LAMBDA_RUNTIME_API"]
            import runtime_client  # type: ignore[import-not-found]  # awslambdaric's part in C

            runtime_client.initialize_client(lambda_runtime_client._user_agent())
            lambda_runtime_client.runtime_client = runtime_client
            super().restore_next()

    config = LambdaConfigProvider([__file__, handler])
    bootstrap.run(handler, Client(config.api_address, config.use_thread_polling))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
