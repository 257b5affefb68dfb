"""The server's connections never exceed reserved concurrency x (maxPoolSize + monitors).

On Lambda PyMongo polls its servers, so there is one monitor connection for each and none for
round-trip times. Staging and describing go through the same pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import bson
import pytest

from transports import open_transport
from transports.base import Transport
from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    ReplyResult,
    decode_response,
    encode_request,
)
from transports.local_lambda import FunctionConfiguration, LocalLambda
from transports.mongod import ReplicaSet

RESERVED, POOL, MONITORS = 3, 2, 1
CEILING = RESERVED * (POOL + MONITORS)
CALLERS = 3
ROOT = Path(__file__).parents[3]
Ceiling = Callable[..., Any]


@asynccontextmanager
async def callers(uri: str, app_name: str) -> AsyncIterator[tuple[LocalLambda, list[Transport]]]:
    """Several applications, each with an endpoint and a driver of its own, on one function."""
    separator = "&" if "?" in uri else "/?"
    function = FunctionConfiguration(
        name=app_name,
        handler="transports.lambda_invoke.function.app.handler",
        code=(ROOT,),
        environment={
            "ODM_PROXY_MONGODB_URI": f"{uri}{separator}appName={app_name}",
            "ODM_PROXY_POLICY": "unrestricted",
            "ODM_PROXY_MAX_POOL_SIZE": str(POOL),
        },
        memory_size_mb=256,
        timeout_s=10,
        reserved_concurrency=RESERVED,
    )
    async with LocalLambda([function]) as service, AsyncExitStack() as stack:
        url = f"lambda://{app_name}/{app_name}?endpoint={service.endpoint_url}"
        url += "&throttleTimeoutMS=60000"
        opened = [await stack.enter_async_context(open_transport(url)) for _ in range(CALLERS)]
        yield service, opened
        await opened[0].client.drop_database(app_name)


async def burst(transports: list[Transport], each: int = 70) -> None:
    """Hundreds of commands at one time, of every kind that takes another way."""

    async def one(transport: Transport, number: int) -> None:
        things = transport.database.things
        if number == 0 and transport is transports[0]:  # staged, both ways
            large = os.urandom(5_000_000)
            await things.insert_one({"_id": f"{id(transport)}-{number}", "noise": large})
            found = await things.find_one({"_id": f"{id(transport)}-{number}"})
            assert found is not None
            assert found["noise"] == large
        elif number % 2:
            await things.update_one({"_id": number}, {"$inc": {"n": 1}}, upsert=True)
        else:
            await things.find_one({"_id": number})

    await asyncio.gather(*(one(t, number) for number in range(each) for t in transports))


@pytest.mark.parametrize("servers", [1, 3])
async def test_a_burst_of_many_callers_stays_below_the_ceiling(
    servers: int, request: pytest.FixtureRequest, connection_ceiling: Ceiling
) -> None:
    uri = mongodb_uri(servers, request)
    name = f"burst{uuid4().hex[:8]}"
    async with connection_ceiling(uri, name, ceiling=CEILING), callers(uri, name) as (_, opened):
        await burst(opened)
        assert opened[0].statistics().details["staged_bodies"] >= 2


async def test_envelopes_full_of_commands_stay_below_the_ceiling(
    three_members: ReplicaSet, connection_ceiling: Ceiling
) -> None:
    """The most that one environment can want: as many commands at a time as it has connections."""
    uri = three_members.uri
    name = f"full{uuid4().hex[:8]}"
    async with (
        connection_ceiling(uri, name, ceiling=CEILING) as counts,
        callers(uri, name) as (service, _),
        aiohttp.ClientSession() as http,
    ):
        find = bytes(5) + bson.encode({"find": "things", "$db": name})
        primary = three_members.wait_for_primary().address
        payload = encode_request([CommandItem(primary, Body(find))] * 50)
        url = f"{service.endpoint_url}/2015-03-31/functions/{name}/invocations"

        async def invoke() -> None:
            async with http.post(url, data=payload) as response:
                decoded = decode_response(await response.read(), expected=50)
                assert all(isinstance(result, ReplyResult) for result in decoded.results)

        for _ in range(5):
            await asyncio.gather(*(invoke() for _ in range(RESERVED)))
    assert counts.highest[primary] > RESERVED * MONITORS


@pytest.mark.parametrize("servers", [1, 3])
async def test_killed_environments_leave_no_connection_behind(
    servers: int, request: pytest.FixtureRequest, connection_ceiling: Ceiling
) -> None:
    uri = mongodb_uri(servers, request)
    name = f"killed{uuid4().hex[:8]}"
    async with (
        connection_ceiling(uri, name, ceiling=CEILING),
        callers(uri, name) as (service, opened),
    ):
        for _ in range(2):
            load = asyncio.create_task(work(opened))
            async with asyncio.timeout(10):
                while service.statistics(name).concurrent_executions < RESERVED:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0)
            for environment in service.environments(name):
                with contextlib.suppress(KeyError):  # it has ended by itself
                    await service.kill_environment(environment.id)
            await load


async def work(transports: list[Transport]) -> None:
    """Commands of which some fail, as their environments are killed under them."""
    commands = [t.database.things.find_one({}) for t in transports for _ in range(20)]
    await asyncio.gather(*commands, return_exceptions=True)


def mongodb_uri(servers: int, request: pytest.FixtureRequest) -> str:
    if servers == 1:
        uri: str = request.getfixturevalue("mongod_uri")
        return uri
    replica_set: ReplicaSet = request.getfixturevalue("three_members")
    return replica_set.uri
