"""What the fake offers the author of a test: log, scripted failures, clock, snapshots, files."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bson import Decimal128, Int64, ObjectId
from pymongo import UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    ExecutionTimeout,
    NotPrimaryError,
    OperationFailure,
)

from transports.fake.transport import FakeTransport
from transports.url import parse_url

Document = dict[str, Any]


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeTransport]:
    async with FakeTransport(parse_url("fake:///cms")) as transport:
        yield transport


# The log


async def test_the_log_is_filtered_by_name_namespace_and_condition(fake: FakeTransport) -> None:
    pages, users = fake.client["cms"]["pages"], fake.client["other"]["users"]
    await pages.insert_one({"_id": 1})
    await pages.find_one({"_id": 1})
    await users.find_one({"_id": 2})

    log = fake.commands

    assert [command.name for command in log] == ["insert", "find", "find"]
    assert [c.namespace for c in log.filter("find")] == ["cms.pages", "other.users"]
    assert len(log.filter(namespace=".pages")) == 2
    assert len(log.filter(namespace="other.")) == 1
    assert [c.namespace for c in log.filter(where=lambda c: c.document.get("limit") == 1)] == [
        "cms.pages",
        "other.users",
    ]
    assert log[-1].document["filter"] == {"_id": 2}
    assert log[:2] == list(log)[:2]


async def test_assertions_return_what_they_found(fake: FakeTransport) -> None:
    await fake.client["cms"]["pages"].insert_many([{"_id": 1}, {"_id": 2}])

    [insert] = fake.commands.assert_sent("insert", "cms.pages", times=1)

    assert [d["_id"] for d in insert.document["documents"]] == [1, 2]
    fake.commands.assert_not_sent("update")
    fake.commands.assert_sent("insert", where=lambda c: c.document["ordered"] is True)


async def test_a_failed_assertion_shows_what_was_sent(fake: FakeTransport) -> None:
    await fake.client["cms"]["pages"].find_one({"slug": "a"})

    with pytest.raises(AssertionError) as missing:
        fake.commands.assert_sent("update", "cms.pages")
    with pytest.raises(AssertionError) as wrong_count:
        fake.commands.assert_sent("find", times=2)
    with pytest.raises(AssertionError) as unwanted:
        fake.commands.assert_not_sent("find")

    shown = (
        'It received 1:\n  find cms.pages { filter: { slug: "a" }, limit: 1, singleBatch: true }'
    )
    assert str(missing.value) == f"no 'update' on 'cms.pages' reached the fake. {shown}"
    assert str(wrong_count.value).startswith("1 instead of 2 × 'find' reached the fake.")
    assert str(unwanted.value).startswith("1 × 'find' reached the fake.")


@pytest.mark.parametrize(
    ("name", "namespace", "message"),
    [
        ("insert_one", None, "the command it sends is insert"),
        ("isnert", None, "do you mean 'insert'"),
        ("insert", "pages", r"write '\.pages' for a collection"),
    ],
)
async def test_an_assertion_that_could_not_fail_is_refused(
    fake: FakeTransport, name: str, namespace: str | None, message: str
) -> None:
    await fake.client["cms"]["pages"].insert_one({})
    with pytest.raises(ValueError, match=message):
        fake.commands.assert_not_sent(name, namespace)


async def test_a_command_that_no_server_has_is_found_where_it_was_sent(fake: FakeTransport) -> None:
    with pytest.raises(OperationFailure):
        await fake.client["cms"].command("frobnicate")
    fake.commands.assert_sent("frobnicate")


# Scripted failures


async def test_the_next_command_fails_once_with_the_drivers_own_exception(
    fake: FakeTransport,
) -> None:
    pages = fake.client["cms"]["pages"]
    scripted = fake.fail_next("insert", code="Unauthorized", message="no")

    with pytest.raises(OperationFailure, match="no") as caught:
        await pages.insert_one({"_id": 1})
    await pages.insert_one({"_id": 1})

    assert caught.value.code == 13
    assert caught.value.details is not None
    assert caught.value.details["codeName"] == "Unauthorized"
    assert scripted.happened == 1


async def test_a_duplicate_key_is_an_error_of_a_statement(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    fake.fail_next("insert", code=11000, details={"keyValue": {"slug": "a"}}, times=2)

    with pytest.raises(DuplicateKeyError) as caught:
        await pages.insert_one({"slug": "a"})
    with pytest.raises(BulkWriteError):
        await pages.insert_many([{"slug": "a"}, {"slug": "b"}])

    assert caught.value.details is not None
    assert caught.value.details["keyValue"] == {"slug": "a"}


async def test_the_driver_repeats_what_a_label_allows_it_to(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    once = fake.fail_next("insert", code="PrimarySteppedDown")

    await pages.insert_one({"_id": 1})

    assert once.happened == 1
    fake.commands.assert_sent("insert", times=2)

    twice = fake.fail_next("insert", code="PrimarySteppedDown", times=2)
    with pytest.raises(AutoReconnect):
        await pages.insert_one({"_id": 2})
    assert twice.happened == 2


async def test_a_lost_reply_leaves_the_write_applied_once(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    await pages.insert_one({"_id": 1, "n": 0})
    lost = fake.fail_next("update", network_error=True, after=True)

    await pages.update_one({"_id": 1}, {"$inc": {"n": 1}})

    assert lost.happened == 1
    assert await pages.find_one({"_id": 1}) == {"_id": 1, "n": 1}


async def test_a_network_error_of_a_write_that_cannot_be_repeated(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    await pages.insert_one({"_id": 1, "n": 0})
    fake.fail_next("update", network_error=True, after=True)

    with pytest.raises(AutoReconnect):
        await pages.update_many({}, {"$inc": {"n": 1}})

    assert await pages.find_one({"_id": 1}) == {"_id": 1, "n": 1}


async def test_a_failure_is_chosen_by_namespace_and_predicate(fake: FakeTransport) -> None:
    database = fake.client["cms"]
    fake.fail_next(
        "find",
        namespace=".pages",
        where=lambda c: c.document["filter"] == {"_id": 2},
        times=None,
        code=96,
    )

    await database["users"].find_one({"_id": 2})
    await database["pages"].find_one({"_id": 1})
    for _ in range(3):
        with pytest.raises(OperationFailure):
            await database["pages"].find_one({"_id": 2})


async def test_labels_are_added_to_those_of_the_server(fake: FakeTransport) -> None:
    fake.fail_next("commitTransaction", code=91, labels=["MyLabel"], times=None)

    async with fake.client.start_session() as session:
        await session.start_transaction()
        await fake.client["cms"]["pages"].insert_one({}, session=session)
        with pytest.raises(NotPrimaryError) as caught:
            await session.commit_transaction()

    assert caught.value.has_error_label("MyLabel")
    assert caught.value.has_error_label("RetryableWriteError")
    fake.commands.assert_sent("commitTransaction", times=2)


async def test_a_statement_of_a_transaction_gets_its_label_by_itself(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    fake.fail_next("insert", code="WriteConflict")

    async def write(session: Any) -> None:
        await pages.insert_one({"_id": 1}, session=session)

    async with fake.client.start_session() as session:
        await session.with_transaction(write)

    assert await pages.count_documents({}) == 1
    fake.commands.assert_sent("insert", times=2)


async def test_a_delay_lets_the_command_go_on(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    await pages.insert_one({"_id": 1})
    fake.fail_next("find", delay_ms=30)
    before = time.monotonic()

    assert await pages.find_one() == {"_id": 1}

    assert time.monotonic() - before >= 0.03


async def test_a_delay_and_a_code_together(fake: FakeTransport) -> None:
    fake.fail_next("find", delay_ms=1, code="MaxTimeMSExpired")
    with pytest.raises(ExecutionTimeout):
        await fake.client["cms"]["pages"].find_one()


async def test_cancelled_failures_do_not_happen(fake: FakeTransport) -> None:
    scripted = fake.fail_next("find", code=96, times=None)
    scripted.cancel()

    await fake.client["cms"]["pages"].find_one()

    with pytest.raises(AssertionError, match=r"of find \(OperationFailed \(96\)"):
        scripted.assert_happened()


async def test_without_a_name_any_command_is_meant(fake: FakeTransport) -> None:
    fake.fail_next(code=96)
    with pytest.raises(OperationFailure):
        await fake.client["cms"].create_collection("pages")


@pytest.mark.parametrize(
    ("arguments", "how", "message"),
    [
        (("insert",), {}, r"needs to know how: code=112"),
        (("insert_one",), {"code": 1}, "the command it sends is insert"),
        (("instert",), {"code": 1}, "do you mean 'insert'"),
        (("insert",), {"code": "WriteConflictt"}, "do you mean 'WriteConflict'"),
        (("insert",), {"code": 1, "network_error": True}, "has no code"),
        (("insert",), {"delay_ms": 1, "message": "no"}, "belong to an error"),
        (("insert",), {"code": 1, "times": 0}, "from 1 on"),
        (("insert",), {"code": 1, "namespace": "pages"}, r"write '\.pages'"),
        (("insert",), {"code": 1, "tmies": 2}, "no argument 'tmies'; it takes namespace, where"),
        (("insert",), {"code": 1, "labels": "MyLabel"}, r"write labels=\['MyLabel'\]"),
    ],
)
async def test_a_script_that_makes_no_sense_is_refused(
    fake: FakeTransport, arguments: tuple[str, ...], how: Any, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        fake.fail_next(*arguments, **how)


# The clock


async def test_a_frozen_clock_dates_what_the_server_dates(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    fake.clock.freeze(datetime(2024, 2, 29, 12, tzinfo=UTC))
    await pages.insert_one({"_id": 1})

    await pages.update_one({"_id": 1}, {"$currentDate": {"at": True}})
    fake.clock.advance(timedelta(hours=1))
    await pages.update_one({"_id": 1}, [{"$set": {"later": "$$NOW"}}])

    assert await pages.find_one() == {
        "_id": 1,
        "at": datetime(2024, 2, 29, 12),
        "later": datetime(2024, 2, 29, 13),
    }
    assert fake.clock.is_frozen
    assert fake.clock.time == datetime(2024, 2, 29, 13, tzinfo=UTC)
    assert repr(fake.clock) == "<Clock: 2024-02-29T13:00:00+00:00, frozen>"


async def test_documents_expire_when_the_clock_has_moved(fake: FakeTransport) -> None:
    sessions = fake.client["cms"]["sessions"]
    await sessions.create_index("at", expireAfterSeconds=30)
    await sessions.insert_one({"_id": 1, "at": datetime.now(UTC)})

    fake.clock.advance(20)
    assert await sessions.count_documents({}) == 1
    fake.clock.advance(20)
    assert await sessions.count_documents({}) == 0


async def test_a_transaction_expires_when_the_clock_has_moved(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    await pages.insert_one({"_id": 1})
    async with fake.client.start_session() as session:
        await session.start_transaction()
        await pages.update_one({"_id": 1}, {"$set": {"n": 1}}, session=session)
        fake.clock.advance(timedelta(minutes=2))
        with pytest.raises(OperationFailure) as caught:
            await pages.find_one({"_id": 1}, session=session)
    assert caught.value.code == 251


async def test_a_thawed_clock_follows_the_machine(fake: FakeTransport) -> None:
    fake.clock.freeze(datetime(1999, 1, 1))
    fake.clock.thaw()
    assert abs(fake.clock.now_ms() - time.time() * 1000) < 60_000
    with pytest.raises(ValueError, match="a clock goes forward"):
        fake.clock.advance(-1)


@pytest.mark.parametrize(("method", "value"), [("freeze", "2024-02-29"), ("advance", "5 minutes")])
async def test_a_time_in_words_is_refused(fake: FakeTransport, method: str, value: str) -> None:
    with pytest.raises(TypeError, match=rf"{method}\(\) takes a .*, not '{value}'"):
        getattr(fake.clock, method)(value)


# Snapshots


async def test_restoring_a_snapshot_takes_back_every_kind_of_change(fake: FakeTransport) -> None:
    database = fake.client["cms"]
    pages = database["pages"]
    await pages.create_index("slug", unique=True)
    await pages.insert_many([{"_id": n, "slug": str(n), "tags": ["a", "b"]} for n in range(5)])
    await database.command({"create": "short", "viewOn": "pages", "pipeline": [{"$limit": 2}]})
    snapshot = fake.snapshot()
    before = fake.dump(canonical=True)

    await pages.bulk_write(
        [
            UpdateOne({"_id": 0}, {"$set": {"tags.0": "x", "deep.er": 1}}),
            UpdateOne({"_id": 1}, {"$push": {"tags": "c"}}),
            UpdateOne({"_id": 2}, [{"$set": {"slug": "other"}}]),
        ]
    )
    await pages.delete_one({"_id": 3})
    await pages.insert_one({"_id": 9, "slug": "9"})
    await pages.drop_index("slug_1")
    await database["short"].drop()
    await database["new"].insert_one({})
    await fake.client["another"]["new"].insert_one({})
    fake.restore(snapshot)

    assert fake.dump(canonical=True) == before
    assert snapshot.documents == 5
    assert sorted(await database.list_collection_names()) == ["pages", "short", "system.views"]
    assert "another" not in await fake.client.list_database_names()
    assert len([d async for d in database["short"].find()]) == 2
    assert await pages.find_one({"slug": "3"}) == {"_id": 3, "slug": "3", "tags": ["a", "b"]}
    with pytest.raises(DuplicateKeyError):
        await pages.insert_one({"slug": "2"})
    await pages.insert_one({"_id": 9, "slug": "other"})


async def test_a_snapshot_is_restored_any_number_of_times(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    await pages.create_index([("a", 1), ("b", 1)])
    await pages.insert_many([{"_id": n, "a": n % 2, "b": n} for n in range(4)])
    snapshot = fake.snapshot()
    for _ in range(3):
        await pages.insert_one({"_id": 9, "a": 1, "b": 9})
        assert await pages.count_documents({"a": 1}) == 3
        assert [d["_id"] async for d in pages.find({"a": 1}).sort("b", -1)] == [9, 3, 1]
        fake.restore(snapshot)
        assert await pages.count_documents({"a": 1}) == 2


async def test_only_a_snapshot_can_be_restored(fake: FakeTransport) -> None:
    not_one: Any = fake.dump()
    with pytest.raises(TypeError, match=r"what snapshot\(\) returned, not '{}'"):
        fake.restore(not_one)


async def test_restoring_ends_transactions_and_cursors(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    await pages.insert_many([{"_id": n} for n in range(5)])
    snapshot = fake.snapshot()
    cursor = pages.find(batch_size=2)
    await cursor.next()
    async with fake.client.start_session() as session:
        await session.start_transaction()
        await pages.delete_one({"_id": 1}, session=session)

        fake.restore(snapshot)

        with pytest.raises(OperationFailure) as lost:
            await pages.delete_one({"_id": 2}, session=session)
    with pytest.raises(OperationFailure) as gone:
        await cursor.to_list()
    assert (lost.value.code, gone.value.code) == (251, 43)
    assert await pages.count_documents({}) == 5


async def test_a_change_stream_goes_on_after_a_restore(fake: FakeTransport) -> None:
    pages = fake.client["cms"]["pages"]
    await pages.insert_one({"_id": 0})
    snapshot = fake.snapshot()
    async with await pages.watch() as stream:
        fake.restore(snapshot)
        await pages.insert_one({"_id": 1})
        assert (await stream.next())["documentKey"] == {"_id": 1}


# Files


async def test_what_is_dumped_can_be_loaded(fake: FakeTransport, tmp_path: Path) -> None:
    document = {
        "_id": ObjectId("65a000000000000000000001"),
        "n": Int64(1),
        "price": Decimal128("1.50"),
        "at": datetime(2024, 1, 1),
    }
    await fake.client["cms"]["pages"].insert_one(document)
    await fake.client["cms"].create_collection("empty")
    (tmp_path / "cms.json").write_text(fake.dump(canonical=True))

    async with FakeTransport(parse_url("fake:///copy")) as other:
        counts = await other.load(tmp_path / "cms.json")

        assert counts == {"empty": 0, "pages": 1}
        loaded = await other.client["copy"]["pages"].find_one()
        assert loaded == document
        assert isinstance(loaded["n"], Int64)
        assert len(other.commands) == 1


async def test_a_dump_is_readable(fake: FakeTransport) -> None:
    await fake.load({"pages": [{"_id": 1, "slug": "a"}, {"_id": 2, "slug": "b"}], "users": []})
    assert fake.dump() == (
        '{\n  "pages": [\n    {"_id": 1, "slug": "a"},\n    {"_id": 2, "slug": "b"}\n  ],\n'
        '  "users": []\n}'
    )
    assert fake.dump("another") == "{}"


async def test_files_of_mongoexport_are_loaded(fake: FakeTransport, tmp_path: Path) -> None:
    lines = '{"_id":{"$oid":"65a000000000000000000001"}}\n{"_id":{"$numberLong":"2"}}\n'
    (tmp_path / "lines.json").write_text(lines)
    (tmp_path / "array.json").write_text(json.dumps([{"_id": 1}, {"_id": 2}, {"_id": 3}]))
    (tmp_path / "more.jsonl").write_text('{"_id": 1}\n\n')
    (tmp_path / "one.json").write_text('{"_id": 1, "tags": ["a"]}')
    (tmp_path / "README").write_text("not a file of documents")

    assert await fake.load(tmp_path) == {"array": 3, "lines": 2, "more": 1, "one": 1}
    assert await fake.client["cms"]["lines"].find_one({"_id": 2}) == {"_id": 2}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bad.json", '{"pages": [\n{"a": }]}', r"bad\.json:2: Expecting value"),
        ("bad.jsonl", '{"_id": 1}\n{"_id":', r"bad\.jsonl:2: "),
        ("bad.json", '[{"_id": {"$oid": "short"}}]', r"bad\.json: 'short' is not a valid ObjectId"),
        ("bad.json", "[1]", r"number 0 of 'bad' is no document but int"),
        ("bad.json", '"text"', r"expected an array of documents"),
        ("bad.jsonl", "[1]", r"bad\.jsonl:1: a line must be one document"),
    ],
)
async def test_a_file_that_cannot_be_understood_is_named(
    fake: FakeTransport, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        await fake.load(tmp_path / name)


async def test_what_is_neither_a_path_nor_a_mapping_is_refused(fake: FakeTransport) -> None:
    documents: Any = [{"_id": 1}]
    with pytest.raises(TypeError, match=r"a mapping, {'pages': \[{…}, …\]}, not list"):
        await fake.load(documents)


async def test_a_file_in_another_encoding_is_named(fake: FakeTransport, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes('{"a": "é"}'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"bad\.json: it is not UTF-8"):
        await fake.load(tmp_path / "bad.json")


async def test_a_missing_file_and_an_empty_directory_are_named(
    fake: FakeTransport, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.json to load"):
        await fake.load(tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"holds no file that ends in \.json"):
        await fake.load(tmp_path)


async def test_no_documents_are_loaded_into_a_collection_that_is_there(
    fake: FakeTransport,
) -> None:
    await fake.client["cms"].create_collection("pages", capped=True, size=4096)
    assert await fake.load({"pages": [], "users": []}) == {"pages": 0, "users": 0}
    assert sorted(await fake.client["cms"].list_collection_names()) == ["pages", "users"]


async def test_loading_meets_validators_but_no_scripted_failure(fake: FakeTransport) -> None:
    await fake.client["cms"].create_collection("pages", validator={"slug": {"$type": "string"}})
    fake.fail_next("insert", code=96)

    with pytest.raises(BulkWriteError):
        await fake.load({"pages": [{"slug": 1}]})
    assert await fake.load({"pages": [{"slug": "a"}]}) == {"pages": 1}
