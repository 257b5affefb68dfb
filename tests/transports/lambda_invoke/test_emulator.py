"""The handler under AWS's own Runtime Interface Emulator."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.transports.lambda_invoke.emulator import emulated
from transports import open_transport

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def emulator_url(mongod_uri: str, tmp_path: Path) -> AsyncIterator[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "ODM_PROXY_MONGODB_URI": mongod_uri,
        "ODM_PROXY_POLICY": "unrestricted",
    }
    python = Path(sys.executable)
    async with emulated(
        python, task_root=ROOT, directory=tmp_path, environment=environment
    ) as endpoint:
        yield endpoint


async def test_the_handler_serves_under_the_runtime_interface_emulator(emulator_url: str) -> None:
    # The emulator knows one function, and calls it "function".
    url = f"lambda://function/emulated?endpoint={emulator_url}"
    async with open_transport(url) as transport:
        things = transport.database.things
        await things.drop()
        await things.insert_many([{"_id": i} for i in range(10)])
        assert len(await things.find({}, batch_size=3).to_list()) == 10
        async with (
            transport.client.start_session() as session,
            await session.start_transaction(),
        ):
            await things.update_one({"_id": 1}, {"$set": {"n": 1}}, session=session)
        assert await things.find_one({"n": 1}) == {"_id": 1, "n": 1}
        await transport.client.drop_database("emulated")
