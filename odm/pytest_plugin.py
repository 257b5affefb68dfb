"""The pytest plugin: an open connection on a database of its own, for every test that asks.

::

    @pytest.fixture
    def odm_models():
        return [Page]

    async def test_a_page_is_found_by_its_slug(odm):
        pages = PageRepository(odm)
        …

``pytest --odm-url mongodb://localhost:27017/test`` runs the same tests against a real server.
Over the fake there is more: ``odm_fake`` is its transport (the log of commands, scripted failures,
a clock to freeze, snapshots); ``odm_commands``, ``odm_clock`` and ``odm_fail_next`` are its parts.
A test that fails shows what the fake has received and what it holds.

pytest loads this module at every start, so it imports the ODM when a fixture is used.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from odm.connection import Connection
    from transports.base import Transport
    from transports.fake.clock import Clock
    from transports.fake.command_log import CommandLog
    from transports.fake.loading import Source
    from transports.fake.scripted import ScriptedFailure
    from transports.fake.transport import FakeTransport

    Load = Callable[[Source], Awaitable[dict[str, int]]]

DEFAULT_URL = "fake:///test"
_MAX_NAME = 40
_SHOWN_CHARACTERS = 5_000
_passed = pytest.StashKey[bool]()


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
        fake = _fake_of(db)
        if fake is not None:
            fake.commands.clear()  # the log begins with what the test does
        try:
            yield db
        finally:
            if db.is_open:
                if fake is not None:
                    fake.server.script.clear()  # one that happens always would meet this, too
                await db.client.drop_database(name)


def _fake_of(connection: Connection) -> FakeTransport | None:
    if connection.transport.name != "fake" or not connection.is_open:
        return None
    from transports.fake.transport import FakeTransport

    transport = connection.transport
    return transport if isinstance(transport, FakeTransport) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the fake received and holds where a test that used it has failed."""
    report = yield
    if report.when == "call":
        item.stash[_passed] = report.passed
        connection = getattr(item, "funcargs", {}).get("odm")
        fake = _fake_of(connection) if report.failed and connection is not None else None
        if connection is not None and fake is not None:
            held = fake.dump(connection.database.name)
            if len(held) > _SHOWN_CHARACTERS:
                held = f"{held[:_SHOWN_CHARACTERS]} …"
            report.sections.append(("odm: commands the fake received", fake.commands.describe()))
            report.sections.append(("odm: documents it holds", held))
    return report


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


@pytest.fixture
def odm_fake(odm: Connection, odm_url: str) -> FakeTransport:
    """Return the fake behind `odm`; a test that needs it is skipped over any other transport."""
    fake = _fake_of(odm)
    if fake is None:
        pytest.skip(f"needs the fake, and --odm-url says {odm_url.partition(':')[0]}://")
    return fake


@pytest.fixture
def odm_commands(odm_fake: FakeTransport) -> CommandLog:
    """Return the commands that this test has sent: see `CommandLog`."""
    return odm_fake.commands


@pytest.fixture
def odm_clock(odm_fake: FakeTransport) -> Clock:
    """Return the fake's clock: ``freeze()``, ``advance()``, ``thaw()``."""
    return odm_fake.clock


@pytest.fixture
def odm_fail_next(
    odm_fake: FakeTransport, request: pytest.FixtureRequest
) -> Iterator[Callable[..., ScriptedFailure]]:
    """Return `FakeTransport.fail_next`; a failure that never came fails a test that passed."""
    yield odm_fake.fail_next
    if request.node.stash.get(_passed, False):
        for scripted in odm_fake.server.script.failures:
            try:
                scripted.assert_happened()
            except AssertionError as error:
                received = odm_fake.commands.describe()
                raise AssertionError(f"{error}. It received {received}") from None


@pytest.fixture
def odm_load(odm: Connection) -> Load:
    """Return the coroutine function that loads documents: it takes what `read_documents` takes."""
    from transports.fake.loading import insert_documents, read_documents

    async def load(source: Source) -> dict[str, int]:
        if (fake := _fake_of(odm)) is not None:
            return await fake.load(source, database=odm.database.name)
        return await insert_documents(odm.database, read_documents(source))

    return load
