"""One transport's turn: open, seed, run the script, measure, tidy up. And all turns together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import PyMongoError

from models import ALL_MODELS, seed
from odm import Connection, connect
from odm.cli.demo.comparable import Normaliser, describe_error, explain_error
from odm.cli.demo.connections import ConnectionCount, observe
from odm.cli.demo.databases import new_name, with_database
from odm.cli.demo.places import Place
from odm.cli.demo.progress import Phase, Reporter
from odm.cli.demo.reads import reads
from odm.cli.demo.script import Operation, World
from odm.cli.demo.writes import writes
from odm.cli.failures import CommandFailed

OPERATIONS: tuple[Operation, ...] = (*reads.operations, *writes.operations)

_OPERATION_TIMEOUT_S = 60.0
_DROP_TIMEOUT_S = 10.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one operation gave: a comparable result, its durations in ms, an unexpected error."""

    result: Any = None
    durations_ms: list[float] = field(default_factory=list)
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class Turn:
    """What one transport's turn gave, by operation and in numbers.

    Attributes:
        error: why the script could not begin; None if it did.
        invocations: in AWS's words: invokes that ran, those throttled not among them.
    """

    place: Place
    error: str | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    documents: int = 0
    seconds: float = 0.0
    invocations: int = 0
    cold_starts: int = 0
    throttles: int = 0
    connections: ConnectionCount | None = None

    @property
    def durations_ms(self) -> list[float]:
        """Every measured duration, sorted."""
        return sorted(ms for outcome in self.outcomes.values() for ms in outcome.durations_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the script is run: repetitions of each read, pages in the seed."""

    repeat: int
    pages: int


async def take_turns(places: Sequence[Place], settings: Settings, reporter: Reporter) -> list[Turn]:
    """Run the script over one place after the other, each on a database of its own."""
    normaliser = Normaliser(datetime.now(UTC))
    turns = []
    for place in places:
        steps = len(OPERATIONS) + 1
        with reporter.phase(f"{place.label}, {len(OPERATIONS)} operations", steps) as phase:
            turns.append(await _take_turn(place, settings, normaliser, phase))
    return turns


async def _take_turn(
    place: Place, settings: Settings, normaliser: Normaliser, phase: Phase
) -> Turn:
    turn = Turn(place=place)
    url = with_database(place.url, new_name())
    started = time.perf_counter()
    async with AsyncExitStack() as stack:
        if place.server_uri is not None:
            observer = await stack.enter_async_context(observe(place.server_uri))
            turn.connections = await stack.enter_async_context(observer.counting())
        phase.step("open and seed")
        try:
            db = await stack.enter_async_context(connect(url, models=list(ALL_MODELS)))
            stack.push_async_callback(_drop, db)
            turn.documents = (await seed(db, pages=settings.pages)).documents
        except PyMongoError as error:  # it answers, and not as a server should: a finding
            turn.error = explain_error(error)
            return turn
        world = World(db)
        for operation in OPERATIONS:
            phase.step(operation.name)
            turn.outcomes[operation.name] = await _run(operation, world, settings, normaliser)
        statistics = db.statistics()
        turn.throttles = int(statistics.details.get("throttles", 0))
        turn.invocations = statistics.invokes - turn.throttles
        turn.cold_starts = statistics.cold_starts
    turn.seconds = time.perf_counter() - started
    return turn


async def _run(
    operation: Operation, world: World, settings: Settings, normaliser: Normaliser
) -> Outcome:
    outcome = Outcome()
    try:
        for _ in range(settings.repeat if operation.repeatable else 1):
            async with asyncio.timeout(_OPERATION_TIMEOUT_S):
                started = time.perf_counter()
                result = await operation.run(world)
                outcome.durations_ms.append((time.perf_counter() - started) * 1000)
        outcome.result = normaliser.comparable(result)
    except Exception as error:  # an operation that fails is a finding, and the rest still counts
        outcome.result = describe_error(error)
        outcome.error = explain_error(error)
    return outcome


async def _drop(db: Connection) -> None:
    """Drop the turn's database, also when the turn was cut short."""
    name = db.database.name
    try:
        async with asyncio.timeout(_DROP_TIMEOUT_S):
            await db.client.drop_database(name)
    except (PyMongoError, TimeoutError) as error:
        raise CommandFailed(
            f"the demo's database {name!r} could not be dropped: {error}"
        ) from error
