"""The HTTP connections to the Lambda service: one aiobotocore client, replaced after a freeze.

The client's own retries are off: botocore would post an invoke five times after a time-out, and
the function would run five times.

A connection that was idle for too long is worse than none: the other end, or a NAT between, has
forgotten it, and a request sent on it fails with its outcome unknown. The pool closes connections
that were idle for `KEEPALIVE_S`, by the monotonic clock. That one may stand still while a machine
is suspended or an execution environment is frozen; so when the wall clock has run ahead of it, the
whole client is replaced, and the old one is closed once what it carries has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from transports.errors import InvalidURL, MissingExtra
from transports.lambda_invoke.options import MAX_FUNCTION_TIMEOUT_S, LambdaOptions

try:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession
    from botocore import exceptions as aws
    from botocore.loaders import Loader, create_loader
except ImportError as error:
    raise MissingExtra("lambda://", "aiobotocore", "lambda") from error

if TYPE_CHECKING:
    from aiobotocore.client import AioBaseClient

KEEPALIVE_S = 12
"""How long a connection may be idle; AWS's own ends were seen to close them after 20 seconds."""

# More than one process can use: a limit here would let long polls starve short commands.
_MAX_CONNECTIONS = 1000


class Attempt:
    """One invoke on its way: whether the SDK has begun to send it."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


_attempt: ContextVar[Attempt | None] = ContextVar("odm_lambda_attempt", default=None)


def _before_send(**_: object) -> None:
    """Note that credentials and parameters were good, and that the request is sent next."""
    attempt = _attempt.get()
    if attempt is not None:
        attempt.sent = True


@cache
def _loader() -> Loader:
    """Return the one loader of AWS's service models: reading them is most of a client's cost."""
    loader: Loader = create_loader()
    return loader


class _Pool:
    """A client, and how many invokes use it."""

    def __init__(self, client: AioBaseClient, stack: AsyncExitStack) -> None:
        self.client = client
        self.in_use = 0
        self.retired = False
        self._stack = stack

    async def aclose(self) -> None:
        await self._stack.aclose()


class Connections:
    """Gives the client to invoke with. An asynchronous context manager."""

    def __init__(self, options: LambdaOptions) -> None:
        self._options = options
        self._session = AioSession(profile=options.profile)
        self._session.register_component("data_loader", _loader())
        self._pool: _Pool | None = None
        self._replacing = asyncio.Lock()
        self._wall_clock_lead = _wall_clock_lead()

    async def __aenter__(self) -> Self:
        self._pool = await self._open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[AioBaseClient, Attempt]]:
        """Lend the client for one invoke, and what tells how far it got."""
        pool = await self._current()
        attempt = Attempt()
        token = _attempt.set(attempt)
        pool.in_use += 1
        try:
            yield pool.client, attempt
        finally:
            _attempt.reset(token)
            pool.in_use -= 1
            if pool.retired and not pool.in_use:
                await pool.aclose()

    async def _current(self) -> _Pool:
        if self._replacing.locked() or self._has_been_suspended():
            async with self._replacing:
                if self._has_been_suspended():
                    await self._replace()
        assert self._pool is not None, "the invoker is not open"
        return self._pool

    def _has_been_suspended(self) -> bool:
        return abs(_wall_clock_lead() - self._wall_clock_lead) > KEEPALIVE_S

    async def _replace(self) -> None:
        lead = _wall_clock_lead()
        pool = await self._open()
        old, self._pool, self._wall_clock_lead = self._pool, pool, lead
        if old is not None:
            old.retired = True
            if not old.in_use:
                await old.aclose()

    async def _open(self) -> _Pool:
        options, session = self._options, self._session
        credentials: dict[str, Any] = {}
        region = options.region
        if options.is_local:
            region = region or session.get_config_variable("region") or "us-east-1"
            credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        stack = AsyncExitStack()
        try:
            client = await stack.enter_async_context(
                session.create_client(
                    "lambda",
                    region_name=region,
                    endpoint_url=options.endpoint,
                    config=_config(options.connect_timeout_s),
                    **credentials,
                )
            )
        except (aws.NoRegionError, aws.InvalidRegionError) as error:
            raise InvalidURL(
                f"lambda://{options.display_name}: {error} Write ?region=eu-central-1 in the URL "
                "or set AWS_REGION."
            ) from error
        except aws.ProfileNotFound as error:
            raise InvalidURL(
                f"lambda://{options.display_name}: {error} Write ?profile= one of "
                f"{', '.join(session.available_profiles) or 'none: no profile is configured'}."
            ) from error
        client.meta.events.register_first("before-send.lambda.Invoke", _before_send)
        return _Pool(client, stack)


def _config(connect_timeout_s: float) -> AioConfig:
    return AioConfig(
        connect_timeout=connect_timeout_s,
        # Every wait is bounded by the invoker; this must only never be the first to end.
        read_timeout=MAX_FUNCTION_TIMEOUT_S + 60,
        max_pool_connections=_MAX_CONNECTIONS,
        connector_args={"keepalive_timeout": KEEPALIVE_S},
        # Both given, or AWS_RETRY_MODE, AWS_MAX_ATTEMPTS and the configuration files would have a
        # say: "adaptive" holds requests back by a limiter of its own.
        retries={"total_max_attempts": 1, "mode": "standard"},
        tcp_keepalive=True,
    )


def _wall_clock_lead() -> float:
    """Return by how much the wall clock is ahead of the monotonic one."""
    return time.time() - time.monotonic()
