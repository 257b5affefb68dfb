"""The pytest plugin: an open connection on a database of its own, for every test that asks.

::

    @pytest.fixture
    def odm_models():
        return [Page]

    async def test_a_page_is_found_by_its_slug(odm):
        pages = PageRepository(odm)
        …

``pytest --odm-url mongodb://localhost:27017/test`` runs the same tests against a real server.
pytest loads this module at every start, so it imports the ODM when a fixture is used.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from odm.connection import Connection
    from transports.base import Transport

DEFAULT_URL = "fake:///test"
_MAX_NAME = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--odm-url``."""
    parser.getgroup("odm").addoption(
        "--odm-url",
        default=DEFAULT_URL,
        metavar="URL",
        help="where the fixture 'odm' connects to: mongodb://…, lambda://…, embedded://…, fake://…"
        f" (default: {DEFAULT_URL}); each test has a database of its own there, dropped afterwards",
    )


@pytest.fixture(scope="session")
def odm_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of ``--odm-url``. Tests do not use its database, but ones named after it."""
    url: str = request.config.getoption("--odm-url")
    return url


@pytest.fixture
def odm_models() -> list[Any]:
    """Return the document classes that `odm` binds: override it in a conftest or a test module."""
    return []


class _Servers:
    """Embedded servers, one per URL, for as long as the tests run: starting one takes a second."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._transports: dict[str, Transport] = {}

    def reachable(self, url: str) -> str:
        """Return a URL of a server that runs already."""
        from transports.registry import open_transport

        if not url.strip().startswith("embedded:"):
            return url
        if url not in self._transports:
            transport = open_transport(url)
            self._loop.run_until_complete(transport.open())
            self._transports[url] = transport
        return self._transports[url].uri

    def close(self) -> None:
        for transport in self._transports.values():
            self._loop.run_until_complete(transport.aclose())
        self._loop.close()


@pytest.fixture(scope="session")
def _odm_servers() -> Iterator[_Servers]:
    servers = _Servers()
    yield servers
    servers.close()


@pytest.fixture
def _odm_reachable_url(odm_url: str, _odm_servers: _Servers) -> str:
    return _odm_servers.reachable(odm_url)


@asynccontextmanager
async def _connected(url: str, models: list[Any]) -> AsyncIterator[Connection]:
    from odm.connection import connect
    from transports.url import parse_url

    parsed = parse_url(url)
    name = f"{parsed.database[:_MAX_NAME]}_{uuid.uuid4().hex[:12]}"
    # Only the name changes: a URI's own database is also where its user is looked up.
    async with connect(dataclasses.replace(parsed, database=name), models=models) as db:
        try:
            yield db
        finally:
            if db.is_open:
                await db.client.drop_database(name)


if find_spec("pytest_asyncio") is None:

    @pytest.fixture
    def odm() -> None:
        """Say what is missing."""
        pytest.fail("the fixture 'odm' needs pytest-asyncio: pip install pytest-asyncio")

else:
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def odm(  # type: ignore[misc]  # one of the two is defined
        _odm_reachable_url: str, odm_models: list[Any]
    ) -> AsyncIterator[Connection]:
        """Yield an open `Connection` on a database of its own, which is dropped after the test."""
        async with _connected(_odm_reachable_url, list(odm_models)) as db:
            yield db
