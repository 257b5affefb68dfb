"""One invoke, many commands: those that wait at the same time travel together.

A command that comes while no invoke is in flight goes at once. Those that follow it collect: until
a few turns of the event loop bring no more of them, and where the limit of invokes in flight
(`transports.lambda_invoke.admission`) is reached, until it is their turn. What may be in a batch,
and why its slowest command holds up the others for no longer than a bound, is `sharing`'s to say.

A batch is for one server, has no session twice, and is throttled as a whole; how long a command may
wait is its own affair (`transports.lambda_invoke.throttling`). On a weak CPU the function may not
come to all commands within the bound: then batches get smaller, and grow again slowly.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from transports.endpoint.backend import Request
from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    DeferredResult,
    FailureResult,
    Item,
    Ran,
    ReplyResult,
    Result,
)
from transports.lambda_invoke.invoke_errors import InvokeError
from transports.lambda_invoke.options import BatchOptions
from transports.lambda_invoke.sharing import (
    MAX_REPLY_BYTES,
    Loners,
    Shareable,
    bounded,
    kill_cursor,
    shareable,
    was_cut_short,
    without_denial,
)
from transports.lambda_invoke.throttling import Throttling

MAX_BATCH_BYTES = 1_000_000
"""Bytes of the messages in a batch: with base64, less than a quarter of what an invoke takes."""

# Between a driver's write and what the endpoint reads there are as many turns of the event loop.
_QUIET_TURNS = 3
# While a driver opens connections, it may be silent for so long until their commands come, and
# these may come for so long.
_GREETING_S = 0.01
_GREETING_TURNS = 15  # a turn may be as long as a hundred greetings take
_OPENING_S = 0.25
_OPENING_POLL_S = 0.0005
# In batches, of a command that the function does not come to; then it goes alone.
_ATTEMPTS = 3

Exchange = Callable[[Sequence[Item], Request | None], Awaitable[Sequence[Result]]]
Send = Callable[[Sequence[Item], int | None], Awaitable[Sequence[Result]]]
Unpack = Callable[[Body, Request], Awaitable[bytes]]


class Arrivals(NamedTuple):
    """What has come from drivers since they could connect: it grows.

    Attributes:
        bytes_in: bytes, handshakes included.
        connected_at: when the last connection was opened, by the monotonic clock.
    """

    bytes_in: int
    connected_at: float


_NO_ARRIVALS = Arrivals(0, -math.inf)


@dataclass(slots=True, eq=False)
class _Passenger:
    """A command on its way.

    Attributes:
        command: the command.
        item: the command as it travels alone.
        arrived: when, by the monotonic clock.
        result: its result, or why there is none.
        bounded: whether the ``maxTimeMS`` that it travels with is the batch's.
        expiry: ends its wait.
    """

    command: Shareable
    item: CommandItem
    arrived: float
    result: asyncio.Future[Result]
    bounded: bool = False
    expiry: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class _Batch:
    """Commands that are to share an invoke; open to more until it is admitted."""

    server: str
    passengers: list[_Passenger] = field(default_factory=list)
    sessions: set[bytes] = field(default_factory=set)
    size: int = 0
    waits_for_admission: bool = False

    def takes(self, command: Shareable) -> bool:
        return (
            command.session not in self.sessions
            and self.size + len(command.request.message) <= MAX_BATCH_BYTES
        )

    def add(self, passenger: _Passenger) -> None:
        command = passenger.command
        self.passengers.append(passenger)
        self.size += len(command.request.message)
        if command.session:
            self.sessions.add(command.session)


@dataclass(slots=True)
class BatchCounters:
    """Counts of one transport's batches.

    Attributes:
        sizes: how many invokes carried how many commands, of those with more than one.
        deferred: commands sent again by themselves.
        queued_ms: how long commands waited before they were sent, altogether.
    """

    sizes: Counter[int] = field(default_factory=Counter)
    deferred: int = 0
    queued_ms: float = 0.0


class Batching:
    """Sends commands, alone or together. Belongs to one event loop.

    Args:
        exchange: sends one command's items by themselves, throttled or not.
        send: sends items once, with a bound in milliseconds.
        throttling: who admits invokes, and knows how long a command may wait.
        options: bounds.
        unpack: fetches and decompresses a reply.
    """

    def __init__(
        self,
        exchange: Exchange,
        send: Send,
        throttling: Throttling,
        options: BatchOptions,
        unpack: Unpack,
    ) -> None:
        self._exchange = exchange
        self._send = send
        self._unpack = unpack
        self._throttling = throttling
        self._options = options
        self._open: dict[str, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loners = Loners()
        self._size = float(options.max_size)
        self.counters = BatchCounters()
        self.arrivals: Callable[[], Arrivals] = lambda: _NO_ARRIVALS
        """Tells what has come from drivers so far."""

    async def run(self, request: Request, item: CommandItem) -> Result:
        """Return the function's result for *item*, which is *request* as it can be carried.

        Raises:
            InvokeError: there is none.
            CarriageError: likewise, in the function's words.
        """
        command = shareable(request) if self._options.max_size > 1 else None
        if command is None or command in self._loners or self._throttling.is_exhausted(request):
            return await self._alone(request, item)
        for _ in range(_ATTEMPTS):
            passenger = _Passenger(
                command, item, time.monotonic(), asyncio.get_running_loop().create_future()
            )
            batch = self._board(passenger)
            if batch is not None and await self._stays_alone(batch, passenger):
                break
            try:
                result = await passenger.result
            finally:
                if passenger.expiry is not None:
                    passenger.expiry.cancel()
            if not isinstance(result, DeferredResult):
                return await self._again_if_cut(passenger, result)
            self.counters.deferred += 1
        return await self._alone(request, item)

    async def _alone(self, request: Request, item: CommandItem) -> Result:
        [result] = await self._exchange([item], request)
        return result

    async def _again_if_cut(self, passenger: _Passenger, result: Result) -> Result:
        if not isinstance(result, ReplyResult):
            return result
        command, reply = passenger.command, result.reply
        if reply.encoding or reply.staged or len(reply.data) > MAX_REPLY_BYTES:
            self._loners.add(command)
        if not passenger.bounded:
            return result
        if reply.encoding or reply.staged:  # a cursor or an error is in those, too
            reply = Body(await self._unpack(reply, command.request))
            result = ReplyResult(reply)
        items: list[Item] = [passenger.item]
        killing = kill_cursor(command.request, reply.data)
        if killing is not None:
            items.insert(0, CommandItem(killing.server, Body(killing.message)))
        elif not was_cut_short(reply.data):
            return result
        self._loners.add(command)
        self.counters.deferred += 1
        try:
            again = (await self._exchange(items, command.request))[-1]
        except InvokeError as error:
            raise InvokeError(error.kind, error.message, _with_the_first(error.ran)) from error
        if isinstance(again, FailureResult):
            return replace(again, ran=_with_the_first(again.ran))
        if isinstance(again, ReplyResult):
            return ReplyResult(replace(again.reply, data=without_denial(again.reply.data)))
        return again

    # -- collecting ------------------------------------------------------------------------------

    def _board(self, passenger: _Passenger) -> _Batch | None:
        """Let *passenger* into a batch; return it if it is the first one there."""
        command = passenger.command
        server = command.request.server
        batch = self._open.get(server)
        if batch is not None and not batch.takes(command):
            self._close(batch)
            batch = None
        is_first = batch is None
        if batch is None:
            batch = self._open[server] = _Batch(server)
        batch.add(passenger)
        if batch.waits_for_admission:
            self._limit_wait(batch, passenger)
        if len(batch.passengers) >= self._size:
            self._close(batch)
        return batch if is_first else None

    async def _stays_alone(self, batch: _Batch, passenger: _Passenger) -> bool:
        """Return whether the first one in *batch* is to go by itself; else the batch is under way.

        It is if nothing is in flight and a turn of the event loop brings no company. Then its own
        task carries it: the ordinary command pays for no other.
        """
        admission = self._throttling.admission
        if not admission.in_flight:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                passenger.result.cancel()
                self._start(batch)
                raise
            if len(batch.passengers) == 1 and not admission.in_flight:
                self._close(batch)
                return True
        self._start(batch)
        return False

    def _start(self, batch: _Batch) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _close(self, batch: _Batch) -> None:
        """Let nobody else into *batch*."""
        if self._open.get(batch.server) is batch:
            del self._open[batch.server]

    async def _collect(self, batch: _Batch) -> None:
        """Wait until drivers send no more, or *batch* is full or due.

        A connection that a driver has just opened brings a command as soon as it is greeted, so
        those of a driver that begins are waited for longer.
        """
        began = heard = time.monotonic()
        arrivals, quiet = self.arrivals(), 0
        while self._open.get(batch.server) is batch:
            now = time.monotonic()
            is_opening = now - arrivals.connected_at < _OPENING_S
            if now - began > (_OPENING_S if is_opening else self._options.wait_s):
                return
            is_greeting = quiet < _GREETING_TURNS or now - heard < _GREETING_S
            if quiet >= _QUIET_TURNS and not (is_opening and is_greeting):
                return
            await asyncio.sleep(_OPENING_POLL_S if quiet >= _QUIET_TURNS else 0)
            quiet += 1
            before, arrivals = arrivals, self.arrivals()
            if arrivals != before:
                heard, quiet = time.monotonic(), 0

    # -- carrying --------------------------------------------------------------------------------

    async def _carry(self, batch: _Batch) -> None:
        admission = self._throttling.admission
        attempt = 0
        try:
            await self._collect(batch)
            while batch.passengers:
                if not admission.enter_now(first=attempt > 0):
                    await self._wait_for_admission(batch, first=attempt > 0)
                self._close(batch)
                self._drop_cancelled(batch)
                if not batch.passengers:
                    admission.withdraw()
                    return
                try:
                    results = await self._invoke(batch.passengers)
                except InvokeError as error:
                    if error.kind != "throttled":
                        admission.succeeded()
                        raise
                    admission.throttled()
                    delay = self._throttling.delay(attempt)
                    self._give_up(batch, delay, error)
                except BaseException:
                    admission.succeeded()
                    raise
                else:
                    admission.succeeded()
                    for passenger, result in zip(batch.passengers, results, strict=True):
                        if not passenger.result.done():
                            passenger.result.set_result(result)
                    return
                attempt += 1
                await asyncio.sleep(delay)
                self._drop_cancelled(batch)
        except InvokeError as error:
            for passenger in batch.passengers:
                _fail(passenger, error.again())
        except Exception as error:  # no failure of an invoke: each is answered as if alone
            for passenger in batch.passengers:
                _fail(passenger, error)
        except BaseException:  # the transport is being closed
            for passenger in batch.passengers:
                passenger.result.cancel()
            raise
        finally:
            self._close(batch)

    async def _wait_for_admission(self, batch: _Batch, *, first: bool) -> None:
        batch.waits_for_admission = True
        for passenger in batch.passengers:
            self._limit_wait(batch, passenger)
        try:
            await self._throttling.admission.enter(None, first=first)
        finally:
            batch.waits_for_admission = False
            for passenger in batch.passengers:
                if passenger.expiry is not None:
                    passenger.expiry.cancel()

    def _limit_wait(self, batch: _Batch, passenger: _Passenger) -> None:
        """Let *passenger* wait no longer than it has patience."""
        request = passenger.command.request
        patience = self._throttling.patience(request)

        def give_up() -> None:
            batch.passengers.remove(passenger)
            _fail(passenger, self._throttling.waited(request, patience))

        remaining = passenger.arrived + patience.seconds - time.monotonic()
        passenger.expiry = asyncio.get_running_loop().call_later(max(remaining, 0), give_up)

    def _give_up(self, batch: _Batch, delay: float, error: InvokeError) -> None:
        """Take from *batch* who has no patience left for one more attempt after *delay*."""
        now = time.monotonic()
        for passenger in list(batch.passengers):
            request = passenger.command.request
            patience = self._throttling.patience(request)
            if now + delay - passenger.arrived > patience.seconds:
                batch.passengers.remove(passenger)
                _fail(passenger, self._throttling.give_up(request, patience, error.message))

    async def _invoke(self, passengers: Sequence[_Passenger]) -> Sequence[Result]:
        now = time.monotonic()
        self.counters.queued_ms += sum(now - passenger.arrived for passenger in passengers) * 1000
        if len(passengers) == 1:
            passengers[0].bounded = False
            results = await self._send([passengers[0].item], None)
            self._size = max(self._size, 2.0)  # else, once down to one, it would never grow
            return results
        limit_ms = self._options.limit_ms
        items = []
        for passenger in passengers:
            message = bounded(passenger.command, limit_ms)
            passenger.bounded = message is not None
            item = passenger.item
            items.append(item if message is None else replace(item, message=Body(message)))
        self.counters.sizes[len(items)] += 1
        results = await self._send(items, limit_ms)
        self._learn(results)
        return results

    def _learn(self, results: Sequence[Result]) -> None:
        """Make batches as large as the function can work off within the bound."""
        begun = sum(not isinstance(result, DeferredResult) for result in results)
        if begun < len(results):
            self._size = max(1.0, begun)
        else:
            self._size = min(self._size * 2, self._options.max_size)

    def _drop_cancelled(self, batch: _Batch) -> None:
        batch.passengers = [p for p in batch.passengers if not p.result.cancelled()]

    async def aclose(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _with_the_first(ran: Ran) -> Ran:
    """Return what is known of a command of which there was an attempt before that may have run."""
    return "unknown" if ran == "no" else ran


def _fail(passenger: _Passenger, error: Exception) -> None:
    if not passenger.result.done():
        passenger.result.set_exception(error)
