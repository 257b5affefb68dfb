"""What an execution environment lives through: snapshots, freezing, idling, its end, a late start.

Real function processes on a local Lambda and a real mongod, most of them through a tunnel whose
connections can be cut. Commands are sent as invocations, without a driver: nothing repeats them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from random import getstate, setstate
from typing import Any
from uuid import uuid4

import aiohttp
import bson
import pytest
import snapshot_restore_py  # type: ignore[import-untyped]  # it has no annotations
from bson.objectid import ObjectId
from pymongo import MongoClient
from pymongo.uri_parser import parse_uri

from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    FailureResult,
    FunctionInfo,
    ReplyResult,
    Response,
    decode_response,
    encode_request,
)
from transports.lambda_invoke.function.executor import Executor, NotCompleted
from transports.lambda_invoke.function.lifecycle import (
    Pauses,
    around_snapshots,
    close_at_shutdown,
    renew_identity,
)
from transports.lambda_invoke.function.settings import FunctionSettings
from transports.local_lambda import FunctionConfiguration, LocalLambda

ROOT = Path(__file__).parents[3]
# The handler, and beside it what only the process itself can tell.
PROBE = """
import os, random, socket, threading
from bson.objectid import ObjectId
from transports.lambda_invoke.function import app

def handler(event, context):
    if event != {"probe": True}:
        return app.handler(event, context)
    sockets = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            sockets.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return {
        "pid": os.getpid(), "parent": os.getppid(),
        "object_id": str(ObjectId()), "random": random.random(),
        "sockets": [s for s in sockets if s.startswith("socket:")],
        "threads": [t.name for t in threading.enumerate()],
        "tmp": sorted(os.listdir(os.environ["TMPDIR"])),
    }
"""


class Tunnel:
    """A port that leads to mongod, for as long as it is wanted."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def open_connections(self) -> int:
        return len(self._writers)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection, as a server that restarts does."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection(*self._target)
            try:
                await asyncio.gather(_pump(reader, back), _pump(there, writer))
            finally:
                back.close()
        except (OSError, asyncio.CancelledError):
            pass  # cut, or the test is over
        finally:
            self._writers.discard(writer)
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


class Function:
    """The DB proxy function under test, and what a server sees of it."""

    def __init__(self, service: LocalLambda, server: str, app_name: str, mongod_uri: str) -> None:
        self.service = service
        self.server = server
        self.app_name = app_name
        self._uri = mongod_uri
        self._http = aiohttp.ClientSession()

    async def aclose(self) -> None:
        await self._http.close()

    async def post(self, body: bytes, qualifier: str = "") -> tuple[int, dict[str, str], bytes]:
        url = f"{self.service.endpoint_url}/2015-03-31/functions/proxy{qualifier}/invocations"
        async with self._http.post(url, data=body) as response:
            return response.status, dict(response.headers), await response.read()

    async def probe(self, qualifier: str = "") -> Any:
        return json.loads((await self.post(b'{"probe": true}', qualifier))[2])

    async def call(self, qualifier: str = "", *commands: dict[str, Any]) -> Response:
        items = [
            CommandItem(self.server, Body(bytes(5) + bson.encode({**fields, "$db": "lives"})))
            for fields in commands
        ]
        status, headers, body = await self.post(encode_request(items), qualifier)
        assert (status, headers.get("X-Amz-Function-Error")) == (200, None), body
        return decode_response(body, expected=len(items))

    async def run(self, qualifier: str = "", **fields: Any) -> tuple[FunctionInfo, Any]:
        """The reply to one command, or the failure that came in its place."""
        answer = await self.call(qualifier, fields)
        [result] = answer.results
        if isinstance(result, ReplyResult):
            return answer.function, bson.decode(result.reply.data)
        return answer.function, result

    def connections(self) -> list[dict[str, Any]]:
        """What mongod has of it."""
        with MongoClient[dict[str, Any]](self._uri) as client:
            pipeline: Sequence[dict[str, Any]] = [
                {"$currentOp": {"allUsers": True, "idleConnections": True}},
                {"$match": {"appName": self.app_name}},
            ]
            found = list(client.admin.aggregate(pipeline))
        return list({entry["client"]: entry for entry in found}.values())

    async def clients(self) -> set[str]:
        """The other ends of its connections, e.g. ``127.0.0.1:49152``."""
        return {entry["client"] for entry in await asyncio.to_thread(self.connections)}

    async def connections_are(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(await self.clients()) != number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # a server tells nobody of connections that end


Start = Callable[..., Awaitable[Function]]


@pytest.fixture
async def tunnel(mongod_uri: str) -> AsyncIterator[Tunnel]:
    [(host, port), *_] = parse_uri(mongod_uri)["nodelist"]
    opened = Tunnel(host, port)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def start(mongod_uri: str, tunnel: Tunnel, tmp_path: Path) -> AsyncIterator[Start]:
    """Start a local Lambda with the function, which reaches mongod by the tunnel."""
    (tmp_path / "probe.py").write_text(PROBE)
    async with contextlib.AsyncExitStack() as stack:

        async def begin(variables: dict[str, str] | None = None, **options: Any) -> Function:
            app_name = f"lives-{uuid4().hex[:8]}"
            server = f"127.0.0.1:{tunnel.port}"
            uri = f"mongodb://{server}/lives?directConnection=true&appName={app_name}"
            configuration: dict[str, Any] = {
                "name": "proxy",
                "handler": "probe.handler",
                "code": (tmp_path, ROOT),
                "environment": {"ODM_PROXY_MONGODB_URI": uri, **(variables or {})},
                "memory_size_mb": 512,
                "timeout_s": 20,
                "aliases": {"live": "1"},
                **options,
            }
            service = LocalLambda([FunctionConfiguration(**configuration)])
            await stack.enter_async_context(service)
            function = Function(service, server, app_name, mongod_uri)
            stack.push_async_callback(function.aclose)
            return function

        yield begin


# --- SnapStart ---


def inherited(pid: int) -> set[str]:
    """The sockets of a process."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(entry.readlink()))
    return {name for name in found if name.startswith("socket:")}


def remote_ports(sockets: set[str]) -> set[int]:
    """Where these sockets are connected to."""
    inodes = {name.removeprefix("socket:[").removesuffix("]") for name in sockets}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].partition(":")[2], 16) for row in rows if row[9] in inodes}


async def test_environments_of_one_snapshot_share_nothing_that_must_differ(
    start: Start, tunnel: Tunnel
) -> None:
    function = await start(snap_start=True)
    # Both at once, so that neither can be served by the other's environment.
    infos = await asyncio.gather(*(function.run(":live", ping=1) for _ in range(2)))
    assert [reply["ok"] for _, reply in infos] == [1.0, 1.0]
    assert len({info.environment for info, _ in infos}) == 2
    one, two = await asyncio.gather(*(function.probe(":live") for _ in range(2)))
    assert one["parent"] == two["parent"]
    assert one["pid"] != two["pid"]
    assert one["object_id"][8:18] != two["object_id"][8:18]
    assert one["random"] != two["random"]
    mine = [set(probe["sockets"]) for probe in (one, two)]
    assert all(tunnel.port in remote_ports(sockets) for sockets in mine)
    assert not mine[0] & mine[1]


async def test_the_snapshot_holds_no_connection_to_mongodb(start: Start, tunnel: Tunnel) -> None:
    function = await start(snap_start=True)
    await function.run(":live", ping=1)
    probe = await function.probe(":live")
    assert tunnel.port in remote_ports(inherited(probe["pid"]))
    assert tunnel.port not in remote_ports(inherited(probe["parent"]))
    assert not inherited(probe["pid"]) & inherited(probe["parent"])


async def test_a_restored_environment_tells_its_own_start(start: Start) -> None:
    function = await start(snap_start=True)
    info, _ = await function.run(":live", ping=1)
    assert info.cold_start
    # Made anew after the restore: not the age of the snapshot.
    assert info.init_ms < 1000
    again, _ = await function.run(":live", ping=1)
    assert (again.environment, again.cold_start) == (info.environment, False)


async def test_a_failed_restore_is_a_service_error_that_certainly_did_not_run(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(
        "from snapshot_restore_py import register_after_restore\n"
        "import transports.lambda_invoke.function.app as app\n"
        "handler = app.handler\n"
        "register_after_restore(lambda: 1 / 0)\n"
    )
    function = await start(snap_start=True, handler="broken.handler")
    status, headers, _ = await function.post(b"{}", ":live")
    assert (status, headers["x-amzn-ErrorType"]) == (400, "SnapStartException")


@pytest.fixture
def kept_state() -> Iterator[None]:
    """This process's own identity, as it was."""
    state, counter = getstate(), ObjectId._inc
    yield
    setstate(state)
    ObjectId._inc = counter


@pytest.mark.usefixtures("kept_state")
def test_an_identity_is_new_though_the_process_id_is_the_same() -> None:
    """In microVMs of one snapshot it is, as it is here; after a fork it is not."""
    state = getstate()
    before = ObjectId().binary
    renew_identity()
    after, drawn = ObjectId().binary, getstate()
    assert before[4:9] != after[4:9]
    assert int.from_bytes(after[9:]) != (int.from_bytes(before[9:]) + 1) % 2**24
    assert drawn != state


def test_hooks_close_before_and_reopen_after(monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[Any] = []
    after: list[Any] = []
    monkeypatch.setattr(snapshot_restore_py, "register_before_snapshot", before.append)
    monkeypatch.setattr(snapshot_restore_py, "register_after_restore", after.append)
    calls: list[str] = []
    around_snapshots(lambda: calls.append("close"), lambda: calls.append("reopen"))
    [close], [reopen] = before, after
    close()
    assert calls == ["close"]
    reopen()
    assert calls == ["close", "reopen"]


def test_without_the_runtimes_module_there_are_no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "snapshot_restore_py", None)
    around_snapshots(pytest.fail, pytest.fail)


def test_no_thread_of_the_driver_lives_into_a_snapshot(
    mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def driver_threads() -> set[threading.Thread]:
        return {t for t in threading.enumerate() if t.name.startswith("pymongo")}

    others = driver_threads()
    hooks: list[Any] = []
    monkeypatch.setattr(snapshot_restore_py, "register_before_snapshot", hooks.append)
    monkeypatch.setattr(snapshot_restore_py, "register_after_restore", hooks.append)
    executor = Executor(FunctionSettings(mongodb_uri=mongod_uri), "0")
    around_snapshots(executor.close, lambda: None)
    executor.describe(timeout_s=5)
    assert driver_threads() - others
    hooks[0]()
    assert not driver_threads() - others


# --- Managed Instances ---


async def test_processes_of_one_environment_have_a_proxy_each(start: Start, tunnel: Tunnel) -> None:
    function = await start(
        {"ODM_PROXY_MAX_POOL_SIZE": "2"}, per_execution_environment_max_concurrency=3
    )
    name = f"c{uuid4().hex}"
    insert = {"insert": name, "documents": [{"x": 1}], "ordered": False}
    found: set[str] = set()
    async with asyncio.timeout(20):
        while len(found) < 3:
            answers = await asyncio.gather(*(function.call("", *[insert] * 4) for _ in range(3)))
            for answer in answers:
                assert all(isinstance(result, ReplyResult) for result in answer.results)
                found.add(answer.function.environment)
    assert len(function.service.environments("proxy")) == 1
    # Three processes, of each a pool of two and one monitor.
    assert len(await asyncio.to_thread(function.connections)) <= 3 * (2 + 1)
    assert (await function.probe())["tmp"] == []
    with MongoClient[dict[str, Any]](function._uri) as client:
        assert client["lives"][name].count_documents({}) % 4 == 0
        client.drop_database("lives")


async def test_processes_make_different_ids(start: Start) -> None:
    function = await start(per_execution_environment_max_concurrency=2)
    probes: dict[int, str] = {}
    async with asyncio.timeout(20):
        while len(probes) < 2:
            for probe in await asyncio.gather(function.probe(), function.probe()):
                probes[probe["pid"]] = probe["object_id"][8:18]
    assert len(set(probes.values())) == 2


# --- freeze and thaw ---


async def test_on_lambda_the_driver_polls(start: Start) -> None:
    function = await start()
    await function.run(ping=1)
    threads = (await function.probe())["threads"]
    assert any("monitor" in name for name in threads)
    assert not [name for name in threads if "rtt" in name]
    # One for the command, one for the monitor.
    await function.connections_are(2)


@pytest.mark.parametrize("command", ["retryable", "plain"])
async def test_the_first_command_after_a_thaw_works(
    start: Start, tunnel: Tunnel, command: str
) -> None:
    function = await start({"ODM_PROXY_MAX_IDLE_TIME_MS": "1000"})
    name = f"c{uuid4().hex}"
    session: dict[str, Any] = {"lsid": {"id": bson.Binary(uuid4().bytes, 4)}}
    for number in range(5):
        fields: dict[str, Any] = {"insert": name, "documents": [{"_id": number}]}
        if command == "retryable":
            fields |= session | {"txnNumber": bson.Int64(number)}
        info, reply = await function.run(**fields)
        assert isinstance(reply, dict), reply
        assert (reply["n"], info.cold_start) == (1, number == 0)
        [environment] = function.service.environments("proxy")
        function.service.freeze(environment.id)
        tunnel.cut()
        await asyncio.sleep(1.1)  # its idle time: what it is frozen for
        function.service.thaw(environment.id)
    with MongoClient[dict[str, Any]](function._uri) as client:
        client.drop_database("lives")


async def test_frozen_connections_stay_until_the_thaw(start: Start) -> None:
    function = await start({"ODM_PROXY_MAX_IDLE_TIME_MS": "200"})
    await function.run(ping=1)
    await function.connections_are(2)
    [environment] = function.service.environments("proxy")
    function.service.freeze(environment.id)
    await asyncio.sleep(0.5)  # beyond its idle time
    frozen = await function.clients()
    assert len(frozen) == 2
    function.service.thaw(environment.id)
    await function.run(ping=1)
    async with asyncio.timeout(10):
        while frozen & await function.clients():  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a server tells nobody of connections that end


async def test_an_idle_connection_is_not_used_again(start: Start) -> None:
    function = await start({"ODM_PROXY_MAX_IDLE_TIME_MS": "200"})
    _, first = await function.run(hello=1)
    _, at_once = await function.run(hello=1)
    assert at_once["connectionId"] == first["connectionId"]
    await asyncio.sleep(0.3)  # its idle time
    _, later = await function.run(hello=1)
    assert later["connectionId"] != first["connectionId"]


class Clocks:
    """Two clocks, of which a frozen microVM may stop one."""

    def __init__(self) -> None:
        self.wall = 1000.0
        self.monotonic = 10.0

    def pauses(self, max_idle_s: float | None) -> Pauses:
        return Pauses(max_idle_s, lambda: self.wall, lambda: self.monotonic)


@pytest.mark.parametrize(
    ("max_idle_s", "wall_s", "monotonic_s", "expected"),
    [
        (60, 59, 59, False),
        (60, 61, 61, True),
        (60, 30, 0, True),  # the machine's clock stood still: the driver does not see the gap
        (60, 0.9, 0, False),
        (60, -3600, 5, False),  # the wall's clock was set back
        (60, -3600, 61, True),
        (None, 3600, 3600, False),
    ],
)
def test_a_pause_is_told_by_both_clocks(
    max_idle_s: float | None, wall_s: float, monotonic_s: float, expected: bool
) -> None:
    clocks = Clocks()
    pauses = clocks.pauses(max_idle_s)
    assert not pauses.end()  # there was none before the first invocation
    pauses.begin()
    clocks.wall += wall_s
    clocks.monotonic += monotonic_s
    assert pauses.end() is expected


def test_connections_are_renewed_and_the_server_stays_known(mongod_uri: str) -> None:
    executor = Executor(FunctionSettings(mongodb_uri=mongod_uri, max_pool_size=1), "0")
    try:
        [(server, _), *_] = executor.describe(timeout_s=5)
        message = bytes(5) + bson.encode({"hello": 1, "$db": "admin"})
        numbers = []
        for _ in range(2):
            reply = executor.run(server, message, timeout_s=5)
            numbers.append(bson.decode(reply)["connectionId"])
            executor.renew_connections()
            descriptions = executor.client._get_topology().description.server_descriptions()
            assert all(d.is_server_type_known for d in descriptions.values())
        assert numbers[0] != numbers[1]
    finally:
        executor.close()


# --- the end ---


async def test_a_shutdown_leaves_no_connection(start: Start) -> None:
    function = await start()
    await asyncio.gather(*(function.run(ping=1) for _ in range(2)))
    await function.connections_are(4)
    await function.service.aclose()
    await function.connections_are(0)


@pytest.mark.parametrize("signals", [1, 2])
async def test_sigterm_in_the_middle_of_a_command_ends_the_process_and_its_connections(
    start: Start, tunnel: Tunnel, signals: int
) -> None:
    function = await start()
    await function.run(ping=1)
    [environment] = function.service.environments("proxy")
    # It waits for a document that does not come: mongod notices a client that has gone when the
    # wait is over, the command of a direct connection's client too.
    name = f"c{uuid4().hex}"
    with MongoClient[dict[str, Any]](function._uri) as client:
        client["lives"].create_collection(name, capped=True, size=4096).insert_one({})
    _, found = await function.run(find=name, tailable=True, awaitData=True, batchSize=1)
    waiting = asyncio.ensure_future(
        function.post(
            encode_request(
                [
                    CommandItem(
                        function.server,
                        Body(
                            bytes(5)
                            + bson.encode(
                                {
                                    "getMore": found["cursor"]["id"],
                                    "collection": name,
                                    "maxTimeMS": 3_000,
                                    "$db": "lives",
                                }
                            )
                        ),
                    )
                ]
            )
        )
    )

    def is_waiting() -> bool:
        return any(c.get("op") == "getmore" and c["active"] for c in function.connections())

    async with asyncio.timeout(10):
        while not await asyncio.to_thread(is_waiting):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a server tells nobody what it runs
    for _ in range(signals):
        os.kill(environment.pid, signal.SIGTERM)
    async with asyncio.timeout(5):
        _, headers, body = await waiting
    assert headers["X-Amz-Function-Error"] == "Unhandled"
    assert json.loads(body)["errorType"] == "Runtime.ExitError"
    await function.connections_are(0)
    with MongoClient[dict[str, Any]](function._uri) as client:
        client.drop_database("lives")


def test_closing_that_hangs_does_not_keep_the_process() -> None:
    """The signal may come while the thread holds what closing needs."""
    pid = os.fork()
    if pid == 0:
        lock = threading.Lock()
        close_at_shutdown(lock.acquire)  # type: ignore[arg-type]  # as close() would wait
        with lock:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# --- the beginning ---


async def test_a_cold_start_while_mongodb_is_down_is_made_good(
    start: Start, tunnel: Tunnel
) -> None:
    await tunnel.close()
    function = await start({"ODM_PROXY_SERVER_SELECTION_TIMEOUT_MS": "500"})
    info, failure = await function.run(ping=1)
    assert info.cold_start
    assert isinstance(failure, FailureResult)
    assert (failure.code, failure.ran) == (6, "no")
    await tunnel.open()
    async with asyncio.timeout(10):
        while True:
            again, reply = await function.run(ping=1)
            if isinstance(reply, dict):
                break
    assert reply["ok"] == 1.0
    assert again.environment == info.environment


def test_a_name_that_cannot_be_looked_up_at_first_is_looked_up_again(
    monkeypatch: pytest.MonkeyPatch, mongod_uri: str
) -> None:
    from pymongo.errors import ConfigurationError
    from pymongo.synchronous.srv_resolver import _SrvResolver

    looked_up: list[str] = []
    nodes = parse_uri(mongod_uri)["nodelist"]

    def look_up(resolver: object, *args: object) -> Any:
        looked_up.append("again" if looked_up else "first")
        if looked_up == ["first"]:
            raise ConfigurationError("The DNS operation timed out")
        return nodes

    monkeypatch.setattr(_SrvResolver, "get_hosts", look_up)
    monkeypatch.setattr(_SrvResolver, "get_options", lambda resolver: None)
    uri = "mongodb+srv://cluster0.lives.example.net/?tls=false"
    executor = Executor(FunctionSettings(mongodb_uri=uri), "0")
    try:
        with pytest.raises(NotCompleted) as caught:
            executor.describe(timeout_s=2)
        assert caught.value.ran == "no"
        assert executor.describe(timeout_s=5)
    finally:
        executor.close()
