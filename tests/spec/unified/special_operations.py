"""The operations on ``testRunner``: fail points, assertions, threads, waiting, loops.

Spec: unified test format, "Special Test Operations"
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pymongo import AsyncMongoClient

from tests.spec.unified.deployment import Deployment, Document
from tests.spec.unified.entities import Entities
from tests.spec.unified.matcher import Mismatch
from tests.spec.unified.operations import Unsupported

Perform = Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]]


_WRITES = ("insert", "update", "delete", "findAndModify")
# This fail point closes the connection first and fails the write then. The driver hears of it at
# once; without the fail point the rest of the write would succeed.
_CLOSES_BEFORE_IT_FAILS = "onPrimaryTransactionalWrite"


async def _until_writes_have_ended(client: AsyncMongoClient[Document]) -> None:
    writing = {"$or": [{f"command.{name}": {"$exists": True}} for name in _WRITES]}
    pipeline: list[Document] = [
        {"$currentOp": {"idleSessions": False}},
        {"$match": {"active": True, **writing}},
    ]
    async with asyncio.timeout(10):
        while await (await client.admin.aggregate(pipeline)).to_list():  # noqa: ASYNC110 - polling
            await asyncio.sleep(0.01)


class TestRunner:
    """The ``testRunner`` of one test."""

    __test__ = False  # not a class of tests

    def __init__(self, deployment: Deployment, entities: Entities, perform: Perform) -> None:
        self._deployment = deployment
        self._entities = entities
        self._perform = perform
        self._fail_points: list[tuple[AsyncMongoClient[Document], str]] = []
        self._threads: dict[str, _Thread] = {}

    async def perform(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Run one special operation.

        Raises:
            Mismatch: an assertion does not hold.
            Unsupported: this runner has no such operation.
        """
        operation = _OPERATIONS.get(name)
        if operation is None:
            raise Unsupported(f"this runner has no operation {name!r}")
        await operation(self, arguments)

    async def clean_up(self) -> None:
        """Turn fail points off and end threads, whatever became of the test."""
        for thread in self._threads.values():
            await thread.stop()
        for client, name in self._fail_points:
            if name == _CLOSES_BEFORE_IT_FAILS:
                await _until_writes_have_ended(client)
            await client.admin.command({"configureFailPoint": name, "mode": "off"})
            if client is not self._deployment.client:
                await client.close()

    async def join_threads(self) -> None:
        """Wait for the threads that no operation has waited for."""
        for name in list(self._threads):
            await self._wait_for_thread({"thread": name})

    async def _create_entities(self, arguments: Mapping[str, Any]) -> None:
        await self._entities.create(arguments["entities"])

    async def _fail_point(self, arguments: Mapping[str, Any]) -> None:
        fail_point = dict(arguments["failPoint"])
        self._fail_points.append((self._deployment.client, fail_point["configureFailPoint"]))
        await self._entities[arguments["client"]].admin.command(fail_point)

    async def _targeted_fail_point(self, arguments: Mapping[str, Any]) -> None:
        session = self._entities[arguments["session"]]
        if session._pinned_address is None:
            raise Mismatch(f"{arguments['session']} is not pinned to a mongos")
        host, port = session._pinned_address
        client: AsyncMongoClient[Document] = AsyncMongoClient(host, port, directConnection=True)
        fail_point = dict(arguments["failPoint"])
        self._fail_points.append((client, fail_point["configureFailPoint"]))
        await client.admin.command(fail_point)

    async def _assert_session_pinned(self, arguments: Mapping[str, Any]) -> None:
        if self._entities[arguments["session"]]._pinned_address is None:
            raise Mismatch(f"{arguments['session']} is not pinned")

    async def _assert_session_unpinned(self, arguments: Mapping[str, Any]) -> None:
        address = self._entities[arguments["session"]]._pinned_address
        if address is not None:
            raise Mismatch(f"{arguments['session']} is pinned to {address}")

    async def _assert_session_dirty(self, arguments: Mapping[str, Any]) -> None:
        if not self._entities[arguments["session"]]._server_session.dirty:
            raise Mismatch(f"{arguments['session']} is not dirty")

    async def _assert_session_not_dirty(self, arguments: Mapping[str, Any]) -> None:
        if self._entities[arguments["session"]]._server_session.dirty:
            raise Mismatch(f"{arguments['session']} is dirty")

    async def _assert_session_transaction_state(self, arguments: Mapping[str, Any]) -> None:
        state = _TRANSACTION_STATES[self._entities[arguments["session"]]._transaction.state]
        if state != arguments["state"]:
            raise Mismatch(f"expected the transaction {arguments['state']}, it is {state}")

    async def _assert_same_lsid(self, arguments: Mapping[str, Any]) -> None:
        first, second = self._last_lsids(arguments["client"])
        if first != second:
            raise Mismatch(f"the last two commands have the sessions {first} and {second}")

    async def _assert_different_lsid(self, arguments: Mapping[str, Any]) -> None:
        first, second = self._last_lsids(arguments["client"])
        if first == second:
            raise Mismatch(f"the last two commands have the same session {first}")

    def _last_lsids(self, client: str) -> tuple[Any, Any]:
        commands = self._entities.logs[client].started_commands()
        if len(commands) < 2:
            raise Mismatch(f"{client} has sent {len(commands)} commands, not two")
        return commands[-2]["lsid"], commands[-1]["lsid"]

    async def _assert_collection_exists(self, arguments: Mapping[str, Any]) -> None:
        if not await self._collection_exists(arguments):
            raise Mismatch(f"{arguments['collectionName']} does not exist")

    async def _assert_collection_not_exists(self, arguments: Mapping[str, Any]) -> None:
        if await self._collection_exists(arguments):
            raise Mismatch(f"{arguments['collectionName']} exists")

    async def _collection_exists(self, arguments: Mapping[str, Any]) -> bool:
        database = self._deployment.client[arguments["databaseName"]]
        return arguments["collectionName"] in await database.list_collection_names()

    async def _assert_index_exists(self, arguments: Mapping[str, Any]) -> None:
        if not await self._index_exists(arguments):
            raise Mismatch(f"the index {arguments['indexName']} does not exist")

    async def _assert_index_not_exists(self, arguments: Mapping[str, Any]) -> None:
        if await self._index_exists(arguments):
            raise Mismatch(f"the index {arguments['indexName']} exists")

    async def _index_exists(self, arguments: Mapping[str, Any]) -> bool:
        database = self._deployment.client[arguments["databaseName"]]
        indexes = await database[arguments["collectionName"]].index_information()
        return arguments["indexName"] in indexes

    async def _assert_connections_checked_out(self, arguments: Mapping[str, Any]) -> None:
        client = self._entities[arguments["client"]]
        servers = client._topology._servers.values()
        count = sum(server.pool.active_sockets for server in servers)
        if count != arguments["connections"]:
            raise Mismatch(f"{count} connections are checked out, not {arguments['connections']}")

    async def _assert_event_count(self, arguments: Mapping[str, Any]) -> None:
        log = self._entities.logs[arguments["client"]]
        count = log.count(arguments["event"], self._entities)
        if count != arguments["count"]:
            raise Mismatch(f"{count} events match {arguments['event']}, not {arguments['count']}")

    async def _wait_for_event(self, arguments: Mapping[str, Any]) -> None:
        log = self._entities.logs[arguments["client"]]
        await log.wait_for(arguments["event"], arguments["count"], self._entities)

    async def _wait(self, arguments: Mapping[str, Any]) -> None:
        await asyncio.sleep(arguments["ms"] / 1000)

    async def _start_thread(self, arguments: Mapping[str, Any]) -> None:
        self._threads[arguments["thread"]] = _Thread(self._perform)

    async def _run_on_thread(self, arguments: Mapping[str, Any]) -> None:
        self._threads[arguments["thread"]].put(arguments["operation"])

    async def _wait_for_thread(self, arguments: Mapping[str, Any]) -> None:
        await self._threads.pop(arguments["thread"]).join()

    async def _loop(self, arguments: Mapping[str, Any]) -> None:
        """Repeat operations; ends with the first failure that is not to be stored."""
        iterations = successes = 0
        failures: list[Document] = []
        stored = next((arguments[name] for name in _STORE_FAILURES if name in arguments), None)
        while not failures:
            iterations += 1
            try:
                await self._perform(arguments["operations"])
            except (Exception, Mismatch) as error:
                if stored is None:
                    raise
                failures.append({"error": str(error)})
            else:
                successes += len(arguments["operations"])
        for name, value in (
            ("storeIterationsAsEntity", iterations),
            ("storeSuccessesAsEntity", successes),
        ):
            if name in arguments:
                self._entities.replace(arguments[name], value)
        self._entities.replace(str(stored), failures)


# pymongo.client_session_shared._TxnState, in the tests' words.
_TRANSACTION_STATES = {
    1: "none",
    2: "starting",
    3: "in_progress",
    4: "committed",
    5: "committed",
    6: "aborted",
}
_STORE_FAILURES = ("storeFailuresAsEntity", "storeErrorsAsEntity")


class _Thread:
    """A "thread" of a test: its operations run in order, beside the test's own."""

    def __init__(self, perform: Perform) -> None:
        self._queue: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(perform))

    def put(self, operation: Mapping[str, Any]) -> None:
        self._queue.put_nowait(operation)

    async def join(self) -> None:
        """Wait, at most 10 s, until it has done everything; raises what it raised."""
        self._queue.put_nowait(None)
        await asyncio.wait_for(self._task, 10)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self, perform: Perform) -> None:
        while (operation := await self._queue.get()) is not None:
            await perform([operation])


_OPERATIONS: Mapping[str, Callable[[TestRunner, Mapping[str, Any]], Awaitable[None]]] = {
    "createEntities": TestRunner._create_entities,
    "failPoint": TestRunner._fail_point,
    "targetedFailPoint": TestRunner._targeted_fail_point,
    "assertSessionPinned": TestRunner._assert_session_pinned,
    "assertSessionUnpinned": TestRunner._assert_session_unpinned,
    "assertSessionDirty": TestRunner._assert_session_dirty,
    "assertSessionNotDirty": TestRunner._assert_session_not_dirty,
    "assertSessionTransactionState": TestRunner._assert_session_transaction_state,
    "assertSameLsidOnLastTwoCommands": TestRunner._assert_same_lsid,
    "assertDifferentLsidOnLastTwoCommands": TestRunner._assert_different_lsid,
    "assertCollectionExists": TestRunner._assert_collection_exists,
    "assertCollectionNotExists": TestRunner._assert_collection_not_exists,
    "assertIndexExists": TestRunner._assert_index_exists,
    "assertIndexNotExists": TestRunner._assert_index_not_exists,
    "assertNumberConnectionsCheckedOut": TestRunner._assert_connections_checked_out,
    "assertEventCount": TestRunner._assert_event_count,
    "waitForEvent": TestRunner._wait_for_event,
    "wait": TestRunner._wait,
    "thread": TestRunner._start_thread,
    "runOnThread": TestRunner._run_on_thread,
    "waitForThread": TestRunner._wait_for_thread,
    "loop": TestRunner._loop,
}
