from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure

from odm import Connection, Document, Insert, Link, Repository, before_event

Open = Callable[..., Any]


class Note(Document):
    text: str

    class Settings:
        name = "notes"


class Account(Document):
    owner: str
    amount: int = 0
    note: Link[Note] | None = None
    notes: list[Link[Note]] = []  # noqa: RUF012 - pydantic copies defaults

    class Settings:
        name = "accounts"


class Logged(Document):
    text: str

    @before_event(Insert)
    async def note(self) -> None:
        await Note(text=self.text).insert()


class Cached(Document):
    text: str

    class Settings:
        use_cache = True


class Abort(Exception):
    pass


@asynccontextmanager
async def aborted(db: Connection) -> AsyncIterator[AsyncClientSession]:
    """A transaction that is given up in the end."""
    with suppress(Abort):
        async with db.transaction() as session:
            yield session
            raise Abort


MODELS = (Account, Note, Logged, Cached)


@pytest.fixture
async def db(opened: Open) -> Connection:
    connection: Connection = await opened(*MODELS)
    for model in MODELS:  # a collection cannot be created in a transaction before MongoDB 4.4
        await connection.database.create_collection(model.get_collection_name())
    return connection


@pytest.fixture
def accounts(db: Connection) -> Repository[Account]:
    return db.repository(Account)


async def count_outside(db: Connection, model: Any = Account) -> int:
    return await db.database[model.get_collection_name()].count_documents({})


async def test_it_commits_together(db: Connection, accounts: Repository[Account]) -> None:
    async with db.transaction():
        one = await accounts.add(Account(owner="one"))
        await Account(owner="two").insert()
        await one.set({"amount": 5})
        assert await count_outside(db) == 0
        assert await accounts.count() == 2
    assert await count_outside(db) == 2
    assert await accounts.count(Account.amount == 5) == 1


async def test_it_aborts_together(db: Connection, accounts: Repository[Account]) -> None:
    kept = await accounts.add(Account(owner="kept", amount=1))
    async with aborted(db):
        await accounts.add_many([Account(owner="a"), Account(owner="b")])
        await accounts.update(kept, {"$inc": {"amount": 1}})
        await Account.find(Account.owner == "kept").inc({Account.amount: 1})
        await accounts.update_many({}, changes={"$inc": {"amount": 1}})
        await accounts.upsert(Account(owner="c"), Account.owner == "c")
        await Account.insert_many([Account(owner="d")])
        async with accounts.bulk() as batch:
            batch.add(Account(owner="e"))
        async with Account.bulk_writer() as writer:
            await kept.set({"owner": "changed"}, bulk_writer=writer)
        found = await Account.find_one(Account.owner == "changed")
        assert found is not None
        assert found.amount == 4
    assert [(a.owner, a.amount) for a in await accounts.find().to_list()] == [("kept", 1)]


async def test_every_way_to_read_is_in_it(db: Connection, accounts: Repository[Account]) -> None:
    async with aborted(db):
        note = await Note(text="n").insert()
        added = await accounts.add(Account(owner="x", amount=3, note=note, notes=[note, note]))
        assert (await accounts.get(added.id)).owner == "x"
        assert await accounts.exists()
        assert await accounts.distinct("owner") == ["x"]
        assert len(await accounts.aggregate([{"$match": {"owner": "x"}}])) == 1
        assert len([a async for a in accounts.stream()]) == 1
        assert len([a async for a in Account.find()]) == 1
        assert (await accounts.page()).total == 1
        assert len((await accounts.page_after()).items) == 1
        assert await Account.sum(Account.amount) == 3
        assert await Account.distinct("owner") == ["x"]
        joined = await accounts.get(added.id, fetch_links=True)
        assert joined.note == note
        linked = await accounts.get(added.id)
        await linked.fetch_all_links()
        assert linked.note == note
    assert await count_outside(db) == 0
    assert await count_outside(db, Note) == 0


async def test_actions_are_in_it(db: Connection) -> None:
    async with aborted(db):
        await db.repository(Logged).add(Logged(text="x"))
        assert await db.repository(Note).count() == 1
    assert await count_outside(db, Note) == 0


async def test_nested_ones_join(db: Connection, accounts: Repository[Account]) -> None:
    async with aborted(db) as outer:
        await accounts.add(Account(owner="outer"))
        async with accounts.transaction() as inner:
            assert inner is outer
            await accounts.add(Account(owner="inner"))
        assert await accounts.count() == 2
    assert await count_outside(db) == 0


async def test_other_connections_are_not_in_it(opened: Open, accounts: Repository[Account]) -> None:
    other = await opened(*MODELS)
    async with aborted(accounts.connection):
        await accounts.add(Account(owner="a"))
        await other.repository(Account).add(Account(owner="b"))
        async with other.transaction():
            await other.repository(Account).add(Account(owner="c"))
    assert await accounts.count() == 0
    assert await other.repository(Account).count() == 2


async def test_other_tasks_are_not_in_it(db: Connection, accounts: Repository[Account]) -> None:
    inside, done = asyncio.Event(), asyncio.Event()

    async def outsider() -> int:
        await inside.wait()
        seen = await accounts.count()
        done.set()
        return seen

    task = asyncio.create_task(outsider())
    async with db.transaction():
        await accounts.add(Account(owner="a"))
        inside.set()
        await done.wait()
    assert await task == 0


async def test_tasks_started_inside_are_in_it_and_take_turns(
    db: Connection, accounts: Repository[Account]
) -> None:
    async with db.transaction():
        # The first command starts the transaction on the server: none may overtake it.
        await asyncio.gather(*(accounts.add(Account(owner=str(n))) for n in range(8)))
        assert await count_outside(db) == 0
    assert await count_outside(db) == 8


async def test_reads_take_turns_too(db: Connection, accounts: Repository[Account]) -> None:
    await accounts.add_many([Account(owner=str(n)) for n in range(3)])
    for _ in range(5):
        async with db.transaction():
            found = await asyncio.gather(*(accounts.find().to_list() for _ in range(8)))
            assert [len(documents) for documents in found] == [3] * 8


async def test_a_cursor_inside_is_a_cursor(db: Connection, accounts: Repository[Account]) -> None:
    await accounts.add_many([Account(owner=str(n)) for n in range(3)])
    async with db.transaction():
        cursor = accounts.collection.find().sort("owner", -1).limit(2)
        assert [raw["owner"] async for raw in cursor] == ["2", "1"]
        async with accounts.collection.find({"owner": "0"}) as cursor:
            assert (await cursor.next())["owner"] == "0"
            assert cursor.alive is False
        assert await Account.find(Account.owner == "1").exists()


async def test_a_task_that_outlives_it_goes_on_without_it(
    db: Connection, accounts: Repository[Account]
) -> None:
    ended = asyncio.Event()

    async def later() -> None:
        await ended.wait()
        await accounts.add(Account(owner="late"))

    async with aborted(db):
        task = asyncio.create_task(later())
        await accounts.add(Account(owner="early"))
    ended.set()
    await task
    assert [a.owner for a in await accounts.find().to_list()] == ["late"]


async def test_a_session_that_is_given_outranks_it(
    db: Connection, accounts: Repository[Account]
) -> None:
    async with db.client.start_session() as session, db.transaction():
        await accounts.add(Account(owner="a"))
        assert await Account.find(session=session).count() == 0
        assert await accounts.collection.count_documents({}, session) == 0


async def test_caches_are_neither_filled_nor_asked(db: Connection) -> None:
    cached = db.repository(Cached)
    await cached.add(Cached(text="before"))
    assert len(await cached.find().to_list()) == 1
    async with aborted(db):
        await cached.add(Cached(text="never"))
        assert len(await cached.find().to_list()) == 2
        assert await Cached.find_one(Cached.text == "never") is not None
    assert len(await cached.find().to_list()) == 1
    assert await Cached.find_one(Cached.text == "never") is None


async def test_a_watch_is_not_in_it(db: Connection, accounts: Repository[Account]) -> None:
    async with db.transaction(), accounts.watch() as changes:
        await Account(owner="x").insert()
        assert changes.resume_token is not None


async def test_collections_reached_inside_are_in_it(
    db: Connection, accounts: Repository[Account]
) -> None:
    from pymongo import ReadPreference

    async with db.transaction():
        collection = accounts.collection
        await collection.insert_one({"owner": "x"})
        tuned = collection.with_options(read_preference=ReadPreference.PRIMARY)
        assert await tuned.count_documents({}) == 1
        assert await collection.find({}).to_list() == await tuned.find().to_list()
        assert collection.name == "accounts"
        assert collection == accounts.collection
        assert hash(collection) == hash(db.database["accounts"])
        assert "in a transaction" in repr(collection)
        assert await collection["sub"].count_documents({}) == 0
        assert await count_outside(db) == 0


async def test_an_error_of_the_server_aborts_it(
    db: Connection, accounts: Repository[Account]
) -> None:
    added = await accounts.add(Account(owner="x"))

    async def fail() -> None:
        async with db.transaction():
            await accounts.update(added, {"$set": {"amount": 1}})
            await accounts.update(added, {"$inc": {"owner": 1}})

    with pytest.raises(OperationFailure):
        await fail()
    assert (await accounts.get(added.id)).amount == 0
    async with db.transaction():
        await accounts.update(added.id, {"$set": {"amount": 2}})
    assert (await accounts.get(added.id)).amount == 2


async def test_a_generator_that_is_left_early_aborts_it(
    db: Connection, accounts: Repository[Account]
) -> None:
    added = await accounts.add(Account(owner="x"))

    async def steps() -> AsyncIterator[int]:
        async with db.transaction():
            await accounts.update(added.id, {"$set": {"amount": 1}})
            yield 1

    generator = steps()
    assert await anext(generator) == 1
    # As the garbage collector does it: in a task, so in a context, of its own.
    await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]  # a generator
    assert (await accounts.get(added.id)).amount == 0
    async with db.transaction():  # nothing is locked, and this is one of its own
        await accounts.update(added.id, {"$set": {"amount": 2}})
    assert (await accounts.get(added.id)).amount == 2


@pytest.mark.parametrize("error", [None, Abort()])
async def test_it_ends_the_same_way_when_another_task_has_entered_it(
    db: Connection, accounts: Repository[Account], error: Exception | None
) -> None:
    context: Any = db.transaction()

    async def enter() -> AsyncClientSession:
        session: AsyncClientSession = await context.__aenter__()
        await accounts.add(Account(owner="x"))
        return session

    session = await asyncio.create_task(enter())
    await context.__aexit__(None if error is None else type(error), error, None)
    assert session.has_ended
    assert await accounts.count() == (1 if error is None else 0)


async def test_cancelling_its_end_does_not_stop_it(
    db: Connection, accounts: Repository[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    committing, may_go_on = asyncio.Event(), asyncio.Event()
    commit = AsyncClientSession.commit_transaction

    async def slowly(session: AsyncClientSession) -> None:
        committing.set()
        await may_go_on.wait()
        await commit(session)

    monkeypatch.setattr(AsyncClientSession, "commit_transaction", slowly)
    sessions: list[AsyncClientSession] = []

    async def work() -> None:
        async with db.transaction() as session:
            sessions.append(session)
            await accounts.add(Account(owner="x"))

    task = asyncio.create_task(work())
    await committing.wait()
    task.cancel()
    asyncio.get_running_loop().call_soon(may_go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sessions[0].has_ended
    assert await accounts.count() == 1


async def test_it_may_be_ended_by_hand(db: Connection, accounts: Repository[Account]) -> None:
    async with db.transaction() as session:
        await accounts.add(Account(owner="x"))
        await session.abort_transaction()
    assert await accounts.count() == 0


async def test_options_are_the_driver_s(listening: Open) -> None:
    from pymongo.read_concern import ReadConcern

    db, commands = await listening(Account)
    await db.database.create_collection("accounts")
    commands.events.clear()
    async with db.transaction(read_concern=ReadConcern("majority"), max_commit_time_ms=500):
        await db.repository(Account).count()
    first, last = commands.events
    assert first.command["readConcern"]["level"] == "majority"
    assert first.command["startTransaction"] is True
    assert (last.command_name, last.command["maxTimeMS"]) == ("commitTransaction", 500)


async def test_run_transaction_runs_again_where_it_may_work(
    db: Connection, accounts: Repository[Account]
) -> None:
    added = await accounts.add(Account(owner="x"))
    runs = 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        found = await accounts.get(added.id)
        if runs == 1:  # somebody else writes in between: a write conflict, which is transient
            await db.database["accounts"].update_one({"_id": added.id}, {"$inc": {"amount": 10}})
        await accounts.update(found.id, {"$inc": {"amount": 1}})
        return runs

    assert await db.run_transaction(work) == 2
    assert (await accounts.get(added.id)).amount == 11

    async def nested() -> int:
        return await db.run_transaction(accounts.count)

    async with db.transaction():
        await accounts.add(Account(owner="y"))
        assert await nested() == 2
