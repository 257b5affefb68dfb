"""Commands that a server has and the fake has not: refused by name, never taken for misspelt.

Spec: https://www.mongodb.com/docs/manual/reference/command/
"""

from __future__ import annotations

from typing import Final

from transports.fake.errors import COMMAND_NOT_FOUND, CommandFailure, unsupported

SERVER_COMMANDS: Final = frozenset(
    {
        "applyOps",
        "authenticate",
        "autoCompact",
        "bulkWrite",
        "clearLog",
        "cloneCollectionAsCapped",
        "compact",
        "connPoolStats",
        "connPoolSync",
        "createRole",
        "createSearchIndexes",
        "createUser",
        "dataSize",
        "dbHash",
        "dropAllRolesFromDatabase",
        "dropAllUsersFromDatabase",
        "dropConnections",
        "dropRole",
        "dropSearchIndex",
        "dropUser",
        "features",
        "filemd5",
        "fsyncUnlock",
        "getAuditConfig",
        "getDiagnosticData",
        "getFreeMonitoringStatus",
        "getShardMap",
        "godinsert",
        "grantPrivilegesToRole",
        "grantRolesToRole",
        "grantRolesToUser",
        "invalidateUserCache",
        "listCommands",
        "listSearchIndexes",
        "lockInfo",
        "logRotate",
        "mapReduce",
        "netstat",
        "planCacheClear",
        "planCacheClearFilters",
        "planCacheListFilters",
        "planCacheSetFilter",
        "prepareTransaction",
        "reIndex",
        "replSetAbortPrimaryCatchUp",
        "replSetFreeze",
        "replSetGetConfig",
        "replSetInitiate",
        "replSetMaintenance",
        "replSetReconfig",
        "replSetResizeOplog",
        "replSetStepDown",
        "replSetSyncFrom",
        "revokePrivilegesFromRole",
        "revokeRolesFromRole",
        "revokeRolesFromUser",
        "rolesInfo",
        "rotateCertificates",
        "saslContinue",
        "saslStart",
        "setAuditConfig",
        "setDefaultRWConcern",
        "setFeatureCompatibilityVersion",
        "setFreeMonitoring",
        "setIndexCommitQuorum",
        "shutdown",
        "sleep",
        "top",
        "updateRole",
        "updateSearchIndex",
        "updateUser",
        "validateDBMetadata",
    }
)


def unknown_command(name: str) -> CommandFailure:
    """Return the refusal of a command that the fake does not have."""
    if name in SERVER_COMMANDS:
        return unsupported(f"the command {name}")
    return CommandFailure(COMMAND_NOT_FOUND, f"no such command: '{name}'")
