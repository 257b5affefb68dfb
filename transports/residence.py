"""Where something open may be used: in the event loop and in the process it was opened in.

Sockets, tasks and locks of asyncio belong to one event loop, and after a fork to one process.
Elsewhere they hang, or fail with words that help nobody, or disturb the process that forked. What
`Transport` and `odm.Connection` open has a `Residence`, which is asked before each use.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import selectors
import sys
import threading
import weakref
from asyncio import _get_running_loop

from transports.errors import OpenedBeforeFork, WrongEventLoop

_KEEP_ONE_LOOP = (
    "Keep one loop: odm.Runner runs coroutines of scripts, workers and threads on it, and"
    " @odm.lambda_handler those of a Lambda function. Or open it in the loop that uses it."
)


class Residence:
    """The running event loop, and this process.

    Args:
        what: what is opened here, for messages.
    """

    __slots__ = ("__weakref__", "_forked", "_loop", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        self._forked = False
        with _lock:
            _residences.add(self)

    @property
    def is_lost(self) -> bool:
        """Whether nobody can use it any more: its loop is closed, or this is a forked child."""
        return self._loop is None or self._loop.is_closed()

    def is_in(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether *loop* is its loop."""
        return self._loop is loop

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child of the one that it was opened in."""
        return self._forked

    def check(self) -> None:
        """Refuse to be used elsewhere. Where no loop runs, only what is lost is refused.

        Raises:
            WrongEventLoop: it was opened in another event loop.
            OpenedBeforeFork: it was opened in the process that forked this one.
        """
        # Asked a few times for each command: 0.3 µs of the 400 that a find_one takes.
        running = _get_running_loop()
        if self._loop is not running or running is None:
            self._refuse(running)

    def _refuse(self, running: asyncio.AbstractEventLoop | None) -> None:
        if self._forked:
            raise OpenedBeforeFork(
                f"{self._what} was opened before this process was forked, and belongs to its"
                " parent: open it again here ('await db.open()'), or fork before you open it;"
                " odm.Runner opens anew in each process by itself"
            )
        if self.is_lost:
            raise WrongEventLoop(
                f"{self._what} was opened in another event loop, which is closed since."
                f" {_KEEP_ONE_LOOP}"
            )
        if running is not None:
            raise WrongEventLoop(f"{self._what} was opened in another event loop. {_KEEP_ONE_LOOP}")

    def _fork(self) -> asyncio.AbstractEventLoop | None:
        loop, self._loop, self._forked = self._loop, None, True
        return loop


_residences: weakref.WeakSet[Residence] = weakref.WeakSet()
_lock = threading.Lock()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent's may have held it
    loops = {loop for residence in list(_residences) if (loop := residence._fork()) is not None}
    for loop in loops:
        if not loop.is_closed():
            _separate(loop)


def _separate(loop: asyncio.AbstractEventLoop) -> None:
    """Give the child's copy of a loop an epoll, a wake-up socket and threads of its own.

    Parent and child share one epoll: what the child takes out of it, unwinding its stack or
    collecting garbage, the parent would wait for in vain. Private to asyncio, hence the caution:
    other loops stay as they are.
    """
    selector = getattr(loop, "_selector", None)
    if sys.platform != "linux" or not isinstance(selector, selectors.EpollSelector):
        return
    with contextlib.suppress(OSError, AttributeError):
        own = select.epoll()
        try:
            os.dup2(own.fileno(), selector.fileno(), inheritable=False)
        finally:
            own.close()
        loop._close_self_pipe()  # type: ignore[attr-defined]  # of BaseSelectorEventLoop
        loop._make_self_pipe()  # type: ignore[attr-defined]
        loop._default_executor = None  # type: ignore[attr-defined]  # its threads stayed behind


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
