"""What whoever opens an endpoint may decide: where it listens, for whom, and who watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from transports.endpoint.backend import Request
from transports.endpoint.observer import Observer
from transports.endpoint.scram import Credential


class Guard(Protocol):
    """Refuses commands before they are carried anywhere."""

    def refuse(self, request: Request) -> bytes | None:
        """Return the error reply that *request* gets, None to let it pass. It returns at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """What an `Endpoint` is told of its clients' side.

    Attributes:
        address: ``"127.0.0.1:27018"`` or ``"/path/x.sock"``; None for private sockets.
        credential: what clients authenticate with; None leaves it to the endpoint.
        guard: refuses commands; None for none.
        observer: told of clients and commands; None for nobody.
        deployment_max_age_s: see `Endpoint`.
    """

    address: str | None = None
    credential: Credential | None = None
    guard: Guard | None = None
    observer: Observer | None = None
    deployment_max_age_s: float | None = None

    @classmethod
    def of(cls, listen: str | Listening | None) -> Listening:
        """Return *listen* itself, or the one that has it for its address."""
        return listen if isinstance(listen, Listening) else cls(address=listen)
