from __future__ import annotations

import json

from benchmarks.connections.result import Case, Result, Simulated
from benchmarks.connections.sampler import Sample


def test_a_case_within_its_ceiling_has_no_violation(case: Case) -> None:
    assert case.violations() == []
    assert (case.peak, case.total_created, case.at_end) == (20, 21, 20)


def test_a_sample_over_the_ceiling_of_its_moment_is_a_violation(case: Case) -> None:
    case.samples.insert(0, Sample(second=1.5, current=11, created=11))
    assert case.violations() == [
        "11 connections after 1.5 s, the ceiling is 10 (1 samples over it)"
    ]


def test_without_a_ceiling_any_number_will_do(case: Case) -> None:
    case.limits = []
    case.samples.append(Sample(second=3.0, current=10_000, created=10_000))
    assert case.violations() == []


def test_violations_of_cases_and_of_the_simulation_are_those_of_the_run(case: Case) -> None:
    case.failures.append("it failed")
    over = Simulated(
        callers=9,
        direct=90,
        proxied=11,
        ceiling=10,
        throttles=0,
        failed=0,
        p50_ms=1.0,
        p95_ms=2.0,
    )
    result = Result(settings={}, cases=[case], simulated=[over])
    assert result.violations() == [
        "redeploy-proxy, 5 callers, lambda: it failed",
        "simulated, 9 callers: 11 connections, ceiling 10",
    ]
    document = json.loads(json.dumps(result.document()))
    assert document["violations"] == result.violations()
    assert document["cases"][0]["samples"][0] == [1.0, 10, 10, {}]
    assert document["cases"][0]["latency_ms"]["median"] == 2.0
