"""The DB proxy function on a local Lambda in front of the session's mongod."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from transports.local_lambda import FunctionConfiguration, LocalLambda

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def proxy_configuration(mongod_uri: str) -> FunctionConfiguration:
    return FunctionConfiguration(
        name="db-proxy",
        handler="transports.lambda_invoke.function.app.handler",
        code=(ROOT,),
        environment={"ODM_PROXY_MONGODB_URI": mongod_uri},
        memory_size_mb=256,
        timeout_s=10,
        reserved_concurrency=4,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local_lambda(proxy_configuration: FunctionConfiguration) -> AsyncIterator[LocalLambda]:
    async with LocalLambda([proxy_configuration]) as service:
        yield service
