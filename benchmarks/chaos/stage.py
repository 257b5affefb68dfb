"""Everything that a run can break: the servers, the Lambda service, and the network before it.

Owns starting and stopping them, and what a fault needs of them in a word or two. Whatever it breaks
it can also heal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, PyMongoError

from benchmarks.chaos.gateway import Gateway
from benchmarks.chaos.layout import DATABASE, Layout
from odm.cli import proxy_function
from transports.local_lambda import EnvironmentDescription, LocalLambda
from transports.mongod import Mongod, MongodOptions, ReplicaSet

FUNCTION = proxy_function.NAME
POOL_SIZE = 4
MONITORS = 1  # on Lambda PyMongo polls
PROXY_APP_NAME = "odm-db-proxy"
APP_NAME = "chaos-run"

_RECOVERY_S = 30.0
_ATTEMPTS = 3
_OPLOG_MB = 990  # the least that replSetResizeOplog takes; a member's own is 64
_FAILPOINTS = ("failCommand", "waitAfterCommandFinishesExecution")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOptions:
    """Attributes: members of the replica set, and the function's configuration."""

    members: int = 3
    reserved_concurrency: int = 8
    function_timeout_s: float = 5.0


class Stage:
    """The parts of a run that faults strike; made by `open_stage`."""

    def __init__(
        self, options: StageOptions, servers: ReplicaSet, service: LocalLambda, gateway: Gateway
    ) -> None:
        self.options = options
        self.servers = servers
        self.service = service
        self.gateway = gateway
        self.token = ""
        """``_data`` of the change stream token that the run begins with."""

    @property
    def url(self) -> str:
        """The callers' URL: through the gateway."""
        return proxy_function.url(f"http://127.0.0.1:{self.gateway.port}", DATABASE)

    @property
    def ceiling(self) -> int:
        """The most connections of the function that one server may ever see."""
        return self.options.reserved_concurrency * (POOL_SIZE + MONITORS)

    @contextlib.asynccontextmanager
    async def direct(self, **options: Any) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
        """Give a client that reaches the servers directly."""
        async with AsyncMongoClient[dict[str, Any]](
            self.servers.uri, appName=APP_NAME, **options
        ) as client:
            yield client

    async def prepare(self, layout: Layout) -> None:
        """Create what the workers write to, and note where the run begins."""
        for member in self.servers.members:
            await asyncio.to_thread(
                _admin, member, {"replSetResizeOplog": 1, "size": float(_OPLOG_MB)}
            )
        async with self.direct() as client:
            await layout.create(client[DATABASE])
            async with await client[DATABASE].watch() as stream:
                assert stream.resume_token is not None
                self.token = stream.resume_token["_data"]

    # --- execution environments ---

    def environments(self, *states: str) -> list[EnvironmentDescription]:
        """Return those alive, in one of *states*."""
        found = self.service.environments(FUNCTION)
        return [each for each in found if each.state in states or not states]

    async def kill_environments(self, environments: list[EnvironmentDescription]) -> int:
        """SIGKILL; returns how many were still there."""
        killed = 0
        for environment in environments:
            with contextlib.suppress(KeyError):  # it has ended meanwhile
                await self.service.kill_environment(environment.id)
                killed += 1
        return killed

    def throttle(self, concurrency: int | None = None) -> None:
        """Let so many invocations run at one time; None as many as in the beginning."""
        if concurrency is None:
            concurrency = self.options.reserved_concurrency
        self.service.put_function_concurrency(FUNCTION, concurrency)

    async def deploy(self) -> None:
        """Replace every execution environment, as a new version of the code does."""
        [function] = self.service.functions
        await self.service.update_function(function)

    # --- servers ---

    async def primary(self) -> Mongod:
        """Return the primary, after an election if need be."""
        return await asyncio.to_thread(self.servers.wait_for_primary, _RECOVERY_S)

    async def run(self, member: Mongod, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run a command on one member's ``admin``."""
        return await asyncio.to_thread(_admin, member, command)

    async def restart(self, member: Mongod) -> None:
        """Start a killed member again and wait until the set is complete."""
        await asyncio.to_thread(self.servers.restart, member)
        await self.recovered()

    async def recovered(self) -> None:
        """Wait until there is a primary and every other member follows it."""
        await asyncio.to_thread(self.servers.wait_until_complete, _RECOVERY_S)

    async def failpoint(self, name: str, mode: Any, **data: Any) -> None:
        """Set a failpoint on every member."""
        command = {"configureFailPoint": name, "mode": mode}
        for member in self.servers.members:
            await self._set(member, {**command, "data": data} if data else command)

    async def _set(self, member: Mongod, command: Mapping[str, Any]) -> None:
        """Run a command, again if need be: a member that changes its state closes connections."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                await self.run(member, command)
            except AutoReconnect:
                if not left:
                    raise
            else:
                return

    # --- the end ---

    async def heal(self) -> None:
        """Undo every fault, whatever is broken, and wait until all is well."""
        for environment in self.environments():
            with contextlib.suppress(KeyError):
                self.service.thaw(environment.id)
        self.throttle()
        await self.gateway.heal()
        for member in self.servers.members:
            member.resume()
            if member.pid is None:
                await asyncio.to_thread(self.servers.restart, member)
        for name in _FAILPOINTS:
            await self.failpoint(name, "off")
        await self.recovered()

    async def quiet(self, timeout_s: float) -> None:
        """Wait until nothing that a caller has sent is still to be run.

        Nothing new is admitted until what runs has ended; what it leaves on the servers, open
        transactions above all, is ended there.

        Raises:
            TimeoutError: it was not quiet in time.
        """
        self.gateway.reset()
        self.throttle(0)
        waiting_for: object = "invocations to end"
        try:
            async with asyncio.timeout(timeout_s), self.direct() as client:
                while self.service.statistics(FUNCTION).concurrent_executions:  # noqa: ASYNC110 - processes
                    await asyncio.sleep(0.02)
                await client.admin.command({"killAllSessions": []})
                while waiting_for := await _writes_under_way(client):  # noqa: ASYNC110 - a server's
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise TimeoutError(f"waited {timeout_s:.0f} s for {waiting_for}"[:2000]) from error
        self.throttle()


@contextlib.asynccontextmanager
async def open_stage(options: StageOptions) -> AsyncIterator[Stage]:
    """Start the servers, the service and the gateway; stop them in the end, whatever happens."""
    servers = ReplicaSet(
        MongodOptions(
            members=options.members,
            test_commands=True,
            # Of a killed caller; until then its locks are in the way of others. The default is 60.
            parameters={"transactionLifetimeLimitSeconds": "10"},
        )
    )
    try:
        await asyncio.to_thread(servers.start)
        function = proxy_function.configuration(
            servers.uri,
            concurrency=options.reserved_concurrency,
            timeout_s=options.function_timeout_s,
            environment={"ODM_PROXY_MAX_POOL_SIZE": str(POOL_SIZE)},
        )
        async with (
            LocalLambda([function]) as service,
            Gateway(int(service.endpoint_url.rpartition(":")[2])) as gateway,
        ):
            yield Stage(options, servers, service, gateway)
    finally:
        servers.stop()


def _admin(member: Mongod, command: Mapping[str, Any]) -> dict[str, Any]:
    with pymongo.MongoClient[dict[str, Any]](
        member.address,
        directConnection=True,
        appName=APP_NAME,
        serverSelectionTimeoutMS=5000,
        socketTimeoutMS=20000,
    ) as client:
        return client.admin.command(dict(command))


async def _writes_under_way(client: AsyncMongoClient[dict[str, Any]]) -> list[Any]:
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleSessions": True}},
        {
            "$match": {
                "appName": PROXY_APP_NAME,
                "$or": [
                    {"active": True, "op": {"$in": ["insert", "update", "remove", "command"]}},
                    {"type": "idleSession", "transaction": {"$exists": True}},
                ],
                # Monitoring waits in hello, for good.
                "command.hello": {"$exists": False},
                "command.isMaster": {"$exists": False},
                "command.ismaster": {"$exists": False},
            }
        },
    ]
    try:
        return await (await client.admin.aggregate(pipeline)).to_list()
    except PyMongoError as error:
        return [error]
