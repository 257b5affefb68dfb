"""What the fake says of itself: ``hello`` and ``buildInfo``.

It plays the primary of a replica set of one member, so that sessions, transactions and change
streams are there.

Spec: https://www.mongodb.com/docs/manual/reference/command/hello/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bson import ObjectId

from transports.fake.sessions import SESSION_TIMEOUT_MINUTES
from transports.fake.values import Document

if TYPE_CHECKING:
    from transports.fake.server import FakeServer

DEFAULT_VERSION: Final = "6.0.5"
DEFAULT_ADDRESS: Final = "fake.invalid:27017"
SET_NAME: Final = "fake"
ELECTION_ID: Final = ObjectId("7fffffff0000000000000001")
MAX_BSON_BYTES: Final = 16_777_216
MAX_MESSAGE_BYTES: Final = 48_000_000
MAX_WRITE_BATCH: Final = 100_000

# https://github.com/mongodb/specifications/blob/master/source/wireversion-featurelist/wireversion-featurelist.md
_WIRE_VERSIONS: Final = {(6, 0): 17, (7, 0): 21}
SUPPORTED_VERSIONS: Final = "6.0.x or 7.0.x"


def wire_version(version: str) -> int | None:
    """Return the ``maxWireVersion`` of a server version; None for one the fake cannot play."""
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        return None
    return _WIRE_VERSIONS.get((int(parts[0]), int(parts[1])))


def hello(server: FakeServer, *, legacy: bool = False) -> Document:
    """Return the reply to ``hello`` (or, for *legacy*, to ``isMaster``), without ``ok``."""
    now = server.clock.now()
    optime = {"ts": server.clock.operation_time, "t": 1}
    return {
        "hosts": [server.address],
        "setName": SET_NAME,
        "setVersion": 1,
        "ismaster" if legacy else "isWritablePrimary": True,
        "secondary": False,
        "primary": server.address,
        "me": server.address,
        "electionId": ELECTION_ID,
        "lastWrite": {
            "opTime": optime,
            "lastWriteDate": now,
            "majorityOpTime": optime,
            "majorityWriteDate": now,
        },
        "maxBsonObjectSize": MAX_BSON_BYTES,
        "maxMessageSizeBytes": MAX_MESSAGE_BYTES,
        "maxWriteBatchSize": MAX_WRITE_BATCH,
        "localTime": now,
        "logicalSessionTimeoutMinutes": SESSION_TIMEOUT_MINUTES,
        "connectionId": 1,
        "minWireVersion": 0,
        "maxWireVersion": wire_version(server.version),
        "readOnly": False,
    }


def build_info(version: str) -> Document:
    """Return the reply to ``buildInfo``, without ``ok``."""
    return {
        "version": version,
        "gitVersion": "0" * 40,
        "modules": [],
        "allocator": "system",
        "javascriptEngine": "none",
        "sysInfo": "deprecated",
        "versionArray": [*(int(part) for part in version.split(".")), 0],
        "openssl": {"running": "disabled", "compiled": "disabled"},
        "buildEnvironment": {},
        "bits": 64,
        "debug": False,
        "maxBsonObjectSize": MAX_BSON_BYTES,
        "storageEngines": ["ephemeralForTest"],
    }
