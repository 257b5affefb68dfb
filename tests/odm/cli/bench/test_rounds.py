"""The order of turns, and what becomes of a contender that fails."""

from __future__ import annotations

from odm.cli.bench.contenders import Contender
from odm.cli.bench.documents import LIST_LENGTH, title
from odm.cli.bench.load import run_load
from odm.cli.bench.result import Result
from odm.cli.bench.rounds import run_workloads, turned
from odm.cli.bench.settings import Settings
from odm.cli.console import Console
from odm.cli.demo.progress import Reporter

QUIET = Reporter(Console(quiet=True))


class Known(Contender):
    """Answers from nowhere, and tells whose turn it was."""

    def __init__(self, name: str, turns: list[str], length: int = LIST_LENGTH) -> None:
        super().__init__(name, name)
        self._turns = turns
        self._length = length
        self._invokes = 0

    def invokes(self) -> int:
        return self._invokes

    async def read(self, number: int) -> str:
        self._turns.append(self.name)
        self._invokes += 1
        return title(number)

    async def write(self, number: int) -> None:
        raise ConnectionError("gone")

    async def list(self, limit: int) -> int:
        return self._length

    async def aggregate(self) -> int:
        return 3


def test_the_order_turns() -> None:
    contenders = [Known(name, []) for name in "abc"]
    assert [turned(contenders, number)[0].name for number in range(4)] == ["a", "b", "c", "a"]
    assert {each.name for each in turned(contenders, 2)} == {"a", "b", "c"}
    assert turned([], 3) == []


async def test_all_take_turns_in_every_round_after_a_warm_up() -> None:
    turns: list[str] = []
    contenders = [Known("a", turns), Known("b", turns)]
    result = Result()
    settings = Settings(rounds=3, divisor=10, only=("read",))
    await run_workloads(contenders, settings, result, QUIET)
    assert "".join(turns) == "aabb" + "aabb" + "bbaa" + "aabb"
    series = result.workloads["read"]["a"]
    assert len(series.durations_ms) == 6
    assert series.invokes_per_operation == 1
    assert series.first_ms is not None
    assert len(series.round_medians_ms) == 3


async def test_who_returns_something_else_or_raises_is_left_out_and_told() -> None:
    contenders = [Known("right", []), Known("wrong", [], length=1)]
    result = Result()
    await run_workloads(contenders, Settings(rounds=1, only=("list", "write")), result, QUIET)
    assert result.errors == [
        ("right", "write", "ConnectionError: gone"),
        ("wrong", "write", "ConnectionError: gone"),
        ("wrong", "list", "returned 1, not 100"),
    ]
    assert result.workloads["list"]["wrong"].durations_ms == []


async def test_one_after_another_is_as_many_as_gathered() -> None:
    contender = Known("a", [])
    assert await contender.sequence(7) == await contender.gather(7) == 7
    assert contender.invokes() == 14


async def test_a_load_counts_what_fails() -> None:
    result = Result()
    settings = Settings(levels=(2,), load_s=30.0, load_rounds=1)
    await run_load([Known("a", [])], settings, result, QUIET)
    [point] = result.load
    assert point.errors == 2  # each worker stops at its first: the writes fail
    assert point.error == "ConnectionError: gone"
    assert point.operations == len(point.durations_ms) == 12
    assert point.invokes == 11  # one of them was a list
