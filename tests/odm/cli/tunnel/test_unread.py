from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from odm.cli.tunnel.unread import until_unread


@pytest.fixture
def pipe() -> Iterator[tuple[int, list[int]]]:
    """The end that is written, and the other one in a list of what is still open."""
    read, write = os.pipe()
    still_open = [read]
    yield write, still_open
    for descriptor in (write, *still_open):
        os.close(descriptor)


async def test_work_stops_when_the_reader_goes(pipe: tuple[int, list[int]]) -> None:
    write, still_open = pipe
    working, stopped = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    task = asyncio.create_task(until_unread(work(), write))
    await working.wait()
    os.close(still_open.pop())
    with pytest.raises(BrokenPipeError):
        await task
    assert stopped.is_set()


async def test_work_that_ends_or_fails_is_heard_of(pipe: tuple[int, list[int]]) -> None:
    async def done() -> None:
        return

    async def fails() -> None:
        raise OSError("No space left on device")

    await until_unread(done(), pipe[0])
    with pytest.raises(OSError, match="No space left"):
        await until_unread(fails(), pipe[0])


async def test_a_cancelled_command_stops_its_work(pipe: tuple[int, list[int]]) -> None:
    working, stopped = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    task = asyncio.create_task(until_unread(work(), pipe[0]))
    await working.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()


async def test_a_file_has_no_reader_that_could_go() -> None:
    done = False

    async def work() -> None:
        nonlocal done
        done = True

    descriptor = os.open(os.devnull, os.O_WRONLY)
    try:
        await until_unread(work(), descriptor)
    finally:
        os.close(descriptor)
    assert done
