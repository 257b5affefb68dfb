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


AUTHOR_TESTS = """
import datetime
import pytest
from odm import Document

class Page(Document):
    title: str

@pytest.fixture
def odm_models():
    return [Page]

async def test_the_log_begins_with_the_test(odm, odm_commands):
    odm_commands.assert_not_sent()
    await Page(title="one").insert()
    odm_commands.assert_sent("insert", ".Page", times=1)

async def test_failures_are_scripted(odm_fail_next):
    odm_fail_next("insert", code="PrimarySteppedDown")
    await Page(title="one").insert()
    assert await Page.count() == 1

async def test_the_clock_stands_still(odm, odm_clock):
    odm_clock.freeze(datetime.datetime(2024, 1, 1))
    page = await Page(title="one").insert()
    await page.update({"$currentDate": {"at": True}})
    [stored] = await odm.database["Page"].find().to_list()
    assert stored["at"] == datetime.datetime(2024, 1, 1)

async def test_documents_are_loaded(odm_load, odm_fake):
    assert await odm_load({"Page": [{"title": "one"}, {"title": "two"}]}) == {"Page": 2}
    snapshot = odm_fake.snapshot()
    await Page.delete_all()
    odm_fake.restore(snapshot)
    assert await Page.count() == 2
"""


def test_the_fakes_tools_are_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(AUTHOR_TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)


def test_tests_in_parallel_processes_see_nothing_of_each_other(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(AUTHOR_TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2")
    result.assert_outcomes(passed=4)


def test_over_a_server_the_fakes_tools_are_skipped_and_the_rest_runs(
    pytester: pytest.Pytester, mongod_uri: str
) -> None:
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(
        AUTHOR_TESTS,
        test_load="""
        async def test_documents_are_loaded(odm, odm_load):
            assert await odm_load({"pages": [{"_id": 1}], "none": []}) == {"pages": 1, "none": 0}
            assert await odm.database["pages"].count_documents({}) == 1
        """,
    )
    url = mongod_uri.replace("/?", "/plugin?")
    result = pytester.runpytest_subprocess("--odm-url", url, "-p", "no:cacheprovider", "-rs")
    result.assert_outcomes(passed=1, skipped=4)
    result.stdout.fnmatch_lines(["*needs the fake, and --odm-url says mongodb://*"])


def test_a_failed_test_shows_commands_and_documents(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(
        """
        async def test_it(odm):
            await odm.database["pages"].insert_one({"_id": 1, "slug": "a"})
            assert await odm.database["pages"].count_documents({"slug": "b"}) == 1
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*odm: commands the fake received*",
            '*insert test_*.pages { ordered: true, documents: *slug: "a"*',
            "*aggregate test_*.pages*",
            "*odm: documents it holds*",
            '*{"_id": 1, "slug": "a"}*',
        ]
    )


def test_a_scripted_failure_that_never_comes_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(
        """
        async def test_it(odm_fail_next):
            odm_fail_next("insert", code=112)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    told = "*insert (WriteConflict (112)*never happened*It received no command*"
    result.stdout.fnmatch_lines([told])


def test_a_failure_that_happens_always_does_not_meet_the_end_of_the_test(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(
        """
        import pytest
        from pymongo.errors import ExecutionTimeout

        async def test_it(odm, odm_fail_next):
            odm_fail_next(code=50, times=None)
            with pytest.raises(ExecutionTimeout):
                await odm.database["pages"].find_one()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
