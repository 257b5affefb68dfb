"""A result that no machine was needed for."""

from __future__ import annotations

import pytest

from odm.cli.bench.cold_result import CALLER_PHASES, FUNCTION_PHASES, ColdProcess
from odm.cli.bench.result import (
    ColdStart,
    ConnectionCurve,
    LoadPoint,
    Result,
    ScalePoint,
    Series,
    Trace,
)


@pytest.fixture
def canned() -> Result:
    """A run with something of everything in it, failures and markup among them."""
    return Result(
        machine={"cpus": 2, "mongodb": "6.0.5"},
        settings={"rounds": 3},
        contenders={"driver": "PyMongo", "lambda": "Repository <over> lambda://", "fake": "fake"},
        skipped={"motor": "not installed & not wanted"},
        titles={"read": "point read", "gather": "100 point reads"},
        workloads={
            "read": {
                "driver": Series(first_ms=3.0, durations_ms=[0.4, 0.5, 0.6], cpu_ms=0.6),
                "lambda": Series(first_ms=90.0, durations_ms=[2.0, 3.0, 4.0, 250.0], invokes=8),
                "fake": Series(error="returned '<b>', not 'Article'"),
            },
            "gather": {
                "lambda": Series(durations_ms=[50.0], round_medians_ms=[50.0], invokes=1),
                "invoke": Series(durations_ms=[300.0], round_medians_ms=[300.0], invokes=100),
            },
        },
        scale=[
            ScalePoint(
                contender="lambda",
                operation="stream",
                documents=documents,
                durations_ms=[documents / 50],
                peak_mb=2.5,
            )
            for documents in (100, 1_000)
        ],
        load=[
            LoadPoint(
                contender=name,
                concurrency=level,
                per_second=[100.0 * level, 120.0 * level],
                durations_ms=[1.0, 2.0],
                operations=4,
                invokes=2,
            )
            for name in ("driver", "lambda")
            for level in (1, 16, 200)
        ],
        traces=[
            Trace(
                contender="lambda",
                durations_ms=[700.0, *[4.0] * 29],
                cold_starts=[ColdStart(total_ms=700.0, init_ms=300.0, handler_ms=250.0)],
            ),
            Trace(contender="proxy-2020", error="none came"),
        ],
        cold=[
            ColdProcess(
                kind="function",
                name="lambda",
                phases={name: [7.0] for name in FUNCTION_PHASES},
                connection={"authentication": [5.0]},
            ),
            ColdProcess(
                kind="caller", name="direct", phases={name: [9.0] for name in CALLER_PHASES}
            ),
            ColdProcess(kind="caller", name="lambda", error="it did not start"),
        ],
        connections=[
            ConnectionCurve(
                scenario="8 callers", way=way, callers=8, samples=[(0.0, 0), (0.1, 40)], answered=8
            )
            for way in ("direct", "lambda")
        ],
        complete=True,
    )
