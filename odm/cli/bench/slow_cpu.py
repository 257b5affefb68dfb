"""A slow processor for some processes: what AWS Lambda gives a function of little memory.

Lambda gives CPU in proportion to memory, a whole vCPU at 1,769 MB; while a function initialises, it
has a whole one whatever its memory. Here Linux's bandwidth control does the same, where this
process may use it (root, in general), in the period that Lambda is seen to have.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html,
https://docs.kernel.org/scheduler/sched-bwc.html
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WHOLE_MB = 1_769
"""Memory for which a function has one vCPU."""
_PERIOD_US = 20_000
_ROOT = Path("/sys/fs/cgroup")
_REMOVE_S = 2.0


class SlowCpu:
    """A control group that has a part of one processor.

    Args:
        directory: of the group.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, pid: int) -> None:
        """Slow the process down, all its threads.

        Raises:
            OSError: there is none.
        """
        (self._directory / "cgroup.procs").write_text(str(pid))


@contextmanager
def slow_cpu(memory_mb: int, root: Path = _ROOT) -> Iterator[SlowCpu | None]:
    """Give a group with what a function of *memory_mb* has; None where that is not allowed."""
    quota = max(1_000, _PERIOD_US * memory_mb // WHOLE_MB)  # the kernel takes no less
    name = f"odm-bench-{os.getpid()}-{secrets.token_hex(3)}"
    group: Path | None = None
    try:
        if (root / "cgroup.controllers").exists():  # version 2
            (root / "cgroup.subtree_control").write_text("+cpu")
            group = root / name
            group.mkdir()
            (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        else:
            group = root / "cpu" / name
            group.mkdir()
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError:
        if group is not None:
            _remove(group)
        yield None
        return
    try:
        yield SlowCpu(group)
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove the group; processes that have just ended leave it a moment later."""
    deadline = time.monotonic() + _REMOVE_S
    while group.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.01)
