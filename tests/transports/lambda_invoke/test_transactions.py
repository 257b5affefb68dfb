from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import bson
import pytest
from bson import Int64
from bson.binary import Binary

from transports.endpoint.backend import Request
from transports.lambda_invoke.transactions import Transactions


def command(name: str, session: int = 1, *, in_transaction: bool = True) -> Request:
    lsid = {"id": Binary(session.to_bytes(16, "big"), 4)}
    body: dict[str, Any] = {name: "pages", "lsid": lsid, "txnNumber": Int64(1)}
    if in_transaction:
        body["autocommit"] = False
    message = bytes(5) + bson.encode({**body, "$db": "cms"})
    return Request(server="h:1", message=message, name=name, database="cms")


class Carrier:
    """Notes what begins and what ends; the statement ends when it is let go."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.go = asyncio.Event()
        self.begun = asyncio.Event()

    def call(self, name: str, *, waits: bool = False) -> Callable[[], Coroutine[Any, Any, bytes]]:
        async def carried() -> bytes:
            self.events.append(f"{name} begins")
            self.begun.set()
            if waits:
                await self.go.wait()
            self.events.append(f"{name} ends")
            return name.encode()

        return carried


async def left_behind(transactions: Transactions, carrier: Carrier, request: Request) -> None:
    """Have the client of *request* go away while it is under way."""
    statement = asyncio.create_task(
        transactions.run(request, carrier.call("statement", waits=True))
    )
    await carrier.begun.wait()
    statement.cancel()
    with pytest.raises(asyncio.CancelledError):
        await statement


async def test_the_end_of_a_transaction_waits_for_a_statement_nobody_waits_for() -> None:
    transactions, carrier = Transactions(), Carrier()
    await left_behind(transactions, carrier, command("insert"))
    abort = asyncio.create_task(
        transactions.run(command("abortTransaction"), carrier.call("abort"))
    )
    for _ in range(5):
        await asyncio.sleep(0)
    assert carrier.events == ["statement begins"]
    carrier.go.set()
    assert await abort == b"abort"
    assert carrier.events == ["statement begins", "statement ends", "abort begins", "abort ends"]
    assert not transactions._left


@pytest.mark.parametrize("name", ["commitTransaction", "abortTransaction"])
async def test_for_an_end_nobody_waits(name: str) -> None:
    """A driver repeats a commit whose time is up, and may have as little time again."""
    transactions, carrier = Transactions(), Carrier()
    await left_behind(transactions, carrier, command(name))
    assert carrier.events == ["statement begins"]
    assert await transactions.run(command(name), carrier.call("again")) == b"again"
    assert not transactions._left


async def test_other_sessions_do_not_wait() -> None:
    transactions, carrier = Transactions(), Carrier()
    await left_behind(transactions, carrier, command("insert"))
    assert await transactions.run(command("insert", 2), carrier.call("other")) == b"other"
    await transactions.aclose()


async def test_outside_of_transactions_what_is_cancelled_ends() -> None:
    transactions, carrier = Transactions(), Carrier()
    await left_behind(transactions, carrier, command("insert", in_transaction=False))
    assert not transactions._left
    carrier.go.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert carrier.events == ["statement begins"]


async def test_what_fails_unheard_is_no_unhandled_error() -> None:
    transactions, carrier = Transactions(), Carrier()

    async def failing() -> bytes:
        carrier.begun.set()
        await carrier.go.wait()
        raise ValueError("nobody hears")

    statement = asyncio.create_task(transactions.run(command("insert"), failing))
    await carrier.begun.wait()
    statement.cancel()
    with pytest.raises(asyncio.CancelledError):
        await statement
    carrier.go.set()
    assert await transactions.run(command("abortTransaction"), carrier.call("abort")) == b"abort"


async def test_closing_ends_what_was_left_to_itself() -> None:
    transactions, carrier = Transactions(), Carrier()
    await left_behind(transactions, carrier, command("insert"))
    await transactions.aclose()
    assert carrier.events == ["statement begins"]
    assert not transactions._left
