"""Traces from the application's span to the server's command, with OpenTelemetry's own SDK.

The SDK is loaded by this module's fixture and forgotten after it: that it is loaded is what a
transport goes by.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson
import pytest
import pytest_asyncio
from pymongo import WriteConcern
from pymongo.errors import PyMongoError

from transports import open_transport
from transports.base import Transport
from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import CommandItem, encode_request
from transports.local_lambda import LocalLambda

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import Tracer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Telemetry:
    """An application's OpenTelemetry: its tracer, and what was exported."""

    tracer: Tracer
    exporter: InMemorySpanExporter

    def spans(self, name: str = "") -> Sequence[ReadableSpan]:
        """Return the spans that have ended, of those whose name begins so."""
        return [s for s in self.exporter.get_finished_spans() if s.name.startswith(name)]


@pytest.fixture(scope="module")
def sdk() -> Iterator[InMemorySpanExporter]:
    from opentelemetry import trace
    from opentelemetry.instrumentation.pymongo import PymongoInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    PymongoInstrumentor().instrument()
    yield exporter
    PymongoInstrumentor().uninstrument()
    provider.shutdown()
    for name in [name for name in sys.modules if name.startswith("opentelemetry.sdk")]:
        del sys.modules[name]


@pytest.fixture
def telemetry(sdk: InMemorySpanExporter) -> Telemetry:
    from opentelemetry import trace

    sdk.clear()
    return Telemetry(trace.get_tracer("application"), sdk)


@pytest_asyncio.fixture(loop_scope="module")
async def transport(
    sdk: InMemorySpanExporter, local_lambda: LocalLambda
) -> AsyncIterator[Transport]:
    url = f"lambda://db-proxy/traced?endpoint={local_lambda.endpoint_url}&appName=cms-api"
    async with open_transport(url) as opened:
        await opened.database.pages.insert_one({"_id": 1})
        yield opened
        await opened.client.drop_database("traced")


def written(service: LocalLambda, trace_id: str) -> list[Any]:
    """What the function wrote of a trace."""
    lines = service.logs("db-proxy").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in found if line.get("trace") == trace_id]


def hexadecimal(span: Any) -> str:
    return f"{span.get_span_context().trace_id:032x}"


async def test_an_invoke_is_a_span_below_the_applications(
    transport: Transport, telemetry: Telemetry, local_lambda: LocalLambda
) -> None:
    telemetry.exporter.clear()
    with telemetry.tracer.start_as_current_span("request") as request:
        await transport.database.pages.find_one({"_id": 1})
    [invoke] = telemetry.spans("Invoke db-proxy")
    [driver] = telemetry.spans("traced.find")  # PymongoInstrumentor's own, as over any transport
    for span in (invoke, driver):
        assert span.parent == request.get_span_context()
        assert span.kind.name == "CLIENT"
    assert invoke.attributes is not None
    assert invoke.attributes["faas.invoked_name"] == "db-proxy"
    [line] = written(local_lambda, hexadecimal(request))
    assert line["caller"] == "cms-api"
    assert line["by_command"][0]["namespace"] == "traced.pages"
    # AWS's own trace is the same one: the invoke carried its header.
    trace_id = hexadecimal(request)
    assert line["xray"] == f"1-{trace_id[:8]}-{trace_id[8:]}"


async def test_the_server_sees_the_trace(transport: Transport, telemetry: Telemetry) -> None:
    database = transport.database
    await database.command({"profile": 2})
    with telemetry.tracer.start_as_current_span("request") as request:
        await database.pages.find_one({"_id": 1, "traced": None})
    await database.command({"profile": 0})
    seen = await database["system.profile"].find_one({"command.filter.traced": None, "op": "query"})
    assert seen is not None
    comment = seen["command"]["comment"]["odm"]
    assert (comment["caller"], comment["trace"]) == ("cms-api", hexadecimal(request))


async def test_commands_at_once_have_their_own_traces(
    transport: Transport, telemetry: Telemetry, local_lambda: LocalLambda
) -> None:
    async def request(number: int) -> str:
        with telemetry.tracer.start_as_current_span(f"request {number}") as span:
            await transport.database.pages.find_one({"_id": number})
        return hexadecimal(span)

    traces = await asyncio.gather(*map(request, range(40)))
    of_driver = {hexadecimal(span) for span in telemetry.spans("traced.find")}
    invokes = telemetry.spans("Invoke")
    named = {hexadecimal(span) for span in invokes}
    linked = {f"{link.context.trace_id:032x}" for span in invokes for link in span.links}
    assert of_driver == set(traces) <= named | linked
    assert len(invokes) < len(traces)  # they shared some
    for span in invokes:
        together = span.attributes is not None and span.attributes["odm.items"] != 1
        assert (len(span.links) > 1, span.parent is None) == (together, together)
    log = local_lambda.logs("db-proxy")
    assert all(trace in log for trace in traces)


async def test_commands_of_one_span_continue_below_the_invoke_they_share(
    transport: Transport, telemetry: Telemetry
) -> None:
    with telemetry.tracer.start_as_current_span("request") as request:
        find = transport.database.pages.find_one
        await asyncio.gather(*(find({"_id": number}) for number in range(40)))
    invokes = telemetry.spans("Invoke")
    assert len(invokes) < 40
    assert all(span.parent == request.get_span_context() for span in invokes)
    assert not any(span.links for span in invokes)


async def test_a_failed_invoke_is_a_failed_span(
    sdk: InMemorySpanExporter, telemetry: Telemetry, local_lambda: LocalLambda
) -> None:
    url = f"lambda://db-proxy/traced?endpoint={local_lambda.endpoint_url}&throttleTimeoutMS=1"
    async with open_transport(url) as opened:
        local_lambda.put_function_concurrency("db-proxy", 0)
        try:
            with telemetry.tracer.start_as_current_span("request"), pytest.raises(PyMongoError):
                await opened.database.pages.find_one({})
        finally:
            local_lambda.put_function_concurrency("db-proxy", 4)
    [invoke, *_] = telemetry.spans("Invoke")
    assert invoke.status.status_code.name == "ERROR"
    assert invoke.attributes is not None
    assert invoke.attributes["error.type"] == "throttled"
    assert not invoke.events  # an exception's words may quote what failed


async def test_what_no_span_asked_for_has_none(transport: Transport, telemetry: Telemetry) -> None:
    telemetry.exporter.clear()
    await transport.database.pages.find_one({"_id": 1})
    assert telemetry.spans("Invoke") == []


async def test_unacknowledged_writes_have_a_trace_and_nothing_stays_behind(
    transport: Transport, telemetry: Telemetry, local_lambda: LocalLambda
) -> None:
    unacknowledged = transport.database.get_collection("pages", write_concern=WriteConcern(0))
    tracing: Any = transport._backend._tracing  # type: ignore[attr-defined]  # LambdaTransport's
    with telemetry.tracer.start_as_current_span("request") as request:
        await unacknowledged.insert_one({"_id": "unacknowledged"})
    names: list[str] = []
    for _ in range(1000):
        await transport.database.pages.find_one({"_id": "unacknowledged"})
        lines = written(local_lambda, hexadecimal(request))
        names = [line["by_command"][0]["name"] for line in lines]
        if names and not tracing._contexts:
            break
    assert names == ["insert"]
    assert not tracing._contexts


async def test_the_function_makes_spans_below_the_callers(
    telemetry: Telemetry, mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODM_PROXY_MONGODB_URI", mongod_uri)
    monkeypatch.setenv("ODM_PROXY_CONNECT_AT_INIT", "false")
    from transports.lambda_invoke.function.app import Proxy
    from transports.lambda_invoke.function.settings import FunctionSettings

    class Context:
        aws_request_id = "request-1"

        def get_remaining_time_in_millis(self) -> int:
            return 3000

    proxy = Proxy(FunctionSettings(mongodb_uri=mongod_uri, policy="unrestricted"))
    server = mongod_uri.partition("://")[2].partition("/")[0]
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

    def item(document: dict[str, Any], traceparent: str) -> CommandItem:
        message = Body(bytes(5) + bson.encode({**document, "$db": "traced"}))
        return CommandItem(server, message, trace=traceparent)

    items = [
        item({"find": "pages", "filter": {"secret": "s3cr3t"}}, f"00-{trace}-{parent}-01"),
        item({"nonsense": 1}, ""),
    ]
    try:
        await asyncio.to_thread(proxy.handle, json.loads(encode_request(items)), Context())
    finally:
        proxy.close()
    [find] = telemetry.spans("find traced.pages")
    assert hexadecimal(find) == trace
    assert find.parent is not None
    assert f"{find.parent.span_id:016x}" == parent
    assert find.attributes == {
        "db.system.name": "mongodb",
        "db.operation.name": "find",
        "db.namespace": "traced",
        "db.collection.name": "pages",
        "server.address": server,
        "faas.invocation_id": "request-1",
    }
    [failed] = telemetry.spans("nonsense")
    assert failed.parent is None
    assert failed.attributes is not None
    assert (failed.attributes["error.type"], failed.status.status_code.name) == ("59", "ERROR")


async def test_the_last_word_is_the_urls(
    sdk: InMemorySpanExporter, telemetry: Telemetry, local_lambda: LocalLambda
) -> None:
    url = f"lambda://db-proxy/traced?endpoint={local_lambda.endpoint_url}&tracing=false"
    async with open_transport(url) as opened:
        with telemetry.tracer.start_as_current_span("request"):
            await opened.database.pages.find_one({})
    assert telemetry.spans("Invoke") == []
    assert len(telemetry.spans("traced.find")) == 1


async def test_a_caller_that_is_a_function_gives_its_name_and_its_trace(
    telemetry: Telemetry, local_lambda: LocalLambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    xray = "1-5759e988-bd862e3fe1be46a994272793"
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={xray};Parent=53995c3f42cd8ad8;Sampled=1")
    for tracing in ("false", "true"):
        url = f"lambda://db-proxy/traced?endpoint={local_lambda.endpoint_url}&tracing={tracing}"
        async with open_transport(url) as opened:
            await opened.database.pages.find_one({"_id": tracing})
    finds = [
        line
        for line in written(local_lambda, "5759e988bd862e3fe1be46a994272793")
        if "by_command" in line and line["by_command"][0]["name"] == "find"
    ]
    assert [(line["caller"], line["xray"]) for line in finds] == [("orders", xray)] * 2
    assert telemetry.spans("Invoke") == []  # no span of the application asked for one
