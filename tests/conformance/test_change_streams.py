"""Change streams: what happened, in order, and on from a token."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import OperationFailure

from odm import Connection, Document

pytestmark = pytest.mark.models([])


class Note(Document):
    text: str
    stars: int = 0

    class Settings:
        name = "notes"


async def test_insert_update_replace_and_delete_are_told_in_order(db: Connection) -> None:
    notes = db.database["notes"]
    async with await notes.watch() as stream:
        await notes.insert_one({"_id": 1, "text": "a", "old": True})
        await notes.update_one({"_id": 1}, {"$set": {"text": "b"}, "$unset": {"old": ""}})
        await notes.replace_one({"_id": 1}, {"text": "c"})
        await notes.delete_one({"_id": 1})
        changes = [await stream.next() for _ in range(4)]

    assert [change["operationType"] for change in changes] == [
        "insert",
        "update",
        "replace",
        "delete",
    ]
    insert, update, replace, delete = changes
    namespace = {"db": db.database.name, "coll": "notes"}
    assert all(change["ns"] == namespace for change in changes)
    assert all(change["documentKey"] == {"_id": 1} for change in changes)
    assert insert["fullDocument"] == {"_id": 1, "text": "a", "old": True}
    assert update["updateDescription"]["updatedFields"] == {"text": "b"}
    assert update["updateDescription"]["removedFields"] == ["old"]
    assert "fullDocument" not in update
    assert replace["fullDocument"] == {"_id": 1, "text": "c"}
    assert "fullDocument" not in delete
    times = [change["clusterTime"] for change in changes]
    assert times == sorted(times)


async def test_update_lookup_adds_the_document(db: Connection) -> None:
    notes = db.database["notes"]
    await notes.insert_one({"_id": 1, "n": 0})
    async with await notes.watch(full_document="updateLookup") as stream:
        await notes.update_one({"_id": 1}, {"$inc": {"n": 1}})
        change = await stream.next()
    assert change["fullDocument"] == {"_id": 1, "n": 1}
    assert change["updateDescription"]["updatedFields"] == {"n": 1}


async def test_nested_and_array_updates_are_described(db: Connection) -> None:
    notes = db.database["notes"]
    await notes.insert_one({"_id": 1, "a": {"b": 1, "c": 2}, "list": [1, 2, 3]})
    async with await notes.watch() as stream:
        await notes.update_one({"_id": 1}, {"$set": {"a.b": 5, "list.1": 9}})
        change = await stream.next()
    assert change["updateDescription"]["updatedFields"] == {"a.b": 5, "list.1": 9}


async def test_pipeline_filters_and_reshapes(db: Connection) -> None:
    notes = db.database["notes"]
    pipeline: list[dict[str, Any]] = [
        {"$match": {"operationType": "insert", "fullDocument.keep": True}},
        {"$addFields": {"seen": "yes"}},
    ]
    async with await notes.watch(pipeline) as stream:
        await notes.insert_one({"_id": 1, "keep": False})
        await notes.insert_one({"_id": 2, "keep": True})
        change = await stream.next()
    assert change["documentKey"] == {"_id": 2}
    assert change["seen"] == "yes"


async def test_stream_resumes_after_a_token(db: Connection) -> None:
    notes = db.database["notes"]
    async with await notes.watch() as stream:
        await notes.insert_many([{"_id": number} for number in range(3)])
        token = (await stream.next())["_id"]
    await notes.insert_one({"_id": 3})

    async with await notes.watch(resume_after=token) as stream:
        seen = [(await stream.next())["documentKey"]["_id"] for _ in range(3)]
    assert seen == [1, 2, 3]

    async with await notes.watch(start_after=token) as stream:
        assert (await stream.next())["documentKey"]["_id"] == 1


async def test_stream_starts_at_an_operation_time(db: Connection) -> None:
    notes = db.database["notes"]
    async with await notes.watch() as stream:
        await notes.insert_many([{"_id": 1}, {"_id": 2}])
        first = await stream.next()
    async with await notes.watch(start_at_operation_time=first["clusterTime"]) as stream:
        assert (await stream.next())["documentKey"] == {"_id": 1}
        assert (await stream.next())["documentKey"] == {"_id": 2}


async def test_resume_token_moves_on(db: Connection) -> None:
    notes = db.database["notes"]
    async with await notes.watch() as stream:
        await notes.insert_one({"_id": 1})
        change = await stream.next()
        assert stream.resume_token == change["_id"]


async def test_try_next_without_news_is_none(db: Connection) -> None:
    notes = db.database["notes"]
    async with await notes.watch(max_await_time_ms=1) as stream:
        assert await stream.try_next() is None
        await notes.insert_one({"_id": 1})
        change = None
        for _ in range(100):
            change = await stream.try_next()
            if change is not None:
                break
        assert change is not None
        assert change["documentKey"] == {"_id": 1}
        assert stream.alive
    assert not stream.alive


async def test_database_stream_sees_every_collection(db: Connection) -> None:
    async with await db.database.watch() as stream:
        await db.database["a"].insert_one({"_id": 1})
        await db.database["b"].insert_one({"_id": 2})
        seen = [(await stream.next())["ns"]["coll"] for _ in range(2)]
    assert seen == ["a", "b"]


@pytest.mark.unrestricted(reason="it watches the whole deployment")
async def test_client_stream_sees_the_database(db: Connection) -> None:
    pipeline = [{"$match": {"ns.db": db.database.name}}]
    async with await db.client.watch(pipeline) as stream:
        await db.database["a"].insert_one({"_id": 1})
        change = await stream.next()
    assert change["ns"] == {"db": db.database.name, "coll": "a"}


async def test_dropping_the_collection_invalidates(db: Connection) -> None:
    notes = db.database["notes"]
    await notes.insert_one({"_id": 1})
    async with await notes.watch() as stream:
        await notes.drop()
        assert (await stream.next())["operationType"] == "drop"
        assert (await stream.next())["operationType"] == "invalidate"
        with pytest.raises(StopAsyncIteration):
            await stream.next()


async def test_transaction_appears_when_it_commits(db: Connection) -> None:
    notes = db.database["notes"]
    await notes.insert_one({"_id": 0})
    async with await notes.watch() as stream:
        async with db.client.start_session() as session, await session.start_transaction():
            await notes.insert_one({"_id": 1}, session=session)
            await notes.insert_one({"_id": 2}, session=session)
        await notes.insert_one({"_id": 3})
        changes = [await stream.next() for _ in range(3)]
    assert [change["documentKey"]["_id"] for change in changes] == [1, 2, 3]
    assert changes[0]["txnNumber"] == changes[1]["txnNumber"]
    assert "txnNumber" not in changes[2]


@pytest.mark.unrestricted(reason="the policy refuses before the server can")
async def test_unknown_stage_in_a_stream_is_refused(db: Connection) -> None:
    with pytest.raises(OperationFailure) as caught:
        await db.database["notes"].watch([{"$nonsense": {}}])
    assert caught.value.code == 40324


async def test_group_is_not_allowed_in_a_stream(db: Connection) -> None:
    with pytest.raises(OperationFailure) as caught:
        await db.database["notes"].watch([{"$group": {"_id": None}}])
    assert caught.value.code == 20


async def test_foreign_resume_token_is_refused(db: Connection) -> None:
    with pytest.raises(OperationFailure) as caught:
        async with await db.database["notes"].watch(resume_after={"_data": "nonsense"}) as stream:
            await stream.next()
    assert caught.value.code == 9


@pytest.mark.models([Note])
async def test_repository_watch_gives_typed_changes(db: Connection) -> None:
    notes = db.repository(Note)
    async with notes.watch() as changes:
        note = await notes.add(Note(text="a"))
        await notes.update(note, {"$set": {"stars": 5}})
        await notes.delete(note)
        inserted = await anext(changes)
        updated = await anext(changes)
        deleted = await anext(changes)

    assert inserted.operation == "insert"
    assert inserted.id == note.id
    assert isinstance(inserted.document, Note)
    assert inserted.document.text == "a"
    assert updated.operation == "update"
    assert updated.updated_fields == {"stars": 5}
    assert updated.removed_fields == ()
    assert deleted.operation == "delete"
    assert deleted.id == note.id
    assert deleted.document is None


@pytest.mark.models([Note])
async def test_repository_watch_resumes(db: Connection) -> None:
    notes = db.repository(Note)
    async with notes.watch() as changes:
        await notes.add(Note(text="a"))
        token = (await anext(changes)).resume_token
    await notes.add(Note(text="b"))
    async with notes.watch(resume_after=token) as changes:
        change = await anext(changes)
    assert change.document is not None
    assert change.document.text == "b"


@pytest.mark.models([Note])
async def test_repository_watch_filters(db: Connection) -> None:
    notes = db.repository(Note)
    async with notes.watch([{"$match": {"fullDocument.stars": {"$gte": 3}}}]) as changes:
        await notes.add(Note(text="dull", stars=1))
        await notes.add(Note(text="bright", stars=4))
        change = await anext(changes)
    assert change.document is not None
    assert change.document.text == "bright"
