"""The driver's client: how it is made from a URI, and what its refusals mean in words.

Shared by the transports that hand a URI to the driver. It owns the translation of the driver's
errors at ``open()``; it knows nothing of where the URI came from. What the server answers later is
the driver's own exception and passes through untouched.

Spec: MongoDB URI options
https://github.com/mongodb/specifications/blob/master/source/uri-options/uri-options.md
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.driver_info import DriverInfo
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from transports.errors import AuthenticationRefused, InvalidURL, ServerUnreachable, TransportError
from transports.url import TransportURL, redact

OPEN_TIMEOUT_S = 10.0
"""How long ``open()`` waits for a server where the URL has no ``serverSelectionTimeoutMS``."""

_ClientT = TypeVar("_ClientT")

# Unauthorized, UserNotFound, AuthenticationFailed, AtlasError (how Atlas says "bad auth"):
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_CREDENTIALS_REFUSED = frozenset({11, 13, 18, 8000})


@cache
def driver_info() -> DriverInfo:
    """Return what this package adds to the driver's handshake (``client.driver``)."""
    try:
        release = version("odm-transports")
    except PackageNotFoundError:  # running from a source tree that is not installed
        release = None
    return DriverInfo("odm-transports", release)


def create_client(url: TransportURL, uri: str | None = None) -> AsyncMongoClient[dict[str, Any]]:
    """Return a client for *uri* (by default the URL's own) that has not connected yet.

    Raises:
        InvalidURL: the driver refuses the URI, or does not know an option in it.
    """
    return checked(url, lambda: AsyncMongoClient(uri or url.driver_uri, driver=driver_info()))


def checked(url: TransportURL, create: Callable[[], _ClientT]) -> _ClientT:
    """Return ``create()``, a client's construction, with the driver's refusals translated.

    The driver ignores an option that it does not know and only warns; a misspelt
    ``readPreference`` must not be ignored, so those warnings are refusals here.

    Raises:
        InvalidURL: in the driver's own words.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            client = create()
        except (InvalidURI, ConfigurationError, ValueError, TypeError) as error:
            raise InvalidURL(f"{url.redacted!r}: {redact(str(error))}") from error
    for warning in caught:
        if warning.category is UserWarning:
            raise InvalidURL(
                f"{url.redacted!r}: {redact(str(warning.message)).partition(' Refer to')[0]}"
                " Options: https://www.mongodb.com/docs/manual/reference/connection-string-options/"
            )
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return client


def refused_elsewhere(client: _ClientT, check: Callable[[], None]) -> _ClientT:
    """Return *client*, which from now on calls *check* at the begin of every operation.

    For who keeps a client or a collection beyond the event loop it belongs to. `AsyncMongoClient`
    asks for its topology first in each operation, and refuses another loop there in words of its
    own; Motor's clients ask for their loop.
    """
    adapted = getattr(client, "_motor", None)
    target, name = (client, "_get_topology") if adapted is None else (adapted, "get_io_loop")
    ask = getattr(target, name, None)
    if ask is not None:  # a driver that asks no more is left to its own words

        def checked() -> Any:
            check()
            return ask()

        setattr(target, name, checked)
    return client


async def check_deployment(client: AsyncMongoClient[dict[str, Any]], url: TransportURL) -> None:
    """Ping the deployment, waiting ``serverSelectionTimeoutMS`` if the URL gives it, else 10 s.

    Raises:
        ServerUnreachable: naming the hosts, the cause and what to check.
        AuthenticationRefused: the credentials were not accepted.
        InvalidURL: an option that only DNS or the server could refuse.
    """
    timeout_s = _open_timeout_s(client, url)
    try:
        with pymongo.timeout(timeout_s):
            await client.admin.command("ping", read_preference=client.read_preference)
    except PyMongoError as error:
        raise _explained(error, client, url, timeout_s) from error


def _open_timeout_s(client: AsyncMongoClient[dict[str, Any]], url: TransportURL) -> float:
    if "serverselectiontimeoutms=" in url.raw.lower():
        return client.options.server_selection_timeout
    return OPEN_TIMEOUT_S


def _explained(
    error: PyMongoError,
    client: AsyncMongoClient[dict[str, Any]],
    url: TransportURL,
    timeout_s: float,
) -> TransportError:
    where = f"{url.target} ({url.redacted})"
    said = redact(str(error)).partition(" (configured timeouts")[0].partition(", full error")[0]
    if isinstance(error, OperationFailure):
        if error.code in _CREDENTIALS_REFUSED:
            return AuthenticationRefused(
                f"{where} refused the credentials: {said}. Check the user, the password"
                " (percent-encoded in the URL), authSource and authMechanism."
            )
        return ServerUnreachable(f"{where} answered, but refused a ping: {said}.")
    if isinstance(error, ConfigurationError):
        if "+srv" in url.scheme and "DNS" in said:
            return ServerUnreachable(
                f"the DNS records of {where} were not found: {said} Check the cluster's name and"
                " this machine's resolver, or write mongodb:// with the servers' own names."
            )
        return InvalidURL(f"{url.redacted!r}: {said}")
    if isinstance(error, ServerSelectionTimeoutError):
        causes = _causes(client)
        return ServerUnreachable(
            f"no usable server at {where} within {timeout_s:g} s: {causes or said}."
            f" {_advice(causes)}"
        )
    if isinstance(error, ConnectionFailure):
        return ServerUnreachable(f"the connection to {where} failed: {said}. {_advice(said)}")
    return ServerUnreachable(f"{where} could not be opened: {said}.")


def _causes(client: AsyncMongoClient[dict[str, Any]]) -> str:
    """Return what each server of the deployment said last, ``"host:port: error; …"``."""
    servers = client.topology_description.server_descriptions()
    return "; ".join(
        f"{host}:{port} {_cause(description)}" if port else f"{host} {_cause(description)}"
        for (host, port), description in servers.items()
    )


def _cause(description: Any) -> str:
    if description.error is None:
        return f"is {description.server_type_name}, which cannot serve this read preference"
    text = redact(str(description.error)).partition(" (configured timeouts")[0]
    # The driver begins with the address, which stands there already.
    address = f"{description.address[0]}:{description.address[1]}: "
    return f"said: {text.removeprefix(address)}"


_ADVICE: Mapping[str, str] = {
    "Connect call failed": "Is the server running, and is the port right?",
    "refused": "Is the server running, and is the port right?",
    "No such file": "Is the server running, and does the socket's path match?",
    "not known": "Is the host's name spelt right, and can this machine resolve it?",
    "Name or service": "Is the host's name spelt right, and can this machine resolve it?",
    "replica set named": "Write the set's own name in replicaSet=, or leave the option out.",
    "SSL": "Do tls=, tlsCAFile= and the server's certificate agree?",
    "CERTIFICATE": "Do tls=, tlsCAFile= and the server's certificate agree?",
    "timed out": "Does a firewall, an IP access list or a missing private endpoint stand between?",
    "cannot serve": "Has the replica set a primary, and does readPreference= fit it?",
}


def _advice(causes: str) -> str:
    for sign, advice in _ADVICE.items():
        if sign in causes:
            return advice
    return "Check the hosts, the network between, and tls= where the server asks for it."
