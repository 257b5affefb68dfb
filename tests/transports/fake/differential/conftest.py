"""A fake beside the session's server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transports.fake.differential.running import Pair
from tests.transports.fake.differential.sides import Fake, live


@pytest.fixture
def pair(mongod_uri: str, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A fresh fake and a real server, which are asked the same; the database is the test's own."""
    database = f"differential_{abs(hash(request.node.name)) % 10**6}"
    with live(mongod_uri) as server:
        yield Pair(Fake(), server, database)
        server.ask([{"dropDatabase": 1, "$db": database}])
