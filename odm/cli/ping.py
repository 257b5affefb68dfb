"""``odm ping``: does anything answer under a URL, what is it, and how far away."""

from __future__ import annotations

import statistics
import time
from typing import Annotated, Any

import typer

from odm.cli import lifecycle
from odm.cli.console import Console, counted
from odm.cli.options import JsonOption, QuietOption, UrlArgument
from transports import Transport, open_transport
from transports.url import parse_url


def ping_command(
    url: UrlArgument,
    count: Annotated[int, typer.Option("--count", "-c", min=1, help="How many pings.")] = 5,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Reach MongoDB under a URL and tell what answered.

    That is the version of the server, its topology and its latency; for lambda:// also the
    release of the DB proxy function. Without URL, ODM_URL is used.

    Example: odm ping 'lambda://db-proxy:live/cms?region=eu-central-1'
    """
    console = Console(json_output=json_output, quiet=quiet)
    redacted = parse_url(url).redacted
    answer = lifecycle.run(_ping(url, count))
    console.document({"ok": True, "url": redacted, **answer})
    console.pairs([("url", redacted), *_rows(answer)])


async def _ping(url: str, count: int) -> dict[str, Any]:
    started = time.perf_counter()
    async with open_transport(url) as transport:
        opened_ms = (time.perf_counter() - started) * 1000
        samples = []
        for _ in range(count):
            started = time.perf_counter()
            await transport.client.admin.command("ping")
            samples.append((time.perf_counter() - started) * 1000)
        hello = await transport.client.admin.command("hello")
        build = await transport.client.admin.command("buildInfo")
        statistics_ = transport.statistics()
        return {
            "transport": transport.name,
            "database": transport.url.database,
            "server": {
                "version": build.get("version"),
                "topology": _topology(hello),
                "replica_set": hello.get("setName"),
                "hosts": list(hello.get("hosts", [])),
                "max_wire_version": hello.get("maxWireVersion"),
            },
            "function": _function(transport),
            "latency_ms": {
                "open": round(opened_ms, 2),
                "first": round(samples[0], 2),
                "median": round(statistics.median(samples), 2),
                "slowest": round(max(samples), 2),
                "count": count,
            },
            "invokes": statistics_.invokes,
            "cold_starts": statistics_.cold_starts,
        }


def _topology(hello: dict[str, Any]) -> str:
    if hello.get("msg") == "isdbgrid":
        return "mongos"
    if "setName" in hello:
        return "replica set"
    return "standalone"


def _function(transport: Transport) -> dict[str, Any] | None:
    """Return what the DB proxy function says of itself; None where there is none."""
    function = getattr(transport, "function", None)
    if function is None:
        return None
    return {
        "release": function.release,
        "environment": function.environment,
        "timeout_ms": function.timeout_ms,
        "init_ms": function.init_ms,
    }


def _rows(answer: dict[str, Any]) -> list[tuple[str, str]]:
    server, latency, function = answer["server"], answer["latency_ms"], answer["function"]
    topology = server["topology"]
    if server["replica_set"]:
        topology += f" {server['replica_set']!r}"
    rows = [
        ("transport", answer["transport"]),
        ("database", answer["database"]),
        ("server", f"MongoDB {server['version']}, {topology}"),
        (
            "latency",
            f"{latency['median']:.1f} ms median of {latency['count']} pings"
            f" (first {latency['first']:.1f}, slowest {latency['slowest']:.1f};"
            f" open {latency['open']:.0f})",
        ),
    ]
    if function:
        rows.append(
            (
                "function",
                f"release {function['release']}, timeout {function['timeout_ms'] / 1000:.0f} s,"
                f" {counted(answer['invokes'], 'invoke')},"
                f" {counted(answer['cold_starts'], 'cold start')}",
            )
        )
    return rows
