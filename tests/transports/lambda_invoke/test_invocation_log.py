from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from transports.lambda_invoke.envelope import MAX_ADDRESS_CHARS, MAX_CALLER_CHARS, FunctionInfo
from transports.lambda_invoke.function.invocation_log import (
    MAX_GROUPS,
    MAX_LISTED,
    CommandEntry,
    InvocationEntry,
    InvocationLog,
)
from transports.lambda_invoke.function.metrics import AT_A_COLD_START, METRICS

WARM = FunctionInfo(
    release="0.1.0",
    environment="e1",
    cold_start=False,
    init_ms=12.5,
    duration_ms=1.25,
    timeout_ms=3000,
)
FIND = CommandEntry(
    name="find",
    namespace="cms.pages",
    server="h:27017",
    caller="cms-api",
    trace="5759e988bd862e3fe1be46a994272793",
    duration_ms=2.5,
    bytes_in=100,
    bytes_out=300,
)


def line(*commands: CommandEntry, function: FunctionInfo = WARM, **of_invocation: Any) -> Any:
    log = InvocationLog(lists_commands=True, metrics=None)
    entry = InvocationEntry("request-1", commands=list(commands), **of_invocation)
    text = log.line(entry, function)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_says_what_ran_how_long_and_how_large() -> None:
    said = line(FIND)
    written = datetime.fromisoformat(said.pop("timestamp"))
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert said == {
        "level": "INFO",
        "requestId": "request-1",
        "environment": "e1",
        "release": "0.1.0",
        "Duration": 1.25,
        "ColdStarts": 0,
        "Commands": 1,
        "Errors": 0,
        "Refused": 0,
        "Deferred": 0,
        "BytesIn": 100,
        "BytesOut": 300,
        "caller": "cms-api",
        "trace": "5759e988bd862e3fe1be46a994272793",
        "by_command": [
            {
                "name": "find",
                "namespace": "cms.pages",
                "server": "h:27017",
                "duration_ms": 2.5,
                "bytes_in": 100,
                "bytes_out": 300,
            }
        ],
    }


def test_a_cold_start_tells_its_initialisation() -> None:
    said = line(function=replace(WARM, cold_start=True))
    assert (said["ColdStarts"], said["InitDuration"]) == (1, 12.5)
    assert "by_command" not in said


@pytest.mark.parametrize(
    ("command", "failures", "level", "told"),
    [
        (replace(FIND, code=11000), 0, "WARN", {"code": 11000}),
        (replace(FIND, code=59, code_name="CommandNotFound"), 0, "WARN", {"code": 59}),
        (replace(FIND, refused=True, ran="no"), 0, "WARN", {"refused": True, "ran": "no"}),
        (
            replace(FIND, failure="NetworkTimeout", ran="unknown"),
            1,
            "ERROR",
            {"failure": "NetworkTimeout", "ran": "unknown"},
        ),
    ],
)
def test_an_error_is_told_by_its_code_or_class(
    command: CommandEntry, failures: int, level: str, told: dict[str, Any]
) -> None:
    said = line(FIND, command, failures=failures)
    assert (said["Errors"], said["Refused"], said["level"]) == (1, int(command.refused), level)
    [fine, failed] = said["by_command"]
    assert told.items() <= failed.items()
    assert not {"code", "failure", "ran", "refused"} & fine.keys()


def test_an_item_that_is_no_command_fails_too() -> None:
    said = line(failures=1)
    assert (said["Commands"], said["Errors"], said["level"]) == (0, 1, "ERROR")


def test_an_event_that_is_no_envelope_is_an_error() -> None:
    said = line(refusal=True)
    assert (said["refusal"], said["Errors"], said["level"]) == (True, 1, "WARN")


def test_callers_and_traces_are_repeated_where_they_differ() -> None:
    other = replace(FIND, caller="billing", trace="")
    first, second = line(FIND, other)["by_command"]
    assert not {"caller", "trace"} & first.keys()
    assert (second["caller"], second["trace"]) == ("billing", "")


def test_more_commands_than_fit_are_grouped_by_what_they_have_in_common() -> None:
    slow = replace(FIND, duration_ms=40.0)
    failed = replace(FIND, name="insert", code=11000, duration_ms=0.5)
    said = line(*[FIND] * MAX_LISTED, slow, failed)
    assert said["Commands"] == MAX_LISTED + 2
    errors, finds = said["by_command"]
    assert (errors["name"], errors["count"], errors["code"]) == ("insert", 1, 11000)
    assert finds["count"] == MAX_LISTED + 1
    assert (finds["duration_ms"], finds["max_ms"]) == (2.5 * MAX_LISTED + 40, 40.0)
    assert (finds["bytes_in"], finds["bytes_out"]) == (1100, 3300)


def test_a_grouped_batch_names_its_traces() -> None:
    commands = [replace(FIND, trace=f"{i % 20:032x}") for i in range(40)]
    said = line(*commands)
    assert said["trace"] == said["traces"][0]
    assert said["traces"] == [f"{i:032x}" for i in range(20)]
    assert "traces" not in line(*[FIND] * 40)


def test_a_line_is_bounded_whatever_ran() -> None:
    hostile = [
        replace(
            FIND,
            namespace=f"{i:04}" + "\x01" * 314,
            server="\x01" * MAX_ADDRESS_CHARS,
            caller="\x01" * MAX_CALLER_CHARS,
            trace=f"{i:032x}",
            duration_ms=float(i),
        )
        for i in range(1000)
    ]
    said = line(*hostile)
    assert len(json.dumps(said)) < 100_000  # CloudWatch Logs takes 1 MB, and 256 KB it did
    assert len(said["by_command"]) == MAX_GROUPS
    assert said["left_out"] == 1000 - MAX_GROUPS
    assert said["by_command"][0]["duration_ms"] == 999.0
    assert len(json.dumps(line(*hostile[:MAX_LISTED]))) < 100_000


def test_without_commands_the_numbers_are_there() -> None:
    log = InvocationLog(lists_commands=False, metrics=None)
    said = json.loads(log.line(InvocationEntry("r", commands=[FIND]), WARM))
    assert said["Commands"] == 1
    assert not {"by_command", "caller", "trace"} & said.keys()


def test_the_documentation_tells_every_field() -> None:
    page = (Path(__file__).parents[3] / "docs" / "observability.md").read_text(encoding="utf-8")
    failed = replace(
        FIND, code=1, code_name="InternalError", failure="x", ran="no", refused=True, caller="a"
    )
    cold = replace(WARM, cold_start=True)
    lines = [
        line(FIND, replace(failed, trace="b"), function=cold, xray="1-2-3", refusal=True),
        line(*[replace(FIND, trace=f"{i}", namespace=f"cms.{i}") for i in range(30)]),
    ]
    fields = {name for said in lines for name in said}
    fields |= {name for said in lines for each in said["by_command"] for name in each}
    assert {name for name in fields if f"{name}`" not in page and f"`{name}`" not in page} == set()
    assert {name for name in METRICS | AT_A_COLD_START if f"`{name}`" not in page} == set()
