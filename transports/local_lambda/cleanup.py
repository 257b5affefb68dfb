"""The server's side of the warden: nothing of an execution environment survives the server.

Owns the temporary directory and the warden process (see :mod:`.warden`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_WARDEN = Path(__file__).with_name("warden.py")
_WARDEN_EXIT_S = 6.0


class Cleanup:
    """A temporary directory and a process that removes what is left when the server is gone."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="local-lambda-"))
        try:
            self._warden = subprocess.Popen(  # noqa: S603  # our own script, our own interpreter
                [sys.executable, "-I", "-S", str(_WARDEN), str(self.directory), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        assert self._warden.stdin is not None
        self._pipe = self._warden.stdin.fileno()
        os.set_blocking(self._pipe, False)

    def begins(self, environment_id: str) -> None:
        """To be called before the environment's process is spawned."""
        self._tell(f"+ {environment_id}\n")

    def ended(self, environment_id: str) -> None:
        """To be called when the process group is gone; stragglers outside it are killed."""
        self._tell(f"- {environment_id}\n")

    def _tell(self, line: str) -> None:
        # A warden that was killed cannot be told; the server's own clean-up still happens.
        with contextlib.suppress(OSError):
            os.write(self._pipe, line.encode())

    def abandon(self) -> None:
        """Leave the rest to the warden, without waiting for it."""
        assert self._warden.stdin is not None
        self._warden.stdin.close()
        self._pipe = -1

    async def aclose(self) -> None:
        """Have the warden sweep and end. Bounded."""
        self.abandon()
        try:
            await asyncio.to_thread(self._warden.wait, _WARDEN_EXIT_S)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
