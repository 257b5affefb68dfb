"""``odm tunnel``: a local MongoDB address for what a URL reaches.

`mongosh`, Compass, `mongodump` and drivers in other languages know no ``lambda://`` or ``fake://``;
through a tunnel they reach the same deployment under a ``mongodb://`` URI of this machine.
"""

from __future__ import annotations

from typing import Annotated

import typer

from odm.cli import lifecycle
from odm.cli.console import Console, counted
from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.options import JsonOption, QuietOption, UrlArgument
from transports import Transport, open_transport
from transports.url import TransportURL, parse_url

_DEFAULT_LISTEN = "127.0.0.1:27018"


def tunnel_command(
    url: UrlArgument,
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            "-l",
            metavar="ADDRESS",
            help="Where to listen: 127.0.0.1:27018 (port 0 takes a free one) or /path/name.sock.",
        ),
    ] = _DEFAULT_LISTEN,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Give a URL a local mongodb:// address.

    For mongosh, Compass and drivers in other languages, which know no lambda:// or fake://. The
    address is written to stdout once it answers; the tunnel stays open until Ctrl-C. It listens on
    this machine only. The address holds a password made for this one time, because every user of
    this machine reaches a port; a socket of your own (--listen /path/name.sock) needs none.

    Example: odm tunnel 'lambda://db-proxy:live/cms?region=eu-central-1'
    and then: mongosh '<the address that it wrote>'
    """
    console = Console(json_output=json_output, quiet=quiet)
    lifecycle.run(_tunnel(parse_url(url), listen, console))


async def _tunnel(url: TransportURL, listen: str, console: Console) -> None:
    from transports.registry import ENDPOINT_SCHEMES

    if url.scheme not in ENDPOINT_SCHEMES:
        await _without_endpoint(url, console)
        return
    _check_listen(listen)
    try:
        async with open_transport(url, listen=listen) as transport:
            _announce(transport, console)
            try:
                await lifecycle.forever()
            finally:
                _farewell(transport, console)
    except OSError as error:
        if isinstance(error, ConnectionError | PermissionError | ImportError):
            raise  # a transport's own error
        raise CommandFailed(f"{error}; another address: --listen 127.0.0.1:27019") from error


async def _without_endpoint(url: TransportURL, console: Console) -> None:
    """Drivers reach these deployments by themselves; an embedded one lives as long as we do."""
    async with open_transport(url) as transport:
        _announce(transport, console)
        if url.scheme == "embedded":
            await lifecycle.forever()
    console.note("drivers reach this deployment directly: no tunnel is needed")


def _check_listen(listen: str) -> None:
    from transports.endpoint.listeners import parse_listen

    try:
        address = parse_listen(listen)
    except ValueError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error
    if not address.is_loopback:
        raise CommandFailed(
            f"listening on {listen!r} would let other machines in without a password: "
            f"write --listen {_DEFAULT_LISTEN}",
            ExitCode.USAGE,
        )


def _announce(transport: Transport, console: Console) -> None:
    uri = with_database(transport.uri, transport.url.database)
    console.line(uri)
    console.document({"uri": uri, "url": transport.url.redacted, "transport": transport.name})
    console.note(f"{transport.url.redacted} answers there; stop with Ctrl-C")


def with_database(uri: str, database: str) -> str:
    """Return a ``mongodb://`` URI that names *database*, unless it names one already."""
    body, _, query = uri.partition("?")
    scheme, _, rest = body.partition("://")
    hosts, _, named = rest.partition("/")
    return f"{scheme}://{hosts}/{named or database}" + (f"?{query}" if query else "")


def _farewell(transport: Transport, console: Console) -> None:
    done = transport.statistics()
    text = f"closed after {counted(done.commands, 'command')}"
    if done.invokes:
        text += f" in {counted(done.invokes, 'invoke')}, {counted(done.cold_starts, 'cold start')}"
    console.note(text)
