"""An event loop on a thread of its own, with connections that stay open, and what is run on it.

The machinery of `odm.runner`, which says who may call what when.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Generic, Protocol, TypeVar

from odm.errors import NotConnected

_R = TypeVar("_R")
_log = logging.getLogger("odm.runner")

CLOSE_TIMEOUT_S = 10.0
"""How long closing may take, and how long a coroutine that was interrupted is waited for."""

# The driver starts the tasks of its own that it finds missing within whatever operation runs.
_DRIVER_TASKS = "pymongo_"


class Lifecycle(Protocol):
    """What a runner needs of a `Connection`."""

    @property
    def is_open(self) -> bool:
        """Whether it is open."""

    async def __aenter__(self) -> Any: ...

    async def open(self) -> Any:
        """Open it, if it is not open."""

    async def aclose(self) -> None:
        """Close it."""


class LoopThread:
    """An event loop on its thread, from its start to its end."""

    def __init__(self, connections: tuple[Lifecycle, ...]) -> None:
        self._connections = connections
        self._entered: list[Lifecycle] = []
        self._opening: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._waited_for: set[_Invocation[Any]] = set()
        self._ending = False
        self._stop = asyncio.Event()
        started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._main, args=(started,), name="odm-runner", daemon=True
        )
        self._thread.start()
        self._loop = started.result()

    # -- in the callers' threads -------------------------------------------------------------

    @property
    def is_alive(self) -> bool:
        """Whether it takes coroutines. A task that raises SystemExit ends its event loop."""
        return self._thread.is_alive()

    def run(self, coroutine: Coroutine[Any, Any, _R], timeout_s: float | None) -> _R:
        """Run *coroutine* on the loop."""
        invocation = _Invocation(coroutine)
        self._waited_for.add(invocation)
        try:
            if self._call(self._begin, invocation, timeout_s, copy_context()):
                return invocation.outcome.result()
        except BaseException:
            # Ctrl-C, or a signal's handler that exits: perhaps before this thread begins to wait.
            if not invocation.outcome.done() and self._call(invocation.cancel):
                concurrent.futures.wait([invocation.outcome], timeout=CLOSE_TIMEOUT_S)
            raise
        finally:
            self._waited_for.discard(invocation)
        raise NotConnected("the runner has been closed")

    def end(self) -> None:
        """Close everything and wait for the end of the thread, bounded."""
        self._call(self._stop.set)
        if threading.current_thread() is not self._thread:  # the garbage collector runs anywhere
            self._thread.join(CLOSE_TIMEOUT_S)

    def _call(self, function: Callable[..., None], *args: Any) -> bool:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            return False
        return True

    # -- in the loop's thread ----------------------------------------------------------------

    def _main(self, started: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.get_loop().set_task_factory(_noting_task)
                runner.run(self._serve(started))
        except OSError as error:
            if started.done():
                raise
            started.set_exception(error)  # no event loop: too many open files
        except RuntimeError:
            # Python 3.12.0 and 3.12.1 start no thread while the process ends, and asyncio wants one
            # that waits for the loop's own. The loop is closed all the same.
            if not self._ending:
                raise
        finally:
            # What came between the loop's last turn and its end was never begun.
            for invocation in list(self._waited_for):
                if not invocation.outcome.done():
                    invocation.fail(NotConnected("the runner has been closed"))

    async def _serve(self, started: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
        started.set_result(asyncio.get_running_loop())
        try:
            await self._stop.wait()
        finally:
            self._ending = True
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._close()
            except Exception as error:  # nobody waits for it
                _log.warning("a connection could not be closed: %s", str(error) or repr(error))

    async def _close(self) -> None:
        await _end(self._running)
        if self._opening is not None:
            await _end({self._opening})
        for connection in reversed(self._entered):
            await connection.aclose()

    def _begin(
        self, invocation: _Invocation[Any], timeout_s: float | None, context: Context
    ) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            if task.cancelled():
                closed = NotConnected("the runner was closed while the coroutine ran")
                invocation.fail(closed if self._ending else asyncio.CancelledError())

        if self._ending:
            invocation.fail(NotConnected("the runner has been closed"))
            return
        invocation.task = self._loop.create_task(
            self._invoke(invocation, timeout_s), context=context
        )
        self._running.add(invocation.task)
        invocation.task.add_done_callback(ended)

    async def _invoke(self, invocation: _Invocation[Any], timeout_s: float | None) -> None:
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                await self._open()
                result = await invocation.run()
        except asyncio.CancelledError:
            raise
        except TimeoutError as error:
            if limit.expired() and not error.args:
                name = getattr(invocation.coroutine, "__qualname__", "the coroutine")
                error.args = (f"{name} took more than {timeout_s:g} s, and was cancelled",)
            invocation.fail(error)
        except BaseException as error:  # SystemExit would end the loop: it is for the caller
            invocation.fail(error)
        else:
            invocation.outcome.set_result(result)

    async def _open(self) -> None:
        if self._opening is None:
            if len(self._entered) == len(self._connections) and all(
                connection.is_open for connection in self._connections
            ):
                return
            # In a context of its own: what the connections start belongs to no invocation.
            self._opening = self._loop.create_task(self._open_all(), context=Context())
            self._opening.add_done_callback(self._opened)
        await asyncio.shield(self._opening)

    async def _open_all(self) -> None:
        for connection in self._connections:
            if connection in self._entered:
                await connection.open()
            else:
                await connection.__aenter__()
                self._entered.append(connection)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # who waits has it; nobody may be waiting any more


class _Invocation(Generic[_R]):
    """One coroutine, the tasks that it starts, and what becomes of it."""

    def __init__(self, coroutine: Coroutine[Any, Any, _R]) -> None:
        self.coroutine = coroutine
        self.outcome: concurrent.futures.Future[_R] = concurrent.futures.Future()
        self.task: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> _R:
        """Run it, and end the tasks that it leaves."""
        noting = _tasks.set(self.tasks)
        try:
            return await self.coroutine
        finally:
            _tasks.reset(noting)
            left = {t for t in self.tasks if not t.get_name().startswith(_DRIVER_TASKS)}
            if left:
                names = ", ".join(sorted(task.get_name() for task in left))
                _log.warning(
                    "%s left tasks running, which are cancelled now: %s. Await them, or start them"
                    " in an asyncio.TaskGroup",
                    getattr(self.coroutine, "__qualname__", self.coroutine),
                    names,
                )
                await _end(left)

    def cancel(self) -> None:
        """Cancel it, begun or not."""
        if self.task is not None:
            self.task.cancel()
        elif not self.outcome.done():
            self.fail(asyncio.CancelledError())

    def fail(self, error: BaseException) -> None:
        """Let the caller have *error*."""
        self.outcome.set_exception(error)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* and wait for their end, bounded."""
    ending = tuple(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending, timeout=CLOSE_TIMEOUT_S)


_tasks: ContextVar[set[asyncio.Task[Any]] | None] = ContextVar("odm_runner_tasks", default=None)


def _noting_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
) -> asyncio.Task[Any]:
    """Make a task, and note it for the invocation that starts it."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    tasks = _tasks.get()
    if tasks is not None:
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    return task
