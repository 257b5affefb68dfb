"""The commands that the policy knows: their fields, and what each field may hold.

A field that is not named here is refused: some that only servers send to each other read other
collections, act for other users, or turn the shared connection into another one. Fields are looked
at (`OPERATORS`) unless they hold plain data; `check` looks into those that hold namespaces,
pipelines or statements.

Source: https://www.mongodb.com/docs/manual/reference/command/ (to MongoDB 8.2)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

GENERIC = frozenset(
    b"lsid txnNumber startTransaction autocommit $clusterTime $db $readPreference readConcern "
    b"writeConcern maxTimeMS comment apiVersion apiStrict apiDeprecationErrors".split()
)
"""Fields of every command. Those that servers send each other ($client, $audit, …) are not here."""


class Target(Enum):
    """What a command acts on."""

    NOTHING = "nothing"
    DATABASE = "database"
    EVERY_DATABASE = "every database"
    READS = "reads a collection"
    USES = "a collection"
    OWN = "said by its fields"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command.

    Attributes:
        name: the server's first name for it.
        target: what its first value, or its database, names.
        writes: refused where the policy is read-only.
        by_default: allowed unless the policy says otherwise; others are known, and refused
            until ``commands.allow`` names them.
        fields: what is looked at for operators.
        data: what is only data.
        special: what `check` has a method for.
        sequences: fields that may come as document sequences.
        timed: takes the ceiling of maxTimeMS.
    """

    name: str
    target: Target
    writes: bool = False
    by_default: bool = True
    fields: frozenset[bytes] = frozenset()
    data: frozenset[bytes] = frozenset()
    special: frozenset[bytes] = frozenset()
    sequences: frozenset[bytes] = frozenset()
    timed: bool = True


COMMANDS: dict[str, Command] = {}
ALIASES: dict[str, str] = {
    "aggregate": "aggregate",
    "buildinfo": "buildInfo",
    "collstats": "collStats",
    "dbstats": "dbStats",
    "deleteIndexes": "dropIndexes",
    "findandmodify": "findAndModify",
    "ismaster": "isMaster",
    "mapreduce": "mapReduce",
}

NEVER_ALLOWED = frozenset({"authenticate", "logout", "saslStart", "saslContinue"})
"""They would change who the function's shared connections are."""


def _words(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


def _add(
    name: str,
    target: Target,
    fields: str = "",
    *,
    data: str = "",
    special: str = "",
    sequences: str = "",
    writes: bool = False,
    by_default: bool = True,
    timed: bool = True,
) -> None:
    COMMANDS[name] = Command(
        name=name,
        target=target,
        writes=writes,
        by_default=by_default,
        fields=_words(fields),
        data=_words(data),
        special=_words(special),
        sequences=_words(sequences),
        timed=timed,
    )


# Reading.
_add(
    "find",
    Target.READS,
    "filter sort projection hint min max collation let",
    data="skip limit batchSize singleBatch allowDiskUse returnKey showRecordId tailable awaitData "
    "oplogReplay noCursorTimeout allowPartialResults",
)
_add(
    "aggregate",
    Target.OWN,
    "hint collation let",
    data="explain allowDiskUse bypassDocumentValidation",
    special="aggregate pipeline cursor",
)
_add("count", Target.READS, "query hint collation", data="limit skip")
_add("distinct", Target.READS, "query hint collation", data="key")
_add("getMore", Target.OWN, data="batchSize", special="collection", timed=False)
_add("killCursors", Target.OWN, data="cursors", special="killCursors", timed=False)
_add("explain", Target.OWN, data="verbosity", special="explain")
_add(
    "mapReduce",
    Target.READS,
    "query sort collation",
    data="map reduce finalize scope limit jsMode verbose bypassDocumentValidation",
    special="out",
    by_default=False,
    writes=False,
)

# Writing.
_add(
    "insert",
    Target.USES,
    data="documents ordered bypassDocumentValidation bypassEmptyTsReplacement stmtIds",
    sequences="documents",
    writes=True,
)
_add(
    "update",
    Target.USES,
    "let",
    data="ordered bypassDocumentValidation bypassEmptyTsReplacement stmtIds",
    special="updates",
    sequences="updates",
    writes=True,
)
_add(
    "delete",
    Target.USES,
    "let",
    data="ordered bypassDocumentValidation bypassEmptyTsReplacement stmtIds",
    special="deletes",
    sequences="deletes",
    writes=True,
)
_add(
    "findAndModify",
    Target.USES,
    "query sort fields collation hint let arrayFilters",
    data="remove new upsert bypassDocumentValidation bypassEmptyTsReplacement stmtId",
    special="update",
    writes=True,
)
_add(
    "bulkWrite",
    Target.OWN,
    "let",
    data="ordered bypassDocumentValidation bypassEmptyTsReplacement errorsOnly stmtIds",
    special="bulkWrite ops nsInfo cursor",
    sequences="ops nsInfo",
    writes=True,
)

# Indexes and collections.
_add("listIndexes", Target.USES, special="cursor")
_add("createIndexes", Target.USES, "commitQuorum", special="indexes", writes=True)
_add("dropIndexes", Target.USES, "index", writes=True)
_add("createSearchIndexes", Target.USES, data="indexes", writes=True)
_add("updateSearchIndex", Target.USES, data="id name definition", writes=True)
_add("dropSearchIndex", Target.USES, data="id name", writes=True)
_add(
    "listCollections",
    Target.DATABASE,
    "filter",
    data="nameOnly authorizedCollections",
    special="cursor",
)
_VIEW_FIELDS = "viewOn pipeline"
_COLLECTION_DATA = (
    "validationLevel validationAction expireAfterSeconds timeseries changeStreamPreAndPostImages"
)
_add(
    "create",
    Target.USES,
    "validator collation",
    data=f"capped size max autoIndexId clusteredIndex encryptedFields {_COLLECTION_DATA}",
    special=_VIEW_FIELDS,
    writes=True,
)
_add(
    "collMod",
    Target.USES,
    "validator index",
    data=f"cappedSize cappedMax {_COLLECTION_DATA}",
    special=_VIEW_FIELDS,
    writes=True,
)
_add("drop", Target.USES, writes=True)
_add(
    "renameCollection",
    Target.OWN,
    data="dropTarget",
    special="renameCollection to",
    writes=True,
)
_add("dropDatabase", Target.DATABASE, writes=True, by_default=False)
_add("collStats", Target.USES, data="scale")
_add("dbStats", Target.DATABASE, data="scale freeStorage")
_add(
    "listDatabases",
    Target.EVERY_DATABASE,
    "filter",
    data="nameOnly authorizedDatabases",
)

# Transactions and sessions.
_add("commitTransaction", Target.NOTHING, data="recoveryToken", timed=False)
_add("abortTransaction", Target.NOTHING, data="recoveryToken", timed=False)
_add("startSession", Target.NOTHING, timed=False)
_add("endSessions", Target.NOTHING, special="endSessions", timed=False)
_add("refreshSessions", Target.NOTHING, special="refreshSessions", timed=False)

# What a driver asks when it connects. No authentication and no metadata: the connection is shared.
_add("hello", Target.NOTHING, data="helloOk", timed=False)
_add("isMaster", Target.NOTHING, data="helloOk", timed=False)
_add("ping", Target.NOTHING, timed=False)
_add("buildInfo", Target.NOTHING, timed=False)
_add("connectionStatus", Target.NOTHING, data="showPrivileges", by_default=False, timed=False)
