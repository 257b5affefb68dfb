"""What administrators and test suites ask: ``serverStatus``, ``getParameter``, ``hostInfo``, ….

Spec: https://www.mongodb.com/docs/manual/reference/command/nav-diagnostic/
"""

from __future__ import annotations

import platform
from typing import Any, Final

from bson import Int64

from transports.fake import handshake
from transports.fake.commands.registry import command
from transports.fake.errors import BAD_VALUE, INVALID_OPTIONS, CommandFailure
from transports.fake.operation import Operation
from transports.fake.values import Document

_GENERIC: Final = frozenset(
    {"$db", "$clusterTime", "$readPreference", "lsid", "comment", "maxTimeMS", "apiVersion"}
)


@command(
    "serverStatus",
    fields=dict.fromkeys(
        (
            "asserts",
            "catalogStats",
            "connections",
            "extra_info",
            "flowControl",
            "globalLock",
            "locks",
            "logicalSessionRecordCache",
            "mem",
            "metrics",
            "network",
            "opcounters",
            "opLatencies",
            "repl",
            "storageEngine",
            "tcmalloc",
            "transactions",
            "wiredTiger",
        ),
        "",
    ),
    api_v1=False,
)
def run_server_status(operation: Operation) -> Document:
    """Tell how the server is; the counters that the fake has."""
    server = operation.server
    uptime_ms = server.clock.now_ms() - server.started_ms
    return {
        "host": server.address,
        "version": server.version,
        "process": "mongod",
        "pid": Int64(1),
        "uptime": uptime_ms / 1000,
        "uptimeMillis": Int64(uptime_ms),
        "uptimeEstimate": Int64(uptime_ms // 1000),
        "localTime": operation.now,
        "connections": {"current": 1, "available": 100_000, "totalCreated": 1, "active": 1},
        "logicalSessionRecordCache": {"activeSessionsCount": len(server.sessions)},
        "metrics": {
            "cursor": {
                "totalOpened": Int64(server.cursors.opened),
                "open": {"total": Int64(len(server.cursors))},
            }
        },
        "repl": {
            "setName": handshake.SET_NAME,
            "isWritablePrimary": True,
            "secondary": False,
            "primary": server.address,
            "me": server.address,
            "hosts": [server.address],
        },
        "storageEngine": {
            "name": "ephemeralForTest",
            "supportsCommittedReads": True,
            "persistent": False,
        },
        "transactions": {
            "currentOpen": Int64(len(server.sessions.open_transactions())),
        },
    }


def _parameters(operation: Operation) -> Document:
    server = operation.server
    major, minor = server.version.split(".")[:2]
    return {
        "authenticationMechanisms": [],
        "enableTestCommands": True,
        "featureCompatibilityVersion": {"version": f"{major}.{minor}"},
        "maxBSONDepth": 200,
        "requireApiVersion": False,
        "transactionLifetimeLimitSeconds": 60,
        "ttlMonitorEnabled": True,
        "ttlMonitorSleepSecs": 60,
        **server.parameters,
    }


@command("getParameter", any_field=True, admin_only=True, api_v1=False)
def run_get_parameter(operation: Operation) -> Document:
    """Tell parameters: ``{"featureCompatibilityVersion": {"version": "6.0"}}``."""
    known = _parameters(operation)
    command = operation.command
    if command["getParameter"] == "*" or type(command["getParameter"]) is dict:
        return known
    found = {name: known[name] for name in command if name in known}
    if not found:
        raise CommandFailure(INVALID_OPTIONS, "no option found to get")
    return found


@command("setParameter", any_field=True, admin_only=True, api_v1=False)
def run_set_parameter(operation: Operation) -> Document:
    """Remember parameters, which change nothing here: ``{"was": …}``."""
    command = operation.command
    known = _parameters(operation)
    was: Any = None
    for name, value in command.items():
        if name in _GENERIC or name == "setParameter":
            continue
        if name not in known:
            raise CommandFailure(
                INVALID_OPTIONS,
                f"attempted to set unrecognized parameter [{name}], use help:true to see options ",
            )
        was = known[name]
        operation.server.parameters[name] = value
    return {"was": was}


@command("hostInfo", api_v1=False)
def run_host_info(operation: Operation) -> Document:
    """Tell what machine this is."""
    return {
        "system": {
            "currentTime": operation.now,
            "hostname": operation.server.address,
            "cpuAddrSize": 64,
            "numCores": 1,
            "cpuArch": platform.machine(),
        },
        "os": {"type": platform.system(), "name": platform.system(), "version": platform.release()},
        "extra": {},
    }


@command("getCmdLineOpts", admin_only=True, api_v1=False)
def run_get_cmd_line_opts(operation: Operation) -> Document:
    """Tell how the server was started."""
    return {
        "argv": ["mongod"],
        "parsed": {
            "replication": {"replSet": handshake.SET_NAME},
            "setParameter": {"enableTestCommands": "1"},
        },
    }


@command("getLog", admin_only=True, api_v1=False)
def run_get_log(operation: Operation) -> Document:
    """Give the log, which is empty."""
    if operation.command["getLog"] == "*":
        return {"names": ["global", "startupWarnings"]}
    return {"totalLinesWritten": 0, "log": []}


@command("replSetGetStatus", admin_only=True, api_v1=False)
def run_repl_set_get_status(operation: Operation) -> Document:
    """Tell the state of the replica set of one."""
    server = operation.server
    optime = {"ts": server.clock.operation_time, "t": Int64(1)}
    return {
        "set": handshake.SET_NAME,
        "date": operation.now,
        "myState": 1,
        "term": Int64(1),
        "heartbeatIntervalMillis": Int64(2000),
        "majorityVoteCount": 1,
        "writeMajorityCount": 1,
        "votingMembersCount": 1,
        "writableVotingMembersCount": 1,
        "optimes": {
            "lastCommittedOpTime": optime,
            "readConcernMajorityOpTime": optime,
            "appliedOpTime": optime,
            "durableOpTime": optime,
        },
        "members": [
            {
                "_id": 0,
                "name": server.address,
                "health": 1.0,
                "state": 1,
                "stateStr": "PRIMARY",
                "optime": optime,
                "self": True,
            }
        ],
    }


@command("getDefaultRWConcern", fields={"inMemory": "flag"}, admin_only=True, api_v1=False)
def run_get_default_rw_concern(operation: Operation) -> Document:
    """Tell the default concerns, which cannot be changed here."""
    return {
        "defaultReadConcern": {"level": "local"},
        "defaultWriteConcern": {"w": "majority", "wtimeout": 0},
        "defaultWriteConcernSource": "implicit",
        "defaultReadConcernSource": "implicit",
        "localUpdateWallClockTime": operation.now,
    }


@command("currentOp", any_field=True, admin_only=True, api_v1=False)
def run_current_op(operation: Operation) -> Document:
    """List running operations: none, since each ends before the next begins."""
    return {"inprog": []}


@command("killOp", fields={"op": ""}, admin_only=True, api_v1=False)
def run_kill_op(operation: Operation) -> Document:
    """Answer as to an operation that has ended by itself."""
    return {"info": "attempting to kill op"}


@command(
    "profile",
    fields={"slowms": "number", "sampleRate": "number", "filter": ""},
    api_v1=False,
)
def run_profile(operation: Operation) -> Document:
    """Tell that the profiler is off; it cannot be turned on.

    Raises:
        CommandFailure: 2 for another level.
    """
    if operation.command["profile"] not in (-1, 0):
        raise CommandFailure(BAD_VALUE, "the in-memory fake has no profiler")
    return {"was": 0, "slowms": 100, "sampleRate": 1.0}


@command("fsync", fields={"lock": "flag"}, admin_only=True, api_v1=False)
def run_fsync(operation: Operation) -> Document:
    """Answer: there is nothing to write."""
    return {"numFiles": 1}


@command("usersInfo", any_field=True, api_v1=False)
def run_users_info(operation: Operation) -> Document:
    """List users: there are none."""
    return {"users": []}
