"""Running a command's coroutine so that a signal ends it, and everything it opened, cleanly.

SIGINT, SIGTERM and SIGHUP cancel the coroutine once; while it tidies up, a second signal is
ignored, so that an impatient Ctrl-C leaves no process behind. A third ends this process at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_PATIENCE = 3


class Stopped(Exception):
    """A signal ended the command; ``exit_code`` is what a shell expects then: 128 + its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def run(command: Coroutine[Any, Any, _T]) -> _T:
    """Run *command* on an event loop of its own and return its result.

    Raises:
        Stopped: a signal cancelled it; it has tidied up.
    """
    received: list[int] = []

    async def supervised() -> _T:
        task = asyncio.current_task()
        assert task is not None

        def on_signal(number: int) -> None:
            received.append(number)
            if len(received) == 1:
                task.cancel()
            elif len(received) >= _PATIENCE:
                os._exit(128 + number)

        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            with contextlib.suppress(NotImplementedError):  # an event loop without signals
                loop.add_signal_handler(number, on_signal, number)
        return await command

    try:
        result = asyncio.run(supervised())
    except asyncio.CancelledError:
        if received:
            raise Stopped(received[0]) from None
        raise
    if received:  # the command took the cancellation for its ordinary end
        raise Stopped(received[0])
    return result


async def forever() -> None:
    """Wait until the command is stopped."""
    await asyncio.Event().wait()
