from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import bson
import pytest
from bson.binary import Binary

from transports.endpoint.backend import Request
from transports.lambda_invoke import throttling
from transports.lambda_invoke.invoke_errors import InvokeError
from transports.lambda_invoke.throttling import MAX_REMEMBERED, Throttling

LSID = {"id": Binary(bytes(16), 4)}


def request(name: str = "update", *, sequence: bytes = b"", **fields: Any) -> Request:
    body = bson.encode({name: "things", "lsid": LSID, **fields, "$db": "cms"})
    return Request(server="h:1", message=bytes(5) + body + sequence, name=name, database="cms")


class Service:
    """Throttles the first so many invokes."""

    def __init__(self, throttles: int) -> None:
        self.throttles = throttles
        self.invokes = 0

    async def invoke(self) -> bytes:
        self.invokes += 1
        await asyncio.sleep(0)
        if self.invokes <= self.throttles:
            raise InvokeError("throttled", "throttled by AWS Lambda", "no")
        return b"done"


async def refused(throttling: Throttling, service: Service, operation: Request) -> InvokeError:
    with pytest.raises(InvokeError) as caught:
        await throttling.run(service.invoke, operation)
    assert throttling.admission.in_flight == 0
    return caught.value


async def test_a_throttled_invoke_is_tried_again() -> None:
    service = Service(3)
    assert await Throttling(5).run(service.invoke, request()) == b"done"
    assert service.invokes == 4


async def test_another_failure_is_not_tried_again() -> None:
    async def invoke() -> bytes:
        calls.append(1)
        raise InvokeError("crashed", "it exited", "unknown")

    calls: list[int] = []
    throttling = Throttling(5)
    with pytest.raises(InvokeError, match="it exited"):
        await throttling.run(invoke, request())
    assert calls == [1]
    assert throttling.admission.in_flight == 0


async def test_a_repetition_of_what_used_up_its_patience_is_tried_once() -> None:
    throttling, service = Throttling(0.05), Service(10**6)
    error = await refused(throttling, service, request(txnNumber=bson.Int64(7)))
    assert (error.kind, error.ran) == ("throttled", "no")
    assert service.invokes > 1
    for volatile in ({}, {"maxTimeMS": 40}, {"$clusterTime": {"clusterTime": 1}}):
        service.invokes = 0
        again = request(txnNumber=bson.Int64(7), **volatile)
        assert (await refused(throttling, service, again)).kind == "throttled"
        assert service.invokes == 1


@pytest.mark.parametrize(
    "other",
    [
        request(txnNumber=bson.Int64(8)),
        request("insert", txnNumber=bson.Int64(7)),
        request(txnNumber=bson.Int64(7), filter={}),
        request(txnNumber=bson.Int64(7), sequence=b"\x01\x05\x00\x00\x00"),
        request(txnNumber=bson.Int64(7), lsid={"id": Binary(b"\x01" * 16, 4)}),
        Request(server="h:1", message=bytes(4) + b"\x00\xff", name="x", database="cms"),
    ],
)
async def test_another_operation_has_patience_of_its_own(other: Request) -> None:
    throttling, service = Throttling(0.05), Service(10**6)
    await refused(throttling, service, request(txnNumber=bson.Int64(7)))
    service.invokes = 0
    await refused(throttling, service, other)
    assert service.invokes > 1


async def test_an_operation_that_came_through_is_forgotten() -> None:
    throttling, service = Throttling(0.05), Service(10**6)
    await refused(throttling, service, request())
    service.throttles = service.invokes
    assert await throttling.run(service.invoke, request()) == b"done"
    service.throttles = service.invokes + 2
    assert await throttling.run(service.invoke, request()) == b"done"


async def test_an_operation_is_forgotten_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    throttled, service = Throttling(0.05), Service(10**6)
    await refused(throttled, service, request())
    monkeypatch.setattr(throttling, "REMEMBERED_S", 0.0)
    service.invokes = 0
    await refused(throttled, service, request())
    assert service.invokes > 1


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_REMEMBERED <= 10_000
    monkeypatch.setattr(throttling, "MAX_REMEMBERED", 3)
    throttled, service = Throttling(0.000_001), Service(10**6)
    for number in range(10):
        await refused(throttled, service, request(txnNumber=bson.Int64(number)))
    assert len(throttled._exhausted) == 3


async def test_a_command_waits_no_longer_than_its_own_time_limit() -> None:
    throttling, service = Throttling(60), Service(10**6)
    error = await refused(throttling, service, request("find", maxTimeMS=30))
    assert (error.kind, error.ran) == ("expired", "no")
    assert "maxTimeMS of 30 " in error.message
    assert "throttled by AWS Lambda" in error.message


async def test_a_longer_time_limit_changes_nothing() -> None:
    throttling, service = Throttling(0.05), Service(10**6)
    error = await refused(throttling, service, request("find", maxTimeMS=60_000))
    assert error.kind == "throttled"


@pytest.mark.parametrize("max_time", [0, -1, "x", float("nan"), 30])
async def test_what_is_no_time_limit_is_none(max_time: object) -> None:
    """Of a getMore ``maxTimeMS`` says how long to wait for more."""
    throttling, service = Throttling(0.05), Service(10**6)
    name = "getMore" if max_time == 30 else "find"
    error = await refused(throttling, service, request(name, maxTimeMS=max_time))
    assert error.kind == "throttled"


async def _held(throttling: Throttling) -> tuple[asyncio.Event, list[asyncio.Task[bytes]]]:
    """Bring the limit down to one, and fill it."""
    release = asyncio.Event()

    def holding() -> Callable[[], Awaitable[bytes]]:
        async def invoke() -> bytes:
            await release.wait()
            return b"held"

        return invoke

    throttling.admission.enter_now()
    throttling.admission.throttled()
    task = asyncio.create_task(throttling.run(holding(), None))
    await asyncio.sleep(0)
    return release, [task]


async def test_waiting_for_a_turn_is_bounded_by_patience_and_time_limit() -> None:
    throttling, service = Throttling(0.02), Service(0)
    release, tasks = await _held(throttling)
    for operation, kind in ((request("find"), "throttled"), (request(maxTimeMS=5), "expired")):
        with pytest.raises(InvokeError, match="AWS Lambda admits 1 invokes at a time") as caught:
            await throttling.run(service.invoke, operation)
        assert (caught.value.kind, caught.value.ran) == (kind, "no")
    assert service.invokes == 0
    release.set()
    assert await asyncio.gather(*tasks) == [b"held"]
    assert await throttling.run(service.invoke, request("find")) == b"done"


async def test_a_cancelled_operation_leaves_nothing_behind() -> None:
    throttling = Throttling(60)
    release, tasks = await _held(throttling)
    waiting = asyncio.create_task(throttling.run(Service(0).invoke, request()))
    await asyncio.sleep(0)
    assert throttling.admission.waiting == 1
    for task in (waiting, *tasks):
        task.cancel()
    await asyncio.gather(waiting, *tasks, return_exceptions=True)
    assert (throttling.admission.waiting, throttling.admission.in_flight) == (0, 0)
    assert not release.is_set()
