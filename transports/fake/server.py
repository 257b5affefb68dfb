"""The fake server: its state, and the way of a command through it.

`FakeServer.run` takes a command document and returns the reply document, as a primary of a
one-member replica set would give it. Handlers run one at a time under a lock, so that one fake can
serve transports on several event loops; only waiting (`Wait`) happens outside of it.

It knows no wire bytes (`transports.fake.wire`) and no sockets.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from types import GeneratorType
from typing import Any, Final

from bson import ObjectId

from transports.endpoint.backend import Client
from transports.fake import handshake, snapshots
from transports.fake.clock import Clock, wall_clock_ms
from transports.fake.command_log import CommandLog, LoggedCommand
from transports.fake.commands import all_commands
from transports.fake.commands.registry import COMMANDS
from transports.fake.commands.unsupported import unknown_command
from transports.fake.concerns import check_concerns, write_concern_error
from transports.fake.cursors import Cursor, Cursors, fitting
from transports.fake.errors import INTERNAL_ERROR, UNAUTHORIZED, CommandFailure
from transports.fake.failpoints import FailPoints
from transports.fake.labels import labels_of
from transports.fake.operation import MAX_TIME_EXPIRED, Operation, Wait
from transports.fake.scripted import Script
from transports.fake.session_options import attach_session
from transports.fake.sessions import Sessions
from transports.fake.sizes import Measured, measure
from transports.fake.snapshots import Snapshot
from transports.fake.storage import Store
from transports.fake.ttl import TTLMonitor
from transports.fake.values import Document
from transports.fake.wire import MAX_REPLY_BYTES, encode_message, encode_reply

all_commands()

_logger = logging.getLogger(__name__)
_NOBODY: Final = Client(connection_id=0)
DEFECT: Final = "A defect of the fake, in"
"""How the message of an ``InternalError`` begins that hides an exception of Python."""
_REAP_INTERVAL_MS: Final = 1000
_EXECUTION: Final = {
    "aggregate": "PlanExecutor error during aggregation :: caused by :: ",
    "find": "Executor error during find command :: caused by :: ",
    "getMore": "Executor error during getMore :: caused by :: ",
}


class FakeServer:
    """One in-memory MongoDB.

    Args:
        version: the server version to report, e.g. ``"6.0.5"``.
        address: how it names itself in ``hello``.
        now_ms: the wall clock, for tests that want their own.
    """

    def __init__(
        self,
        *,
        version: str = handshake.DEFAULT_VERSION,
        address: str = handshake.DEFAULT_ADDRESS,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self.version = version
        self.address = address
        self.clock = Clock(now_ms)
        self.store = Store(self.clock)
        self.sessions = Sessions(self.clock.now_ms)
        self.cursors = Cursors(self.clock.now_ms)
        self.failpoints = FailPoints()
        self.script = Script()
        self.log = CommandLog()
        self.ttl = TTLMonitor(self.store)
        self.parameters: Document = {}
        self.process_id = ObjectId()
        self.started_ms = self.clock.now_ms()
        self.commands_run = 0
        self._lock = threading.RLock()
        self._generation = 0
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()

    def snapshot(self) -> Snapshot:
        """Return the data as it is now; open transactions are not in it."""
        with self._lock:
            return snapshots.take(self.store)

    def restore(self, snapshot: Snapshot) -> None:
        """Put the data back; open transactions are aborted, cursors closed."""
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"restore() takes what snapshot() returned, not {snapshot!r}")
        with self._lock:
            self.sessions.kill()
            self.cursors.close_all()
            snapshots.restore(self.store, snapshot)
        self._notify()

    def documents(self, database: str) -> dict[str, list[Document]]:
        """Return the committed documents of a database, by collection, in natural order."""
        with self._lock:
            collections = self.store.catalog.get(database, {})
            return {
                name: list(collection.records.values())
                for name, collection in sorted(collections.items())
                if not collection.is_view
            }

    async def run(self, command: Document, *, client: Client = _NOBODY) -> Document:
        """Run one command and return its reply; failures are replies with ``ok: 0.0``.

        Args:
            command: ``{"find": "things", …, "$db": "test"}``; without ``$db``, ``test``.
            client: the connection it came from.
        """
        reply, _ = await self._run(command, client, None)
        return reply

    async def run_encoded(
        self, command: Document, *, client: Client = _NOBODY, measured: Measured | None = None
    ) -> bytes:
        """Run one command and return its reply as BSON, no longer than a reply may be.

        Args:
            command: as `run` takes it.
            client: the connection it came from.
            measured: how long its message is; None to find out.

        Raises:
            ConnectionResetError: a failpoint wants the connection closed.
        """
        reply, operation = await self._run(command, client, measured)
        try:
            return self._encoded(reply, operation)
        except Exception as error:  # a value that BSON has no room for: a defect of the fake
            failure = _defect(operation, error)
            return encode_reply(self._abandoned(operation, operation.cursor, failure))

    def _encoded(self, reply: Document, operation: Operation) -> bytes:
        encoded = encode_reply(reply)
        cursor = operation.cursor
        if len(encoded) > MAX_REPLY_BYTES and cursor is not None:
            batch = next(v for v in reply["cursor"].values() if type(v) is list)
            try:
                fits = fitting(batch)
            except CommandFailure as failure:
                return encode_reply(self._abandoned(operation, cursor, failure))
            if fits < len(batch):
                cursor.put_back(batch[fits:])
                del batch[fits:]
                if not self.cursors.is_open(cursor.id):
                    self.cursors.register(cursor)
                    reply["cursor"]["id"] = cursor.id
                encoded = encode_reply(reply)
        return encoded

    async def _run(
        self, command: Document, client: Client, measured: Measured | None
    ) -> tuple[Document, Operation]:
        name = next(iter(command), "")
        if measured is None:
            measured = measure(encode_message(command))
        self.store.received.add(measured.total)
        operation = Operation(self, command, name, command.get("$db", "test"), client, measured)
        self.commands_run += 1
        self.log.add(name, operation.database, command)
        try:
            await self._apply_failpoint(operation)
            if self.script.failures:
                reply = await self._scripted(operation)
            else:
                reply = await self._interpret(operation)
        except CommandFailure as failure:
            reply = self._failed(operation, failure)
        except ConnectionResetError:  # a failpoint's
            raise
        except Exception as error:
            with self._lock:
                if operation.cursor is not None:
                    self.cursors.close(operation.cursor.id)
                self._abort_transaction(operation)
            reply = self._failed(operation, _defect(operation, error))
        else:
            if self.failpoints.active:
                self.failpoints.amend_reply(operation, reply)
        if operation.closes_connection:
            raise ConnectionResetError("a failpoint closed the connection")
        reply["$clusterTime"] = self.clock.cluster_time
        reply["operationTime"] = self.clock.operation_time
        self._notify()
        return reply, operation

    async def _apply_failpoint(self, operation: Operation) -> None:
        if not self.failpoints.active:
            return
        hit = self.failpoints.hit(operation)
        if hit is None:
            return
        if hit.block_ms:
            await asyncio.sleep(hit.block_ms / 1000)
            limit = operation.command.get("maxTimeMS")
            if limit and hit.block_ms >= limit:
                raise CommandFailure(MAX_TIME_EXPIRED, "operation exceeded time limit")
        if hit.close_connection:
            raise ConnectionResetError("a failpoint closed the connection")
        if hit.failure is not None:
            raise hit.failure

    async def _scripted(self, operation: Operation) -> Document:
        """Interpret a command that a test may have a failure in store for."""
        scripted = self.script.take(operation.name, operation.database, operation.command)
        if scripted is None:
            return await self._interpret(operation)
        if scripted.delay_ms:
            await asyncio.sleep(scripted.delay_ms / 1000)
        reply = await self._interpret(operation) if scripted.after else None
        failed = scripted.outcome(
            LoggedCommand.of(operation.name, operation.database, operation.command)
        )
        return failed or reply or await self._interpret(operation)

    async def _interpret(self, operation: Operation) -> Document:
        command = operation.command
        spec = COMMANDS.get(operation.name)
        if spec is None:
            raise unknown_command(operation.name)
        operation.name = spec.name
        with self._lock:
            if spec.admin_only and operation.database != "admin":
                raise CommandFailure(
                    UNAUTHORIZED, f"{spec.name} may only be run against the admin database."
                )
            self.ttl.run_if_due()
            if self.store.snapshots:
                self.sessions.abort_expired_transactions()
            check_concerns(spec, command, self.clock)
            spec.check(command)
            attach_session(operation, spec)
            try:
                result = spec.handler(operation)
                if type(result) is GeneratorType:
                    wait = next(result)
                else:
                    assert type(result) is dict
                    return self._finished(operation, result)
            except StopIteration as end:
                return self._finished(operation, end.value)
            except CommandFailure:
                self._abort_transaction(operation)
                raise
            seen = self._generation
        return await self._drive(operation, result, wait, seen)

    async def _drive(self, operation: Operation, handler: Any, wait: Wait, seen: int) -> Document:
        """Continue a handler that waits, each time something has changed."""
        limit = operation.command.get("maxTimeMS")
        waits_for_data = operation.name == "getMore"
        try:
            while True:
                await self._changed(wait.timeout_ms, seen)
                with self._lock:
                    seen = self._generation
                    self.sessions.abort_expired_transactions()
                    if (
                        limit
                        and not waits_for_data
                        and self.clock.now_ms() - operation.started_ms >= limit
                    ):
                        raise CommandFailure(MAX_TIME_EXPIRED, "operation exceeded time limit")
                    try:
                        wait = next(handler)
                    except StopIteration as end:
                        return self._finished(operation, end.value)
        except CommandFailure:
            self._abort_transaction(operation)
            raise
        finally:
            handler.close()

    def _finished(self, operation: Operation, reply: Document) -> Document:
        if operation.transaction is not None and "writeErrors" in reply:
            self._abort_transaction(operation)
        if "writeConcern" in operation.command:
            error = write_concern_error(operation.command["writeConcern"])
            if error is not None:
                reply["writeConcernError"] = error
        reply.setdefault("ok", 1.0)
        return reply

    def _abort_transaction(self, operation: Operation) -> None:
        if operation.transaction is not None and operation.session is not None:
            operation.session.abort()
            self._notify()

    def _failed(self, operation: Operation, failure: CommandFailure) -> Document:
        labels = labels_of(operation, failure)
        reply: Document = {"errorLabels": labels} if labels else {}
        reply["ok"] = 0.0
        reply["errmsg"] = failure.message
        reply["code"] = failure.code
        reply["codeName"] = failure.code_name
        reply.update(failure.extra)
        return reply

    def _abandoned(
        self, operation: Operation, cursor: Cursor | None, failure: CommandFailure
    ) -> Document:
        """Return the failure of a command with a result that fits into no reply."""
        with self._lock:
            if cursor is not None:
                self.cursors.close(cursor.id)
            self._abort_transaction(operation)
            failure.message = _EXECUTION.get(operation.name, "") + failure.message
            reply = self._failed(operation, failure)
        reply["$clusterTime"] = self.clock.cluster_time
        reply["operationTime"] = self.clock.operation_time
        return reply

    async def _changed(self, timeout_ms: int | None, seen: int) -> None:
        """Return when a command has finished since generation *seen*, or the time is over."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiter = (loop, future)
        with self._lock:
            if self._generation != seen:
                return  # on another thread, between the look and now
            self._waiters.add(waiter)
        limit = _REAP_INTERVAL_MS if timeout_ms is None else min(timeout_ms, _REAP_INTERVAL_MS)
        try:
            await asyncio.wait_for(future, limit / 1000)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def _notify(self) -> None:
        with self._lock:
            self._generation += 1
            if not self._waiters:
                return
            waiters, self._waiters = self._waiters, set()
        for loop, future in waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future)


def _defect(operation: Operation, error: Exception) -> CommandFailure:
    """Return the reply to a command that the fake has failed at, not the command's author."""
    _logger.error("the fake failed at %s", operation.name, exc_info=error)
    message = f"{DEFECT} {operation.name}: {type(error).__name__}: {error}"
    return CommandFailure(INTERNAL_ERROR, message)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
