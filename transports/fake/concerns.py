"""Read and write concerns, API versions, time limits: what any command may carry.

One member always acknowledges at once, so concerns are checked and otherwise without effect.

Spec: https://www.mongodb.com/docs/manual/reference/read-concern/,
https://www.mongodb.com/docs/manual/reference/write-concern/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from transports.fake.bson_text import render
from transports.fake.clock import Clock, as_integer
from transports.fake.errors import (
    BAD_VALUE,
    FAILED_TO_PARSE,
    INVALID_OPTIONS,
    TYPE_MISMATCH,
    CommandFailure,
)
from transports.fake.values import Document, bson_type, is_number

if TYPE_CHECKING:
    from transports.fake.commands.registry import Command

READ_CONCERN_LEVELS: Final = frozenset(
    {"local", "majority", "linearizable", "available", "snapshot"}
)
_READ_CONCERN_FIELDS: Final = frozenset(
    {
        "level",
        "afterClusterTime",
        "atClusterTime",
        "afterOpTime",
        "provenance",
        "$_allowTransactionTableSnapshot",
        "$_waitLastStableRecoveryTimestamp",
    }
)
_WRITE_CONCERN_FIELDS: Final = frozenset(
    {"w", "j", "fsync", "wtimeout", "provenance", "getLastError", "wElectionId", "wOpTime"}
)
_MAX_MEMBERS: Final = 50
_UNKNOWN_FIELD: Final = 40415
_UNSATISFIABLE: Final = 100
_UNKNOWN_MODE: Final = 79
_API_VERSION: Final = 322
_API_STRICT: Final = 323
_API_VERSION_MISSING: Final = 4886600


def check_concerns(spec: Command, command: Document, clock: Clock) -> None:
    """Check what does not belong to one command.

    Raises:
        CommandFailure: as the server refuses it.
    """
    if "maxTimeMS" in command:
        _check_max_time(command["maxTimeMS"])
    if "$readPreference" in command and type(command["$readPreference"]) is not dict:
        found = bson_type(command["$readPreference"])[1]
        raise CommandFailure(
            TYPE_MISMATCH,
            f"$readPreference has incorrect type: expected object but got {found}",
        )
    if "apiVersion" in command or "apiStrict" in command or "apiDeprecationErrors" in command:
        _check_api(spec, command)
    if "readConcern" in command:
        _check_read_concern(spec, command, clock)
    if "writeConcern" in command:
        _check_write_concern(spec, command["writeConcern"])


def _check_max_time(value: Any) -> None:
    if not is_number(value):
        raise CommandFailure(BAD_VALUE, "maxTimeMS must be a number")
    number = value.to_decimal() if hasattr(value, "to_decimal") else value
    if number != int(number):
        raise CommandFailure(BAD_VALUE, "maxTimeMS has non-integral value")
    if not 0 <= number <= 0x7FFFFFFF:
        raise CommandFailure(BAD_VALUE, f"{int(number)} value for maxTimeMS is out of range")


def _check_api(spec: Command, command: Document) -> None:
    version = command.get("apiVersion")
    if version is None:
        raise CommandFailure(
            _API_VERSION_MISSING,
            "Provided apiStrict and/or apiDeprecationErrors without passing apiVersion",
        )
    if version != "1":
        raise CommandFailure(_API_VERSION, f"Cannot accept API version {version}")
    if command.get("apiStrict") and not spec.api_v1:
        raise CommandFailure(
            _API_STRICT,
            f"Provided apiStrict:true, but the command {spec.name} is not in API Version 1. "
            "Information on supported commands and migrations in API Version 1 can be found at "
            "https://dochub.mongodb.org/core/manual-versioned-api",
        )


def _check_read_concern(spec: Command, command: Document, clock: Clock) -> None:
    concern = command["readConcern"]
    if type(concern) is not dict:
        raise CommandFailure(
            TYPE_MISMATCH,
            f'"readConcern" had the wrong type. Expected object, found {bson_type(concern)[1]}',
        )
    unknown = next((name for name in concern if name not in _READ_CONCERN_FIELDS), None)
    if unknown is not None:
        raise CommandFailure(INVALID_OPTIONS, f"Unrecognized option in readConcern: {unknown}")
    level = concern.get("level")
    if level is not None and level not in READ_CONCERN_LEVELS:
        raise CommandFailure(
            FAILED_TO_PARSE,
            "readConcern.level must be either 'local', 'majority', 'linearizable', 'available', "
            "or 'snapshot'",
        )
    if command.get("autocommit") is False:
        _check_transaction_read_concern(command, level)
    elif level is not None and level not in spec.read_concerns:
        reason = " snapshot" if level == "snapshot" and spec.read_concerns else ""
        shown = render({"readConcern": {**concern, "provenance": "clientSupplied"}})
        raise CommandFailure(
            INVALID_OPTIONS,
            f"Command {spec.name} does not support {shown} :: caused by :: "
            f"read concern{reason} not supported",
        )
    if "atClusterTime" in concern and level != "snapshot":
        raise CommandFailure(
            INVALID_OPTIONS, "atClusterTime field can be set only if level is equal to snapshot"
        )
    for name in ("afterClusterTime", "atClusterTime"):
        time = concern.get(name)
        if time is not None and as_integer(time) > clock.latest:
            raise CommandFailure(
                INVALID_OPTIONS,
                f"readConcern {name} value must not be greater than the current clusterTime. "
                f"Requested clusterTime: {render({'ts': time})}; current clusterTime: "
                f"{render({'ts': clock.operation_time})}",
            )


def _check_transaction_read_concern(command: Document, level: Any) -> None:
    if not command.get("startTransaction"):
        raise CommandFailure(
            INVALID_OPTIONS, "Only the first command in a transaction may specify a readConcern"
        )
    if level not in (None, "local", "majority", "snapshot"):
        raise CommandFailure(
            INVALID_OPTIONS,
            "The readConcern level must be either 'local' (default), 'majority' or 'snapshot' in "
            "order to run in a transaction",
        )


def _check_write_concern(spec: Command, concern: Any) -> None:
    if type(concern) is not dict:
        raise CommandFailure(
            TYPE_MISMATCH,
            f'"writeConcern" had the wrong type. Expected object, found {bson_type(concern)[1]}',
        )
    if not spec.takes_write_concern:
        raise CommandFailure(INVALID_OPTIONS, "Command does not support writeConcern")
    unknown = next((name for name in concern if name not in _WRITE_CONCERN_FIELDS), None)
    if unknown is not None:
        raise CommandFailure(
            _UNKNOWN_FIELD, f"BSON field 'WriteConcernOptions.{unknown}' is an unknown field."
        )
    w = concern.get("w")
    if w is not None and is_number(w) and not 0 <= int(w) <= _MAX_MEMBERS:
        raise CommandFailure(
            FAILED_TO_PARSE,
            f"w has to be a non-negative number and not greater than 50; found: {int(w)}",
        )


def write_concern_error(concern: Document) -> Document | None:
    """Return the ``writeConcernError`` of a write that one member cannot acknowledge as asked."""
    w = concern.get("w", 1)
    if w is None or w == "majority" or (is_number(w) and int(w) <= 1):
        return None
    shown = {"w": w, "wtimeout": concern.get("wtimeout", 0), "provenance": "clientSupplied"}
    if type(w) is str:
        return {
            "code": _UNKNOWN_MODE,
            "codeName": "UnknownReplWriteConcern",
            "errmsg": f"No write concern mode named '{w}' found in replica set configuration",
            "errInfo": {"writeConcern": shown},
        }
    return {
        "code": _UNSATISFIABLE,
        "codeName": "UnsatisfiableWriteConcern",
        "errmsg": "Not enough data-bearing nodes",
        "errInfo": {"writeConcern": shown},
    }
