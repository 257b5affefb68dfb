"""What is written until nobody reads it any more.

A pipe tells its writer that its reader has gone: a write fails, and an event loop that asks for
it is woken. A command that writes now and then would otherwise go on until it has something to say.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Coroutine


async def until_unread(work: Coroutine[object, object, None], descriptor: int) -> None:
    """Do *work*, and stop it once what *descriptor* writes has no reader.

    Only a pipe tells; to a file or a terminal, the work goes on.

    Raises:
        BrokenPipeError: the reader has gone.
    """
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        await work
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    # As asyncio's own transport for pipes does: the end that is written is readable when the other
    # end is closed, and at no other time.
    loop.add_reader(descriptor, gone.set)
    task, ended = loop.create_task(work), loop.create_task(gone.wait())
    try:
        await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise BrokenPipeError
        await task
    finally:
        loop.remove_reader(descriptor)
        task.cancel()
        ended.cancel()
        await asyncio.gather(task, ended, return_exceptions=True)
