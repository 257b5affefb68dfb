from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from bson import Binary, Int64

from transports.fake.server import FakeServer

Document = dict[str, Any]
Run = Callable[..., Awaitable[Document]]


class Transaction:
    """A transaction by hand, statement by statement."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._fields: Document = {
            "lsid": {"id": Binary.from_uuid(uuid.uuid4())},
            "txnNumber": Int64(1),
            "autocommit": False,
        }
        self._started = False

    async def __call__(self, command: Document, *, fails: int = 0) -> Document:
        fields = self._fields if self._started else {**self._fields, "startTransaction": True}
        self._started = True
        return await self._run({**command, **fields}, fails=fails)

    async def end(self, how: str, *, fails: int = 0) -> None:
        await self._run({how: 1, **self._fields}, "admin", fails=fails)


@pytest.fixture
async def transaction(run: Run) -> Transaction:
    """A transaction that has changed document 1 of ``things``."""
    await run({"insert": "things", "documents": [{"_id": 1, "n": 0}]})
    transaction = Transaction(run)
    await transaction(increment("things", 1))
    return transaction


def increment(collection: str, id_: int) -> Document:
    return {"update": collection, "updates": [{"q": {"_id": id_}, "u": {"$inc": {"n": 1}}}]}


async def started(command: Awaitable[Document]) -> asyncio.Task[Document]:
    """Start a command and let it run as far as it can."""
    task = asyncio.ensure_future(command)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


@pytest.mark.parametrize(("how", "n"), [("commitTransaction", 2), ("abortTransaction", 1)])
async def test_write_waits_for_the_transaction_in_its_way(
    run: Run, transaction: Transaction, how: str, n: int
) -> None:
    waiting = await started(run(increment("things", 1)))
    assert not waiting.done()
    await transaction.end(how)
    assert (await waiting)["nModified"] == 1
    reply = await run({"find": "things"})
    assert reply["cursor"]["firstBatch"] == [{"_id": 1, "n": n}]


async def test_reads_do_not_wait(run: Run, transaction: Transaction) -> None:
    reply = await run({"find": "things"})
    assert reply["cursor"]["firstBatch"] == [{"_id": 1, "n": 0}]


async def test_batch_goes_on_where_it_waited(run: Run, transaction: Transaction) -> None:
    await transaction({"insert": "things", "documents": [{"_id": 3}]})
    documents = [{"_id": 2}, {"_id": 3}, {"_id": 4}]
    waiting = await started(run({"insert": "things", "documents": documents}))
    assert not waiting.done()
    await transaction.end("abortTransaction")
    assert (await waiting)["n"] == 3


async def test_waiting_ends_with_the_time_limit(
    run: Run, transaction: Transaction, clock: list[int]
) -> None:
    waiting = await started(run({**increment("things", 1), "maxTimeMS": 10}, fails=50))
    clock[0] += 10
    await run({"ping": 1})
    assert (await waiting)["codeName"] == "MaxTimeMSExpired"


async def test_drop_waits_for_transactions_that_have_looked(
    run: Run, transaction: Transaction
) -> None:
    dropping = await started(run({"drop": "things"}))
    assert not dropping.done()
    await transaction.end("commitTransaction")
    assert (await dropping)["ns"] == "t.things"


async def test_transaction_that_lives_too_long_is_aborted(
    run: Run, transaction: Transaction, clock: list[int]
) -> None:
    waiting = await started(run(increment("things", 1)))
    clock[0] += 61_000
    await run({"ping": 1})
    assert (await waiting)["nModified"] == 1
    await transaction.end("commitTransaction", fails=251)


async def test_cancelled_wait_leaves_nothing(
    run: Run, transaction: Transaction, server: FakeServer
) -> None:
    waiting = await started(run(increment("things", 1)))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await transaction.end("commitTransaction")
    reply = await run({"find": "things"})
    assert reply["cursor"]["firstBatch"] == [{"_id": 1, "n": 1}]


async def test_second_transaction_fails_at_once(run: Run, transaction: Transaction) -> None:
    other = Transaction(run)
    reply = await other(increment("things", 1), fails=112)
    assert reply["errorLabels"] == ["TransientTransactionError"]


async def capped(run: Run) -> Int64:
    """Create a capped collection and return an awaiting cursor that has read it."""
    await run({"create": "log", "capped": True, "size": 4096})
    await run({"insert": "log", "documents": [{"_id": 1}]})
    reply = await run({"find": "log", "tailable": True, "awaitData": True})
    cursor: Int64 = reply["cursor"]["id"]
    return cursor


async def test_awaiting_get_more_returns_what_is_written(run: Run) -> None:
    cursor = await capped(run)
    waiting = await started(run({"getMore": cursor, "collection": "log", "maxTimeMS": 60_000}))
    assert not waiting.done()
    await run({"insert": "log", "documents": [{"_id": 2}]})
    assert (await waiting)["cursor"]["nextBatch"] == [{"_id": 2}]


async def test_awaiting_get_more_gives_up_in_time(run: Run, clock: list[int]) -> None:
    cursor = await capped(run)
    waiting = await started(run({"getMore": cursor, "collection": "log", "maxTimeMS": 50}))
    clock[0] += 50
    await run({"ping": 1})
    assert (await waiting)["cursor"] == {"nextBatch": [], "id": cursor, "ns": "t.log"}


async def test_killed_cursor_ends_its_get_more(run: Run) -> None:
    cursor = await capped(run)
    waiting = await started(
        run({"getMore": cursor, "collection": "log", "maxTimeMS": 60_000}, fails=237)
    )
    await run({"killCursors": "log", "cursors": [cursor]})
    await waiting


async def test_change_stream_wakes_for_a_commit(run: Run) -> None:
    await run({"create": "things"})
    opened = await run({"aggregate": "things", "pipeline": [{"$changeStream": {}}], "cursor": {}})
    cursor = opened["cursor"]["id"]
    transaction = Transaction(run)
    await transaction({"insert": "things", "documents": [{"_id": 1}, {"_id": 2}]})
    waiting = await started(run({"getMore": cursor, "collection": "things", "maxTimeMS": 60_000}))
    assert not waiting.done()
    await transaction.end("commitTransaction")
    events = (await waiting)["cursor"]["nextBatch"]
    assert [event["documentKey"] for event in events] == [{"_id": 1}, {"_id": 2}]
    assert events[0]["clusterTime"] == events[1]["clusterTime"]
    assert events[0]["_id"]["_data"] < events[1]["_id"]["_data"]
