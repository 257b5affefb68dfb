"""``create``, ``drop``, ``renameCollection``, ``collMod``, ``listCollections``, ….

Spec: https://www.mongodb.com/docs/manual/reference/command/nav-administration/
"""

from __future__ import annotations

from typing import Any, Final

from bson import Binary, Int64

from transports.fake.collection_options import BUCKET_SPANS, checked_options, in_catalog_order
from transports.fake.commands.registry import check_fields, command, non_negative
from transports.fake.errors import (
    ILLEGAL_OPERATION,
    INDEX_NOT_FOUND,
    INVALID_NAMESPACE,
    INVALID_OPTIONS,
    NAMESPACE_EXISTS,
    NAMESPACE_NOT_FOUND,
    CommandFailure,
)
from transports.fake.fetching import list_reply
from transports.fake.matcher import compile_filter
from transports.fake.namespaces import check_creatable, collection_name, split
from transports.fake.operation import Operation, Waiting
from transports.fake.oplog import Change
from transports.fake.plan import hinted_index
from transports.fake.storage import Collection
from transports.fake.values import Document
from transports.fake.views import check_definition
from transports.fake.waiting import until_untouched

_COARSER: Final = (("seconds", "minutes"), ("minutes", "hours"), ("seconds", "hours"))
_SAME_NAME: Final = "Can't rename a collection to itself"


@command(
    "create",
    fields={
        "capped": "flag",
        "autoIndexId": "flag",
        "idIndex": "object",
        "size": "number",
        "max": "number",
        "storageEngine": "object",
        "validator": "object",
        "validationLevel": "string",
        "validationAction": "string",
        "indexOptionDefaults": "object",
        "viewOn": "string",
        "pipeline": "array",
        "collation": "object",
        "changeStreamPreAndPostImages": "object",
        "timeseries": "object",
        "clusteredIndex": "",
        "expireAfterSeconds": "number",
        "encryptedFields": "object",
        "temp": "flag",
        "flags": "",
        "recordPreImages": "",
    },
    takes_write_concern=True,
    in_transaction=True,
)
def run_create(operation: Operation) -> Waiting:
    """Create a collection or a view."""
    command = operation.command
    name = collection_name(operation.database, command["create"])
    check_creatable(operation.database, name)
    options = checked_options(command)
    if "viewOn" in options:
        check_definition(f"{operation.database}.{name}", options["pipeline"])
    yield from until_untouched(operation, (operation.database, name))
    found = operation.find(name)
    if found is not None and found.collection.is_timeseries:
        raise CommandFailure(
            NAMESPACE_EXISTS,
            f"A timeseries collection already exists. NS: {operation.database}.{name}",
        )
    if found is not None:
        raise CommandFailure(
            NAMESPACE_EXISTS, f"Collection {operation.database}.{name} already exists."
        )
    operation.create(name, options)
    return {}


@command("drop", takes_write_concern=True)
def run_drop(operation: Operation) -> Waiting:
    """Drop a collection: ``{"nIndexesWas": 1, "ns": "db.coll"}``."""
    name = collection_name(operation.database, operation.command["drop"])
    yield from until_untouched(operation, (operation.database, name))
    store = operation.server.store
    collection = store.find(operation.database, name)
    if collection is None:
        if tuple(map(int, operation.server.version.split(".")[:2])) >= (7, 0):
            return {}
        raise CommandFailure(NAMESPACE_NOT_FOUND, "ns not found")
    store.drop(collection)
    reply: Document = {} if collection.is_view else {"nIndexesWas": len(collection.indexes)}
    reply["ns"] = collection.namespace
    return reply


@command(
    "renameCollection",
    fields={"to": "string", "dropTarget": "", "stayTemp": "flag"},
    required=("to",),
    admin_only=True,
    takes_write_concern=True,
    api_v1=False,
)
def run_rename_collection(operation: Operation) -> Waiting:
    """Give a collection another name, in the same or another database."""
    command = operation.command
    source, target = command["renameCollection"], command["to"]
    old, new = split(source), split(target)
    if not old[1]:
        raise CommandFailure(INVALID_NAMESPACE, f"Invalid source namespace: {source}")
    if not new[1]:
        raise CommandFailure(INVALID_NAMESPACE, f"Invalid target namespace: {target}")
    check_creatable(*new)
    if source == target:
        raise CommandFailure(ILLEGAL_OPERATION, _SAME_NAME)
    yield from until_untouched(operation, old, new)
    store = operation.server.store
    collection = store.find(*old)
    if collection is None:
        raise CommandFailure(NAMESPACE_NOT_FOUND, f"Source collection {source} does not exist")
    if collection.is_view:
        raise CommandFailure(166, f"Namespace {source} is a view, not a collection")
    if collection.is_timeseries:
        raise CommandFailure(166, f"cannot rename view: {source}")
    replaced = store.find(*new) is not None
    if replaced and not command.get("dropTarget"):
        raise CommandFailure(NAMESPACE_EXISTS, "target namespace exists")
    store.rename(collection, *new, replaced=replaced)
    return {}


@command(
    "collMod",
    fields={
        "index": "object",
        "viewOn": "string",
        "pipeline": "array",
        "validator": "object",
        "validationLevel": "string",
        "validationAction": "string",
        "changeStreamPreAndPostImages": "object",
        "expireAfterSeconds": "",
        "timeseries": "object",
        "cappedSize": "number",
        "cappedMax": "number",
        "dryRun": "flag",
    },
    takes_write_concern=True,
)
def run_coll_mod(operation: Operation) -> Waiting:
    """Change a collection's options, or one of its indexes."""
    command = operation.command
    name = collection_name(operation.database, command["collMod"])
    yield from until_untouched(operation, (operation.database, name))
    store = operation.server.store
    collection = store.find(operation.database, name)
    if collection is None:
        raise CommandFailure(NAMESPACE_NOT_FOUND, "ns does not exist")
    before = in_catalog_order(collection.options)
    if collection.is_timeseries:
        _modify_timeseries(collection, command)
    reply: Document = {}
    if "index" in command:
        reply = _modify_index(collection, command["index"])
    if "viewOn" in command or "pipeline" in command:
        if not collection.is_view:
            raise CommandFailure(INVALID_OPTIONS, "option not supported on a collection: viewOn")
        check_definition(collection.namespace, command.get("pipeline") or [])
        collection.options["viewOn"] = command["viewOn"]
        collection.options["pipeline"] = command.get("pipeline") or []
    for option in (
        "changeStreamPreAndPostImages",
        "validator",
        "validationLevel",
        "validationAction",
    ):
        if option in command:
            _set_option(collection, option, command[option])
    if "cappedSize" in command:
        collection.options["size"] = command["cappedSize"]
    if "cappedMax" in command:
        collection.options["max"] = command["cappedMax"]
    collection.apply_options()
    collection.created = store.clock.tick()
    described = {k: v for k, v in command.items() if k not in ("collMod", "$db", "lsid")}
    store.oplog.append(
        Change(
            collection.created,
            "modify",
            collection,
            None,
            extra={
                "operationDescription": described,
                "stateBeforeChange": {
                    "collectionOptions": {"uuid": Binary(collection.uuid.bytes, 4), **before}
                },
            },
        )
    )
    return reply


def _modify_timeseries(collection: Collection, command: Document) -> None:
    for option in ("validator", "validationLevel", "validationAction"):
        if option in command:
            raise CommandFailure(
                INVALID_OPTIONS, f"option not supported on a time-series collection: {option}"
            )
    options = collection.options["timeseries"]
    granularity = command.get("timeseries", {}).get("granularity", options["granularity"])
    if granularity != options["granularity"]:
        if (options["granularity"], granularity) not in _COARSER:
            raise CommandFailure(
                INVALID_OPTIONS,
                "Invalid transition for timeseries.granularity. Can only transition from "
                "'seconds' to 'minutes' or 'minutes' to 'hours'.",
            )
        collection.options["timeseries"] = {
            **options,
            "granularity": granularity,
            "bucketMaxSpanSeconds": BUCKET_SPANS[granularity],
        }
    if "expireAfterSeconds" in command:
        seconds = command["expireAfterSeconds"]
        if seconds == "off":
            collection.options.pop("expireAfterSeconds", None)
        else:
            collection.options["expireAfterSeconds"] = Int64(seconds)


def _set_option(collection: Collection, option: str, value: Any) -> None:
    if option == "validator":
        compile_filter(value, collation=collection.collation)
        if value:
            collection.options.setdefault("validationLevel", "strict")
            collection.options.setdefault("validationAction", "error")
    if option == "changeStreamPreAndPostImages" and not value.get("enabled"):
        collection.options.pop(option, None)
        return
    collection.options[option] = value


def _modify_index(collection: Collection, change: Document) -> Document:
    check_fields(
        "collMod.index",
        change,
        {
            "name": "string",
            "keyPattern": "object",
            "expireAfterSeconds": "number",
            "hidden": "flag",
            "unique": "flag",
            "prepareUnique": "flag",
            "forceNonUnique": "flag",
        },
    )
    name = change.get("name")
    if name is not None:
        index = collection.indexes.get(name)
        if index is None:
            raise CommandFailure(
                INDEX_NOT_FOUND, f"cannot find index {name} for ns {collection.namespace}"
            )
    else:
        index = hinted_index(collection, change["keyPattern"])
    reply: Document = {}
    if "expireAfterSeconds" in change:
        if "expireAfterSeconds" in index.spec:
            reply["expireAfterSeconds_old"] = index.spec["expireAfterSeconds"]
        else:
            collection.store.ttl_indexes += 1
        index.spec["expireAfterSeconds"] = change["expireAfterSeconds"]
        reply["expireAfterSeconds_new"] = change["expireAfterSeconds"]
    if "hidden" in change and bool(change["hidden"]) != index.hidden:
        reply["hidden_old"], reply["hidden_new"] = index.hidden, bool(change["hidden"])
        index.hidden = bool(change["hidden"])
        if index.hidden:
            index.spec["hidden"] = True
        else:
            index.spec.pop("hidden", None)
    return reply


@command(
    "listCollections",
    fields={
        "filter": "object",
        "nameOnly": "flag",
        "authorizedCollections": "flag",
        "cursor": "object",
    },
)
def run_list_collections(operation: Operation) -> Document:
    """List collections: ``{"cursor": {"id": 0, "ns": …, "firstBatch": [{"name": …}]}}``."""
    command = operation.command
    cursor = command.get("cursor") or {}
    check_fields("listCollections.cursor", cursor, {"batchSize": "number"})
    size = cursor.get("batchSize")
    size = None if size is None else non_negative("batchSize", size)
    matcher = compile_filter(command.get("filter") or {})
    collections = operation.server.store.catalog.get(operation.database, {})
    listed = [_described(collection) for collection in collections.values()]
    if operation.database in operation.server.store.with_views:
        listed += _system_collections(collections)
    found = [entry for entry in listed if matcher(entry)]
    if command.get("nameOnly"):
        found = [{"name": entry["name"], "type": entry["type"]} for entry in found]
    return list_reply(operation, found, f"{operation.database}.$cmd.listCollections", size)


def _described(collection: Collection) -> Document:
    options = in_catalog_order(collection.options)
    if collection.is_view:
        return {
            "name": collection.name,
            "type": "view",
            "options": options,
            "info": {"readOnly": True},
        }
    if collection.is_timeseries:
        return {
            "name": collection.name,
            "type": "timeseries",
            "options": options,
            "info": {"readOnly": False},
        }
    described: Document = {
        "name": collection.name,
        "type": "collection",
        "options": options,
        "info": {"readOnly": False, "uuid": Binary(collection.uuid.bytes, 4)},
    }
    if "clusteredIndex" not in options:
        described["idIndex"] = collection.indexes["_id_"].spec
    return described


def _system_collections(collections: dict[str, Collection]) -> list[Document]:
    """Return what the server keeps beside views and time series."""
    id_index = {"v": 2, "key": {"_id": 1}, "name": "_id_"}
    info = {"readOnly": False}
    listed: list[Document] = [
        {
            "name": "system.views",
            "type": "collection",
            "options": {},
            "info": info,
            "idIndex": id_index,
        }
    ]
    listed += [
        {
            "name": f"system.buckets.{collection.name}",
            "type": "collection",
            "options": {"timeseries": collection.options["timeseries"]},
            "info": info,
        }
        for collection in collections.values()
        if collection.is_timeseries
    ]
    return listed


@command(
    "convertToCapped",
    fields={"size": "number"},
    required=("size",),
    takes_write_concern=True,
    api_v1=False,
)
def run_convert_to_capped(operation: Operation) -> Document:
    """Make a collection capped; its documents stay as far as they fit."""
    name = collection_name(operation.database, operation.command["convertToCapped"])
    collection = operation.server.store.find(operation.database, name)
    if collection is None:
        raise CommandFailure(
            NAMESPACE_NOT_FOUND, f"source collection {operation.database}.{name} does not exist"
        )
    collection.options |= {"capped": True, "size": operation.command["size"]}
    for index in [i for i in collection.indexes.values() if i.fields != ("_id",)]:
        del collection.indexes[index.name]
    collection.measure()
    return {}
