"""Batching over a scripted function: what travels together, when, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import bson
import pytest
from bson import Int64
from bson.binary import Binary

from transports.endpoint.backend import Request
from transports.lambda_invoke.batching import Batching
from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    DeferredResult,
    FailureResult,
    Item,
    ReplyResult,
    Result,
)
from transports.lambda_invoke.invoke_errors import InvokeError
from transports.lambda_invoke.options import BatchOptions
from transports.lambda_invoke.throttling import Throttling

Answer = Callable[[CommandItem], Result]


def read(number: int, session: int | None = None, **fields: Any) -> Request:
    lsid = {"lsid": {"id": Binary(session.to_bytes(16, "big"), 4)}} if session is not None else {}
    command = {"find": "pages", "filter": {"_id": number}, **fields, **lsid, "$db": "cms"}
    message = bytes(5) + bson.encode(command)
    return Request(server="h:1", message=message, name="find", database="cms")


def command_of(item: Item) -> dict[str, Any]:
    assert isinstance(item, CommandItem)
    return bson.decode(item.message.data[5:])


def reply(item: CommandItem) -> Result:
    """The reply of a server: which command it was."""
    return ReplyResult(Body(bson.encode({"ok": 1.0, "n": command_of(item)["filter"]["_id"]})))


class Function:
    """Takes invokes; each waits until it is let go."""

    def __init__(self, timeout_s: float = 5.0, **options: Any) -> None:
        self.invokes: list[list[dict[str, Any]]] = []
        self.bounds: list[int | None] = []
        self.answer: Answer = reply
        self.open = asyncio.Event()
        self.open.set()
        self.failures: list[InvokeError] = []
        self.staged: dict[str, bytes] = {}
        self.throttling = Throttling(timeout_s)
        self.batching = Batching(
            self.exchange,
            self.send,
            self.throttling,
            BatchOptions(wait_s=1.0, **options),
            self.unpack,
        )

    async def exchange(self, items: Sequence[Item], request: Request | None) -> Sequence[Result]:
        results: list[Result] = []

        async def invoke() -> bytes:
            results.extend(await self.send(items, None))
            return b""

        await self.throttling.run(invoke, request)
        return results

    async def send(self, items: Sequence[Item], within_ms: int | None) -> Sequence[Result]:
        self.invokes.append([command_of(item) for item in items])
        self.bounds.append(within_ms)
        if self.failures:
            await asyncio.sleep(0)
            raise self.failures.pop(0)
        await self.open.wait()
        return [self.answer(item) for item in items if isinstance(item, CommandItem)]

    async def unpack(self, body: Body, request: Request) -> bytes:
        assert body.staged
        return self.staged[body.staged]

    async def run(self, request: Request) -> int:
        item = CommandItem(request.server, Body(request.message))
        result = await self.batching.run(request, item)
        assert isinstance(result, ReplyResult)
        answer = bson.decode(result.reply.data)
        assert answer["ok"] == 1.0
        return int(answer["n"])

    @property
    def sizes(self) -> list[int]:
        return [len(invoke) for invoke in self.invokes]

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Have one invoke in flight, that of a command of no interest."""
        self.open.clear()
        first = asyncio.create_task(self.run(read(-1)))
        await self.invoked(1)
        try:
            yield
        finally:
            self.open.set()
            await first

    async def invoked(self, times: int) -> None:
        async with asyncio.timeout(5):
            while len(self.invokes) < times:  # noqa: ASYNC110 - turns of the loop are the matter
                await asyncio.sleep(0)


def throttled() -> InvokeError:
    return InvokeError("throttled", "too many", "no")


async def test_a_lone_command_travels_as_it_is() -> None:
    function = Function()
    assert await function.run(read(7)) == 7
    assert function.invokes == [[{"find": "pages", "filter": {"_id": 7}, "$db": "cms"}]]
    assert function.bounds == [None]
    assert not function.batching.counters.sizes


async def test_what_comes_in_one_turn_travels_together() -> None:
    function = Function()
    numbers = await asyncio.gather(*[function.run(read(i)) for i in range(40)])
    assert numbers == list(range(40))
    assert function.sizes == [40]
    assert function.bounds == [50]
    assert {command["maxTimeMS"] for command in function.invokes[0]} == {50}
    assert function.batching.counters.sizes == {40: 1}


async def test_commands_one_after_another_do_not_wait_for_others() -> None:
    function = Function()
    for i in range(5):
        await function.run(read(i))
    assert function.sizes == [1] * 5


async def test_a_batch_is_bounded() -> None:
    function = Function(max_size=8)
    await asyncio.gather(*[function.run(read(i)) for i in range(20)])
    assert function.sizes == [8, 8, 4]


async def test_long_messages_fill_a_batch_sooner() -> None:
    function = Function()
    commands = [read(i, comment="x" * 60_000) for i in range(20)]
    await asyncio.gather(*map(function.run, commands))
    assert function.sizes == [16, 4]


async def test_batches_can_be_turned_off() -> None:
    function = Function(max_size=1)
    await asyncio.gather(*[function.run(read(i)) for i in range(5)])
    assert function.sizes == [1] * 5


async def test_a_session_is_never_twice_in_a_batch() -> None:
    function = Function()
    await asyncio.gather(*[function.run(read(i, session=i % 2)) for i in range(6)])
    assert function.sizes == [2, 2, 2]


async def test_each_server_has_its_own_batches() -> None:
    function = Function()
    requests = [read(i) for i in range(6)]
    for request in requests[::2]:
        object.__setattr__(request, "server", "h:2")
    await asyncio.gather(*map(function.run, requests))
    assert function.sizes == [3, 3]


async def test_commands_collect_while_no_more_may_be_in_flight() -> None:
    function = Function()
    async with function.busy():
        function.throttling.admission.enter_now()
        function.throttling.admission.throttled()  # one at a time from now on
        waiting = []
        for i in range(6):
            waiting.append(asyncio.create_task(function.run(read(i))))
            for _ in range(20):
                await asyncio.sleep(0)
        assert function.sizes == [1]
    assert await asyncio.gather(*waiting) == list(range(6))
    assert function.sizes == [1, 6]


async def test_one_that_was_cut_short_is_repeated_alone_as_it_was() -> None:
    def answer(item: CommandItem) -> Result:
        if command_of(item)["filter"]["_id"] == 3 and "maxTimeMS" in command_of(item):
            return ReplyResult(Body(bson.encode({"ok": 0.0, "code": 50})))
        return reply(item)

    function = Function()
    function.answer = answer
    assert await asyncio.gather(*[function.run(read(i)) for i in range(5)]) == list(range(5))
    assert function.sizes == [5, 1]
    assert function.invokes[1] == [{"find": "pages", "filter": {"_id": 3}, "$db": "cms"}]
    assert function.batching.counters.deferred == 1


@pytest.mark.parametrize("refused", [True, False])
async def test_a_repetition_that_did_not_run_does_not_deny_the_first_attempt(refused: bool) -> None:
    function = Function()
    cut = {"ok": 1.0, "n": 1, "writeConcernError": {"code": 50}}  # applied, not replicated in time

    async def exchange(items: Sequence[Item], request: Request | None) -> Sequence[Result]:
        if refused:
            raise InvokeError("throttled", "too many", "no")
        return [FailureResult(91, "ShutdownInProgress", "not reached", "no") for _ in items]

    function.batching = Batching(
        exchange, function.send, function.throttling, BatchOptions(wait_s=1.0), function.unpack
    )
    function.answer = lambda item: ReplyResult(Body(bson.encode(cut)))
    first, second = [
        function.batching.run(request, CommandItem("h:1", Body(request.message)))
        for request in (read(0), read(1))
    ]
    for outcome in await asyncio.gather(first, second, return_exceptions=True):
        assert isinstance(outcome, InvokeError | FailureResult)
        assert outcome.ran == "unknown"


async def test_a_repetition_that_a_server_refuses_does_not_deny_the_first_attempt() -> None:
    function = Function(limit_ms=50)
    cut = {"ok": 1.0, "n": 1, "writeConcernError": {"code": 50}}  # applied, not replicated in time
    refused = {"ok": 0.0, "code": 10107, "errorLabels": ["NoWritesPerformed"]}
    function.answer = lambda item: ReplyResult(
        Body(bson.encode(cut if command_of(item).get("maxTimeMS") else refused))
    )
    results = await asyncio.gather(
        *[function.batching.run(r, CommandItem("h:1", Body(r.message))) for r in (read(0), read(1))]
    )
    for result in results:
        assert isinstance(result, ReplyResult)
        assert bson.decode(result.reply.data) == {"ok": 0.0, "code": 10107, "errorLabels": []}


async def test_what_was_cut_short_travels_alone_from_then_on() -> None:
    function = Function()
    function.answer = lambda item: (
        ReplyResult(Body(bson.encode({"ok": 0.0, "code": 50})))
        if "sort" in command_of(item) and "maxTimeMS" in command_of(item)
        else reply(item)
    )
    await asyncio.gather(function.run(read(0)), function.run(read(1, sort={"at": 1})))
    function.invokes.clear()
    slow = [function.run(read(i, sort={"at": 1})) for i in range(3)]
    await asyncio.gather(*slow, *[function.run(read(i)) for i in range(4)])
    assert sorted(function.sizes) == [1, 1, 1, 4]


async def test_a_limit_of_its_own_that_ended_is_no_reason_to_repeat() -> None:
    function = Function()
    function.answer = lambda item: ReplyResult(
        Body(bson.encode({"ok": 1.0, "n": 0, "writeConcernError": {"code": 50}}))
    )
    await asyncio.gather(*[function.run(read(i, maxTimeMS=20)) for i in range(3)])
    assert function.sizes == [3]


async def test_a_cursor_left_open_under_the_bound_is_closed_and_opened_again() -> None:
    def answer(item: CommandItem) -> Result:
        command = command_of(item)
        if "killCursors" in command:
            return ReplyResult(Body(bson.encode({"ok": 1.0})))
        number = command["filter"]["_id"]
        cursor = {"id": Int64(7), "ns": "cms.pages", "firstBatch": []}
        return ReplyResult(Body(bson.encode({"ok": 1.0, "n": number, "cursor": cursor})))

    function = Function()
    function.answer = answer
    await asyncio.gather(*[function.run(read(i)) for i in range(2)])
    assert function.sizes == [2, 2, 2]
    kill, again = function.invokes[1]
    assert kill == {"killCursors": "pages", "cursors": [7], "$db": "cms"}
    assert "maxTimeMS" not in again


async def test_a_cursor_in_a_reply_that_was_staged_is_closed_and_opened_again() -> None:
    cursor = {"id": Int64(7), "ns": "cms.pages", "firstBatch": []}

    def answer(item: CommandItem) -> Result:
        command = command_of(item)
        if command.get("maxTimeMS") != 50 or command["filter"]["_id"]:
            return reply(item) if "filter" in command else ReplyResult(Body(bson.encode({"ok": 1})))
        return ReplyResult(Body(b"", "zlib", "large", 1))

    function = Function(limit_ms=50)
    function.staged["large"] = bson.encode({"ok": 1.0, "n": 0, "cursor": cursor})
    function.answer = answer
    assert await asyncio.gather(*[function.run(read(i)) for i in range(2)]) == [0, 1]
    kill, again = function.invokes[1]
    assert kill == {"killCursors": "pages", "cursors": [7], "$db": "cms"}
    assert "maxTimeMS" not in again


async def test_a_staged_reply_without_a_cursor_is_fetched_once_and_not_repeated() -> None:
    function = Function()
    function.staged["large"] = bson.encode({"ok": 1.0, "n": 7})
    function.answer = lambda item: ReplyResult(Body(b"", "zlib", "large", 1))
    assert await asyncio.gather(*[function.run(read(i)) for i in range(2)]) == [7, 7]
    assert function.sizes == [2]


async def test_large_replies_travel_alone_from_then_on() -> None:
    function = Function()
    function.answer = lambda item: ReplyResult(
        Body(bson.encode({"ok": 1.0, "n": 0, "x": "x" * 70_000}))
    )
    await asyncio.gather(*[function.run(read(i)) for i in range(3)])
    assert function.sizes == [3]
    await asyncio.gather(*[function.run(read(i)) for i in range(3)])
    assert function.sizes == [3, 1, 1, 1]


async def test_what_the_function_did_not_come_to_is_sent_again_in_smaller_batches() -> None:
    function = Function()

    async def send(items: Sequence[Item], within_ms: int | None) -> Sequence[Result]:
        results = await Function.send(function, items, within_ms)
        return [*results[:4], *[DeferredResult()] * len(results[4:])]

    function.batching = Batching(
        function.exchange, send, function.throttling, BatchOptions(wait_s=1.0), function.unpack
    )
    assert await asyncio.gather(*[function.run(read(i)) for i in range(10)]) == list(range(10))
    assert function.sizes == [10, 4, 2]
    await asyncio.gather(*[function.run(read(i)) for i in range(8)])
    assert function.sizes == [10, 4, 2, 8, 4]  # four, doubled by a whole one of two; too many again


async def test_batches_grow_again_after_the_function_came_to_one_command_only() -> None:
    function = Function()
    is_slow = True

    async def send(items: Sequence[Item], within_ms: int | None) -> Sequence[Result]:
        results = await Function.send(function, items, within_ms)
        return [results[0], *[DeferredResult()] * len(results[1:])] if is_slow else results

    function.batching = Batching(
        function.exchange, send, function.throttling, BatchOptions(wait_s=1.0), function.unpack
    )
    await asyncio.gather(*[function.run(read(i)) for i in range(4)])
    is_slow = False
    for _ in range(3):
        function.invokes.clear()
        async with function.busy():
            commands = asyncio.gather(*[function.run(read(i)) for i in range(8)])
            await asyncio.sleep(0)
        await commands
    assert max(function.sizes) == 8


async def test_a_failed_batch_fails_each_command_by_itself() -> None:
    function = Function()
    function.failures = [InvokeError("crashed", "it exited", "unknown")]
    results = await asyncio.gather(
        *[function.run(read(i)) for i in range(3)], return_exceptions=True
    )
    assert [getattr(error, "ran", None) for error in results] == ["unknown"] * 3
    assert len({id(error) for error in results}) == 3
    assert function.sizes == [3]
    assert function.throttling.admission.in_flight == 0


async def test_what_nobody_expects_fails_each_command_and_cancels_none() -> None:
    function = Function()

    async def send(items: Sequence[Item], within_ms: int | None) -> Sequence[Result]:
        raise RecursionError

    function.batching = Batching(
        function.exchange, send, function.throttling, BatchOptions(wait_s=1.0), function.unpack
    )
    results = await asyncio.gather(
        *[function.run(read(i)) for i in range(3)], return_exceptions=True
    )
    assert [type(result) for result in results] == [RecursionError] * 3
    assert function.throttling.admission.in_flight == 0


async def test_a_throttled_batch_is_tried_again_as_a_whole() -> None:
    function = Function()
    function.failures = [throttled(), throttled()]
    assert await asyncio.gather(*[function.run(read(i)) for i in range(3)]) == [0, 1, 2]
    assert function.sizes == [3, 3, 3]
    assert function.throttling.admission.in_flight == 0


async def test_in_a_throttled_batch_each_has_its_own_patience() -> None:
    function = Function(timeout_s=5.0)
    function.failures = [throttled() for _ in range(4)]
    hasty, *others = await asyncio.gather(
        function.run(read(0, maxTimeMS=1)),
        *[function.run(read(i)) for i in (1, 2)],
        return_exceptions=True,
    )
    assert isinstance(hasty, InvokeError)
    assert (hasty.kind, hasty.ran) == ("expired", "no")
    assert others == [1, 2]
    assert function.sizes[0] == 3
    assert function.sizes[-1] == 2


async def test_who_waits_for_admission_too_long_gives_up_and_the_others_go() -> None:
    function = Function(timeout_s=5.0)
    async with function.busy():
        function.throttling.admission.enter_now()
        function.throttling.admission.throttled()
        others = [asyncio.create_task(function.run(read(i))) for i in (1, 2)]
        with pytest.raises(InvokeError, match="its maxTimeMS of 5 ended") as caught:
            await function.run(read(0, maxTimeMS=5))
        assert caught.value.ran == "no"
    assert await asyncio.gather(*others) == [1, 2]
    assert function.sizes == [1, 2]


async def test_who_gave_up_is_tried_once_and_alone_when_the_driver_repeats_it() -> None:
    function = Function(timeout_s=0.02)
    function.failures = [throttled() for _ in range(200)]
    results = await asyncio.gather(
        *[function.run(read(i, session=i)) for i in range(2)], return_exceptions=True
    )
    assert {getattr(error, "kind", None) for error in results} == {"throttled"}
    function.invokes.clear()
    with pytest.raises(InvokeError):
        await function.run(read(0, session=0))
    assert function.sizes in ([], [1])  # none if nothing is admitted in that moment


async def test_who_goes_away_before_the_invoke_is_not_in_it() -> None:
    function = Function()
    async with function.busy():
        function.throttling.admission.enter_now()
        function.throttling.admission.throttled()
        tasks = [asyncio.create_task(function.run(read(i))) for i in range(3)]
        await asyncio.sleep(0.01)
        tasks[1].cancel()
    assert list(await asyncio.gather(tasks[0], tasks[2])) == [0, 2]
    assert function.sizes == [1, 2]


async def test_the_first_one_may_go_away_and_leaves_its_batch_going() -> None:
    function = Function()
    tasks = [asyncio.create_task(function.run(read(i))) for i in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert await asyncio.gather(*tasks[1:]) == [1, 2]
    assert function.sizes == [2]


async def test_who_goes_away_during_the_invoke_disturbs_nobody() -> None:
    function = Function()
    function.open.clear()
    tasks = [asyncio.create_task(function.run(read(i))) for i in range(3)]
    await function.invoked(1)
    tasks[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[2]
    function.open.set()
    assert await asyncio.gather(*tasks[:2]) == [0, 1]
    assert function.sizes == [3]


async def test_a_batch_that_everybody_has_left_gives_its_place_back() -> None:
    function = Function()
    async with function.busy():
        function.throttling.admission.enter_now()
        function.throttling.admission.throttled()
        tasks = [asyncio.create_task(function.run(read(i))) for i in range(2)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert await function.run(read(5)) == 5
    assert function.throttling.admission.in_flight == 0
    assert function.sizes == [1, 1]


async def test_closing_ends_what_waits() -> None:
    function = Function()
    function.open.clear()
    tasks = [asyncio.create_task(function.run(read(i))) for i in range(3)]
    await function.invoked(1)
    await function.batching.aclose()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert function.throttling.admission.in_flight == 0
