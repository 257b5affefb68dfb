"""Names of databases and collections, and the server's refusals of bad ones.

Spec: https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions
"""

from __future__ import annotations

from typing import Any

from transports.fake.errors import (
    BAD_VALUE,
    INVALID_NAMESPACE,
    CommandFailure,
)
from transports.fake.values import bson_type

Namespace = tuple[str, str]
"""``(database, collection)``."""

_SYSTEM_COLLECTIONS = frozenset(
    {
        "system.views",
        "system.profile",
        "system.js",
        "system.users",
        "system.version",
        "system.roles",
        "system.indexes",
        "system.namespaces",
        "system.keys",
        "system.sessions",
        "system.preimages",
    }
)
_PROTECTED_DATABASES = frozenset({"admin", "config", "local"})


def collection_name(database: str, value: Any) -> str:
    """Check the collection that a command names as its first value and return it.

    Raises:
        CommandFailure: 2 for a value that is no string, 73 for a name that cannot be one.
    """
    if type(value) is not str:
        raise CommandFailure(BAD_VALUE, f"collection name has invalid type {bson_type(value)[1]}")
    if not value:
        raise CommandFailure(INVALID_NAMESPACE, f"Invalid namespace specified '{database}.'")
    if value[0] == ".":
        raise CommandFailure(INVALID_NAMESPACE, f"Collection names cannot start with '.': {value}")
    if "\0" in value:
        raise CommandFailure(INVALID_NAMESPACE, f"Invalid collection name: {value}")
    return value


def check_creatable(database: str, collection: str) -> None:
    """Refuse names that exist for the server only, or that no collection may have.

    Raises:
        CommandFailure: 73 InvalidNamespace.
    """
    if "$" in collection:
        raise CommandFailure(INVALID_NAMESPACE, f"Invalid collection name: {collection}")
    if (
        collection.startswith("system.")
        and collection not in _SYSTEM_COLLECTIONS
        and not collection.startswith("system.buckets.")
        and database not in _PROTECTED_DATABASES
    ):
        raise CommandFailure(
            INVALID_NAMESPACE, f"Invalid system namespace: {database}.{collection}"
        )


def check_writable(database: str, collection: str) -> None:
    """Refuse writes to the collections that hold the server's own catalog.

    Raises:
        CommandFailure: 73 InvalidNamespace.
    """
    if collection == "system.views" or collection == "system.profile":
        raise CommandFailure(INVALID_NAMESPACE, f"cannot write to {database}.{collection}")
    check_creatable(database, collection)


def split(full_name: str) -> Namespace:
    """Return ``"db.coll.more"`` as ``("db", "coll.more")``."""
    database, _, collection = full_name.partition(".")
    return database, collection
