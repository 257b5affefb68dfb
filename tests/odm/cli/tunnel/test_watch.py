from __future__ import annotations

import asyncio

import pytest

from odm.cli.tunnel import watch as watch_module
from odm.cli.tunnel.watch import Watch
from transports.endpoint import Client


def names(watch: Watch) -> list[str]:
    return [event["event"] for event in watch.take()]


def test_a_client_is_told_by_its_first_connection_and_its_last() -> None:
    watch = Watch()
    for number in (1, 2):
        watch.connection_opened(number, "127.0.0.1:1")
        watch.client_known(Client(connection_id=number, app_name="shell"), "nodejs 7")
    for number in (1, 2):
        watch.connection_closed(number)
    assert names(watch) == ["connected", "disconnected"]
    assert watch.take() == []


def test_members_are_told_when_they_change() -> None:
    watch = Watch()
    watch.listening({"a:1": "127.0.0.1:1"})
    watch.listening({"a:1": "127.0.0.1:1"})
    assert names(watch) == []
    watch.listening({"a:1": "127.0.0.1:1", "b:1": "127.0.0.1:2"})
    [event] = watch.take()
    assert event["members"] == watch.addresses


def test_a_reason_is_told_once_and_counted_always() -> None:
    watch = Watch()
    for _ in range(3):
        watch.connection_refused(1, "no")
    assert names(watch) == ["refused"]
    assert watch.meter.refused == {"no": 3}


def test_what_nobody_fetches_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "MAX_WAITING", 2)
    watch = Watch()
    for number in range(5):
        watch.connection_refused(1, f"reason {number}")
    assert len(watch.take()) == 2
    assert watch.dropped == 3


async def test_whoever_waits_is_woken_by_an_event() -> None:
    watch = Watch()
    waiting = asyncio.create_task(watch.wait(60))
    await asyncio.sleep(0)
    watch.connection_refused(1, "no")
    async with asyncio.timeout(10):
        await waiting
    assert names(watch) == ["refused"]


async def test_waiting_ends_by_itself() -> None:
    async with asyncio.timeout(10):
        await Watch().wait(0.001)
