"""Coroutines of synchronous code on one loop, with connections that stay open."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest

from odm import Connection, Document, NotConnected, Runner, connect
from odm.loop_thread import LoopThread
from transports.errors import TransportError, WrongEventLoop


class Note(Document):
    text: str = ""

    class Settings:
        name = "notes"


@pytest.fixture
def db() -> Connection:
    return connect("fake:///runner", models=[Note])


@pytest.fixture
def runner(db: Connection) -> Iterator[Runner]:
    runner = Runner(db)
    yield runner
    runner.close()


async def add(text: str = "") -> int:
    await Note(text=text).insert()
    return await Note.count()


async def forever() -> None:
    await asyncio.Event().wait()


def test_the_connection_is_opened_when_it_is_needed_and_kept(
    db: Connection, runner: Runner
) -> None:
    states = [db.is_open]
    assert [runner.run(add()) for _ in range(3)] == [1, 2, 3]
    states.append(db.is_open)
    loops = {id(runner.run(current_loop())) for _ in range(2)}
    assert len(loops) == 1
    runner.close()
    assert [*states, db.is_open] == [False, True, False]


async def current_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_after_closing_it_starts_anew(db: Connection, runner: Runner) -> None:
    with runner:
        assert runner.run(add()) == 1
    assert "closed" in repr(runner)
    runner.close()
    assert runner.run(add()) == 1  # another fake
    assert db.is_open


def test_blocks_inside_leave_the_connection_open(db: Connection, runner: Runner) -> None:
    async def block() -> int:
        async with db:
            return await add()

    assert [runner.run(block()), runner.run(block())] == [1, 2]


def test_a_connection_that_was_closed_inside_is_opened_again(
    db: Connection, runner: Runner
) -> None:
    runner.run(db.aclose())
    assert runner.run(add()) == 1


def test_exceptions_reach_the_caller(runner: Runner) -> None:
    class Mine(Exception):
        pass

    async def fail(error: BaseException) -> None:
        raise error

    for error in (Mine("x"), SystemExit(3), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            runner.run(fail(error))
        assert caught.value is error
    assert runner.run(add()) == 1  # and the loop goes on


def test_threads_share_the_loop_and_the_connection(db: Connection, runner: Runner) -> None:
    barrier = threading.Barrier(4)

    async def meet() -> int:
        await asyncio.to_thread(barrier.wait, 30)  # only where all four run at once
        return await add()

    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(runner.run(meet()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(results) == 4
    assert len(results) == 4


def test_context_variables_of_the_caller_are_seen(db: Connection, runner: Runner) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nothing")

    async def read() -> str:
        return variable.get()

    token = variable.set("something")
    try:
        assert runner.run(read()) == "something"
    finally:
        variable.reset(token)
    assert runner.run(read()) == "nothing"


def test_tasks_left_behind_are_cancelled_and_told_of(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[asyncio.Task[None]] = []

    async def leave() -> None:
        async def parent() -> None:
            left.append(asyncio.create_task(forever(), name="grandchild"))
            await forever()

        left.append(asyncio.create_task(parent(), name="child"))
        done = asyncio.create_task(asyncio.sleep(0))
        await done

    with caplog.at_level(logging.WARNING, "odm.runner"):
        runner.run(leave())
    assert [task.cancelled() for task in left] == [True, True]
    assert "leave left tasks running" in caplog.text
    assert "child, grandchild" in caplog.text


def test_what_the_driver_starts_is_left_alone(
    db: Connection, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "odm.runner"):
        for _ in range(3):
            runner.run(add())
    assert caplog.text == ""


def test_a_timeout_cancels_and_lets_it_clean_up(runner: Runner) -> None:
    runner.open()
    cleaned: list[bool] = []

    async def stuck() -> None:
        try:
            await forever()
        finally:
            await add()
            cleaned.append(True)

    with pytest.raises(TimeoutError, match=r"stuck took more than 0\.05 s, and was cancelled"):
        runner.run(stuck(), timeout_s=0.05)
    assert cleaned == [True]


def test_an_interrupt_cancels_it(runner: Runner) -> None:
    runner.open()
    ended: list[bool] = []

    async def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await forever()
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        runner.run(interrupted())
    assert ended == [True]
    assert runner.run(add()) == 1


def test_closing_ends_what_runs(runner: Runner) -> None:
    running, outcome = threading.Event(), list[BaseException]()

    async def wait() -> None:
        running.set()
        await forever()

    def work() -> None:
        try:
            runner.run(wait())
        except NotConnected as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert running.wait(30)
    runner.close()
    thread.join(30)
    assert "closed while the coroutine ran" in str(outcome[0])


def test_a_failure_to_open_is_for_each_caller_and_tried_again() -> None:
    runner = Runner(connect("mongodb://127.0.0.1:1/cms?serverSelectionTimeoutMS=20"))
    for _ in range(2):
        with pytest.raises(TransportError, match="no usable server"):
            runner.run(forever())
    runner.close()


def test_a_connection_of_another_loop_is_refused(db: Connection) -> None:
    runner = Runner(db)

    async def elsewhere() -> None:
        async with db:
            with pytest.raises(WrongEventLoop, match=r"odm\.Runner"):
                await asyncio.to_thread(runner.run, add())

    asyncio.run(elsewhere())
    runner.close()


async def test_inside_an_event_loop_it_refuses_to_block(runner: Runner) -> None:
    for call in (lambda: runner.run(add()), runner.close):
        with pytest.raises(RuntimeError, match="await the coroutine instead"):
            call()
    await asyncio.to_thread(runner.open)


def test_misuse_is_told_what_to_write(runner: Runner) -> None:
    with pytest.raises(TypeError, match=r"Runner\(connect\(url"):
        Runner("fake:///x")  # type: ignore[arg-type]  # the misuse
    with pytest.raises(TypeError, match=r"write run\(main\(\)\)"):
        runner.run(add)  # type: ignore[arg-type]  # the misuse


def test_dropped_it_ends_its_thread(db: Connection) -> None:
    runner = Runner(db).open()
    [thread] = [t for t in threading.enumerate() if t.name == "odm-runner"]
    del runner
    thread.join(30)
    assert not thread.is_alive()
    assert not db.is_open


def script(text: str, *arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", text, *arguments],
        env={**os.environ, "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


_FORGETFUL = """
import sys
from odm import Document, Runner, connect
class Note(Document):
    text: str = ""
runner = Runner(connect(sys.argv[1], models=[Note]))
async def add():
    await Note().insert()
    return await Note.count()
print(runner.run(add()))
"""


@pytest.mark.parametrize("scheme", ["fake", "embedded"])
def test_at_the_end_of_the_process_it_closes(
    request: pytest.FixtureRequest, scheme: str, tmp_path: Path
) -> None:
    request.getfixturevalue("mongod_uri")  # skips where there is no mongod
    done = script(_FORGETFUL, f"{scheme}:///cms", directory=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert list(tmp_path.iterdir()) == []


_FORKING = (
    _FORGETFUL
    + """
import multiprocessing, os
pid = os.fork()
if not pid:
    print(runner.run(add()), flush=True)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
child = multiprocessing.get_context("fork").Process(target=lambda: print(runner.run(add())))
child.start()
child.join(30)
assert child.exitcode == 0
print(runner.run(add()))
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.parametrize("scheme", ["fake", "embedded"])
def test_forked_children_open_their_own(
    request: pytest.FixtureRequest, scheme: str, tmp_path: Path
) -> None:
    request.getfixturevalue("mongod_uri")  # skips where there is no mongod
    # Python 3.12 and later warn of forking beside threads.
    text = "import warnings\nwarnings.simplefilter('ignore')\n" + _FORKING
    done = script(text, f"{scheme}:///cms", directory=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["1", "1", "1", "2"]
    assert list(tmp_path.iterdir()) == []


def test_interrupted_scripts_leave_nothing(tmp_path: Path, mongod_uri: str) -> None:
    text = (
        "import asyncio, os, signal, sys\n"
        "from odm import connect\n"
        "async def main():\n"
        "    async with connect(sys.argv[1]) as db:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        while True:\n"
        "            await db.ping()\n"
        "asyncio.run(main())\n"
    )
    for url in ("fake:///cms", "embedded:///cms"):
        done = script(text, url, directory=tmp_path)
        assert done.returncode == -signal.SIGINT
        assert done.stderr.rstrip().endswith("KeyboardInterrupt")
        assert "never" not in done.stderr
        assert "destroyed" not in done.stderr
        assert list(tmp_path.iterdir()) == []


NewURL = Callable[[], str]


@pytest.mark.parametrize("motor", [False, True])
def test_it_runs_over_servers_too(new_url: NewURL, motor: bool) -> None:
    with Runner(connect(("motor+" if motor else "") + new_url(), models=[Note])) as runner:
        assert [runner.run(add()) for _ in range(3)] == [1, 2, 3]


def test_without_an_event_loop_it_says_why(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_loop() -> asyncio.AbstractEventLoop:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(asyncio.events, "new_event_loop", no_loop)
        with pytest.raises(OSError, match="Too many open files"):
            runner.run(add())
    assert runner.run(add()) == 1


def test_what_the_loop_ends_without_beginning_is_told_so(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = threading.Event()
    outcome: list[BaseException] = []
    # It arrives between the loop's last turn and its end, and is never begun.
    monkeypatch.setattr(LoopThread, "_begin", lambda *_: lost.set())

    def run() -> None:
        try:
            runner.run(add())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert lost.wait(30)
    runner.close()
    thread.join(30)
    assert [str(error) for error in outcome] == ["the runner has been closed"]
