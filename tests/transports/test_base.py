from __future__ import annotations

import gc
from typing import Any

import pytest
from pymongo import AsyncMongoClient

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
