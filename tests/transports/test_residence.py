"""What is open belongs to one event loop and one process."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from transports import open_transport
from transports.base import Transport
from transports.errors import TransportError, WrongEventLoop
from transports.residence import Residence


@pytest.fixture(params=["direct", "motor", "fake"])
def transport(request: pytest.FixtureRequest) -> Transport:
    if request.param == "fake":
        return open_transport("fake:///residence")
    uri: str = request.getfixturevalue("mongod_uri")
    url = uri.replace("/?", "/residence?")
    return open_transport(f"motor+{url}" if request.param == "motor" else url)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def uses(transport: Transport) -> dict[str, Callable[[], Any]]:
    """Ways to use it, those included that were prepared while it was right."""
    client, collection = transport.client, transport.database["things"]

    async def read() -> None:
        async for _ in collection.find():
            pass

    return {
        "client": lambda: transport.client,
        "database": lambda: transport.database,
        "kept client": lambda: client.admin.command("ping"),
        "kept collection": lambda: collection.insert_one({}),
        "kept cursor": read,
        "open": transport.open,
        "close": transport.aclose,
    }


async def refusals(ways: dict[str, Callable[[], Any]]) -> dict[str, BaseException | None]:
    """What each way is refused with."""
    found: dict[str, BaseException | None] = {}
    for name, use in ways.items():
        try:
            value = use()
            if asyncio.iscoroutine(value) or asyncio.isfuture(value):
                await asyncio.wait_for(value, 10)
            found[name] = None
        except (TransportError, RuntimeError) as error:
            found[name] = error
    return found


def test_another_loop_is_told_what_to_do(
    transport: Transport, loop: asyncio.AbstractEventLoop
) -> None:
    loop.run_until_complete(transport.open())
    ways = uses(transport)
    refused = asyncio.run(refusals(ways))
    assert {name: type(error) for name, error in refused.items()} == dict.fromkeys(
        ways, WrongEventLoop
    )
    assert all("odm.Runner" in str(error) for error in refused.values())

    # Nothing has happened to it where it is at home.
    assert loop.run_until_complete(transport.client.admin.command("ping"))["ok"] == 1
    loop.run_until_complete(transport.aclose())


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nothing can close what is lost
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_after_its_loop_it_can_be_closed_and_opened_anew(transport: Transport) -> None:
    async def forget() -> dict[str, Callable[[], Any]]:
        await transport.open()
        await transport.client.admin.command("ping")
        return uses(transport)

    ways = asyncio.run(forget())
    del ways["open"], ways["close"]
    refused = asyncio.run(refusals(ways))
    assert {name: type(error) for name, error in refused.items()} == dict.fromkeys(
        ways, WrongEventLoop
    )
    assert all("closed since" in str(error) for error in refused.values())

    async def use() -> None:
        async with transport:
            await transport.client.admin.command("ping")

    asyncio.run(use())
    asyncio.run(forget())
    asyncio.run(transport.aclose())
    assert not transport.is_open
    del ways, refused
    gc.collect()  # in this test, where the driver's warnings are expected


def test_where_no_loop_runs_collections_can_be_prepared(
    transport: Transport, loop: asyncio.AbstractEventLoop
) -> None:
    loop.run_until_complete(transport.open())
    things = transport.database["things"]
    assert loop.run_until_complete(things.count_documents({})) >= 0
    loop.run_until_complete(transport.aclose())


def test_loops_of_several_threads_each_open_the_same_url(transport: Transport) -> None:
    barrier, failures = threading.Barrier(3), list[BaseException]()

    def work() -> None:
        async def main() -> None:
            async with open_transport(transport.url) as own:
                await asyncio.to_thread(barrier.wait, 30)
                for _ in range(5):
                    await own.database["things"].insert_one({})

        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


async def test_the_check_passes_at_home() -> None:
    residence = Residence("it")
    residence.check()
    assert not residence.is_lost
    assert not residence.is_forked
    assert residence.is_in(asyncio.get_running_loop())


_FORKED = """
import asyncio, gc, os, pathlib, sys, tempfile
from transports import open_transport
from transports.errors import OpenedBeforeFork, TransportError

transport = open_transport(sys.argv[1])
loop = asyncio.new_event_loop()
loop.run_until_complete(transport.open())
things = transport.database["things"]
loop.run_until_complete(things.insert_one({}))
there = sorted(os.listdir(tempfile.gettempdir()))

async def child():
    for use in (lambda: transport.client, lambda: things.count_documents({})):
        try:
            value = use()
            if asyncio.iscoroutine(value):
                await asyncio.wait_for(value, 10)
        except OpenedBeforeFork as error:
            assert "forked" in str(error), error
        else:
            raise AssertionError("the parent's connection was used")
    await asyncio.wait_for(transport.aclose(), 10)
    async with asyncio.timeout(30), transport:
        assert await transport.database["things"].count_documents({}) >= 0
        assert await asyncio.to_thread(int) == 0

pid = os.fork()
if not pid:
    code = 1
    try:
        (loop if sys.argv[2] == "same" else asyncio.new_event_loop()).run_until_complete(child())
        gc.collect()
        code = 0
    finally:
        if code:
            import traceback
            traceback.print_exc()
            os._exit(code)
    sys.exit(code)  # with everything that the end of a process runs
assert os.waitpid(pid, 0)[1] == 0
assert sorted(os.listdir(tempfile.gettempdir())) == there

async def parent():
    assert await asyncio.to_thread(int) == 0
    for _ in range(3):
        assert await asyncio.wait_for(things.count_documents({}), 10) >= 1
    await asyncio.gather(*(things.insert_one({}) for _ in range(20)))

loop.run_until_complete(parent())
loop.run_until_complete(asyncio.wait_for(transport.aclose(), 10))
loop.close()
assert os.listdir(tempfile.gettempdir()) == []
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.parametrize("loop_of_the_child", ["same", "new"])
@pytest.mark.parametrize("scheme", ["fake", "embedded", "direct"])
def test_a_forked_child_leaves_the_parent_alone(
    request: pytest.FixtureRequest, scheme: str, loop_of_the_child: str, tmp_path: Any
) -> None:
    mongod_uri: str = request.getfixturevalue("mongod_uri")  # skips where there is no mongod
    url = mongod_uri.replace("/?", "/forked?") if scheme == "direct" else f"{scheme}:///forked"
    run_script(_FORKED, url, loop_of_the_child, tmp_path=tmp_path)


_UNWINDS = """
import asyncio, os, sys, tempfile
from transports import open_transport

async def main():
    async with open_transport(sys.argv[1]) as transport:
        things = transport.database["things"]
        await things.insert_one({})
        there = os.listdir(tempfile.gettempdir())
        pid = os.fork()
        if not pid:
            sys.exit(0)  # leaves the block, and asyncio.run()
        assert os.waitpid(pid, 0)[1] == 0
        assert os.listdir(tempfile.gettempdir()) == there
        # The loop still hears its sockets and its threads.
        assert await asyncio.wait_for(asyncio.to_thread(int), 10) == 0
        for _ in range(3):
            assert await asyncio.wait_for(things.count_documents({}), 10) == 1

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.parametrize("scheme", ["fake", "embedded"])
def test_a_child_that_unwinds_the_parents_stack_leaves_the_parent_alone(
    mongod_uri: str, scheme: str, tmp_path: Any
) -> None:
    run_script(_UNWINDS, f"{scheme}:///forked", tmp_path=tmp_path)


_OUTLIVES = """
import asyncio, os, sys, tempfile
from transports import open_transport

async def main():
    reading, writing = os.pipe()
    async with open_transport(sys.argv[1]) as transport:
        await transport.database["things"].insert_one({})
        pid = os.fork()
        if not pid:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    assert os.listdir(tempfile.gettempdir()) == []
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.close(writing)
    assert os.waitpid(pid, 0)[1] == 0

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.parametrize("scheme", ["fake", "embedded"])
def test_closing_does_not_wait_for_a_child_that_goes_on(
    mongod_uri: str, scheme: str, tmp_path: Any
) -> None:
    run_script(_OUTLIVES, f"{scheme}:///forked", tmp_path=tmp_path)


def run_script(script: str, *arguments: str, tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
