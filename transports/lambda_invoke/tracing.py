"""Trace context on the caller's side: from the application's span to the command in its envelope.

Two sources. In an application that is itself a Lambda function, AWS's tracing header, which the
runtime keeps in ``_X_AMZN_TRACE_ID``: nothing to install, a look at one variable. And
OpenTelemetry, where the application has loaded its SDK (or the URL says ``tracing=true``): then
every invoke is a span ``Invoke <function>`` below the span in which the application called the
driver. Commands of several spans that share an invoke make it a span of its own, linked to theirs.

A command passes a socket between driver and endpoint, and the endpoint's tasks have not the context
of the application's. A command listener notes the context in which the driver sends, by the numbers
of connection and message, which the endpoint reads from the wire (`Request.request_id`).

OpenTelemetry is imported only where it is used, and never by this module's import.

Spec: https://www.w3.org/TR/trace-context/#traceparent-header
https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/
"""

from __future__ import annotations

import os
import re
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import quote

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from transports.driver import driver_info
from transports.endpoint.backend import Request
from transports.errors import MissingExtra
from transports.lambda_invoke.envelope import CommandItem, Item
from transports.lambda_invoke.invoke_errors import InvokeError
from transports.lambda_invoke.options import LambdaOptions

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

_K = TypeVar("_K")

MAX_CONTEXTS = 10_000
"""Commands whose context is remembered; a forgotten one is without trace."""

MAX_PARENTS = 1_000
"""Spans of the application that are remembered beyond their commands: those used last."""

_XRAY = re.compile(r"Root=1-([0-9a-f]{8})-([0-9a-f]{24});Parent=([0-9a-f]{16})(?:;Sampled=(\d))?")
_UNQUOTED = "-=;:+&[]{}\"',"  # as the SDK leaves them
_header: ContextVar[str] = ContextVar("odm_xray_header", default="")


def invoke_header() -> str:
    """Return ``X-Amzn-Trace-Id`` for the invoke that is being sent, ``""`` for none.

    The SDK's own: what AWS Lambda tells a function of its trace goes along with what it calls. The
    service finds loops of functions by it, too.
    """
    inherited = os.environ.get("_X_AMZN_TRACE_ID", "")
    own = _header.get()
    if not own:
        return quote(inherited, safe=_UNQUOTED) if inherited else ""
    lineage = inherited.partition(";Lineage=")[2].partition(";")[0]
    return f"{own};Lineage={quote(lineage, safe=_UNQUOTED)}" if lineage else own


@lru_cache(maxsize=8)
def traceparent_of_xray(header: str) -> str:
    """Return AWS's tracing header as a ``traceparent``; ``""`` if it names no parent."""
    found = _XRAY.match(header)
    if found is None:
        return ""
    started, rest, parent, sampled = found.groups()
    return f"00-{started}{rest}-{parent}-{'01' if sampled == '1' else '00'}"


class Tracing(Protocol):
    """What the backend asks for each command and invoke."""

    def traceparent(self, request: Request) -> str:
        """Return the context of *request*, ``""`` for none."""
        ...

    def forget(self, request: Request) -> None:
        """Say that *request* has been answered."""
        ...

    def invoke(
        self, items: Sequence[Item], request: Request | None = None
    ) -> AbstractContextManager[Sequence[Item]]:
        """Return what to enter around an invoke of *items*, a part of *request*.

        It gives the items as they are to be sent.
        """
        ...


class InheritedTracing:
    """Passes on the trace that AWS Lambda named to the application, if it is a function."""

    def traceparent(self, request: Request) -> str:
        """Return the invocation's context: every command has the same."""
        return traceparent_of_xray(os.environ.get("_X_AMZN_TRACE_ID", ""))

    def forget(self, request: Request) -> None:
        """Nothing is kept."""

    def invoke(
        self, items: Sequence[Item], request: Request | None = None
    ) -> AbstractContextManager[Sequence[Item]]:
        """Return the items as they are."""
        return nullcontext(items)


class SpanTracing(CommandListener):
    """Makes a span of every invoke, below those in which the application called the driver.

    A command listener of the client whose commands it is about.

    Args:
        options: name and region of the function.

    Raises:
        MissingExtra: OpenTelemetry's API is not installed.
    """

    def __init__(self, options: LambdaOptions) -> None:
        try:
            from opentelemetry import context, trace
        except ImportError as error:
            raise MissingExtra("tracing=true", "opentelemetry-api", "otel") from error
        self._trace = trace
        self._current = context.get_current
        self._tracer = trace.get_tracer("odm-transports", driver_info().version)
        self._contexts: OrderedDict[tuple[int, int], Context] = OrderedDict()
        self._named: OrderedDict[str, Context] = OrderedDict()
        self._inherited = InheritedTracing()
        self._name = f"Invoke {options.display_name}"
        self._attributes = {
            "rpc.system": "aws-api",
            "rpc.service": "Lambda",
            "rpc.method": "Invoke",
            "faas.invoked_provider": "aws",
            "faas.invoked_name": options.function,
            **({"faas.invoked_region": options.region} if options.region else {}),
        }

    # -- the driver's events -------------------------------------------------------------------

    def started(self, event: CommandStartedEvent) -> None:
        """Note the context in which the driver sends a command."""
        context = self._current()
        if self._span_context(context).is_valid:
            key = event.server_connection_id or 0, event.request_id
            _remember(self._contexts, key, context, MAX_CONTEXTS)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing: of an unacknowledged write it comes before the endpoint has it."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing, for the same reason."""

    # -- the backend's questions ---------------------------------------------------------------

    def traceparent(self, request: Request) -> str:
        """Return the context in which the driver sent *request*."""
        context = self._contexts.get((request.client.connection_id, request.request_id))
        if context is None:
            return self._inherited.traceparent(request)
        traceparent = _traceparent(self._span_context(context))
        _remember(self._named, traceparent, context, MAX_PARENTS)
        return traceparent

    def forget(self, request: Request) -> None:
        """Forget its context."""
        self._contexts.pop((request.client.connection_id, request.request_id), None)

    def invoke(
        self, items: Sequence[Item], request: Request | None = None
    ) -> AbstractContextManager[Sequence[Item]]:
        """Return a span around an invoke; none for what belongs to no span of the application.

        A single command, or several of one span, continue below the invoke's; commands of several
        spans continue below their own, and the invoke is linked to each.
        """
        traces = dict.fromkeys(item.trace for item in items if isinstance(item, CommandItem))
        if not any(traces) and request is not None:
            traces = {self.traceparent(request): None}
        contexts = [self._named[trace] for trace in traces if trace in self._named]
        return self._span(items, contexts) if contexts else nullcontext(items)

    @contextmanager
    def _span(self, items: Sequence[Item], contexts: Sequence[Context]) -> Iterator[Sequence[Item]]:
        from opentelemetry.context import Context

        together = len(contexts) > 1
        span = self._tracer.start_span(
            self._name,
            Context() if together else contexts[0],
            kind=self._trace.SpanKind.CLIENT,
            attributes={**self._attributes, "odm.items": len(items)},
            links=[self._trace.Link(self._span_context(each)) for each in contexts]
            if together
            else None,
        )
        own = span.get_span_context()
        reset = _header.set(_xray_header(own)) if own.is_valid else None
        try:
            with self._trace.use_span(
                span, end_on_exit=True, record_exception=False, set_status_on_exception=False
            ):
                try:
                    yield items if together else _below(items, own)
                except InvokeError as error:
                    self._failed(span, error.kind)
                    raise
                except BaseException as error:
                    self._failed(span, type(error).__name__)
                    raise
        finally:
            if reset is not None:
                _header.reset(reset)

    def _failed(self, span: Span, kind: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))

    def _span_context(self, context: Context) -> SpanContext:
        return self._trace.get_current_span(context).get_span_context()


def tracing(options: LambdaOptions) -> InheritedTracing | SpanTracing:
    """Return what the options ask for, or what the application shows that it wants.

    Raises:
        MissingExtra: ``tracing=true`` without OpenTelemetry.
    """
    wanted = options.tracing
    if wanted is None:
        wanted = "opentelemetry.sdk.trace" in sys.modules
    return SpanTracing(options) if wanted else InheritedTracing()


def _below(items: Sequence[Item], own: SpanContext) -> Sequence[Item]:
    if not own.is_valid:  # no SDK
        return items
    trace = _traceparent(own)
    return [replace(i, trace=trace) if isinstance(i, CommandItem) else i for i in items]


def _traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _xray_header(context: SpanContext) -> str:
    trace = f"{context.trace_id:032x}"
    sampled = int(context.trace_flags.sampled)
    return f"Root=1-{trace[:8]}-{trace[8:]};Parent={context.span_id:016x};Sampled={sampled}"


def _remember(kept: OrderedDict[_K, Context], key: _K, value: Context, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
