"""One suite, every transport: `db` is a connection over each of them in turn.

The direct transport against the real server is the reference. A database belongs to one test and
is dropped after it; `mongod` and the local Lambda live as long as the run.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import BulkWriteError, OperationFailure

from odm import Connection, connect
from transports.local_lambda import FunctionConfiguration, LocalLambda

TRANSPORTS = ("direct", "motor", "lambda", "fake")

UrlOf = Callable[[str, str], str]
"""From a transport's name and a database's to a URL."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "differs(transport, reason): the test is expected to fail over this transport (strictly)",
    )
    config.addinivalue_line(
        "markers",
        "models(classes, indexes=True): the document classes that `db` binds",
    )
    config.addinivalue_line(
        "markers",
        "unrestricted(reason): over lambda, by a function whose policy allows everything",
    )


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """The name of the transport that the test runs over."""
    name: str = request.param
    for marker in request.node.iter_markers("differs"):
        if marker.args[0] == name:
            request.applymarker(pytest.mark.xfail(strict=True, reason=marker.kwargs["reason"]))
    return name


@pytest.fixture
def database_name() -> str:
    return f"conformance_{uuid.uuid4().hex[:16]}"


@pytest.fixture
def url_of(request: pytest.FixtureRequest) -> UrlOf:
    """URLs by transport; the server and the local Lambda start when first asked for."""

    def url(name: str, database: str) -> str:
        if name == "fake":
            return f"fake://conformance/{database}"
        uri: str = request.getfixturevalue("mongod_uri")
        base, _, query = uri.partition("?")
        direct = f"{base.rstrip('/')}/{database}" + (f"?{query}" if query else "")
        if name == "direct":
            return direct
        if name == "motor":
            return f"motor+{direct}"
        endpoint: str = request.getfixturevalue("lambda_endpoint")
        function = "db-proxy"
        if request.node.get_closest_marker("unrestricted"):
            function = "db-proxy-unrestricted"
        return (
            f"lambda://{function}/{database}?endpoint={quote(endpoint, safe='')}&region=us-east-1"
        )

    return url


@pytest.fixture(scope="session")
def used_databases(mongod_uri: str) -> Iterator[list[str]]:
    """The databases on the server, dropped together in the end: one by one takes 100 ms each."""
    names: list[str] = []
    yield names

    async def drop() -> None:
        async with AsyncMongoClient[dict[str, Any]](mongod_uri) as client:
            for start in range(0, len(names), 50):
                await asyncio.gather(*map(client.drop_database, names[start : start + 50]))

    if names:
        asyncio.run(drop())


@pytest.fixture
async def db(
    request: pytest.FixtureRequest,
    transport: str,
    url_of: UrlOf,
    database_name: str,
) -> AsyncIterator[Connection]:
    """A connection over `transport` that has bound the models of the marker ``models``."""
    marker = request.node.get_closest_marker("models")
    models = marker.args[0] if marker else ()
    indexes = marker.kwargs.get("indexes", True) if marker else True
    url = url_of(transport, database_name)
    if transport != "fake":
        request.getfixturevalue("used_databases").append(database_name)
    async with connect(url, models=models, create_indexes=indexes) as connection:
        yield connection
        if transport == "fake":
            await connection.client.drop_database(database_name)


@pytest.fixture
async def reference(
    url_of: UrlOf, database_name: str, used_databases: list[str]
) -> AsyncIterator[Connection]:
    """A direct connection to a database of its own: what a real server answers."""
    name = f"{database_name}_reference"
    async with connect(url_of("direct", name)) as connection:
        yield connection
    used_databases.append(name)


@dataclass(frozen=True, slots=True)
class Failure:
    """What a driver's exception tells: its type and the server's code, name and labels."""

    type: str
    code: int | None
    code_name: str | None
    labels: frozenset[str]
    message: str

    def same_as(self, other: Failure) -> bool:
        """Whether both tell the same; the wording is the server's own business."""
        return (self.type, self.code, self.code_name, self.labels) == (
            other.type,
            other.code,
            other.code_name,
            other.labels,
        )


FailureOf = Callable[[Awaitable[Any]], Awaitable[Failure]]


@pytest.fixture
def failure_of() -> FailureOf:
    """Await what should fail and tell how it did; type ``none`` if it did not."""

    async def failure(awaitable: Awaitable[Any]) -> Failure:
        try:
            result = await awaitable
        except OperationFailure as error:
            details = error.details or {}
            first = details["writeErrors"][0] if isinstance(error, BulkWriteError) else details
            return Failure(
                type=type(error).__name__,
                code=first.get("code", error.code),
                code_name=details.get("codeName"),
                labels=frozenset(label for label in _LABELS if error.has_error_label(label)),
                message=str(first.get("errmsg", error)),
            )
        return Failure(
            type="none", code=None, code_name=None, labels=frozenset(), message=f"got {result!r}"
        )

    return failure


_LABELS = (
    "TransientTransactionError",
    "UnknownTransactionCommitResult",
    "RetryableWriteError",
    "NonResumableChangeStreamError",
    "ResumableChangeStreamError",
    "NoWritesPerformed",
    "SystemOverloadedError",
    "RetryableError",
)


@pytest.fixture(scope="session")
def lambda_endpoint(mongod_uri: str) -> Iterator[str]:
    """The address of a local Lambda that runs the DB proxy function in processes of its own.

    It serves on a thread: the tests have an event loop each, and this outlives them all.
    """
    # Each test has a database of its own, and drops it; the other commands are those that every
    # function allows.
    policies = {
        "db-proxy": '{"databases": ["*"], "commands": {"allow": ["dropDatabase"]}}',
        "db-proxy-unrestricted": "unrestricted",
    }
    functions = [
        FunctionConfiguration(
            name=name,
            handler="transports.lambda_invoke.function.app.handler",
            code=(Path(__file__).parents[2],),
            environment={"ODM_PROXY_MONGODB_URI": mongod_uri, "ODM_PROXY_POLICY": policy},
            memory_size_mb=256,
            timeout_s=30,
            reserved_concurrency=8,
        )
        for name, policy in policies.items()
    ]
    with ThreadPoolExecutor(max_workers=1) as thread, asyncio.Runner() as runner:
        service = LocalLambda(functions)
        thread.submit(runner.run, service.__aenter__()).result()
        stop = asyncio.Event()
        serving = thread.submit(runner.run, stop.wait())
        yield service.endpoint_url
        runner.get_loop().call_soon_threadsafe(stop.set)
        serving.result()
        thread.submit(runner.run, service.__aexit__(None, None, None)).result()
        thread.submit(runner.close).result()
