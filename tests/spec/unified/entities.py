"""The named things of one test: clients, databases, collections, sessions, cursors, results.

Spec: unified test format, "Entity Map"
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

from gridfs import AsyncGridFSBucket
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.client_session_shared import TransactionOptions
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import make_read_preference
from pymongo.server_api import ServerApi
from pymongo.write_concern import WriteConcern

from tests.spec.unified.events import EventLog

Document = dict[str, Any]
_READ_MODES = ("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")


class Entities:
    """The entity map of one test; closes what it holds.

    Args:
        uri: where clients connect to, before their own options.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._values: dict[str, Any] = {}
        self._lsids: dict[str, Mapping[str, Any]] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self.logs: dict[str, EventLog] = {}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def add(self, name: str, value: Any) -> None:
        """Name a value; a name is given once."""
        if name in self._values:
            raise ValueError(f"the test names two entities {name!r}")
        self._values[name] = value

    def replace(self, name: str, value: Any) -> None:
        """Name a value, in the place of another if need be."""
        self._values[name] = value

    def lsid(self, session: str) -> Mapping[str, Any]:
        """The logical session id of a session entity, also after its end."""
        return self._lsids[session]

    def clients(self) -> Iterable[tuple[str, AsyncMongoClient[Document]]]:
        """Every client by its name."""
        for name, value in self._values.items():
            if isinstance(value, AsyncMongoClient):
                yield name, value

    async def create(self, definitions: Iterable[Mapping[str, Any]]) -> None:
        """Create the entities of a ``createEntities`` array, in its order."""
        for definition in definitions:
            ((kind, fields),) = definition.items()
            self.add(fields["id"], _CREATORS[kind](self, fields))

    def close_later(self, close: Callable[[], Awaitable[None]]) -> None:
        """Remember how to close something; the last is closed first."""
        self._closers.append(close)

    async def close(self) -> None:
        """Close everything."""
        while self._closers:
            await self._closers.pop()()

    def _client(self, fields: Mapping[str, Any]) -> AsyncMongoClient[Document]:
        observed = fields.get("observeEvents", [])
        log = EventLog(
            observed,
            fields.get("ignoreCommandMonitoringEvents", []),
            fields.get("observeSensitiveCommands", False),
        )
        self.logs[fields["id"]] = log
        # Tests of this format stop no server: one that is not found soon never will be.
        options = {"serverSelectionTimeoutMS": 5000, **fields.get("uriOptions", {})}
        if "serverApi" in fields:
            api = fields["serverApi"]
            options["server_api"] = ServerApi(
                api["version"], api.get("strict"), api.get("deprecationErrors")
            )
        if observed:
            options["event_listeners"] = [log]
        client: AsyncMongoClient[Document] = AsyncMongoClient(self._uri, **options)
        self.close_later(client.close)
        return client

    def _database(self, fields: Mapping[str, Any]) -> Any:
        client = self[fields["client"]]
        return client.get_database(
            fields["databaseName"], **common_options(fields.get("databaseOptions", {}))
        )

    def _collection(self, fields: Mapping[str, Any]) -> Any:
        database = self[fields["database"]]
        return database.get_collection(
            fields["collectionName"], **common_options(fields.get("collectionOptions", {}))
        )

    def _session(self, fields: Mapping[str, Any]) -> AsyncClientSession:
        options = fields.get("sessionOptions", {})
        keywords: dict[str, Any] = {
            name: options[camel]
            for camel, name in (
                ("causalConsistency", "causal_consistency"),
                ("snapshot", "snapshot"),
            )
            if camel in options
        }
        if "defaultTransactionOptions" in options:
            keywords["default_transaction_options"] = TransactionOptions(
                **common_options(options["defaultTransactionOptions"])
            )
        session: AsyncClientSession = self[fields["client"]].start_session(**keywords)
        self._lsids[fields["id"]] = copy.deepcopy(dict(session.session_id))
        self.close_later(session.end_session)
        return session

    def _bucket(self, fields: Mapping[str, Any]) -> AsyncGridFSBucket:
        options = fields.get("bucketOptions", {})
        keywords = common_options(
            {name: options[name] for name in ("readPreference", "writeConcern") if name in options}
        )
        return AsyncGridFSBucket(
            self[fields["database"]],
            bucket_name=options.get("bucketName", "fs"),
            chunk_size_bytes=options.get("chunkSizeBytes", 255 * 1024),
            **keywords,
        )


_CREATORS: Mapping[str, Callable[[Entities, Mapping[str, Any]], Any]] = {
    "client": Entities._client,
    "database": Entities._database,
    "collection": Entities._collection,
    "session": Entities._session,
    "bucket": Entities._bucket,
}


def common_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the driver's arguments for read and write concern, preference and commit time."""
    keywords: dict[str, Any] = {}
    for name, value in options.items():
        match name:
            case "readConcern":
                keywords["read_concern"] = ReadConcern(value.get("level"))
            case "writeConcern":
                keywords["write_concern"] = write_concern(value)
            case "readPreference":
                keywords["read_preference"] = read_preference(value)
            case "maxCommitTimeMS":
                keywords["max_commit_time_ms"] = value
            case _:
                raise ValueError(f"unknown option {name!r}")
    return keywords


def read_preference(document: Mapping[str, Any]) -> Any:
    """Return the driver's value for ``{"mode": "secondary", "tagSets": […], …}``."""
    make = cast("Callable[..., Any]", make_read_preference)
    return make(
        _READ_MODES.index(document.get("mode", "primary")),
        document.get("tagSets"),
        document.get("maxStalenessSeconds", -1),
    )


def write_concern(document: Mapping[str, Any]) -> WriteConcern:
    """Return the driver's value for ``{"w": "majority", "journal": True, "wtimeoutMS": 100}``."""
    return WriteConcern(
        w=document.get("w"), j=document.get("journal"), wtimeout=document.get("wtimeoutMS")
    )
