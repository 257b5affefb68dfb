from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from transports.fake import support
from transports.fake.server import FakeServer

ROOT = Path(__file__).parents[4]


def test_documentation_has_the_current_lists() -> None:
    documented = (ROOT / "docs" / "fake.md").read_text()
    assert support.markdown() in documented, "put the output of scripts/fake-support there"


def answered(command: dict[str, object]) -> int:
    """Return the code that a fresh fake answers a command with, 0 for success."""
    reply = asyncio.run(FakeServer().run({**command, "$db": "t"}))
    code: int = reply.get("code", 0)
    return code


@pytest.mark.parametrize("stage", sorted(support.refused()["Aggregation stages"]))
def test_refused_stages_are_refused(stage: str) -> None:
    assert answered({"aggregate": "a", "pipeline": [{stage: {}}], "cursor": {}}) == 238


@pytest.mark.parametrize("name", sorted(support.refused()["Query operators"]))
def test_refused_query_operators_are_refused(name: str) -> None:
    codes = {answered({"find": "a", "filter": f}) for f in ({name: 1}, {"a": {name: 1}})}
    without_index = 27  # what a server says of $text, too
    assert codes & {238, without_index if name == "$text" else 238}


@pytest.mark.parametrize("name", sorted(support.refused()["Commands"]))
def test_refused_commands_are_refused(name: str) -> None:
    assert answered({name: 1}) == 238
