"""Choices in the words that the generators think in: one of these, so many, maybe.

Hypothesis gives the seed; the choices themselves are uniform. Hypothesis' own draws are not: they
prefer small numbers and repeat themselves, which leaves most operators out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


class Chooser:
    """What a generator asks.

    Attributes:
        seen: values of the documents that a case has, so that its filters can match them.
        places: the same with the paths to them.
        typed: whether the documents have fields of known types, see `expressions`.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.seen: list[Any] = []
        self.places: list[tuple[str, Any]] = []
        self.typed = False

    def number(self, least: int, most: int) -> int:
        """An integer, both ends included."""
        return least + int(self._random.random() * (most - least + 1))

    def chance(self, percent: float) -> bool:
        """True so often."""
        return self._random.random() * 100 < percent

    def pick(self, pool: Sequence[T]) -> T:
        """One of these."""
        return pool[int(self._random.random() * len(pool))]

    def some(self, make: Callable[[Chooser], T], least: int, most: int) -> list[T]:
        """A list of so many."""
        return [make(self) for _ in range(self.number(least, most))]

    def mostly(self, good: Sequence[T], odd: Sequence[Any], percent: float = 4) -> Any:
        """One of the first; so often one of the second."""
        return self.pick(odd if self.chance(percent) else good)
