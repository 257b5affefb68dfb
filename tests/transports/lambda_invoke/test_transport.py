"""lambda:// end to end: driver, endpoint, envelope, real function processes, mongod."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)

from transports import open_transport
from transports.base import Transport
from transports.errors import InvalidURL, ServerUnreachable
from transports.local_lambda import FunctionConfiguration, LocalLambda

pytestmark = pytest.mark.asyncio(loop_scope="module")


def url(service: LocalLambda, function: str = "db-proxy", **options: str) -> str:
    pairs = {"endpoint": service.endpoint_url, **options}
    query = "&".join(f"{name}={value}" for name, value in pairs.items())
    return f"lambda://{function}/t{uuid4().hex}?{query}"


@pytest_asyncio.fixture(loop_scope="module")
async def transport(local_lambda: LocalLambda) -> AsyncIterator[Transport]:
    async with open_transport(url(local_lambda)) as opened:
        yield opened
        await opened.client.drop_database(opened.url.database)


async def test_the_whole_driver_works(transport: Transport) -> None:
    things = transport.database.things
    await things.insert_many([{"_id": i, "n": i % 3} for i in range(50)])
    assert await things.count_documents({"n": 0}) == 17
    assert len(await things.find({}, batch_size=7).to_list()) == 50
    changed = await things.find_one_and_update({"_id": 1}, {"$inc": {"n": 5}}, return_document=True)
    assert changed == {"_id": 1, "n": 6}
    groups = await (await things.aggregate([{"$group": {"_id": "$n"}}])).to_list()
    assert {group["_id"] for group in groups} == {0, 1, 2, 6}


async def test_transactions_commit_and_abort(transport: Transport) -> None:
    things = transport.database.things
    await things.insert_one({"_id": 0})
    async with transport.client.start_session() as session:
        async with await session.start_transaction():
            await things.insert_one({"_id": 1}, session=session)
            assert await things.find_one({"_id": 1}) is None
        await session.start_transaction()
        await things.insert_one({"_id": 2}, session=session)
        await session.abort_transaction()
    assert await things.distinct("_id") == [0, 1]


async def test_change_streams_wait_and_resume(transport: Transport) -> None:
    things = transport.database.things
    await things.insert_one({"_id": 0})
    async with await things.watch(max_await_time_ms=100) as stream:
        await things.insert_one({"_id": 1})
        change = await stream.next()
        assert change["documentKey"] == {"_id": 1}
        token = stream.resume_token
    await things.insert_one({"_id": 2})
    async with await things.watch(resume_after=token) as stream:
        assert (await stream.next())["documentKey"] == {"_id": 2}


async def test_errors_are_the_drivers_own(transport: Transport) -> None:
    things = transport.database.things
    await things.insert_one({"_id": 1})
    with pytest.raises(DuplicateKeyError) as duplicate:
        await things.insert_one({"_id": 1})
    assert duplicate.value.code == 11000
    assert duplicate.value.details is not None
    assert duplicate.value.details["keyValue"] == {"_id": 1}
    with pytest.raises(BulkWriteError) as bulk:
        await things.insert_many([{"_id": 1}, {"_id": 2}], ordered=False)
    assert bulk.value.details["nInserted"] == 1
    with pytest.raises(OperationFailure) as unknown:
        await transport.database.command("nonsense")
    assert unknown.value.code == 59


async def test_megabytes_travel_both_ways(transport: Transport) -> None:
    document = {"_id": 1, "text": "x" * 3_000_000}
    await transport.database.things.insert_one(document)
    assert await transport.database.things.find_one({}) == document


def noise(size: int) -> bytes:
    """Bytes that no compression makes fewer."""
    return random.Random(size).randbytes(size)


async def test_the_largest_document_is_inserted_found_and_updated(
    transport: Transport, mongod_uri: str
) -> None:
    document = {"_id": 1, "noise": noise(16 * 1024 * 1024 - 64)}
    things = transport.database.things
    staged = transport.client["odm_proxy"]["staging"]
    before = await staged.count_documents(
        {}
    )  # other tests lose replies, and what was staged for them
    await things.insert_one(document)
    assert await things.find_one({}) == document
    await things.update_one({"_id": 1}, {"$set": {"n": 1}})
    assert (await things.find_one({}, {"noise": 0})) == {"_id": 1, "n": 1}
    assert transport.statistics().details["staged_bodies"] >= 2
    assert await staged.count_documents({}) == before, "what was staged has been removed"
    assert "at_1" in await staged.index_information(), "and would have expired"


async def test_what_compresses_well_needs_no_staging(transport: Transport) -> None:
    document = {"_id": 1, "text": "all work and no play " * 600_000}
    await transport.database.things.insert_one(document)
    assert await transport.database.things.find_one({}) == document
    assert transport.statistics().details["staged_bodies"] == 0


async def test_a_message_of_the_servers_limit_passes(transport: Transport) -> None:
    documents = [{"_id": i, "noise": noise(1_000_000)} for i in range(47)]
    before = transport.statistics().commands
    await transport.database.things.insert_many(documents)
    assert transport.statistics().commands == before + 1
    assert await transport.database.things.count_documents({}) == 47


async def test_a_large_result_comes_in_batches_that_fit(transport: Transport) -> None:
    things = transport.database.things
    await things.insert_many([{"_id": i, "noise": noise(20_000)} for i in range(1000)])
    before = transport.statistics()
    found = 0
    async for document in things.find({}):
        assert len(document["noise"]) == 20_000
        found += 1
    after = transport.statistics()
    assert found == 1000
    assert after.details["staged_bodies"] == before.details["staged_bodies"]
    assert 7 <= after.commands - before.commands <= 10


async def test_statistics_count_commands_and_invokes(
    transport: Transport, local_lambda: LocalLambda
) -> None:
    for environment in local_lambda.environments("db-proxy"):
        await local_lambda.kill_environment(environment.id)
    before = transport.statistics()
    for _ in range(3):
        await transport.database.command("ping")
    after = transport.statistics()
    assert after.commands - before.commands == 3
    assert after.invokes - before.invokes == 3
    assert after.cold_starts - before.cold_starts == 1
    assert after.details["bytes_sent"] > before.details["bytes_sent"]


async def test_closing_leaves_no_socket_and_may_be_repeated(local_lambda: LocalLambda) -> None:
    async with open_transport(url(local_lambda)) as transport:
        socket = Path(transport.uri.partition("//")[2].partition("/?")[0].replace("%2F", "/"))
        assert socket.is_socket()
        assert socket.stat().st_mode & 0o777 == 0o600
        assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert not socket.parent.exists()
    await transport.aclose()


async def test_more_callers_than_reserved_concurrency_wait_their_turn(
    transport: Transport, local_lambda: LocalLambda
) -> None:
    await transport.database.things.insert_one({"_id": 1})
    found = await asyncio.gather(*[transport.database.things.find_one({}) for _ in range(40)])
    assert found == [{"_id": 1}] * 40
    assert local_lambda.statistics("db-proxy").max_environments <= 4


async def test_a_lasting_throttle_is_an_overload(
    local_lambda: LocalLambda, proxy_configuration: FunctionConfiguration
) -> None:
    configuration = replace(proxy_configuration, name="throttled")
    local_lambda.add_function(configuration)
    async with open_transport(url(local_lambda, "throttled", throttleTimeoutMS="50")) as transport:
        await local_lambda.update_function(replace(configuration, reserved_concurrency=0))
        with pytest.raises(PyMongoError) as caught:
            await transport.database.things.insert_one({})
        assert caught.value.has_error_label("SystemOverloadedError")
        assert caught.value.has_error_label("RetryableError")
        assert "ReservedFunctionConcurrentInvocationLimitExceeded" in str(caught.value)
        await local_lambda.update_function(configuration)


async def test_a_killed_environment_loses_nothing_that_may_be_repeated(
    transport: Transport, local_lambda: LocalLambda
) -> None:
    things = transport.database.things
    await things.insert_one({"_id": 1, "n": 0})
    for expected in range(1, 4):
        # The one that the next invoke is given: the driver repeats a write once, not more.
        environments = local_lambda.environments("db-proxy")
        busiest = max(environments, key=lambda environment: environment.invocations)
        os.kill(busiest.pid, signal.SIGKILL)
        await things.update_one({"_id": 1}, {"$inc": {"n": 1}})
        assert await things.find_one({}) == {"_id": 1, "n": expected}


async def test_a_function_stopped_at_its_timeout_says_so(
    local_lambda: LocalLambda, proxy_configuration: FunctionConfiguration
) -> None:
    local_lambda.add_function(replace(proxy_configuration, name="hasty", timeout_s=1))
    async with open_transport(url(local_lambda, "hasty")) as transport:
        things = transport.database.things
        await things.insert_one({"_id": 1})
        slow = {"$where": "sleep(3000) || true"}
        with pytest.raises(OperationFailure) as caught:
            await things.update_many(slow, {"$inc": {"n": 1}})
        assert caught.value.code == 89
        assert "'hasty'" in str(caught.value)
        assert "Whether it ran is unknown." in str(caught.value)


def closing(command: str) -> dict[str, Any]:
    """A failpoint: the server closes the connection of the next *command*."""
    return {
        "configureFailPoint": "failCommand",
        "mode": {"times": 1},
        "data": {"failCommands": [command], "closeConnection": True},
    }


async def test_a_connection_that_breaks_behind_the_function_breaks_here(
    transport: Transport,
) -> None:
    await transport.client.admin.command(closing("count"))
    with pytest.raises(AutoReconnect):
        await transport.database.command("count", "things")
    assert (await transport.database.command("count", "things"))["n"] == 0


async def test_a_retryable_write_survives_a_broken_connection(transport: Transport) -> None:
    await transport.client.admin.command(closing("insert"))
    await transport.database.things.insert_one({"_id": 1})
    assert await transport.database.things.count_documents({}) == 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("absent", "Function not found"),
        ("foreign", "is this the DB proxy function"),
        ("broken", "set the environment variable ODM_PROXY_MONGODB_URI"),
        ("lonely", "the function could not reach"),
    ],
)
async def test_a_function_that_cannot_serve_says_why_when_it_is_opened(
    local_lambda: LocalLambda,
    proxy_configuration: FunctionConfiguration,
    tmp_path: Path,
    function: str,
    words: str,
) -> None:
    (tmp_path / "foreign.py").write_text("def handler(event, context):\n    return {'status': 1}\n")
    lonely = {
        "ODM_PROXY_MONGODB_URI": "mongodb://127.0.0.1:1/",
        "ODM_PROXY_SERVER_SELECTION_TIMEOUT_MS": "200",
    }
    configurations = {
        "foreign": FunctionConfiguration(
            name="foreign", handler="foreign.handler", code=(tmp_path,)
        ),
        "broken": replace(proxy_configuration, name="broken", environment={}),
        "lonely": replace(proxy_configuration, name="lonely", environment=lonely),
    }
    if function in configurations:
        local_lambda.add_function(configurations[function])
    with pytest.raises(ServerUnreachable) as caught:
        await open_transport(url(local_lambda, function)).open()
    assert words in str(caught.value)
    assert function in str(caught.value)


async def test_no_lambda_service_at_all_says_so() -> None:
    with pytest.raises(ServerUnreachable, match="Could not connect to the endpoint URL"):
        await open_transport("lambda://p/cms?endpoint=http://127.0.0.1:1").open()


async def test_no_region_says_what_to_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(InvalidURL, match="region=eu-central-1"):
        await open_transport("lambda://p/cms").open()


async def test_no_credentials_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ServerUnreachable, match="Unable to locate credentials"):
        await open_transport("lambda://p/cms?region=eu-central-1").open()


async def test_hello_is_relayed_on_request(local_lambda: LocalLambda) -> None:
    async with open_transport(url(local_lambda, relayHello="true")) as transport:
        before = transport.statistics().invokes
        first = await transport.client.admin.command("hello")
        second = await transport.client.admin.command("hello")
        assert transport.statistics().invokes >= before + 2
        assert first["setName"] == second["setName"]
        assert second["localTime"] >= first["localTime"]
