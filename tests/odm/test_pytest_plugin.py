from __future__ import annotations

import subprocess
import sys

import pytest
from pymongo import MongoClient

pytest_plugins = ["pytester"]

INI = """
[pytest]
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

TESTS = """
import pytest
from odm import Document

class Page(Document):
    title: str

@pytest.fixture
def odm_models():
    return [Page]

@pytest.mark.asyncio
async def test_one(odm):
    await odm.repository(Page).add(Page(title="one"))
    assert await odm.repository(Page).count() == 1

@pytest.mark.asyncio
async def test_another_sees_nothing_of_it(odm):
    assert await Page.count() == 0
    assert odm.database.name.startswith(odm.url.partition("?")[0].rpartition("/")[2] + "_")

@pytest.mark.asyncio
async def test_a_failure_leaves_nothing_behind_either(odm):
    await Page(title="one").insert()
    assert False
"""


def databases(uri: str) -> list[str]:
    with MongoClient[dict[str, object]](uri) as client:
        return [name for name in client.list_database_names() if name.startswith("plugin_")]


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_each_test_has_a_database_of_its_own_which_is_dropped(
    pytester: pytest.Pytester, mongod_uri: str, mode: str
) -> None:
    pytester.makeini(INI.format(mode=mode))
    pytester.makepyfile(TESTS)
    url = mongod_uri.replace("/?", "/plugin?")

    result = pytester.runpytest_subprocess("--odm-url", url, "-p", "no:cacheprovider")

    result.assert_outcomes(passed=2, failed=1)
    assert databases(mongod_uri) == []


def test_the_fake_is_the_default(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfig()
    assert config.getoption("--odm-url") == "fake:///test"


def test_without_the_option_tests_run_on_the_fake(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)


def test_an_embedded_server_is_started_once_for_all_tests(pytester: pytest.Pytester) -> None:
    from transports.mongod import missing_mongod_reason

    if reason := missing_mongod_reason():
        pytest.skip(reason)
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(
        """
        ports = set()

        async def test_one(odm):
            ports.add((await odm.client.address)[1])

        async def test_two(odm):
            ports.add((await odm.client.address)[1])
            assert len(ports) == 1
        """
    )
    result = pytester.runpytest_subprocess(
        "--odm-url", "embedded:///plugin", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=2)


def test_the_plugin_imports_no_driver_and_no_odm() -> None:
    code = (
        "import odm.pytest_plugin, sys;"
        "print([m for m in ('pymongo', 'beanie', 'pydantic') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.strip() == "[]", printed.stdout + printed.stderr
