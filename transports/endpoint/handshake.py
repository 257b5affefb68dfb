"""The handshake: what an endpoint answers to ``hello`` and ``isMaster``, as pure functions.

The answer is the real server's own ``hello``, with the addresses of the deployment replaced by
those of the endpoint and the fields about one connection made anew. No ``topologyVersion`` is
advertised, so drivers poll and never wait for an awaitable ``hello``.

Spec: https://github.com/mongodb/specifications/blob/master/source/mongodb-handshake/handshake.md
https://github.com/mongodb/specifications/blob/master/source/server-discovery-and-monitoring/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion

from transports.endpoint.backend import Member

Reply = dict[str, Any]

HELLO_NAMES = frozenset({"hello", "isMaster", "ismaster"})
OP_QUERY_HELP = (
    "The client driver may require an upgrade. For more details see "
    "https://dochub.mongodb.org/core/legacy-opcode-removal"
)
# Metadata of old drivers may hold bytes that are not UTF-8, and no date in it matters.
CODEC_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    unicode_decode_error_handler="replace",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)

_ADDRESS_LISTS = ("hosts", "passives", "arbiters")
# About one connection, one moment, or a feature that is the endpoint's own: never passed on.
_NOT_RELAYED = frozenset(
    {
        "topologyVersion",
        "helloOk",
        "localTime",
        "connectionId",
        "compression",
        "saslSupportedMechs",
        "speculativeAuthenticate",
        "serviceId",
        "$clusterTime",
        "operationTime",
        "ok",
    }
)
_MAX_APP_NAME_BYTES = 128
_MAX_ERRMSG_CHARS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloContext:
    """What ``hello`` needs to know besides the member and the question.

    Attributes:
        addresses: member address, lower case, to the endpoint's address for it.
        connection_id: the client connection's number.
        now: the time, with its zone.
        compressors: what the endpoint can read and write.
        mechanisms: for ``saslSupportedMechs``, whichever user is asked about: who is known is
            not told to somebody who has yet to authenticate.
        cluster_time: the newest ``$clusterTime`` seen, None for none.
        operation_time: the newest ``operationTime`` seen, None for none.
    """

    addresses: Mapping[str, str]
    connection_id: int
    now: datetime
    compressors: Sequence[str] = ()
    mechanisms: Sequence[str] = ()
    cluster_time: Any = None
    operation_time: Any = None


def error_reply(code: int, code_name: str, errmsg: str, labels: Iterable[str] = ()) -> Reply:
    """Return ``{"ok": 0.0, "errmsg": …, "code": …, "codeName": …, "errorLabels"?: […]}``."""
    # Words may come from a function or a server: cut, and without halves of surrogate pairs,
    # which BSON cannot hold.
    errmsg = errmsg[:_MAX_ERRMSG_CHARS].encode("utf-8", "replace").decode()
    code_name = code_name[:_MAX_ERRMSG_CHARS].encode("utf-8", "replace").decode()
    reply: Reply = {"ok": 0.0, "errmsg": errmsg, "code": code, "codeName": code_name}
    label_list = list(labels)
    if label_list:
        reply["errorLabels"] = label_list
    return reply


def shown(value: Any) -> str:
    """Return what an error message repeats of a value that a client sent: a short text, or a type.

    A document may be nested more deeply than Python can print it.
    """
    if isinstance(value, str | int | float):
        return str(value)[:100]
    return f"of type {type(value).__name__}"


_TEXTS = frozenset({"me", "primary", "setName", "msg", "errmsg", "codeName"})
_NUMBERS = frozenset(
    {
        "ok",
        "code",
        "minWireVersion",
        "maxWireVersion",
        "maxBsonObjectSize",
        "maxMessageSizeBytes",
        "maxWriteBatchSize",
        "logicalSessionTimeoutMinutes",
    }
)
_LISTS_OF_TEXTS = frozenset({*_ADDRESS_LISTS, "errorLabels", "compression"})


def checked_hello(hello: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *hello*, or the error of a member that could not be asked if a field is no such thing.

    A server's ``hello`` has these types. What comes from elsewhere must not break drivers.
    """
    for key, value in hello.items():
        if key in _TEXTS:
            fits = isinstance(value, str)
        elif key in _NUMBERS:
            fits = isinstance(value, int | float) or (value is None and key not in ("ok", "code"))
        elif key in _LISTS_OF_TEXTS:
            fits = isinstance(value, list) and all(isinstance(text, str) for text in value)
        else:
            continue
        if not fits:
            return error_reply(17, "ProtocolError", f"its hello is malformed: {key}")
    return hello


def is_recovering(hello: Mapping[str, Any]) -> bool:
    """Whether *hello* is of a member that holds data but serves none now: it starts, or recovers.

    Drivers call it RSOther or RSGhost.
    """
    if not hello.get("ok") or not (hello.get("setName") or hello.get("isreplicaset")):
        return False
    serving = ("isWritablePrimary", "ismaster", "secondary", "arbiterOnly")
    return not any(hello.get(role) for role in serving)


def hello_reply(
    command: Mapping[str, Any], member: Member, context: HelloContext, *, name: str
) -> Reply:
    """Return the reply of *member* to *command*.

    Args:
        command: ``{"hello": 1, "helloOk"?: true, "compression"?: […], "client"?: {…}, …}``.
        member: whose ``hello`` is repeated. One that could not be asked answers with its error.
        context: addresses and what belongs to the connection.
        name: the command's name as it was sent; ``isMaster`` is answered with ``ismaster``.
    """
    hello = member.hello
    if not hello.get("ok"):
        return error_reply(
            hello.get("code", 6),
            hello.get("codeName", "HostUnreachable"),
            hello.get("errmsg", f"{member.address} could not be asked"),
            hello.get("errorLabels", ()),
        )
    reply: Reply = {"helloOk": True} if command.get("helloOk") is True else {}
    reply.update(_relayed_fields(hello, member, context.addresses, legacy=name != "hello"))
    reply["localTime"] = context.now
    reply["connectionId"] = context.connection_id
    compressors = _common_compressors(command.get("compression"), context.compressors)
    if compressors:
        reply["compression"] = compressors
    if isinstance(command.get("saslSupportedMechs"), str) and context.mechanisms:
        reply["saslSupportedMechs"] = list(context.mechanisms)
    reply["ok"] = 1.0
    if context.cluster_time is not None:
        reply["$clusterTime"] = context.cluster_time
    if context.operation_time is not None:
        reply["operationTime"] = context.operation_time
    return reply


def _relayed_fields(
    hello: Mapping[str, Any], member: Member, addresses: Mapping[str, str], *, legacy: bool
) -> Reply:
    fields: Reply = {}
    for key, value in hello.items():
        if key in _NOT_RELAYED:
            continue
        if key in ("isWritablePrimary", "ismaster"):
            fields["ismaster" if legacy else "isWritablePrimary"] = value
        elif key in _ADDRESS_LISTS:
            # A member that has no listener cannot be reached from here: it is left out.
            fields[key] = [addresses[h.lower()] for h in value if h.lower() in addresses]
        elif key == "primary":
            if value.lower() in addresses:
                fields[key] = addresses[value.lower()]
        elif key == "me":
            fields[key] = addresses.get(member.address.lower(), value)
        else:
            fields[key] = value
    return fields


def _common_compressors(asked: Any, available: Sequence[str]) -> list[str]:
    """Return what both sides can do, in the client's order of preference."""
    if not isinstance(asked, list):
        return []
    return list(dict.fromkeys(c for c in asked if isinstance(c, str) and c in available))


def check_hello(command: Mapping[str, Any], name: str) -> Reply | None:
    """Return the error reply that a server gives to a handshake it does not accept, or None."""
    api_version = command.get("apiVersion")
    if api_version is not None and api_version != "1":
        return error_reply(
            322, "APIVersionError", f"Cannot accept API version {shown(api_version)}"
        )
    if command.get("apiStrict") is True and name != "hello":
        return error_reply(
            323,
            "APIStrictError",
            f"Provided apiStrict:true, but the command {name} is not in API Version 1.",
        )
    awaits, has_version = "maxAwaitTimeMS" in command, "topologyVersion" in command
    if has_version and not awaits:
        message = "A request with a 'topologyVersion' must include 'maxAwaitTimeMS'"
        return error_reply(31368, "Location31368", message)
    if awaits and not has_version:
        message = "A request with 'maxAwaitTimeMS' must include a 'topologyVersion'"
        return error_reply(31368, "Location31368", message)
    return _check_client_metadata(command)


def _check_client_metadata(command: Mapping[str, Any]) -> Reply | None:
    if "client" not in command:
        return None
    if not isinstance(command["client"], Mapping):
        message = "The client metadata document must be a document"
        return error_reply(14, "TypeMismatch", message)
    name = app_name(command)
    if name is not None and len(name.encode()) > _MAX_APP_NAME_BYTES:
        return error_reply(
            184,
            "ClientMetadataAppNameTooLarge",
            "The 'application.name' field must be less then or equal to 128 bytes in the client "
            "metadata document",
        )
    return None


def app_name(command: Mapping[str, Any]) -> str | None:
    """Return ``client.application.name`` of a handshake, None where it has none."""
    client = command.get("client")
    application = client.get("application") if isinstance(client, Mapping) else None
    name = application.get("name") if isinstance(application, Mapping) else None
    return name if isinstance(name, str) else None


def driver_name(command: Mapping[str, Any]) -> str:
    """Return ``client.driver`` of a handshake, as in ``"PyMongo 4.13.0"``; ``""`` for none.

    What is built on a driver adds itself to both fields, after a ``|``.
    """
    client = command.get("client")
    driver = client.get("driver") if isinstance(client, Mapping) else None
    if not isinstance(driver, Mapping):
        return ""
    words = [driver.get("name"), driver.get("version")]
    return " ".join(word.partition("|")[0] for word in words if isinstance(word, str) and word)


def unsupported_query(name: str) -> Reply:
    """Return the answer to a command by OP_QUERY that is no handshake."""
    return error_reply(
        352, "UnsupportedOpQueryCommand", f"Unsupported OP_QUERY command: {name}. {OP_QUERY_HELP}"
    )


def unsupported_opcode(opcode_name: str) -> Reply:
    """Return the document of an OP_REPLY with the QueryFailure flag."""
    message = f"{opcode_name} is no longer supported. {OP_QUERY_HELP}"
    return {"$err": message, "code": 5739101, "ok": 0.0}
