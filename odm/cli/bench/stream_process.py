"""How much memory streaming takes: in a process that does nothing else.

Run as ``python -m odm.cli.bench.stream_process SIZE …`` with the URL in ``ODM_URL``, sizes from the
smallest; writes a JSON list: MB that the most memory it ever had exceeds what it had before.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from pathlib import Path

from odm.cli.bench import contenders

_STATUS = Path("/proc/self/status")


async def _stream(url: str, sizes: list[int]) -> list[float]:
    async with contenders.repositories("stream", "", url) as contender:
        assert isinstance(contender, contenders.RepositoryContender)
        await contender.read(0)
        before, peaks = _peak(), []
        for size in sizes:
            await contender.stream_to(size)
            peaks.append(round((_peak() - before) / 1e6, 2))
        return peaks


def _peak() -> int:
    # Linux's getrusage() counts what its parent had before exec, too.
    if _STATUS.exists():
        [line] = [each for each in _STATUS.read_text().splitlines() if each.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


if __name__ == "__main__":
    found = asyncio.run(_stream(os.environ["ODM_URL"], [int(each) for each in sys.argv[1:]]))
    sys.stdout.write(json.dumps(found))
