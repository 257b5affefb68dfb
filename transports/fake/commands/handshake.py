"""``hello``, ``ping``, ``buildInfo`` and what else a driver asks first.

Spec: https://www.mongodb.com/docs/manual/reference/command/hello/
"""

from __future__ import annotations

from transports.fake import handshake
from transports.fake.commands.registry import command
from transports.fake.operation import Operation
from transports.fake.values import Document

_HELLO_FIELDS = {
    "helloOk": "",
    "client": "object",
    "compression": "array",
    "saslSupportedMechs": "string",
    "speculativeAuthenticate": "object",
    "topologyVersion": "object",
    "maxAwaitTimeMS": "number",
    "loadBalanced": "",
    "hostInfo": "",
    "hangUpOnStepDown": "",
    "internalClient": "",
    "backpressure": "",
}


@command("hello", fields=_HELLO_FIELDS)
def run_hello(operation: Operation) -> Document:
    """Say who answers; an endpoint in front answers for itself."""
    return handshake.hello(operation.server)


@command("isMaster", "ismaster", fields=_HELLO_FIELDS, api_v1=False)
def run_is_master(operation: Operation) -> Document:
    """Say who answers, in the words of older drivers."""
    reply = handshake.hello(operation.server, legacy=True)
    if operation.command.get("helloOk"):
        reply = {"helloOk": True, **reply}
    return reply


@command("ping")
def run_ping(operation: Operation) -> Document:
    """Answer."""
    return {}


@command("buildInfo", "buildinfo", api_v1=False)
def run_build_info(operation: Operation) -> Document:
    """Tell the version."""
    return handshake.build_info(operation.server.version)


@command("connectionStatus", fields={"showPrivileges": "flag"})
def run_connection_status(operation: Operation) -> Document:
    """Tell who is logged in: nobody."""
    return {"authInfo": {"authenticatedUsers": [], "authenticatedUserRoles": []}}


@command("whatsmyuri", api_v1=False)
def run_whatsmyuri(operation: Operation) -> Document:
    """Tell the client's address."""
    return {"you": f"127.0.0.1:{operation.client.connection_id}"}


@command("logout", api_v1=False)
def run_logout(operation: Operation) -> Document:
    """Answer: nobody is logged in."""
    return {}
