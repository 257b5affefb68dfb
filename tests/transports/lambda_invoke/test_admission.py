from __future__ import annotations

import asyncio
import math

import pytest

from transports.lambda_invoke.admission import Admission


async def turn(admission: Admission, order: list[int], number: int) -> None:
    await admission.enter(5)
    order.append(number)


async def test_nobody_waits_before_the_first_throttle() -> None:
    admission = Admission()
    for _ in range(500):
        await admission.enter(0)
    assert (admission.in_flight, admission.limit) == (500, math.inf)


async def test_a_throttle_lowers_the_limit_to_what_was_admitted() -> None:
    admission = Admission()
    for _ in range(5):
        await admission.enter(0)
    admission.throttled()
    admission.throttled()
    assert (admission.limit, admission.in_flight) == (3, 3)
    with pytest.raises(TimeoutError):
        await admission.enter(0.01)
    assert admission.waiting == 0


async def test_the_limit_never_falls_below_one() -> None:
    admission = Admission()
    await admission.enter(0)
    admission.throttled()
    assert admission.limit == 1
    await admission.enter(0)
    assert admission.in_flight == 1


async def test_nobody_is_let_in_at_once_before_those_who_wait_but_who_waited_before() -> None:
    admission = Admission()
    assert admission.enter_now()
    admission.throttled()
    assert admission.enter_now()
    assert not admission.enter_now(first=True), "there is no room"
    waiting = asyncio.create_task(admission.enter(5))
    await asyncio.sleep(0)
    assert admission.waiting == 1
    assert not admission.enter_now()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    admission.succeeded()
    assert admission.enter_now(first=True)


async def test_waiting_is_in_order_of_arrival_but_for_those_who_waited_before() -> None:
    admission = Admission()
    await admission.enter(0)
    await admission.enter(0)
    admission.throttled()
    order: list[int] = []
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(turn(admission, order, number))
        await asyncio.sleep(0)
        again = group.create_task(admission.enter(5, first=True))
        await asyncio.sleep(0)
        assert admission.waiting == 4
        admission.throttled()
        await again
        assert order == []
        for _ in range(3):
            admission.throttled()
            await asyncio.sleep(0)
    assert order == [0, 1, 2]


async def test_success_raises_the_limit_slowly() -> None:
    admission = Admission()
    await admission.enter(0)
    admission.throttled()
    for _ in range(20):
        await admission.enter(0)
        admission.succeeded()
    assert 5 <= admission.limit <= 7
    assert admission.in_flight == 0


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    admission = Admission()
    await admission.enter(0)
    await admission.enter(0)
    admission.throttled()
    waiting = asyncio.create_task(admission.enter(5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (admission.waiting, admission.in_flight) == (0, 1)


async def test_a_wait_cancelled_as_it_is_admitted_gives_its_place_back() -> None:
    admission = Admission()
    await admission.enter(0)
    await admission.enter(0)
    admission.throttled()
    waiting = asyncio.create_task(admission.enter(5))
    await asyncio.sleep(0)
    admission.succeeded()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert admission.in_flight == 0
