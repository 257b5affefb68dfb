"""Trace context in the function: where it comes from, and a span for each command.

A command brings its caller's context as a W3C ``traceparent``. Where there is none, the trace is
that of the invocation, which AWS Lambda names in ``_X_AMZN_TRACE_ID``. Where OpenTelemetry's SDK is
at work (AWS's layer ADOT brings it, or the bundle's own code), every command becomes a span below
its caller's. Nothing of OpenTelemetry is imported otherwise.

Spec: https://www.w3.org/TR/trace-context/#traceparent-header
https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
https://opentelemetry.io/docs/specs/semconv/database/mongodb/
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from transports.lambda_invoke.function.naming import Named

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_ROOT = re.compile(r"(?:^|;)Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|$)")
_TRACER = "odm-transports"


def xray_trace_id(header: str) -> str:
    """Return the trace's id in a tracing header, ``1-<8 hex digits>-<24>``; ``""`` for none."""
    found = _ROOT.search(header)
    return found[1] if found else ""


def trace_id(traceparent: str, xray: str) -> str:
    """Return the 32 hex digits of the trace: of the command's, else of the invocation's."""
    return traceparent[3:35] if traceparent else xray[2:].replace("-", "")


def is_traced() -> bool:
    """Whether somebody has loaded OpenTelemetry's SDK: without it spans would go nowhere."""
    return "opentelemetry.sdk.trace" in sys.modules


class Spans:
    """Makes a span for each command.

    Args:
        release: version of this distribution.
    """

    def __init__(self, release: str) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._extract = TraceContextTextMapPropagator().extract
        self._tracer = trace.get_tracer(_TRACER, release)

    def start(self, named: Named, server: str, traceparent: str, invoke: str) -> Span:
        """Begin the span of a command: below its caller's, or below what is current here."""
        context = self._extract({"traceparent": traceparent}) if traceparent else None
        database, _, collection = named.namespace.partition(".")
        attributes = {
            "db.system.name": "mongodb",
            "db.operation.name": named.name,
            "db.namespace": database,
            "server.address": server,
            "faas.invocation_id": invoke,
        }
        if collection:
            attributes["db.collection.name"] = collection
        return self._tracer.start_span(
            f"{named.name} {named.namespace}",
            context,
            kind=self._trace.SpanKind.CLIENT,
            attributes=attributes,
        )

    def end(self, span: Span, error: str) -> None:
        """End a span; *error* is a server's code, or the class of a failure, ``""`` for none."""
        if error:
            span.set_attribute("error.type", error)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))
        span.end()
