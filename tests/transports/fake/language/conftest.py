"""The server's answers to the cases of this folder, recorded or live.

``answers/<module>.json`` holds what mongod 6.0.5 answered, by case. With ``FAKE_ORACLE`` set to
the URL of a mongod the cases are asked again and the file is rewritten::

    FAKE_ORACLE=mongodb://127.0.0.1:27017 pytest tests/transports/fake/language
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import DatetimeMS, json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from transports.fake.errors import CommandFailure
from transports.fake.matcher import compile_filter
from transports.fake.pipeline import compile_pipeline
from transports.fake.projection import compile_projection
from transports.fake.sort import compile_sort
from transports.fake.update import compile_update, seed_upsert

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict,
    tz_aware=False,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
CANONICAL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL, uuid_representation=UuidRepresentation.UNSPECIFIED
)
NOW = DatetimeMS(1_700_000_000_000)
Case = dict[str, Any]
Answer = Any


def decoded(value: Any) -> Any:
    """Return a value as a command's decoded body holds it."""
    return bson.decode(bson.encode({"v": value}, codec_options=CODEC), CODEC)["v"]


def written(value: Any) -> Any:
    """Return a value as plain JSON that tells every BSON type apart."""
    return json.loads(json_util.dumps(value, json_options=CANONICAL))


def shown(answer: Answer) -> str:
    """Return an answer as one line for a failure's message."""
    return json_util.dumps(json_util.loads(json.dumps(answer), json_options=CANONICAL))


def key_of(case: Case) -> str:
    """Return what a case is recorded under; cases over one list of documents name the list."""
    if "about" in case:
        case = {name: value for name, value in case.items() if name != "docs"}
    return json_util.dumps(case, json_options=CANONICAL)


class Environment:
    """A storage of a few lists of documents."""

    database = "db"
    collection = "c"
    now = NOW
    collation = None

    def __init__(self, case: Case) -> None:
        self.variables: dict[str, Any] = decoded(case.get("let", {}))
        self.others: dict[str, Any] = decoded(case.get("others", {}))
        self.others["c"] = documents(case)

    def read(self, database: str, collection: str) -> list[dict[str, Any]]:
        return list(self.others.get(collection, []))

    def source(self, stage: str, spec: Any) -> list[dict[str, Any]]:
        raise AssertionError(stage)

    def write_out(self, database: str, collection: str, documents: Any) -> None:
        self.others[collection] = list(documents)

    def merge(self, database: str, collection: str, on: tuple[str, ...], documents: Any) -> None:
        target = self.others.setdefault(collection, [])
        for document, decide in documents:
            for position, stored in enumerate(target):
                if all(stored.get(path) == document.get(path) for path in on):
                    changed = decide(stored)
                    if changed is not None:
                        target[position] = changed
                    break
            else:
                inserted = decide(None)
                if inserted is not None:
                    target.append(inserted)


def documents(case: Case) -> list[dict[str, Any]]:
    """Return the case's documents, numbered where they have no ``_id``."""
    # A server stores _id first.
    return [
        {"_id": document.get("_id", number), **document}
        for number, document in enumerate(decoded(case["docs"]))
    ]


def _find(case: Case) -> Answer:
    from transports.fake.collation import compile_collation

    collation = compile_collation(case.get("collation"))
    matcher = compile_filter(decoded(case.get("filter", {})), collation=collation)
    found = [d for d in documents(case) if matcher(d)]
    located = [d["_id"] for d in documents(case) if matcher.match(d) is not None]
    assert [d["_id"] for d in found] == located
    if "sort" in case:
        found = compile_sort(decoded(case["sort"]), collation)(found)
    if case.get("ids"):
        return [d["_id"] for d in found]
    projection = decoded(case.get("projection", {}))
    project = compile_projection(projection, collation=collation, now=NOW)
    return [project(d, matcher.match(d)) for d in found]


def _update(case: Case) -> Answer:
    matcher = compile_filter(decoded(case.get("filter", {})))
    update = compile_update(
        decoded(case["update"]), array_filters=decoded(case.get("array_filters")), now=NOW
    )
    before = documents(case)
    copies = decoded(before)
    for position, document in enumerate(before):
        match = matcher.match(document)
        if match is not None:
            updated = update.apply(document, match)
            assert before == copies
            before[position] = updated
            return {"docs": before, "modified": int(updated is not document)}
    if case.get("upsert"):
        return {"docs": [*before, seed_upsert(matcher, update)], "modified": 0}
    return {"docs": before, "modified": 0}


def _aggregate(case: Case) -> Answer:
    from transports.fake.collation import compile_collation

    collation = compile_collation(case.get("collation"))
    pipeline = compile_pipeline(
        decoded(case["pipeline"]), collation=collation, variables=case.get("let", {})
    )
    environment = Environment(case)
    found = list(pipeline.run(documents(case), environment))
    if pipeline.writes is not None:
        return environment.others[pipeline.writes[2]]
    return found


def _expression(case: Case) -> Answer:
    pipeline = compile_pipeline([{"$project": {"_id": 0, "v": decoded(case["expression"])}}])
    return list(pipeline.run(documents(case), Environment(case)))


FAKE: dict[str, Callable[[Case], Answer]] = {
    "find": _find,
    "update": _update,
    "aggregate": _aggregate,
    "expression": _expression,
}


def fake_answer(case: Case) -> Answer:
    """Return what the fake answers to a case."""
    try:
        return written(FAKE[case["ask"]](case))
    except CommandFailure as failure:
        return {"error": failure.code}


class LiveServer:
    """A real mongod that the cases are asked of."""

    def __init__(self, url: str) -> None:
        self.client: MongoClient[dict[str, Any]] = MongoClient(url, directConnection=True)
        self.database = self.client.get_database("fake_language_oracle", codec_options=CODEC)

    def answer(self, case: Case) -> Answer:
        """Return the server's answer."""
        for name in self.database.list_collection_names():
            self.database[name].delete_many({})
        try:
            collection = self.database["c"]
            for name, others in case.get("others", {}).items():
                if others:
                    self.database[name].insert_many([dict(d) for d in others])
            numbered = documents(case)
            if numbered:
                collection.insert_many(numbered)
            return written(self._ask(case))
        except OperationFailure as failure:
            return {"error": failure.code}
        except PyMongoError as error:
            raise AssertionError(f"the server could not be asked: {error}") from error

    def _ask(self, case: Case) -> Answer:
        if case["ask"] == "find":
            command = {"find": "c", "filter": case.get("filter", {})}
            for name in ("projection", "sort", "collation"):
                if name in case:
                    command[name] = case[name]
            found = self.database.command(command, codec_options=CODEC)["cursor"]["firstBatch"]
            return [d["_id"] for d in found] if case.get("ids") else found
        if case["ask"] == "update":
            return self._updated(case)
        if case["ask"] == "expression":
            pipeline: Any = [{"$project": {"_id": 0, "v": case["expression"]}}]
        else:
            pipeline = case["pipeline"]
        command = {"aggregate": "c", "pipeline": pipeline, "cursor": {"batchSize": 1000}}
        for name in ("collation", "let"):
            if name in case:
                command[name] = case[name]
        found = self.database.command(command, codec_options=CODEC)["cursor"]["firstBatch"]
        written_to = _written_collection(pipeline)
        return found if written_to is None else list(self.database[written_to].find().sort("_id"))

    def _updated(self, case: Case) -> Answer:
        statement = {
            "q": case.get("filter", {}),
            "u": case["update"],
            "upsert": bool(case.get("upsert")),
        }
        if "array_filters" in case:
            statement["arrayFilters"] = case["array_filters"]
        reply = self.database.command({"update": "c", "updates": [statement]}, codec_options=CODEC)
        if reply.get("writeErrors"):
            raise OperationFailure("refused", reply["writeErrors"][0]["code"])
        return {
            "docs": list(self.database["c"].find().sort("$natural")),
            "modified": reply["nModified"],
        }


def _written_collection(pipeline: Any) -> str | None:
    last = pipeline[-1] if isinstance(pipeline, list) and pipeline else {}
    if not isinstance(last, dict):
        return None
    target = last.get("$out") or last.get("$merge")
    if isinstance(target, dict):
        target = target.get("into", target.get("coll"))
    return target if isinstance(target, str) else None


class Answers:
    """The recorded answers of one module, and the server behind them if there is one."""

    def __init__(self, module: str, live: LiveServer | None) -> None:
        self.path = Path(__file__).parent / "answers" / f"{module}.json"
        self.live = live
        self.recorded = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.asked: dict[str, Answer] = {}

    def server_answer(self, case: Case) -> Answer:
        """Return what the server answers to a case."""
        key = key_of(case)
        if self.live is not None:
            self.asked[key] = self.live.answer(case)
            return self.asked[key]
        if key not in self.recorded:
            pytest.fail(f"no answer recorded (set FAKE_ORACLE to record it): {key}")
        return self.recorded[key]

    def write(self) -> None:
        """Keep the answers of a live run."""
        if self.asked:
            self.path.parent.mkdir(exist_ok=True)
            merged = {**self.recorded, **self.asked}
            lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in merged.items())
            self.path.write_text("{\n" + lines + "\n}\n")


@pytest.fixture(scope="session")
def live_server() -> Iterator[LiveServer | None]:
    url = os.environ.get("FAKE_ORACLE")
    if not url:
        yield None
        return
    server = LiveServer(url)
    yield server
    server.client.close()


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest, live_server: LiveServer | None) -> Iterator[Answers]:
    module = Answers(Path(str(request.path)).stem, live_server)
    yield module
    module.write()


@pytest.fixture
def agree(answers: Answers) -> Callable[..., None]:
    """Assert that the fake answers a case as the server does.

    ``unordered`` compares the answers as sets: a server gives groups in no order.
    """

    def check(case: Case, *, unordered: bool = False) -> None:
        expected, actual = answers.server_answer(case), fake_answer(case)
        if unordered and isinstance(expected, list) and isinstance(actual, list):
            expected, actual = (sorted(a, key=json.dumps) for a in (expected, actual))
        # Compared as text: the order of fields counts.
        if json.dumps(actual) != json.dumps(expected):
            pytest.fail(f"\nserver: {shown(expected)}\nfake:   {shown(actual)}", pytrace=False)

    return check
