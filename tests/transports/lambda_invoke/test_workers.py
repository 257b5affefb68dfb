"""Fast items share two threads; one that waits makes room for another; results keep their order."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait

import pytest

from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import CommandItem, DeferredResult, Item, ReplyResult, Result
from transports.lambda_invoke.function import workers
from transports.lambda_invoke.function.workers import Workers


def numbered(count: int) -> list[Item]:
    return [CommandItem("h:1", Body(b"%d" % number)) for number in range(count)]


def answer(items: Sequence[Item]) -> list[Result]:
    return [ReplyResult(item.message) for item in items if isinstance(item, CommandItem)]


def numbers(results: Sequence[Result]) -> list[int | None]:
    return [int(r.reply.data) if isinstance(r, ReplyResult) else None for r in results]


@pytest.fixture
def five() -> Iterator[Workers]:
    made = Workers(5, 1024)
    yield made
    made.close()


@pytest.mark.parametrize("within_s", [None, 60.0])
@pytest.mark.parametrize("pool_size", [1, 2, 5])
@pytest.mark.parametrize("count", [2, 3, 100])
def test_results_are_in_the_order_of_their_items(
    count: int, pool_size: int, within_s: float | None
) -> None:
    made = Workers(pool_size, 1024)
    assert numbers(made.run(numbered(count), answer, within_s)) == list(range(count))
    made.close()


def test_fast_items_take_two_threads_and_come_in_growing_shares(
    five: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_FAST_S", 60.0)
    threads: set[int] = set()
    shares: list[int] = []

    def run(items: Sequence[Item]) -> list[Result]:
        threads.add(threading.get_ident())
        shares.append(len(items))
        return answer(items)

    assert numbers(five.run(numbered(200), run, 60.0)) == list(range(200))
    assert len(threads) <= 2
    assert max(shares) == five.max_share


def test_each_thread_that_waits_makes_room_for_another(five: Workers) -> None:
    """All that there may be at a time meet, though a batch begins with two."""
    together = threading.Barrier(five.at_a_time, timeout=10)

    def run(items: Sequence[Item]) -> list[Result]:
        together.wait()
        return answer(items)

    results = five.run(numbered(five.at_a_time), run, 60.0)
    assert numbers(results) == list(range(five.at_a_time))


def test_slow_items_are_taken_one_by_one(five: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_FAST_S", -1.0)
    shares: list[int] = []

    def run(items: Sequence[Item]) -> list[Result]:
        shares.append(len(items))
        return answer(items)

    five.run(numbered(40), run, 60.0)
    assert set(shares) == {1}


def test_no_room_is_made_where_nothing_is_left_to_run(
    five: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_left = threading.Event()

    def watched(threads: Sequence[Future[None]], timeout: float | None) -> object:
        if timeout is None:
            nothing_left.set()
        return wait(threads, timeout)

    def run(items: Sequence[Item]) -> list[Result]:
        if numbers(answer(items))[0] == 0:
            assert nothing_left.wait(10)
        return answer(items)

    monkeypatch.setattr(workers, "wait", watched)
    assert numbers(five.run(numbered(5), run, 60.0)) == list(range(5))


def test_what_is_no_batch_begins_on_all_threads_and_is_taken_one_by_one(
    five: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_FAST_S", 60.0)  # so that none is slow
    together = threading.Barrier(five.at_a_time, timeout=10)

    def run(items: Sequence[Item]) -> list[Result]:
        assert len(items) == 1
        together.wait()
        return answer(items)

    five.run(numbered(2 * five.at_a_time), run, None)


def test_what_cannot_begin_in_time_is_deferred(five: Workers) -> None:
    assert five.run(numbered(10), answer, -1.0) == [DeferredResult()] * 10


def test_a_defect_is_not_swallowed(five: Workers) -> None:
    def run(items: Sequence[Item]) -> list[Result]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        five.run(numbered(3), run, 60.0)


@pytest.mark.parametrize(
    ("memory_mb", "at_a_time", "max_share"),
    [(128, 1, 3), (256, 2, 4), (512, 5, 4), (1024, 5, 8), (10_240, 5, 8)],
)
def test_memory_bounds_what_runs_at_a_time(memory_mb: int, at_a_time: int, max_share: int) -> None:
    made = Workers(5, memory_mb)
    assert (made.at_a_time, made.max_share) == (at_a_time, max_share)
    made.close()
