"""One event loop, and connections that stay open on it, for code that is not asynchronous.

A connection belongs to the event loop it was opened in, and ``asyncio.run()`` makes a new one each
time. A `Runner` has a loop of its own, on a thread of its own, for as long as it lives; scripts,
workers, views and Lambda functions (`odm.invocations`) hand it their coroutines, from any thread.
It knows connections by their lifecycle only, and no transport.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - before _close_at_exit, to end after it
import inspect
import os
import threading
import weakref
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from odm.loop_thread import Lifecycle, LoopThread

_R = TypeVar("_R")


class Runner:
    """Runs coroutines on one event loop, with *connections* open on it. Thread-safe.

    ::

        db = connect("lambda://db-proxy/cms", models=[Page])
        runner = Runner(db)

        def view(request):  # in any thread
            return runner.run(page_of(request))

    The loop is started, and the connections are opened, when they are first needed; they stay open
    until `close`, or the end of the process. After `close`, and in a forked child, they are opened
    anew.

    Args:
        connections: made by `connect()`, not opened yet. Blocks ``async with db`` inside of the
            coroutines leave them open.
    """

    def __init__(self, *connections: Lifecycle) -> None:
        for connection in connections:
            if not hasattr(connection, "aclose"):
                raise TypeError(
                    f"Runner() takes connections, not {connection!r}: write"
                    " Runner(connect(url, models=[…]))"
                )
        self._connections = connections
        self._lock = threading.RLock()  # a signal's handler may close what its thread is starting
        self._thread: LoopThread | None = None
        self._ending: weakref.finalize[..., Runner] | None = None
        _runners.add(self)

    def run(self, coroutine: Coroutine[Any, Any, _R], *, timeout_s: float | None = None) -> _R:
        """Run *coroutine* to its end and return its result; the caller's thread waits.

        It sees the caller's context variables. Tasks that it started and did not wait for are
        cancelled when it ends, as by ``asyncio.run()``, and a warning is logged. An interrupt
        (Ctrl-C) cancels it.

        Args:
            coroutine: runs beside those of other threads.
            timeout_s: after so many seconds, opening the connections included, it is cancelled.

        Raises:
            Exception: what the coroutine raises, or what opening a connection raises.
            TimeoutError: *timeout_s* has passed.
            NotConnected: the runner was closed meanwhile.
            RuntimeError: an event loop is running in this thread: await the coroutine there.
        """
        if not inspect.iscoroutine(coroutine):
            raise TypeError(f"run() takes a coroutine, not {coroutine!r}: write run(main())")
        try:
            _require_no_loop("run")
            result: _R = self._started().run(coroutine, timeout_s)
            return result
        finally:
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                coroutine.close()  # and Python does not warn that it was never awaited

    def open(self, *, timeout_s: float | None = None) -> Self:
        """Start the loop and open the connections now.

        Args:
            timeout_s: how long to wait. What is not open by then goes on being opened.

        Raises:
            TransportError: a connection could not be opened; the next `run` tries again.
            TimeoutError: *timeout_s* has passed.
        """
        self.run(_nothing(), timeout_s=timeout_s)
        return self

    def close(self) -> None:
        """Cancel what runs, close the connections and end the loop. Idempotent; at most 10 s."""
        _require_no_loop("close")
        with self._lock:
            self._thread, ending = None, self._ending
        if ending is not None:
            ending()

    def _started(self) -> LoopThread:
        with self._lock:
            if self._thread is None or not self._thread.is_alive:
                self._thread = LoopThread(self._connections)
                self._ending = weakref.finalize(self, self._thread.end)
                self._ending.atexit = False  # too late for closing: see _close_at_exit
            return self._thread

    def _forget(self) -> None:
        # In a forked child: threads do not cross a fork, and a lock may be held by one of them.
        self._lock = threading.RLock()
        self._thread = None
        if self._ending is not None:
            self._ending.detach()
            self._ending = None

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._thread is None else "running"
        return f"<Runner of {', '.join(map(repr, self._connections)) or 'nothing'} ({state})>"


async def _nothing() -> None:
    """Do nothing: running it opens the connections."""


def _require_no_loop(method: str) -> None:
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            f"Runner.{method}() would block the event loop that is running in this thread:"
            " await the coroutine instead, on a connection that was opened in this loop"
        )


_runners: weakref.WeakSet[Runner] = weakref.WeakSet()


def _close_at_exit() -> None:
    for runner in list(_runners):
        runner.close()


def _forget_after_fork() -> None:
    for runner in list(_runners):
        runner._forget()


# While threads can still be started, which closing needs: at atexit they cannot.
getattr(threading, "_register_atexit", atexit.register)(_close_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
