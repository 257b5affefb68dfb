"""Cases that a real server has answered, and how the fake is asked the same.

``cases/<topic>.jsonl`` holds one case per line: ``{"ask": "find", "about": "values", "filter":
{…}, "answer": […]}``. Lines with a name only define the documents that cases are about:
``{"define": "values", "docs": […]}``. ``test_<topic>(case, agree)`` runs over them.

The answers are mongod 6.0.5's: field order, BSON types and error codes count. To add a case, write
it without an answer and run with the URL of a mongod, which is asked everything again::

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
from pymongo.errors import OperationFailure

from transports.fake.collation_spec import compile_collation
from transports.fake.errors import CommandFailure
from transports.fake.matcher import compile_filter
from transports.fake.pipeline import compile_pipeline
from transports.fake.projection import compile_projection
from transports.fake.sort import compile_sort
from transports.fake.update import compile_update, seed_upsert
from transports.fake.values import sort_key

Case = dict[str, Any]
Answer = Any

CASES = Path(__file__).parent / "cases"
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict,
    tz_aware=False,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
CANONICAL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
NOW = DatetimeMS(1_700_000_000_000)
_TYPED = {
    "$binary",
    "$code",
    "$date",
    "$maxKey",
    "$minKey",
    "$numberDecimal",
    "$numberDouble",
    "$numberLong",
    "$oid",
    "$regularExpression",
    "$timestamp",
}


def written(value: Any) -> Any:
    """Return a value as JSON that tells the BSON types apart: canonical, but ints and doubles."""
    return _plain(json.loads(json_util.dumps(value, json_options=CANONICAL)))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["$numberInt"]:
        return int(value["$numberInt"])
    if list(value) == ["$numberDouble"] and value["$numberDouble"].strip("-") not in (
        "Infinity",
        "NaN",
    ):
        return float(value["$numberDouble"])
    return {name: _plain(member) for name, member in value.items()}


def read(value: Any) -> Any:
    """Return what `written` wrote; a filter's ``$type`` or ``$regex`` stays what it is."""
    if isinstance(value, list):
        return [read(element) for element in value]
    if not isinstance(value, dict):
        return value
    inside = {name: read(member) for name, member in value.items()}
    if len(value) == 1 and next(iter(value)) in _TYPED:
        return json_util.object_hook(inside, CANONICAL)
    return inside


class Topic:
    """The cases of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Case] = [json.loads(line) for line in path.read_text().splitlines()]
        self.cases = [line for line in self.lines if "ask" in line]
        self._defined = {line["define"]: line for line in self.lines if "define" in line}

    def question(self, line: Case) -> Case:
        """Return a case with its documents, as values."""
        defined = self._defined.get(line.get("about", ""), {})
        case = {**defined, **line}
        return {name: read(value) for name, value in case.items() if name != "answer"}

    def write(self) -> None:
        """Keep new answers."""
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in self.lines)
        self.path.write_text(text + "\n")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run ``test_<topic>(case)`` over the cases of its topic."""
    if "case" in metafunc.fixturenames:
        topic = Topic(CASES / f"{metafunc.function.__name__.removeprefix('test_')}.jsonl")
        metafunc.parametrize(
            "case", [(topic, line) for line in topic.cases], ids=range(1, len(topic.cases) + 1)
        )


def decoded(value: Any) -> Any:
    """Return a value as a command's decoded body holds it."""
    return bson.decode(bson.encode({"v": value}, codec_options=CODEC), CODEC)["v"]


def documents(case: Case) -> list[dict[str, Any]]:
    """Return the case's documents, numbered where they have no ``_id``, which comes first."""
    return [
        {"_id": document.get("_id", number), **document}
        for number, document in enumerate(decoded(case["docs"]))
    ]


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
        """Return a list's documents."""
        return list(self.others.get(collection, []))

    def source(self, stage: str, spec: Any) -> list[dict[str, Any]]:
        """Refuse: no case needs it."""
        raise AssertionError(stage)

    def write_out(self, database: str, collection: str, documents: Any) -> None:
        """Replace a list."""
        self.others[collection] = list(documents)

    def merge(self, database: str, collection: str, on: tuple[str, ...], documents: Any) -> None:
        """Merge into a list."""
        target = self.others.setdefault(collection, [])
        for document, decide in documents:
            same = [
                position
                for position, stored in enumerate(target)
                if all(stored.get(path) == document.get(path) for path in on)
            ]
            new = decide(target[same[0]] if same else None)
            if new is not None and same:
                target[same[0]] = new
            elif new is not None:
                target.append(new)


def _find(case: Case) -> Answer:
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
    banned = frozenset({"$expr"} if case.get("upsert") else ())
    matcher = compile_filter(decoded(case.get("filter", {})), banned=banned)
    update = compile_update(
        decoded(case["update"]), array_filters=decoded(case.get("array_filters")), now=NOW
    )
    before = documents(case)
    copies = decoded(before)
    for position, document in enumerate(before):
        match = matcher.match(document)
        if match is not None:
            updated = update.apply(document, match)
            assert written(before) == written(copies), "an update changed its argument"
            before[position] = updated
            return {"docs": before, "modified": int(updated is not document)}
    if case.get("upsert"):
        return {"docs": [*before, seed_upsert(matcher, update)], "modified": 0}
    return {"docs": before, "modified": 0}


def _aggregate(case: Case) -> Answer:
    collation = compile_collation(case.get("collation"))
    pipeline = compile_pipeline(
        decoded(case["pipeline"]), collation=collation, variables=case.get("let", {})
    )
    environment = Environment(case)
    found = list(pipeline.run(documents(case), environment))
    if pipeline.writes is None:
        return found
    stored = environment.others[pipeline.writes[2]]
    return sorted(({"_id": d["_id"], **d} for d in stored), key=lambda d: sort_key(d["_id"]))


def _expression(case: Case) -> Answer:
    return _aggregate({**case, "pipeline": [{"$replaceWith": {"v": case["expression"]}}]})


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
        self.topics: dict[Path, Topic] = {}

    def answer(self, topic: Topic, line: Case) -> Answer:
        """Return the server's answer and remember it."""
        self.topics[topic.path] = topic
        case = topic.question(line)
        try:
            self._fill(case)
            line["answer"] = written(self._ask(case))
        except OperationFailure as failure:
            line["answer"] = {"error": failure.code}
        return line["answer"]

    def close(self) -> None:
        """Write the files and disconnect."""
        for topic in self.topics.values():
            topic.write()
        self.client.close()

    def _fill(self, case: Case) -> None:
        for name in self.database.list_collection_names():
            self.database[name].delete_many({})
        for name, stored in [*case.get("others", {}).items(), ("c", documents(case))]:
            if stored:
                self.database[name].insert_many([dict(d) for d in stored])

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
        pipeline = case.get("pipeline", [{"$replaceWith": {"v": case.get("expression")}}])
        command = {"aggregate": "c", "pipeline": pipeline, "cursor": {"batchSize": 1000}}
        for name in ("collation", "let"):
            if name in case:
                command[name] = case[name]
        found = self.database.command(command, codec_options=CODEC)["cursor"]["firstBatch"]
        target = _written_collection(pipeline)
        return found if target is None else list(self.database[target].find().sort("_id"))

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


@pytest.fixture(scope="session")
def live_server() -> Iterator[LiveServer | None]:
    url = os.environ.get("FAKE_ORACLE")
    server = LiveServer(url) if url else None
    yield server
    if server is not None:
        server.close()


@pytest.fixture
def agree(live_server: LiveServer | None) -> Callable[[tuple[Topic, Case]], None]:
    """Assert that the fake answers a case as the server does.

    An ``unordered`` case's documents may come in any order: a server has none for groups.
    """

    def check(case: tuple[Topic, Case]) -> None:
        topic, line = case
        if live_server is not None:
            live_server.answer(topic, line)
        assert "answer" in line, "no answer is recorded: set FAKE_ORACLE to record it"
        expected, actual = line["answer"], fake_answer(topic.question(line))
        if line.get("unordered") and isinstance(expected, list) and isinstance(actual, list):
            expected, actual = (sorted(answer, key=json.dumps) for answer in (expected, actual))
        # Compared as text: the order of fields counts, and 1 is not 1.0.
        if json.dumps(actual) != json.dumps(expected):
            question = {name: value for name, value in line.items() if name != "answer"}
            pytest.fail(
                f"{json.dumps(question)}\nserver: {json.dumps(expected)}"
                f"\nfake:   {json.dumps(actual)}",
                pytrace=False,
            )

    return check
