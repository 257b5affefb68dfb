"""What counts in a reply, and what two replies to one command differ in.

Values, BSON types, order of fields, counts, codes, names of codes and positions of write errors
count; messages do not, nor what differs from run to run (times, ObjectIds made by the server).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bson import Binary, Code, DatetimeMS, Decimal128, ObjectId, Regex
from bson.timestamp import Timestamp

from tests.transports.fake.differential.cases import Probe, text
from tests.transports.fake.differential.sides import CRASH

Document = dict[str, Any]
Outcome = Literal["equal", "refused", "different"]

NOT_IMPLEMENTED = 238
_LEFT_OUT = frozenset({"$clusterTime", "operationTime", "errmsg", "opTime", "electionId"})
_RECENT_S = 1_700_000_000
_SOON_S = 4_000_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one probe.

    Attributes:
        kind: ``""``, ``"crash"``, ``"code"``, ``"accepts"`` (what the server refuses), ``"fails"``
            (where the server does not) or ``"result"``.
        signature: what stays the same while a case is made smaller.
    """

    outcome: Outcome
    kind: str = ""
    signature: tuple[Any, ...] = ()
    fake: str = ""
    live: str = ""


def compare(probe: Probe, fake: Sequence[Document], live: Sequence[Document]) -> Verdict:
    """Compare the replies to a probe."""
    for ours, theirs in zip(fake, live, strict=True):
        if _shape(ours, probe) != _shape(theirs, probe):
            return _verdict(ours, theirs)
    return Verdict("equal")


def _verdict(ours: Document, theirs: Document) -> Verdict:
    code, expected = _code(ours), _code(theirs)
    if code == expected:
        kind = "result"
    elif code == CRASH:
        kind = "crash"
    elif not code:
        kind = "accepts"
    elif not expected:
        kind = "fails"
    else:
        kind = "code"
    refused = code == NOT_IMPLEMENTED and expected != NOT_IMPLEMENTED
    return Verdict(
        "refused" if refused else "different",
        kind,
        (kind, code, expected),
        _shown(ours),
        _shown(theirs),
    )


def _code(reply: Document) -> int:
    if "code" in reply:
        return int(reply["code"])
    errors: list[Document] = reply.get("writeErrors") or [{}]
    return int(errors[0].get("code", 0))


def _shown(reply: Document) -> str:
    return text({name: v for name, v in reply.items() if name not in _LEFT_OUT - {"errmsg"}})


def _shape(reply: Document, probe: Probe) -> Any:
    """Return what counts in a reply, in a form that Python's ``==`` compares as it should."""
    reply = {name: v for name, v in reply.items() if name not in _LEFT_OUT}
    if "writeErrors" in reply:
        reply["writeErrors"] = [
            {name: v for name, v in error.items() if name != "errmsg"}
            for error in reply["writeErrors"]
        ]
    batch = reply.get("cursor", {}).get("firstBatch") if "cursor" in reply else None
    if batch is None:
        return exact(reply, as_sets=probe.as_sets)
    shapes = [exact(document, as_sets=probe.as_sets) for document in batch]
    if not probe.ordered:
        shapes.sort(key=repr)
    reply["cursor"] = {name: v for name, v in reply["cursor"].items() if name != "firstBatch"}
    if reply["cursor"].get("id"):
        reply["cursor"]["id"] = "<open>"
    return shapes, exact(reply)


def exact(value: Any, *, as_sets: bool = False) -> Any:
    """Return a value as tuples that are equal exactly if type, value and order of fields are."""
    kind = type(value)
    if kind is dict:
        return ("object", *((k, exact(v, as_sets=as_sets)) for k, v in value.items()))
    if kind is list:
        members = [exact(member, as_sets=as_sets) for member in value]
        return ("array", *(sorted(members, key=repr) if as_sets else members))
    return (kind.__name__, _scalar(value))


def _scalar(value: Any) -> Any:
    match value:
        case float():
            return "NaN" if value != value else struct.pack("<d", value)
        case Decimal128():
            return "NaN" if value.to_decimal().is_nan() else value.bid
        case ObjectId():
            recent = _RECENT_S < value.generation_time.timestamp() < _SOON_S
            return "<now>" if recent else value.binary
        case DatetimeMS():
            return "<now>" if _RECENT_S < int(value) // 1000 < _SOON_S else int(value)
        case Timestamp():
            return "<now>" if _RECENT_S < value.time < _SOON_S else (value.time, value.inc)
        case Binary():
            return (value.subtype, bytes(value))
        case Regex():
            return (value.pattern, value.flags)
        case Code():
            return (str(value), None if value.scope is None else exact(dict(value.scope)))
    return value
