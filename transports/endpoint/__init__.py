"""The local MongoDB endpoint: the wire protocol towards the driver, commands towards a backend."""

from transports.endpoint.backend import Backend, Client, Deployment, Member, Request
from transports.endpoint.listeners import ListenError
from transports.endpoint.listening import Guard, Listening
from transports.endpoint.observer import FinishedCommand, Observer
from transports.endpoint.scram import Credential
from transports.endpoint.server import Endpoint, EndpointStatistics

__all__ = [
    "Backend",
    "Client",
    "Credential",
    "Deployment",
    "Endpoint",
    "EndpointStatistics",
    "FinishedCommand",
    "Guard",
    "ListenError",
    "Listening",
    "Member",
    "Observer",
    "Request",
]
