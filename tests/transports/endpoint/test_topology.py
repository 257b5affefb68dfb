"""When the deployment is asked for anew."""

from __future__ import annotations

import asyncio
from typing import Any

import bson
import pytest
from bson import Timestamp

from transports.endpoint import topology as module
from transports.endpoint.backend import Deployment, Member, Request
from transports.endpoint.topology import Topology
from transports.errors import CarriageError

UP = {"ok": 1.0, "setName": "rs0", "isWritablePrimary": True}
SECONDARY = {"ok": 1.0, "setName": "rs0", "isWritablePrimary": False, "secondary": True}
DOWN = {"ok": 0.0, "errmsg": "down", "code": 6}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Describer:
    """A backend whose descriptions the test decides."""

    def __init__(self, *hellos: dict[str, Any]) -> None:
        self.hellos = hellos
        self.error: BaseException | None = None
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def describe(self) -> Deployment:
        self.count += 1
        hellos, error = self.hellos, self.error
        self.asked.set()
        await self.gate.wait()
        if error is not None:
            raise error
        return Deployment(
            members=tuple(Member(address=f"h{i}:1", hello=h) for i, h in enumerate(hellos))
        )

    async def run(self, request: Request) -> bytes:
        raise NotImplementedError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


async def ignore(_deployment: Deployment) -> None:
    return None


def topology_of(backend: Describer, max_age_s: float | None = None) -> Topology:
    return Topology(backend, max_age_s=max_age_s, follow=ignore)


async def test_a_description_is_kept(clock: Clock) -> None:
    backend = Describer(UP, SECONDARY)
    topology = topology_of(backend)
    first = await topology.current()
    clock.now += 1e6
    assert await topology.current() is first
    assert backend.count == 1


async def test_a_doubt_asks_once_more() -> None:
    backend = Describer(UP)
    topology = topology_of(backend)
    await topology.current()
    topology.doubt()
    topology.doubt()
    await asyncio.gather(*(topology.current() for _ in range(10)))
    await topology.current()
    assert backend.count == 2


async def test_a_refresh_begun_before_a_doubt_does_not_settle_it() -> None:
    backend = Describer(SECONDARY)
    topology = topology_of(backend)
    backend.gate.clear()
    early = asyncio.create_task(topology.current())
    await backend.asked.wait()
    topology.doubt()
    backend.hellos = (UP,)
    late = asyncio.create_task(topology.current())
    backend.gate.set()
    assert (await late).members[0].hello == UP
    await early
    assert backend.count == 2


async def test_age_asks_anew(clock: Clock) -> None:
    backend = Describer(UP)
    topology = topology_of(backend, max_age_s=60)
    await topology.current()
    clock.now += 59
    await topology.current()
    assert backend.count == 1
    clock.now += 1
    await topology.current()
    assert backend.count == 2


@pytest.mark.parametrize(
    ("hellos", "max_age_s"),
    [((SECONDARY, SECONDARY), 0.5), ((DOWN, SECONDARY), 0.5), ((UP, DOWN), 1)],
)
async def test_a_deployment_in_trouble_is_asked_again_by_itself(
    clock: Clock, hellos: tuple[dict[str, Any], ...], max_age_s: float
) -> None:
    backend = Describer(*hellos)
    topology = topology_of(backend)
    await topology.current()
    clock.now += max_age_s - 0.1
    await topology.current()
    assert backend.count == 1
    clock.now += 0.2
    await topology.current()
    assert backend.count == 2


async def test_a_failure_reaches_everybody_who_waits_and_is_not_kept() -> None:
    backend = Describer(UP)
    backend.error = CarriageError("throttled", code=6, code_name="HostUnreachable")
    topology = topology_of(backend)
    results = await asyncio.gather(*(topology.current() for _ in range(3)), return_exceptions=True)
    assert [str(r) for r in results] == ["throttled"] * 3
    assert backend.count == 1
    backend.error = None
    assert (await topology.current()).members[0].hello == UP


async def test_an_unexpected_failure_is_told_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Describer(UP)
    backend.error = RuntimeError("secret")
    with pytest.raises(CarriageError, match="RuntimeError") as caught:
        await topology_of(backend).current()
    assert caught.value.code == 1
    assert "secret" not in str(caught.value)
    assert "could not describe" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        CarriageError(
            "throttled", code=462, code_name="Overloaded", labels=["SystemOverloadedError"]
        ),
        CarriageError("not allowed to invoke", code=13, code_name="Unauthorized"),
        CarriageError("not our function", code=17, code_name="ProtocolError"),
        CarriageError("not let in", code=18, code_name="AuthenticationFailed"),
    ],
)
async def test_what_says_nothing_of_a_server_is_no_news_of_the_deployment(
    error: CarriageError,
) -> None:
    backend = Describer(UP)
    topology = topology_of(backend)
    backend.error = error
    with pytest.raises(CarriageError):  # nothing is known yet
        await topology.current()
    backend.error, overload = None, backend.error
    first = await topology.current()
    topology.doubt()
    backend.error = overload
    assert await topology.current() is first
    backend.error = None
    before = backend.count
    assert await topology.current() is not first
    assert backend.count == before + 1


async def test_who_gives_up_waiting_does_not_end_the_refresh() -> None:
    backend = Describer(UP)
    topology = topology_of(backend)
    backend.gate.clear()
    waiting = asyncio.create_task(topology.current())
    await backend.asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    backend.gate.set()
    assert (await topology.current()).members[0].hello == UP
    assert backend.count == 1


async def test_closing_ends_a_refresh() -> None:
    backend = Describer(UP)
    topology = topology_of(backend)
    backend.gate.clear()
    waiting = asyncio.create_task(topology.current())
    await backend.asked.wait()
    await topology.aclose()
    with pytest.raises(CarriageError, match="is closing") as caught:
        await waiting
    assert caught.value.code == 91


async def test_listeners_follow_before_anybody_sees_a_description() -> None:
    seen: list[Deployment] = []

    async def follow(deployment: Deployment) -> None:
        assert topology.known is None
        seen.append(deployment)

    topology = Topology(Describer(UP), max_age_s=None, follow=follow)
    assert await topology.current() is seen[0]
    assert topology.member("h0:1") is seen[0].members[0]
    assert topology.member("h1:1") is None


async def test_state_changes_in_replies_raise_a_doubt() -> None:
    backend = Describer(UP)
    topology = topology_of(backend)
    await topology.current()
    topology.read(bson.encode({"ok": 1.0}))
    await topology.current()
    assert backend.count == 1
    topology.read(bson.encode({"ok": 0.0, "code": 189}))
    await topology.current()
    assert backend.count == 2


def cluster_time(seconds: int) -> dict[str, Any]:
    return {"clusterTime": Timestamp(seconds, 1), "signature": {"keyId": seconds}}


async def test_the_newest_times_are_kept() -> None:
    hello = {**UP, "$clusterTime": cluster_time(5), "operationTime": Timestamp(5, 0)}
    topology = topology_of(Describer(hello))
    assert topology.cluster_time() is None
    assert topology.operation_time() is None
    await topology.current()
    assert topology.cluster_time() == cluster_time(5)
    for seconds in (9, 7):
        topology.read(
            bson.encode(
                {"$clusterTime": cluster_time(seconds), "operationTime": Timestamp(seconds, 2)}
            )
        )
    assert topology.cluster_time() == cluster_time(9)
    assert topology.operation_time() == Timestamp(9, 2)


def test_a_reply_that_is_no_document_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    topology = topology_of(Describer.__new__(Describer))
    topology.read(b"\x01")
    assert "not a BSON document" in caplog.text
