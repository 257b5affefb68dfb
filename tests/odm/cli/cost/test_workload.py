"""Workloads from options and files, and what a wrong one is told."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from odm.cli.cost import options
from odm.cli.cost.command import cost_command
from odm.cli.cost.workload import (
    PROFILES,
    InvalidWorkload,
    Workload,
    make_workload,
    parse_burst,
    parse_profile,
    read_workload,
)


def test_a_file_in_toml_and_one_in_json_say_the_same(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "w.toml", tmp_path / "w.json"
    toml.write_text('rate = 50\nprofile = "office"\narchitecture = "arm64"\nsnap_start = true\n')
    as_json.write_text(
        json.dumps({"rate": 50, "profile": "office", "architecture": "arm64", "snap_start": True})
    )
    assert read_workload(toml) == read_workload(as_json)
    workload = make_workload(read_workload(toml), {"rate": 70.0})
    assert (workload.rate, workload.architecture) == (70.0, "arm64")
    assert workload.profile == PROFILES["office"]


def test_what_a_report_says_of_its_workload_can_be_read_again(tmp_path: Path) -> None:
    workload = Workload(rate=3, gather=7, profile=PROFILES["evening"], provisioned=2)
    path = tmp_path / "w.json"
    path.write_text(json.dumps(workload.document()))
    assert make_workload(read_workload(path)) == workload


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"rat": 1}', "no field 'rat': there are rate"),
        ('{"rate": "fast"}', "rate is 'fast'"),
        ('{"gather": 1.5}', "gather is 1.5"),
        ('{"gather": true}', "gather is True"),
        ('{"profile": [1, "x"]}', "profile"),
        ("[1]", "not an object"),
        ("{", "w.json"),
    ],
)
def test_a_wrong_file_is_told_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "w.json"
    path.write_text(text)
    with pytest.raises(InvalidWorkload) as refused:
        read_workload(path)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rate": -1.0}, "rate is -1"),
        ({"rate": 0.0}, "nothing is asked for"),
        ({"memory_mb": 64}, "memory_mb is 64: it is between 128 and 10240"),
        ({"architecture": "arm"}, "x86_64 or arm64"),
        ({"provisioned": 16}, "more than the reserved concurrency"),
        ({"provisioned": 1, "snap_start": True}, "AWS allows one of them"),
        ({"profile": (1.0,) * 23}, "23 weights"),
        ({"profile": (0.0,) * 24}, "not all 0"),
        ({"gather": 0}, "gather is 0"),
        ({"commands_per_invoke": 0.5}, "carries one"),
        ({"callers_through": "post"}, "nat_gateway"),
        ({"server_ms": 0.0, "network_ms": 0.0, "overhead_ms": 0.0}, "takes no time"),
        ({"server_ms": float("nan")}, "server_ms is nan"),
    ],
)
def test_a_workload_that_makes_no_sense_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidWorkload) as refused:
        make_workload(given)
    assert says in str(refused.value)


def test_profiles_are_words_or_24_numbers() -> None:
    assert parse_profile("flat") == (1.0,) * 24
    assert parse_profile(",".join("2" * 24)) == (2.0,) * 24
    with pytest.raises(InvalidWorkload, match="office"):
        parse_profile("weekend")
    for profile in PROFILES.values():
        assert len(profile) == 24


def test_bursts_are_a_number_and_a_time() -> None:
    assert parse_burst("200@60") == {"burst": 200, "burst_every_s": 60.0}
    for wrong in ("200", "x@60", "200@", "1.5@60"):
        with pytest.raises(InvalidWorkload, match="200@60"):
            parse_burst(wrong)


def test_a_burst_is_spread_evenly_over_the_callers() -> None:
    workload = Workload(burst=7, callers=3)
    assert sorted(workload.invokes_of_burst(batching=True)) == [2, 2, 3]
    assert workload.invokes_of_burst(batching=False) == [1] * 7
    assert Workload(burst=2, callers=3).invokes_of_burst(batching=True) == [1, 1]
    assert Workload(burst=250, callers=1).invokes_of_burst(batching=True) == [100, 100, 50]
    assert Workload(burst=0).invokes_of_burst(batching=True) == []


def test_the_mean_over_the_day_is_the_rate() -> None:
    workload = Workload(rate=10, profile=PROFILES["office"])
    assert sum(workload.hourly_rates) / 24 == pytest.approx(10)
    assert workload.peak_rate == max(workload.hourly_rates) > 20


def test_every_field_has_an_option_that_says_its_default() -> None:
    told = {name.replace("_", "").lower() for name in vars(options)}
    parameters = get_type_hints(cost_command)
    # Measured fields are not told by hand; a burst is one option for two fields.
    for field in fields(Workload):
        if field.name in ("billed_ms_per_invoke", "burst_every_s"):
            continue
        assert field.name in parameters, field.name
        assert field.name.replace("_", "") in told, field.name
        info = getattr(options, field.name.title().replace("_", "")).__metadata__[0]
        if "[" in info.help:
            shown = info.help.rpartition("[")[2].rstrip("]")
            default = "flat" if field.name == "profile" else field.default
            assert shown in (str(default), f"{default:g}" if isinstance(default, float) else ""), (
                field.name
            )
