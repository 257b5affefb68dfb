"""Typed documents: the raw driver, Beanie and this project, on a private server of this machine.

    python -m benchmarks.typed_reads [--rounds 25] [--cpu] [--only TEXT] [--json FILE] [--memory]

Each round runs every contender of a case once, in another order, so that whatever else the machine
does falls on all; the table shows medians, the spread between the quartiles, and the same of the
rounds' ratios. *floor* is what
one would write without any of this: a client of the driver's own, one call of it, pydantic's
``model_validate`` of what it returns, and for writes a plain model, made and dumped by pydantic.
``--cpu`` counts what this process has computed instead of the time that went by: for a machine
that does other things too. ``--only TEXT`` runs the cases whose name has the text in it.
``--memory`` instead streams 10,000 and 200,000 documents, a process each, and shows the most memory
it has taken.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import beanie
import bson
from bson import ObjectId
from pydantic import BaseModel, Field
from pymongo import AsyncMongoClient, ReturnDocument

from odm import Document, PydanticObjectId, Repository, connect

DOCUMENTS = 10_000


class Author(BaseModel):
    """A nested model."""

    name: str
    email: str


class ArticleFields(BaseModel):
    """What all the models below have: eight fields of the usual kinds."""

    title: str
    slug: str
    views: int
    score: float
    published: datetime
    tags: list[str]
    author: Author
    summary: str | None = None


class BeanieArticle(ArticleFields, beanie.Document):
    """Beanie's document."""

    class Settings:
        """Where it is."""

        name = "articles"


class Article(ArticleFields, Document):
    """This project's document."""

    class Settings:
        """Where it is."""

        name = "articles"


class PlainArticle(ArticleFields):
    """The same without a document's machinery: what pydantic alone makes of it."""

    id: PydanticObjectId = Field(alias="_id")


class Heading(BaseModel):
    """Two fields of the eight."""

    title: str
    views: int


def _content(n: int) -> dict[str, Any]:
    return {
        "_id": ObjectId(),
        "title": f"Title {n}",
        "slug": f"slug-{n}",
        "views": n,
        "score": n / 7,
        "published": datetime(2026, 1, 1, tzinfo=UTC),
        "tags": ["one", "two", "three"],
        "author": {"name": "Ada", "email": "ada@example.org"},
        "summary": None if n % 2 else "A summary",
    }


_RATIOS = (("odm", "floor"), ("beanie", "odm"))

Run = Callable[[], Awaitable[object]]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """One workload: what it is called, how often it runs in a sample, and who runs it how."""

    name: str
    repeat: int
    contenders: dict[str, Run]


async def _drain(found: Any) -> None:
    async for _ in found:
        pass


def _lists(
    collection: Any, repository: Repository[Article], raws: list[dict[str, Any]]
) -> list[Case]:
    validate = PlainArticle.model_validate
    encoded = b"".join(map(bson.encode, raws))

    async def driver_and_validation() -> Any:
        return [validate(raw) for raw in await collection.find().to_list()]

    async def decode() -> Any:
        return bson.decode_all(encoded)

    async def validation() -> Any:
        return [validate(raw) for raw in raws]

    return [
        Case("BSON decoding alone, 10,000", 1, {"driver": decode}),
        Case("validation alone, 10,000", 1, {"floor": validation}),
        Case(
            "list of 10,000",
            1,
            {
                "driver": lambda: collection.find().to_list(),
                "floor": driver_and_validation,
                "beanie": lambda: BeanieArticle.find().to_list(),
                "odm": lambda: repository.find().to_list(),
            },
        ),
        Case(
            "async for over 10,000",
            1,
            {
                "driver": lambda: _drain(collection.find()),
                "beanie": lambda: _drain(BeanieArticle.find()),
                "odm": lambda: _drain(repository.find()),
            },
        ),
        Case(
            "stream of 10,000",
            1,
            {
                "beanie": lambda: _drain(BeanieArticle.find()),
                "odm": lambda: _drain(repository.stream()),
            },
        ),
        *(_list(collection, repository, length) for length in (1000, 100, 20)),
        Case(
            "two fields of 10,000, a plain model",
            1,
            {
                "driver": lambda: collection.find({}, {"_id": 0, "title": 1, "views": 1}).to_list(),
                "beanie": lambda: BeanieArticle.find(projection_model=Heading).to_list(),
                "odm": lambda: repository.find(into=Heading).to_list(),
            },
        ),
    ]


def _list(collection: Any, repository: Repository[Article], length: int) -> Case:
    validate = PlainArticle.model_validate

    async def driver_and_validation() -> Any:
        return [validate(raw) for raw in await collection.find(limit=length).to_list()]

    return Case(
        f"list of {length:,}",
        5000 // (100 + length),
        {
            "driver": lambda: collection.find(limit=length).to_list(),
            "floor": driver_and_validation,
            "beanie": lambda: BeanieArticle.find(limit=length).to_list(),
            "odm": lambda: repository.find(limit=length).to_list(),
        },
    )


def _points(
    collection: Any, repository: Repository[Article], id: Any, theirs: BeanieArticle
) -> list[Case]:
    plain = PlainArticle.model_validate(theirs.model_dump(by_alias=True))
    ours = Article.model_validate(theirs.model_dump(by_alias=True))
    validate = PlainArticle.model_validate
    change = {"$inc": {"views": 1}}

    def new(model: Any) -> Any:
        return model(**{k: v for k, v in _content(1).items() if k != "_id"})

    async def get() -> Any:
        return validate(await collection.find_one({"_id": id}))

    async def add() -> Any:
        return await collection.insert_one(new(ArticleFields).model_dump())

    async def written(update: dict[str, Any], *, upsert: bool = False) -> Any:
        return validate(
            await collection.find_one_and_update(
                {"_id": id}, update, upsert=upsert, return_document=ReturnDocument.AFTER
            )
        )

    async def page() -> Any:
        return [
            validate(raw) for raw in await collection.find(sort=[("_id", 1)], limit=20).to_list()
        ]

    async def inserted() -> Any:
        return (await collection.insert_one({"n": 1})).inserted_id

    async def delete() -> None:
        await collection.delete_one({"_id": await inserted()})

    async def delete_theirs() -> None:
        await BeanieArticle.find_one({"_id": await inserted()}).delete()

    async def delete_ours() -> None:
        await repository.delete(await inserted())

    def cases(*named: tuple[str, Run, Run, Run]) -> list[Case]:
        return [
            Case(name, 10, {"floor": floor, "beanie": beanies, "odm": ours})
            for name, floor, beanies, ours in named
        ]

    return cases(
        ("get by id", get, lambda: BeanieArticle.get(id), lambda: repository.get(id)),
        (
            "find_one",
            get,
            lambda: _awaited(BeanieArticle.find_one({"_id": id})),
            lambda: repository.find_one({"_id": id}),
        ),
        (
            "page of 20, sorted",
            page,
            lambda: BeanieArticle.find(sort="_id", limit=20).to_list(),
            lambda: repository.find(sort="_id", limit=20).to_list(),
        ),
        (
            "count by a filter",
            lambda: collection.count_documents({"_id": id}),
            lambda: BeanieArticle.find({"_id": id}).count(),
            lambda: repository.count({"_id": id}),
        ),
        (
            "add",
            add,
            lambda: new(BeanieArticle).insert(),
            lambda: repository.add(new(Article)),
        ),
        (
            "update a document",
            lambda: written(change),
            lambda: theirs.update(change),
            lambda: repository.update(ours, change),
        ),
        (
            "update by id",
            lambda: written(change),
            lambda: theirs.update(change),
            lambda: repository.update(id, change),
        ),
        (
            "save",
            lambda: written({"$set": plain.model_dump(by_alias=True)}, upsert=True),
            theirs.save,
            lambda: repository.save(ours),
        ),
        ("insert_one, delete", delete, delete_theirs, delete_ours),
    )


async def _awaited(query: Any) -> Any:
    return await query


async def _sample(case: Case, run: Run, clock: Clock) -> float:
    started = clock()
    for _ in range(case.repeat):
        found = await run()
    taken = (clock() - started) / case.repeat * 1000
    del found  # not while the clock runs
    return taken


async def _measured(case: Case, rounds: int, clock: Clock) -> dict[str, Any]:
    samples: dict[str, list[float]] = {who: [] for who in case.contenders}
    turns = list(case.contenders.items())
    for turn in range(rounds + 1):
        random.shuffle(turns)
        for who, run in turns:
            if case.repeat == 1:
                gc.collect()  # of long lists; behind it, the processor's caches are empty
            taken = await _sample(case, run, clock)
            if turn:  # the first is the warm-up
                samples[who].append(taken)
    row: dict[str, Any] = {"case": case.name}
    row |= {who: _summary(taken, "_ms") for who, taken in samples.items()}
    for one, other in _RATIOS:
        if one in samples and other in samples:
            pairs = zip(samples[one], samples[other], strict=True)
            row[f"{one} : {other}"] = _summary([taken / than for taken, than in pairs])
    return row


def _summary(samples: list[float], unit: str = "") -> dict[str, float]:
    low, median, high = statistics.quantiles(samples, n=4)
    return {f"median{unit}": median, f"low{unit}": low, f"high{unit}": high}


async def _measure(rounds: int, clock: Clock, only: str) -> list[dict[str, Any]]:
    async with connect("embedded:///bench", models=[BeanieArticle, Article]) as db:
        repository = db.repository(Article)
        raws = [_content(n) for n in range(DOCUMENTS)]
        await repository.collection.insert_many(raws)
        id = raws[77]["_id"]
        theirs = await BeanieArticle.get(id)
        assert theirs is not None
        async with _drivers_own(db.client) as client:
            collection = client[db.database.name]["articles"]
            # The points last: they write.
            lists = _lists(collection, repository, raws)
            cases = [*lists, *_points(collection, repository, id, theirs)]
            cases = [case for case in cases if only in case.name]
            rows = []
            for number, case in enumerate(cases, 1):
                shown = f"\r{number}/{len(cases)} {case.name:50}"
                print(shown, end="", file=sys.stderr, flush=True)
                rows.append(await _measured(case, rounds, clock))
            print(file=sys.stderr)
            return rows


def _drivers_own(client: Any) -> AsyncMongoClient[Any]:
    """Return another client of the same server, as the driver makes it."""
    ((host, port),) = client.nodes
    topology = client.topology_description
    address = host if port is None else f"{host}:{port}"
    return AsyncMongoClient(address, replicaSet=topology.replica_set_name)


def _show(rows: list[dict[str, Any]]) -> None:
    times = ("driver", "floor", "beanie", "odm")
    ratios = [f"{one} : {other}" for one, other in _RATIOS]
    print(f"{'milliseconds, median (quartiles)':36}", *(f"{name:>24}" for name in times), end="")
    print(*(f"{name:>20}" for name in ratios))
    for row in rows:
        print(f"{row['case']:36}", *(f"{_cell(row, name, '_ms', 3):>24}" for name in times), end="")
        print(*(f"{_cell(row, name, '', 2):>20}" for name in ratios))


def _cell(row: dict[str, Any], name: str, unit: str, digits: int) -> str:
    if name not in row:
        return ""
    median, low, high = (f"{row[name][of + unit]:.{digits}f}" for of in ("median", "low", "high"))
    return f"{median} ({low}–{high})"


async def _stream(documents: int) -> None:
    async with connect("embedded:///bench", models=[Article]) as db:
        repository = db.repository(Article)
        for start in range(0, documents, 1000):
            some = [_content(n) for n in range(start, min(start + 1000, documents))]
            await repository.collection.insert_many(some)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        await _drain(repository.stream())
        taken = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measured = {"before_kb": before, "peak_kb": after, "us_per_document": taken / documents * 1e6}
    print(json.dumps({"documents": documents, **measured}))


def _memory() -> list[dict[str, Any]]:
    rows = []
    for documents in (DOCUMENTS, 20 * DOCUMENTS):
        print(f"streaming {documents:,} …", file=sys.stderr)
        command = [sys.executable, "-m", "benchmarks.typed_reads", "--stream", str(documents)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout))
    return rows


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="Typed reads, side by side.")
    parser.add_argument("--rounds", type=int, default=25, help="samples of each case and contender")
    parser.add_argument("--cpu", action="store_true", help="count computing, not waiting")
    parser.add_argument("--only", default="", metavar="TEXT", help="of cases named so")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--memory", action="store_true", help="what streaming takes, instead")
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("--rounds must be at least 2")
    if arguments.stream:
        asyncio.run(_stream(arguments.stream))
        return
    if arguments.memory:
        rows = _memory()
        for row in rows:
            print(
                f"{row['documents']:>9,} documents: {row['before_kb'] / 1024:.0f} MB before,"
                f" {row['peak_kb'] / 1024:.0f} MB at most, {row['us_per_document']:.1f} µs each"
            )
    else:
        rows = asyncio.run(
            _measure(
                arguments.rounds,
                time.thread_time if arguments.cpu else time.perf_counter,
                arguments.only,
            )
        )
        _show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
