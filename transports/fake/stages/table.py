"""All stages in one table, those that only a storage can answer, and those the fake refuses."""

from __future__ import annotations

from typing import Final

from transports.fake.stages.context import CompileStage
from transports.fake.stages.gaps import densify, fill
from transports.fake.stages.group import bucket, bucket_auto, count, group, sort_by_count
from transports.fake.stages.joins import facet, graph_lookup, lookup, union_with
from transports.fake.stages.output import merge, out
from transports.fake.stages.streams import (
    documents,
    limit,
    match,
    redact,
    reshape,
    sample,
    skip,
    sort,
    unwind,
)
from transports.fake.stages.windows import set_window_fields

STAGES: Final[dict[str, CompileStage]] = {
    "$addFields": reshape("$addFields"),
    "$bucket": bucket,
    "$bucketAuto": bucket_auto,
    "$count": count,
    "$densify": densify,
    "$documents": documents,
    "$facet": facet,
    "$fill": fill,
    "$graphLookup": graph_lookup,
    "$group": group,
    "$limit": limit,
    "$lookup": lookup,
    "$match": match,
    "$merge": merge,
    "$out": out,
    "$project": reshape("$project"),
    "$redact": redact,
    "$replaceRoot": reshape("$replaceRoot"),
    "$replaceWith": reshape("$replaceWith"),
    "$sample": sample,
    "$set": reshape("$set"),
    "$setWindowFields": set_window_fields,
    "$skip": skip,
    "$sort": sort,
    "$sortByCount": sort_by_count,
    "$unionWith": union_with,
    "$unset": reshape("$unset"),
    "$unwind": unwind,
}

SOURCES: Final = frozenset(
    {
        "$changeStream",
        "$collStats",
        "$currentOp",
        "$geoNear",
        "$indexStats",
        "$listLocalSessions",
        "$listSessions",
        "$planCacheStats",
        "$search",
    }
)

UNSUPPORTED: Final = frozenset(
    {
        "$changeStreamSplitLargeEvent",
        "$listSampledQueries",
        "$queryStats",
        "$searchMeta",
        "$shardedDataDistribution",
        "$vectorSearch",
    }
)
