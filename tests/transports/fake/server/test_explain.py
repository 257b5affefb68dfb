"""``explain`` shows the plans that mongod 6.0.5 showed.

``plans.jsonl`` holds the collection in its first line, then one case per line: what is explained,
and of the server's answer the plan and what it read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import json_util

from transports.fake.wire import CODEC

Document = dict[str, Any]
Run = Callable[..., Awaitable[Document]]

_CANONICAL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    datetime_representation=json_util.DatetimeRepresentation.NUMBERLONG,
)
_LINES = (Path(__file__).parent / "plans.jsonl").read_text().splitlines()
_PLANNER = ("parsedQuery", "optimizedPipeline", "winningPlan", "rejectedPlans")
_STATISTICS = ("nReturned", "totalKeysExamined", "totalDocsExamined")


def read(line: str) -> Document:
    """Return a line as a command's decoded body holds it."""
    found: Document = bson.decode(
        bson.encode(json_util.loads(line, json_options=_CANONICAL), codec_options=CODEC), CODEC
    )
    return found


@pytest.fixture
async def filled(run: Run) -> Run:
    """The collection that the cases are about."""
    stored = read(_LINES[0])
    await run({"insert": "c", "documents": stored["documents"]})
    await run({"createIndexes": "c", "indexes": stored["indexes"]})
    return run


@pytest.mark.parametrize("line", _LINES[1:], ids=range(1, len(_LINES)))
async def test_the_plan_is_the_servers(filled: Run, line: str) -> None:
    case = read(line)
    expected = case["answer"]
    reply = await filled(
        {"explain": case["explain"], "verbosity": case["verbosity"]}, fails=expected.get("code", 0)
    )
    if "code" in expected:
        return
    shown = {k: v for k, v in reply["queryPlanner"].items() if k in _PLANNER}
    shown |= {k: v for k, v in reply.get("executionStats", {}).items() if k in _STATISTICS}
    assert json_util.dumps(shown) == json_util.dumps(expected)


async def test_a_choice_between_indexes_is_refused(filled: Run) -> None:
    command = {"find": "c", "filter": {"u": 1, "m": 1}}
    reply = await filled({"explain": command, "verbosity": "queryPlanner"}, fails=238)
    assert "u_1 and m_1" in reply["errmsg"]


async def test_the_answer_names_the_command_and_the_server(filled: Run) -> None:
    reply = await filled({"explain": {"find": "c"}})
    assert [name for name in reply if name not in ("$clusterTime", "operationTime")] == [
        *("explainVersion", "queryPlanner", "executionStats", "command", "serverInfo"),
        *("serverParameters", "ok"),
    ]
    assert reply["command"] == {"find": "c", "$db": "t"}
    assert reply["queryPlanner"]["namespace"] == "t.c"
    assert reply["executionStats"]["allPlansExecution"] == []
