"""The deployment under test: what it is, its initial data, its fail points, its outcome.

Spec: unified test format, "runOnRequirement", "initialData", "outcome"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tests.spec.unified.matcher import Mismatch, match

Document = dict[str, Any]
_MAJORITY = WriteConcern(w="majority")


class Deployment:
    """A deployment as the runner's own client sees it.

    Attributes:
        uri: where a test's clients connect.
        client: the runner's own client, for set-up and for looking at the outcome.
        version: ``(6, 0, 5)``.
        topology: ``single``, ``replicaset`` or ``sharded``.
        has_no_secondary: whether it is a replica set of one.
    """

    def __init__(
        self,
        uri: str,
        client: AsyncMongoClient[Document],
        hello: Mapping[str, Any],
        build: Mapping[str, Any],
    ) -> None:
        self.uri = uri
        self.client = client
        self.version = tuple(build["versionArray"][:3])
        if hello.get("msg") == "isdbgrid":
            self.topology = "sharded"
        else:
            self.topology = "replicaset" if "setName" in hello else "single"
        self.has_no_secondary = self.topology == "replicaset" and len(hello["hosts"]) == 1

    @classmethod
    async def of(cls, uri: str, client: AsyncMongoClient[Document]) -> Deployment:
        """Ask the server behind *client* what it is."""
        hello = await client.admin.command("hello")
        return cls(uri, client, hello, await client.server_info())

    async def unmet(self, requirements: Iterable[Mapping[str, Any]]) -> str | None:
        """Return why a ``runOnRequirements`` array is not met; None if one of its entries is."""
        reasons = [await self._unmet(requirement) for requirement in requirements]
        return None if not reasons or None in reasons else "; ".join(map(str, reasons))

    async def _unmet(self, requirement: Mapping[str, Any]) -> str | None:
        for name, value in requirement.items():
            match name:
                case "minServerVersion" if self.version < _version(value):
                    return f"needs a server from {value}"
                case "maxServerVersion" if self.version > _version(value):
                    return f"needs a server up to {value}"
                case "topologies" if self.topology not in value:
                    return f"needs one of {', '.join(value)}"
                case "serverless" if value == "require":
                    return "needs Atlas serverless"
                case "auth" if value != ("@" in self.uri):
                    return f"needs authentication {'on' if value else 'off'}"
                case "csfle" if value:
                    return "needs client-side encryption"
                case "serverParameters" if not await self._has_parameters(value):
                    return f"needs the server parameters {value}"
        return None

    async def _has_parameters(self, expected: Mapping[str, Any]) -> bool:
        try:
            actual = await self.client.admin.command(
                {"getParameter": 1, **dict.fromkeys(expected, 1)}
            )
        except OperationFailure:
            return False
        return all(actual.get(name) == value for name, value in expected.items())

    async def load(self, initial_data: Iterable[Mapping[str, Any]]) -> None:
        """Make the collections hold what ``initialData`` says and nothing else."""
        for data in initial_data:
            database = self.client.get_database(data["databaseName"], write_concern=_MAJORITY)
            collection = database[data["collectionName"]]
            options = data.get("createOptions", {})
            await collection.drop()
            if options or not data["documents"]:
                await database.create_collection(
                    data["collectionName"], check_exists=False, **options
                )
            if data["documents"]:
                await collection.insert_many(data["documents"])

    async def check_outcome(self, outcome: Iterable[Mapping[str, Any]]) -> None:
        """Compare collections with what a test leaves behind.

        Raises:
            Mismatch: one differs.
        """
        for data in outcome:
            collection = self.client[data["databaseName"]].get_collection(
                data["collectionName"], read_concern=ReadConcern("local")
            )
            actual = await collection.find(sort=[("_id", 1)]).to_list()
            name = f"outcome {collection.full_name}"
            if len(actual) != len(data["documents"]):
                raise Mismatch(f"{name}: expected {data['documents']}, got {actual}")
            for number, (wanted, got) in enumerate(zip(data["documents"], actual, strict=True)):
                match(
                    {"document": wanted}, {"document": got}, _NO_ENTITIES, path=f"{name}[{number}]"
                )

    async def end_transactions(self) -> None:
        """Abort what a test has left open, which would block the next one's set-up."""
        try:
            await self.client.admin.command("killAllSessions", [])
        except OperationFailure as error:
            # 11601: it has killed the session that it ran in itself.
            if error.code != 11601:
                raise


class _NoEntities:
    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def lsid(self, session: str) -> Mapping[str, Any]:
        raise KeyError(session)


_NO_ENTITIES = _NoEntities()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
