"""From a URL to its transport: one table, everything imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from transports.url import TransportURL, parse_url

if TYPE_CHECKING:
    from transports.base import Transport
    from transports.endpoint import Listening

_TRANSPORTS = {
    "mongodb": "transports.direct:DirectTransport",
    "mongodb+srv": "transports.direct:DirectTransport",
    "motor+mongodb": "transports.motor:MotorTransport",
    "motor+mongodb+srv": "transports.motor:MotorTransport",
    "lambda": "transports.lambda_invoke.transport:LambdaTransport",
    "fake": "transports.fake.transport:FakeTransport",
    "embedded": "transports.embedded:EmbeddedTransport",
}


# Those whose driver talks to an endpoint of ours, which may listen where it is told.
ENDPOINT_SCHEMES = ("lambda", "fake")


def open_transport(url: str | TransportURL, *, listen: str | Listening | None = None) -> Transport:
    """Return the transport that *url* names, not yet open.

    Use it as ``async with open_transport(url) as transport: …``, or ``await transport.open()``
    and, in the end, ``await transport.aclose()``.

    Args:
        url: see `transports.url`.
        listen: where the local endpoint of ``lambda://`` and ``fake://`` listens, e.g.
            ``"127.0.0.1:27018"`` or ``"/path/x.sock"``; None for a private socket. A `Listening`
            also says with what credential, what may be run there, and who watches.

    Raises:
        InvalidURL: the URL or one of its options cannot be understood.
        MissingExtra: the transport's packages are not installed.
        ValueError: *listen* was given for a transport that has no endpoint.
    """
    parsed = parse_url(url) if isinstance(url, str) else url
    if listen is not None and parsed.scheme not in ENDPOINT_SCHEMES:
        raise ValueError(
            f"{parsed.redacted!r} has no endpoint that could listen on "
            f"{(listen if isinstance(listen, str) else listen.address)!r}: "
            "drivers reach its deployment directly"
        )
    module, _, name = _TRANSPORTS[parsed.scheme].partition(":")
    options = {} if listen is None else {"listen": listen}
    transport: Transport = getattr(import_module(module), name)(parsed, **options)
    return transport
