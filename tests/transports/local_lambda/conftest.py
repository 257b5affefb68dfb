"""A local Lambda with one function whose event says what to do, and two clients for it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

from transports.local_lambda import FunctionConfiguration, LocalLambda

HANDLER = '''
import os, signal, subprocess, sys, time
from pathlib import Path

served = 0

def handler(event, context):
    global served
    served += 1
    do = event.get("do") if isinstance(event, dict) else None
    return ACTIONS[do](event, context) if do else {"pid": os.getpid(), "served": served}

def fail(event, context):
    raise LookupError("nothing there")

def wait_for_file(event, context):
    """Tell that it is running, and go on when it is told to."""
    Path(event["started"]).touch()
    while not Path(event["release"]).exists():
        time.sleep(0.005)
    Path(event["release"] + ".seen").touch()
    return {"pid": os.getpid()}

def spawn(event, context):
    """A child in the group, and one that has left it."""
    code = "import time; time.sleep(600)"
    inside = subprocess.Popen([sys.executable, "-c", code])
    outside = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    return {"pids": [os.getpid(), inside.pid, outside.pid]}

def hook(event, context):
    def on_sigterm(*_):
        Path(event["path"]).write_text("bye")
        print("the hook ran")
        sys.exit(0)
    signal.signal(signal.SIGTERM, on_sigterm)

def ignore_sigterm(event, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return {"pid": os.getpid()}

def grow(event, context):
    kept = bytearray(event["mb"] << 20)
    for position in range(0, len(kept), 4096):
        kept[position] = 1
    time.sleep(60)

def describe(event, context):
    return {
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "arn": context.invoked_function_arn,
        "request_id": context.aws_request_id,
        "memory": context.memory_limit_in_mb,
        "version": context.function_version,
        "log_group": context.log_group_name,
        "log_stream": context.log_stream_name,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "custom": context.client_context.custom if context.client_context else None,
    }

def write(event, context):
    for number in range(event["lines"]):
        print(f"line {number}")
    print("to stderr", file=sys.stderr)

ACTIONS = {
    "fail": fail,
    "wait": wait_for_file,
    "spawn": spawn,
    "hook": hook,
    "ignore_sigterm": ignore_sigterm,
    "grow": grow,
    "describe": describe,
    "write": write,
    "sleep": lambda event, context: time.sleep(event["s"]),
    "exit": lambda event, context: os._exit(event["status"]),
    "signal": lambda event, context: os.kill(os.getpid(), event["number"]),
    "length": lambda event, context: len(event["text"]),
    "reply": lambda event, context: "x" * (event["bytes"] - 2),
    "bytes": lambda event, context: b"raw",
}
'''

Service = Callable[..., Awaitable[LocalLambda]]
Invoke = Callable[..., Awaitable["Answer"]]


@dataclass(frozen=True)
class Answer:
    """A response as it came over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def function_error(self) -> str | None:
        return self.headers.get("x-amz-function-error")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A directory with ``app.handler``."""
    directory = tmp_path / "code"
    directory.mkdir()
    (directory / "app.py").write_text(HANDLER)
    return directory


@pytest.fixture
def function(code: Path) -> Callable[..., FunctionConfiguration]:
    """Make the configuration of a function named ``f``."""

    def make(**options: Any) -> FunctionConfiguration:
        options = {"name": "f", "handler": "app.handler", "code": (code,)} | options
        return FunctionConfiguration(**options)

    return make


@pytest.fixture
async def serve(function: Callable[..., FunctionConfiguration]) -> AsyncIterator[Service]:
    """Start a local Lambda with the function ``f``, whose options these are."""
    async with AsyncExitStack() as stack:

        async def start(
            account_concurrency: int = 1000,
            tls: bool = False,
            request_rate: float | None = None,
            **options: Any,
        ) -> LocalLambda:
            service = LocalLambda(
                [function(**options)],
                account_concurrency=account_concurrency,
                tls=tls,
                request_rate=request_rate,
            )
            return await stack.enter_async_context(service)

        yield start


@pytest.fixture
async def post() -> AsyncIterator[Invoke]:
    """Invoke over bare HTTP."""
    async with aiohttp.ClientSession() as session:

        async def invoke(
            service: LocalLambda,
            event: Any = None,
            *,
            name: str = "f",
            body: bytes | None = None,
            query: str = "",
            headers: dict[str, str] | None = None,
        ) -> Answer:
            data = body if body is not None else json.dumps(event or {}).encode()
            url = f"{service.endpoint_url}/2015-03-31/functions/{name}/invocations{query}"
            # A payload object: plain bytes of this size make the client warn.
            payload = aiohttp.BytesPayload(data) if len(data) < 2**20 else _chunked(data)
            trusted = _trusting(service)
            async with session.post(url, data=payload, headers=headers, ssl=trusted) as response:
                names = {key.lower(): value for key, value in response.headers.items()}
                return Answer(response.status, names, await response.read())

        yield invoke


def _trusting(service: LocalLambda) -> ssl.SSLContext | bool:
    if not service.endpoint_url.startswith("https:"):
        return True
    context = ssl.create_default_context(cafile=service.ca_bundle)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # Python's default from 3.13 on
    return context


async def _chunked(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 2**18):
        yield data[start : start + 2**18]


@pytest.fixture(scope="session")
def aws_session() -> AioSession:
    """Shared: its first client takes 100 ms."""
    return get_session()


@pytest.fixture
async def connect(aws_session: AioSession) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Make an aiobotocore client of Lambda, with retries off."""
    async with AsyncExitStack() as stack:

        async def make(service: LocalLambda, **options: Any) -> Any:
            client = aws_session.create_client(
                "lambda",
                region_name="us-east-1",
                endpoint_url=service.endpoint_url,
                verify=str(service.ca_bundle) if service.ca_bundle else None,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=AioConfig(retries={"total_max_attempts": 1}, **options),
            )
            return await stack.enter_async_context(client)

        yield make


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # other processes' doings raise no event
            await asyncio.sleep(0.002)


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait for a condition that another process brings about; bounded."""
    return _until


@pytest.fixture
def exists() -> Callable[[Path], Awaitable[None]]:
    """Wait for a file."""

    async def wait(path: Path) -> None:
        await _until(path.exists)

    return wait


@pytest.fixture
def gone() -> Callable[[list[int]], Awaitable[None]]:
    """Wait until processes are gone (a zombie, which its parent has not reaped yet, is)."""

    def alive(pid: int) -> bool:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return status.rpartition(")")[2].split()[0] != "Z"

    async def wait(pids: list[int]) -> None:
        assert pids
        await _until(lambda: not any(map(alive, pids)))

    return wait
