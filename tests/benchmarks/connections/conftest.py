"""A case with samples, to be spoiled by a test."""

from __future__ import annotations

import pytest

from benchmarks.connections.result import LAMBDA, Case
from benchmarks.connections.sampler import Sample


@pytest.fixture
def case() -> Case:
    """A case within its ceiling, which is 10 at first, and 20 from the second second on."""
    return Case(
        experiment="redeploy-proxy",
        way=LAMBDA,
        callers=5,
        limits=[(0.0, 10), (2.0, 20)],
        samples=[
            Sample(second=1.0, current=10, created=10),
            Sample(second=2.5, current=20, created=21),
        ],
        durations_ms=[1.0, 2.0, 3.0],
        marks=[(0.5, "a <mark>")],
        complete=True,
    )
