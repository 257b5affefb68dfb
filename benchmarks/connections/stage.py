"""Where a case takes place: a ``mongod`` and a local Lambda of its own, and callers.

New for each case, so that the server's counts begin at nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pymongo

from benchmarks.connections.caller import COLLECTION
from benchmarks.connections.fleet import Fleet, open_fleet
from benchmarks.connections.processes import silence
from benchmarks.connections.sampler import Sampler
from benchmarks.connections.settings import Settings
from odm.cli import proxy_function
from transports.local_lambda import LocalLambda
from transports.mongod import MongodOptions, ReplicaSet

DATABASE = "connections"
CALLERS = "callers"
"""The ``appName`` of callers, wherever the server should see one."""

_FUNCTION_TIMEOUT_S = 60.0
_IDLE_MS = 600_000
# Patient callers: two cores start hundreds of them and fifteen environments at one time.
_PATIENCE = "throttleTimeoutMS=120000&openTimeoutMS=120000"


class Stage:
    """The parts of a case; made by `open_stage`."""

    def __init__(
        self,
        settings: Settings,
        server: ReplicaSet,
        service: LocalLambda | None,
        fleet: Fleet,
        sampler: Sampler,
    ) -> None:
        self.settings = settings
        self.server = server
        self.service = service
        self.fleet = fleet
        self.sampler = sampler

    @property
    def port(self) -> int:
        """The server's."""
        return self.server.members[0].port

    @property
    def url(self) -> str:
        """How callers reach the database: directly, unless there is a service."""
        if self.service is None:
            name = self.server.options.name
            address = self.server.members[0].address
            return f"mongodb://{address}/{DATABASE}?replicaSet={name}&appName={CALLERS}"
        url = proxy_function.url(self.service.endpoint_url, DATABASE)
        return f"{url}&appName={CALLERS}&{_PATIENCE}"

    async def slow_down(self, milliseconds: int) -> None:
        """Have the server take so much longer for every query; 0 as fast as it can."""
        command: dict[str, object] = {"configureFailPoint": "failCommand", "mode": "off"}
        if milliseconds:
            block = {"blockConnection": True, "blockTimeMS": milliseconds}
            data = {"failCommands": ["find"], **block}
            command |= {"mode": "alwaysOn", "data": data}
        await asyncio.to_thread(self.sampler.run, command)

    async def deploy(self) -> None:
        """A new version of the function; the environments of the old one linger."""
        assert self.service is not None
        [function] = self.service.functions
        await self.service.update_function(function, linger_s=self.settings.linger_s)

    async def vanish_environments(self) -> set[str]:
        """End the function's environments as AWS does without an extension.

        Returns the connections that the server keeps, by their addresses.

        Raises:
            PermissionError: see `silence`.
        """
        assert self.service is not None
        left: set[str] = set()
        for environment in self.service.environments(proxy_function.NAME):
            self.service.freeze(environment.id)
            left |= silence(environment.pid, self.port)
            await self.service.kill_environment(environment.id)
        return left


@asynccontextmanager
async def open_stage(settings: Settings, way: str) -> AsyncIterator[Stage]:
    """Start everything for callers that come *way* (``direct`` or ``lambda``); stop it in the end.

    Raises:
        MissingExtra: there is no ``mongod``, or no runtime client.
        ServerUnreachable: the ``mongod`` did not start.
    """
    server = ReplicaSet(MongodOptions(test_commands=True))
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(_prepare, server.uri)
        service = None
        if way == "lambda":
            function = proxy_function.configuration(
                server.uri,
                concurrency=settings.reserved,
                timeout_s=_FUNCTION_TIMEOUT_S,
                policy=proxy_function.EVERY_DATABASE,
                environment={
                    "ODM_PROXY_MAX_POOL_SIZE": str(settings.pool),
                    # What is closed for its idleness and opened again would count as opened.
                    "ODM_PROXY_MAX_IDLE_TIME_MS": str(_IDLE_MS),
                },
            )
            service = await stack.enter_async_context(LocalLambda([function]))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="connections-"))
        sampler = stack.enter_context(Sampler(server.members[0].address))
        fleet = await stack.enter_async_context(open_fleet(Path(directory)))
        yield Stage(settings, server, service, fleet, sampler)


def _prepare(uri: str) -> None:
    with pymongo.MongoClient[dict[str, object]](uri) as client:
        client[DATABASE][COLLECTION].insert_many({"_id": number} for number in range(100))
