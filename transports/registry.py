"""From a URL to its transport: one table, everything imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from transports.url import TransportURL, parse_url

if TYPE_CHECKING:
    from transports.base import Transport

_TRANSPORTS = {
    "mongodb": "transports.direct:DirectTransport",
    "mongodb+srv": "transports.direct:DirectTransport",
    "motor+mongodb": "transports.motor:MotorTransport",
    "motor+mongodb+srv": "transports.motor:MotorTransport",
    "lambda": "transports.lambda_invoke.transport:LambdaTransport",
    "fake": "transports.fake.transport:FakeTransport",
    "embedded": "transports.embedded:EmbeddedTransport",
}


def open_transport(url: str | TransportURL) -> Transport:
    """Return the transport that *url* names, not yet open.

    Use it as ``async with open_transport(url) as transport: …``, or ``await transport.open()``
    and, in the end, ``await transport.aclose()``.

    Raises:
        InvalidURL: the URL or one of its options cannot be understood.
        MissingExtra: the transport's packages are not installed.
    """
    parsed = parse_url(url) if isinstance(url, str) else url
    module, _, name = _TRANSPORTS[parsed.scheme].partition(":")
    transport: Transport = getattr(import_module(module), name)(parsed)
    return transport
