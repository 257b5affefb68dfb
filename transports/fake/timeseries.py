"""Time-series collections: the order of a measurement's fields, and what MongoDB 6.0 refuses there.

The server keeps measurements in buckets; here they are kept as they are.

Spec: https://www.mongodb.com/docs/v6.0/core/timeseries/timeseries-limitations/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bson import DatetimeMS, ObjectId

from transports.fake.errors import BAD_VALUE, INVALID_OPTIONS, CommandFailure
from transports.fake.storage import Collection
from transports.fake.values import Document

_ON_TIME_SERIES = "on a time-series collection"


def measurement(collection: Collection, document: Document) -> Document:
    """Return a measurement with its fields in the order in which they are given back.

    Raises:
        CommandFailure: 2 without a date in the time field.
    """
    options = collection.options["timeseries"]
    time, meta = options["timeField"], options.get("metaField")
    if type(document.get(time)) is not DatetimeMS:
        raise CommandFailure(
            BAD_VALUE, f"'{time}' must be present and contain a valid BSON UTC datetime value"
        )
    ordered = {time: document[time]}
    if meta is not None and meta in document:
        ordered[meta] = document[meta]
    ordered["_id"] = document["_id"] if "_id" in document else ObjectId()
    return {**ordered, **document}


def check_measured_update(
    collection: Collection, query: Document, update: Any, *, multi: bool, upsert: bool
) -> None:
    """Refuse an update that is not of the metaField alone.

    Raises:
        CommandFailure: 72 InvalidOptions.
    """
    meta = collection.options["timeseries"].get("metaField")
    if not multi:
        raise _refused(f"Cannot perform a non-multi update {_ON_TIME_SERIES}")
    if upsert:
        raise _refused(f"Cannot perform an upsert {_ON_TIME_SERIES}")
    if meta is None:
        raise _refused(f"Cannot perform an update {_ON_TIME_SERIES} that does not have a metaField")
    check_query(collection, query)
    if type(update) is list:
        raise _refused(f"Cannot perform an update {_ON_TIME_SERIES} using a pipeline update")
    paths = [path for fields in update.values() if type(fields) is dict for path in fields]
    targets = [target for target in update.get("$rename", {}).values() if type(target) is str]
    if not all(_is_within(path, meta) for path in (*paths, *targets)):
        raise _refused(
            f"Cannot perform an update {_ON_TIME_SERIES} which updates a field that is not the "
            f"metaField '{meta}'"
        )


def check_query(collection: Collection, query: Document) -> None:
    """Refuse a filter of an update or delete on anything but the metaField.

    Raises:
        CommandFailure: 72 InvalidOptions.
    """
    meta = collection.options["timeseries"].get("metaField")
    if any(meta is None or not _is_within(path, meta) for path in _paths(query)):
        raise _refused(
            f"Cannot perform an update or delete {_ON_TIME_SERIES} when querying on a field that "
            f"is not the metaField '{meta}'"
        )


def check_index(spec: Document) -> None:
    """Refuse an index that a time-series collection cannot have.

    Raises:
        CommandFailure: 72 InvalidOptions; 2 for one on ``_id``.
    """
    if spec.get("unique"):
        raise _refused("Unique indexes are not supported on time-series collections")
    if "expireAfterSeconds" in spec:
        raise _refused("TTL indexes are not supported on time-series collections")
    if "_fts" in spec["key"]:
        raise _refused("Text indexes are not supported on time-series collections")
    if spec["name"] == "_id_":
        raise CommandFailure(
            BAD_VALUE,
            "The index name '_id_' is reserved for the _id index, which must have key pattern "
            "{_id: 1}, found key: { control.min._id: 1, control.max._id: 1 }",
        )


def refuse_time_series(collection: Collection | None) -> None:
    """Refuse what there is for other collections only.

    Raises:
        CommandFailure: 166 CommandNotSupportedOnView.
    """
    if collection is not None and collection.is_timeseries:
        raise CommandFailure(166, f"Namespace {collection.namespace} is a timeseries collection")


def _refused(message: str) -> CommandFailure:
    return CommandFailure(INVALID_OPTIONS, message)


def _is_within(path: str, meta: str) -> bool:
    return path == meta or path.startswith(f"{meta}.")


def _paths(query: Document) -> Iterator[str]:
    for name, condition in query.items():
        if not name.startswith("$"):
            yield name
        elif type(condition) is list:
            for part in condition:
                if type(part) is dict:
                    yield from _paths(part)
        elif name not in ("$comment", "$alwaysTrue", "$alwaysFalse"):
            yield name
