"""The kinds of operations, each over the driver or over a repository.

A kind chooses its effects (see `benchmarks.chaos.history`), runs, and returns what it was told,
which the checker compares with the final state. All ids are the operation's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo import InsertOne, ReadPreference, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from benchmarks.chaos.layout import Account, Counter, Entry, Transfer
from benchmarks.chaos.outcomes import CutShort

if TYPE_CHECKING:
    from benchmarks.chaos.worker import Worker

Effects = Mapping[str, Any]
Result = Mapping[str, Any]

_MAJORITY = ReadConcern("majority")
_LINEARIZABLE = ReadConcern("linearizable")
_COMMIT_ATTEMPTS = 20
_BATCH = 5


def _always(worker: Worker) -> bool:
    return True


def _nothing(worker: Worker, effects: Effects, result: Result) -> None:
    """Remember nothing of what was acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of operation.

    Attributes:
        weight: how often it is chosen, among the others.
        choose: from the worker and the operation's id to its effects.
        run: does it; what it returns is JSON.
        in_transaction: an error means that a transaction was aborted, or its commit failed.
        compound: several commands without a transaction: an error is about one of them only.
        limit_s: taking longer is hanging.
        times: how many of it run at the same time, each an operation of its own.
        possible: whether the worker can do it now.
        done: what the worker remembers of one that was acknowledged.
    """

    name: str
    weight: int
    choose: Callable[[Worker, str], Effects]
    run: Callable[[Worker, str, Effects], Awaitable[Result]]
    in_transaction: bool = False
    compound: bool = False
    limit_s: float = 60.0
    times: int = 1
    possible: Callable[[Worker], bool] = _always
    done: Callable[[Worker, Effects, Result], None] = _nothing


def _raise(operation: str) -> dict[str, Any]:
    return {"$inc": {"n": 1}, "$push": {"applied": operation}}


def _database(worker: Worker) -> AsyncDatabase[dict[str, Any]]:
    return worker.connection.database


# --- counters ---


def _counter(worker: Worker, operation: str) -> Effects:
    return {"counters": [f"c{worker.random.randrange(worker.layout.counters)}"]}


async def _increment(worker: Worker, operation: str, effects: Effects) -> Result:
    [counter] = effects["counters"]
    answer = await _database(worker).counters.update_one({"_id": counter}, _raise(operation))
    return {"modified": answer.modified_count}


async def _find_and_increment(worker: Worker, operation: str, effects: Effects) -> Result:
    [counter] = effects["counters"]
    after = await _database(worker).counters.find_one_and_update(
        {"_id": counter}, _raise(operation), projection={"n": 1}, return_document=True
    )
    return {"n": after["n"]} if after is not None else {"modified": 0}


async def _repository_increment(worker: Worker, operation: str, effects: Effects) -> Result:
    [counter] = effects["counters"]
    after = await worker.connection.repository(Counter).update(counter, _raise(operation))
    return {"n": after.n}


def _bulk_effects(worker: Worker, operation: str) -> Effects:
    first, second = worker.random.sample(range(worker.layout.counters), 2)
    return {
        "ordered": True,
        "counters": [f"c{first}", f"c{second}"],
        "documents": [operation],
    }


async def _bulk(worker: Worker, operation: str, effects: Effects) -> Result:
    # Of one collection, for one bulk to mean one order: this document lies among the counters.
    first, second = effects["counters"]
    answer = await _database(worker).counters.bulk_write(
        [
            UpdateOne({"_id": first}, _raise(operation)),
            InsertOne({"_id": operation, "worker": worker.name}),
            UpdateOne({"_id": second}, _raise(operation)),
        ]
    )
    if (answer.modified_count, answer.inserted_count) == (1, 0):
        raise CutShort("the driver sent the first of three commands, and no other")
    return {"modified": answer.modified_count - 1, "inserted": answer.inserted_count}


# --- documents ---


def _one_document(worker: Worker, operation: str) -> Effects:
    return {"documents": [operation]}


def _remember(worker: Worker, effects: Effects, result: Result) -> None:
    worker.own.extend(effects["documents"])


async def _insert(worker: Worker, operation: str, effects: Effects) -> Result:
    await _database(worker).documents.insert_one({"_id": operation, "worker": worker.name})
    return {}


async def _repository_insert(worker: Worker, operation: str, effects: Effects) -> Result:
    await worker.connection.repository(Entry).add(Entry(id=operation, worker=worker.name))
    return {}


def _documents(worker: Worker, operation: str) -> Effects:
    return {"documents": [f"{operation}.{number}" for number in range(_BATCH)]}


async def _insert_many(worker: Worker, operation: str, effects: Effects) -> Result:
    answer = await _database(worker).documents.insert_many(
        {"_id": each, "worker": worker.name} for each in effects["documents"]
    )
    return {"inserted": len(answer.inserted_ids)}


def _own_document(worker: Worker, operation: str) -> Effects:
    return {"deletes": worker.own.pop(worker.random.randrange(len(worker.own)))}


async def _delete(worker: Worker, operation: str, effects: Effects) -> Result:
    answer = await _database(worker).documents.delete_one({"_id": effects["deletes"]})
    return {"deleted": answer.deleted_count}


async def _find_and_delete(worker: Worker, operation: str, effects: Effects) -> Result:
    before = await _database(worker).documents.find_one_and_delete({"_id": effects["deletes"]})
    return {"deleted": int(before is not None)}


# --- what the driver may not repeat ---


def _group(worker: Worker, operation: str) -> Effects:
    return {"group": worker.random.randrange(worker.layout.groups)}


async def _update_many(worker: Worker, operation: str, effects: Effects) -> Result:
    answer = await _database(worker).groups.update_many(
        {"group": effects["group"]}, _raise(operation)
    )
    return {"modified": answer.modified_count}


# --- transactions ---


def _transfer_effects(worker: Worker, operation: str) -> Effects:
    source, target = worker.random.sample(range(worker.layout.accounts), 2)
    amount = worker.random.randint(1, 20)
    return {"transfer": {"source": f"a{source}", "target": f"a{target}", "amount": amount}}


async def _move(
    worker: Worker, operation: str, transfer: Mapping[str, Any], session: AsyncClientSession
) -> None:
    database = _database(worker)
    for account, amount in (
        (transfer["source"], -transfer["amount"]),
        (transfer["target"], transfer["amount"]),
    ):
        await database.accounts.update_one(
            {"_id": account},
            {"$inc": {"balance": amount}, "$push": {"applied": operation}},
            session=session,
        )
    await database.transfers.insert_one({"_id": operation, **transfer}, session=session)


async def _transfer(worker: Worker, operation: str, effects: Effects) -> Result:
    async with worker.connection.client.start_session() as session:
        await session.with_transaction(
            lambda session: _move(worker, operation, effects["transfer"], session)
        )
    return {}


async def _raw_transfer(worker: Worker, operation: str, effects: Effects) -> Result:
    async with worker.connection.client.start_session() as session:
        await session.start_transaction()
        try:
            await _move(worker, operation, effects["transfer"], session)
        except PyMongoError:
            with contextlib.suppress(PyMongoError):
                await session.abort_transaction()
            raise
        await _commit(session)
    return {}


async def _commit(session: AsyncClientSession) -> None:
    """Commit, again while the outcome is unknown."""
    for attempt in range(_COMMIT_ATTEMPTS):
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            last = attempt == _COMMIT_ATTEMPTS - 1
            if last or not error.has_error_label("UnknownTransactionCommitResult"):
                raise
        else:
            return


async def _repository_transfer(worker: Worker, operation: str, effects: Effects) -> Result:
    transfer = effects["transfer"]
    accounts = worker.connection.repository(Account)

    async def move() -> None:
        noted = {"$push": {"applied": operation}}
        await accounts.update(
            transfer["source"], {"$inc": {"balance": -transfer["amount"]}, **noted}
        )
        await accounts.update(
            transfer["target"], {"$inc": {"balance": transfer["amount"]}, **noted}
        )
        await worker.connection.repository(Transfer).add(Transfer(id=operation, **transfer))

    await worker.connection.run_transaction(move)
    return {}


# --- what a session has seen, it sees again ---


def _mark_effects(worker: Worker, operation: str) -> Effects:
    worker.marking += 1
    return {"mark": {"id": worker.name, "value": worker.marking}}


async def _mark(worker: Worker, operation: str, effects: Effects) -> Result:
    mark = effects["mark"]
    await _database(worker).marks.update_one(
        {"_id": mark["id"]},
        {"$max": {"value": mark["value"]}},
        upsert=True,
        session=worker.session,
    )
    return {}


def _marked(worker: Worker, effects: Effects, result: Result) -> None:
    worker.marked = max(worker.marked, effects["mark"]["value"])


def _read_effects(worker: Worker, operation: str) -> Effects:
    return {
        "read": {"id": worker.name, "at_least": worker.marked, "at_most": worker.marking},
    }


async def _causal_read(worker: Worker, operation: str, effects: Effects) -> Result:
    preference = worker.random.choice([ReadPreference.PRIMARY, ReadPreference.SECONDARY_PREFERRED])
    marks = _database(worker).marks.with_options(read_preference=preference, read_concern=_MAJORITY)
    found = await marks.find_one({"_id": worker.name}, session=worker.session)
    return {"read": found["value"] if found else 0}


async def _linearizable_read(worker: Worker, operation: str, effects: Effects) -> Result:
    marks = _database(worker).marks.with_options(read_concern=_LINEARIZABLE)
    found = await marks.find_one({"_id": worker.name})
    return {"read": found["value"] if found else 0}


def _has_read(worker: Worker, effects: Effects, result: Result) -> None:
    worker.marked = max(worker.marked, result["read"])


def _has_documents(worker: Worker) -> bool:
    return bool(worker.own)


# with_transaction() repeats for up to 120 s by itself.
_TRANSACTION_LIMIT_S = 180.0

KINDS = (
    Kind(name="increment", weight=14, choose=_counter, run=_increment),
    Kind(name="find and increment", weight=10, choose=_counter, run=_find_and_increment),
    Kind(name="repository increment", weight=6, choose=_counter, run=_repository_increment),
    Kind(name="gathered increment", weight=4, choose=_counter, run=_increment, times=8),
    Kind(name="gathered insert", weight=3, choose=_one_document, run=_insert, times=8),
    Kind(name="ordered bulk", weight=8, choose=_bulk_effects, run=_bulk, compound=True),
    Kind(name="insert", weight=10, choose=_one_document, run=_insert, done=_remember),
    Kind(
        name="repository insert",
        weight=5,
        choose=_one_document,
        run=_repository_insert,
        done=_remember,
    ),
    Kind(name="insert many", weight=6, choose=_documents, run=_insert_many, done=_remember),
    Kind(name="delete", weight=6, choose=_own_document, run=_delete, possible=_has_documents),
    Kind(
        name="find and delete",
        weight=5,
        choose=_own_document,
        run=_find_and_delete,
        possible=_has_documents,
    ),
    Kind(name="update many", weight=8, choose=_group, run=_update_many),
    Kind(
        name="transfer",
        weight=8,
        choose=_transfer_effects,
        run=_transfer,
        in_transaction=True,
        limit_s=_TRANSACTION_LIMIT_S,
    ),
    Kind(
        name="raw transfer",
        weight=6,
        choose=_transfer_effects,
        run=_raw_transfer,
        in_transaction=True,
    ),
    Kind(
        name="repository transfer",
        weight=4,
        choose=_transfer_effects,
        run=_repository_transfer,
        in_transaction=True,
        limit_s=_TRANSACTION_LIMIT_S,
    ),
    Kind(name="mark", weight=6, choose=_mark_effects, run=_mark, done=_marked),
    Kind(name="causal read", weight=8, choose=_read_effects, run=_causal_read, done=_has_read),
    Kind(
        name="linearizable read",
        weight=3,
        choose=_read_effects,
        run=_linearizable_read,
        done=_has_read,
    ),
)
"""Every kind of operation."""
