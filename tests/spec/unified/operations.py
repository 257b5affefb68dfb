"""What a test does to the entities: one table of operations for each kind.

An operation that is not in a table is the driver's method of the same name in snake case; one that
the driver has not at all is `Unsupported`, and its test is skipped.

Spec: unified test format, "Entity-specific Operations"
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pymongo
from gridfs import AsyncGridFSBucket
from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase

from tests.spec.unified.arguments import keywords, search_index_model, snake_case
from tests.spec.unified.entities import Entities, common_options, read_preference
from tests.spec.unified.results import as_document


class PrefetchedCursor:
    """A find's cursor whose command has run; the driver's own waits for the first document."""

    def __init__(self, cursor: AsyncCursor[Any]) -> None:
        self._cursor = cursor
        self._first: list[Any] = []

    async def prefetch(self) -> None:
        with contextlib.suppress(StopAsyncIteration):
            self._first.append(await self._cursor.next())

    async def next(self) -> Any:
        return self._first.pop() if self._first else await self._cursor.next()

    async def close(self) -> None:
        await self._cursor.close()


Arguments = dict[str, Any]
Operation = Callable[[Any, Arguments, Entities], Awaitable[Any]]
_TABLES: dict[type, dict[str, Operation]] = {
    AsyncMongoClient: {},
    AsyncDatabase: {},
    AsyncCollection: {},
    AsyncClientSession: {},
    AsyncGridFSBucket: {},
    AsyncChangeStream: {},
    PrefetchedCursor: {},
    AsyncCommandCursor: {},
}
# Deprecated before the asynchronous driver began, or another driver's convenience.
_ABSENT = {
    "count": "PyMongo has count_documents() and estimated_document_count() only",
    "mapReduce": "PyMongo has no map_reduce()",
    "listCollectionObjects": "PyMongo has no enumeration of collection objects",
    "listDatabaseObjects": "PyMongo has no enumeration of database objects",
    "listIndexNames": "PyMongo has no list_index_names()",
}


class Unsupported(Exception):
    """The driver has no such operation."""


async def perform(target: Any, name: str, arguments: Mapping[str, Any], entities: Entities) -> Any:
    """Run one operation on an entity and return its result in the tests' terms.

    Raises:
        Unsupported: the driver has no such operation.
        Exception: whatever the driver raises.
    """
    remaining = dict(arguments)
    async with _timeout(target, name, remaining):
        for kind, table in _TABLES.items():
            if isinstance(target, kind):
                operation = table.get(name) or _method(name)
                return as_document(await operation(target, remaining, entities))
    raise TypeError(f"no operations on {target!r}")


@contextlib.asynccontextmanager
async def _timeout(target: Any, name: str, arguments: Arguments) -> AsyncIterator[None]:
    timeout_ms = arguments.pop("timeoutMS", None)
    if timeout_ms is None:
        yield
        return
    with pymongo.timeout(timeout_ms / 1000):
        yield


def operation(*kinds: type, name: str | None = None) -> Callable[[Operation], Operation]:
    """Enter a function into the tables of *kinds*, under its own name in camel case."""

    def register(function: Operation) -> Operation:
        for kind in kinds:
            _TABLES[kind][name or _camel_case(function.__name__)] = function
        return function

    return register


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _method(name: str) -> Operation:
    async def call(target: Any, arguments: Arguments, entities: Entities) -> Any:
        method_name = snake_case(name)
        if name in _ABSENT or not hasattr(type(target), method_name):
            raise Unsupported(_ABSENT.get(name, f"{type(target).__name__} has no {method_name}()"))
        method = getattr(target, method_name)
        return await method(**keywords(method, arguments, entities))

    return call


def _kept(cursor: Any, entities: Entities) -> Any:
    entities.close_later(cursor.close)
    return cursor


# Clients, databases, collections


@operation(AsyncMongoClient)
async def list_databases(client: Any, arguments: Arguments, entities: Entities) -> Any:
    method = client.list_databases
    return await (await method(**keywords(method, arguments, entities))).to_list()


@operation(AsyncMongoClient, name="clientBulkWrite")
async def client_bulk_write(client: Any, arguments: Arguments, entities: Entities) -> Any:
    return await client.bulk_write(**keywords(client.bulk_write, arguments, entities))


@operation(AsyncMongoClient, AsyncDatabase, AsyncCollection)
async def create_change_stream(target: Any, arguments: Arguments, entities: Entities) -> Any:
    stream = await target.watch(**keywords(target.watch, arguments, entities))
    return _kept(stream, entities)


@operation(AsyncDatabase, AsyncCollection)
async def aggregate(target: Any, arguments: Arguments, entities: Entities) -> Any:
    cursor = await target.aggregate(**keywords(target.aggregate, arguments, entities))
    return await cursor.to_list()


@operation(AsyncDatabase)
async def run_command(database: Any, arguments: Arguments, entities: Entities) -> Any:
    options = _command_options(arguments, entities)
    return await database.command(_command(arguments), **options)


@operation(AsyncDatabase)
async def create_command_cursor(database: Any, arguments: Arguments, entities: Entities) -> Any:
    options = _command_options(arguments, entities)
    if "maxTimeMS" in arguments:
        options["max_await_time_ms"] = arguments["maxTimeMS"]
    if "comment" in arguments:
        options["comment"] = arguments["comment"]
    cursor = await database.cursor_command(_command(arguments), **options)
    if "batchSize" in arguments:
        cursor.batch_size(arguments["batchSize"])
    return _kept(cursor, entities)


@operation(AsyncDatabase)
async def run_cursor_command(database: Any, arguments: Arguments, entities: Entities) -> Any:
    return await (await create_command_cursor(database, arguments, entities)).to_list()


def _command(arguments: Arguments) -> dict[str, Any]:
    """The command with its name first, which the JSON need not have."""
    command = dict(arguments["command"])
    name = arguments.get("commandName") or next(iter(command))
    return {name: command.pop(name), **command}


def _command_options(arguments: Arguments, entities: Entities) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if "session" in arguments:
        options["session"] = entities[arguments["session"]]
    if "readPreference" in arguments:
        options["read_preference"] = read_preference(arguments["readPreference"])
    return options


@operation(AsyncDatabase)
async def create_collection(database: Any, arguments: Arguments, entities: Entities) -> Any:
    arguments["name"] = arguments.pop("collection")
    method = database.create_collection
    # Its own look whether the collection exists would be one more command event.
    return await method(**keywords(method, arguments, entities), check_exists=False)


@operation(AsyncDatabase)
async def drop_collection(database: Any, arguments: Arguments, entities: Entities) -> Any:
    arguments["name_or_collection"] = arguments.pop("collection")
    method = database.drop_collection
    return await method(**keywords(method, arguments, entities))


@operation(AsyncDatabase)
async def modify_collection(database: Any, arguments: Arguments, entities: Entities) -> Any:
    return await database.command({"collMod": arguments.pop("collection"), **arguments})


@operation(AsyncDatabase)
async def list_collections(database: Any, arguments: Arguments, entities: Entities) -> Any:
    method = database.list_collections
    return await (await method(**keywords(method, arguments, entities))).to_list()


@operation(AsyncCollection)
async def find(collection: Any, arguments: Arguments, entities: Entities) -> Any:
    return await collection.find(**keywords(collection.find, arguments, entities)).to_list()


@operation(AsyncCollection)
async def create_find_cursor(collection: Any, arguments: Arguments, entities: Entities) -> Any:
    cursor = PrefetchedCursor(collection.find(**keywords(collection.find, arguments, entities)))
    await cursor.prefetch()
    return _kept(cursor, entities)


@operation(AsyncCollection)
async def list_indexes(collection: Any, arguments: Arguments, entities: Entities) -> Any:
    arguments.pop("batchSize", None)  # the driver takes none here
    method = collection.list_indexes
    return await (await method(**keywords(method, arguments, entities))).to_list()


@operation(AsyncCollection)
async def drop_index(collection: Any, arguments: Arguments, entities: Entities) -> Any:
    arguments["index_or_name"] = arguments.pop("name")
    method = collection.drop_index
    return await method(**keywords(method, arguments, entities))


@operation(AsyncCollection)
async def list_search_indexes(collection: Any, arguments: Arguments, entities: Entities) -> Any:
    options = arguments.pop("aggregationOptions", {})
    cursor = await collection.list_search_indexes(**arguments, **options)
    return await cursor.to_list()


@operation(AsyncCollection)
async def create_search_index(collection: Any, arguments: Arguments, entities: Entities) -> Any:
    return await collection.create_search_index(search_index_model(arguments["model"]))


# Sessions


@operation(AsyncClientSession)
async def start_transaction(session: Any, arguments: Arguments, entities: Entities) -> None:
    await session.start_transaction(**common_options(arguments))


@operation(AsyncClientSession)
async def with_transaction(session: Any, arguments: Arguments, entities: Entities) -> Any:
    operations = arguments.pop("callback")
    return await session.with_transaction(
        lambda _: entities["$callback"](operations), **common_options(arguments)
    )


# Cursors and change streams


@operation(AsyncChangeStream, AsyncCommandCursor, PrefetchedCursor)
async def iterate_until_document_or_error(
    cursor: Any, arguments: Arguments, entities: Entities
) -> Any:
    return await cursor.next()


@operation(AsyncChangeStream, AsyncCommandCursor)
async def iterate_once(cursor: Any, arguments: Arguments, entities: Entities) -> Any:
    return await cursor.try_next()


# GridFS


@operation(AsyncGridFSBucket)
async def download(bucket: Any, arguments: Arguments, entities: Entities) -> Any:
    return await (await bucket.open_download_stream(arguments["id"])).read()


@operation(AsyncGridFSBucket)
async def download_by_name(bucket: Any, arguments: Arguments, entities: Entities) -> Any:
    stream = await bucket.open_download_stream_by_name(
        arguments["filename"], revision=arguments.get("revision", -1)
    )
    return await stream.read()


@operation(AsyncGridFSBucket)
async def upload(bucket: Any, arguments: Arguments, entities: Entities) -> Any:
    source = bytes.fromhex(arguments["source"]["$$hexBytes"])
    options = {"chunk_size_bytes": arguments.get("chunkSizeBytes")}
    return await bucket.upload_from_stream(
        arguments["filename"], source, metadata=arguments.get("metadata"), **options
    )


@operation(AsyncGridFSBucket)
async def delete(bucket: Any, arguments: Arguments, entities: Entities) -> None:
    await bucket.delete(arguments["id"])
