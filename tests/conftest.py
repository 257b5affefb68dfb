"""What every test may ask for: a real deployment, one per pytest process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.spec.unified.report import SpecReport
from transports.mongod import MongodOptions, ReplicaSet, missing_mongod_reason

# The same examples in every run, on machines of any speed. For others:
# --hypothesis-profile=default
settings.register_profile(
    "odm", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("odm")


@pytest.fixture(scope="session")
def mongod_uri() -> Iterator[str]:
    """A ``mongodb://`` URI of a one-node replica set with test commands, for the whole session.

    ``ODM_TEST_MONGODB_URI`` names another deployment; without it and without a ``mongod`` the
    tests that ask for one skip. Tests share it: use a database of your own name.
    """
    if given := os.environ.get("ODM_TEST_MONGODB_URI"):
        yield given
        return
    if reason := missing_mongod_reason():
        pytest.skip(reason)
    with ReplicaSet(MongodOptions(test_commands=True)) as replica_set:
        yield replica_set.uri


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("specification tests")
    group.addoption(
        "--spec-url",
        metavar="URL",
        help="transport URL for tests/spec; by default a private mongod, directly",
    )
    group.addoption(
        "--spec-all",
        action="store_true",
        help="run every specification test, not a fifth; so do the other two options",
    )
    group.addoption(
        "--spec-report",
        metavar="FILE",
        help="write what became of each specification test, for scripts/spec-compare",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # What a shell starts in the background ignores it, and so would all that tests start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # With xdist, the controller writes the report: it hears of every worker's tests.
    path = config.getoption("--spec-report")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SpecReport(Path(path)))
