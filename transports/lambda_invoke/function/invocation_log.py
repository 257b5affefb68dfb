"""The one line that the function writes for an invocation: JSON, for CloudWatch Logs.

It names what ran, and says how long it took, how large it was and how it ended; never a document, a
filter, a comment or an error's message, which may quote them. Its size is bounded: a batch of more
than `MAX_LISTED` commands is grouped by what they have in common.

The line goes to stdout as it is. Through `logging`, Lambda's own handler would put words before it,
or quote it inside another line, and CloudWatch would find no fields and no metrics in it.
``timestamp``, ``level`` and ``requestId`` are what Lambda's JSON log format calls them, so its log
level filtering works on it, too.

Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from transports.lambda_invoke.envelope import FunctionInfo
from transports.lambda_invoke.function.metrics import EmbeddedMetrics

MAX_LISTED = 10
"""Commands of one invocation that are listed one by one; more are grouped."""

MAX_GROUPS = 20
"""Groups of one invocation that are listed: those with errors first, then the longest."""

MAX_TRACES = 100
"""Traces of one invocation that are listed where its commands are grouped."""

_MAX_SERVER_CHARS = 100
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


@dataclass(slots=True)
class CommandEntry:
    """What is said of one command.

    Attributes:
        name: its name.
        namespace: ``"database.collection"``, or the database.
        server: where it was to run.
        caller: the application's name, ``""`` for none.
        trace: 32 hex digits, ``""`` for none.
        duration_ms: in the function, the server's time included.
        bytes_in: of the message.
        bytes_out: of the server's reply.
        code: of the server's error, None for none.
        code_name: its name, ``""`` if the server did not tell.
        failure: class of what prevented an answer, ``""`` for nothing.
        ran: whether the server ran it then: ``"no"``, ``"unknown"`` or ``"yes"``.
        refused: by the policy.
    """

    name: str
    namespace: str
    server: str
    caller: str = ""
    trace: str = ""
    duration_ms: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    code: int | None = None
    code_name: str = ""
    failure: str = ""
    ran: str = ""
    refused: bool = False

    @property
    def failed(self) -> bool:
        """Whether it ended with an error of any kind."""
        return self.code is not None or bool(self.failure) or self.refused

    def outcome(self) -> dict[str, Any]:
        """Return what there is to say about its end; nothing for a success."""
        said: dict[str, Any] = {}
        if self.code is not None:
            said["code"] = self.code
        if self.code_name:
            said["code_name"] = self.code_name
        if self.failure:
            said["failure"] = self.failure
        if self.ran:
            said["ran"] = self.ran
        if self.refused:
            said["refused"] = True
        return said


@dataclass(slots=True)
class InvocationEntry:
    """What is said of one invocation.

    Attributes:
        request_id: AWS's.
        xray: id of the X-Ray trace that Lambda named, ``""`` for none.
        commands: in the order in which they ended.
        failures: items that got no answer, commands and others.
        deferred: commands that were not begun.
        refusal: the event was no envelope of ours, and nothing of it ran.
    """

    request_id: str
    xray: str = ""
    commands: list[CommandEntry] = field(default_factory=list)
    failures: int = 0
    deferred: int = 0
    refusal: bool = False


class InvocationLog:
    """Writes lines.

    Args:
        lists_commands: False leaves the numbers only.
        metrics: what makes metrics of the numbers, None for none.
    """

    def __init__(self, *, lists_commands: bool, metrics: EmbeddedMetrics | None) -> None:
        self._lists_commands = lists_commands
        self._metrics = metrics

    def line(self, entry: InvocationEntry, function: FunctionInfo) -> str:
        """Return the line, without its end."""
        now = time.time()
        commands = entry.commands
        failed = [command for command in commands if command.failed]
        # A failure of a command is among the failed commands already.
        others = max(0, entry.failures - sum(1 for command in failed if command.failure))
        said: dict[str, Any] = {
            "timestamp": _rfc3339(now),
            "level": _level(entry, failed),
            "requestId": entry.request_id,
            "environment": function.environment,
            "release": function.release,
            "Duration": function.duration_ms,
            "ColdStarts": int(function.cold_start),
            "Commands": len(commands),
            "Errors": len(failed) + others + entry.refusal,
            "Refused": sum(1 for command in failed if command.refused),
            "Deferred": entry.deferred,
            "BytesIn": sum(command.bytes_in for command in commands),
            "BytesOut": sum(command.bytes_out for command in commands),
        }
        if function.cold_start:
            said["InitDuration"] = function.init_ms
        if entry.refusal:
            said["refusal"] = True
        if entry.xray:
            said["xray"] = entry.xray
        if self._lists_commands and commands:
            said |= _listed(commands)
        text = _encode(said)
        if self._metrics is None:
            return text
        members = self._metrics.members(int(now * 1000), cold_start=function.cold_start)
        return f"{text[:-1]},{members}}}"


def _level(entry: InvocationEntry, failed: Sequence[CommandEntry]) -> str:
    if entry.failures:
        return "ERROR"
    return "WARN" if failed or entry.refusal else "INFO"


def _listed(commands: Sequence[CommandEntry]) -> dict[str, Any]:
    first = commands[0]
    said: dict[str, Any] = {}
    if first.caller:
        said["caller"] = first.caller
    if first.trace:
        said["trace"] = first.trace
    if len(commands) <= MAX_LISTED:
        said["by_command"] = [_single(command, first) for command in commands]
        return said
    groups = _grouped(commands)
    said["by_command"] = [group.said() for group in groups[:MAX_GROUPS]]
    if left_out := sum(group.count for group in groups[MAX_GROUPS:]):
        said["left_out"] = left_out
    # Last: Logs Insights finds the first 200 fields of a line.
    traces = dict.fromkeys(command.trace for command in commands if command.trace)
    if len(traces) > 1:
        said["traces"] = list(traces)[:MAX_TRACES]
    return said


def _single(command: CommandEntry, first: CommandEntry) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": command.name,
        "namespace": command.namespace,
        "server": command.server[:_MAX_SERVER_CHARS],
        "duration_ms": command.duration_ms,
        "bytes_in": command.bytes_in,
        "bytes_out": command.bytes_out,
        **command.outcome(),
    }
    if command.caller != first.caller:
        said["caller"] = command.caller
    if command.trace != first.trace:
        said["trace"] = command.trace
    return said


class _Group:
    """Commands of one name and namespace on one server, with one outcome, of one caller."""

    __slots__ = ("bytes_in", "bytes_out", "count", "duration_ms", "first", "max_ms")

    def __init__(self, first: CommandEntry) -> None:
        self.first = first
        self.count = self.bytes_in = self.bytes_out = 0
        self.duration_ms = self.max_ms = 0.0

    def add(self, command: CommandEntry) -> None:
        self.count += 1
        self.bytes_in += command.bytes_in
        self.bytes_out += command.bytes_out
        self.duration_ms += command.duration_ms
        self.max_ms = max(self.max_ms, command.duration_ms)

    def said(self) -> dict[str, Any]:
        first = self.first
        said: dict[str, Any] = {
            "name": first.name,
            "namespace": first.namespace,
            "server": first.server[:_MAX_SERVER_CHARS],
            "count": self.count,
            "duration_ms": round(self.duration_ms, 3),
            "max_ms": self.max_ms,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            **first.outcome(),
        }
        if first.caller:
            said["caller"] = first.caller
        return said


def _grouped(commands: Iterable[CommandEntry]) -> list[_Group]:
    groups: dict[tuple[object, ...], _Group] = {}
    for command in commands:
        key = (
            *(command.name, command.namespace, command.server, command.caller),
            *(command.code, command.code_name, command.failure, command.ran, command.refused),
        )
        if key not in groups:
            groups[key] = _Group(command)
        groups[key].add(command)
    return sorted(groups.values(), key=lambda g: (not g.first.failed, -g.duration_ms))


def _rfc3339(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
