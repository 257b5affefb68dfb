"""Makes the planned faults happen, each at its time, one lane beside the others."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pymongo.errors import PyMongoError

from benchmarks.chaos.layout import DATABASE
from benchmarks.chaos.plan import FAULTS, Fault
from benchmarks.chaos.stage import FUNCTION, PROXY_APP_NAME, Stage
from transports.errors import ServerUnreachable

_WRITES = ["insert", "update", "delete", "findAndModify", "commitTransaction"]
_COMMANDS = [*_WRITES, "find", "aggregate", "getMore"]
_SLOW_S = (0.01, 0.3)
_STEP_DOWN_S = 2

Action = Callable[[Fault, random.Random], Awaitable[int]]


class Faults:
    """Runs a plan against a stage.

    Args:
        kill_caller: kills one caller and has another take its place; returns how many it killed.
    """

    def __init__(
        self, stage: Stage, kill_caller: Callable[[random.Random], Awaitable[int]]
    ) -> None:
        self._stage = stage
        self.happened: Counter[str] = Counter()
        """How often each kind has struck: something was there to be struck."""
        self.timeline: list[tuple[float, float, str]] = []
        """What struck, from when to when, in seconds after the start."""
        self.failed: list[str] = []
        """Faults that could not be made, or undone, in words."""
        self._actions: Mapping[str, Action] = {
            "kill-idle": self._kill_idle,
            "kill-busy": self._kill_busy,
            "kill-all": self._kill_all,
            "freeze": self._freeze,
            "freeze-long": self._freeze,
            "throttle": self._throttle,
            "throttle-all": self._throttle_all,
            "throttle-long": self._throttle_all,
            "deploy": self._deploy,
            "network-reset": self._network_reset,
            "network-lost-request": self._lost_request,
            "network-lost-reply": self._lost_reply,
            "network-slow": self._network_slow,
            "network-refuse": self._network_refuse,
            "latency": self._latency,
            "disconnect": self._disconnect,
            "kill-before": self._kill_before,
            "kill-after": self._kill_after,
            "write-error": self._write_error,
            "primary-kill": self._primary_kill,
            "primary-freeze": self._primary_freeze,
            "secondary-kill": self._secondary_kill,
            "step-down": self._step_down,
            "caller-kill": lambda _, choices: kill_caller(choices),
        }

    async def run(self, plan: Sequence[Fault]) -> None:
        """Make every fault of *plan* happen; returns after the last."""
        started = asyncio.get_running_loop().time()
        lanes: dict[str, list[Fault]] = {}
        for fault in plan:
            lanes.setdefault(FAULTS[fault.kind].lane, []).append(fault)
        async with asyncio.TaskGroup() as tasks:
            for faults in lanes.values():
                tasks.create_task(self._run_lane(faults, started))

    async def _run_lane(self, faults: Sequence[Fault], started: float) -> None:
        loop = asyncio.get_running_loop()
        for fault in faults:
            # A fault that took longer than planned, an election for example, delays the next.
            await asyncio.sleep(max(0.0, started + fault.at_s - loop.time()))
            begun = loop.time()
            try:
                struck = await self._actions[fault.kind](fault, random.Random(fault.seed))
            except (ServerUnreachable, PyMongoError) as error:
                self.failed.append(f"{fault.kind} at {fault.at_s:.1f} s: {error!r}"[:500])
            else:
                self.happened[fault.kind] += struck
                self.timeline.append(
                    (round(begun - started, 2), round(loop.time() - started, 2), fault.kind)
                )

    # --- execution environments ---

    async def _kill_idle(self, fault: Fault, choices: random.Random) -> int:
        idle = self._stage.environments("idle")
        return await self._stage.kill_environments(
            choices.sample(idle, min(len(idle), choices.randint(1, 3)))
        )

    async def _kill_busy(self, fault: Fault, choices: random.Random) -> int:
        busy = self._stage.environments("busy")
        return await self._stage.kill_environments(choices.sample(busy, min(len(busy), 1)))

    async def _kill_all(self, fault: Fault, choices: random.Random) -> int:
        return await self._stage.kill_environments(self._stage.environments())

    async def _freeze(self, fault: Fault, choices: random.Random) -> int:
        alive = self._stage.environments("idle", "busy")
        if not alive:
            return 0
        environment = choices.choice(alive)
        service = self._stage.service
        with contextlib.suppress(KeyError):  # it has ended meanwhile: killed by its time-out
            service.freeze(environment.id)
            await asyncio.sleep(fault.lasts_s)
            service.thaw(environment.id)
        return 1

    async def _throttle(self, fault: Fault, choices: random.Random) -> int:
        return await self._throttle_to(1, fault.lasts_s)

    async def _throttle_all(self, fault: Fault, choices: random.Random) -> int:
        return await self._throttle_to(0, fault.lasts_s)

    async def _throttle_to(self, concurrency: int, seconds: float) -> int:
        before = self._stage.service.statistics(FUNCTION).throttles
        self._stage.throttle(concurrency)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._stage.throttle()
        return int(self._stage.service.statistics(FUNCTION).throttles > before)

    async def _deploy(self, fault: Fault, choices: random.Random) -> int:
        await self._stage.deploy()
        return 1

    # --- the network ---

    async def _network_reset(self, fault: Fault, choices: random.Random) -> int:
        self._stage.gateway.reset()
        return 1

    async def _lost_request(self, fault: Fault, choices: random.Random) -> int:
        self._stage.gateway.lose_requests = struck = choices.randint(1, 4)
        return struck

    async def _lost_reply(self, fault: Fault, choices: random.Random) -> int:
        self._stage.gateway.lose_replies = struck = choices.randint(1, 4)
        return struck

    async def _network_slow(self, fault: Fault, choices: random.Random) -> int:
        self._stage.gateway.delay_s = choices.uniform(*_SLOW_S)
        await asyncio.sleep(fault.lasts_s)
        self._stage.gateway.delay_s = 0.0
        return 1

    async def _network_refuse(self, fault: Fault, choices: random.Random) -> int:
        await self._stage.gateway.refuse()
        self._stage.gateway.reset()  # or nobody would connect
        await asyncio.sleep(fault.lasts_s)
        await self._stage.gateway.listen()
        return 1

    # --- the servers ---

    async def _fail_commands(self, fault: Fault, probability: float, **data: object) -> int:
        """Have the function's commands fail as *data* says, for as long as the fault lasts."""
        try:
            await self._stage.failpoint(
                "failCommand",
                {"activationProbability": probability},
                appName=PROXY_APP_NAME,
                **data,
            )
            await asyncio.sleep(fault.lasts_s)
        finally:
            await self._stage.failpoint("failCommand", "off")
        return 1

    async def _latency(self, fault: Fault, choices: random.Random) -> int:
        return await self._fail_commands(
            fault,
            0.3,
            failCommands=_COMMANDS,
            blockConnection=True,
            blockTimeMS=choices.randint(20, 400),
        )

    async def _disconnect(self, fault: Fault, choices: random.Random) -> int:
        return await self._fail_commands(
            fault, choices.uniform(0.05, 0.3), failCommands=_COMMANDS, closeConnection=True
        )

    async def _write_error(self, fault: Fault, choices: random.Random) -> int:
        # Applied, then answered with an error: what a server says that is being shut down.
        error = {"code": 91, "errmsg": "chaos", "errorLabels": ["RetryableWriteError"]}
        return await self._fail_commands(
            fault, 0.3, failCommands=_WRITES[:4], writeConcernError=error
        )

    async def _kill_before(self, fault: Fault, choices: random.Random) -> int:
        """Writes wait on the server, and run there after whoever brought them is gone."""
        blocking = asyncio.create_task(
            self._fail_commands(
                fault,
                0.7,
                failCommands=_WRITES,
                blockConnection=True,
                blockTimeMS=int(fault.lasts_s * 1000),
            )
        )
        try:
            await asyncio.sleep(fault.lasts_s * 0.7)
            return await self._stage.kill_environments(self._stage.environments("busy"))
        finally:
            await blocking

    async def _kill_after(self, fault: Fault, choices: random.Random) -> int:
        """Writes are done, and whoever waits for the answer is killed."""
        name = "waitAfterCommandFinishesExecution"
        collection = choices.choice(["counters", "documents", "groups", "accounts"])
        try:
            await self._stage.failpoint(
                name, "alwaysOn", ns=f"{DATABASE}.{collection}", commands=_WRITES[:4]
            )
            await asyncio.sleep(fault.lasts_s)
            return await self._stage.kill_environments(self._stage.environments("busy"))
        finally:
            await self._stage.failpoint(name, "off")

    async def _primary_kill(self, fault: Fault, choices: random.Random) -> int:
        primary = await self._stage.primary()
        await asyncio.to_thread(primary.kill)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await self._stage.restart(primary)
        return 1

    async def _primary_freeze(self, fault: Fault, choices: random.Random) -> int:
        primary = await self._stage.primary()
        primary.pause()
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            primary.resume()
        await self._stage.recovered()
        return 1

    async def _secondary_kill(self, fault: Fault, choices: random.Random) -> int:
        primary = await self._stage.primary()
        others = [member for member in self._stage.servers.members if member is not primary]
        secondary = choices.choice(others)
        await asyncio.to_thread(secondary.kill)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await self._stage.restart(secondary)
        return 1

    async def _step_down(self, fault: Fault, choices: random.Random) -> int:
        primary = await self._stage.primary()
        await self._stage.run(
            primary,
            {"replSetStepDown": _STEP_DOWN_S, "secondaryCatchUpPeriodSecs": 1, "force": True},
        )
        await self._stage.recovered()
        return 1
