"""Lives of a caller: frozen between invocations, cancelled, interrupted, forked."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from transports import open_transport
from transports.base import Transport
from transports.local_lambda import FunctionConfiguration, LocalLambda

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[3]


@pytest.fixture
def lambda_url(local_lambda: LocalLambda) -> str:
    return f"lambda://db-proxy/callers?endpoint={local_lambda.endpoint_url}"


# -- an application that is itself a Lambda function ---------------------------------------------

# The example's handler, whose driver asks and gives up twenty times as fast as it would.
_IMPATIENT = """
import pymongo.common

pymongo.common.HEARTBEAT_FREQUENCY = 0.5
pymongo.common.CONNECT_TIMEOUT = 0.5

import notes

def handler(event, context):
    if "monitors" in event:
        return [s._monitor._stream for s in notes.db.client._topology._servers.values()]
    return notes.handler(event, context)
"""
_FROZEN_S = 1.2


class Caller:
    """The function, and what can be done to its environments and the DB proxy function's."""

    def __init__(self, service: LocalLambda) -> None:
        self._service = service

    async def invoke(self, event: dict[str, Any]) -> Any:
        """What the function returns; AssertionError if it failed."""
        address = f"{self._service.endpoint_url}/2015-03-31/functions/caller/invocations"

        def post() -> tuple[str | None, Any]:
            request = urllib.request.Request(address, json.dumps(event).encode(), method="POST")
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.headers.get("X-Amz-Function-Error"), json.load(response)

        failed, answer = await asyncio.to_thread(post)
        assert failed is None, answer
        return answer

    async def sleep(self, *functions: str) -> None:
        """Freeze the functions' environments for a while, as AWS does between invocations."""
        ids = [found.id for name in functions for found in self._service.environments(name)]
        assert ids
        for found in ids:
            self._service.freeze(found)
        await asyncio.sleep(_FROZEN_S)  # not for something: time itself is what is to pass
        for found in ids:
            self._service.thaw(found)


@pytest.fixture
async def caller(local_lambda: LocalLambda, lambda_url: str, tmp_path: Path) -> Caller:
    (tmp_path / "impatient.py").write_text(_IMPATIENT)
    local_lambda.add_function(
        FunctionConfiguration(
            name="caller",
            handler="impatient.handler",
            code=(tmp_path, ROOT / "examples" / "caller", ROOT),
            environment={"ODM_URL": lambda_url},
            memory_size_mb=512,
            timeout_s=30,
            init_timeout_s=30,
        )
    )
    return Caller(local_lambda)


async def test_a_caller_that_was_frozen_finds_its_connection_alive(caller: Caller) -> None:
    assert await caller.invoke({"monitors": True}) == [False]  # they poll: nothing is in flight
    reads = (await caller.invoke({"add": "a note"}))["notes"][0]["reads"]
    for frozen in (["caller"], ["caller", "db-proxy"], ["db-proxy"], ["caller"]):
        await caller.sleep(*frozen)
        [note] = (await caller.invoke({}))["notes"]
        reads += 1
        assert note["reads"] == reads  # an update_many, which nobody repeats: once each


# -- cancelled -----------------------------------------------------------------------------------


async def find(transport: Transport) -> None:
    async for _ in transport.database["things"].find(batch_size=7):
        pass


async def insert(transport: Transport) -> None:
    await transport.database["things"].insert_one({"of": "insert"})


async def update_many(transport: Transport) -> None:
    await transport.database["things"].update_many({"of": "insert"}, {"$inc": {"n": 1}})


async def aggregate(transport: Transport) -> None:
    things = transport.database["things"]
    async for _ in await things.aggregate([{"$match": {}}], batchSize=5):
        pass


async def transaction(transport: Transport) -> None:
    things = transport.database["things"]
    async with transport.client.start_session() as session, await session.start_transaction():
        await things.insert_one({"of": "transaction"}, session=session)
        await things.insert_one({"of": "transaction"}, session=session)


async def watch(transport: Transport) -> None:
    async with await transport.database["things"].watch() as changes:
        async for _ in changes:
            pass


async def open_and_close(transport: Transport) -> None:
    async with open_transport(transport.url) as other:
        await other.client.admin.command("ping")


OPERATIONS: tuple[Callable[[Transport], Coroutine[Any, Any, None]], ...] = (
    *(find, insert, update_many, aggregate, transaction, watch, open_and_close),
)
CONCURRENCY = 4


class Neighbour:
    """Another task on the same connection, to which nothing may happen."""

    def __init__(self, transport: Transport) -> None:
        self._counters = transport.database["counters"]
        self._id = uuid4().hex  # an object's address may have been another's before
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._work())

    async def _work(self) -> int:
        done = 0
        while not self._stop.is_set():
            await self._counters.update_one({"_id": self._id}, {"$inc": {"n": 1}}, upsert=True)
            done += 1
            await asyncio.sleep(0)
        return done

    async def end(self) -> tuple[int, int]:
        """How many updates it made, and how many there are."""
        self._stop.set()
        done = await self._task
        found = await self._counters.find_one({"_id": self._id})
        assert found is not None
        return done, found["n"]


async def cancel_at_random(transport: Transport, times: int, seed: int) -> Counter[str]:
    """Begin operations and cancel them a moment later; count what became of them."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()

    async def once() -> None:
        operation, delay_s = rng.choice(OPERATIONS), rng.random() ** 2 * 0.1
        task = asyncio.ensure_future(operation(transport))
        await asyncio.sleep(delay_s)
        # The driver may lose a cancellation: seen once, of a change stream on a direct connection.
        for _ in range(3):
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=10)
            if done:
                break
        if not done:
            outcomes[f"{operation.__name__} hangs"] += 1
        elif task.cancelled():
            outcomes["cancelled"] += 1
        else:
            error = task.exception()
            outcomes["finished" if error is None else repr(error)] += 1

    for _ in range(times // CONCURRENCY):
        await asyncio.gather(*(once() for _ in range(CONCURRENCY)))
    return outcomes


def tasks_now() -> Counter[str]:
    """The tasks of the loop by what they run; the local Lambda's are not the caller's."""
    gc.collect()
    names = (getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    own = (n for n in names if not n.startswith(("RequestHandler", "LocalLambda", "Environment")))
    return Counter(name for name in own if "local_lambda" not in name)


async def until(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"it did not settle: {what()}")


@pytest.mark.parametrize(("scheme", "times"), [("fake", 200), ("direct", 200), ("lambda", 120)])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the driver's, of half-made connections
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_cancelling_harms_nobody_and_leaks_nothing(
    scheme: str, times: int, mongod_uri: str, lambda_url: str
) -> None:
    urls = {
        "fake": "fake://cancelled/callers",
        "direct": mongod_uri.replace("/?", "/cancelled?"),
        "lambda": lambda_url.replace("/callers", "/cancelled"),
    }
    loop, unheard = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    tasks_before = tasks_now()
    try:
        async with open_transport(urls[scheme]) as transport:
            things = transport.database["things"]
            await things.insert_many([{"of": "start", "n": n} for n in range(60)])
            neighbour = Neighbour(transport)
            outcomes = await cancel_at_random(transport, times, seed=20)
            assert set(outcomes) <= {"cancelled", "finished"}
            assert outcomes["cancelled"] > times // 4
            done, stored = await neighbour.end()
            assert done == stored

            servers: Any = transport.client._topology._servers
            pools = [server.pool for server in servers.values()]
            await until(
                lambda: not any(pool.active_sockets or pool.operation_count for pool in pools),
                lambda: [(pool.active_sockets, pool.operation_count) for pool in pools],
            )
            assert sum(len(pool.conns) for pool in pools) <= CONCURRENCY + 1
            assert len(transport.client._topology._session_pool) <= 2 * CONCURRENCY + 1
            endpoint: Any = getattr(transport, "_endpoint", None)
            if endpoint is not None:
                most = CONCURRENCY + 1 + 2 * len(pools)  # and the monitors
                await until(
                    lambda: endpoint.statistics().clients <= most, lambda: endpoint.statistics()
                )
            assert await things.count_documents({"of": "transaction"}) % 2 == 0
            await things.drop()
        await until(lambda: tasks_now() <= tasks_before, tasks_now)
    finally:
        gc.collect()
        loop.set_exception_handler(None)
    assert unheard == []


# -- interrupted, forked -------------------------------------------------------------------------


async def run_script(script: str, url: str, directory: Path) -> tuple[int | None, str]:
    """The exit code and what it wrote to stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", script, url),
        env={**os.environ, "TMPDIR": str(directory)},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return process.returncode, errors.decode()


_INTERRUPTED = """
import asyncio, os, signal, sys
from transports import open_transport

async def main():
    async with open_transport(sys.argv[1]) as transport:
        things = transport.database["things"]
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
        while True:
            await asyncio.gather(*(things.insert_one({}) for _ in range(5)))

asyncio.run(main())
"""


async def test_an_interrupt_leaves_nothing(lambda_url: str, tmp_path: Path) -> None:
    code, errors = await run_script(_INTERRUPTED, lambda_url, tmp_path)
    assert code == -signal.SIGINT, errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    for stray in ("never", "destroyed", "unclosed", "ignored"):
        assert stray not in errors
    assert list(tmp_path.iterdir()) == []


_FORKED = """
import asyncio, os, sys, tempfile, warnings
warnings.simplefilter("ignore")  # of forking with threads, and of what the child cannot close
from transports import open_transport
from transports.errors import OpenedBeforeFork

transport = open_transport(sys.argv[1])

async def use():
    async with transport:
        things = transport.database["things"]
        await things.insert_one({})
        there = os.listdir(tempfile.gettempdir())
        pid = os.fork()
        if not pid:
            return "child"
        assert (await asyncio.to_thread(os.waitpid, pid, 0))[1] == 0
        assert os.listdir(tempfile.gettempdir()) == there
        for _ in range(3):
            assert await asyncio.wait_for(things.count_documents({}), 10) >= 1
        return "parent"

async def anew():
    async with asyncio.timeout(30), transport:
        assert await transport.database["things"].count_documents({}) >= 1

try:
    who = asyncio.run(use())
except BaseException:
    raise
if who == "child":
    asyncio.run(anew())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
async def test_a_forked_child_leaves_the_parent_alone(lambda_url: str, tmp_path: Path) -> None:
    code, errors = await run_script(_FORKED, lambda_url, tmp_path)
    assert code == 0, errors[-2000:]
    assert list(tmp_path.iterdir()) == []
