from __future__ import annotations

import json

import pytest

from transports.lambda_invoke.invoke_errors import (
    InvokeError,
    function_error,
    refused,
    translate,
)


def payload(kind: str, message: str, **more: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message, **more}).encode()


@pytest.mark.parametrize(
    ("body", "kind", "ran"),
    [
        (payload("Sandbox.Timedout", "Task timed out after 3.00 seconds"), "timeout", "unknown"),
        (payload("Runtime.ExitError", "signal: killed"), "crashed", "unknown"),
        (payload("Runtime.ImportModuleError", "no module"), "crashed", "no"),
        (payload("ValueError", "at import", requestId=""), "crashed", "no"),
        (payload("ValueError", "in the handler", requestId="8f5"), "crashed", "unknown"),
        (payload("Function.ResponseSizeTooLarge", "too large"), "reply_too_large", "yes"),
        (b"<html>", "crashed", "unknown"),
        (b"[]", "crashed", "unknown"),
        (b"\xff", "crashed", "unknown"),
        (b"[" * 100_000, "crashed", "unknown"),
    ],
)
def test_an_error_of_the_function_says_whether_it_may_have_run(
    body: bytes, kind: str, ran: str
) -> None:
    error = function_error(body)
    assert (error.kind, error.ran) == (kind, ran)


def test_an_error_of_the_function_is_cut_short() -> None:
    error = function_error(payload("E" * 10_000, "m" * 10_000))
    assert len(error.message) < 1_000


def test_what_fails_before_sending_did_not_run() -> None:
    error = translate(ValueError("bad"), sent=False)
    assert (error.kind, error.message, error.ran) == ("refused", "bad", "no")
    assert translate(ValueError(), sent=False).message == "ValueError"


def test_what_fails_in_an_unknown_way_after_sending_may_have_run() -> None:
    error = translate(ValueError(), sent=True)
    assert (error.kind, error.ran) == ("network", "unknown")
    assert "ValueError" in error.message
    assert isinstance(error, InvokeError)


@pytest.mark.parametrize("status", [202, 203, 204, 206])
def test_what_succeeded_in_another_way_may_have_run(status: int) -> None:
    """A proxy that changes a response says 203."""
    error = refused(status, {}, b'{"odm": 1}')
    assert (error.kind, error.ran) == ("network", "unknown")


@pytest.mark.parametrize("status", [301, 400, 403, 404, 407, 408])
def test_what_was_turned_away_did_not_run(status: int) -> None:
    assert refused(status, {}, b"<html>").ran == "no"
