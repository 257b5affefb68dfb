"""Clients of several makers at one tunnel, at one time, over real function processes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

CLIENTS = Path(__file__).parent / "clients"
DATABASE = "tunnel_clients"
DUMPED = "tunnel_dumped"
DUMPED_MB = int(os.environ.get("ODM_TEST_DUMP_MB", "24"))
RAW = CodecOptions(document_class=RawBSONDocument)


@pytest.fixture(scope="module")
def server(mongod_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client of the deployment itself; what the tests made there is dropped in the end."""
    with MongoClient[dict[str, Any]](mongod_uri) as client:
        yield client
        for database in (DATABASE, DUMPED):
            client.drop_database(database)


@pytest.fixture(scope="module")
def tunnel_url(lambda_url: str) -> str:
    return lambda_url.replace("/test?", f"/{DATABASE}?")


# -- what each client does ------------------------------------------------------------------------


def synchronous(uri: str) -> dict[str, Any]:
    """A batch of documents, a transaction kept, one dropped, and a change stream that tells."""
    with MongoClient[dict[str, Any]](uri, appname="synchronous") as client:
        pages = client.get_default_database()["synchronous"]
        pages.insert_many([{"_id": n, "n": n} for n in range(500)])
        read = sum(page["n"] for page in pages.find(batch_size=50))
        with pages.watch([{"$match": {"operationType": "insert"}}]) as stream:
            with client.start_session() as session:
                with session.start_transaction():
                    pages.insert_one({"_id": "kept"}, session=session)
                    pages.update_one({"_id": 1}, {"$inc": {"n": 41}}, session=session)
                session.start_transaction()
                pages.insert_one({"_id": "dropped"}, session=session)
                session.abort_transaction()
            watched = next(stream)["documentKey"]["_id"]
        return {
            "read": read,
            "kept": pages.count_documents({"_id": {"$in": ["kept", "dropped"]}}),
            "incremented": (pages.find_one({"_id": 1}) or {})["n"],
            "watched": watched,
        }


async def asynchronous(uri: str) -> dict[str, Any]:
    """The same tasks, ten of them at a time."""
    async with AsyncMongoClient[dict[str, Any]](uri, appname="asynchronous") as client:
        pages = client.get_default_database()["asynchronous"]

        async def transfer(number: int) -> None:
            async def both(session: Any) -> None:
                for side, amount in (("from", -1), ("to", 1)):
                    key = {"_id": f"{number}-{side}"}
                    await pages.update_one(
                        key, {"$inc": {"n": amount}}, upsert=True, session=session
                    )

            async with client.start_session() as session:
                await session.with_transaction(both)

        async with await pages.watch() as stream:
            await asyncio.gather(*(transfer(number) for number in range(10)))
            seen = {(await anext(stream))["documentKey"]["_id"] for _ in range(20)}
        total = await (
            await pages.aggregate([{"$group": {"_id": None, "n": {"$sum": "$n"}}}])
        ).to_list()
        return {"seen": len(seen), "sum": total[0]["n"]}


def dump(client: MongoClient[dict[str, Any]], database: str) -> dict[str, tuple[str, int, int]]:
    """Read a database as `mongodump` does: four collections at a time, each from end to end.

    Returns:
        Each collection's digest of its documents' bytes, their number, and that of its indexes.
    """
    collections = [info["name"] for info in client[database].list_collections()]

    def read(name: str) -> tuple[str, int, int]:
        indexes = list(client[database][name].list_indexes())
        expected = client[database][name].estimated_document_count()
        digest, count = hashlib.sha256(), 0
        raw: Collection[Any] = client[database].get_collection(name, RAW)
        for document in raw.find(hint="_id_"):
            digest.update(document.raw)
            count += 1
        assert count == expected
        return digest.hexdigest(), count, len(indexes)

    with ThreadPoolExecutor(4) as executor:
        return dict(zip(collections, executor.map(read, collections), strict=True))


def run_node(uri: str, node_modules: Path) -> dict[str, Any]:
    """See `clients/node_driver.mjs`."""
    done = subprocess.run(
        ["node", str(CLIENTS / "node_driver.mjs"), uri, "node"],
        env={**os.environ, "NODE_PATH": str(node_modules)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_mongosh(uri: str, node_modules: Path, home: Path) -> dict[str, Any]:
    """See `clients/shell.js`."""
    program = node_modules / ".bin" / "mongosh"
    done = subprocess.run(
        [str(program), uri, "--quiet", "--norc", "--file", str(CLIENTS / "shell.js")],
        env={**os.environ, "TUNNEL_COLLECTION": "mongosh", "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


SYNCHRONOUS = {"read": 124750, "kept": 1, "incremented": 42, "watched": "kept"}
ASYNCHRONOUS = {"seen": 20, "sum": 0}
NODE = {
    "sum": 499500,
    "aborted": "changed my mind",
    "inTransaction": 42,
    "dropped": 0,
    "watched": "kept",
    "duplicate": 11000,
}
MONGOSH = {
    "sum": 124750,
    "grouped": [250, 250],
    "kept": 1,
    "watched": "watched",
    "collections": True,
}


# -- tests ----------------------------------------------------------------------------------------


async def test_clients_of_two_kinds_work_at_one_tunnel_at_a_time(
    start_tunnel: Any, tunnel_url: str, server: MongoClient[dict[str, Any]]
) -> None:
    server.drop_database(DATABASE)
    with start_tunnel(tunnel_url) as tunnel:
        results = await asyncio.gather(
            asyncio.to_thread(synchronous, tunnel.uri), asynchronous(tunnel.uri)
        )
        assert [*results] == [SYNCHRONOUS, ASYNCHRONOUS]
        *events, closed = await asyncio.to_thread(tunnel.end)
    connected = {event["client"] for event in events if event["event"] == "connected"}
    assert connected == {"synchronous", "asynchronous"}
    assert closed["event"] == "closed"
    assert closed["clients_seen"] == 2
    assert closed["by_command"]["commitTransaction"]["count"] >= 11
    assert closed["invokes"] > 0


async def test_the_node_driver_and_mongosh_work_beside_others(
    start_tunnel: Any,
    tunnel_url: str,
    server: MongoClient[dict[str, Any]],
    node_modules: Path,
    tmp_path: Path,
) -> None:
    server.drop_database(DATABASE)
    with start_tunnel(tunnel_url) as tunnel:
        results = await asyncio.gather(
            asyncio.to_thread(run_node, tunnel.uri, node_modules),
            asyncio.to_thread(run_mongosh, tunnel.uri, node_modules, tmp_path),
            asyncio.to_thread(synchronous, tunnel.uri),
            asynchronous(tunnel.uri),
        )
        assert [*results] == [NODE, MONGOSH, SYNCHRONOUS, ASYNCHRONOUS]
        *events, _ = await asyncio.to_thread(tunnel.end)
    drivers = {event["driver"].split()[0] for event in events if event["event"] == "connected"}
    assert drivers == {"nodejs", "PyMongo"}


def test_a_database_is_dumped_byte_for_byte_through_a_tunnel_that_only_reads(
    start_tunnel: Any, lambda_url: str, server: MongoClient[dict[str, Any]]
) -> None:
    server.drop_database(DUMPED)
    database = server[DUMPED]
    for number in range(6):
        kind = database[f"kind{number}"]
        kind.insert_many(
            {"_id": n, "number": number, "noise": os.urandom(20_000)} for n in range(DUMPED_MB * 8)
        )
        kind.create_index("number")
    # A reply is larger than an invoke carries, and so is one document.
    database.large.insert_one({"_id": 1, "noise": os.urandom(15_000_000)})
    directly = dump(server, DUMPED)

    with start_tunnel(lambda_url, "--read-only") as tunnel:
        with MongoClient[dict[str, Any]](tunnel.uri, appname="dump") as client:
            assert dump(client, DUMPED) == directly
            with pytest.raises(OperationFailure, match="read-only") as refused:
                client[DUMPED].large.drop()
        closed = tunnel.end()[-1]
    assert refused.value.code == 13
    assert closed["reply_bytes"] > 15_000_000 + DUMPED_MB * 960_000
    assert closed["by_error"] == {"Unauthorized": 1}


def test_two_tunnels_of_one_function_keep_out_of_each_others_way(
    start_tunnel: Any, tunnel_url: str
) -> None:
    with start_tunnel(tunnel_url) as one, start_tunnel(tunnel_url) as other:
        assert one.uri != other.uri
        with (
            MongoClient[dict[str, Any]](one.uri, appname="one") as first,
            MongoClient[dict[str, Any]](other.uri, appname="other") as second,
        ):
            first[DATABASE].shared.insert_one({"_id": "by one"})
            assert second[DATABASE].shared.find_one({"_id": "by one"})
        [closed_one, closed_other] = [one.end()[-1], other.end()[-1]]
    assert closed_one["by_command"]["insert"]["count"] == 1
    assert "insert" not in closed_other["by_command"]
