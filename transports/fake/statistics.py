"""Sizes and counts of what is stored: ``collStats``, ``dbStats``, ``$collStats``, ``$indexStats``.

Sizes are those of the BSON; what a disk would hold the fake cannot know and counts the same.

Spec: https://www.mongodb.com/docs/manual/reference/command/collStats/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bson
from bson import Int64

from transports.fake.collection_options import as_size
from transports.fake.errors import unsupported
from transports.fake.storage import Collection
from transports.fake.values import Document
from transports.fake.wire import CODEC

if TYPE_CHECKING:
    from transports.fake.operation import Operation

_PAGE: Final = 4096


def data_size(collection: Collection) -> int:
    """Return the bytes of all documents of a collection."""
    return sum(
        len(bson.encode(document, codec_options=CODEC)) for document in collection.records.values()
    )


def storage_statistics(collection: Collection | None, namespace: str, scale: int = 1) -> Document:
    """Return the reply of ``collStats``, without ``ok``; None is a collection that is not there."""
    if collection is None:
        return {
            "ns": namespace,
            "size": 0,
            "count": 0,
            "numOrphanDocs": 0,
            "storageSize": 0,
            "totalSize": 0,
            "nindexes": 0,
            "totalIndexSize": 0,
            "indexDetails": {},
            "indexSizes": {},
            "scaleFactor": scale,
        }
    size, count = data_size(collection), len(collection.records)
    indexes = dict.fromkeys(collection.indexes, _PAGE // scale)
    reply: Document = {"ns": namespace, "size": as_size(size // scale), "count": count}
    if count:
        reply["avgObjSize"] = size // count
    reply |= {
        "numOrphanDocs": 0,
        "storageSize": _PAGE // scale,
        "freeStorageSize": 0,
        "capped": collection.is_capped,
    }
    if collection.is_capped:
        reply |= {
            "max": collection.options.get("max", 0),
            "maxSize": collection.options["size"] // scale,
        }
    return reply | {
        "nindexes": len(indexes),
        "indexDetails": {name: {} for name in indexes},
        "indexBuilds": [],
        "totalIndexSize": sum(indexes.values()),
        "totalSize": sum(indexes.values()) + _PAGE // scale,
        "indexSizes": indexes,
        "scaleFactor": scale,
    }


def collection_statistics(operation: Operation, collection: Collection, spec: Any) -> Document:
    """Return the document of ``$collStats``."""
    result: Document = {
        "ns": collection.namespace,
        "host": operation.server.address,
        "localTime": operation.now,
    }
    for option, value in spec.items():
        if option == "count":
            result["count"] = len(collection.records)
        elif option == "storageStats":
            scale = int((value or {}).get("scale", 1))
            statistics = storage_statistics(collection, collection.namespace, scale)
            statistics.pop("ns")
            result["storageStats"] = statistics
        else:
            raise unsupported(f"the option {option} of $collStats")
    return result


def index_statistics(operation: Operation, collection: Collection) -> list[Document]:
    """Return the documents of ``$indexStats``; accesses are not counted."""
    return [
        {
            "name": index.name,
            "key": index.pattern,
            "host": operation.server.address,
            "accesses": {"ops": Int64(0), "since": operation.now},
            "spec": index.spec,
        }
        for index in collection.indexes.values()
    ]
