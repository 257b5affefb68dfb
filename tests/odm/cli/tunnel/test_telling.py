from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from odm.cli.console import Console
from odm.cli.tunnel.telling import Teller
from odm.cli.tunnel.watch import Watch
from transports import Transport, TransportStatistics
from transports.endpoint import Client, FinishedCommand


class Said:
    """A console of which each line can be waited for."""

    is_live = False

    def __init__(self, *, json_output: bool = False) -> None:
        self.json_output = json_output
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.documents: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

    def note(self, text: str) -> None:
        self.lines.put_nowait(text)

    def log(self, text: str) -> None:
        self.lines.put_nowait(f"log {text}")

    def event(self, value: Mapping[str, Any]) -> None:
        if self.json_output:
            self.documents.put_nowait(value)


class Counting:
    """What a teller asks a transport."""

    def statistics(self) -> TransportStatistics:
        return TransportStatistics(transport="lambda", invokes=5)


def teller(said: Said, watch: Watch, interval_s: float | None) -> Teller:
    return Teller(
        console=cast(Console, said),
        watch=watch,
        transport=cast(Transport, Counting()),
        title="",
        interval_s=interval_s,
    )


@asynccontextmanager
async def telling(said: Said, watch: Watch, interval_s: float | None) -> AsyncIterator[None]:
    task = asyncio.create_task(teller(said, watch, interval_s).tell())
    async with asyncio.timeout(10):
        yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def watch() -> Watch:
    return Watch(log_commands=True)


def run_command(watch: Watch) -> None:
    watch.command_finished(
        FinishedCommand(
            client=Client(connection_id=1),
            server="db:1",
            name="find",
            database="cms",
            collection="pages",
            duration_s=0.001,
            request_bytes=1,
            reply_bytes=1,
            failure=None,
        )
    )


async def test_events_are_told_at_once(watch: Watch) -> None:
    said = Said()
    async with telling(said, watch, None):
        watch.connection_refused(1, "no")
        assert "refused" in await said.lines.get()
        run_command(watch)
        assert (await said.lines.get()).startswith("log ")


async def test_numbers_are_told_where_something_was_done(watch: Watch) -> None:
    said = Said()
    async with telling(said, watch, 0.001):
        run_command(watch)
        assert "find cms.pages" in await said.lines.get()
        assert "1 command" in await said.lines.get()
        await asyncio.wait({asyncio.create_task(watch.wait(0.05))})
        assert said.lines.empty()  # nothing was done since
        run_command(watch)
        await said.lines.get()
        assert "2 commands" in await said.lines.get()


async def test_programs_are_told_numbers_in_any_case(watch: Watch) -> None:
    said = Said(json_output=True)
    async with telling(said, watch, 0.001):
        for _ in range(2):
            document = await said.documents.get()
            assert (document["event"], document["commands"]) == ("statistics", 0)
    assert said.lines.empty()


async def test_no_numbers_are_told_where_none_are_wanted(watch: Watch) -> None:
    said = Said(json_output=True)
    async with telling(said, watch, 0):
        run_command(watch)
        assert (await said.documents.get())["event"] == "command"
        await asyncio.sleep(0)
        assert said.documents.empty()


async def test_a_farewell_tells_what_was_left_to_tell(watch: Watch) -> None:
    said = Said(json_output=True)
    run_command(watch)
    watch.dropped = 3
    teller(said, watch, 0).farewell()
    documents = [said.documents.get_nowait() for _ in range(2)]
    assert [document["event"] for document in documents] == ["command", "closed"]
    assert documents[1]["invokes"] == 5
    lines = [said.lines.get_nowait() for _ in range(said.lines.qsize())]
    assert "1 command of 0 clients in 5 invokes" in lines[0]
    assert "3 events came too fast" in lines[-1]
