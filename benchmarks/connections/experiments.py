"""The experiments: what callers and proxy do in each, and what is looked at.

Each runs on a stage of its own and fills in a `Case` as it goes: an interrupted one keeps what it
has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from benchmarks.connections.fleet import Member, freeze, kill, vanish
from benchmarks.connections.processes import proportional_mb
from benchmarks.connections.result import LAMBDA, Case
from benchmarks.connections.sampler import EVERY_S, Sample
from benchmarks.connections.settings import Settings
from benchmarks.connections.stage import CALLERS, Stage
from odm.cli import proxy_function

BURST_S = 0.9
"""In which all callers of a burst are started."""

_CALLERS_PER_S = 50.0
_ROUNDS = 10
_SLOW_MS = 20
_GONE_S = 2.0
_PROBES_S = 60.0
_WEIGHED = 10


@dataclass(slots=True)
class Scene:
    """An experiment under way: the stage, the case, and what both are told."""

    stage: Stage
    case: Case
    say: Callable[[str], None]

    @property
    def settings(self) -> Settings:
        """Of the run."""
        return self.stage.settings

    async def look(self, *, names: bool = False) -> Sample:
        """Ask the server now, and keep the sample."""
        sample = await asyncio.to_thread(self.stage.sampler.look, names=names)
        self.case.samples.append(sample)
        return sample

    def mark(self, words: str) -> None:
        """Note what happens now."""
        self.case.marks.append((round(self.stage.sampler.now, 2), words))
        self.say(f"{self.case.title}, {self.case.way}: {words}")

    def limit(self, connections: int) -> None:
        """From now on the function may have so many; directly there is no limit."""
        if self.case.way == LAMBDA:
            self.case.limits.append((self.stage.sampler.now, connections))

    async def start(self, count: int, over_s: float) -> list[Member]:
        """Start callers, each of which sends a page."""
        self.mark(f"{count} callers start")
        queries = self.settings.queries
        members = await self.stage.fleet.start(
            count, self.stage.url, over_s=over_s, queries=queries
        )
        self.mark("all have had their answers")
        return members

    async def pages(self, members: list[Member]) -> None:
        """Have callers send a page each, all at one time."""
        await self.stage.fleet.pages(members, self.settings.queries)

    async def fill(self, members: list[Member]) -> None:
        """Have callers send pages to a slow server until the function connects no more.

        What it opens after that is not due to load.
        """
        if self.case.way != LAMBDA:
            return
        await self.stage.slow_down(_SLOW_MS)
        created = [(await self.look()).created]
        # What two rounds in a row do not add to is as many as this load needs.
        while len(created) < 3 or (len(created) < _ROUNDS and created[-1] > created[-3]):
            await self.pages(members)
            created.append((await self.look()).created)
        await self.stage.slow_down(0)
        self.mark("the server was slow for a moment: the function connects no more")

    async def hold(self, seconds: float | None = None) -> None:
        """Watch."""
        await asyncio.sleep(self.settings.hold_s if seconds is None else seconds)

    async def names(self) -> Mapping[str, int]:
        """Who holds connections; callers that came through the proxy may hold none."""
        found = (await self.look(names=True)).names
        if self.case.way == LAMBDA and found.get(CALLERS):
            self.case.failures.append(f"{found[CALLERS]} connections of callers of the proxy")
        return found


async def installation(scene: Scene) -> None:
    """All callers start within a second, send a page, and are frozen."""
    scene.limit(scene.settings.ceiling)
    members = await scene.start(scene.case.callers, BURST_S)
    _weigh(scene, members)
    freeze(members)
    scene.mark("all are frozen")
    await scene.hold()
    await scene.names()


async def callers(scene: Scene) -> None:
    """Callers come one after the other; then a third stays, one is frozen, one is killed."""
    count = scene.case.callers
    scene.limit(scene.settings.ceiling)
    members = await scene.start(count, max(1.0, count / _CALLERS_PER_S))
    for _ in range(2):
        await scene.pages(members)
    scene.mark("two more pages each")
    await scene.names()
    _weigh(scene, members)
    killed, frozen, staying = members[0::3], members[1::3], members[2::3]
    freeze(frozen)
    scene.mark(f"{len(frozen)} are frozen")
    await scene.hold()
    kill(killed)
    scene.mark(f"{len(killed)} are killed; here the kernel closes for them")
    await scene.hold()
    await scene.pages(staying)
    scene.case.figures["after kill"] = (await scene.look()).current


async def redeploy(scene: Scene) -> None:
    """All callers are replaced, twice; those of before stay frozen, as AWS keeps them."""
    scene.limit(scene.settings.ceiling)
    old: list[Member] = []
    members = await scene.start(scene.case.callers, BURST_S)
    await scene.fill(members)
    for number in (1, 2):
        freeze(members)
        old += members
        before = (await scene.look()).created
        scene.mark(f"deployment {number} of the callers")
        members = await scene.start(scene.case.callers, BURST_S)
        await scene.pages(members)
        opened = (await scene.look()).created - before
        scene.case.created[f"deployment {number}"] = opened
        if scene.case.way == LAMBDA and opened:
            scene.case.failures.append(f"deployment {number} opened {opened} connections")
    await scene.names()
    await scene.hold()
    kill(old)
    scene.mark("the old ones are gone; here the kernel closes for them")
    await scene.hold(_GONE_S)


async def redeploy_proxy(scene: Scene) -> None:
    """The proxy is deployed anew; old environments stay frozen for a while, as AWS keeps them."""
    settings = scene.settings
    scene.limit(settings.ceiling)
    members = await scene.start(scene.case.callers, BURST_S)
    await scene.fill(members)
    before = await scene.look()
    scene.case.figures["before"] = before.current
    scene.limit(2 * settings.ceiling)
    await scene.stage.deploy()
    scene.mark("deployment of the proxy")
    await scene.pages(members)
    await scene.fill(members)
    opened = (await scene.look()).created - before.created
    scene.case.created["deployment of the proxy"] = opened
    since = (each.current for each in scene.stage.sampler.samples if each.second > before.second)
    scene.case.figures["with both versions"] = max(since, default=0)
    if opened > settings.ceiling:
        scene.case.failures.append(f"it opened {opened}, its ceiling is {settings.ceiling}")
    await scene.hold(settings.linger_s + _GONE_S)
    scene.mark("the old environments are gone")
    scene.limit(settings.ceiling)
    await scene.pages(members)
    scene.case.figures["after"] = (await scene.names()).get("odm-db-proxy", 0)


async def zombies(scene: Scene) -> None:
    """Most callers vanish without FIN, then the proxy's environments; until the server knows."""
    settings, case = scene.settings, scene.case
    scene.limit(settings.ceiling)
    members = await scene.start(case.callers, BURST_S)
    await scene.pages(members)
    alive = (await scene.look()).current
    vanishing, staying = members[case.callers // 10 :], members[: case.callers // 10]
    vanished = scene.stage.sampler.now
    left = vanish(vanishing, scene.stage.port)
    count = len(left)
    scene.mark(f"{len(vanishing)} callers vanish; the server keeps their {count} connections")
    case.figures |= {"before": alive, "zombies of callers": count}
    if case.way == LAMBDA and left:
        case.failures.append(f"{count} connections of callers of the proxy")
    await scene.hold()
    if case.way == LAMBDA:
        scene.limit(2 * settings.ceiling)
        vanished = scene.stage.sampler.now
        left = await scene.stage.vanish_environments()
        count = len(left)
        scene.mark(f"the proxy's environments vanish; the server keeps their {count} connections")
        case.figures["zombies of the proxy"] = count
    await scene.pages(staying)
    case.figures["with zombies"] = (await scene.look()).current
    if not settings.keepalive_s:
        await scene.hold()
        return
    scene.mark(f"the keep-alive of {settings.keepalive_s} s is waited for")
    await _noticed(scene, left, vanished + settings.keepalive_s + _PROBES_S)
    case.figures["seconds until gone"] = round(scene.stage.sampler.now - vanished, 1)
    scene.mark("the server has noticed")
    scene.limit(settings.ceiling)
    case.figures["after"] = (await scene.look()).current


async def _noticed(scene: Scene, left: set[str], until: float) -> None:
    """Wait until the server has none of *left* any more, and at most until that second."""
    while remaining := left & await asyncio.to_thread(scene.stage.sampler.clients):
        if scene.stage.sampler.now > until:
            scene.case.failures.append(f"the server kept {len(remaining)} beyond its keep-alive")
            return
        await asyncio.sleep(EVERY_S)


def _weigh(scene: Scene, members: list[Member]) -> None:
    weights = [proportional_mb(member.pid) for member in members[:_WEIGHED]]
    scene.case.caller_mb = round(sum(weights) / len(weights), 1)


Experiment = Callable[[Scene], Awaitable[None]]
REAL: Mapping[str, Experiment] = {
    "installation": installation,
    "callers": callers,
    "redeploy": redeploy,
    "redeploy-proxy": redeploy_proxy,
    "zombies": zombies,
}


def gather_counts(scene: Scene) -> None:
    """Take over what fleet, service and sampler have counted."""
    stage, case = scene.stage, scene.case
    case.samples = sorted([*stage.sampler.samples, *case.samples], key=lambda each: each.second)
    case.missed = stage.sampler.missed
    case.durations_ms = stage.fleet.tally.durations_ms
    case.errors = dict(stage.fleet.tally.errors)
    case.invokes, case.throttles = stage.fleet.invokes, stage.fleet.throttles
    if stage.service is not None:
        statistics = stage.service.statistics(proxy_function.NAME)
        case.environments = statistics.environments_started
