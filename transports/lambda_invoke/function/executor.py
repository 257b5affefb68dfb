"""Raw command execution on PyMongo's connection pool. The only module that uses its internals.

A command travels as the bytes the caller's driver made. ``Database.command()`` would decode it and
put a session of its own into it, so the executor borrows a connection from the pool of the server
that is meant, writes the message, and returns the reply's bytes. What the pool, the monitors and
the authentication mechanisms do stays PyMongo's: this module calls, on the synchronous client,

``_get_topology()``, ``select_server_by_address()``, ``_checkout()``,
``Connection.send_message()`` / ``receive_message()`` / ``set_conn_timeout()``,
``Pool.reset_without_pause()``, ``Monitor._reset_connection()``

which have had these shapes from PyMongo 4.13 to 4.20 (both are tested).

Spec: OP_MSG
https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import count
from typing import Any

import bson
import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS
from pymongo import MongoClient, helpers_shared
from pymongo.driver_info import DriverInfo
from pymongo.errors import (
    AutoReconnect,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.server_selectors import any_server_selector, writable_server_selector
from pymongo.synchronous.topology import Topology

from transports.lambda_invoke.envelope import Ran
from transports.lambda_invoke.function.settings import ConfigurationError, FunctionSettings

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_NO_FLAGS = b"\x00\x00\x00\x00"
# Replies that change the topology are small; a large reply is never searched.
_SMALL_REPLY_BYTES = 16_384
_CODE_ELEMENT = b"\x10code\x00"
_REPLY_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict, unicode_decode_error_handler="replace"
)
_DISCOVERY_SECONDS = 1.0
_CHECK_SECONDS = 0.5  # minHeartbeatFrequencyMS: what a check that was asked for waits for
# A member that does not answer hello is given up after this, the sooner if another is primary:
# then a failover is over, and nothing is gained by waiting for the old primary.
_SILENT_SECONDS = 2.0
_STRAGGLER_SECONDS = 1.0
_JOIN_BELOW_BYTES = 65_536  # above, copying a message costs more than a second send

Address = tuple[str, int | None]


class NotCompleted(Exception):
    """A command did not get to its server, or its reply did not come back.

    Attributes:
        server: where it was to run.
        error: PyMongo's error.
        ran: ``"no"`` if nothing was sent, else ``"unknown"``.
    """

    def __init__(self, server: str, error: PyMongoError, *, ran: Ran) -> None:
        super().__init__(f"{server}: {error}")
        self.server = server
        self.error = error
        self.ran = ran


class Executor:
    """Runs raw commands on one shared `MongoClient`.

    Args:
        settings: the function's configuration.
        release: version of this distribution, reported to the server as driver metadata.

    Raises:
        ConfigurationError: the URI is none.
    """

    def __init__(self, settings: FunctionSettings, release: str) -> None:
        defaults = {
            "maxPoolSize": settings.max_pool_size,
            "maxIdleTimeMS": settings.max_idle_time_ms,
            "serverSelectionTimeoutMS": settings.server_selection_timeout_ms,
            # Also after how long without an answer a monitor gives its server up, and breaks the
            # connections on which commands wait for it.
            "connectTimeoutMS": settings.server_selection_timeout_ms,
            "appName": "odm-db-proxy",
        }
        self._client: MongoClient[dict[str, Any]] = _client(
            settings.mongodb_uri,
            connect=False,
            driver=DriverInfo("odm-transports", release),
            **_not_in_uri(defaults, settings.mongodb_uri),
        )
        self._server_selection_timeout_s = settings.server_selection_timeout_ms / 1000
        self._request_ids = count(random.randrange(2**30))  # noqa: S311 - distinct, not secret

    @property
    def client(self) -> MongoClient[dict[str, Any]]:
        """The shared client, for what the function itself stores."""
        return self._client

    @property
    def max_idle_s(self) -> float | None:
        """After how long an idle connection is closed: the URI's ``maxIdleTimeMS``, or ours."""
        return self._client.options.pool_options.max_idle_time_seconds

    def renew_connections(self) -> None:
        """Close every idle connection, the monitors' too; the next use makes a new one.

        The pools stay ready and the servers known: closing says nothing about a server.
        """
        topology: Topology | None = self._client._topology
        if topology is None:  # a mongodb+srv name that was not looked up yet
            return
        for server in list(topology._servers.values()):
            server.pool.reset_without_pause()
            server._monitor._reset_connection()

    def connect(self) -> None:
        """Make a connection to the server that takes writes, for the first command to find.

        Raises:
            NotCompleted: it was not reached, or does not take the function's credentials.
        """
        limit = self._server_selection_timeout_s
        try:
            topology = self._client._get_topology()
            server = topology.select_server(writable_server_selector, "hello", limit)
        except PyMongoError as error:
            raise NotCompleted("any member", error, ran="no") from error
        message = _NO_FLAGS + b"\x00" + bson.encode({"hello": 1, "$db": "admin"})
        self.run(format_address(server.description.address), message, timeout_s=limit)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def run(
        self,
        server: str,
        message: bytes | bytearray,
        *,
        acknowledged: bool = True,
        timeout_s: float,
    ) -> bytes:
        """Send *message* to *server* and return the reply's document.

        Args:
            server: ``"host:port"`` of a member of the deployment.
            message: an OP_MSG after its header: flags and sections.
            acknowledged: False drops the reply. It is waited for all the same: whoever sent
                the write may count on its effect in what is sent next, and that may go over
                another connection of another execution environment.
            timeout_s: seconds after which the connection is given up, and with it the operation.

        Returns:
            The BSON document of the reply's section 0; ``b""`` if unacknowledged.

        Raises:
            NotCompleted: the server was not reached, or did not answer.
        """
        [answer] = self.run_many(server, [message], timeout_s=timeout_s)
        if isinstance(answer, NotCompleted):
            raise answer
        return answer if acknowledged else b""

    def run_many(
        self, server: str, messages: Sequence[bytes | bytearray], *, timeout_s: float
    ) -> list[bytes | NotCompleted]:
        """Send *messages* to *server* over one connection and return its answers.

        They are sent together; the server runs one when it has answered the one before.

        Args:
            server: ``"host:port"`` of a member of the deployment.
            messages: each an OP_MSG after its header: flags and sections.
            timeout_s: seconds after which the connection is given up, and with it what runs.

        Returns:
            For each the BSON document of the reply's section 0, or why there is none.
        """
        deadline = time.monotonic() + timeout_s
        limit = min(self._server_selection_timeout_s, timeout_s)
        ids = [next(self._request_ids) % 2**31 for _ in messages]
        sent = False
        received: list[bytes] = []
        try:
            target = self._select(parse_address(server), limit)
            with ExitStack() as stack:
                # Without it PyMongo waits for a pool's turn and for the reply to a handshake for
                # as long as it takes: for ever, where a server has been stopped.
                with pymongo.timeout(limit):
                    # It tells PyMongo's server monitoring about errors raised inside.
                    connection = stack.enter_context(self._client._checkout(target, None))
                connection.set_conn_timeout(max(deadline - time.monotonic(), 0.001))
                sent = len(messages) > 1  # of several, some may be whole before the last is
                for piece in frames(messages, ids):
                    connection.send_message(piece, 0)  # type: ignore[arg-type]  # a view, or bytes
                sent = True  # what raised before this was not whole, and no server runs a part
                for request_id in ids:
                    answer = connection.receive_message(request_id)
                    received.append(bytes(answer.raw_command_response()))
                for reply in received:
                    _raise_state_change(reply, connection.max_wire_version)
        except PyMongoError as error:
            # A reply that changes the topology: monitoring has learnt of it, the caller gets it.
            ran: Ran = "unknown" if sent else "no"
            failed = NotCompleted(server, error if sent else _not_reached(error), ran=ran)
            failed.__cause__ = error
            return [*received, *[failed] * (len(messages) - len(received))]
        return list(received)

    def _select(self, address: Address, timeout_s: float) -> Any:
        """Return PyMongo's server at *address*, once it is known to answer.

        The caller's driver has chosen it and waits with others for a better one, so a server that
        does not answer is not waited for: one check that began after this call decides. Nor is
        one that no member has named after `_DISCOVERY_SECONDS`.
        """
        started = time.monotonic()
        topology = self._client._get_topology()
        failed = _failure_of(topology, address)
        while True:
            description = topology.description.server_descriptions().get(address)
            unheard_of = description is None and topology.description.known_servers
            limit = min(timeout_s, _DISCOVERY_SECONDS) if unheard_of else timeout_s
            remaining = max(started + limit - time.monotonic(), 0)
            if description is not None and description.is_server_type_known:
                # PyMongo's annotation says int; it adds the value to a clock.
                return topology.select_server_by_address(address, "command", remaining)  # type: ignore[arg-type]
            failure = _failure_of(topology, address)
            if remaining <= 0 or (failure is not None and failure is not failed):
                raise ServerSelectionTimeoutError(
                    f"{format_address(address)} is not reachable: {failure or 'not discovered'}"
                )
            topology.request_check_all(min(remaining, _CHECK_SECONDS))  # type: ignore[arg-type]  # seconds, as above

    def describe(self, *, timeout_s: float) -> tuple[tuple[str, bytes], ...]:
        """Return every member as ``(address, BSON of its reply to hello)``.

        A member that does not answer has ``{"ok": 0.0, "errmsg": …, "code": 6}`` in its place.

        Raises:
            NotCompleted: no member can be reached, or none takes the function's credentials.
        """
        limit = min(self._server_selection_timeout_s, timeout_s)
        try:
            topology = self._client._get_topology()
            topology.select_servers(any_server_selector, "hello", limit)
        except PyMongoError as error:
            raise NotCompleted("any member", error, ran="no") from error
        self._await_discovery(min(_DISCOVERY_SECONDS, limit))
        descriptions = topology.description.server_descriptions()
        members = {
            format_address(address): _unreachable(description.error)
            for address, description in sorted(descriptions.items(), key=lambda i: str(i[0]))
        }
        known = [a for a, d in descriptions.items() if d.is_server_type_known]
        members.update(self._hellos([format_address(address) for address in known], limit))
        return tuple(members.items())

    def _hellos(self, members: Sequence[str], limit_s: float) -> dict[str, bytes]:
        """Ask *members* for their ``hello``, all at once: one that is silent delays nothing long.

        Returns:
            The reply of each that answered, and an error in its words of each that failed. One
            that is silent is waited for longer while no other says that it takes writes.
        """
        if len(members) == 1:
            return {members[0]: self._hello(members[0], limit_s)}
        limit_s = min(limit_s, _SILENT_SECONDS)
        threads = ThreadPoolExecutor(len(members), "odm-hello")
        asked = {threads.submit(self._hello, member, limit_s): member for member in members}
        hellos = {}
        started = time.monotonic()
        waiting = set(asked)
        while waiting and (left := started + limit_s - time.monotonic()) > 0:
            done, waiting = wait(waiting, left, FIRST_COMPLETED)
            hellos.update({asked[future]: _answer(future) for future in done})
            if any(map(_takes_writes, hellos.values())):
                limit_s = min(limit_s, _STRAGGLER_SECONDS)
        threads.shutdown(wait=False)
        refused = [future for future in asked if future.done() and future.exception()]
        if len(refused) == len(asked):
            refused[0].result()  # raises
        silent = NetworkTimeout(f"no answer to hello within {limit_s:g} s")
        return hellos | {asked[future]: _unreachable(silent) for future in waiting}

    def _hello(self, member: str, limit_s: float) -> bytes:
        message = _NO_FLAGS + b"\x00" + bson.encode({"hello": 1, "$db": "admin"})
        try:
            return self.run(member, message, timeout_s=limit_s)
        except NotCompleted as error:
            if isinstance(error.error, OperationFailure):  # it is there, and lets nobody in
                raise
            return _unreachable(error.error)

    def _await_discovery(self, seconds: float) -> None:
        """Give the monitors a moment to meet the members that the first one named."""
        topology = self._client._get_topology()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            descriptions = topology.description.server_descriptions().values()
            if all(d.is_server_type_known or d.error is not None for d in descriptions):
                return
            time.sleep(0.005)

    def cancel(self, server: str, lsid: bytes, started_ms: int, *, timeout_s: float) -> int:
        """End what the session *lsid* has been running on *server* since before *started_ms*.

        Returns:
            How many operations were told to stop.
        """
        session = bson.decode(lsid, DEFAULT_RAW_BSON_OPTIONS)
        now_ms = time.time() * 1000
        running_us = max(0, int((now_ms - started_ms) * 1000))
        pipeline = [
            {"$currentOp": {"idleConnections": False}},
            {"$match": {"lsid.id": session["id"], "microsecs_running": {"$gte": running_us}}},
            {"$project": {"opid": 1}},
        ]
        found = self._admin(server, {"aggregate": 1, "pipeline": pipeline, "cursor": {}}, timeout_s)
        operations = found.get("cursor", {}).get("firstBatch", [])
        for operation in operations:
            self._admin(server, {"killOp": 1, "op": operation["opid"]}, timeout_s)
        return len(operations)

    def _admin(self, server: str, command: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        message = _NO_FLAGS + b"\x00" + bson.encode({**command, "$db": "admin"})
        return bson.decode(self.run(server, message, timeout_s=timeout_s), _REPLY_OPTIONS)


def frames(
    messages: Sequence[bytes | bytearray], ids: Sequence[int]
) -> Iterator[bytes | memoryview]:
    """Yield *messages* as OP_MSGs with headers and without flags: one message, one reply.

    In as few pieces as can be without copying a long message.
    """
    short: list[bytes | memoryview] = []
    for message, request_id in zip(messages, ids, strict=True):
        short.append(_HEADER.pack(len(message) + 16, request_id, 0, _OP_MSG) + _NO_FLAGS)
        body = memoryview(message)[4:]
        if len(message) <= _JOIN_BELOW_BYTES:
            short.append(body)
        else:
            yield b"".join(short)
            yield body
            short.clear()
    if short:
        yield b"".join(short)


def parse_address(server: str) -> Address:
    """Return ``("host", 27017)`` for ``"host:27017"``, ``("/path.sock", None)`` for a socket."""
    host, separator, port = server.rpartition(":")
    if not separator or not port.isdecimal():
        return server, None
    return host.removeprefix("[").removesuffix("]"), int(port)


def format_address(address: Address) -> str:
    """Return the text that `parse_address` reads."""
    host, port = address
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _client(uri: str, **options: Any) -> MongoClient[dict[str, Any]]:
    """Return the client, or an error that repeats nothing of the URI.

    It ends the initialisation, so the log and every caller get its words. PyMongo's quote what it
    takes for a database's name or a host: of a password with "/" or "@", unescaped, a half.
    """
    try:
        return MongoClient(uri, **options)
    except (PyMongoError, ValueError, TypeError, OSError) as error:
        words = "" if "@" in str(error) else f": {error}"
        raise ConfigurationError(
            f"PyMongo does not take ODM_PROXY_MONGODB_URI ({type(error).__name__}{words}): "
            "escape the user name and password in it with urllib.parse.quote_plus"
        ) from None


def _not_in_uri(options: Mapping[str, Any], uri: str) -> dict[str, Any]:
    given = {pair.partition("=")[0].lower() for pair in uri.partition("?")[2].split("&")}
    return {name: value for name, value in options.items() if name.lower() not in given}


def _raise_state_change(reply: bytes, max_wire_version: int) -> None:
    """Raise `NotPrimaryError` for a reply that says so, for PyMongo's monitoring to hear it."""
    if len(reply) > _SMALL_REPLY_BYTES or _CODE_ELEMENT not in reply:
        return
    try:
        helpers_shared._check_command_response(bson.decode(reply, _REPLY_OPTIONS), max_wire_version)
    except NotPrimaryError:
        raise
    except (OperationFailure, bson.errors.InvalidBSON):
        return


def _not_reached(error: PyMongoError) -> PyMongoError:
    """Return *error*; of a time-out before anything was sent, that the server is not there."""
    if isinstance(error, NetworkTimeout | ExecutionTimeout):
        return AutoReconnect(str(error))
    return error


def _failure_of(topology: Any, address: Address) -> Exception | None:
    """Return why the last check of *address* failed: the same object until the next check."""
    description = topology.description.server_descriptions().get(address)
    failure: Exception | None = description.error if description is not None else None
    return failure


def _takes_writes(hello: bytes) -> bool:
    return bson.decode(hello, _REPLY_OPTIONS).get("isWritablePrimary") is True


def _answer(asked: Future[bytes]) -> bytes:
    refusal = asked.exception()
    return asked.result() if refusal is None else _unreachable(refusal)


def _unreachable(error: BaseException | None) -> bytes:
    reason = str(error) if error is not None else "not yet discovered"
    return bson.encode({"ok": 0.0, "errmsg": reason, "code": 6, "codeName": "HostUnreachable"})
