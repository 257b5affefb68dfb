"""BSON values travel both ways unchanged, and arrive on the server as what they are."""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from decimal import Decimal
from typing import Any

import pytest
from bson import (
    Binary,
    Code,
    CodecOptions,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    encode,
)
from bson.binary import UuidRepresentation
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pydantic import BaseModel, Field

from odm import Connection, DecimalAnnotation, Document

VALUES: dict[str, tuple[Any, str]] = {
    "null": (None, "null"),
    "true": (True, "bool"),
    "false": (False, "bool"),
    "int32": (42, "int"),
    "int32-smallest": (-(2**31), "int"),
    "int64": (2**40, "long"),
    "int64-small": (Int64(7), "long"),
    "int64-smallest": (-(2**63), "long"),
    "double": (1.5, "double"),
    "double-whole": (2.0, "double"),
    "double-tiny": (5e-324, "double"),
    "infinity": (math.inf, "double"),
    "decimal": (Decimal128("12345678901234567890.123456789"), "decimal"),
    "decimal-trailing-zeros": (Decimal128("1.500"), "decimal"),
    "decimal-infinity": (Decimal128("-Infinity"), "decimal"),
    "string": ("plain", "string"),
    "string-empty": ("", "string"),
    "string-unicode": ("Grüße, 世界, 🦊, e\u0301", "string"),
    "string-nul": ("a\x00b", "string"),
    "object-id": (ObjectId("0123456789abcdef01234567"), "objectId"),
    "date": (dt.datetime(2026, 5, 14, 12, 30, 15, 123000), "date"),
    "date-before-1970": (dt.datetime(1815, 12, 10, 1, 2, 3, 4000), "date"),
    "binary": (b"\x00\x01\xff", "binData"),
    "binary-empty": (b"", "binData"),
    "binary-user-defined": (Binary(b"abc", 128), "binData"),
    "uuid": (Binary.from_uuid(uuid.UUID(int=7)), "binData"),
    "uuid-java": (
        Binary.from_uuid(uuid.UUID(int=7), UuidRepresentation.JAVA_LEGACY),
        "binData",
    ),
    "regex": (Regex("^a.*z$", re.IGNORECASE | re.MULTILINE), "regex"),
    "javascript": (Code("return 1"), "javascript"),
    "javascript-with-scope": (Code("return x", {"x": 1}), "javascriptWithScope"),
    "timestamp": (Timestamp(1_700_000_000, 3), "timestamp"),
    "min-key": (MinKey(), "minKey"),
    "max-key": (MaxKey(), "maxKey"),
    "array": ([1, [2, [3, []]], {"a": [None]}], "array"),
    "array-empty": ([], "array"),
    "document": ({"z": 1, "a": {"m": 2, "b": 3}}, "object"),
    "document-empty": ({}, "object"),
    "dbref": (DBRef("users", ObjectId("0123456789abcdef01234567")), "object"),
}


async def test_values_round_trip_and_have_their_types(db: Connection) -> None:
    values = db.database["values"]
    await values.insert_many([{"_id": name, "value": value} for name, (value, _) in VALUES.items()])
    found = {document["_id"]: document["value"] async for document in values.find()}
    assert found == {name: value for name, (value, _) in VALUES.items()}
    classes = {name: type(value) for name, value in found.items() if not isinstance(value, int)}
    assert classes == {
        name: type(value) for name, (value, _) in VALUES.items() if not isinstance(value, int)
    }

    cursor = await values.aggregate([{"$project": {"kind": {"$type": "$value"}}}])
    kinds = {document["_id"]: document["kind"] async for document in cursor}
    assert kinds == {name: kind for name, (_, kind) in VALUES.items()}
    matched = {
        name: await values.count_documents({"_id": name, "value": {"$type": kind}})
        for name, (_, kind) in VALUES.items()
    }
    assert matched == dict.fromkeys(VALUES, 1)


async def test_nan_and_negative_zero_keep_their_bits(db: Connection) -> None:
    await db.database["values"].insert_one({"_id": 1, "nan": math.nan, "zero": -0.0})
    found = await db.database["values"].find_one({"_id": 1})
    assert found is not None
    assert math.isnan(found["nan"])
    assert math.copysign(1, found["zero"]) == -1.0


async def test_int64_stays_int64(db: Connection) -> None:
    await db.database["values"].insert_one({"_id": 1, "small": Int64(1), "plain": 1})
    found = await db.database["values"].find_one({"_id": 1})
    assert found is not None
    assert isinstance(found["small"], Int64)
    assert not isinstance(found["plain"], Int64)


async def test_order_of_fields_is_kept(db: Connection) -> None:
    document = {"_id": 1, "z": 1, "a": {"y": 1, "b": 2}, "m": 3}
    await db.database["values"].insert_one(document)
    found = await db.database["values"].find_one({"_id": 1})
    assert found is not None
    assert list(found) == ["_id", "z", "a", "m"]
    assert list(found["a"]) == ["y", "b"]


async def test_id_moves_to_the_front(db: Connection) -> None:
    await db.database["values"].insert_one({"b": 1, "_id": 5, "a": 2})
    found = await db.database["values"].find_one({"_id": 5})
    assert found is not None
    assert list(found) == ["_id", "b", "a"]


async def test_odd_keys_are_kept_in_nested_documents(db: Connection) -> None:
    keys = ["with.dot", "", " ", "ключ", "🦊", "a b", "x" * 1000, "$inner", "0", "__proto__", "_id"]
    documents = [{"_id": number, "inner": {key: 1, "other": 2}} for number, key in enumerate(keys)]
    await db.database["values"].insert_many(documents)
    assert await db.database["values"].find(sort=[("_id", 1)]).to_list() == documents


async def test_dotted_key_at_the_top_is_stored_as_it_is(db: Connection) -> None:
    await db.database["values"].insert_one({"_id": 1, "a.b": 1})
    assert await db.database["values"].find_one({"_id": 1}) == {"_id": 1, "a.b": 1}
    assert await db.database["values"].find_one({"a.b": 1}) is None


async def test_any_type_can_be_an_id(db: Connection) -> None:
    ids = [
        0,
        -1,
        "text",
        Int64(2**50),
        1.5,
        {"a": 1, "b": 2},
        b"\x01",
        uuid.UUID(int=3),
        dt.datetime(2026, 1, 1),
    ]
    options: CodecOptions[dict[str, Any]] = CodecOptions(
        uuid_representation=UuidRepresentation.STANDARD
    )
    values = db.database["values"].with_options(codec_options=options)
    result = await values.insert_many([{"_id": value} for value in ids])
    assert result.inserted_ids == ids
    for value in ids:
        assert await values.find_one({"_id": value}) == {"_id": value}


async def test_dates_outside_python_travel_raw(db: Connection) -> None:
    far = [DatetimeMS(2**62), DatetimeMS(-(2**62)), DatetimeMS(0)]
    await db.database["values"].insert_one({"_id": 1, "dates": far})
    options: CodecOptions[dict[str, Any]] = CodecOptions(
        datetime_conversion=DatetimeConversion.DATETIME_MS
    )
    found = await db.database["values"].with_options(codec_options=options).find_one()
    assert found == {"_id": 1, "dates": far}


async def test_raw_documents_keep_every_byte(db: Connection) -> None:
    options: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
    sent = RawBSONDocument(encode({"_id": 1, "when": DatetimeMS(2**60), "n": Int64(1), "d": 1.0}))
    raw: Any = db.database.get_collection("values", codec_options=options)  # of raw documents
    await raw.insert_one(sent)
    found = await raw.find_one({"_id": 1})
    assert found is not None
    assert found.raw == sent.raw


async def test_microseconds_are_cut_to_milliseconds(db: Connection) -> None:
    await db.database["values"].insert_one(
        {"_id": 1, "at": dt.datetime(2026, 1, 1, 0, 0, 0, 123_999, tzinfo=dt.UTC)}
    )
    found = await db.database["values"].find_one()
    assert found is not None
    assert found["at"] == dt.datetime(2026, 1, 1, 0, 0, 0, 123_000)


async def test_aware_dates_are_stored_as_utc(db: Connection) -> None:
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    await db.database["values"].insert_one(
        {"_id": 1, "at": dt.datetime(2026, 1, 1, 5, 30, tzinfo=zone)}
    )
    options: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
    found = await db.database["values"].with_options(codec_options=options).find_one()
    assert found == {"_id": 1, "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}


@pytest.mark.parametrize("size", [1_000_000, 3_000_000, 15_000_000], ids=["1MB", "3MB", "15MB"])
async def test_large_document_round_trips(db: Connection, size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    await db.database["values"].insert_one({"_id": 1, "body": body})
    found = await db.database["values"].find_one({"_id": 1})
    assert found is not None
    assert found["body"] == body


@pytest.mark.parametrize("size", [3, 9], ids=["3MB", "9MB"])
async def test_result_of_several_megabytes_arrives_whole(db: Connection, size: int) -> None:
    bodies = {number: chr(97 + number) * 1_000_000 for number in range(size)}
    await db.database["values"].insert_many(
        [{"_id": number, "body": body} for number, body in bodies.items()]
    )
    found = await db.database["values"].find(sort=[("_id", 1)]).to_list()
    assert {document["_id"]: document["body"] for document in found} == bodies


async def test_a_thousand_small_documents_round_trip(db: Connection) -> None:
    documents = [{"_id": number, "square": number * number} for number in range(1000)]
    await db.database["values"].insert_many(documents)
    assert await db.database["values"].find(sort=[("_id", 1)]).to_list() == documents


async def test_deep_nesting_round_trips(db: Connection) -> None:
    nested: dict[str, Any] = {"leaf": True}
    for _ in range(90):
        nested = {"n": nested}
    await db.database["values"].insert_one({"_id": 1, "nested": nested})
    assert await db.database["values"].find_one() == {"_id": 1, "nested": nested}


async def test_sort_order_across_types_is_the_servers(db: Connection) -> None:
    ordered: list[Any] = [
        MinKey(), None, -1.5, Int64(2), Decimal128("2.5"), 3, "A", "a", {"a": 1}, [], b"x",
        ObjectId("0" * 24), False, True, dt.datetime(2020, 1, 1),
        Timestamp(1, 1), Regex("a"), MaxKey(),
    ]  # fmt: skip
    # An empty array sorts as less than null: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
    expected = [0, 9, 1, 2, 3, 4, 5, 6, 7, 8, *range(10, len(ordered))]
    await db.database["values"].insert_many(
        [{"_id": number, "value": value} for number, value in enumerate(ordered)][::-1]
    )
    found = await db.database["values"].find(sort=[("value", 1), ("_id", 1)]).to_list()
    assert [document["_id"] for document in found] == expected


class Measurements(BaseModel):
    price: DecimalAnnotation
    took: dt.timedelta


class Typed(Document):
    key: uuid.UUID
    raw: bytes
    when: dt.datetime
    measurements: Measurements
    tags: set[str] = Field(default_factory=set)
    pair: tuple[int, str] = (1, "a")
    numbers: dict[str, float] = Field(default_factory=dict)

    class Settings:
        name = "typed"


@pytest.mark.models([Typed])
async def test_document_with_rich_types_equals_itself_after_a_round_trip(db: Connection) -> None:
    repository = db.repository(Typed)
    with db.bind():
        typed = Typed(
            key=uuid.UUID(int=11),
            raw=b"\x00\xff",
            when=dt.datetime(2026, 1, 2, 3, 4, 5, 6000),
            measurements=Measurements(price=Decimal("19.90"), took=dt.timedelta(seconds=90)),
            tags={"x", "y"},
            pair=(2, "b"),
            numbers={"pi": 3.14},
        )
    await repository.add(typed)
    found = await repository.get(typed.id)
    assert found == typed
    assert found.measurements.price == Decimal("19.90")
    stored = await db.database["typed"].find_one()
    assert stored is not None
    assert stored["key"] == Binary(uuid.UUID(int=11).bytes, 4)
    assert stored["measurements"] == {"price": Decimal128("19.90"), "took": 90.0}
