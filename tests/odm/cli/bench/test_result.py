"""What a run found, in numbers and as JSON."""

from __future__ import annotations

import json

from odm.cli.bench.result import ColdStart, LoadPoint, Result, Series


def test_invokes_are_counted_per_operation() -> None:
    assert Series(durations_ms=[1.0, 2.0], invokes=5).invokes_per_operation == 2.5
    assert Series(invokes=5).invokes_per_operation is None


def test_what_the_process_computed_is_told_per_operation() -> None:
    assert Series(durations_ms=[1.0, 2.0], cpu_ms=1.0).cpu_ms_per_operation == 0.5
    assert Series(cpu_ms=1.0).cpu_ms_per_operation is None


def test_the_rest_of_a_cold_start_is_what_the_function_does_not_tell_of() -> None:
    assert ColdStart(total_ms=700, init_ms=300, handler_ms=250).rest_ms == 150
    assert ColdStart(total_ms=700, init_ms=500, handler_ms=250).rest_ms == 0
    assert ColdStart(total_ms=700).rest_ms is None


def test_the_document_is_json_with_every_part(canned: Result) -> None:
    document = json.loads(json.dumps(canned.document()))
    read = document["workloads"]["read"]["contenders"]
    assert read["driver"]["summary_ms"]["median"] == 0.5
    assert read["lambda"]["invokes_per_operation"] == 2
    assert read["fake"]["summary_ms"] is None
    assert document["load"][0]["median_per_second"] == 110
    assert document["traces"][0]["warm_summary_ms"]["median"] == 4
    assert document["connections"][0]["peak"] == 40


def test_what_failed_is_told_and_makes_the_run_not_ok(canned: Result) -> None:
    assert canned.document()["ok"] is False
    assert [(name, where) for name, where, _ in canned.errors] == [
        ("fake", "read"),
        ("proxy-2020", "trace"),
        ("lambda", "cold caller"),
    ]


def test_a_part_of_a_run_is_not_ok() -> None:
    assert Result(complete=True).document()["ok"] is True
    assert Result().document()["ok"] is False
    assert (
        Result(load=[LoadPoint(contender="x", concurrency=1)]).document()["load"][0]["summary_ms"]
        is None
    )


def test_ratios_are_of_those_who_both_took_part() -> None:
    by_name = {
        "odm": Series(durations_ms=[3.0]),
        "driver": Series(durations_ms=[2.0]),
        "beanie": Series(error="gone"),
    }
    assert Result(workloads={"read": by_name}).ratios() == {"read": {"odm / driver": 1.5}}
