"""What AWS has and a local Lambda has if it is asked: TLS, and a limit of requests a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from pymongo.errors import AutoReconnect

from transports import TransportError, open_transport
from transports.local_lambda import FunctionConfiguration, LocalLambda

pytestmark = pytest.mark.asyncio(loop_scope="module")
RATE = 1  # for each of four environments; a busy machine, too, can do much more


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(proxy_configuration: FunctionConfiguration) -> AsyncIterator[LocalLambda]:
    async with LocalLambda([proxy_configuration], tls=True, request_rate=RATE) as opened:
        yield opened


@pytest.fixture
def url(service: LocalLambda, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(service.ca_bundle))
    # However busy the machine is, batches are neither cut short nor made smaller.
    options = "batchWaitMS=1000&batchLimitMS=30000&throttleTimeoutMS=60000"
    return f"lambda://db-proxy/t{uuid4().hex}?endpoint={service.endpoint_url}&{options}"


async def test_commands_travel_by_tls_where_its_authority_is_trusted(url: str) -> None:
    async with open_transport(url) as transport:
        await transport.database.things.insert_one({"_id": 1, "text": "x" * 1_000_000})
        found = await transport.database.things.find_one({"_id": 1})
        assert found is not None
        assert len(found["text"]) == 1_000_000
        await transport.client.drop_database(transport.url.database)


async def test_without_trust_nothing_is_sent_and_the_reason_is_told(
    service: LocalLambda, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    before = service.statistics("db-proxy").invocations
    with pytest.raises((TransportError, AutoReconnect), match=r"(?i)certificate"):
        async with open_transport(f"{url}&openTimeoutMS=500") as transport:
            await transport.database.things.find_one({})
    assert service.statistics("db-proxy").invocations == before


async def test_over_the_rate_one_command_an_invoke_waits_and_nothing_is_lost(
    service: LocalLambda, url: str
) -> None:
    count = 12 * RATE
    numbers = iter(range(count))

    async def insert() -> None:
        for number in numbers:
            await things.insert_one({"_id": number})

    async with open_transport(f"{url}&maxCommandsPerInvoke=1") as transport:
        before = service.statistics("db-proxy").throttles
        things = transport.database.things
        # Fewer at a time than there are environments: what is throttled is over the rate.
        await asyncio.gather(*[insert() for _ in range(3)])
        assert service.statistics("db-proxy").throttles > before
        assert sorted([each["_id"] async for each in things.find()]) == [*range(count)]
        await transport.client.drop_database(transport.url.database)


async def test_batches_get_through_below_it(service: LocalLambda, url: str) -> None:
    count = 80 * RATE  # twenty seconds' requests, one by one
    async with open_transport(url) as transport:
        before = service.statistics("db-proxy")
        things = transport.database.things
        await asyncio.gather(*[things.insert_one({"_id": i}) for i in range(count)])
        after = service.statistics("db-proxy")
        assert after.invocations - before.invocations < count / 4
        assert sorted([each["_id"] async for each in things.find()]) == [*range(count)]
        await transport.client.drop_database(transport.url.database)
