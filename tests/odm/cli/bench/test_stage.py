"""What the URLs that are given mean for a run."""

from __future__ import annotations

import pytest

from odm.cli.bench.settings import Settings
from odm.cli.bench.stage import Stage, open_stage
from odm.cli.console import Console
from odm.cli.demo.progress import Reporter
from odm.cli.failures import CommandFailed, ExitCode

QUIET = Reporter(Console(quiet=True))
FUNCTION = "lambda://db-proxy/cms?region=eu-central-1"


def names(stage: Stage) -> list[str]:
    return [each.name for each in stage.entries(Settings())]


def test_a_stage_has_those_contenders_that_it_has_room_for() -> None:
    assert names(Stage(fake="fake:///b")) == ["fake"]
    assert names(Stage(direct="mongodb://h/b")) == [
        "driver",
        "driver+pydantic",
        "beanie",
        "odm",
        "motor",
    ]
    # Neither the bare POST, which is unsigned, nor the function of 2020 are had on AWS.
    given = Stage(function=FUNCTION, variants={"patient": f"{FUNCTION}&throttleTimeoutMS=9"})
    assert names(given) == [
        "lambda-driver",
        "lambda",
        "lambda-single",
        "lambda:patient",
        "invoke",
    ]


@pytest.mark.parametrize(
    ("function", "tls"),
    [
        (None, None),
        (FUNCTION, True),
        (f"{FUNCTION}&endpoint=https%3A%2F%2F127.0.0.1%3A9001", True),
        (f"{FUNCTION}&endpoint=http%3A%2F%2F127.0.0.1%3A9001", False),
    ],
)
def test_a_function_is_reached_by_tls_unless_its_endpoint_says_otherwise(
    function: str | None, tls: bool | None
) -> None:
    assert Stage(function=function).tls is tls


@pytest.mark.parametrize(
    ("urls", "variants", "words"),
    [
        (["embedded:///b"], [], "is not measured"),
        (["fake:///a", "fake:///b"], [], "two fake:// URLs"),
        (["fake:///a"], ["x=throttleTimeoutMS=9"], "no function to vary"),
        ([FUNCTION], ["x"], "write NAME=OPTION=VALUE"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    urls: list[str], variants: list[str], words: str
) -> None:
    with pytest.raises(CommandFailed, match=words) as failed:
        async with open_stage(urls, variants, Settings(), QUIET):
            pytest.fail("it was opened")
    assert failed.value.code is ExitCode.USAGE
