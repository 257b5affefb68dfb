"""Where the script runs: a place per transport, started here if nobody gave its URL.

One deployment serves the direct, the Motor and the Lambda transport: the one of a given
``mongodb://`` URL, else a private ``mongod``. The Lambda transport goes to a given function, else
to a local Lambda in front of that deployment. What this machine cannot run is skipped, with the
reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec

from odm.cli import proxy_function
from odm.cli.demo.progress import Reporter
from transports import InvalidURL, MissingExtra, TransportError, TransportURL, open_transport
from transports.url import parse_url


class TransportName(StrEnum):
    """The transports that the demo compares, in the order of their turns."""

    DIRECT = "direct"
    MOTOR = "motor"
    LAMBDA = "lambda"
    FAKE = "fake"
    EMBEDDED = "embedded"  # only if its URL is given


_NAMES_BY_SCHEME = {
    "mongodb": TransportName.DIRECT,
    "mongodb+srv": TransportName.DIRECT,
    "motor+mongodb": TransportName.MOTOR,
    "motor+mongodb+srv": TransportName.MOTOR,
    "lambda": TransportName.LAMBDA,
    "fake": TransportName.FAKE,
    "embedded": TransportName.EMBEDDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One transport to run the script over.

    Attributes:
        label: its name in the report.
        url: where it is; the database in it is not the one that will be used.
        server_uri: a ``mongodb://`` URI of the server behind it, None where there is none.
        given: whether the user named it.
    """

    label: str
    url: TransportURL
    server_uri: str | None = field(default=None, repr=False)
    given: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A transport that cannot run here, and why."""

    label: str
    reason: str


class Places:
    """Finds and starts what the demo needs. Everything it starts ends with *stack*.

    Args:
        stack: closed by the caller.
        urls: the URLs that the user gave.
        concurrency: the local Lambda's reserved concurrency.
        reporter: tells of what is being started.

    Raises:
        InvalidURL: one of *urls* cannot be understood.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        urls: Sequence[str],
        *,
        concurrency: int,
        reporter: Reporter,
    ) -> None:
        self._stack = stack
        self._given = [parse_url(url) for url in urls]
        self._concurrency = concurrency
        self._reporter = reporter
        self._deployment: str | TransportError | None = None

    async def find(self, names: Sequence[TransportName]) -> list[Place | Skipped]:
        """Return a place, or why there is none, for each of *names* and each given URL."""
        found: list[Place | Skipped] = []
        for name in names:
            given = [url for url in self._given if _NAMES_BY_SCHEME[url.scheme] == name]
            if given:
                found += [
                    Place(
                        label=name if number == 0 else f"{name} {number + 1}",
                        url=url,
                        server_uri=self._server_behind(url),
                        given=True,
                    )
                    for number, url in enumerate(given)
                ]
            elif name is not TransportName.EMBEDDED:
                found.append(await self._built_in(name))
        return found

    def _server_behind(self, url: TransportURL) -> str | None:
        if "mongodb" in url.scheme:
            return url.driver_uri
        return None

    async def _built_in(self, name: TransportName) -> Place | Skipped:
        if name is TransportName.FAKE:
            return Place(label=name, url=parse_url("fake:///odm_demo"))
        try:
            _check_extra(name)
            uri = await self._deployment_uri()
            if name is TransportName.LAMBDA:
                url = await self._local_lambda(uri)
            else:
                url = f"motor+{uri}" if name is TransportName.MOTOR else uri
        except InvalidURL:
            raise
        except TransportError as error:
            return Skipped(name, str(error).splitlines()[0])
        return Place(label=name, url=parse_url(url), server_uri=uri)

    async def _deployment_uri(self) -> str:
        """Return the given deployment's URI, or a private one's, which is started once."""
        for url in self._given:
            if "mongodb" in url.scheme:
                return url.driver_uri
        if self._deployment is None:
            try:
                with self._reporter.phase("starting a private mongod"):
                    transport = open_transport("embedded:///odm_demo")
                    await self._stack.enter_async_context(transport)
                    self._deployment = transport.uri
            except TransportError as error:
                self._deployment = error
        if isinstance(self._deployment, TransportError):
            raise self._deployment
        return self._deployment

    async def _local_lambda(self, mongodb_uri: str) -> str:
        from transports.local_lambda import LocalLambda

        function = proxy_function.configuration(
            mongodb_uri, concurrency=self._concurrency, policy=proxy_function.EVERY_DATABASE
        )
        with self._reporter.phase("starting a local Lambda"):
            service = await self._stack.enter_async_context(
                LocalLambda([function], region=proxy_function.REGION)
            )
        return proxy_function.url(service.endpoint_url, "odm_demo")


def _check_extra(name: str) -> None:
    """Raise `MissingExtra` where a package that a built-in place needs is not installed."""
    for needed_by, what, package, extra in (
        ("motor", "motor+mongodb://", "motor", "motor"),
        ("lambda", "lambda://", "aiobotocore", "lambda"),
        ("lambda", "a local Lambda", "aiohttp", "local"),
        ("lambda", "a local Lambda", "awslambdaric", "local"),
    ):
        if needed_by == name and find_spec(package) is None:
            raise MissingExtra(what, package, extra)
