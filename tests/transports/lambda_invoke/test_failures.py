from __future__ import annotations

from typing import Any

import bson
import pytest

from transports.endpoint.backend import Request
from transports.errors import ConnectionLost
from transports.lambda_invoke.envelope import FailureResult
from transports.lambda_invoke.failures import (
    function_failure,
    invoke_failure,
    protocol_failure,
    section_zero,
)
from transports.lambda_invoke.invoke_errors import InvokeError, Kind


def request(name: str, **fields: Any) -> Request:
    body = bson.encode({name: 1, **fields, "$db": "cms"})
    return Request(server="h:1", message=bytes(5) + body, name=name, database="cms")


TXN = {"txnNumber": bson.Int64(1)}
IN_TRANSACTION = {**TXN, "autocommit": False}


@pytest.mark.parametrize("kind", ["network", "timeout", "crashed"])
@pytest.mark.parametrize(
    ("command", "labels"),
    [
        (request("find"), ()),
        (request("update"), ()),
        (request("insert", **TXN), ("RetryableWriteError",)),
        (request("insert", **IN_TRANSACTION), ("TransientTransactionError",)),
        (request("find", **IN_TRANSACTION), ("TransientTransactionError",)),
        (request("commitTransaction", **IN_TRANSACTION), ("RetryableWriteError",)),
        (request("abortTransaction", **IN_TRANSACTION), ("RetryableWriteError",)),
    ],
)
def test_labels_are_those_of_a_network_error_of_that_command(
    kind: Kind, command: Request, labels: tuple[str, ...]
) -> None:
    error = invoke_failure(InvokeError(kind, "it broke", "unknown"), "db-proxy", command)
    assert error.labels == labels
    assert error.code == (89 if kind == "timeout" else 6)


@pytest.mark.parametrize("kind", ["refused", "too_large", "reply_too_large"])
def test_what_ends_the_same_way_again_has_no_labels(kind: Kind) -> None:
    error = invoke_failure(InvokeError(kind, "no", "no"), "db-proxy", request("update"))
    assert error.labels == ()


@pytest.mark.parametrize(
    ("command", "labels"),
    [
        (request("find"), ()),
        (request("insert", **TXN), ("RetryableWriteError", "NoWritesPerformed")),
        (request("insert", **IN_TRANSACTION), ("TransientTransactionError",)),
        (
            request("commitTransaction", **IN_TRANSACTION),
            ("RetryableWriteError", "NoWritesPerformed", "UnknownTransactionCommitResult"),
        ),
        (None, ()),
    ],
)
def test_a_throttle_is_an_overload_that_may_be_repeated(
    command: Request | None, labels: tuple[str, ...]
) -> None:
    error = invoke_failure(InvokeError("throttled", "slow down", "no"), "p", command)
    assert (error.code, error.code_name) == (462, "IngressRequestRateLimitExceeded")
    assert error.labels == ("SystemOverloadedError", "RetryableError", *labels)


@pytest.mark.parametrize("kind", ["network", "throttled", "expired", "refused", "too_large"])
def test_a_retryable_write_that_did_not_run_lets_the_driver_raise_an_earlier_error(
    kind: Kind,
) -> None:
    """A repetition that did not run says nothing of the first attempt."""
    write, other = request("insert", **TXN), request("update")
    did_not_run = InvokeError(kind, "no", "no")
    assert "NoWritesPerformed" in invoke_failure(did_not_run, "p", write).labels
    assert "NoWritesPerformed" not in invoke_failure(did_not_run, "p", other).labels
    for code in (6, 89, 2):
        failure = FailureResult(code, "X", "no", "no")
        assert "NoWritesPerformed" in function_failure(failure, "p", write).labels
        failure = FailureResult(code, "X", "who knows", "unknown")
        assert "NoWritesPerformed" not in function_failure(failure, "p", write).labels


def test_a_throttle_after_the_command_ran_is_no_overload() -> None:
    """A driver repeats whatever was overloaded: it did not run."""
    throttled = InvokeError("throttled", "slow down", "yes")
    assert invoke_failure(throttled, "p", request("getMore")).labels == ()
    assert invoke_failure(throttled, "p", request("update")).code == 6
    assert invoke_failure(throttled, "p", request("update", **TXN)).labels == (
        "RetryableWriteError",
    )


def test_a_throttle_beyond_the_commands_time_limit_is_not_to_be_repeated() -> None:
    expired = InvokeError("expired", "too late", "no")
    for command, labels in (
        (request("find"), ()),
        (request("insert", **TXN), ("NoWritesPerformed",)),
        (None, ()),
    ):
        error = invoke_failure(expired, "p", command)
        assert (error.code, error.code_name) == (50, "MaxTimeMSExpired")
        assert error.labels == ("SystemOverloadedError", *labels)


@pytest.mark.parametrize("kind", ["refused", "too_large", "reply_too_large"])
def test_a_commit_whose_answer_is_lost_for_good_has_an_unknown_result(kind: Kind) -> None:
    commit = request("commitTransaction", **IN_TRANSACTION)
    lost = invoke_failure(InvokeError(kind, "lost", "yes"), "p", commit)
    assert lost.labels == ("UnknownTransactionCommitResult",)
    refused = invoke_failure(InvokeError(kind, "no", "no"), "p", commit)
    assert refused.labels == ("NoWritesPerformed",)
    assert protocol_failure("what?", "p", commit).labels == ("UnknownTransactionCommitResult",)


def test_the_words_name_function_command_cause_and_outcome() -> None:
    error = invoke_failure(
        InvokeError("crashed", "it exited", "unknown"), "db-proxy:live", request("update")
    )
    assert error.message == (
        "'update' on 'cms' through the function 'db-proxy:live' failed: it exited. "
        "Whether it ran is unknown."
    )


def test_a_failure_in_the_function_keeps_its_code() -> None:
    failure = FailureResult(18, "AuthenticationFailed", "bad password", "no")
    error = function_failure(failure, "p", request("insert"))
    assert (error.code, error.code_name, error.labels) == (18, "AuthenticationFailed", ())


def test_a_connection_that_broke_behind_the_function_breaks_here() -> None:
    broken = FailureResult(6, "HostUnreachable", "gone", "unknown")
    error = function_failure(broken, "p", request("insert", **TXN))
    assert isinstance(error, ConnectionLost)
    assert error.labels == ("RetryableWriteError",)
    assert not isinstance(function_failure(broken, "p", None), ConnectionLost)


def test_a_server_that_was_not_reached_is_left_for_another_in_words() -> None:
    unreachable = FailureResult(6, "HostUnreachable", "no answer", "no")
    error = function_failure(unreachable, "p", request("insert", **TXN))
    assert not isinstance(error, ConnectionLost)
    assert (error.code, error.code_name) == (91, "ShutdownInProgress")
    assert error.labels == ("RetryableWriteError", "NoWritesPerformed")
    assert error.message.endswith("no answer. It did not run.")
    assert function_failure(unreachable, "p", None).code == 6


def test_a_foreign_response_is_a_protocol_error() -> None:
    assert protocol_failure("what?", "p", request("find")).code_name == "ProtocolError"


def test_section_zero_is_found_behind_a_document_sequence() -> None:
    sequence = b"documents\x00" + bson.encode({"a": 1})
    message = (
        bytes(4)
        + b"\x01"
        + (len(sequence) + 4).to_bytes(4, "little")
        + sequence
        + b"\x00"
        + bson.encode({"insert": "c"})
    )
    assert section_zero(message)["insert"] == "c"


@pytest.mark.parametrize("message", [b"", bytes(4), bytes(9), bytes(5) + b"\xff\xff\xff\xff"])
def test_a_message_without_a_command_is_a_value_error(message: bytes) -> None:
    with pytest.raises(ValueError, match="no section of kind 0"):
        section_zero(message)
