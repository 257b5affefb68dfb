from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import InvalidOperation

from transports.base import Transport
from transports.errors import ServerUnreachable, TransportClosed
from transports.url import parse_url


class RecordingTransport(Transport):
    name = "recording"

    def __init__(self, failure: BaseException | None = None) -> None:
        super().__init__(parse_url("mongodb://user:hunter2@localhost/cms"))
        self.failure = failure
        self.calls: list[str] = []

    async def _open(self) -> AsyncMongoClient[dict[str, Any]]:
        self.calls.append("open")
        if self.failure is not None:
            raise self.failure
        return AsyncMongoClient("mongodb://localhost")

    async def _close(self) -> None:
        self.calls.append("close")


async def test_opens_once_and_closes_what_it_opened() -> None:
    transport = RecordingTransport()

    async with transport as entered:
        assert entered is transport
        assert await transport.open() is transport
        assert transport.is_open
        assert transport.database == transport.client["cms"]

    with pytest.raises(TransportClosed):
        _ = transport.client
    assert transport.calls == ["open", "close"]


async def test_close_may_be_repeated_and_may_come_first() -> None:
    transport = RecordingTransport()

    await transport.aclose()
    await transport.open()
    await transport.aclose()
    await transport.aclose()

    assert not transport.is_open


class SlowTransport(RecordingTransport):
    """Goes on when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.opening, self.may_open = asyncio.Event(), asyncio.Event()
        self.closing, self.may_close = asyncio.Event(), asyncio.Event()

    async def _open(self) -> AsyncMongoClient[dict[str, Any]]:
        self.opening.set()
        await self.may_open.wait()
        return await super()._open()

    async def _close(self) -> None:
        self.closing.set()
        await self.may_close.wait()
        await super()._close()


async def test_several_tasks_open_it_once() -> None:
    transport = SlowTransport()
    transport.may_close.set()
    tasks = [asyncio.create_task(transport.open()) for _ in range(3)]
    await transport.opening.wait()
    assert not transport.is_open
    transport.may_open.set()
    await asyncio.gather(*tasks)
    await transport.aclose()
    assert transport.calls == ["open", "close"]


def test_it_may_be_opened_on_one_event_loop_after_another() -> None:
    transport = RecordingTransport()

    async def use() -> None:
        await asyncio.gather(*(transport.open() for _ in range(3)))
        await asyncio.gather(*(transport.aclose() for _ in range(3)))

    for _ in range(2):
        asyncio.run(use())
    assert transport.calls == ["open", "close"] * 2


async def test_cancelling_close_does_not_stop_it() -> None:
    transport = SlowTransport()
    transport.may_open.set()
    client = (await transport.open()).client
    closing = asyncio.create_task(transport.aclose())
    await transport.closing.wait()
    closing.cancel()
    again = asyncio.create_task(transport.aclose())
    transport.may_close.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await again
    assert transport.calls == ["open", "close"]
    with pytest.raises(InvalidOperation):
        await client.admin.command("ping")


async def test_close_that_is_cancelled_while_the_client_closes_closes_the_client() -> None:
    transport = RecordingTransport()
    client = (await transport.open()).client
    closing = asyncio.create_task(transport.aclose())
    asyncio.get_running_loop().call_soon(closing.cancel)
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(InvalidOperation):
        await client.admin.command("ping")


async def test_close_during_open_leaves_it_closed() -> None:
    transport = SlowTransport()
    transport.may_close.set()
    opening = asyncio.create_task(transport.open())
    await transport.opening.wait()
    closing = asyncio.create_task(transport.aclose())
    asyncio.get_running_loop().call_soon(transport.may_open.set)
    await asyncio.gather(opening, closing)
    assert not transport.is_open
    assert transport.calls == ["open", "close"]


async def test_open_after_close_has_begun_opens_it_again() -> None:
    transport = SlowTransport()
    transport.may_open.set()
    await transport.open()
    closing = asyncio.create_task(transport.aclose())
    await transport.closing.wait()
    opening = asyncio.create_task(transport.open())
    transport.may_close.set()
    await asyncio.gather(closing, opening)
    assert transport.is_open
    await transport.aclose()
    assert transport.calls == ["open", "close"] * 2


async def test_open_that_fails_releases_what_was_acquired() -> None:
    transport = RecordingTransport(ServerUnreachable("nobody"))

    with pytest.raises(ServerUnreachable):
        await transport.open()

    assert transport.calls == ["open", "close"]
    assert not transport.is_open


async def test_client_of_a_closed_transport_says_how_to_open_it() -> None:
    transport = RecordingTransport()

    with pytest.raises(TransportClosed, match="async with open_transport"):
        _ = transport.database


async def test_forgotten_transport_warns() -> None:
    transport = RecordingTransport()
    client = (await transport.open()).client

    def forget() -> None:
        nonlocal transport
        del transport
        gc.collect()

    with pytest.warns(ResourceWarning, match="was never closed"):
        forget()
    await client.close()


async def test_repr_shows_state_and_no_credentials() -> None:
    transport = RecordingTransport()
    assert repr(transport) == "<RecordingTransport mongodb://***@localhost/cms (closed)>"
    async with transport:
        assert "(open)" in repr(transport)
