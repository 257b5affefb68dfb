"""Sessions and transactions: all or nothing, isolated, and refused as the server refuses.

Spec: https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any

import pytest
from pymongo import InsertOne, UpdateOne, WriteConcern
from pymongo.errors import DuplicateKeyError, InvalidOperation, OperationFailure
from pymongo.read_concern import ReadConcern

from odm import Connection, Document, Indexed


class Account(Document):
    owner: Annotated[str, Indexed(unique=True)]
    balance: int = 0

    class Settings:
        name = "accounts"


pytestmark = pytest.mark.models([Account])


class Abandon(Exception):
    """Raised inside a transaction to leave it."""


@pytest.fixture
async def things(db: Connection) -> Any:
    """A collection that exists, with ``{"_id": 0, "n": 0}``."""
    await db.database["things"].insert_one({"_id": 0, "n": 0})
    return db.database["things"]


# The driver's own sessions


async def test_committed_writes_are_visible(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session, await session.start_transaction():
        await things.insert_one({"_id": 1}, session=session)
        await things.update_one({"_id": 0}, {"$inc": {"n": 5}}, session=session)
    assert await things.find(sort=[("_id", 1)]).to_list() == [{"_id": 0, "n": 5}, {"_id": 1}]


async def test_aborted_writes_never_happened(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        await things.insert_one({"_id": 1}, session=session)
        await things.update_one({"_id": 0}, {"$set": {"n": 9}}, session=session)
        await things.delete_one({"_id": 0}, session=session)
        await session.abort_transaction()
    assert await things.find().to_list() == [{"_id": 0, "n": 0}]


async def test_exception_aborts(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        with suppress(Abandon):
            async with await session.start_transaction():
                await things.insert_one({"_id": 1}, session=session)
                raise Abandon
    assert await things.count_documents({}) == 1


async def test_uncommitted_writes_are_seen_inside_only(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        await things.insert_one({"_id": 1}, session=session)
        await things.update_one({"_id": 0}, {"$set": {"n": 7}}, session=session)
        assert await things.find_one({"_id": 1}, session=session) == {"_id": 1}
        assert await things.find_one({"_id": 1}) is None
        assert await things.find_one({"_id": 0}) == {"_id": 0, "n": 0}
        assert await things.count_documents({}, session=session) == 2
        assert await things.count_documents({}) == 1
        await session.commit_transaction()
    assert await things.count_documents({}) == 2


async def test_transaction_reads_a_snapshot(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction(read_concern=ReadConcern("snapshot"))
        assert await things.find_one({"_id": 0}, session=session) == {"_id": 0, "n": 0}
        await things.update_one({"_id": 0}, {"$set": {"n": 1}})
        await things.insert_one({"_id": 1})
        assert await things.find_one({"_id": 0}, session=session) == {"_id": 0, "n": 0}
        assert await things.find_one({"_id": 1}, session=session) is None
        await session.commit_transaction()
    assert await things.find_one({"_id": 0}) == {"_id": 0, "n": 1}


async def test_second_writer_gets_a_write_conflict(db: Connection, things: Any) -> None:
    async with db.client.start_session() as first, db.client.start_session() as second:
        await first.start_transaction()
        await second.start_transaction()
        await things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=first)
        with pytest.raises(OperationFailure) as caught:
            await things.update_one({"_id": 0}, {"$inc": {"n": 10}}, session=second)
        assert caught.value.code == 112
        assert (caught.value.details or {})["codeName"] == "WriteConflict"
        assert caught.value.has_error_label("TransientTransactionError")
        assert not caught.value.has_error_label("RetryableWriteError")
        await first.commit_transaction()
        await second.abort_transaction()
    assert await things.find_one({"_id": 0}) == {"_id": 0, "n": 1}


async def test_stale_snapshot_cannot_be_written_over(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        await things.find_one({"_id": 0}, session=session)
        await things.update_one({"_id": 0}, {"$set": {"n": 1}})
        with pytest.raises(OperationFailure) as caught:
            await things.update_one({"_id": 0}, {"$set": {"n": 2}}, session=session)
        assert caught.value.code == 112
        assert caught.value.has_error_label("TransientTransactionError")
    assert await things.find_one({"_id": 0}) == {"_id": 0, "n": 1}


async def test_failed_statement_aborts_the_transaction(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        await things.insert_one({"_id": 1}, session=session)
        with pytest.raises(DuplicateKeyError) as duplicate:
            await things.insert_one({"_id": 0}, session=session)
        assert duplicate.value.code == 11000
        assert not duplicate.value.has_error_label("TransientTransactionError")
        with pytest.raises(OperationFailure) as caught:
            await things.insert_one({"_id": 2}, session=session)
        assert caught.value.code == 251
        assert (caught.value.details or {})["codeName"] == "NoSuchTransaction"
        assert caught.value.has_error_label("TransientTransactionError")
        await session.abort_transaction()
    assert await things.count_documents({}) == 1


async def test_commit_after_an_abort_by_the_server_is_refused(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        with pytest.raises(DuplicateKeyError):
            await things.insert_one({"_id": 0}, session=session)
        with pytest.raises(OperationFailure) as caught:
            await session.commit_transaction()
        assert caught.value.code == 251
        assert caught.value.has_error_label("TransientTransactionError")


async def test_commit_can_be_repeated(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        await things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
        await session.commit_transaction()
        await session.commit_transaction()
    assert await things.find_one() == {"_id": 0, "n": 1}


async def test_empty_transaction_commits_and_aborts(db: Connection) -> None:
    async with db.client.start_session() as session:
        async with await session.start_transaction():
            pass
        await session.start_transaction()
        await session.abort_transaction()


async def test_sessions_rules_are_the_drivers(db: Connection) -> None:
    async with db.client.start_session() as session:
        with pytest.raises(InvalidOperation, match="No transaction started"):
            await session.commit_transaction()
        await session.start_transaction()
        with pytest.raises(InvalidOperation, match="already in progress"):
            await session.start_transaction()
        await session.abort_transaction()
        with pytest.raises(InvalidOperation, match="twice"):
            await session.abort_transaction()


async def test_several_transactions_of_one_session(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        for _ in range(3):
            async with await session.start_transaction():
                await things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
    assert await things.find_one() == {"_id": 0, "n": 3}


async def test_with_transaction_retries_after_a_conflict(db: Connection, things: Any) -> None:
    attempts = 0

    async def work(session: Any) -> str:
        nonlocal attempts
        attempts += 1
        document = await things.find_one({"_id": 0}, session=session)
        if attempts == 1:
            await things.update_one({"_id": 0}, {"$inc": {"n": 100}})
        await things.update_one({"_id": 0}, {"$set": {"n": document["n"] + 1}}, session=session)
        return "done"

    async with db.client.start_session() as session:
        assert await session.with_transaction(work) == "done"
    assert attempts == 2
    assert await things.find_one() == {"_id": 0, "n": 101}


async def test_concurrent_transfers_keep_the_sum(db: Connection) -> None:
    accounts = db.database["sums"]
    await accounts.insert_many([{"_id": name, "balance": 100} for name in "abc"])

    async def transfer(source: str, target: str, amount: int) -> None:
        async def work(session: Any) -> None:
            taken = await accounts.update_one(
                {"_id": source, "balance": {"$gte": amount}},
                {"$inc": {"balance": -amount}},
                session=session,
            )
            if taken.modified_count:
                await accounts.update_one(
                    {"_id": target}, {"$inc": {"balance": amount}}, session=session
                )

        async with db.client.start_session() as session:
            await session.with_transaction(work)

    await asyncio.gather(*(transfer(s, t, 7) for s, t in ("ab", "bc", "ca", "ba", "cb", "ac")))
    found = await accounts.find(sort=[("_id", 1)]).to_list()
    assert found == [{"_id": name, "balance": 100} for name in "abc"]


async def test_aggregate_and_cursor_inside_a_transaction(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session, await session.start_transaction():
        await things.insert_many([{"_id": number, "n": number} for number in range(1, 9)],
                                 session=session)  # fmt: skip
        seen = [d["_id"] async for d in things.find(sort=[("_id", 1)], batch_size=2,
                                                    session=session)]  # fmt: skip
        cursor = await things.aggregate(
            [{"$group": {"_id": None, "sum": {"$sum": "$n"}}}], session=session
        )
        assert await cursor.to_list() == [{"_id": None, "sum": 36}]
        assert await things.distinct("n", {"_id": {"$lt": 3}}, session=session) == [0, 1, 2]
    assert seen == list(range(9))


async def test_bulk_write_inside_a_transaction_is_undone(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        result = await things.bulk_write(
            [InsertOne({"_id": 1}), UpdateOne({"_id": 0}, {"$set": {"n": 2}})], session=session
        )
        assert (result.inserted_count, result.modified_count) == (1, 1)
        await session.abort_transaction()
    assert await things.find().to_list() == [{"_id": 0, "n": 0}]


async def test_find_one_and_update_inside_a_transaction(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        before = await things.find_one_and_update({}, {"$inc": {"n": 1}}, session=session)
        assert before == {"_id": 0, "n": 0}
        await session.abort_transaction()
    assert await things.find_one() == {"_id": 0, "n": 0}


async def test_collection_can_be_created_inside_a_transaction(db: Connection) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        await db.database["fresh"].insert_one({"_id": 1}, session=session)
        await session.abort_transaction()
        assert "fresh" not in await db.database.list_collection_names()
        async with await session.start_transaction():
            await db.database["fresh"].insert_one({"_id": 1}, session=session)
    assert await db.database["fresh"].find().to_list() == [{"_id": 1}]


async def test_some_commands_are_not_for_transactions(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction()
        with pytest.raises(OperationFailure) as caught:
            await db.database.command("listCollections", session=session)
        assert caught.value.code == 263
        assert (caught.value.details or {})["codeName"] == "OperationNotSupportedInTransaction"
        await session.abort_transaction()


async def test_commit_takes_a_write_concern(db: Connection, things: Any) -> None:
    async with db.client.start_session() as session:
        await session.start_transaction(write_concern=WriteConcern("majority"))
        await things.insert_one({"_id": 1}, session=session)
        await session.commit_transaction()
    assert await things.count_documents({}) == 2


async def test_causally_consistent_session_reads_its_writes(db: Connection, things: Any) -> None:
    async with db.client.start_session(causal_consistency=True) as session:
        await things.update_one({"_id": 0}, {"$set": {"n": 4}}, session=session)
        assert session.operation_time is not None
        assert session.cluster_time is not None
        assert await things.find_one({}, session=session) == {"_id": 0, "n": 4}


async def test_snapshot_session_reads_one_moment(db: Connection, things: Any) -> None:
    async with db.client.start_session(snapshot=True) as session:
        assert await things.find_one({}, session=session) == {"_id": 0, "n": 0}
        await things.update_one({"_id": 0}, {"$set": {"n": 1}})
        assert await things.find_one({}, session=session) == {"_id": 0, "n": 0}


# The connection's transactions


async def test_everything_inside_joins_the_transaction(db: Connection) -> None:
    accounts = db.repository(Account)
    async with db.transaction() as session:
        assert session.in_transaction
        ada = await accounts.add(Account(owner="ada"))
        with db.bind():
            await Account(owner="grace").insert()
        await accounts.update(ada, {"$inc": {"balance": 5}})
        assert await accounts.count() == 2
        assert await db.database["accounts"].count_documents({}) == 0
    assert await db.database["accounts"].count_documents({}) == 2
    assert (await accounts.get(ada.id)).balance == 5


async def test_exception_undoes_repository_writes(db: Connection) -> None:
    accounts = db.repository(Account)
    kept = await accounts.add(Account(owner="ada", balance=1))
    with suppress(Abandon):
        async with db.transaction():
            await accounts.add(Account(owner="grace"))
            await accounts.update(kept, {"$set": {"balance": 50}})
            await accounts.delete_many({"owner": "ada"})
            raise Abandon
    assert [(a.owner, a.balance) for a in await accounts.find().to_list()] == [("ada", 1)]


async def test_nested_transaction_joins_the_outer_one(db: Connection) -> None:
    accounts = db.repository(Account)
    with suppress(Abandon):
        async with db.transaction() as outer:
            async with db.transaction() as inner:
                assert inner is outer
                await accounts.add(Account(owner="ada"))
            assert outer.in_transaction
            raise Abandon
    assert await accounts.count() == 0


async def test_documents_saved_inside_join(db: Connection) -> None:
    accounts = db.repository(Account)
    ada = await accounts.add(Account(owner="ada"))
    with suppress(Abandon):
        async with db.transaction():
            ada.balance = 9
            await ada.save()
            assert (await accounts.get(ada.id)).balance == 9
            raise Abandon
    assert (await accounts.get(ada.id)).balance == 0


async def test_repository_opens_the_connections_transaction(db: Connection) -> None:
    accounts = db.repository(Account)
    async with accounts.transaction():
        await accounts.add(Account(owner="ada"))
        async with db.transaction():
            await accounts.add(Account(owner="grace"))
    assert await accounts.count() == 2


async def test_repository_streams_and_aggregates_inside(db: Connection) -> None:
    accounts = db.repository(Account)
    async with db.transaction():
        await accounts.add_many([Account(owner=f"o{n}", balance=n) for n in range(6)])
        owners = [a.owner async for a in accounts.stream(sort="owner", batch_size=2)]
        total = await accounts.aggregate([{"$group": {"_id": None, "n": {"$sum": "$balance"}}}])
        async with accounts.bulk() as batch:
            batch.add(Account(owner="bulk"))
        assert await accounts.exists({"owner": "bulk"})
        assert await db.database["accounts"].count_documents({}) == 0
    assert owners == [f"o{n}" for n in range(6)]
    assert total == [{"_id": None, "n": 15}]


async def test_sibling_task_started_outside_is_not_inside(db: Connection) -> None:
    accounts = db.repository(Account)
    inside, seen = asyncio.Event(), asyncio.Event()
    counts: list[int] = []

    async def onlooker() -> None:
        async with asyncio.timeout(10):
            await inside.wait()
        counts.append(await accounts.count())
        seen.set()

    task = asyncio.create_task(onlooker())
    async with db.transaction():
        await accounts.add(Account(owner="ada"))
        inside.set()
        async with asyncio.timeout(10):
            await seen.wait()
    await task
    assert counts == [0]


async def test_conflict_between_two_transactions_is_told(db: Connection) -> None:
    accounts = db.repository(Account)
    ada = await accounts.add(Account(owner="ada"))
    first_wrote, second_failed = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with db.transaction():
            await accounts.update(ada.id, {"$set": {"balance": 1}})
            first_wrote.set()
            async with asyncio.timeout(10):
                await second_failed.wait()

    async def second() -> None:
        async with asyncio.timeout(10):
            await first_wrote.wait()
        try:
            async with db.transaction():
                await accounts.update(ada.id, {"$set": {"balance": 2}})
        finally:
            second_failed.set()

    results = await asyncio.gather(first(), second(), return_exceptions=True)
    assert results[0] is None
    error = results[1]
    assert isinstance(error, OperationFailure)
    assert error.code == 112
    assert error.has_error_label("TransientTransactionError")
    assert (await accounts.get(ada.id)).balance == 1


async def test_unique_index_holds_across_transactions(db: Connection) -> None:
    accounts = db.repository(Account)
    await accounts.add(Account(owner="ada"))

    async def add_both() -> None:
        async with db.transaction():
            await accounts.add(Account(owner="grace"))
            await accounts.add(Account(owner="ada"))

    with pytest.raises(DuplicateKeyError) as caught:
        await add_both()
    assert caught.value.code == 11000
    assert await accounts.count() == 1
