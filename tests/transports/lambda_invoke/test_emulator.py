"""The handler under AWS's own Runtime Interface Emulator, whose binary aws-sam-cli carries.

One call at a time: several at once make the emulator itself crash.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from transports import open_transport

ROOT = Path(__file__).parents[3]


def emulator() -> Path:
    """The emulator's binary; skips where there is none for this machine."""
    spec = importlib.util.find_spec("samcli")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("aws-sam-cli, which carries the emulator, is not installed")
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "none")
    name = f"local/rapid/aws-lambda-rie-{machine}"
    binary = Path(spec.submodule_search_locations[0]) / name
    if sys.platform != "linux" or not binary.exists():
        pytest.skip(f"there is no emulator for {sys.platform} on {platform.machine()}")
    return binary


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
async def emulator_url(mongod_uri: str, tmp_path: Path) -> AsyncIterator[str]:
    binary = tmp_path / "aws-lambda-rie"
    binary.write_bytes(emulator().read_bytes())
    binary.chmod(0o700)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        binary,
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{port}",
        "--runtime-api-address",
        f"127.0.0.1:{free_port()}",
        sys.executable,
        "-m",
        "awslambdaric",
        "transports.lambda_invoke.function.app.handler",
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "ODM_PROXY_MONGODB_URI": mongod_uri,
            "ODM_PROXY_POLICY": "unrestricted",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": "10",
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await accepts(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def accepts(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


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
