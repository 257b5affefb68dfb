"""The schedule of faults."""

from __future__ import annotations

import pytest

from benchmarks.chaos.faults import Faults
from benchmarks.chaos.plan import FAULTS, choose_faults, make_plan


def test_the_same_seed_plans_the_same_faults() -> None:
    assert make_plan(7, 60, FAULTS) == make_plan(7, 60, FAULTS)
    assert make_plan(7, 60, FAULTS) != make_plan(8, 60, FAULTS)


def test_faults_of_one_lane_do_not_overlap_and_end_in_time() -> None:
    plan = make_plan(7, 60, FAULTS)
    for lane in {FAULTS[fault.kind].lane for fault in plan}:
        end_s = 0.0
        for fault in plan:
            if FAULTS[fault.kind].lane == lane:
                assert fault.at_s >= end_s
                end_s = fault.at_s + fault.lasts_s
        assert end_s <= 60


def test_every_kind_strikes_in_a_run_of_ordinary_length() -> None:
    for seed in range(5):
        assert {fault.kind for fault in make_plan(seed, 120, FAULTS)} == set(FAULTS)


def test_no_kind_comes_again_before_all_others_have_come() -> None:
    kinds = choose_faults(["network"], 1)
    dealt = [fault.kind for fault in make_plan(3, 60, kinds)]
    assert set(dealt[: len(kinds)]) == set(kinds)


def test_names_mean_kinds_and_families() -> None:
    assert choose_faults(["kill-idle", "step-down"], 1) == ("kill-idle", "step-down")
    assert set(choose_faults(["throttle"], 1)) == {"throttle", "throttle-all", "throttle-long"}
    assert choose_faults(["secondary-kill"], 1) == ()
    with pytest.raises(ValueError, match="no fault 'kil'; there are kill-idle"):
        choose_faults(["kil"], 3)


def test_every_kind_can_be_made_to_happen() -> None:
    faults = Faults(stage=None, kill_caller=None)  # type: ignore[arg-type]  # nothing is struck
    assert set(faults._actions) == set(FAULTS)


def test_a_run_without_faults_has_an_empty_plan() -> None:
    assert make_plan(1, 60, ()) == ()
