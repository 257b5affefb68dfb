from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import bson
import pytest
from bson.binary import Binary

from transports.endpoint.backend import Request
from transports.lambda_invoke import abandoned
from transports.lambda_invoke.abandoned import AbandonedOperations
from transports.lambda_invoke.envelope import CancelItem, Item

LSID = {"id": Binary(bytes(16), 4)}


def request(**fields: Any) -> Request:
    body = bson.encode({"find": "things", **fields, "$db": "cms"})
    return Request(server="h:1", message=bytes(5) + body, name="find", database="cms")


class Function:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.items: list[CancelItem] = []

    async def send(self, items: Sequence[Item], _: None) -> None:
        for item in items:
            assert isinstance(item, CancelItem)
            self.items.append(item)


async def ended(command: Request, age_s: float) -> list[CancelItem]:
    function = Function()
    operations = AbandonedOperations(function.send)
    operations.add(command, time.time() - age_s)
    await operations.aclose()
    return function.items


async def test_a_long_operation_is_ended_and_a_later_one_of_its_session_is_not() -> None:
    before_ms = time.time() * 1000
    [item] = await ended(request(lsid=LSID), 10)
    assert (item.server, bson.decode(item.lsid)) == ("h:1", LSID)
    assert before_ms - 300 < item.started_ms < time.time() * 1000 - 200


async def test_a_short_operation_is_ended_once_it_would_be_a_long_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(abandoned, "LONG_S", 0.4)
    function = Function()
    operations = AbandonedOperations(function.send)
    operations.add(request(lsid=LSID), time.time() - 0.3)
    await asyncio.sleep(0)
    assert not function.items
    await operations.aclose()
    assert len(function.items) == 1


async def test_an_operation_that_had_hardly_begun_is_ended_in_a_transaction_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its session would be in use again; in a transaction nothing but the end can follow."""
    monkeypatch.setattr(abandoned, "LONG_S", 0.0)
    assert await ended(request(lsid=LSID), 0.1) == []
    before_ms = time.time() * 1000
    [item] = await ended(request(lsid=LSID, autocommit=False), 0.1)
    assert before_ms - 100 < item.started_ms < time.time() * 1000


@pytest.mark.parametrize(
    "command",
    [
        request(),
        request(lsid=1),
        Request(server="h:1", message=bytes(4), name="find", database="cms"),
        Request(server="h:1", message=bytes(5) + b"\x05\x00\x00\x00\x01", name="x", database="c"),
    ],
)
async def test_an_operation_without_a_session_cannot_be_found(command: Request) -> None:
    assert await ended(command, 10) == []


async def test_closing_waits_for_what_is_under_way_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def send(items: Sequence[Item], _: None) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(abandoned, "_CLOSE_S", 0.01)
    operations = AbandonedOperations(send)
    operations.add(request(lsid=LSID), time.time() - 10)
    async with asyncio.timeout(5):
        await operations.aclose()


async def test_an_operation_that_cannot_be_ended_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def send(items: Sequence[Item], _: None) -> None:
        raise OSError("no way there")

    operations = AbandonedOperations(send)
    operations.add(request(lsid=LSID), time.time() - 10)
    await operations.aclose()
    assert "no way there" in caplog.text
