"""A coroutine function as the handler of an AWS Lambda function."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from bson import ObjectId

from odm import Connection, Document, Runner, connect, lambda_handler
from transports.errors import TransportError


class Note(Document):
    text: str = ""

    class Settings:
        name = "notes"


class Context:
    def __init__(self, remaining_s: float = 3.0) -> None:
        self.remaining_s = remaining_s

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining_s * 1000)


@pytest.fixture
def db() -> Iterator[Connection]:
    db = connect("fake:///invocations", models=[Note])
    yield db
    assert not db.is_open


@pytest.fixture
def in_lambda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in an execution environment, whose process this is."""
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class Snapshots(ModuleType):
    """AWS's ``snapshot_restore_py``, as the runtime uses it."""

    def __init__(self) -> None:
        super().__init__("snapshot_restore_py")
        self.before: list[Any] = []
        self.after: list[Any] = []

    def register_before_snapshot(self, function: Any, *args: Any) -> None:
        self.before.append((function, args))

    def register_after_restore(self, function: Any, *args: Any) -> None:
        self.after.append((function, args))


@pytest.fixture
def snapshots(monkeypatch: pytest.MonkeyPatch) -> Snapshots:
    module = Snapshots()
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", module)
    return module


def runner_of(handler: Any) -> Runner:
    runner: Runner = handler.runner
    return runner


def test_one_loop_and_one_connection_for_all_invocations(db: Connection) -> None:
    loops: set[asyncio.AbstractEventLoop] = set()

    @lambda_handler(db)
    async def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
        """Say what it does."""
        loops.add(asyncio.get_running_loop())
        await Note(text=event["text"]).insert()
        return {"notes": await db.repository(Note).count()}

    assert not db.is_open  # importing a handler outside of AWS Lambda connects to nothing
    assert [handler({"text": "x"}, Context())["notes"] for _ in range(3)] == [1, 2, 3]
    assert len(loops) == 1
    assert (handler.__name__, handler.__doc__) == ("handler", "Say what it does.")
    runner_of(handler).close()


def test_what_the_coroutine_raises_the_function_raises(db: Connection) -> None:
    @lambda_handler(db)
    async def handler(event: str, context: Context) -> None:
        raise LookupError(event)

    for word in ("one", "two"):
        with pytest.raises(LookupError, match=word):
            handler(word, Context())
    runner_of(handler).close()


def test_it_can_be_cancelled_before_the_functions_time_out(db: Connection) -> None:
    aborted: list[int] = []

    @lambda_handler(db, stop_before_timeout_s=0.5)
    async def handler(event: None, context: Context) -> None:
        try:
            async with db.transaction():
                await Note().insert()
                await asyncio.Event().wait()
        finally:
            aborted.append(await Note.count())

    with pytest.raises(TimeoutError):
        handler(None, Context(remaining_s=1.0))
    assert aborted == [0]
    runner_of(handler).close()


@pytest.mark.usefixtures("in_lambda")
def test_in_an_environment_it_opens_during_initialisation(
    db: Connection, snapshots: Snapshots
) -> None:
    @lambda_handler(db)
    async def handler(event: None, context: Context) -> int:
        return await Note.count()

    assert db.is_open
    assert handler(None, Context()) == 0
    runner_of(handler).close()


@pytest.mark.usefixtures("in_lambda")
def test_opening_during_initialisation_can_be_left_out(
    db: Connection, snapshots: Snapshots
) -> None:
    @lambda_handler(db, open_at_init=False)
    async def handler(event: None, context: Context) -> int:
        return await Note.count()

    assert not db.is_open
    assert handler(None, Context()) == 0
    runner_of(handler).close()


@pytest.mark.usefixtures("in_lambda", "snapshots")
def test_what_cannot_be_opened_then_is_the_invocations_error() -> None:
    down = connect("mongodb://127.0.0.1:1/cms?serverSelectionTimeoutMS=20")

    @lambda_handler(down)
    async def handler(event: None, context: Context) -> None:
        await down.ping()

    with pytest.raises(TransportError, match="no usable server"):
        handler(None, Context())
    runner_of(handler).close()


@pytest.mark.usefixtures("in_lambda")
def test_a_snapshot_holds_no_connection_and_no_ids(db: Connection, snapshots: Snapshots) -> None:
    @lambda_handler(db)
    async def handler(event: None, context: Context) -> ObjectId:
        note = await Note().insert()
        assert note.id is not None
        return note.id

    first = handler(None, Context())
    [(before, arguments)] = snapshots.before
    before(*arguments)
    assert not db.is_open
    [(after, arguments)] = snapshots.after
    after(*arguments)
    assert runner_of(handler).run(is_open(db))
    random_part = slice(4, 9)  # of an ObjectId: the same in all of a process's
    assert handler(None, Context()).binary[random_part] != first.binary[random_part]
    runner_of(handler).close()


async def is_open(db: Connection) -> bool:
    return db.is_open


@pytest.mark.usefixtures("in_lambda", "snapshots")
def test_sigterm_closes_and_ends(db: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @lambda_handler(db)
    async def handler(event: None, context: Context) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    with pytest.raises(SystemExit) as caught:
        handler(None, Context())
    assert caught.value.code == 0
    assert not db.is_open


@pytest.mark.usefixtures("in_lambda", "snapshots")
def test_an_applications_own_sigterm_handler_is_kept(db: Connection) -> None:
    def own(*_: Any) -> None: ...

    signal.signal(signal.SIGTERM, own)

    @lambda_handler(db, open_at_init=False)
    async def handler(event: None, context: Context) -> None: ...

    assert signal.getsignal(signal.SIGTERM) is own
    assert handler(None, Context()) is None
    runner_of(handler).close()


def test_misuse_is_told_what_to_write(db: Connection) -> None:
    with pytest.raises(TypeError, match="async def"):

        @lambda_handler(db)  # type: ignore[arg-type]  # the misuse
        def handler(event: None, context: None) -> None: ...

    with pytest.raises(TypeError, match=r"@lambda_handler\(connect\(…\)\)"):

        @lambda_handler  # type: ignore[arg-type]  # the misuse
        async def another(event: None, context: None) -> None: ...
