from __future__ import annotations

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from odm.cli.failures import CommandFailed, ExitCode, describe, exit_code
from transports.errors import InvalidURL, MissingExtra, ServerUnreachable


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidURL("x"), ExitCode.USAGE),
        (MissingExtra("x", "y", "z"), ExitCode.UNAVAILABLE),
        (ServerUnreachable("x"), ExitCode.UNAVAILABLE),
        (ServerSelectionTimeoutError("x"), ExitCode.UNAVAILABLE),
        (CommandFailed("x", ExitCode.CHECK_FAILED), ExitCode.CHECK_FAILED),
        (ZeroDivisionError(), None),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: ExitCode | None) -> None:
    assert exit_code(error) is code


def test_errors_are_told_without_credentials() -> None:
    assert describe(ValueError("at mongodb://a:b@host/x")) == "at mongodb://***@host/x"
    assert describe(KeyError()) == "KeyError"
