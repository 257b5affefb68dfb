"""An AWS Lambda function that is a coroutine: `lambda_handler`.

The runtime calls a synchronous function for each invocation and freezes the process in between.
What runs the coroutines, and keeps connections open from one to the next, is `odm.runner`.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/python-handler.html,
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html,
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from importlib import import_module
from types import FrameType
from typing import Any, Protocol, TypeVar

from bson import ObjectId

from odm.loop_thread import Lifecycle
from odm.runner import Runner

_Event = TypeVar("_Event")
_Context = TypeVar("_Context")
_R = TypeVar("_R")
_log = logging.getLogger("odm.invocations")

# AWS gives the initialisation, and a restore, 10 s.
_OPEN_TIMEOUT_S = 8.0


class LambdaContext(Protocol):
    """What is used of the runtime's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """How long the invocation may still run."""


def lambda_handler(
    *connections: Lifecycle,
    open_at_init: bool = True,
    stop_before_timeout_s: float | None = None,
) -> Callable[
    [Callable[[_Event, _Context], Coroutine[Any, Any, _R]]], Callable[[_Event, _Context], _R]
]:
    """Make a coroutine function the handler of an AWS Lambda function.

    ::

        db = connect(models=[Page])  # $ODM_URL

        @lambda_handler(db)
        async def handler(event, context):
            return {"pages": await db.repository(Page).count()}

    One event loop and the *connections* live as long as the execution environment: they are opened
    during its initialisation, closed before a SnapStart snapshot, opened anew after a restore, and
    closed at SIGTERM. Outside of AWS Lambda they are opened by the first call. What the coroutine
    raises, the function raises. Tasks that it leaves running are cancelled when it returns: frozen
    with the environment, they would go on in some later invocation, or never. The coroutine
    function itself, for tests, is the handler's ``__wrapped__``; the `Runner` its ``runner``.

    Args:
        connections: made by `connect()`, not opened yet.
        open_at_init: open them while AWS Lambda initialises the function. What cannot be opened
            then is tried again by the first invocation, which has the error.
        stop_before_timeout_s: cancel the coroutine so many seconds before the function's time-out,
            so that transactions are aborted and ``finally`` blocks run; the handler raises
            TimeoutError. None: it runs until AWS Lambda stops the function.
    """
    if any(callable(connection) for connection in connections):
        raise TypeError("it takes connections: write @lambda_handler(connect(…))")
    runner = Runner(*connections)

    def decorate(
        coroutine_function: Callable[[_Event, _Context], Coroutine[Any, Any, _R]],
    ) -> Callable[[_Event, _Context], _R]:
        if not inspect.iscoroutinefunction(coroutine_function):
            raise TypeError(f"{coroutine_function!r} is no coroutine function: write 'async def'")

        @functools.wraps(coroutine_function)
        def handler(event: _Event, context: _Context) -> _R:
            timeout_s = None
            if stop_before_timeout_s is not None:
                timeout_s = _remaining_s(context) - stop_before_timeout_s
            return runner.run(coroutine_function(event, context), timeout_s=timeout_s)

        handler.runner = runner  # type: ignore[attr-defined]  # functions take attributes
        if "AWS_LAMBDA_RUNTIME_API" in os.environ:
            _live_in_an_environment(runner, open_at_init)
        return handler

    return decorate


def _remaining_s(context: Any) -> float:
    remaining: LambdaContext = context
    return remaining.get_remaining_time_in_millis() / 1000


def _live_in_an_environment(runner: Runner, open_at_init: bool) -> None:
    _close_on_sigterm(runner)
    try:
        # AWS puts it beside its runtime client.
        snapshots = import_module("snapshot_restore_py")
    except ImportError:
        pass
    else:
        snapshots.register_before_snapshot(runner.close)
        snapshots.register_after_restore(_restore, runner)
    if open_at_init:
        _open(runner)


def _open(runner: Runner) -> None:
    try:
        runner.open(timeout_s=_OPEN_TIMEOUT_S)
    except Exception as error:  # an environment that fails to start could not tell the caller why
        _log.warning(
            "not connected yet; the next invocation tries again: %s", str(error) or repr(error)
        )


def _restore(runner: Runner) -> None:
    # Environments restored from one snapshot would make the same ids: driver and ODM take them
    # from a random number that is drawn once in a process.
    ObjectId._pid = -1  # as in a forked child
    _open(runner)


def _close_on_sigterm(runner: Runner) -> None:
    """Close the connections when the environment is shut down."""

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        runner.close()
        sys.exit(0)

    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # an application's own is kept
    ):
        signal.signal(signal.SIGTERM, on_sigterm)
