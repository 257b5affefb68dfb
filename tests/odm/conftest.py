"""Connections for the tests of `odm`, on the real server, each to a database of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from odm import Connection, connect
from odm.schema import SchemaOptions
from transports.base import Transport
from transports.url import TransportURL, parse_url

UrlOf = Callable[[str], str]
Open = Callable[..., Any]


@pytest.fixture(scope="session")
def url_of(mongod_uri: str) -> Iterator[UrlOf]:
    """From a name to the URL of a database that is dropped when all tests are done."""
    used: list[str] = []

    def url(name: str) -> str:
        base, _, query = mongod_uri.partition("?")
        used.append(name)
        return f"{base.rstrip('/')}/{name}?{query}"

    yield url

    async def drop() -> None:
        async with AsyncMongoClient[dict[str, Any]](mongod_uri) as client:
            for start in range(0, len(used), 50):
                await asyncio.gather(*map(client.drop_database, used[start : start + 50]))

    asyncio.run(drop())


@pytest.fixture
def new_url(url_of: UrlOf) -> Callable[[], str]:
    """URLs of databases that nothing has been written to."""
    return lambda: url_of(f"odm_{uuid.uuid4().hex[:16]}")


@pytest.fixture
async def opened(new_url: Callable[[], str]) -> AsyncIterator[Open]:
    """``await opened(Page, …)``: a connection to a new database, closed after the test."""
    async with AsyncExitStack() as stack:

        async def open_connection(*models: Any, url: str | None = None, **options: Any) -> Any:
            connection = connect(url or new_url(), models=models, **options)
            return await stack.enter_async_context(connection)

        yield open_connection


class Commands(CommandListener):
    """The commands that a client has sent."""

    def __init__(self) -> None:
        self.events: list[CommandStartedEvent] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.events.append(event)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass

    @property
    def names(self) -> list[str]:
        return [event.command_name for event in self.events]


class ListeningTransport(Transport):
    """The driver, telling every command."""

    name: ClassVar[str] = "listening"

    def __init__(self, url: TransportURL, listener: Commands) -> None:
        super().__init__(url)
        self._listener = listener

    async def _open(self) -> AsyncMongoClient[dict[str, Any]]:
        return AsyncMongoClient(self.url.driver_uri, event_listeners=[self._listener])


@pytest.fixture
async def listening(new_url: Callable[[], str]) -> AsyncIterator[Open]:
    """``db, commands = await listening(Page)``: a connection, and what it sends."""
    async with AsyncExitStack() as stack:

        async def open_connection(*models: Any, **options: Any) -> tuple[Connection, Commands]:
            listener = Commands()
            transport = ListeningTransport(parse_url(new_url()), listener)
            connection = Connection(transport, models, SchemaOptions(**options))
            await stack.enter_async_context(connection)
            return connection, listener

        yield open_connection
