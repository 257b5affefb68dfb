from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pymongo
from pymongo.errors import OperationFailure

from odm.cli.demo.connections import Observer, observe


async def test_connections_that_others_open_are_counted(mongod_uri: str) -> None:
    async with observe(mongod_uri) as observer:
        async with observer.counting() as count:
            client: pymongo.AsyncMongoClient[dict[str, Any]]
            async with pymongo.AsyncMongoClient(mongod_uri) as client:
                await client.admin.command("ping")
            assert count is not None
        assert count.opened >= 1


async def test_who_may_not_ask_gets_no_count() -> None:
    class Unprivileged:
        @property
        def admin(self) -> Unprivileged:
            return self

        async def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
            raise OperationFailure("not authorized", 13)

    async with Observer(Unprivileged()).counting() as count:  # type: ignore[arg-type] # enough of a client
        assert count is None
