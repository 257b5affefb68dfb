"""Traces without OpenTelemetry: AWS's own, in an application that is a Lambda function."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import bson
import pytest

from transports.endpoint.backend import Request
from transports.errors import InvalidURL, MissingExtra
from transports.lambda_invoke import tracing
from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import CommandItem
from transports.lambda_invoke.function.tracing import trace_id, xray_trace_id
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.tracing import (
    InheritedTracing,
    SpanTracing,
    invoke_header,
    traceparent_of_xray,
)
from transports.url import parse_url

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
TRACE = "5759e988bd862e3fe1be46a994272793"
OPTIONS = LambdaOptions(function="db-proxy")
MESSAGE = bytes(5) + bson.encode({"ping": 1, "$db": "admin"})
REQUEST = Request(server="h:1", message=MESSAGE, name="ping", database="admin")


@pytest.fixture(autouse=True)
def _no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)


@pytest.mark.parametrize(
    ("header", "traceparent"),
    [
        (HEADER, f"00-{TRACE}-53995c3f42cd8ad8-01"),
        (HEADER.replace("Sampled=1", "Sampled=0"), f"00-{TRACE}-53995c3f42cd8ad8-00"),
        (HEADER.partition(";Sampled")[0], f"00-{TRACE}-53995c3f42cd8ad8-00"),
        (HEADER + ";Lineage=1:a87bd80c:1", f"00-{TRACE}-53995c3f42cd8ad8-01"),
        (HEADER.partition(";")[0], ""),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_awss_header_says_what_a_traceparent_says(header: str, traceparent: str) -> None:
    assert traceparent_of_xray(header) == traceparent


def test_a_function_passes_its_trace_on(monkeypatch: pytest.MonkeyPatch) -> None:
    inherited = InheritedTracing()
    assert (inherited.traceparent(REQUEST), invoke_header()) == ("", "")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER)
    assert inherited.traceparent(REQUEST) == f"00-{TRACE}-53995c3f42cd8ad8-01"
    assert invoke_header() == HEADER
    # What is not a header's must not become one.
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1\r\nX-Other: 1")
    assert invoke_header() == "Root=1%0D%0AX-Other:%201"


def test_items_travel_as_they_are() -> None:
    items = [CommandItem("h:1", Body(MESSAGE))]
    with InheritedTracing().invoke(items) as sent:
        assert sent is items


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (HEADER, "1-5759e988-bd862e3fe1be46a994272793"),
        (
            "Self=1-5759e988-aaaaaaaaaaaaaaaaaaaaaaaa;" + HEADER,
            "1-5759e988-bd862e3fe1be46a994272793",
        ),
        ("Root=1-5759e988-short;Parent=1", ""),
        ("", ""),
    ],
)
def test_the_function_reads_its_own_trace(header: str, found: str) -> None:
    assert xray_trace_id(header) == found
    assert trace_id("", found) == found[2:].replace("-", "")


def test_a_commands_trace_goes_before_the_invocations() -> None:
    assert (
        trace_id(f"00-{'a' * 32}-{'b' * 16}-01", "1-5759e988-bd862e3fe1be46a994272793") == "a" * 32
    )


def test_tracing_follows_what_the_application_has_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace", raising=False)
    assert isinstance(tracing.tracing(OPTIONS), InheritedTracing)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", SimpleNamespace())
    assert isinstance(tracing.tracing(OPTIONS), SpanTracing)
    refused = LambdaOptions(function="db-proxy", tracing=False)
    assert isinstance(tracing.tracing(refused), InheritedTracing)


def test_asking_for_spans_without_opentelemetry_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtra, match=r"odm-transports\[otel\]"):
        tracing.tracing(LambdaOptions(function="db-proxy", tracing=True))


def test_the_contexts_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "MAX_CONTEXTS", 3)
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    traced = SpanTracing(LambdaOptions(function="db-proxy", tracing=True))
    for number in range(1, 10):
        context = SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(1))
        of_request = set_span_in_context(NonRecordingSpan(context))
        monkeypatch.setattr(traced, "_current", lambda of_request=of_request: of_request)
        traced.started(SimpleNamespace(server_connection_id=1, request_id=number))  # type: ignore[arg-type]  # what is read of an event
    assert [request_id for _, request_id in traced._contexts] == [7, 8, 9]


@pytest.mark.parametrize("options", ["tracing=yes", "tracing=", "appName=", f"appName={'x' * 129}"])
def test_wrong_options_are_refused(options: str) -> None:
    name = options.partition("=")[0]
    with pytest.raises(InvalidURL, match=name):
        LambdaOptions.from_url(parse_url(f"lambda://db-proxy/cms?{options}"))


def test_options_are_read() -> None:
    url = parse_url("lambda://db-proxy/cms?appName=cms-api&tracing=true")
    options = LambdaOptions.from_url(url)
    assert (options.app_name, options.tracing) == ("cms-api", True)


def test_opentelemetry_is_not_imported_where_it_is_not_used() -> None:
    code = (
        "import os, sys\n"
        "os.environ['ODM_PROXY_MONGODB_URI'] = 'mongodb://localhost:1/'\n"
        "os.environ['ODM_PROXY_CONNECT_AT_INIT'] = 'false'\n"
        "import transports.lambda_invoke.transport\n"
        "from transports.lambda_invoke.options import LambdaOptions\n"
        "from transports.lambda_invoke.tracing import tracing\n"
        "tracing(LambdaOptions(function='db-proxy'))\n"
        "import transports.lambda_invoke.function.app as app\n"
        "app._proxy._recorder.begin(type('Context', (), {'aws_request_id': 'r'}))\n"
        "app._close()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
