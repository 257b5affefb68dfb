"""The options of ``odm cost``, by name. Those of a workload are called as its fields are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

_ARRIVING = "What is asked for"
_FUNCTION = "The function"
_MEASURED = "Measured instead"
_PRICED = "Prices and limits"
_SIMULATED = "Simulation"


def _option(
    panel: str, text: str, metavar: str | None = None, values: Sequence[str] = ()
) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(
        help=text,
        metavar=metavar,
        rich_help_panel=panel,
        show_default=False,
        autocompletion=_beginning(values) if values else None,
    )
    return info


def _beginning(values: Sequence[str]) -> Callable[[str], list[str]]:
    """Return what a shell asks for the values that begin with what is written."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def _file(panel: str, text: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(
        help=text, metavar="FILE", dir_okay=False, rich_help_panel=panel, show_default=False
    )
    return info


WorkloadFile = Annotated[
    Path | None,
    _file(_ARRIVING, "A workload in JSON or TOML: its keys are the names of these options with _."),
]
Rate = Annotated[float | None, _option(_ARRIVING, "Commands per second, as a mean. [100]")]
Profile = Annotated[
    str | None,
    _option(
        _ARRIVING,
        "A day's hours: flat, office, evening, or 24 weights with commas. [flat]",
        values=("flat", "office", "evening"),
    ),
]
Burst = Annotated[
    str | None,
    _option(_ARRIVING, "Also so many commands at once, every so many seconds.", "N@SECONDS"),
]
Gather = Annotated[int | None, _option(_ARRIVING, "Commands that a caller sends at once. [1]")]
Callers = Annotated[int | None, _option(_ARRIVING, "Callers at one time. [100]")]
CallerPool = Annotated[
    int | None, _option(_ARRIVING, "A caller's maxPoolSize, without the proxy. [100]")
]
CallerMemoryMb = Annotated[
    int | None,
    _option(_ARRIVING, "Memory of callers that are Lambda functions and pay to wait. [0]"),
]
ServerMs = Annotated[float | None, _option(_ARRIVING, "A command on the server, ms. [1]")]
NetworkMs = Annotated[
    float | None, _option(_ARRIVING, "A round trip from function to server, ms. [1]")
]
Spread = Annotated[
    float | None, _option(_ARRIVING, "Standard deviation of --server-ms, over its mean. [0.5]")
]
BytesIn = Annotated[float | None, _option(_ARRIVING, "Bytes of a command. [300]")]
BytesOut = Annotated[float | None, _option(_ARRIVING, "Bytes of a reply. [1000]")]

MemoryMb = Annotated[int | None, _option(_FUNCTION, "Its memory. [256]", "MB")]
Architecture = Annotated[
    str | None, _option(_FUNCTION, "x86_64 or arm64. [x86_64]", values=("x86_64", "arm64"))
]
Reserved = Annotated[int | None, _option(_FUNCTION, "Its reserved concurrency. [15]")]
Pool = Annotated[int | None, _option(_FUNCTION, "Its ODM_PROXY_MAX_POOL_SIZE. [4]")]
Provisioned = Annotated[int | None, _option(_FUNCTION, "Provisioned concurrency. [0]")]
SnapStart = Annotated[bool | None, _option(_FUNCTION, "Start from a SnapStart snapshot.")]
CommandsPerInvoke = Annotated[
    float | None, _option(_FUNCTION, "The mean size of its batches, instead of --gather.")
]
OverheadMs = Annotated[float | None, _option(_FUNCTION, "Its own time for an invocation, ms. [1]")]
RoundTripMs = Annotated[
    float | None, _option(_FUNCTION, "From a caller to it and back, not billed to it, ms. [5]")
]
ColdStartShare = Annotated[
    float | None, _option(_FUNCTION, "Share of cold invocations, instead of --environment-life-s.")
]
InitMs = Annotated[float | None, _option(_FUNCTION, "A cold start's init phase, ms. [400]")]
RestoreMs = Annotated[float | None, _option(_FUNCTION, "The same with SnapStart, ms. [200]")]
EnvironmentLifeS = Annotated[
    float | None, _option(_FUNCTION, "How long an execution environment lives, s. [7200]")
]
Servers = Annotated[int | None, _option(_FUNCTION, "Members of the replica set. [3]")]
BetweenZones = Annotated[
    float | None, _option(_FUNCTION, "Share of the bytes that cross a zone to the server. [0.67]")
]
CallersThrough = Annotated[
    str | None,
    _option(
        _FUNCTION,
        "How callers get there: public, nat_gateway, vpc_endpoint.",
        values=("public", "nat_gateway", "vpc_endpoint"),
    ),
]

StatisticsFile = Annotated[
    Path | None, _file(_MEASURED, "JSON of a running application's statistics(), with --over.")
]
LogFile = Annotated[
    Path | None, _file(_MEASURED, "The function's log, as CloudWatch or odm local writes it.")
]
Over = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        metavar="SECONDS",
        help="Over how many seconds that was.",
        rich_help_panel=_MEASURED,
        show_default=False,
    ),
]

Region = Annotated[str, typer.Option(help="AWS region.", rich_help_panel=_PRICED)]
PricesFile = Annotated[
    Path | None, _file(_PRICED, "Other prices, in the form of odm/cli/cost/prices.json.")
]
ClusterPrice = Annotated[
    list[str] | None,
    _option(
        _PRICED,
        "A cluster tier's price per hour, e.g. M40=1.04; may be repeated.",
        "TIER[=CONNECTIONS]=USD",
    ),
]
FreeTier = Annotated[
    bool, typer.Option("--free-tier", help="Take off AWS's free tier.", rich_help_panel=_PRICED)
]
Target = Annotated[
    float,
    typer.Option(
        min=1e-9, max=0.5, help="Share of invokes that may be throttled.", rich_help_panel=_PRICED
    ),
]
ConnectionLimit = Annotated[
    int | None, _option(_PRICED, "The most connections that a server is to have.", "N")
]
Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Exit code 1 if the workload does not fit.", rich_help_panel=_PRICED
    ),
]

Simulate = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        max=86_400,
        metavar="SECONDS",
        help="Also simulate so many seconds of the busiest hour.",
        rich_help_panel=_SIMULATED,
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Of its random numbers.", rich_help_panel=_SIMULATED)]
Patience = Annotated[
    float,
    typer.Option(min=0, help="throttleTimeoutMS, in seconds.", rich_help_panel=_SIMULATED),
]
RateLimit = Annotated[
    bool,
    typer.Option(
        "--rate-limit/--no-rate-limit",
        help="AWS admits ten requests a second for each reserved concurrency.",
        rich_help_panel=_SIMULATED,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(metavar="FILE", dir_okay=False, help="Also write a report with plots."),
]
