"""The fake says what mongod said: every reply, with its types and the order of its fields."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

NAMES = sorted(path.stem for path in (Path(__file__).parent / "conversations").glob("*.json"))


@pytest.mark.parametrize("conversation", NAMES, indirect=True)
def test_fake_replies_as_recorded(conversation: Any) -> None:
    if oracle := os.environ.get("FAKE_ORACLE"):
        conversation.record(conversation.with_server(oracle))
    differences = conversation.differences(conversation.with_fake(), conversation.recorded)
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("conversation", NAMES, indirect=True)
def test_server_still_replies_as_recorded(conversation: Any, mongod_uri: str) -> None:
    differences = conversation.differences(
        conversation.with_server(mongod_uri), conversation.recorded
    )
    assert not differences, "\n".join(differences)
