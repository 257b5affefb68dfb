"""The HTTP connections to the Lambda service, and the requests on them, signed.

An invoke is one signed POST. The SDK resolves what an application configures, once, when the
transport is opened: endpoint, region, credentials and how they are refreshed, proxy, certificates.
Building a request out of the service's model and parsing the response by it, which costs more than
the invoke itself, is left out.

Nothing is repeated here, and no redirect is followed: the function would run again.

A connection that was idle for too long is worse than none: the other end, or a NAT between, has
forgotten it, and a request sent on it fails with its outcome unknown. The pool closes connections
that were idle for `KEEPALIVE_S`, by the monotonic clock. That one may stand still while a machine
is suspended or an execution environment is frozen; so when the wall clock has run ahead of it, the
whole pool is replaced, and the old one is closed once what it carries has ended.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestSyntax
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from inspect import isawaitable
from typing import Any, Self
from urllib.parse import quote

from transports.errors import InvalidURL, MissingExtra
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.signing import Signer
from transports.lambda_invoke.tracing import invoke_header

try:
    import aiohttp
    from aiobotocore.session import AioSession
    from botocore import exceptions as aws
    from botocore.credentials import Credentials
    from botocore.httpsession import get_cert_path
    from botocore.utils import get_environ_proxies
    from yarl import URL

    from transports.lambda_invoke.service_data import LambdaData
except ImportError as error:
    raise MissingExtra("lambda://", "aiobotocore", "lambda") from error

KEEPALIVE_S = 12
"""How long a connection may be idle; AWS's own ends were seen to close them after 20 seconds."""

_SERVICE = "lambda"
_LOCAL_REGION = "us-east-1"
# aiohttp wants larger bodies as files, which it sends piece by piece.
_LARGE_BODY_BYTES = 2**20 - 1


class Attempt:
    """One invoke on its way: whether sending it has begun."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


@dataclass(frozen=True, slots=True)
class _Service:
    """What an application has configured of the Lambda service, resolved.

    Attributes:
        url: where the function is invoked.
        signer: signs what is posted there.
        credentials: the SDK's, which refresh themselves; None if there are none.
        proxy: URL of an HTTP proxy.
        certificates: file of the certificates to trust; None for a service without TLS.
    """

    url: URL
    signer: Signer
    credentials: Any = field(repr=False)
    proxy: str | None = field(repr=False)  # it may hold a password
    certificates: Any


@cache
def _data() -> LambdaData:
    """Return the process's one reader of the SDK's data: reading is most of a client's cost."""
    return LambdaData()


@cache
def _trusting(certificates: str) -> ssl.SSLContext:
    """Return what trusts a file of certificates; reading those of the world takes 20 ms."""
    return ssl.create_default_context(cafile=certificates)


class _Pool:
    """An HTTP client, and how many invokes use it."""

    def __init__(self, service: _Service, connect_timeout_s: float) -> None:
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                # A limit here would let long polls starve short commands.
                limit=0,
                keepalive_timeout=KEEPALIVE_S,
                ssl=_trusting(service.certificates) if service.certificates else True,
            ),
            # Every wait for a response is bounded by the invoker.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
            auto_decompress=False,
            skip_auto_headers=("Content-Type", "Accept-Encoding"),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self.in_use = 0
        self.retired = False

    async def aclose(self) -> None:
        await self.http.close()


class Connections:
    """Sends invokes. An asynchronous context manager."""

    def __init__(self, options: LambdaOptions) -> None:
        self._options = options
        self._service: _Service | None = None
        self._pool: _Pool | None = None
        self._wall_clock_lead = _wall_clock_lead()

    async def __aenter__(self) -> Self:
        self._service = await _resolve(self._options)
        self._pool = _Pool(self._service, self._options.connect_timeout_s)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    @asynccontextmanager
    async def post(self, payload: bytes, attempt: Attempt) -> AsyncIterator[aiohttp.ClientResponse]:
        """Post one invoke and give its response, whose body has not been read.

        Args:
            payload: the event.
            attempt: is told when sending begins.

        Raises:
            botocore.exceptions.BotoCoreError: there are no credentials.
            aiohttp.ClientError: of the connection.
        """
        service = self._service
        assert service is not None, "the invoker is not open"
        headers = await _signed(service, payload)
        pool = await self._current()
        pool.in_use += 1
        try:
            attempt.sent = True
            async with pool.http.post(
                service.url,
                data=io.BytesIO(payload) if len(payload) > _LARGE_BODY_BYTES else payload,
                headers=headers,
                proxy=service.proxy,
                allow_redirects=False,
            ) as response:
                yield response
        finally:
            pool.in_use -= 1
            if pool.retired and not pool.in_use:
                await pool.aclose()

    async def _current(self) -> _Pool:
        assert self._pool is not None, "the invoker is not open"
        if self._has_been_suspended():
            assert self._service is not None
            self._wall_clock_lead = _wall_clock_lead()
            old = self._pool
            self._pool = _Pool(self._service, self._options.connect_timeout_s)
            old.retired = True
            if not old.in_use:
                await old.aclose()
        return self._pool

    def _has_been_suspended(self) -> bool:
        return abs(_wall_clock_lead() - self._wall_clock_lead) > KEEPALIVE_S


async def _resolve(options: LambdaOptions) -> _Service:
    """Ask the SDK for what an application has configured, as its own client would."""
    session = AioSession(profile=options.profile)
    # Another one for the endpoint: credentials may need other services, of which it knows little.
    finder = AioSession(profile=options.profile)
    finder.register_component("data_loader", _data())
    region = options.region
    credentials: Any = None
    if options.is_local:
        region = region or session.get_config_variable("region") or _LOCAL_REGION
        credentials = Credentials("local", "local")
    try:
        async with finder.create_client(
            _SERVICE,
            region_name=region,
            endpoint_url=options.endpoint,
            # It sends nothing.
            aws_access_key_id="none",
            aws_secret_access_key="none",  # noqa: S106  # none
        ) as client:
            endpoint, region = client.meta.endpoint_url, client.meta.region_name
        if credentials is None:
            credentials = await session.get_credentials()
    except (aws.NoRegionError, aws.InvalidRegionError) as error:
        raise InvalidURL(
            f"lambda://{options.display_name}: {error} Write ?region=eu-central-1 in the URL "
            "or set AWS_DEFAULT_REGION (the SDK for Python does not read AWS_REGION)."
        ) from error
    except aws.ProfileNotFound as error:
        raise InvalidURL(
            f"lambda://{options.display_name}: {error} Write ?profile= one of "
            f"{', '.join(session.available_profiles) or 'none: no profile is configured'}."
        ) from error
    url = f"{endpoint}/2015-03-31/functions/{quote(options.function, safe='')}/invocations"
    if options.qualifier:
        url += f"?Qualifier={quote(options.qualifier, safe='')}"
    scheme = endpoint.partition(":")[0]
    bundle = session.get_config_variable("ca_bundle")
    return _Service(
        url=URL(url, encoded=True),
        signer=Signer(url, region, _SERVICE),
        credentials=credentials,
        proxy=get_environ_proxies(endpoint).get(scheme),
        certificates=get_cert_path(bundle or True) if scheme == "https" else None,
    )


async def _signed(service: _Service, payload: bytes) -> Mapping[str, str]:
    """Return the headers of a request."""
    credentials = service.credentials
    if credentials is None:
        raise aws.NoCredentialsError
    frozen = credentials.get_frozen_credentials()
    if isawaitable(frozen):  # all but the fixed ones of a local service
        frozen = await frozen
    headers = service.signer.headers(frozen, payload)
    if trace := invoke_header():
        headers["X-Amzn-Trace-Id"] = trace  # not signed: the SDK leaves it out, too
    return headers


def _wall_clock_lead() -> float:
    """Return by how much the wall clock is ahead of the monotonic one."""
    return time.time() - time.monotonic()
