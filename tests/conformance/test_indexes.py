"""Indexes: declared by models, managed by hand, enforced, and the ones the server looks after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

import pytest
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from models import Asset, Form, LoginSession, Page, PreviewToken, Profile, User
from odm import Connection, Document, Indexed


class Contact(Document):
    mail: Annotated[str, Indexed(unique=True)]
    city: Annotated[str, Indexed()] = ""
    score: Annotated[int, Indexed(index_type=DESCENDING)] = 0
    team: str = ""
    nick: str | None = None

    class Settings:
        name = "contacts"
        indexes: ClassVar = [
            IndexModel([("team", ASCENDING), ("city", DESCENDING)], name="team_city"),
            IndexModel(
                [("nick", ASCENDING)],
                name="nick",
                unique=True,
                partialFilterExpression={"nick": {"$type": "string"}},
            ),
            "team",
            [("score", ASCENDING), ("mail", ASCENDING)],
        ]


async def names(db: Connection, collection: str) -> set[str]:
    return set(await db.database[collection].index_information())


@pytest.mark.models([Contact])
async def test_declared_indexes_are_created(db: Connection) -> None:
    information = await db.database["contacts"].index_information()
    assert {name: index["key"] for name, index in information.items()} == {
        "_id_": [("_id", 1)],
        "mail_1": [("mail", 1)],
        "city_1": [("city", 1)],
        "score_-1": [("score", -1)],
        "team_city": [("team", 1), ("city", -1)],
        "nick": [("nick", 1)],
        "team_1": [("team", 1)],
        "score_1_mail_1": [("score", 1), ("mail", 1)],
    }
    assert information["mail_1"]["unique"] is True
    assert information["nick"]["partialFilterExpression"] == {"nick": {"$type": "string"}}
    assert "unique" not in information["city_1"]


@pytest.mark.models([Contact], indexes=False)
async def test_indexes_can_be_left_out(db: Connection) -> None:
    with db.bind():
        await Contact(mail="a").insert()
        await Contact(mail="a").insert()
    assert await names(db, "contacts") == {"_id_"}


@pytest.mark.models([User, LoginSession, Page, PreviewToken, Form, Asset])
async def test_indexes_of_the_reference_models(db: Connection) -> None:
    assert await names(db, "users") == {"_id_", "email_1", "roles", "last_login_of_active"}
    assert await names(db, "pages") == {"_id_", "address", "search", "tags", "published"}
    assert await names(db, "assets") == {"_id_", "key", "name"}
    sessions = await db.database["login_sessions"].index_information()
    assert sessions["expires_at_1"]["expireAfterSeconds"] == 0
    search = (await db.database["pages"].index_information())["search"]
    assert search["weights"] == {"title": 1, "summary": 1}
    assert search["default_language"] == "english"


@pytest.mark.models([Contact])
async def test_unique_and_partial_indexes_hold(db: Connection) -> None:
    with db.bind():
        await Contact(mail="a").insert()
        await Contact(mail="b").insert()  # both without a nick
        await Contact(mail="c", nick="x").insert()
        with pytest.raises(DuplicateKeyError) as caught:
            await Contact(mail="d", nick="x").insert()
        assert (caught.value.details or {})["keyPattern"] == {"nick": 1}
        with pytest.raises(DuplicateKeyError):
            await Contact(mail="a").insert()
    assert await db.database["contacts"].count_documents({}) == 3


@pytest.mark.models([Page])
async def test_compound_unique_index(db: Connection) -> None:
    pages = db.repository(Page)
    await pages.add(Page(title="Hello"))
    await pages.add(Page(title="Hello", locale="de"))
    with pytest.raises(DuplicateKeyError) as caught:
        await pages.add(Page(title="Hello"))
    assert (caught.value.details or {})["keyPattern"] == {"locale": 1, "slug": 1}
    assert (caught.value.details or {})["keyValue"] == {"locale": "en", "slug": "hello"}


async def test_create_and_drop_by_hand(db: Connection) -> None:
    c = db.database["c"]
    assert await c.create_index("a") == "a_1"
    assert await c.create_index("a") == "a_1"
    assert await c.create_index([("a", 1), ("b", -1)], name="ab") == "ab"
    assert await c.create_indexes([IndexModel("x"), IndexModel("y.z", unique=True)]) == [
        "x_1",
        "y.z_1",
    ]
    assert await names(db, "c") == {"_id_", "a_1", "ab", "x_1", "y.z_1"}
    await c.drop_index("ab")
    await c.drop_index([("x", 1)])
    assert await names(db, "c") == {"_id_", "a_1", "y.z_1"}
    await c.drop_indexes()
    assert await names(db, "c") == {"_id_"}


async def test_list_indexes_tells_their_options(db: Connection) -> None:
    c = db.database["c"]
    await c.create_index("s", sparse=True)
    await c.create_index("t", expireAfterSeconds=60)
    await c.create_index("l", collation={"locale": "en", "strength": 2})
    await c.create_index("h", hidden=True)
    indexes = {index["name"]: index async for index in await c.list_indexes()}
    assert indexes["_id_"]["key"] == {"_id": 1}
    assert indexes["_id_"]["v"] == 2
    assert indexes["s_1"]["sparse"] is True
    assert indexes["t_1"]["expireAfterSeconds"] == 60
    assert indexes["l_1"]["collation"]["strength"] == 2
    assert indexes["h_1"]["hidden"] is True


async def test_create_indexes_reply(db: Connection) -> None:
    reply = await db.database.command(
        "createIndexes", "c", indexes=[{"key": {"a": 1}, "name": "a"}]
    )
    assert (reply["numIndexesBefore"], reply["numIndexesAfter"]) == (1, 2)
    assert reply["createdCollectionAutomatically"] is True
    reply = await db.database.command(
        "createIndexes", "c", indexes=[{"key": {"a": 1}, "name": "a"}]
    )
    assert reply["note"] == "all indexes already exist"
    reply = await db.database.command("dropIndexes", "c", index="a")
    assert reply["nIndexesWas"] == 2


async def test_unique_index_over_duplicates_is_refused(db: Connection) -> None:
    await db.database["c"].insert_many([{"n": 1}, {"n": 1}])
    with pytest.raises(DuplicateKeyError) as caught:
        await db.database["c"].create_index("n", unique=True)
    assert caught.value.code == 11000
    assert (caught.value.details or {})["keyValue"] == {"n": 1}
    assert await names(db, "c") == {"_id_"}


@pytest.mark.parametrize(
    ("first", "second", "code", "code_name"),
    [
        ({"name": "n"}, {"name": "other"}, 85, "IndexOptionsConflict"),
        ({"name": "n"}, {"name": "n", "unique": True}, 86, "IndexKeySpecsConflict"),
        ({"name": "n", "expireAfterSeconds": 5}, {"name": "n", "expireAfterSeconds": 6}, 85,
         "IndexOptionsConflict"),
    ],
    ids=["name", "unique", "ttl"],
)  # fmt: skip
async def test_conflicting_indexes(
    db: Connection, first: dict[str, Any], second: dict[str, Any], code: int, code_name: str
) -> None:
    await db.database["c"].create_index("n", **first)
    with pytest.raises(OperationFailure) as caught:
        await db.database["c"].create_index("n", **second)
    assert (caught.value.code, (caught.value.details or {})["codeName"]) == (code, code_name)


async def test_multikey_unique_index(db: Connection) -> None:
    c = db.database["c"]
    await c.create_index("tags", unique=True)
    await c.insert_one({"tags": ["a", "b", "b"]})
    with pytest.raises(DuplicateKeyError) as caught:
        await c.insert_one({"tags": ["c", "b"]})
    assert (caught.value.details or {})["keyValue"] == {"tags": "b"}
    with pytest.raises(BulkWriteError):
        await c.insert_many([{"other": 1}, {"other": 2}])


async def test_missing_and_null_are_one_key(db: Connection) -> None:
    c = db.database["c"]
    await c.create_index("n", unique=True)
    await c.insert_one({"_id": 1})
    with pytest.raises(DuplicateKeyError) as caught:
        await c.insert_one({"_id": 2, "n": None})
    assert (caught.value.details or {})["keyValue"] == {"n": None}


async def test_sparse_unique_index(db: Connection) -> None:
    c = db.database["c"]
    await c.create_index("n", unique=True, sparse=True)
    await c.insert_many([{"_id": 1}, {"_id": 2}, {"_id": 3, "n": None}])
    with pytest.raises(DuplicateKeyError):
        await c.insert_one({"n": None})


async def test_unique_index_with_a_collation(db: Connection) -> None:
    c = db.database["c"]
    await c.create_index("mail", unique=True, collation={"locale": "en", "strength": 2})
    await c.insert_one({"mail": "Ada@x"})
    with pytest.raises(DuplicateKeyError):
        await c.insert_one({"mail": "ADA@X"})


async def test_equal_numbers_of_different_types_are_one_key(db: Connection) -> None:
    c = db.database["c"]
    await c.create_index("n", unique=True)
    await c.insert_one({"n": 1})
    with pytest.raises(BulkWriteError) as caught:
        await c.insert_many([{"n": 1.0}, {"n": True}], ordered=False)
    assert [error["index"] for error in caught.value.details["writeErrors"]] == [0]


async def test_ttl_can_be_changed(db: Connection) -> None:
    await db.database["c"].create_index("at", expireAfterSeconds=60)
    reply = await db.database.command(
        "collMod", "c", index={"keyPattern": {"at": 1}, "expireAfterSeconds": 120}
    )
    assert (reply["expireAfterSeconds_old"], reply["expireAfterSeconds_new"]) == (60, 120)
    information = await db.database["c"].index_information()
    assert information["at_1"]["expireAfterSeconds"] == 120


@pytest.mark.models([User, LoginSession])
async def test_documents_with_a_future_expiry_stay(db: Connection) -> None:
    user = await db.repository(User).add(User(email="a@b.c", profile=Profile(display_name="A")))
    sessions = db.repository(LoginSession)
    session = LoginSession(token="t", user=user, expires_at=datetime.now(UTC) + timedelta(hours=1))
    await sessions.add(session)
    assert (await sessions.get(session.id)).expires_at == session.expires_at


async def test_hidden_index_is_not_used_by_hint(db: Connection) -> None:
    await db.database["c"].create_index("n", hidden=True)
    with pytest.raises(OperationFailure) as caught:
        await db.database["c"].find(hint="n_1").to_list()
    assert caught.value.code == 2


async def test_text_index_scores(db: Connection) -> None:
    c = db.database["c"]
    await c.create_index([("title", "text"), ("body", "text")], weights={"title": 10})
    await c.insert_many(
        [
            {"_id": 1, "title": "tea", "body": "about coffee"},
            {"_id": 2, "title": "coffee", "body": "about tea"},
            {"_id": 3, "title": "maps", "body": "of the world"},
        ]
    )
    found = (
        await c.find({"$text": {"$search": "tea"}}, {"score": {"$meta": "textScore"}})
        .sort([("score", {"$meta": "textScore"})])
        .to_list()
    )
    assert [document["_id"] for document in found] == [1, 2]
    assert found[0]["score"] > found[1]["score"]


async def test_wildcard_and_hashed_indexes_are_accepted(db: Connection) -> None:
    c = db.database["c"]
    await c.create_index([("$**", 1)])
    await c.create_index([("h", "hashed")])
    await c.insert_one({"_id": 1, "h": 5, "deep": {"x": 1}})
    assert await c.find_one({"deep.x": 1}) == {"_id": 1, "h": 5, "deep": {"x": 1}}
    assert await names(db, "c") == {"_id_", "$**_1", "h_hashed"}
