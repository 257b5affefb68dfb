"""Three real servers behind the function: one fails, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient, MongoClient, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import AutoReconnect, CursorNotFound, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import (
    Nearest,
    Primary,
    PrimaryPreferred,
    Secondary,
    SecondaryPreferred,
)

from transports import open_transport
from transports.base import Transport
from transports.lambda_invoke.transport import LambdaTransport
from transports.local_lambda import FunctionConfiguration, LocalLambda
from transports.mongod import Mongod, ReplicaSet

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[3]
FUNCTION = "db-proxy"
WORKERS = 24
PATIENCE_S = 30.0
"""No wait in this file may take longer; with these elections a failover takes 2 s."""

Document = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(three_members: ReplicaSet) -> AsyncIterator[LocalLambda]:
    # The function polls its servers as often as these tests can wait for a silent one.
    uri = f"{three_members.uri}&heartbeatFrequencyMS=1000&connectTimeoutMS=1000"
    function = FunctionConfiguration(
        name=FUNCTION,
        handler="transports.lambda_invoke.function.app.handler",
        code=(ROOT,),
        environment={"ODM_PROXY_MONGODB_URI": uri, "ODM_PROXY_POLICY": '{"databases": ["*"]}'},
        memory_size_mb=256,
        timeout_s=10,
        reserved_concurrency=4,
    )
    async with LocalLambda([function]) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def transport(service: LocalLambda) -> AsyncIterator[Transport]:
    url = f"lambda://{FUNCTION}/t{uuid4().hex}?endpoint={service.endpoint_url}"
    async with open_transport(url) as opened:
        yield opened
        await settle(opened.client)


@pytest.fixture
def replica_set(three_members: ReplicaSet) -> Iterator[ReplicaSet]:
    """The set of three, whole before and after.

    A test asks for it last: it is made whole before the clients close.
    """
    yield three_members
    for member in three_members.members:
        if member.pid is None:
            three_members.restart(member)
        member.resume()
    three_members.wait_until_complete()


@pytest_asyncio.fixture(loop_scope="module")
async def direct(three_members: ReplicaSet) -> AsyncIterator[AsyncMongoClient[Document]]:
    # It waits for a lost cursor's server to come back: not for half a minute here.
    async with AsyncMongoClient[Document](
        three_members.uri, serverSelectionTimeoutMS=5000
    ) as client:
        yield client
        await settle(client)


async def settle(client: AsyncMongoClient[Document]) -> None:
    """Wait until *client* has met every server again.

    PyMongo Async leaves a socket behind when it is closed while one of its monitors connects, which
    is what they do as long as a server is away.
    """
    for name in ("member0", "member1", "member2"):
        preference = Nearest(tag_sets=[{"name": name}])
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(AutoReconnect):
                    await client.admin.command("ping", read_preference=preference)
                    break


# --- what is acknowledged is there, once ---


@dataclass(slots=True)
class Load:
    """Retryable writes and reads of many tasks, each with an application's own loop around it."""

    things: AsyncCollection[Document]
    acknowledged: set[str] = field(default_factory=set)
    increments: Counter[int] = field(default_factory=Counter)
    doubtful: Counter[int] = field(default_factory=Counter)
    attempts: int = 0
    stopped: bool = False

    async def work(self, number: int) -> None:
        step = 0
        while not self.stopped:
            step += 1
            await self.insert(f"{number}-{step}")
            try:
                await self.things.update_one({"_id": number}, {"$inc": {"n": 1}}, upsert=True)
            except PyMongoError:
                self.doubtful[number] += 1
            else:
                self.increments[number] += 1
            with suppress(PyMongoError):  # read your own writes; a failover may be just now
                found = await self.things.find_one({"_id": f"{number}-{step}"})
                assert found is not None

    async def insert(self, key: str) -> None:
        for attempt in range(1, 10):
            self.attempts = max(self.attempts, attempt)
            with suppress(DuplicateKeyError):  # the attempt before was applied
                try:
                    await self.things.insert_one({"_id": key})
                except DuplicateKeyError:
                    raise
                except PyMongoError:
                    continue
            self.acknowledged.add(key)
            return
        raise AssertionError(f"{key} was not written in {attempt} attempts")

    async def until_everybody_wrote(self) -> None:
        """Wait until each worker has had two more increments acknowledged."""
        before = self.increments.copy()
        while any(self.increments[n] < before[n] + 2 for n in range(WORKERS)):  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.01)


def step_down(primary: Mongod) -> None:
    with MongoClient[Document](primary.address, directConnection=True) as client:
        client.admin.command({"replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5})


@pytest.mark.parametrize("fault", [Mongod.kill, step_down, Mongod.pause])
async def test_what_was_acknowledged_survives_the_primary(
    fault: Any, transport: Transport, direct: AsyncMongoClient[Document], replica_set: ReplicaSet
) -> None:
    load = Load(transport.database.things.with_options(write_concern=WriteConcern("majority")))
    async with asyncio.timeout(2 * PATIENCE_S), asyncio.TaskGroup() as group:
        for number in range(WORKERS):
            group.create_task(load.work(number))
        await load.until_everybody_wrote()
        old = await asyncio.to_thread(replica_set.wait_for_primary)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.to_thread(fault, old)
            await load.until_everybody_wrote()
        load.stopped = True
    if fault is Mongod.kill:
        assert await asyncio.to_thread(replica_set.wait_for_primary) is not old
    old.resume()
    assert load.attempts <= 3
    stored = direct[transport.url.database].get_collection(
        "things", read_concern=ReadConcern("majority")
    )
    documents = {d["_id"]: d async for d in stored.find({})}
    assert load.acknowledged <= documents.keys()
    for number in range(WORKERS):
        least = load.increments[number]
        assert least <= documents[number]["n"] <= least + load.doubtful[number]


# --- reads go where they should ---


@pytest.mark.parametrize(
    ("preference", "kinds", "servers"),
    [
        (Primary(), {"primary"}, 1),
        (PrimaryPreferred(), {"primary"}, 1),
        (Secondary(), {"secondary"}, 2),
        (SecondaryPreferred(), {"secondary"}, 2),
        (Nearest(), {"primary", "secondary"}, 3),
    ],
    ids=lambda value: getattr(value, "mongos_mode", None),
)
async def test_reads_go_to_the_servers_of_their_preference(
    transport: Transport, replica_set: ReplicaSet, preference: Any, kinds: set[str], servers: int
) -> None:
    ran_on = await servers_of_reads(transport, replica_set, preference)
    assert {kind for _, kind in ran_on} == kinds
    assert len(ran_on) == servers


async def test_reads_follow_tags(transport: Transport, replica_set: ReplicaSet) -> None:
    primary = await asyncio.to_thread(replica_set.wait_for_primary)
    number, chosen = next((i, m) for i, m in enumerate(replica_set.members) if m is not primary)
    preference = Secondary(tag_sets=[{"name": f"member{number}"}])
    ran_on = await servers_of_reads(transport, replica_set, preference)
    assert ran_on == {(chosen.address, "secondary")}


async def servers_of_reads(
    transport: Transport, replica_set: ReplicaSet, preference: Any
) -> set[tuple[str, str]]:
    """Read often, and ask each server's profiler which reads it ran: ``(address, kind)``."""
    database, comment = transport.url.database, uuid4().hex
    await transport.database.things.with_options(write_concern=WriteConcern(3)).insert_one({})
    await asyncio.to_thread(profile, replica_set, database, 2)
    things = transport.database.get_collection("things", read_preference=preference)
    await asyncio.gather(*(things.find_one({}, comment=comment) for _ in range(60)))
    return await asyncio.to_thread(who_ran, replica_set, database, comment)


def profile(replica_set: ReplicaSet, database: str, level: int) -> None:
    for member in replica_set.members:
        with MongoClient[Document](member.address, directConnection=True) as client:
            client[database].command({"profile": level})


def who_ran(replica_set: ReplicaSet, database: str, comment: str) -> set[tuple[str, str]]:
    found = set()
    for member in replica_set.members:
        with MongoClient[Document](member.address, directConnection=True) as client:
            if client[database]["system.profile"].find_one({"command.comment": comment}):
                primary = client.admin.command("hello")["isWritablePrimary"]
                found.add((member.address, "primary" if primary else "secondary"))
            client[database].command({"profile": 0})
    return found


# --- what a server holds is reached from any execution environment ---


async def kill_every_environment(service: LocalLambda) -> None:
    """The next command certainly runs in another one, on other connections."""
    for environment in service.environments(FUNCTION):
        await service.kill_environment(environment.id)


def environment_of(transport: Transport) -> str:
    """The execution environment that ran the last command."""
    assert isinstance(transport, LambdaTransport)
    assert transport.function is not None
    return transport.function.environment


async def test_a_cursor_is_continued_from_another_environment(
    transport: Transport, service: LocalLambda
) -> None:
    things = transport.database.things.with_options(write_concern=WriteConcern(3))
    await things.insert_many([{"_id": n} for n in range(9)])
    secondary = transport.database.get_collection("things", read_preference=Secondary())
    environments, found = set(), []
    async for document in secondary.find({}, sort=[("_id", 1)], batch_size=3):
        found.append(document["_id"])
        environments.add(environment_of(transport))
        if len(found) % 3 == 0:
            await kill_every_environment(service)
    assert found == list(range(9))
    assert len(environments) == 3


async def test_a_transaction_is_continued_from_another_environment(
    transport: Transport, service: LocalLambda
) -> None:
    things = transport.database.things
    await things.insert_one({"_id": 0})
    environments = set()
    async with transport.client.start_session() as session:
        await session.start_transaction()
        for number in range(1, 4):
            await things.insert_one({"_id": number}, session=session)
            environments.add(environment_of(transport))
            await kill_every_environment(service)
        await session.commit_transaction()
    assert await things.distinct("_id") == [0, 1, 2, 3]
    assert len(environments) == 3


async def test_cursors_and_transactions_cross_each_other_on_every_environment(
    transport: Transport, service: LocalLambda
) -> None:
    things = transport.database.things.with_options(write_concern=WriteConcern(3))
    await things.insert_many([{"_id": n} for n in range(30)])
    secondary = transport.database.get_collection("things", read_preference=Secondary())

    async def read() -> None:
        cursor = secondary.find({"_id": {"$lt": 30}}, batch_size=2)
        assert len(await cursor.to_list()) == 30

    async def transfer(number: int) -> None:
        async def moves(session: AsyncClientSession) -> None:
            await things.insert_one({"_id": 100 + number}, session=session)
            await things.insert_one({"_id": 200 + number}, session=session)

        async with transport.client.start_session() as session:
            await session.with_transaction(moves)

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(read() for _ in range(8)), *(transfer(n) for n in range(8)))
    assert await things.count_documents({"_id": {"$gte": 100}}) == 16
    assert service.statistics(FUNCTION).max_environments > 1


# --- and fails as it does directly when that server is gone ---


async def cursor_on(
    client: AsyncMongoClient[Document], database: str, tags: dict[str, str]
) -> AsyncCursor[Document]:
    things = client[database].get_collection("things", read_preference=Secondary(tag_sets=[tags]))
    cursor = things.find({}, batch_size=2)
    await cursor.next()
    await cursor.next()
    return cursor


async def test_a_cursor_fails_as_directly_when_its_server_is_gone(
    transport: Transport, direct: AsyncMongoClient[Document], replica_set: ReplicaSet
) -> None:
    database = transport.url.database
    things = transport.database.things.with_options(write_concern=WriteConcern(3))
    await things.insert_many([{"_id": n} for n in range(9)])
    primary = await asyncio.to_thread(replica_set.wait_for_primary)
    number, chosen = next((i, m) for i, m in enumerate(replica_set.members) if m is not primary)
    tags = {"name": f"member{number}"}
    cursors = [await cursor_on(client, database, tags) for client in (transport.client, direct)]
    await asyncio.to_thread(chosen.kill)
    for cursor in cursors:
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(AutoReconnect):
                await cursor.next()
    # Reads that may go elsewhere do.
    elsewhere = transport.database.get_collection("things", read_preference=SecondaryPreferred())
    async with asyncio.timeout(PATIENCE_S):
        assert await elsewhere.count_documents({}) == 9


async def test_a_cursor_that_the_server_has_closed_is_not_found(
    transport: Transport, replica_set: ReplicaSet
) -> None:
    things = transport.database.things.with_options(write_concern=WriteConcern(3))
    await things.insert_many([{"_id": n} for n in range(9)])
    secondary = transport.database.get_collection("things", read_preference=Secondary())
    cursor = secondary.find({}, batch_size=2)
    await cursor.next()
    await cursor.next()
    kill = {"killCursors": "things", "cursors": [bson.Int64(cursor.cursor_id or 0)]}
    for member in replica_set.members:
        with MongoClient[Document](member.address, directConnection=True) as client:
            client[transport.url.database].command(kill)
    with pytest.raises(CursorNotFound):
        await cursor.next()


@pytest.mark.parametrize("fault", [Mongod.kill, step_down])
async def test_a_transaction_fails_as_directly_when_its_primary_is_gone(
    fault: Any, transport: Transport, direct: AsyncMongoClient[Document], replica_set: ReplicaSet
) -> None:
    await transport.database.things.insert_one({"_id": 0})
    clients: Sequence[AsyncMongoClient[Document]] = (transport.client, direct)
    sessions = [client.start_session() for client in clients]
    collections = [client[transport.url.database].things for client in clients]
    for number, (session, things) in enumerate(zip(sessions, collections, strict=True)):
        await session.start_transaction()
        await things.insert_one({"_id": f"lost{number}"}, session=session)
    primary = await asyncio.to_thread(replica_set.wait_for_primary)
    await asyncio.to_thread(fault, primary)
    for number, (session, things) in enumerate(zip(sessions, collections, strict=True)):
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(PyMongoError) as caught:
                await things.insert_one({"_id": f"too late{number}"}, session=session)
            assert caught.value.has_error_label("TransientTransactionError"), caught.value
            await session.abort_transaction()
            await session.end_session()
    # Which is what a loop around the whole transaction needs to know.
    async with asyncio.timeout(PATIENCE_S), transport.client.start_session() as session:
        await session.with_transaction(
            lambda session: collections[0].insert_one({"_id": "again"}, session=session)
        )
    assert sorted(map(str, await collections[0].distinct("_id"))) == ["0", "again"]
