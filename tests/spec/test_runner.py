"""That the runner sees what is wrong: a suite that passes everything proves nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.spec.unified.deployment import Deployment
from tests.spec.unified.files import SpecTest
from tests.spec.unified.matcher import Mismatch
from tests.spec.unified.runner import run_spec_test
from transports import open_transport

DATABASE, COLLECTION = "spec_runner", "coll"
ENTITIES = [
    {"client": {"id": "client", "observeEvents": ["commandStartedEvent"]}},
    {"database": {"id": "database", "client": "client", "databaseName": DATABASE}},
    {"collection": {"id": "coll", "database": "database", "collectionName": COLLECTION}},
    {"session": {"id": "session", "client": "client"}},
]
DATA = [{"databaseName": DATABASE, "collectionName": COLLECTION, "documents": [{"_id": 1}]}]


@pytest.fixture
async def deployment(mongod_uri: str) -> AsyncIterator[Deployment]:
    async with open_transport(mongod_uri) as transport:
        yield await Deployment.of(transport.uri, transport.client)


def spec_test(*operations: dict[str, Any], **test: Any) -> SpecTest:
    file = {"schemaVersion": "1.0", "createEntities": ENTITIES, "initialData": DATA}
    return SpecTest(id="x", file=file, test={"operations": list(operations), **test})


def op(name: str, target: str = "coll", /, **fields: Any) -> dict[str, Any]:
    expectations = {key: fields.pop(key) for key in list(fields) if key in _FIELDS}
    return {"name": name, "object": target, "arguments": fields, **expectations}


_FIELDS = ("expectResult", "expectError", "ignoreResultAndError", "saveResultAsEntity")
INSERT = op("insertOne", document={"_id": 2})
DUPLICATE = {"document": {"_id": 1}}
STARTED_FIND = {"commandStartedEvent": {"commandName": "find"}}
STARTED_INSERT = {"commandStartedEvent": {"commandName": "insert"}}


async def test_right_expectations_pass(deployment: Deployment) -> None:
    await run_spec_test(
        spec_test(
            op("find", filter={}, expectResult=[{"_id": 1}]),
            op("insertOne", **DUPLICATE, expectError={"errorCode": 11000, "isClientError": False}),
            op("find", filter={"$bad": 1}, expectError={"errorContains": "unknown TOP"}),
            INSERT,
            expectEvents=[
                {
                    "client": "client",
                    "events": [
                        {"commandStartedEvent": {"commandName": name}}
                        for name in ("find", "insert", "find", "insert")
                    ],
                }
            ],
            outcome=[{**DATA[0], "documents": [{"_id": 1}, {"_id": 2}]}],
        ),
        deployment,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        spec_test(op("find", filter={}, expectResult=[{"_id": 2}])),
        spec_test(op("find", filter={}, expectError={"isError": True})),
        spec_test(op("insertOne", **DUPLICATE, expectError={"errorCode": 1})),
        spec_test(op("insertOne", **DUPLICATE, expectError={"isClientError": True})),
        spec_test(op("insertOne", **DUPLICATE, expectError={"errorCodeName": "Other"})),
        spec_test(op("insertOne", **DUPLICATE, expectError={"errorContains": "other"})),
        spec_test(op("insertOne", **DUPLICATE, expectError={"errorLabelsContain": ["Other"]})),
        spec_test(op("insertOne", **DUPLICATE, expectError={"errorResponse": {"code": 1}})),
        spec_test(INSERT, expectEvents=[{"client": "client", "events": []}]),
        spec_test(INSERT, expectEvents=[{"client": "client", "events": [STARTED_INSERT] * 2}]),
        spec_test(
            INSERT,
            expectEvents=[
                {"client": "client", "events": [{"commandStartedEvent": {"commandName": "find"}}]}
            ],
        ),
        spec_test(INSERT, outcome=DATA),
        spec_test(op("assertSessionPinned", "testRunner", session="session")),
        spec_test(op("assertSessionDirty", "testRunner", session="session")),
        spec_test(
            op("assertSessionTransactionState", "testRunner", session="session", state="starting")
        ),
        spec_test(
            op(
                "assertCollectionNotExists",
                "testRunner",
                databaseName=DATABASE,
                collectionName=COLLECTION,
            )
        ),
        spec_test(
            op(
                "assertIndexNotExists",
                "testRunner",
                databaseName=DATABASE,
                collectionName=COLLECTION,
                indexName="_id_",
            )
        ),
        spec_test(
            INSERT,
            op("assertEventCount", "testRunner", client="client", event=STARTED_INSERT, count=2),
        ),
        spec_test(
            op("assertNumberConnectionsCheckedOut", "testRunner", client="client", connections=1)
        ),
    ],
    ids=lambda test: test.test["operations"][-1]["name"],
)
async def test_wrong_expectation_fails(deployment: Deployment, wrong: SpecTest) -> None:
    with pytest.raises(Mismatch):
        await run_spec_test(wrong, deployment)


async def test_find_cursor_has_run_its_command_when_created(deployment: Deployment) -> None:
    await run_spec_test(
        spec_test(
            op("createFindCursor", filter={}, saveResultAsEntity="cursor"),
            op("assertEventCount", "testRunner", client="client", event=STARTED_FIND, count=1),
            op("iterateUntilDocumentOrError", "cursor", expectResult={"_id": 1}),
            op("close", "cursor"),
        ),
        deployment,
    )


async def test_unexpected_error_is_raised_as_it_is(deployment: Deployment) -> None:
    with pytest.raises(Exception, match="duplicate key"):
        await run_spec_test(spec_test(op("insertOne", **DUPLICATE)), deployment)


async def test_threads_run_beside_the_test_and_report_their_failure(
    deployment: Deployment,
) -> None:
    def on_thread(operation: dict[str, Any]) -> SpecTest:
        return spec_test(
            op("thread", "testRunner", thread="t"),
            op("runOnThread", "testRunner", thread="t", operation=operation),
            op("waitForEvent", "testRunner", client="client", event=STARTED_INSERT, count=1),
            op("waitForThread", "testRunner", thread="t"),
        )

    await run_spec_test(on_thread(INSERT), deployment)
    with pytest.raises(Mismatch):
        await run_spec_test(on_thread({**INSERT, "expectError": {"isError": True}}), deployment)


async def test_loop_stores_what_ended_it(deployment: Deployment) -> None:
    loop = op(
        "loop",
        "testRunner",
        operations=[INSERT],
        storeFailuresAsEntity="failures",
        storeIterationsAsEntity="iterations",
        storeSuccessesAsEntity="successes",
    )
    numbers = {name: {"$$matchesEntity": name} for name in ("iterations", "successes")}
    echo = op(
        "aggregate", "database", pipeline=[{"$documents": [{"iterations": 2, "successes": 1}]}]
    )

    await run_spec_test(spec_test(loop, {**echo, "expectResult": [numbers]}), deployment)


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ({"minServerVersion": "99.0"}, "from 99.0"),
        ({"maxServerVersion": "3.0"}, "up to 3.0"),
        ({"topologies": ["load-balanced"]}, "load-balanced"),
        ({"serverless": "require"}, "serverless"),
        ({"auth": True}, "authentication"),
        ({"csfle": True}, "encryption"),
        ({"serverParameters": {"noSuchParameter": 1}}, "server parameters"),
    ],
)
async def test_unmet_requirement_skips_with_its_reason(
    deployment: Deployment, requirement: dict[str, Any], reason: str
) -> None:
    test = spec_test(INSERT, runOnRequirements=[requirement])
    with pytest.raises(pytest.skip.Exception, match=reason):
        await run_spec_test(test, deployment)
    test = spec_test(op("ping"), runOnRequirements=[requirement, {"minServerVersion": "3.0"}])
    with pytest.raises(pytest.skip.Exception, match="has no ping"):
        await run_spec_test(test, deployment)


async def test_fail_point_is_off_after_the_test(deployment: Deployment) -> None:
    fail_point = {
        "configureFailPoint": "failCommand",
        "mode": "alwaysOn",
        "data": {"failCommands": ["insert"], "errorCode": 8},
    }
    await run_spec_test(
        spec_test(
            op("failPoint", "testRunner", client="client", failPoint=fail_point),
            {**INSERT, "expectError": {"errorCode": 8}},
        ),
        deployment,
    )
    await run_spec_test(spec_test(INSERT), deployment)
