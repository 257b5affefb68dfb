"""What the tests of the command line share: running it, here or as a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from odm.cli.main import main
from transports.mongod import missing_mongod_reason

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_GONE_WITHIN_S = 15.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did: its exit code, what it wrote to stdout and to stderr."""

    code: int
    out: str
    err: str


OdmHere = Callable[..., Ran]


@pytest.fixture
def odm_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> OdmHere:
    """Run a command in this process."""
    monkeypatch.delenv("ODM_URL", raising=False)
    monkeypatch.delenv("ODM_PROXY_MONGODB_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def mongod() -> None:
    """Skip where there is no `mongod` to start."""
    if reason := missing_mongod_reason():
        pytest.skip(reason)


@dataclass(slots=True)
class Watched:
    """A command in a process of its own, with a temporary directory of its own.

    What it leaves behind is seen: orphans become children of this process.
    """

    directory: Path
    _process: subprocess.Popen[str] | None = field(default=None, init=False)
    _others: frozenset[str] = field(default_factory=lambda: frozenset(_children()), init=False)

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Start ``odm …``."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ODM_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "odm.cli.main", *arguments],
            env={**kept, "TMPDIR": str(self.directory), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, text: str, *, on: str = "stderr") -> str:
        """Read what it writes until a line holds *text*; return that line."""
        assert self._process is not None
        stream = self._process.stderr if on == "stderr" else self._process.stdout
        assert stream is not None
        for line in stream:
            if text in line:
                return line
        pytest.fail(f"it ended without a word of {text!r}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def finish(self, timeout_s: float = 90.0) -> Ran:
        """Wait for its end."""
        assert self._process is not None
        out, err = self._process.communicate(timeout=timeout_s)
        return Ran(self._process.returncode, out, err)

    def left_behind(self) -> list[str]:
        """Return the processes and files that outlive it, after waiting for them, bounded."""
        deadline = time.monotonic() + _GONE_WITHIN_S
        while True:
            left = [*self._processes(), *(str(path) for path in self.directory.iterdir())]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.02)

    def _processes(self) -> list[str]:
        alive = []
        for pid in sorted(_children() - self._others):
            try:
                name = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if name:
                alive.append(f"{pid}: {name}")
            else:  # an orphan that has ended and waits to be reaped
                _reap(int(pid))
        return alive

    def kill(self) -> None:
        """End it, whatever the test did."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A command to be run as a process of its own, whose leftovers are seen."""
    if not sys.platform.startswith("linux"):
        pytest.skip("orphans are found through /proc and PR_SET_CHILD_SUBREAPER")
    libc = ctypes.CDLL(None, use_errno=True)
    # Short: a unix socket's path has 107 bytes.
    watched = Watched(Path(tempfile.mkdtemp(prefix="odm-cli-")))
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield watched
    finally:
        watched.kill()
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        shutil.rmtree(watched.directory, ignore_errors=True)
