"""AWS's own Runtime Interface Emulator, whose binary aws-sam-cli carries.

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
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

HANDLER = "transports.lambda_invoke.function.app.handler"


@asynccontextmanager
async def emulated(
    python: Path, *options: str, task_root: Path, directory: Path, environment: Mapping[str, str]
) -> AsyncIterator[str]:
    """Run the DB proxy function below *task_root* by *python*; give the emulator's endpoint.

    *directory* takes the emulator's binary. It knows one function, and calls it "function". It
    skips where there is no emulator for this machine.
    """
    binary = directory / "aws-lambda-rie"
    binary.write_bytes(_emulator().read_bytes())
    binary.chmod(0o700)
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        *(binary, "--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{_free_port()}"),
        *(str(python), *options, "-m", "awslambdaric", HANDLER),
        cwd=task_root,
        env={"AWS_LAMBDA_FUNCTION_TIMEOUT": "10", **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await _accepts(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _emulator() -> Path:
    spec = importlib.util.find_spec("samcli")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("aws-sam-cli, which carries the emulator, is not installed")
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "none")
    name = f"local/rapid/aws-lambda-rie-{machine}"
    binary = Path(spec.submodule_search_locations[0]) / name
    if sys.platform != "linux" or not binary.exists():
        pytest.skip(f"there is no emulator for {sys.platform} on {platform.machine()}")
    return binary


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def _accepts(port: int) -> None:
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
