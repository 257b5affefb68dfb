"""``listDatabases``, ``dropDatabase``, ``dbStats``, ``collStats``, ``validate``.

Spec: https://www.mongodb.com/docs/manual/reference/command/listDatabases/
"""

from __future__ import annotations

from typing import Final

from bson import Int64

from transports.fake.commands.registry import command
from transports.fake.errors import ILLEGAL_OPERATION, NAMESPACE_NOT_FOUND, CommandFailure
from transports.fake.matcher import compile_filter
from transports.fake.namespaces import collection_name
from transports.fake.operation import Operation, Waiting
from transports.fake.statistics import data_size, storage_statistics
from transports.fake.values import Document
from transports.fake.waiting import until_untouched
from transports.fake.writes import refuse_view

_SYSTEM: Final = ("admin", "config", "local")
_PAGE: Final = 4096


@command(
    "listDatabases",
    fields={"filter": "object", "nameOnly": "flag", "authorizedDatabases": "flag"},
    admin_only=True,
)
def run_list_databases(operation: Operation) -> Document:
    """List databases: ``{"databases": [{"name": …}], "totalSize": …}``."""
    command = operation.command
    catalog = operation.server.store.catalog
    matcher = compile_filter(command.get("filter") or {})
    listed: list[Document] = [
        {
            "name": name,
            "sizeOnDisk": Int64(_PAGE * (1 + len(catalog.get(name, {})))),
            "empty": False,
        }
        for name in sorted({*_SYSTEM, *catalog})
    ]
    listed = [entry for entry in listed if matcher(entry)]
    if command.get("nameOnly"):
        return {"databases": [{"name": entry["name"]} for entry in listed]}
    total = sum(int(entry["sizeOnDisk"]) for entry in listed)
    return {
        "databases": listed,
        "totalSize": Int64(total),
        "totalSizeMb": Int64(total >> 20),
    }


@command("dropDatabase", takes_write_concern=True)
def run_drop_database(operation: Operation) -> Waiting:
    """Drop the database; one that does not exist is fine."""
    name = operation.database
    if name in _SYSTEM:
        raise CommandFailure(ILLEGAL_OPERATION, f"Dropping the '{name}' database is prohibited.")
    yield from until_untouched(operation, database=name)
    if name in operation.server.store.databases:
        operation.server.store.drop_database(name)
    return {}


@command("dbStats", "dbstats", fields={"scale": "number", "freeStorage": "number"}, api_v1=False)
def run_db_stats(operation: Operation) -> Document:
    """Tell sizes and counts of a database."""
    scale = int(operation.command.get("scale") or 1)
    collections = operation.server.store.catalog.get(operation.database, {}).values()
    stored = [collection for collection in collections if not collection.is_view]
    objects = sum(len(collection.records) for collection in stored)
    size = sum(map(data_size, stored))
    indexes = sum(len(collection.indexes) for collection in stored)
    return {
        "db": operation.database,
        "collections": Int64(len(stored)),
        "views": Int64(len(collections) - len(stored)),
        "objects": Int64(objects),
        "avgObjSize": size / objects if objects else 0.0,
        "dataSize": size / scale,
        "storageSize": _PAGE * len(stored) / scale,
        "indexes": Int64(indexes),
        "indexSize": _PAGE * indexes / scale,
        "totalSize": _PAGE * (len(stored) + indexes) / scale,
        "scaleFactor": Int64(scale),
        "fsUsedSize": 0.0,
        "fsTotalSize": 0.0,
    }


@command("collStats", "collstats", fields={"scale": "number"}, api_v1=False)
def run_coll_stats(operation: Operation) -> Document:
    """Tell sizes and counts of a collection."""
    name = collection_name(operation.database, next(iter(operation.command.values())))
    collection = operation.server.store.find(operation.database, name)
    refuse_view(collection)
    scale = int(operation.command.get("scale") or 1)
    return storage_statistics(collection, f"{operation.database}.{name}", scale)


@command(
    "validate",
    fields={"full": "flag", "repair": "flag", "metadata": "flag", "background": "flag"},
    api_v1=False,
)
def run_validate(operation: Operation) -> Document:
    """Report a collection as sound."""
    name = collection_name(operation.database, operation.command["validate"])
    collection = operation.server.store.find(operation.database, name)
    namespace = f"{operation.database}.{name}"
    if collection is None:
        raise CommandFailure(
            NAMESPACE_NOT_FOUND,
            f"Collection '{namespace}' does not exist to validate.",
        )
    refuse_view(collection)
    validator = collection.validator
    return {
        "ns": namespace,
        "nInvalidDocuments": 0,
        "nNonCompliantDocuments": 0
        if validator is None
        else sum(1 for document in collection.records.values() if not validator(document)),
        "nrecords": len(collection.records),
        "nIndexes": len(collection.indexes),
        "keysPerIndex": {
            index.name: sum(len(index.keys(d)) for d in collection.records.values())
            for index in collection.indexes.values()
        },
        "indexDetails": {name: {"valid": True} for name in collection.indexes},
        "valid": True,
        "repaired": False,
        "warnings": [],
        "errors": [],
        "extraIndexEntries": [],
        "missingIndexEntries": [],
        "corruptRecords": [],
    }
