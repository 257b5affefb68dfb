"""Parts of bodies that are too large for one invoke, kept in MongoDB until they are complete.

Execution environments share nothing but the deployment behind them. Each part is one document::

    {"_id": {"id": "<identifier>", "part": 0}, "data": Binary(…), "at": datetime}

in the collection ``ODM_PROXY_STAGING`` (``odm_proxy.staging``), which a TTL index empties of what
nobody fetched. Parts are written to the majority and read from the primary, so that a failover
between the two loses none.

Source: https://www.mongodb.com/docs/manual/core/index-ttl/
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern

from transports.lambda_invoke.bodies import MAX_PARTS, Encoding, join, split

EXPIRE_AFTER_S = 3600
"""A part older than this belongs to nobody: no driver waits an hour for a reply."""


class MissingPart(LookupError):
    """A part is not there: it expired, or was never sent."""


class Staging:
    """The collection of parts.

    Args:
        client: the function's client.
        namespace: ``"database.collection"``; the function's user may read and write it.
    """

    def __init__(self, client: MongoClient[dict[str, Any]], namespace: str) -> None:
        database, _, collection = namespace.partition(".")
        self._parts: Collection[dict[str, Any]] = client[database].get_collection(
            collection,
            # Whatever the URI says: another environment, after a failover, must find every part.
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("local"),
            write_concern=WriteConcern("majority"),
        )
        self._has_index = False

    def put(self, identifier: str, part: int, data: bytes) -> None:
        """Keep one part; the same part again changes nothing."""
        if not self._has_index:
            self._parts.create_index("at", expireAfterSeconds=EXPIRE_AFTER_S)
            self._has_index = True
        key = {"id": identifier, "part": part}
        document = {"_id": key, "data": data, "at": datetime.now(UTC)}
        self._parts.replace_one({"_id": key}, document, upsert=True)

    def get(self, identifier: str, part: int) -> bytes:
        """Return one part.

        Raises:
            MissingPart: it is not there.
        """
        found = self._parts.find_one({"_id": {"id": identifier, "part": part}})
        if found is None:
            raise MissingPart(f"part {part} of {identifier} is not staged, or has expired")
        return bytes(found["data"])

    def collect(self, identifier: str, parts: int, encoding: Encoding) -> bytearray:
        """Return all parts as one body, decompressed; no more than one part is there twice.

        Raises:
            MissingPart: one is not there.
            BodyError: they do not make a body.
        """
        return join((self.get(identifier, part) for part in range(parts)), encoding)

    def put_all(self, data: bytes) -> tuple[str, int]:
        """Keep *data* in parts; return their identifier and number."""
        identifier = uuid4().hex
        number = 0
        for number, part in enumerate(split(data), start=1):
            self.put(identifier, number - 1, bytes(part))
        return identifier, number

    def discard(self, identifier: str) -> None:
        """Remove the parts of a body that has been read."""
        keys = [{"id": identifier, "part": part} for part in range(MAX_PARTS)]
        self._parts.delete_many({"_id": {"$in": keys}})
