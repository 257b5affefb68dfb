"""MongoDB's own specification tests, over the transport that ``--spec-url`` names.

The files are MongoDB's and not in this repository: `tests.spec.unified.files` says where they are
looked for. The reference is the direct transport; ``--spec-report`` and ``scripts/spec-compare``
compare another one with it, test by test.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.spec.unified.deployment import Deployment
from tests.spec.unified.files import SpecTest, spec_directory, spec_tests
from tests.spec.unified.known import known_failure
from tests.spec.unified.runner import run_spec_test
from transports import open_transport

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Fail points close connections while the driver's monitors make new ones, and it leaves a
    # cancelled one to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(socket|function _SelectorTransport)"
        ":pytest.PytestUnraisableExceptionWarning"
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each in the files; of a plain run, only every fifth of each file's."""
    options = metafunc.config.option
    everything = options.spec_all or options.spec_url or options.spec_report
    tests = list(spec_tests(spec_directory(), sample=1 if everything else 5))
    parameters = [pytest.param(test, id=test.id) for test in tests] or [
        pytest.param(None, id="none", marks=pytest.mark.skip(f"no tests in {spec_directory()}"))
    ]
    if "spec_test" in metafunc.fixturenames:
        metafunc.parametrize("spec_test", parameters)


@pytest.fixture(scope="module", autouse=True)
def _impatient_heartbeats() -> Iterator[None]:
    """Look for a server every 50 ms after a fail point has hidden it, not every 0.5 or 10 s.

    The driver waits for a heartbeat after a closed connection and after a shutdown's error. Only
    this process's clients are meant, so the driver's own defaults are the place.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pymongo.common.MIN_HEARTBEAT_INTERVAL", 0.05)
        patch.setattr("pymongo.common.HEARTBEAT_FREQUENCY", 0.05)
        yield
    gc.collect()  # while the filter above is still in force


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    url = request.config.getoption("--spec-url") or request.getfixturevalue("mongod_uri")
    async with open_transport(url) as transport:
        yield await Deployment.of(transport.uri, transport.client)


async def test_specification(
    spec_test: SpecTest, deployment: Deployment, request: pytest.FixtureRequest
) -> None:
    if reason := known_failure(spec_test.id):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    await run_spec_test(spec_test, deployment)
