"""The server, asked through the URL itself, and the addresses that its names have from here.

Everything asked is read only: ``hello``, ``buildInfo``, ``serverStatus``, ``connectionStatus``.
What the server or the function's policy refuses is a fact that was not seen.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure, PyMongoError

from odm.cli.doctor.facts import ServerFacts, Unseen, UriFacts
from odm.cli.failures import describe
from transports import open_transport
from transports.errors import InvalidURL, MissingExtra, TransportError
from transports.url import TransportURL, redact

if TYPE_CHECKING:
    from transports import Transport

_ASK_TIMEOUT_S = 10.0
_NAMES_TIMEOUT_S = 5.0
# RFC 1918, 4193 and 6598. Python's is_private also has the addresses of documentation.
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
LOCAL, PRIVATE, PUBLIC = "local", "private", "public"


async def server_facts(
    url: TransportURL, told: Callable[[str], None], *, timeout_s: float
) -> ServerFacts:
    """Open *url* and ask what answers.

    Args:
        url: the URL.
        told: is called with the name of what is being asked.
        timeout_s: seconds for opening.

    Raises:
        InvalidURL: the driver does not understand the URL.
    """
    told(f"the server, through {url.redacted}")
    started = time.perf_counter()
    transport = open_transport(url)
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await transport.open()
        except InvalidURL as error:
            if url.scheme != "lambda":
                raise
            return ServerFacts(error=describe(error))  # no region: what AWS says is told, too
        except MissingExtra:
            raise
        except TimeoutError:
            return ServerFacts(error=f"nothing answered within {timeout_s:g} s (--timeout)")
        except (TransportError, PyMongoError) as error:
            return ServerFacts(error=describe(error))
        return await _asked(transport, url.database, (time.perf_counter() - started) * 1000)
    finally:
        await transport.aclose()


async def _asked(transport: Transport, database: str, opened_ms: float) -> ServerFacts:
    function = getattr(transport, "function", None)
    hello, build, status, who = [
        await _ask(transport, database, command)
        for command in (
            {"hello": 1},
            {"buildInfo": 1},
            # Sections that are large or slow are left out.
            {"serverStatus": 1, "metrics": 0, "wiredTiger": 0, "locks": 0, "repl": 0},
            {"connectionStatus": 1},
        )
    ]
    return ServerFacts(
        hello=hello,
        build=build,
        status=status,
        roles=_roles(who),
        release=function.release if function else None,
        init_ms=function.init_ms if function else None,
        opened_ms=opened_ms,
    )


async def _ask(
    transport: Transport, database: str, command: Mapping[str, Any]
) -> Mapping[str, Any] | Unseen:
    name = next(iter(command))
    try:
        async with asyncio.timeout(_ASK_TIMEOUT_S):
            answer: Mapping[str, Any] = await transport.client[database].command(dict(command))
            return answer
    except TimeoutError:
        return Unseen(f"{name} was not answered within {_ASK_TIMEOUT_S:g} s")
    except OperationFailure as error:
        said = redact(str((error.details or {}).get("errmsg", error)))
        return Unseen(f"{name} was refused: {said}")
    except PyMongoError as error:
        return Unseen(f"{name}: {describe(error)}")


def _roles(who: Mapping[str, Any] | Unseen) -> tuple[str, ...] | Unseen | None:
    if isinstance(who, Unseen):
        return who
    info = who.get("authInfo", {})
    if not info.get("authenticatedUsers"):
        return None
    roles = info.get("authenticatedUserRoles", ())
    return tuple(sorted(f"{role['role']}@{role['db']}" for role in roles))


async def addresses_of(
    uri: UriFacts, told: Callable[[str], None], *, look_up: bool
) -> Mapping[str, str] | Unseen:
    """Return for each host of *uri* whether its address is ``local``, ``private`` or ``public``.

    Names of Atlas's private endpoints and peerings say it themselves; others are looked up, from
    here, if *look_up*; those not found, or not to be looked up, are left out. The hosts of an SRV
    record are not looked up: its name stands for them.
    """
    found = {host: sort for host in uri.hosts if (sort := sort_of(host))}
    unknown = [host for host in uri.hosts if host not in found]
    if not (look_up and unknown) or uri.srv:
        return found
    told("the addresses of " + ", ".join(unknown))
    for host in unknown:
        try:
            async with asyncio.timeout(_NAMES_TIMEOUT_S):
                infos = await asyncio.get_running_loop().getaddrinfo(
                    host, None, type=socket.SOCK_STREAM
                )
        except (TimeoutError, OSError):
            continue
        sorts = {sort_of(str(info[4][0])) or PUBLIC for info in infos}
        found[host] = PUBLIC if PUBLIC in sorts else PRIVATE if PRIVATE in sorts else LOCAL
    return found


def sort_of(host: str) -> str | None:
    """Return what a host's name or address says of itself, None if it does not.

    Atlas's names: https://www.mongodb.com/docs/atlas/reference/faq/connection-changes/
    """
    if host.startswith("/") or host == "localhost":
        return LOCAL
    label = host.partition(".")[0]
    if host.endswith(".mongodb.net") and ("-pri" in label or "-pl-" in label):
        return PRIVATE
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.is_loopback:
        return LOCAL
    return PRIVATE if any(address in network for network in _PRIVATE) else PUBLIC
