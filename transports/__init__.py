"""How commands reach MongoDB: pick a transport by its URL, get PyMongo's asynchronous client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transports.errors import (
    AuthenticationRefused,
    CarriageError,
    InvalidURL,
    MissingExtra,
    ServerUnreachable,
    TransportClosed,
    TransportError,
)
from transports.url import TransportURL, parse_url

if TYPE_CHECKING:
    from transports.base import Transport, TransportStatistics
    from transports.registry import open_transport

__all__ = [
    "AuthenticationRefused",
    "CarriageError",
    "InvalidURL",
    "MissingExtra",
    "ServerUnreachable",
    "Transport",
    "TransportClosed",
    "TransportError",
    "TransportStatistics",
    "TransportURL",
    "open_transport",
    "parse_url",
]

# The function's bundle imports this package too: the driver's client is loaded on first use.
_LAZY = {
    "Transport": "transports.base",
    "TransportStatistics": "transports.base",
    "open_transport": "transports.registry",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
