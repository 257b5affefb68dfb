"""The ratios by which this project is judged."""

from __future__ import annotations

import json

from odm.cli.bench.judged import judge
from odm.cli.bench.result import Series


def series(*durations_ms: float, invokes: int = 0) -> Series:
    """Two in each round."""
    found = Series(invokes=invokes)
    for start in range(0, len(durations_ms), 2):
        found.take(durations_ms[start : start + 2])
    return found


def test_a_ratio_is_of_medians_and_its_spread_of_rounds() -> None:
    read = {"lambda": series(4, 4, 8, 8), "invoke": series(4, 4, 2, 2)}
    [found] = judge({"read": read})
    assert found.name == "point read, lambda : invoke"
    assert (found.value, found.aim, found.aim_in_words) == (2, 1.15, "at most 1.15")
    assert found.spread is not None
    assert (found.spread.minimum, found.spread.maximum) == (1, 4)


def test_gathered_is_compared_with_invokes_gathered_and_one_after_another() -> None:
    found = judge(
        {
            "sequence": {"invoke": series(400, 400)},
            "gather": {"lambda": series(50, 50, invokes=4), "invoke": series(200, 200)},
        }
    )
    assert [(each.value, each.aim, each.is_limit) for each in found] == [
        (2, 3, True),
        (8, 8, False),
        (4, 8, False),
    ]
    assert json.loads(json.dumps(found[1].document()))["at_least"] == 8
    assert found[0].document()["rounds"] is None


def test_what_is_directly_read_and_written_has_the_driver_with_validation_beside_it() -> None:
    found = judge(
        {
            "read": {"odm": series(2, 2), "driver": series(1, 1), "driver+pydantic": series(2, 2)},
            "list": {"odm": series(1, 1), "beanie": series(3, 3)},
        }
    )
    assert [(each.name, each.value) for each in found] == [
        ("point read, odm : driver+pydantic", 1),
        ("list of 100, times faster than beanie", 3),
    ]


def test_who_did_not_take_part_or_failed_is_not_judged() -> None:
    assert judge({}) == []
    assert judge({"read": {"lambda": series(1, 1), "invoke": Series(error="gone")}}) == []


def test_a_round_in_which_nothing_was_done_is_no_ratio() -> None:
    lame = series(1, 1)
    lame.take([])
    [found] = judge({"read": {"lambda": lame, "invoke": series(1, 1, 1, 1)}})
    assert found.spread is not None
    assert found.spread.count == 1
