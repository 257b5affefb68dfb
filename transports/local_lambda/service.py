"""The local Lambda itself: functions by name behind one endpoint.

Owns opening and closing, the set of functions, and the path of a request from HTTP to a function
and back. Knows nothing of what the functions do.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from transports.local_lambda.asynchronous import AsynchronousInvocations
from transports.local_lambda.cleanup import Cleanup
from transports.local_lambda.concurrency import Concurrency
from transports.local_lambda.configuration import FunctionConfiguration
from transports.local_lambda.environment import Environment, EnvironmentDescription
from transports.local_lambda.faults import Outcome, ServiceError, not_found
from transports.local_lambda.function import Function, FunctionStatistics, LogSink
from transports.local_lambda.http_server import HttpServer
from transports.local_lambda.invocation import Invocation
from transports.local_lambda.invoke_api import InvokeApi, InvokeReply, InvokeRequest
from transports.local_lambda.qualifiers import (
    Account,
    FunctionReference,
    parse_reference,
    resolve_version,
)
from transports.local_lambda.sandbox import require_runtime_client

if TYPE_CHECKING:
    from transports.local_lambda.certificates import Certificates

_MEMORY_WATCH_S = 0.1
_DRAIN_S = 1.0


class LocalLambda:
    """AWS Lambda on loopback: an async context manager.

    Args:
        functions: to begin with; more with :meth:`add_function`.
        host: a loopback address; nothing else is served.
        port: 0 takes a free one, see ``endpoint_url``.
        account_id: twelve digits, for ARNs.
        region: for ARNs, and ``AWS_REGION`` of the functions.
        account_concurrency: invocations at one time over all functions.
        log_sink: called with (function name, environment id, bytes) for all that is logged.
        tls: HTTPS, as AWS serves it, with a certificate of its own making: see ``ca_bundle``.
        request_rate: synchronous requests a second for each unit of concurrency: 10 on AWS. What
            is beyond is throttled; None for no such limit.

    Raises:
        ValueError: not loopback, a name twice, more concurrency reserved than there is, or no rate.
        MissingExtra: ``awslambdaric``, or for TLS ``trustme``, is not installed.

    Example::

        async with LocalLambda([FunctionConfiguration(name="f", handler="app.handler")]) as service:
            client = session.create_client("lambda", endpoint_url=service.endpoint_url, ...)
    """

    def __init__(
        self,
        functions: Iterable[FunctionConfiguration] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        account_id: str = "123456789012",
        region: str = "us-east-1",
        account_concurrency: int = 1000,
        log_sink: LogSink | None = None,
        tls: bool = False,
        request_rate: float | None = None,
    ) -> None:
        require_runtime_client()
        _require_loopback(host)
        self._host = host
        self._port = port
        self._account = Account(account_id, region)
        self._concurrency = Concurrency(account_concurrency, request_rate)
        self._log_sink = log_sink
        self._tls = tls
        self._certificates: Certificates | None = None
        self._configurations: dict[str, FunctionConfiguration] = {}
        self._functions: dict[str, Function] = {}
        self._removed: list[Function] = []
        self._cleanup: Cleanup | None = None
        self._server: HttpServer | None = None
        self._events = AsynchronousInvocations(self._concurrency)
        self._watch: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        for configuration in functions:
            self.add_function(configuration)

    # --- life ---

    async def __aenter__(self) -> Self:
        if self._cleanup is not None:
            raise RuntimeError("a LocalLambda is opened once: make another one")
        self._cleanup = Cleanup()
        try:
            for configuration in self._configurations.values():
                self._create(configuration)
            self._server = HttpServer(InvokeApi(self).handle, tls=self._tls_context())
            self._port = self._server.listen(self._host, self._port)
            self._watch = asyncio.create_task(self._watch_memory())
        except BaseException:
            await self.aclose()
            raise
        return self

    def _tls_context(self) -> ssl.SSLContext | None:
        if not self._tls:
            return None
        # Imported by who wants it: it takes a fifth of a second.
        from transports.local_lambda.certificates import make_certificates

        assert self._cleanup is not None
        self._certificates = make_certificates(self._host, self._cleanup.directory)
        return self._certificates.context

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Shut everything down: environments by SIGTERM, and SIGKILL half a second later.

        Idempotent and bounded; a cancelled caller does not keep it from going on.
        """
        if self._cleanup is None:
            return
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(self._cleanup))
        await asyncio.shield(self._closing)

    async def _close(self, cleanup: Cleanup) -> None:
        functions = [*self._functions.values(), *self._removed]
        try:
            if self._server is not None:
                self._server.stop_listening()
            if self._watch is not None:
                self._watch.cancel()
            await self._events.aclose()
            await asyncio.gather(*(function.aclose() for function in functions))
            if self._server is not None:
                await self._server.aclose(_DRAIN_S)
            await cleanup.aclose()
        except BaseException:
            for function in functions:
                function.kill()
            cleanup.abandon()
            raise

    def __del__(self) -> None:
        if self._is_open:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        where = self.endpoint_url if self._is_open else "not open"
        return f"<LocalLambda {where}, functions: {', '.join(self._configurations) or 'none'}>"

    @property
    def _is_open(self) -> bool:
        # Asked by __del__ too, after an __init__ that raised.
        server = getattr(self, "_server", None)
        return server is not None and self._closing is None

    @property
    def endpoint_url(self) -> str:
        """What to give an SDK as ``endpoint_url``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}"

    @property
    def ca_bundle(self) -> Path | None:
        """The certificate to trust, in a file: ``AWS_CA_BUNDLE`` of callers, ``verify`` of an SDK.

        It is there while the service is open; None without TLS.
        """
        return self._certificates.ca_bundle if self._certificates is not None else None

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(_MEMORY_WATCH_S)
            for environment in self._environments():
                environment.check_memory()

    # --- functions ---

    @property
    def functions(self) -> tuple[FunctionConfiguration, ...]:
        """The functions that can be invoked."""
        return tuple(self._configurations.values())

    def function_arn(self, name: str, qualifier: str = "") -> str:
        """Return the function's ARN."""
        return self._account.arn(name, qualifier)

    def add_function(self, configuration: FunctionConfiguration) -> None:
        """Make a function known; its environments start with its invocations.

        Raises:
            ValueError: its name is taken, or it reserves more concurrency than there is.
        """
        if configuration.name in self._configurations:
            raise ValueError(
                f"function {configuration.name!r} exists: write await update_function(…)"
            )
        self._concurrency.reserve(configuration.reserved_concurrency)
        self._configurations[configuration.name] = configuration
        if self._cleanup is not None:
            self._create(configuration)

    def _create(self, configuration: FunctionConfiguration) -> None:
        assert self._cleanup is not None
        self._functions[configuration.name] = Function(
            configuration, self._account, self._cleanup, self._log_sink
        )

    async def update_function(
        self, configuration: FunctionConfiguration, *, linger_s: float = 0
    ) -> None:
        """Deploy: the next invocation runs the new configuration and code.

        Environments of the old one finish what they run and are retired; returns when those that
        were idle are gone.

        Args:
            configuration: the new one, of the same name.
            linger_s: for how long they stay when they are idle, frozen and with their connections
                open; it is AWS's own affair when it ends them.

        Raises:
            KeyError: no such function.
            ValueError: it reserves more concurrency than there is.
        """
        function = self._function(configuration.name)
        old = function.configuration
        self._concurrency.reserve(configuration.reserved_concurrency, old.reserved_concurrency)
        self._configurations[configuration.name] = configuration
        await function.update(configuration, linger_s)

    def put_function_concurrency(self, name: str, reserved_concurrency: int | None) -> None:
        """Change how many invocations run at one time. No deployment: environments stay.

        What runs already is finished, even where it is more.

        Raises:
            KeyError: no such function.
            ValueError: it is negative, or more than there is.
        """
        function = self._function(name)
        old = function.configuration
        new = replace(old, reserved_concurrency=reserved_concurrency)
        self._concurrency.reserve(new.reserved_concurrency, old.reserved_concurrency)
        self._configurations[name] = function.configuration = new

    async def remove_function(self, name: str) -> None:
        """Forget a function: it is not found from now on; what runs is finished.

        Raises:
            KeyError: no such function.
        """
        function = self._function(name)
        del self._functions[name], self._configurations[name]
        self._concurrency.reserve(None, function.configuration.reserved_concurrency)
        self._removed = [old for old in self._removed if old.environments]
        self._removed.append(function)
        await function.retire()

    def _function(self, name: str) -> Function:
        try:
            return self._functions[name]
        except KeyError:
            known = ", ".join(self._functions) or "none"
            raise KeyError(
                f"no function {name!r} in this local Lambda (there are: {known})"
            ) from None

    # --- to be looked at ---

    def statistics(self, name: str) -> FunctionStatistics:
        """Return the function's counts; KeyError if there is none of the name."""
        return self._function(name).statistics()

    def environments(self, name: str) -> tuple[EnvironmentDescription, ...]:
        """Return the function's environments that are alive, the oldest first."""
        return tuple(environment.describe() for environment in self._function(name).environments)

    def logs(self, name: str, environment_id: str | None = None) -> str:
        """Return what the function's environments wrote, with the platform's lines.

        Of one environment or of all; kept for those that ended, too, within bounds.
        """
        return self._function(name).logs(environment_id)

    # --- faults, for tests ---

    async def kill_environment(self, environment_id: str) -> None:
        """SIGKILL to an environment's process group; returns when it is gone."""
        await self._environment(environment_id).killed()

    def freeze(self, environment_id: str) -> None:
        """SIGSTOP to an environment's process group."""
        self._environment(environment_id).freeze()

    def thaw(self, environment_id: str) -> None:
        """SIGCONT to an environment's process group."""
        self._environment(environment_id).thaw()

    def _environments(self) -> list[Environment]:
        functions = [*self._functions.values(), *self._removed]
        return [environment for function in functions for environment in function.environments]

    def _environment(self, environment_id: str) -> Environment:
        for environment in self._environments():
            if environment.id == environment_id:
                return environment
        raise KeyError(f"no execution environment {environment_id!r} is alive")

    # --- invocations ---

    def check(self, function: str, qualifier: str) -> None:
        """Raise ServiceError if a request's function or qualifier does not exist."""
        self._resolve(function, qualifier)

    async def invoke(self, request: InvokeRequest) -> InvokeReply:
        """Run a request; ServiceError if it does not run."""
        function, reference, version = self._resolve(request.function, request.qualifier)
        if request.invocation_type == "DryRun":
            return InvokeReply(204, version)

        def invocation() -> Invocation:
            return Invocation(
                request_id=request.request_id,
                payload=request.payload,
                function_arn=self._account.arn(reference.name, reference.qualifier),
                version=version,
                client_context=request.client_context,
                trace_id=request.trace_id,
                want_log=request.want_log,
            )

        if request.invocation_type == "Event":
            self._events.accept(lambda: self._run(function, invocation(), synchronous=False))
            return InvokeReply(202, version)
        running = invocation()
        outcome = await self._run(function, running)
        return InvokeReply(200, version, outcome, running.log_tail)

    async def _run(
        self, function: Function, invocation: Invocation, *, synchronous: bool = True
    ) -> Outcome:
        try:
            unreserved = self._concurrency.admit(function, synchronous=synchronous)
        except ServiceError:
            function.throttles += 1
            raise
        try:
            return await function.invoke(invocation)
        finally:
            self._concurrency.release(function, unreserved=unreserved)

    def _resolve(self, identifier: str, qualifier: str) -> tuple[Function, FunctionReference, str]:
        reference = parse_reference(identifier, qualifier, self._account)
        function = self._functions.get(reference.name)
        if function is None or self._closing is not None:
            arn = self._account.arn(reference.name, reference.qualifier)
            raise not_found(f"Function not found: {arn}")
        version = resolve_version(reference, function.configuration, self._account)
        return function, reference, version


def _require_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(
            f"host {host!r}: a local Lambda runs code for whoever asks: write 127.0.0.1"
        )
