"""The ratios by which this project is judged, each with what it is to be at most or at least.

They say how one contender does beside another in the same run, whatever the machine; a benchmark
passes no judgement on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odm.cli.charts.statistics import Summary, ratio, summarise

if TYPE_CHECKING:
    from odm.cli.bench.result import Series

Workloads = Mapping[str, Mapping[str, "Series"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One of the ratios.

    Attributes:
        name: what is divided by what.
        value: the ratio of medians; of invokes, how many.
        aim: what it is to be.
        is_limit: whether at most that, else at least.
        spread: the ratios of single rounds, None where there are none.
    """

    name: str
    value: float
    aim: float
    is_limit: bool
    spread: Summary | None = None

    @property
    def aim_in_words(self) -> str:
        """What it is to be."""
        return f"at {'most' if self.is_limit else 'least'} {self.aim:g}"

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "name": self.name,
            "value": round(self.value, 3),
            "at_most" if self.is_limit else "at_least": self.aim,
            "rounds": self.spread.document() if self.spread else None,
        }


# A name, what takes longer and what it is divided by (workload, contender), and the aim.
_AT_MOST = (
    ("point read, lambda : invoke", ("read", "lambda"), ("read", "invoke"), 1.15),
    ("point read, lambda : post", ("read", "lambda"), ("read", "post"), 1.6),
)
_GATHERED = ("gather", "lambda")
_AT_LEAST = (
    (
        "100 gathered, times faster than 100 bare invokes one after another",
        ("sequence", "invoke"),
        _GATHERED,
        8.0,
    ),
    (
        "100 gathered, times faster than 100 bare invokes gathered",
        ("gather", "invoke"),
        _GATHERED,
        8.0,
    ),
    ("point read, times faster than proxy-2020", ("read", "proxy-2020"), ("read", "lambda"), 3.0),
    (
        "100 gathered, times faster than proxy-2020 gathered",
        ("gather", "proxy-2020"),
        _GATHERED,
        10.0,
    ),
)
_DIRECTLY_AT_MOST = (
    ("point read, odm : driver+pydantic", ("read", "odm"), ("read", "driver+pydantic"), 1.1),
    ("point write, odm : driver+pydantic", ("write", "odm"), ("write", "driver+pydantic"), 1.1),
)
_DIRECTLY_AT_LEAST = (
    ("list of 100, times faster than beanie", ("list", "beanie"), ("list", "odm"), 3.0),
    ("all documents, times faster than beanie", ("scan", "beanie"), ("scan", "odm"), 3.0),
)
_INVOKES = ("100 gathered over lambda, invokes", 3.0)


def judge(workloads: Workloads) -> list[Judged]:
    """Return those ratios whose contenders took part in their workloads."""
    return [
        *_ratios(workloads, _AT_MOST, is_limit=True),
        *_invokes(workloads),
        *_ratios(workloads, _AT_LEAST, is_limit=False),
        *_ratios(workloads, _DIRECTLY_AT_MOST, is_limit=True),
        *_ratios(workloads, _DIRECTLY_AT_LEAST, is_limit=False),
    ]


def _ratios(
    workloads: Workloads,
    wanted: tuple[tuple[str, tuple[str, str], tuple[str, str], float], ...],
    *,
    is_limit: bool,
) -> list[Judged]:
    found = []
    for name, one, other, aim in wanted:
        dividend, divisor = _series(workloads, one), _series(workloads, other)
        if dividend is None or divisor is None:
            continue
        value = ratio(dividend.summary, divisor.summary)
        if value is not None:
            spread = summarise(_by_round(dividend, divisor))
            found.append(Judged(name=name, value=value, aim=aim, is_limit=is_limit, spread=spread))
    return found


def _by_round(dividend: Series, divisor: Series) -> list[float]:
    return [
        one / other
        for one, other in zip(dividend.round_medians_ms, divisor.round_medians_ms, strict=False)
        if one and other
    ]


def _invokes(workloads: Workloads) -> list[Judged]:
    gathered = _series(workloads, _GATHERED)
    each = gathered.invokes_per_operation if gathered else None
    name, aim = _INVOKES
    return [Judged(name=name, value=each, aim=aim, is_limit=True)] if each else []


def _series(workloads: Workloads, key: tuple[str, str]) -> Series | None:
    workload, contender = key
    return workloads.get(workload, {}).get(contender)
