"""``odm tunnel``: a local MongoDB address for what a URL reaches.

`mongosh`, Compass, `mongodump` and drivers in other languages know no ``lambda://`` or ``fake://``;
through a tunnel they reach the same deployment under a ``mongodb://`` URI of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from odm.cli import lifecycle
from odm.cli.console import Console
from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.options import QuietOption, UrlArgument
from odm.cli.tunnel.credentials import VARIABLE, chosen_credential
from transports import Transport, open_transport
from transports.registry import ENDPOINT_SCHEMES
from transports.url import TransportURL, parse_url

if TYPE_CHECKING:
    from odm.cli.tunnel.telling import Teller
    from transports.endpoint import Credential, Listening, Observer

_DEFAULT_LISTEN = "127.0.0.1:27018"
# A tunnel may be open for days: members that have come are seen by the next heartbeat after this.
_MEMBERS_ASKED_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command's options say.

    Attributes:
        listen: the address.
        credential: what its user chose; None for the endpoint's own choice.
        read_only: whether writes are refused.
        interval_s: seconds between numbers; see `Teller`.
        log_commands: whether each command is written.
    """

    listen: str
    credential: Credential | None
    read_only: bool
    interval_s: float | None
    log_commands: bool


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
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            metavar="NAME",
            help="Ask clients for this user (SCRAM-SHA-256). The password is read from "
            f"{VARIABLE}, --password-file or a prompt.",
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Where the password stands, in the first line; - for stdin."
        ),
    ] = None,
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only",
            help="Refuse what a user with the role 'read' may not: writes, $out and $merge, "
            "changes of collections and indexes, administration.",
        ),
    ] = False,
    stats: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Write the numbers so often, 0 for never; without it, a live view on a terminal "
            "and a line a minute elsewhere.",
        ),
    ] = None,
    log_commands: Annotated[
        bool,
        typer.Option(
            "--log-commands",
            help="Write a line per command: names, duration and sizes, never contents.",
        ),
    ] = False,
    json_output: Annotated[
        bool,
        typer.Option(
            "--json", help="Write what happens to stdout, for programs: a JSON document a line."
        ),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Give a URL a local mongodb:// address.

    For mongosh, Compass, mongodump and drivers in other languages, which know no lambda:// or
    fake://. The address is written to stdout once it answers; the tunnel stays open until Ctrl-C.
    It listens on this machine only. The address holds a password made for this one time, because
    every user of this machine reaches a port; a socket of your own (--listen /path/name.sock)
    needs none. With --user, it is yours, and is not repeated.

    Examples:
    odm tunnel 'lambda://db-proxy:live/cms?region=eu-central-1', and mongosh '<what it wrote>'

    odm tunnel 'lambda://db-proxy:live/cms' --read-only --user ann --listen 127.0.0.1:27100
    """
    console = Console(json_output=json_output, quiet=quiet)
    parsed = parse_url(url)
    if parsed.scheme in ENDPOINT_SCHEMES:
        _check_listen(listen)
    elif read_only or user is not None:
        raise CommandFailed(
            f"drivers reach {parsed.redacted} directly, where "
            f"{'--read-only' if read_only else '--user'} would change nothing",
            ExitCode.USAGE,
        )
    settings = Settings(
        listen=listen,
        credential=chosen_credential(user, password_file, console),
        read_only=read_only,
        interval_s=stats,
        log_commands=log_commands,
    )
    lifecycle.run(_tunnel(parsed, settings, console))


async def _tunnel(url: TransportURL, settings: Settings, console: Console) -> None:
    if url.scheme not in ENDPOINT_SCHEMES:
        await _without_endpoint(url, console)
        return
    from transports.endpoint import ListenError

    try:
        await _with_endpoint(url, settings, console)
    except ListenError as error:
        raise CommandFailed(
            f"{error.strerror or error}; give another, or --listen 127.0.0.1:0 for a free port"
        ) from error


async def _with_endpoint(url: TransportURL, settings: Settings, console: Console) -> None:
    from odm.cli.tunnel.telling import Teller, listening_event
    from odm.cli.tunnel.watch import Watch

    watch = Watch(log_commands=settings.log_commands)
    async with open_transport(url, listen=_listening(settings, watch)) as transport:
        uri = with_database(transport.uri, transport.url.database)
        if settings.credential is not None:
            uri = without_password(uri)  # its user knows it, and a scrollback need not
        console.line(uri)
        console.event(
            listening_event(transport, uri, read_only=settings.read_only, members=watch.addresses)
        )
        for line in _greeting(transport, settings, watch.addresses):
            console.note(line)
        teller = Teller(
            console=console,
            watch=watch,
            transport=transport,
            title=f"{', '.join(watch.addresses.values())} → {transport.url.redacted}"
            + (" (read-only)" if settings.read_only else ""),
            interval_s=settings.interval_s,
        )
        try:
            await _told(teller)
        finally:
            with contextlib.suppress(OSError):  # the terminal may be what went away
                teller.farewell()


async def _told(teller: Teller) -> None:
    """Tell what happens until a signal comes; go on serving where nobody is there to be told."""
    from odm.cli.tunnel.unread import until_unread

    task = asyncio.current_task()
    try:
        if teller.console.json_output:
            await until_unread(teller.tell(), sys.stdout.fileno())
        else:
            await teller.tell()
    except BrokenPipeError:
        raise  # the pipe's reader has ended it: `odm … | head`
    except OSError:
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None
        await lifecycle.forever()


def _listening(settings: Settings, watch: Observer) -> Listening:
    from transports.endpoint import Listening

    guard = None
    if settings.read_only:
        from odm.cli.tunnel.read_only import ReadOnly

        guard = ReadOnly()
    return Listening(
        address=settings.listen,
        credential=settings.credential,
        guard=guard,
        observer=watch,
        deployment_max_age_s=_MEMBERS_ASKED_AGAIN_S,
    )


def _greeting(
    transport: Transport, settings: Settings, members: Mapping[str, str]
) -> Iterator[str]:
    reading = " for reading only" if settings.read_only else ""
    yield f"{transport.url.redacted} answers there{reading}; stop with Ctrl-C"
    if settings.credential is not None:
        yield "clients need the password that you chose; mongosh asks for it"
    if len(members) > 1:
        yield "members: " + ", ".join(f"{name} at {where}" for name, where in members.items())


async def _without_endpoint(url: TransportURL, console: Console) -> None:
    """Drivers reach these deployments by themselves; an embedded one lives as long as we do."""
    from odm.cli.tunnel.telling import listening_event

    async with open_transport(url) as transport:
        uri = with_database(transport.uri, transport.url.database)
        console.line(uri)
        console.event(listening_event(transport, uri, read_only=False, members={}))
        console.note("drivers reach this deployment directly: no tunnel is needed")
        if url.scheme == "embedded":
            console.note("it ends with this command; stop with Ctrl-C")
            await lifecycle.forever()


def _check_listen(listen: str) -> None:
    from transports.endpoint.listeners import parse_listen

    try:
        address = parse_listen(listen)
    except ValueError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error
    if not address.is_loopback:
        raise CommandFailed(
            f"listening on {listen!r} would let other machines in, and what they send and read "
            f"would cross the network unencrypted: write --listen {_DEFAULT_LISTEN}, and let "
            "other machines come through ssh",
            ExitCode.USAGE,
        )


def with_database(uri: str, database: str) -> str:
    """Return a ``mongodb://`` URI that names *database*, unless it names one already."""
    body, _, query = uri.partition("?")
    scheme, _, rest = body.partition("://")
    hosts, _, named = rest.partition("/")
    return f"{scheme}://{hosts}/{named or database}" + (f"?{query}" if query else "")


def without_password(uri: str) -> str:
    """Return a ``mongodb://`` URI with its user and without the password, for which tools ask."""
    scheme, _, rest = uri.partition("://")
    userinfo, at, hosts = rest.partition("@")
    return f"{scheme}://{userinfo.partition(':')[0]}@{hosts}" if at else uri
