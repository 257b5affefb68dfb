"""What a run needs: a deployment, a function in front of it, the documents, and the contenders.

Without URLs a private ``mongod`` and a local Lambda are started. A ``mongodb://`` URL takes the
place of the first, a ``lambda://`` URL of the second; what cannot be had of the URLs that are given
is left out, with the reason, rather than measured somewhere else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from pymongo.errors import OperationFailure, PyMongoError

from odm.cli import proxy_function
from odm.cli.bench import contenders, documents
from odm.cli.bench.contenders import Contender
from odm.cli.bench.lambda_process import PROXY_2020, Order
from odm.cli.bench.local_lambda import LocalService, local_lambda
from odm.cli.bench.settings import Settings
from odm.cli.demo.databases import with_database
from odm.cli.demo.progress import Reporter
from odm.cli.failures import CommandFailed, ExitCode
from transports import Transport, TransportURL, open_transport
from transports.lambda_invoke.options import LambdaOptions
from transports.url import parse_url

SCENARIOS = 2
"""How many times callers come and go, each time to a function that has no connections yet."""

_BATCH = 1_000
_CA_BUNDLE = "AWS_CA_BUNDLE"
Opener = Callable[[], AbstractAsyncContextManager[Contender]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender that could take part: its name, what it is, and how it is opened."""

    name: str
    title: str
    open: Opener


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where a run takes place.

    Attributes:
        direct: a ``mongodb://`` URL, None where only a function was given.
        function: a ``lambda://`` URL, None where only others were given.
        local: the local Lambda behind *function*, None where that one was given.
        fake: a ``fake://`` URL, if it was given.
        variants: the function's URL with further options, by name.
    """

    direct: str | None = None
    function: str | None = None
    local: LocalService | None = None
    fake: str | None = None
    variants: dict[str, str] = field(default_factory=dict)

    def entries(self, settings: Settings) -> Iterator[Entry]:
        """Return the contenders that the stage has room for, in the order of the tables."""
        if direct := self.direct:
            yield _entry("driver", "PyMongo Async, direct", contenders.driver, direct)
            title = "PyMongo Async and pydantic's validation, direct"
            yield _entry("driver+pydantic", title, contenders.validated, direct)
            yield _entry("beanie", "Beanie, direct", contenders.beanie_documents, direct)
            yield _entry("odm", "Repository, direct", contenders.repositories, direct)
            yield _entry("motor", "Motor, direct", contenders.driver, f"motor+{direct}")
        if fake := self.fake:
            yield Entry("fake", "Repository, in memory", lambda: _in_memory(fake, settings))
        if function := self.function:
            title = "PyMongo Async over lambda://"
            yield _entry("lambda-driver", title, contenders.driver, function)
            yield _entry("lambda", "Repository over lambda://", contenders.repositories, function)
            title = "Repository over lambda://, one command an invoke"
            single = _with(function, "maxCommandsPerInvoke=1")
            yield _entry("lambda-single", title, contenders.repositories, single)
            for name, url in self.variants.items():
                title = f"Repository over lambda://, {name}"
                yield _entry(f"lambda:{name}", title, contenders.repositories, url)
            yield from self._invokers(function, settings)

    def _invokers(self, function: str, settings: Settings) -> Iterator[Entry]:
        from odm.cli.bench import invokers

        place = invokers.FloorPlace(
            url=function,
            documents=settings.documents,
            ceiling=settings.ceiling,
            ca_bundle=self.local.ca_bundle if self.local else None,
        )
        title = "bare aiobotocore invoke of the command"
        yield Entry("invoke", title, lambda: invokers.bare_invoke("invoke", title, place))
        if self.local is None:
            return
        post = "bare HTTP POST of the command"
        yield Entry("post", post, lambda: invokers.bare_post("post", post, place))
        yield Entry("proxy-2020", "the protocol of 2020", lambda: self.proxy_2020(settings))

    @property
    def tls(self) -> bool | None:
        """Whether the function is reached by TLS; None where there is none."""
        if self.function is None:
            return None
        endpoint = LambdaOptions.from_url(parse_url(self.function)).endpoint
        return endpoint is None or endpoint.startswith("https:")  # AWS's own have nothing else

    def function_named(self, name: str) -> str:
        """Return the URL of another function on the local Lambda."""
        assert self.function is not None
        return self.function.replace(f"lambda://{proxy_function.NAME}/", f"lambda://{name}/", 1)

    @asynccontextmanager
    async def proxy_2020(
        self, settings: Settings, function: str = PROXY_2020
    ) -> AsyncIterator[Contender]:
        """Open the protocol of 2020 to a function of its kind."""
        from odm.cli.bench.invokers import Proxy2020Contender

        assert self.local is not None
        yield Proxy2020Contender(
            "proxy-2020",
            "the protocol of 2020",
            function,
            endpoint=self.local.endpoint_url,
            ca_bundle=self.local.ca_bundle,
            ceiling=settings.ceiling,
        )


def _entry(
    name: str,
    title: str,
    opened: Callable[[str, str, str], AbstractAsyncContextManager[Contender]],
    url: str,
) -> Entry:
    return Entry(name, title, lambda: opened(name, title, url))


@asynccontextmanager
async def open_stage(
    urls: Sequence[str], variants: Sequence[str], settings: Settings, reporter: Reporter
) -> AsyncIterator[Stage]:
    """Open a stage with its documents on it, which are taken away in the end.

    Args:
        urls: what the user gave.
        variants: ``name=option=value&option=value``, likewise.
        settings: of the run.
        reporter: tells what is being started.

    Raises:
        CommandFailed: a URL is of a kind that is not measured, or given twice.
        TransportError: something could not be reached or started.
    """
    given = _by_kind(urls)
    async with AsyncExitStack() as stack:
        stage = Stage()
        database = f"odm_bench_{secrets.token_hex(6)}"
        if "lambda" in given:
            # Its policy may know this one database only.
            database = given["lambda"].database
        if "mongodb" in given:
            stage.direct = with_database(given["mongodb"], database)
        elif not given:
            with reporter.phase("starting a private mongod"):
                mongod = await stack.enter_async_context(open_transport("embedded:///odm_bench"))
            stage.direct = with_database(parse_url(mongod.uri), database)
        if "fake" in given:
            stage.fake = with_database(given["fake"], database)
        if "lambda" in given:
            stage.function = given["lambda"].raw
        elif stage.direct:
            order = Order(
                mongodb_uri=stage.direct,
                database=database,
                concurrency=settings.ceiling,
                cold_starts=settings.cold_starts,
                scenarios=SCENARIOS,
                tls=settings.tls,
            )
            with reporter.phase("starting a local Lambda"):
                stage.local = await stack.enter_async_context(local_lambda(order))
            if stage.local.ca_bundle is not None:
                stack.enter_context(_trusting(stage.local.ca_bundle))
            stage.function = proxy_function.url(stage.local.endpoint_url, database)
        stage.variants = _variants(variants, stage.function)
        with reporter.phase(f"storing {settings.documents:,} documents"):
            if url := stage.direct or stage.function:
                transport = await stack.enter_async_context(open_transport(url))
                await stack.enter_async_context(_documents(transport, settings.documents))
        yield stage


@contextlib.contextmanager
def _trusting(ca_bundle: str) -> Iterator[None]:
    """Have this process, and those that it starts, trust the local Lambda's certificate."""
    before = os.environ.get(_CA_BUNDLE)
    os.environ[_CA_BUNDLE] = ca_bundle
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CA_BUNDLE]
        else:
            os.environ[_CA_BUNDLE] = before


def _by_kind(urls: Sequence[str]) -> dict[str, TransportURL]:
    given: dict[str, TransportURL] = {}
    for text in urls:
        url = parse_url(text)
        kind = url.scheme.removeprefix("motor+").removesuffix("+srv")
        if kind not in ("mongodb", "lambda", "fake"):
            raise CommandFailed(
                f"{url.redacted!r} is not measured: give mongodb://, lambda:// or fake://; "
                "without URLs a private mongod and a local Lambda are started",
                ExitCode.USAGE,
            )
        if kind in given:
            raise CommandFailed(f"two {kind}:// URLs: give one", ExitCode.USAGE)
        given[kind] = parse_url(text.removeprefix("motor+"))
    return given


def _variants(texts: Sequence[str], function: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, _, options = text.partition("=")
        if not name or "=" not in options:
            raise CommandFailed(
                f"--variant {text!r}: write NAME=OPTION=VALUE, options of a lambda:// URL",
                ExitCode.USAGE,
            )
        if function is None:
            raise CommandFailed("--variant: there is no function to vary", ExitCode.USAGE)
        found[name] = _with(function, options)
    return found


def _with(function: str, options: str) -> str:
    return f"{function}{'&' if '?' in function else '?'}{options}"


@asynccontextmanager
async def _in_memory(url: str, settings: Settings) -> AsyncIterator[Contender]:
    """Open the repositories over the fake, whose documents are its own."""
    async with contenders.repositories("fake", "Repository, in memory", url) as contender:
        assert contender.transport is not None
        async with _documents(contender.transport, settings.documents):
            yield contender


@asynccontextmanager
async def _documents(transport: Transport, count: int) -> AsyncIterator[None]:
    await _clear(transport)
    try:
        articles = transport.database[documents.ARTICLES]
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            await articles.insert_many([documents.article(each) for each in numbers])
        yield
    finally:
        with contextlib.suppress(PyMongoError):
            await _clear(transport)


async def _clear(transport: Transport) -> None:
    """Take the documents away; the collections too, where the caller may drop them."""
    for name in (documents.ARTICLES, documents.NOTES):
        try:
            await transport.database.drop_collection(name)
        except OperationFailure:
            await transport.database[name].delete_many({})
